"""An experiment as plain data: typed, frozen, validated; TOML in, TOML out.

A configuration holds nothing but numbers and names, so a run directory from a stranger is safe to read.
"""

from jaxgan.config.data import TFDS, Captions, Data, Embedded, Feed, Glyphs, ImageFolder, Pairs, Unpaired
from jaxgan.config.experiment import Evaluation, Experiment, Run
from jaxgan.config.games import (
    AAE,
    GAN,
    LAPGAN,
    SGD,
    SRGAN,
    Adam,
    Adversarial,
    CycleGAN,
    Game,
    Optimizer,
    Pix2Pix,
    Private,
    Refinement,
    Regularized,
    Schedule,
    StackGAN,
)
from jaxgan.config.read import differences, load, parse

__all__ = [
    "AAE",
    "GAN",
    "LAPGAN",
    "SGD",
    "SRGAN",
    "TFDS",
    "Adam",
    "Adversarial",
    "Captions",
    "CycleGAN",
    "Data",
    "Embedded",
    "Evaluation",
    "Experiment",
    "Feed",
    "Game",
    "Glyphs",
    "ImageFolder",
    "Optimizer",
    "Pairs",
    "Pix2Pix",
    "Private",
    "Refinement",
    "Regularized",
    "Run",
    "Schedule",
    "StackGAN",
    "Unpaired",
    "differences",
    "load",
    "parse",
]
