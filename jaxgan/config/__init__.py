"""An experiment as plain data: typed, frozen, validated; TOML in, TOML out.

A configuration holds nothing but numbers and names, so a run directory from a stranger is safe to read.
"""

from jaxgan.config.data import TFDS, Embedded, Feed, ImageFolder
from jaxgan.config.experiment import Evaluation, Experiment, Run
from jaxgan.config.games import GAN, SGD, Adam, Adversarial, Game, Optimizer, Regularized, Schedule
from jaxgan.config.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    ResNetDiscriminator,
    ResNetGenerator,
)
from jaxgan.config.read import differences, load, parse

__all__ = [
    "GAN",
    "SGD",
    "TFDS",
    "Adam",
    "Adversarial",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Embedded",
    "Evaluation",
    "Experiment",
    "Feed",
    "Game",
    "ImageFolder",
    "MLPDiscriminator",
    "MLPGenerator",
    "Optimizer",
    "Regularized",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "Run",
    "Schedule",
    "differences",
    "load",
    "parse",
]
