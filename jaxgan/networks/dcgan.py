"""DCGAN (Radford et al., 2015): strided 4x4 convolutions down, transposed ones up, batch norm between.

The published network is 64x64; here the number of stages follows the resolution. Two things are written differently
and compute the same: the first transposed convolution on a 1x1 latent and the last convolution on a 4x4 map are dense
layers.

For example:

    >>> stages(28)  # from 7x7, doubled twice
    (7, 2)
    >>> generator = DCGANGenerator(resolution=28, channels=1, width=32)
    >>> discriminator = DCGANDiscriminator(resolution=28, channels=1, width=32)
    >>> images, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), jnp.zeros((2, 64)))
    >>> logits, _ = jax.eval_shape(discriminator.init_with_output, jax.random.key(0), images)
    >>> images.shape, logits.shape
    ((2, 28, 28, 1), (2,))
"""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxgan.layers import Conv, ConvTranspose, Dense, Dropout, Norm, minibatch_std
from jaxgan.layers.norm import NormKind
from jaxgan.networks.conditioning import Conditioning, concatenate_label, judge, split
from jaxgan.networks.registry import network
from jaxgan.settings import Count, Fraction, Whole, Width

RESOLUTIONS = (16, 28, 32, 64, 128, 256)

weights: Initializer = nn.initializers.normal(0.02)


def scales(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
    """Batch norm's scales start at N(1, 0.02), as in the authors' code."""
    return 1 + 0.02 * jax.random.normal(key, shape, dtype)


def stages(resolution: int) -> tuple[int, int]:
    """Size of the smallest map, and how often it doubles on the way to `resolution`.

    Raises:
      ValueError: If the resolution is not one of `RESOLUTIONS`.
    """
    if resolution not in RESOLUTIONS:
        raise ValueError(f"DCGAN has no {resolution}x{resolution} network; supported are {RESOLUTIONS}")
    base = 7 if resolution == 28 else 4
    return base, (resolution // base).bit_length() - 1


def widths(width: int, doublings: int) -> list[int]:
    """Channels from the largest map to the smallest: doubling, up to eight times `width` as at 64x64."""
    return [width * min(2**i, 8) for i in range(doublings)]


@network("dcgan", "generator", "latent", "decoder")
class DCGANGenerator(nn.Module):
    """Latents `[N, Z]` to images `[N, resolution, resolution, channels]` in (-1, 1)."""

    rank = 3  # images

    resolutions: ClassVar[tuple[int, ...]] = RESOLUTIONS
    resolution: Count = 64
    channels: Count = 3
    width: Width = 64
    """Channels of the largest map."""
    classes: Whole = 0
    norm: Literal["batch", "layer", "none"] = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        latent: jax.Array,
        label: jax.Array | None = None,
        *,
        train: bool = False,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """`[N, Z]` to `[N, R, R, C]`, float32.

        Raises:
          ValueError: If the resolution is not supported, or a conditional generator gets no label.
        """
        base, doublings = stages(self.resolution)
        channels = widths(self.width, doublings)
        bias = self.norm == "none"
        x = concatenate_label(latent, label, self.classes).astype(self.dtype)
        x = Dense(base * base * channels[-1], use_bias=bias, kernel_init=weights, dtype=self.dtype)(x)
        x = x.reshape(-1, base, base, channels[-1])
        for features in [*channels[-2::-1], None]:
            x = nn.relu(Norm(self.norm, scales, self.dtype)(x, train=train))
            last = features is None
            x = ConvTranspose(
                self.channels if last else features,
                use_bias=last or bias,
                kernel_init=weights,
                dtype=self.dtype,
            )(x)
        return jnp.tanh(x.astype(jnp.float32))


@network("dcgan", "discriminator", "example", "label")
class DCGANDiscriminator(nn.Module):
    """Images `[N, resolution, resolution, channels]` to logits `[N]`.

    With `minibatch_std` the last map gains the deviations of groups of four examples.
    """

    resolutions: ClassVar[tuple[int, ...]] = RESOLUTIONS
    resolution: Count = 64
    channels: Count = 3
    width: Width = 64
    """Channels of the largest map."""

    rank = 3  # images
    classes: Whole = 0
    norm: Literal["batch", "layer", "none"] = "batch"
    dropout: Fraction = 0.0
    dtype: Any = jnp.float32
    conditioning: Conditioning = "concatenate"
    minibatch_std: bool = False
    """Whether it sees how much groups of four examples differ."""

    @nn.compact
    def __call__(
        self,
        image: jax.Array,
        label: jax.Array | None = None,
        *,
        train: bool = False,
        keys: jax.Array | None = None,
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """`[N, R, R, C]` to float32 logits `[N]`, and with an auxiliary classifier also those of the classes `[N, K]`.

        Raises:
          ValueError: If the image is not of the module's resolution and channels.
        """
        _check(image, self.resolution, self.channels, "discriminator")
        if self.conditioning == "concatenate":
            image = concatenate_label(image, label, self.classes)
        x = _down(image, self.resolution, self.width, self.norm, self.dropout, self.dtype, train, keys)
        x = minibatch_std(x) if self.minibatch_std else x
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)

        def dense(outputs: int, x: jax.Array, use_bias: bool) -> jax.Array:
            return Dense(outputs, use_bias, kernel_init=weights, dtype=jnp.float32)(x)

        return judge(x, label, self.classes, self.conditioning, dense)


@network("dcgan", "encoder", "example")
class DCGANEncoder(nn.Module):
    """Images `[N, resolution, resolution, channels]` to codes, by the discriminator's layers but the last."""

    rank = 3  # images

    resolutions: ClassVar[tuple[int, ...]] = RESOLUTIONS
    resolution: Count = 64
    channels: Count = 3
    latent: Count = 2
    width: Width = 64
    """Channels of the largest map."""
    classes: Whole = 0
    norm: Literal["batch", "layer", "none"] = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, image: jax.Array, *, train: bool = False, keys: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array | None]:
        """`[N, R, R, C]` to codes `[N, latent]` and the logits of classes `[N, classes]`, None of none; float32.

        Raises:
          ValueError: If the image is not of the module's resolution and channels.
        """
        _check(image, self.resolution, self.channels, "encoder")
        x = _down(image, self.resolution, self.width, self.norm, 0.0, self.dtype, train, keys)
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        return split(
            Dense(self.latent + self.classes, kernel_init=weights, dtype=jnp.float32)(x), self.latent
        )


def _check(image: jax.Array, resolution: int, channels: int, network: str) -> None:
    size = (resolution, resolution, channels)
    if image.shape[1:] != size:
        raise ValueError(f"this {network} reads images {size}, got {image.shape[1:]}")


def _down(
    x: jax.Array,
    resolution: int,
    width: int,
    norm: NormKind,
    dropout: float,
    dtype: Any,
    train: bool,
    keys: jax.Array | None,
) -> jax.Array:
    """The strided convolutions, as layers of the module that calls: `[N, R, R, C]` to maps `[N, h, w, F]`."""
    _, doublings = stages(resolution)
    x = x.astype(dtype)
    for i, channels in enumerate(widths(width, doublings)):
        # No norm on the first layer (section 3 of the paper): it would hide the statistics of the images.
        kind = "none" if i == 0 else norm
        x = Conv(channels, 4, 2, use_bias=kind == "none", kernel_init=weights, dtype=dtype)(x)
        x = nn.leaky_relu(Norm(kind, scales, dtype)(x, train=train), 0.2)
        x = Dropout(dropout)(x, keys if train else None)
    return x
