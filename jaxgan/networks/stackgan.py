"""StackGAN (Zhang et al., 2017): text to a small image, and that and the text to a large one.

A map that is 2^i times smaller than the image has 2^i times its channels, up to 16 times: `width` is of the image's
size. With a width of 48 at 256x256, and of 96 in the first stage at 64x64, it is as wide as the authors' code.

For example:

    >>> embeddings, latents, noise = jnp.zeros((2, 384)), jnp.zeros((2, 100)), jnp.zeros((2, 128))
    >>> first, second, key = StageOne(resolution=64), StageTwo(scale=4), jax.random.key(0)
    >>> (small, _), _ = jax.eval_shape(first.init_with_output, key, embeddings, latents, noise)
    >>> (large, gaussian), _ = jax.eval_shape(second.init_with_output, key, embeddings, small, noise)
    >>> small.shape, large.shape, gaussian.mean.shape
    ((2, 64, 64, 3), (2, 256, 256, 3), (2, 128))
"""

from typing import Annotated, Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from pydantic import Field

from jaxgan.layers import Conv, Dense, Norm, SpectralNorm, minibatch_std
from jaxgan.layers.norm import NormKind
from jaxgan.networks.dcgan import scales, weights
from jaxgan.networks.registry import checked, network, settings_of
from jaxgan.networks.resnet import UpsampleConv
from jaxgan.settings import Count, Width

LEAST, MOST = 4, 7
"""Sides that the smallest map can have."""


def doublings(resolution: int) -> int:
    """How often the smallest map doubles on the way to an image.

    Raises:
      ValueError: If that is not possible: the resolution must be 4, 5, 6 or 7 times a power of 2.
    """
    count = 0
    while resolution > MOST and resolution % 2 == 0:
        resolution, count = resolution // 2, count + 1
    if not LEAST <= resolution <= MOST:
        raise ValueError(
            f"StackGAN makes images of 4, 5, 6 or 7 times a power of 2 pixels, not of {resolution}"
        )
    return count


def channels_of(width: int, i: int) -> int:
    """Channels of a map that is 2^i times smaller than the image."""
    return width * min(2**i, 16)


class Gaussian(NamedTuple):
    """Independent Gaussians, `[N, C]`."""

    mean: jax.Array
    log_variance: jax.Array

    def draw(self, noise: jax.Array) -> jax.Array:
        """A draw `[N, C]`, from a standard Gaussian one."""
        return self.mean + jnp.exp(self.log_variance / 2) * noise

    def divergence(self) -> jax.Array:
        """Kullback-Leibler divergence from the standard Gaussian, `[N]`, nats.

        References:
          Zhang et al., StackGAN, 2017, equation 2, in closed form.
        """
        variance = jnp.exp(self.log_variance)
        return jnp.sum(jnp.square(self.mean) + variance - 1 - self.log_variance, 1) / 2


class Augmentation(nn.Module):
    """Conditioning augmentation: an embedding to the Gaussian that the condition is drawn from.

    References:
      Zhang et al., StackGAN, 2017, section 3.2.
    """

    features: int = 128

    @nn.compact
    def __call__(self, embedding: jax.Array) -> Gaussian:
        """`[N, E]` to means and logarithms of variances `[N, features]`, float32."""
        both = Dense(2 * self.features, dtype=jnp.float32)(embedding.astype(jnp.float32))
        return Gaussian(both[:, : self.features], both[:, self.features :])


