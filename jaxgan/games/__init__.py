"""Families of GANs: each file wires networks and losses into a `jaxgan.game.Game`."""

from jaxgan.games.adversary import Adversary, Weights
from jaxgan.games.gan import Latents, gan

__all__ = ["Adversary", "Latents", "Weights", "gan"]
