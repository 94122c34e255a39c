"""PatchGAN (Isola et al., 2017): a discriminator that judges every patch of an image by itself.

For example:

    >>> receptive_field(3)
    70
    >>> network, images = PatchGAN(layers=3), jnp.zeros((2, 256, 256, 3))
    >>> logits, _ = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    >>> logits.shape  # 30 by 30 patches
    (2, 30, 30)
"""

from typing import Annotated, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from pydantic import Field

from jaxgan.layers import Conv, Norm, SpectralNorm, minibatch_std
from jaxgan.layers.norm import NormKind
from jaxgan.networks.dcgan import scales, weights
from jaxgan.networks.registry import network
from jaxgan.settings import Width


def receptive_field(layers: int) -> int:
    """Side of the patches that a discriminator with so many strided layers judges: 16, 34, 70, 142, ..."""
    side = 1
    for stride in (1, 1, *[2] * layers):
        side = (side - 1) * stride + 4
    return side if layers else 1


@network("patchgan", "discriminator", "example")
class PatchGAN(nn.Module):
    """Images `[N, H, W, C]` to logits of patches `[N, h, w]`, float32.

    `layers` strided 4x4 convolutions and two more see patches of `receptive_field(layers)` pixels: 70 for the published
    3. With no layers it is the paper's PixelGAN, of 1x1 convolutions. With `minibatch_std` the last map gains the
    deviations of groups of four examples.

    References:
      Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, appendix 6.1.2.
    """

    width: Width = 64
    """Channels of the largest map."""

    rank = 3  # images
    layers: Annotated[int, Field(ge=0, le=8)] = 3
    """Strided layers: patches of 1, 16, 34, 70, 142, ... pixels."""
    norm: NormKind = "batch"
    spectral: bool = False
    """Whether weights are spectrally normalised."""
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
        """`[N, H, W, C]` to `[N, h, w]`.

        Raises:
          ValueError: If nothing is left of so small an image.
        """

        def conv(x: jax.Array, features: int, stride: int, norm: NormKind) -> jax.Array:
            kernel, padding = (4, 1) if self.layers else (1, 0)
            bias = norm in ("none", "instance")
            layer = Conv(features, kernel, stride, padding, bias, weights, self.dtype)
            x = SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)
            return Norm(norm, scales, self.dtype)(x, train=train)

        x = nn.leaky_relu(conv(image.astype(self.dtype), self.width, 2 if self.layers else 1, "none"), 0.2)
        for i in range(1, self.layers + 1) if self.layers else (1,):
            stride = 2 if i < self.layers else 1
            x = nn.leaky_relu(conv(x, self.width * min(2**i, 8), stride, self.norm), 0.2)
        x = minibatch_std(x) if self.minibatch_std else x
        return conv(x, 1, 1, "none").astype(jnp.float32)[..., 0]
