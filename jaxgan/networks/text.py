"""Text encoders: captions to embeddings.

For example:

    >>> encoder, captions = CharacterEncoder(), jnp.array([list(b"a red hat"), list(b"two shoes")])
    >>> embeddings, variables = jax.eval_shape(encoder.init_with_output, jax.random.key(0), captions)
    >>> embeddings.shape
    (2, 128)
    >>> variables["params"]["Dense_0"]["kernel"].shape  # 32 numbers for each of 256 bytes
    (256, 32)
"""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from pydantic import Field

from jaxgan.layers import Dense
from jaxgan.networks.registry import checked
from jaxgan.settings import Width


def _windows(x: jax.Array, size: int) -> jax.Array:
    """Each position `[N, L, C]` with its neighbours, zeros beyond the ends: `[N, L, size * C]`."""
    length, before = x.shape[1], size // 2
    x = jnp.pad(x, ((0, 0), (before, size - 1 - before), (0, 0)))
    return jnp.concatenate([x[:, i : i + length] for i in range(size)], -1)


def _halved(x: jax.Array) -> jax.Array:
    """The larger of each two neighbours along the second dimension, of numbers that are at least 0."""
    x = jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0)))
    return x.reshape(x.shape[0], -1, 2, x.shape[2]).max(2)


@checked
class CharacterEncoder(nn.Module):
    """Captions as bytes `[N, L]` to embeddings `[N, features]`: convolutions over characters, and their maxima.

    It needs no vocabulary and no weights, and is small enough to be trained with what uses it. Zeros, which fill
    captions up to one length, are not seen: a longer L changes nothing.

    References:
      Zhang et al., Character-level Convolutional Networks for Text Classification, 2015.
      Reed et al., Generative Adversarial Text to Image Synthesis, 2016, section 4 (a convolutional encoder of
      characters; there trained before the GAN, and recurrent at its end).
    """

    features: Width = 128
    """Numbers of an embedding."""
    width: Width = 32
    """Numbers of a character's embedding and of the first layer; each next one is twice as wide, at half the length."""
    layers: Annotated[int, Field(ge=1, le=6)] = 2
    """Convolutions; the length is halved between each two."""
    window: Annotated[int, Field(ge=1, le=32)] = 5
    """Characters that a convolution sees."""
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, text: jax.Array, *, train: bool = False, keys: jax.Array | None = None) -> jax.Array:
        """int32 `[N, L]` in [0, 256) to float32 `[N, features]`."""
        seen = (text > 0)[..., None].astype(self.dtype)
        # A product and not a look-up: its gradient is a product too, which adds in one order on every device.
        x = Dense(self.width, use_bias=False, dtype=self.dtype)(jax.nn.one_hot(text, 256, dtype=self.dtype))
        for i in range(self.layers):
            x, seen = (x, seen) if i == 0 else (_halved(x), _halved(seen))
            x = nn.relu(Dense(self.width * 2**i, dtype=self.dtype)(_windows(x * seen, self.window))) * seen
        return Dense(self.features, dtype=jnp.float32)(x.max(1).astype(jnp.float32))
