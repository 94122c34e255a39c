"""The Linen modules that settings name."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from jaxgan import config, networks
from jaxgan.errors import InputError
from jaxgan.networks import dcgan, resnet

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
RESOLUTIONS = {"dcgan": dcgan.RESOLUTIONS, "resnet": resnet.RESOLUTIONS}


class Shape(NamedTuple):
    """What a network works on."""

    resolution: int
    channels: int
    """Of the images that it makes or judges."""
    classes: int = 0
    """That it is conditional on."""
    dtype: Any = jnp.float32

    @property
    def image(self) -> tuple[int, int, int]:
        """Of one image."""
        return self.resolution, self.resolution, self.channels


MODULES: dict[type, Callable[[Any, Shape], nn.Module]] = {
    config.DCGANGenerator: lambda net, of: networks.DCGANGenerator(
        of.resolution, of.channels, net.width, of.classes, net.norm, of.dtype
    ),
    config.ResNetGenerator: lambda net, of: networks.ResNetGenerator(
        of.resolution, of.channels, net.width, of.classes, net.norm, of.dtype
    ),
    config.MLPGenerator: lambda net, of: networks.MLPGenerator(
        of.image, net.width, net.depth, of.classes, dtype=of.dtype
    ),
    config.DCGANDiscriminator: lambda net, of: networks.DCGANDiscriminator(
        of.resolution, of.channels, net.width, of.classes, net.norm, net.dropout, of.dtype
    ),
    config.ResNetDiscriminator: lambda net, of: networks.ResNetDiscriminator(
        of.resolution, of.channels, net.width, of.classes, net.spectral, of.dtype
    ),
    config.MLPDiscriminator: lambda net, of: networks.MLPDiscriminator(
        net.width, net.depth, of.classes, net.dropout, of.dtype
    ),
}
"""A function for each class of settings."""


def module(net: Any, of: Shape, where: str) -> nn.Module:
    """The module that a network's settings name.

    Args:
      net: The settings.
      of: What it works on.
      where: The key of the settings, for errors.

    Raises:
      InputError: If there is no such network at this resolution.
    """
    supported = RESOLUTIONS.get(net.network, (of.resolution,))
    if of.resolution not in supported:
        raise InputError(
            f"data.resolution is {of.resolution}, but {where}.network {net.network} supports only "
            f"{', '.join(map(str, supported))}"
        )
    return MODULES[type(net)](net, of)
