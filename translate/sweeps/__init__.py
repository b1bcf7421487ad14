"""Many runs that differ in some settings: made one after the other, and compared."""
