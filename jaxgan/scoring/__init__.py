"""Scores: the networks that they look through, the formulas that they are computed by, and runs side by side."""
