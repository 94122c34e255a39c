"""An experiment as plain data: typed, frozen, validated; TOML in, TOML out.

A configuration holds nothing but numbers and names, so a run directory from a stranger is safe to read.
"""

from jaxgan.config.data import TFDS, Captions, Data, Embedded, Feed, ImageFolder, Pairs, Unpaired
from jaxgan.config.experiment import Evaluation, Experiment, Run
from jaxgan.config.games import (
    GAN,
    SGD,
    Adam,
    Adversarial,
    CycleGAN,
    Game,
    Optimizer,
    Pix2Pix,
    Private,
    Regularized,
    Schedule,
)
from jaxgan.config.networks import (
    BigGANDiscriminator,
    BigGANGenerator,
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    PatchGAN,
    ResNetDiscriminator,
    ResNetGenerator,
    SAGANDiscriminator,
    SAGANGenerator,
    Translator,
    UNet,
)
from jaxgan.config.read import differences, load, parse

__all__ = [
    "GAN",
    "SGD",
    "TFDS",
    "Adam",
    "Adversarial",
    "BigGANDiscriminator",
    "BigGANGenerator",
    "Captions",
    "CycleGAN",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "Data",
    "Embedded",
    "Evaluation",
    "Experiment",
    "Feed",
    "Game",
    "ImageFolder",
    "MLPDiscriminator",
    "MLPGenerator",
    "Optimizer",
    "Pairs",
    "PatchGAN",
    "Pix2Pix",
    "Private",
    "Regularized",
    "ResNetDiscriminator",
    "ResNetGenerator",
    "Run",
    "SAGANDiscriminator",
    "SAGANGenerator",
    "Schedule",
    "Translator",
    "UNet",
    "Unpaired",
    "differences",
    "load",
    "parse",
]
