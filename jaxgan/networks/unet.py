"""The U-Net generator of pix2pix (Isola et al., 2017): down to one pixel and up again, with skips across.

For example:

    >>> network, images = UNet(channels=3, depth=5), jnp.zeros((2, 50, 75, 1))
    >>> padded(images, 2**5)[0].shape  # what can be halved five times
    (2, 64, 96, 1)
    >>> translated, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    >>> translated.shape
    (2, 50, 75, 3)
"""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from pydantic import Field

from jaxgan.layers import Conv, ConvTranspose, Dropout, Norm
from jaxgan.layers.norm import NormKind
from jaxgan.networks.dcgan import scales, weights
from jaxgan.networks.registry import network
from jaxgan.settings import Count, Fraction, Width


def padded(x: jax.Array, multiple: int) -> tuple[jax.Array, tuple[int, int]]:
    """Images `[N, H, W, C]` with their borders repeated up to multiples of a number; and where the image begins."""
    extra = [-size % multiple for size in x.shape[1:3]]
    pads = [(n // 2, n - n // 2) for n in extra]
    return jnp.pad(x, [(0, 0), *pads, (0, 0)], "edge") if any(extra) else x, (pads[0][0], pads[1][0])


@network("unet", "generator", "example")
class UNet(nn.Module):
    """Images `[N, H, W, C]` to images `[N, H, W, channels]` in (-1, 1), of any size.

    Each of `depth` 4x4 convolutions halves the map, and as many transposed ones double it, joined with the map of the
    way down. The published network is 64 wide and 8 deep, for 256x256 down to one pixel; there the innermost map has no
    norm, nor have the first and the last layer. Dropout in the three innermost layers of the way up is the noise of the
    paper: it is there whenever keys are given, in sampling too.

    References:
      Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, section 3.2 and
      appendix 6.1.
    """

    channels: Count = 3
    width: Width = 64
    """Channels of the largest map."""

    rank = 3  # images
    depth: Annotated[int, Field(ge=2, le=12)] = 8
    """Halvings of the image: 8 take 256x256 to one pixel."""
    norm: NormKind = "batch"
    dropout: Fraction = 0.5
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False, keys: jax.Array | None = None) -> jax.Array:
        """`[N, H, W, C]` to `[N, H, W, channels]`, float32."""
        widths = [self.width * min(2**i, 8) for i in range(self.depth)]
        x, (top, left) = padded(image, 2**self.depth)
        x, skips = x.astype(self.dtype), []
        for i, features in enumerate(widths):
            norm = "none" if i in (0, self.depth - 1) else self.norm
            x = x if i == 0 else nn.leaky_relu(x, 0.2)
            x = Conv(features, 4, 2, use_bias=norm == "none", kernel_init=weights, dtype=self.dtype)(x)
            x = Norm(norm, scales, self.dtype)(x, train=train)
            skips.append(x)
        x = skips.pop()
        for i, features in enumerate([*widths[-2::-1], self.channels]):
            last = i == self.depth - 1
            x = x if i == 0 else jnp.concatenate([x, skips.pop()], -1)
            bias = last or self.norm in ("none", "instance")
            up = ConvTranspose(features, use_bias=bias, kernel_init=weights, dtype=self.dtype)
            x = up(nn.relu(x))
            if not last:
                x = Norm(self.norm, scales, self.dtype)(x, train=train)
                x = Dropout(self.dropout)(x, keys) if 0 < i < 4 else x
        x = jnp.tanh(x.astype(jnp.float32))
        return x[:, top : top + image.shape[1], left : left + image.shape[2]]
