"""Methods: one file per paper, and the contract they share."""
