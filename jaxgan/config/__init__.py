"""An experiment as plain data: typed, frozen, validated; TOML in, TOML out.

A configuration holds nothing but numbers and names, so a run directory from a stranger is safe to read.
"""

from jaxgan.config.data import TFDS, Captions, Data, Embedded, Feed, Glyphs, ImageFolder, Pairs, Unpaired
from jaxgan.config.experiment import Evaluation, Experiment, Run
from jaxgan.config.read import differences, load, parse

__all__ = [
    "TFDS",
    "Captions",
    "Data",
    "Embedded",
    "Evaluation",
    "Experiment",
    "Feed",
    "Glyphs",
    "ImageFolder",
    "Pairs",
    "Run",
    "Unpaired",
    "differences",
    "load",
    "parse",
]
