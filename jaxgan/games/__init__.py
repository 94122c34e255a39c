"""Families of GANs: each file wires networks and losses into a `jaxgan.game.Game`."""

from jaxgan.games.aae import aae
from jaxgan.games.adversary import Adversary, Weights
from jaxgan.games.cyclegan import cyclegan
from jaxgan.games.gan import gan
from jaxgan.games.lapgan import lapgan
from jaxgan.games.latents import Latents
from jaxgan.games.pix2pix import pix2pix
from jaxgan.games.private import private
from jaxgan.games.refiner import refiner
from jaxgan.games.srgan import srgan
from jaxgan.games.stackgan import stackgan

__all__ = [
    "Adversary",
    "Latents",
    "Weights",
    "aae",
    "cyclegan",
    "gan",
    "lapgan",
    "pix2pix",
    "private",
    "refiner",
    "srgan",
    "stackgan",
]
