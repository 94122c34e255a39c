"""Families of GANs: each file holds the settings of one and the `jaxgan.game.Game` that it wires from networks.

A family that settings can name is registered by its own file, see `jaxgan.games.base`; every file of this folder is
imported.
"""

import importlib
import pkgutil

from jaxgan.games.aae import AAE
from jaxgan.games.adversary import Adversary, WeightPenalties
from jaxgan.games.base import FAMILIES, Built, Facts, Family, Parts, Scatter, Sheet, family
from jaxgan.games.cyclegan import CycleGAN
from jaxgan.games.gan import GAN
from jaxgan.games.lapgan import LAPGAN
from jaxgan.games.latents import Latents
from jaxgan.games.pix2pix import Pix2Pix
from jaxgan.games.private import Private
from jaxgan.games.refiner import Refinement
from jaxgan.games.srgan import SRGAN
from jaxgan.games.stackgan import StackGAN

__all__ = [
    "AAE",
    "FAMILIES",
    "GAN",
    "LAPGAN",
    "SRGAN",
    "Adversary",
    "Built",
    "CycleGAN",
    "Facts",
    "Family",
    "Latents",
    "Parts",
    "Pix2Pix",
    "Private",
    "Refinement",
    "Scatter",
    "Sheet",
    "StackGAN",
    "WeightPenalties",
    "family",
]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
