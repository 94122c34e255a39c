"""An experiment as plain data: typed, frozen, validated; TOML in, TOML out.

A configuration holds nothing but numbers and names, so a run directory from a stranger is safe to read.
"""

from jaxgan.config.experiment import Evaluation, Experiment, Feed, Run
from jaxgan.config.read import differences, load, parse

__all__ = [
    "Evaluation",
    "Experiment",
    "Feed",
    "Run",
    "differences",
    "load",
    "parse",
]
