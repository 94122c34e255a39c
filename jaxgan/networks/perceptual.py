"""What perceptual losses look through: maps inside networks whose weights are fixed.

The weights are constants of a loss. They are in no state and no checkpoint; a run's manifest names their SHA-256.

For example:

    >>> images = jnp.zeros((2, 28, 28, 1))
    >>> difference(lambda x: (x, 3 * x), images, images + 1).item()  # of two layers: the mean of 1 and 9
    5.0
    >>> load("fashion-cnn", resolution=64, channels=3)
    Traceback (most recent call last):
    jaxgan.errors.InputError: game.features fashion-cnn is for 28x28 grey images; take ...
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.errors import InputError
from jaxgan.layers import Norm
from jaxgan.networks import classifier, efficientnet, weights

Name = Literal["auto", "fashion-cnn", "efficientnet-lite0"]
Maps = Callable[[jax.Array], tuple[jax.Array, ...]]
"""Images `[N, H, W, C]` in [-1, 1] to maps `[N, h, w, D]` of some layers, differentiable."""

BLOCKS = (0, 2, 4)
"""Blocks of EfficientNet-Lite0: the last ones at a half, a quarter and an eighth of the image's size."""


class Perceptual(NamedTuple):
    """A feature network with its fixed weights."""

    name: str
    sha256: str
    """The SHA-256 of the weights' file."""
    maps: Maps


def load(name: Name, resolution: int, channels: int) -> Perceptual:
    """The network of a name, for images of one kind.

    Args:
      name: "fashion-cnn" for 28x28 grey images: the maps before each halving and the last. "efficientnet-lite0", of
        the extra `features`, for images from 32x32 at their own size: those of `BLOCKS`; grey images go in three times.
        "auto" for the first that takes the images.
      resolution: Of the images.
      channels: Of the images.

    Raises:
      InputError: If the network does not take such images, or its weights are missing or wrong.
    """
    small = (resolution, channels) == (28, 1)
    if name == "auto":
        name = "fashion-cnn" if small else "efficientnet-lite0"
    if name == "fashion-cnn" and not small:
        raise InputError(
            "game.features fashion-cnn is for 28x28 grey images; take efficientnet-lite0 or none"
        )
    if name == "efficientnet-lite0" and resolution < efficientnet.LEAST:
        raise InputError(
            f"game.features efficientnet-lite0 is for images from {efficientnet.LEAST}x{efficientnet.LEAST}, and "
            f"these are {resolution}x{resolution}; set it to none"
        )
    if name == "fashion-cnn":
        return Perceptual(name, weights.sha256(classifier.FASHION), _fashion(classifier.load()))
    path = efficientnet.package_weights()
    return Perceptual(name, weights.sha256(path), _efficientnet(efficientnet.load(path)))


def difference(maps: Maps, a: jax.Array, b: jax.Array) -> jax.Array:
    """The mean squared difference of the maps of two batches, a scalar: each layer counts alike.

    References:
      Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, 2017,
      equation 5, of one layer of VGG.
    """
    both = zip(maps(a), maps(b), strict=True)
    return jnp.mean(jnp.stack([jnp.mean(jnp.square(x - y)) for x, y in both]))


def _inner(module: nn.Module, variables: Any, x: jax.Array, kind: type[nn.Module]) -> dict[str, jax.Array]:
    """What the modules of a kind right inside a network make of images, by name."""
    _, found = module.apply(
        variables,
        x,
        capture_intermediates=lambda inner, method: isinstance(inner, kind) and method == "__call__",
        mutable=["intermediates"],
    )
    inner: Any = found["intermediates"]
    return {name: values["__call__"][0] for name, values in inner.items()}


def _fashion(variables: Any) -> Maps:
    module = classifier.Classifier(10)

    def maps(images: jax.Array) -> tuple[jax.Array, ...]:
        norms = _inner(module, variables, images, Norm)
        return tuple(nn.relu(norms[f"Norm_{2 * pair + 1}"]) for pair in range(module.pairs))

    return maps


def _efficientnet(variables: Any) -> Maps:
    module = efficientnet.EfficientNetLite0()

    def maps(images: jax.Array) -> tuple[jax.Array, ...]:
        x = jnp.broadcast_to((images + 1) * 127.5, (*images.shape[:3], 3))
        blocks = _inner(module, variables, (x - 127) / 128, efficientnet.Block)
        return tuple(blocks[f"block_{index}"] for index in BLOCKS)

    return maps
