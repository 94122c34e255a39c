"""Families of GANs: each file holds the settings of one and the `jaxgan.game.Game` that it wires from networks.

A family that settings can name is registered by its own file, see `jaxgan.families.base`; every file of this folder is
imported.
"""

import importlib
import pkgutil

from jaxgan.families.aae import AAE
from jaxgan.families.base import FAMILIES, Built, Facts, Family, Parts, Scatter, Sheet, family
from jaxgan.families.cyclegan import CycleGAN
from jaxgan.families.gan import GAN
from jaxgan.families.lapgan import LAPGAN
from jaxgan.families.pix2pix import Pix2Pix
from jaxgan.families.private import Private
from jaxgan.families.refiner import Refinement
from jaxgan.families.srgan import SRGAN
from jaxgan.families.stackgan import StackGAN
from jaxgan.objectives.adversary import Adversary, WeightPenalties
from jaxgan.objectives.latents import Latents

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
