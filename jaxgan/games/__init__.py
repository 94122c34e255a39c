"""Families of GANs: each file wires networks and losses into a `jaxgan.game.Game`."""

from jaxgan.games.gan import gan

__all__ = ["gan"]
