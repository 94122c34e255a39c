"""The refiner of SimGAN (Shrivastava et al., 2017): a ResNet that keeps the size of the image all the way.

For example:

    >>> refiner, images = Refiner(channels=1, blocks=4), jnp.zeros((2, 35, 55, 1))
    >>> refined, _ = jax.eval_shape(refiner.init_with_output, jax.random.key(0), images)
    >>> refined.shape
    (2, 35, 55, 1)
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Conv, Norm
from jaxgan.layers.norm import NormKind
from jaxgan.networks.registry import network
from jaxgan.settings import Count, Depth, Width


@network("refiner", "generator", "example")
class Refiner(nn.Module):
    """Images `[N, H, W, C]` to images `[N, H, W, channels]` in (-1, 1), of any size.

    A 3x3 convolution, blocks of two with a skip, and a 1x1 convolution. Nothing is strided, so that an image is changed
    pixel by pixel and its structure stays. The published network is 64 wide with 4 blocks, for 55x35 pixels.

    References:
      Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, 2017,
      section 3.1.
    """

    channels: Count = 3
    width: Width = 64
    """Channels of the largest map."""

    rank = 3  # images
    blocks: Depth = 4
    """Residual blocks."""
    norm: NormKind = "none"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False, keys: jax.Array | None = None) -> jax.Array:
        """`[N, H, W, C]` to `[N, H, W, channels]`, float32."""
        bias = self.norm in ("none", "instance")

        def conv(x: jax.Array) -> jax.Array:
            x = Conv(self.width, 3, use_bias=bias, dtype=self.dtype)(x)
            return Norm(self.norm, dtype=self.dtype)(x, train=train)

        x = nn.relu(conv(image.astype(self.dtype)))
        for _ in range(self.blocks):
            x = nn.relu(x + conv(nn.relu(conv(x))))
        return jnp.tanh(Conv(self.channels, 1, dtype=self.dtype)(x).astype(jnp.float32))
