"""Scores: the networks that they look through, the metrics, and runs side by side."""
