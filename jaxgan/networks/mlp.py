"""Fully connected generator and discriminator, as in the first GAN (Goodfellow et al., 2014), and an encoder.

For example:

    >>> generator, encoder = MLPGenerator((28, 28, 1)), MLPEncoder(latent=2, classes=10)
    >>> images, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), jnp.zeros((5, 64)))
    >>> (codes, logits), _ = jax.eval_shape(encoder.init_with_output, jax.random.key(0), images)
    >>> images.shape, codes.shape, logits.shape
    ((5, 28, 28, 1), (5, 2), (5, 10))
"""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Dense, Dropout, minibatch_std
from jaxgan.networks.conditioning import Conditioning, concatenate_label, judge, split
from jaxgan.networks.registry import network
from jaxgan.settings import Count, Depth, Fraction, Whole, Width


@network("mlp", "generator", "latent", "decoder")
class MLPGenerator(nn.Module):
    """Latents `[N, Z]` to images `[N, *shape]` in (-1, 1), or to unbounded points where `tanh` is off."""

    shape: tuple[int, ...]
    width: Width = 64
    """Features of a hidden layer."""
    depth: Depth = 3
    """Hidden layers."""
    classes: Whole = 0
    tanh: bool = True
    """Whether values are bounded to (-1, 1); off for points."""
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
        """`[N, Z]` to `[N, *shape]`, float32."""
        x = concatenate_label(latent, label, self.classes).astype(self.dtype)
        for _ in range(self.depth):
            x = nn.relu(Dense(self.width, dtype=self.dtype)(x))
        x = Dense(math.prod(self.shape), dtype=self.dtype)(x).astype(jnp.float32)
        return (jnp.tanh(x) if self.tanh else x).reshape(-1, *self.shape)


@network("mlp", "discriminator", "example", "label", "code")
class MLPDiscriminator(nn.Module):
    """Images or points `[N, ...]` to logits `[N]`.

    With `minibatch_std` the last features gain the deviations of groups of four examples.
    """

    width: Width = 64
    """Features of a hidden layer."""
    depth: Depth = 3
    """Hidden layers."""
    classes: Whole = 0
    dropout: Fraction = 0.0
    dtype: Any = jnp.float32
    conditioning: Conditioning = "concatenate"
    minibatch_std: bool = False
    """Whether it sees how much groups of four examples differ."""

    @property
    def per_example(self) -> bool:
        """Whether it says the same of an image whatever is beside it."""
        return not self.minibatch_std

    @nn.compact
    def __call__(
        self,
        image: jax.Array,
        label: jax.Array | None = None,
        *,
        train: bool = False,
        keys: jax.Array | None = None,
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """`[N, ...]` to float32 logits `[N]`, and with an auxiliary classifier also those of the classes `[N, K]`."""
        x = image.reshape(image.shape[0], -1)
        if self.conditioning == "concatenate":
            x = concatenate_label(x, label, self.classes)
        x = x.astype(self.dtype)
        for _ in range(self.depth):
            x = nn.leaky_relu(Dense(self.width, dtype=self.dtype)(x), 0.2)
            x = Dropout(self.dropout)(x, keys if train else None)
        x = minibatch_std(x) if self.minibatch_std else x

        def dense(outputs: int, x: jax.Array, use_bias: bool) -> jax.Array:
            return Dense(outputs, use_bias, dtype=jnp.float32)(x)

        return judge(x.astype(jnp.float32), label, self.classes, self.conditioning, dense)


@network("mlp", "encoder", "example")
class MLPEncoder(nn.Module):
    """Images or points `[N, ...]` to codes, as in the adversarial autoencoder (Makhzani et al., 2015)."""

    latent: Count = 2
    width: Width = 64
    """Features of a hidden layer."""
    depth: Depth = 3
    """Hidden layers."""
    classes: Whole = 0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, image: jax.Array, *, train: bool = False, keys: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array | None]:
        """`[N, ...]` to codes `[N, latent]` and the logits of classes `[N, classes]`, None of none; float32."""
        x = image.reshape(image.shape[0], -1).astype(self.dtype)
        for _ in range(self.depth):
            x = nn.relu(Dense(self.width, dtype=self.dtype)(x))
        return split(Dense(self.latent + self.classes, dtype=jnp.float32)(x.astype(jnp.float32)), self.latent)