class Up(nn.Module):
    """Nearest-neighbour upsampling, 3x3, norm, ReLU."""

    features: int
    norm: NormKind = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[N, H, W, C]` to `[N, 2H, 2W, features]`."""
        x = UpsampleConv(self.features, self.dtype)(x)
        return nn.relu(Norm(self.norm, scales, self.dtype)(x, train=train))


@checked
class StageOne(nn.Module):
    """Embeddings and latents to small images in (-1, 1).

    References:
      Zhang et al., StackGAN, 2017, section 3.3.
    """

    resolution: Count = 64
    channels: Count = 3
    width: Width = 96
    """Channels of the largest map."""
    condition: Width = 128
    """Numbers that are drawn from the embedding."""
    norm: Literal["batch", "layer", "none"] = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        embedding: jax.Array,
        latent: jax.Array,
        noise: jax.Array,
        *,
        train: bool = False,
        keys: jax.Array | None = None,
    ) -> tuple[jax.Array, Gaussian]:
        """Images `[N, R, R, channels]`, float32, and what their conditions are drawn from.

        Args:
          embedding: `[N, E]`.
          latent: `[N, Z]`.
          noise: `[N, condition]`, standard Gaussian.
          train: Whether batch norm sees the batch.
          keys: Not used.

        Raises:
          ValueError: As `doublings`.
        """
        count = doublings(self.resolution)
        base, first = self.resolution >> count, channels_of(self.width, count)
        gaussian = Augmentation(self.condition)(embedding)
        x = jnp.concatenate([gaussian.draw(noise), latent], 1).astype(self.dtype)
        x = Dense(base * base * first, kernel_init=weights, dtype=self.dtype)(x).reshape(
            -1, base, base, first
        )
        x = nn.relu(Norm(self.norm, scales, self.dtype)(x, train=train))
        for i in range(count - 1, -1, -1):
            x = Up(channels_of(self.width, i), self.norm, self.dtype)(x, train=train)
        x = Conv(self.channels, kernel_init=weights, dtype=self.dtype)(x)
        return jnp.tanh(x.astype(jnp.float32)), gaussian


@checked
class StageTwo(nn.Module):
    """Small images and embeddings to images `scale` times as large, in (-1, 1).

    The small image is halved `depth` times, meets the condition, goes through residual blocks and grows.

    References:
      Zhang et al., StackGAN, 2017, section 3.4.
    """

    scale: Count = 4
    channels: Count = 3
    width: Width = 48
    """Channels of the largest map."""
    condition: Width = 128
    """Numbers that are drawn from the embedding."""
    blocks: Annotated[int, Field(ge=0, le=256)] = 4
    """Residual blocks of the second stage."""
    depth: Annotated[int, Field(ge=0, le=6)] = 2
    """Halvings of the small image before them."""
    norm: Literal["batch", "layer", "none"] = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        embedding: jax.Array,
        image: jax.Array,
        noise: jax.Array,
        *,
        train: bool = False,
        keys: jax.Array | None = None,
    ) -> tuple[jax.Array, Gaussian]:
        """Images `[N, scale * H, scale * W, channels]`, float32, and what their conditions are drawn from.

        Args:
          embedding: `[N, E]`.
          image: `[N, H, W, C]`, of the first stage.
          noise: `[N, condition]`, standard Gaussian, not that of the first stage.
          train: Whether batch norm sees the batch.
          keys: Not used.

        Raises:
          ValueError: If the scale is no power of 2, or the image cannot be halved so often.
        """
        ups = self.scale.bit_length() - 1
        if self.scale != 2**ups or image.shape[1] % 2**self.depth or image.shape[2] % 2**self.depth:
            raise ValueError(
                f"scale is {self.scale}, depth {self.depth} and the image {image.shape[1:3]}; the scale must be a "
                "power of 2 and the image a multiple of 2^depth"
            )

        def normed(x: jax.Array) -> jax.Array:
            return Norm(self.norm, scales, self.dtype)(x, train=train)

        def conv(x: jax.Array, features: int, kernel: int = 3, stride: int = 1) -> jax.Array:
            padding = 1 if kernel > 1 else 0
            return Conv(features, kernel, stride, padding, kernel_init=weights, dtype=self.dtype)(x)

        gaussian = Augmentation(self.condition)(embedding)
        x = nn.relu(conv(image.astype(self.dtype), channels_of(self.width, ups)))
        for i in range(1, self.depth + 1):
            x = nn.relu(normed(conv(x, channels_of(self.width, ups + i), 4, 2)))
        x = beside(x, gaussian.draw(noise))
        features = channels_of(self.width, ups + self.depth)
        x = nn.relu(normed(conv(x, features)))
        for _ in range(self.blocks):
            y = nn.relu(normed(conv(x, features)))
            x = nn.relu(x + normed(conv(y, features)))
        for i in range(ups + self.depth - 1, -1, -1):
            x = Up(channels_of(self.width, i), self.norm, self.dtype)(x, train=train)
        return jnp.tanh(conv(x, self.channels).astype(jnp.float32)), gaussian


@network("matching", "discriminator", "stackgan")
class MatchingDiscriminator(nn.Module):
    """Images and embeddings to logits `[N]`: whether they are real and belong together.

    The embedding is compressed, and stands beside every place of the smallest map. With `minibatch_std` the last map
    gains the deviations of groups of four examples.

    References:
      Zhang et al., StackGAN, 2017, sections 3.3 and 3.4.
      Reed et al., Generative Adversarial Text to Image Synthesis, 2016, section 4.
    """

    resolution: Count = 64
    channels: Count = 3
    width: Width = 96
    """Channels of the largest map."""
    condition: Width = 128
    """Numbers that the embedding is compressed to."""
    norm: Literal["batch", "layer", "none"] = "batch"
    spectral: bool = False
    """Whether weights are spectrally normalised."""
    dtype: Any = jnp.float32
    minibatch_std: bool = False
    """Whether it sees how much groups of four examples differ."""

    @nn.compact
    def __call__(
        self, image: jax.Array, embedding: jax.Array, *, train: bool = False, keys: jax.Array | None = None
    ) -> jax.Array:
        """`[N, R, R, C]` and `[N, E]` to float32 logits `[N]`.

        Raises:
          ValueError: If the image is not of the module's resolution and channels; as `doublings`.
        """
        size = (self.resolution, self.resolution, self.channels)
        if image.shape[1:] != size:
            raise ValueError(f"this discriminator reads images {size}, got {image.shape[1:]}")

        def run(layer: nn.Module, x: jax.Array) -> jax.Array:
            return SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)

        x, features = image.astype(self.dtype), self.width
        for i in range(doublings(self.resolution)):
            features = channels_of(self.width, i)
            x = run(Conv(features, 4, 2, 1, kernel_init=weights, dtype=self.dtype), x)
            # No norm on the first layer, as in DCGAN: it would hide the statistics of the images.
            x = nn.leaky_relu(Norm("none" if i == 0 else self.norm, scales, self.dtype)(x, train=train), 0.2)
        told = nn.leaky_relu(
            run(Dense(self.condition, dtype=jnp.float32), embedding.astype(jnp.float32)), 0.2
        )
        x = run(Conv(features, 1, kernel_init=weights, dtype=self.dtype), beside(x, told))
        x = nn.leaky_relu(Norm(self.norm, scales, self.dtype)(x, train=train), 0.2)
        x = minibatch_std(x) if self.minibatch_std else x
        x = x.reshape(len(x), -1).astype(jnp.float32)
        return run(Dense(1, kernel_init=weights, dtype=jnp.float32), x)[:, 0]


def beside(x: jax.Array, condition: jax.Array) -> jax.Array:
    """A map `[N, H, W, C]` with a condition `[N, D]` at every place, `[N, H, W, C + D]`."""
    spread = jnp.broadcast_to(condition.astype(x.dtype)[:, None, None], (*x.shape[:3], condition.shape[1]))
    return jnp.concatenate([x, spread], -1)


@network("stackgan", "generator", "stackgan")
class StackGANGenerator(settings_of(StageTwo)):
    """Settings of `StageTwo`, and of a `StageOne` of twice the width; both as wide as the authors' code for 256x256."""

    def stage_one(self, **facts: Any) -> StageOne:
        """The first stage."""
        return StageOne(width=2 * self.width, condition=self.condition, norm=self.norm, **facts)
