"""The small convolutional networks of LAPGAN (Denton et al., 2015) for the finer levels of a pyramid.

Its coarsest level is a plain GAN of fully connected networks: `jaxgan.networks.mlp`.

For example:

    >>> generator, enlarged, noise = BandGenerator(), jnp.zeros((2, 32, 32, 3)), jnp.zeros((2, 32, 32, 1))
    >>> band, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), enlarged, noise)
    >>> logits, _ = jax.eval_shape(BandDiscriminator().init_with_output, jax.random.key(0), band)
    >>> band.shape, logits.shape
    ((2, 32, 32, 3), (2,))
"""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from pydantic import Field

from jaxgan.layers import Conv, Dense, Dropout, minibatch_std
from jaxgan.networks.registry import checked, network, settings_of
from jaxgan.settings import Count, Fraction, Whole, Width


def label_plane(x: jax.Array, label: jax.Array | None, classes: int) -> jax.Array:
    """Appends a channel that a linear layer makes of the one-hot label; to be called within a compact module.

    Raises:
      ValueError: If there are classes and no label.
    """
    if classes == 0:
        return x
    if label is None:
        raise ValueError(f"this network is conditional on {classes} classes: call it with a label")
    plane = Dense(x.shape[1] * x.shape[2], dtype=x.dtype)(jax.nn.one_hot(label, classes, dtype=x.dtype))
    return jnp.concatenate([x, plane.reshape(*x.shape[:3], 1)], -1)


@checked
class BandGenerator(nn.Module):
    """What an enlarged image `[N, H, W, channels]` lacks, from it and a plane of noise `[N, H, W, 1]`.

    Three convolutions, ReLU between them.

    References:
      Denton et al., Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks, 2015, section 4.
    """

    channels: Count = 3
    width: Width = 64
    """Channels of the largest map."""
    kernel: Annotated[int, Field(ge=1, le=15)] = 3
    """Size of the convolutions' kernels."""
    classes: Whole = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self,
        low: jax.Array,
        noise: jax.Array,
        label: jax.Array | None = None,
        *,
        train: bool = False,
        keys: jax.Array | None = None,
    ) -> jax.Array:
        """`[N, H, W, C]` and `[N, H, W, 1]` to `[N, H, W, C]`, float32, of any size.

        Raises:
          ValueError: If a conditional generator gets no label.
        """
        x = label_plane(jnp.concatenate([low, noise], -1).astype(self.dtype), label, self.classes)
        for _ in range(2):
            x = nn.relu(Conv(self.width, self.kernel, dtype=self.dtype)(x))
        return Conv(self.channels, self.kernel, dtype=self.dtype)(x).astype(jnp.float32)


@checked
class BandDiscriminator(nn.Module):
    """Images `[N, H, W, C]` to logits `[N]`: two strided convolutions with dropout, and a dense layer.

    With `minibatch_std` the last map gains the deviations of groups of four examples.

    References:
      Denton et al., Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks, 2015, section 4.
    """

    width: Width = 64
    """Channels of the largest map."""
    kernel: Annotated[int, Field(ge=1, le=15)] = 4
    """Size of the convolutions' kernels."""
    classes: Whole = 0
    dropout: Fraction = 0.5
    dtype: Any = jnp.float32
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
    ) -> jax.Array:
        """`[N, H, W, C]` to float32 logits `[N]`.

        Raises:
          ValueError: If a conditional discriminator gets no label.
        """
        x = label_plane(image.astype(self.dtype), label, self.classes)
        for _ in range(2):
            x = nn.leaky_relu(Conv(self.width, self.kernel, 2, dtype=self.dtype)(x), 0.2)
            x = Dropout(self.dropout)(x, keys if train else None)
        x = minibatch_std(x) if self.minibatch_std else x
        x = x.reshape(x.shape[0], -1).astype(jnp.float32)
        return Dense(1, dtype=jnp.float32)(x)[:, 0]


@network("lapgan", "generator", "lapgan")
class LAPGANGenerator(settings_of(BandGenerator)):
    """Settings of `BandGenerator` at the finer levels of a pyramid, and of `MLPGenerator` at the coarsest."""

    hidden: Width = 1200
    """Features of each of the two hidden layers of the coarsest level."""


@network("lapgan", "discriminator", "lapgan")
class LAPGANDiscriminator(settings_of(BandDiscriminator)):
    """Settings of `BandDiscriminator` at the finer levels of a pyramid, and of `MLPDiscriminator` at the coarsest."""

    hidden: Width = 600
    """Features of each of the two hidden layers of the coarsest level."""
