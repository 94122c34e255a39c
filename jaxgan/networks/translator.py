"""The ResNet generator of CycleGAN (Zhu et al., 2017): images to images through blocks at a quarter of the size.

For example:

    >>> network, images = Translator(blocks=6), jnp.zeros((2, 50, 75, 3))
    >>> translated, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    >>> translated.shape
    (2, 50, 75, 3)
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Conv, ConvTranspose, Norm
from jaxgan.layers.norm import NormKind
from jaxgan.networks.dcgan import weights
from jaxgan.networks.registry import network
from jaxgan.networks.unet import padded
from jaxgan.settings import Count, Depth, Width


def reflected(x: jax.Array, by: int) -> jax.Array:
    """Images `[N, H, W, C]` mirrored at their borders, by less than their size."""
    return jnp.pad(x, [(0, 0), (by, by), (by, by), (0, 0)], "reflect")


@network("translator", "generator", "example")
class Translator(nn.Module):
    """Images `[N, H, W, C]` to images `[N, H, W, channels]` in (-1, 1), of any size from 16 on.

    The published networks are 64 wide, with nine blocks at 256x256 and six at 128x128. Borders are mirrored.

    References:
      Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, 2017, appendix 7.2.
      Johnson et al., Perceptual Losses for Real-Time Style Transfer and Super-Resolution, 2016.
    """

    channels: Count = 3
    width: Width = 64
    """Channels of the largest map."""

    rank = 3  # images
    blocks: Depth = 9
    """Residual blocks."""
    norm: NormKind = "instance"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False, keys: jax.Array | None = None) -> jax.Array:
        """`[N, H, W, C]` to `[N, H, W, channels]`, float32."""
        bias = self.norm in ("none", "instance")

        def conv(x: jax.Array, features: int, kernel: int, stride: int, padding: int | str) -> jax.Array:
            layer = Conv(features, kernel, stride, padding, bias, weights, self.dtype)
            return Norm(self.norm, dtype=self.dtype)(layer(x), train=train)

        x, (top, left) = padded(image, 4)
        x = nn.relu(conv(reflected(x.astype(self.dtype), 3), self.width, 7, 1, "VALID"))
        for times in (2, 4):
            x = nn.relu(conv(x, times * self.width, 3, 2, 1))
        for _ in range(self.blocks):
            y = nn.relu(conv(reflected(x, 1), 4 * self.width, 3, 1, "VALID"))
            x = x + conv(reflected(y, 1), 4 * self.width, 3, 1, "VALID")
        for times in (2, 1):
            layer = ConvTranspose(times * self.width, 3, 2, "SAME", bias, weights, self.dtype)
            x = nn.relu(Norm(self.norm, dtype=self.dtype)(layer(x), train=train))
        x = Conv(self.channels, 7, padding="VALID", kernel_init=weights, dtype=self.dtype)(reflected(x, 3))
        x = jnp.tanh(x.astype(jnp.float32))
        return x[:, top : top + image.shape[1], left : left + image.shape[2]]
