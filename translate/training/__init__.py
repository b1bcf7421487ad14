"""The engine: the loop, checkpoints, schedules and logs."""
