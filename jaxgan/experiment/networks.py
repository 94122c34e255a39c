"""The Linen modules that settings name."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from jaxgan import config, networks
from jaxgan.errors import InputError
from jaxgan.networks import biggan, dcgan, resnet

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
RESOLUTIONS = {
    "dcgan": dcgan.RESOLUTIONS,
    "resnet": resnet.RESOLUTIONS,
    "sagan": biggan.RESOLUTIONS,
    "biggan": biggan.RESOLUTIONS,
}


class Shape(NamedTuple):
    """What a network works on."""

    resolution: int
    channels: int
    """Of the images that it makes or judges."""
    classes: int = 0
    """That it is conditional on."""
    dtype: Any = jnp.float32
    latent: int = 0
    """Of the codes that it makes."""

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
    config.SAGANGenerator: lambda net, of: networks.SAGANGenerator(
        of.resolution, of.channels, net.width, of.classes, net.attention, net.spectral, of.dtype
    ),
    config.BigGANGenerator: lambda net, of: networks.BigGANGenerator(
        of.resolution, of.channels, net.width, of.classes, net.attention, net.embedding, of.dtype
    ),
    config.DCGANDiscriminator: lambda net, of: networks.DCGANDiscriminator(
        *(of.resolution, of.channels, net.width, of.classes, net.norm, net.dropout, of.dtype),
        net.conditioning,
        net.minibatch_std,
    ),
    config.ResNetDiscriminator: lambda net, of: networks.ResNetDiscriminator(
        *(of.resolution, of.channels, net.width, of.classes, net.spectral, of.dtype),
        net.conditioning,
        net.minibatch_std,
    ),
    config.DCGANEncoder: lambda net, of: networks.DCGANEncoder(
        of.resolution, of.channels, of.latent, net.width, of.classes, net.norm, of.dtype
    ),
    config.MLPEncoder: lambda net, of: networks.MLPEncoder(
        of.latent, net.width, net.depth, of.classes, of.dtype
    ),
    config.MLPDiscriminator: lambda net, of: networks.MLPDiscriminator(
        net.width, net.depth, of.classes, net.dropout, of.dtype, net.conditioning, net.minibatch_std
    ),
    config.SAGANDiscriminator: lambda net, of: networks.SAGANDiscriminator(
        *(of.resolution, of.channels, net.width, of.classes, net.attention, of.dtype),
        minibatch_std=net.minibatch_std,
    ),
    config.BigGANDiscriminator: lambda net, of: networks.BigGANDiscriminator(
        *(of.resolution, of.channels, net.width, of.classes, net.attention, of.dtype),
        minibatch_std=net.minibatch_std,
    ),
    config.UNet: lambda net, of: networks.UNet(
        of.channels, net.width, net.depth, net.norm, net.dropout, of.dtype
    ),
    config.Translator: lambda net, of: networks.Translator(
        of.channels, net.width, net.blocks, net.norm, of.dtype
    ),
    config.Refiner: lambda net, of: networks.Refiner(of.channels, net.width, net.blocks, net.norm, of.dtype),
    config.VGGDiscriminator: lambda net, of: networks.VGGDiscriminator(
        net.width, net.pairs, net.norm, net.spectral, of.dtype, net.minibatch_std
    ),
    config.PatchGAN: lambda net, of: networks.PatchGAN(
        net.width, net.layers, net.norm, net.spectral, of.dtype, net.minibatch_std
    ),
    config.StackGANGenerator: lambda net, of: networks.StageOne(
        of.resolution, of.channels, 2 * net.width, net.condition, net.norm, of.dtype
    ),
    config.MatchingDiscriminator: lambda net, of: networks.MatchingDiscriminator(
        *(of.resolution, of.channels, net.width, net.condition, net.norm, net.spectral, of.dtype),
        net.minibatch_std,
    ),
    config.LAPGANGenerator: lambda net, of: networks.BandGenerator(
        of.channels, net.width, net.kernel, of.classes, of.dtype
    ),
    config.LAPGANDiscriminator: lambda net, of: networks.BandDiscriminator(
        net.width, net.kernel, of.classes, net.dropout, of.dtype, net.minibatch_std
    ),
}
"""A function for each class of settings."""

FROM_LATENTS = ("dcgan", "mlp", "resnet", "sagan", "biggan")
"""Generators that make images from latents."""
FROM_IMAGES = ("unet", "translator", "refiner")
"""Generators that make images from images of the same size."""
WHOLE = ("dcgan", "mlp", "resnet", "sagan", "biggan")
"""Discriminators that may be conditional on classes, and judge whole images."""


def demand(settings: config.Experiment, **kinds: Sequence[str]) -> None:
    """Checks that each network named is of a kind that the family can use.

    Raises:
      InputError: If one is not.
    """
    for where, known in kinds.items():
        named = getattr(settings, where).network
        if named not in known:
            raise InputError(
                f"game.family {settings.game.family} takes {where}.network {' or '.join(known)}, not {named}"
            )


def module(net: Any, of: Shape, where: str) -> nn.Module:
    """The module that a network's settings name.

    Args:
      net: The settings.
      of: What it works on.
      where: The key of the settings, for errors.

    Raises:
      InputError: If there is no such network at this resolution, or no such map for attention; or if the network is to
        learn of classes where there are none.
    """
    supported = RESOLUTIONS.get(net.network, (of.resolution,))
    if of.resolution not in supported:
        raise InputError(
            f"data.resolution is {of.resolution}, but {where}.network {net.network} supports only "
            f"{', '.join(map(str, supported))}"
        )
    try:
        if getattr(net, "attention", 0):
            biggan.plan(of.resolution, net.attention)
    except ValueError as error:
        raise InputError(f"{where}.attention: {error}") from None
    how = getattr(net, "conditioning", None)
    if how == "auxiliary" and not of.classes:
        raise InputError(
            f"{where}.conditioning is 'auxiliary', but there are no classes: set game.conditional to true"
        )
    return MODULES[type(net)](net, of)
