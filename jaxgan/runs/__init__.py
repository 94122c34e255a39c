"""Run directories: their files, their checkpoints, and what they are."""
