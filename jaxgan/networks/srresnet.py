"""The networks of SRGAN (Ledig et al., 2017): SRResNet, which enlarges, and a discriminator like VGG.

For example:

    >>> generator, small = SRResNet(scale=4), jnp.zeros((2, 24, 24, 3))
    >>> large, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), small)
    >>> logits, _ = jax.eval_shape(VGGDiscriminator().init_with_output, jax.random.key(0), large)
    >>> large.shape, logits.shape
    ((2, 96, 96, 3), (2,))
"""

from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from pydantic import Field

from jaxgan.layers import Conv, Dense, Norm, SpectralNorm, minibatch_std, pixel_shuffle
from jaxgan.layers.norm import NormKind
from jaxgan.networks.registry import network
from jaxgan.settings import Count, Depth, Width

SCALES = (2, 4)
"""How many times SRResNet can enlarge."""


@network("srresnet", "generator", "srgan")
class SRResNet(nn.Module):
    """Images `[N, H, W, C]` to images `[N, scale H, scale W, channels]`, of any size.

    The published network is 64 wide with 16 blocks. Its last layer has no activation: values stay near [-1, 1] because
    the images do. With norm "none" (Lim et al., Enhanced Deep Residual Networks for Single Image Super-Resolution,
    2017) blocks begin near the identity. No pixel outside `reach` has a part in another's result: norms that look at
    the whole image are not on offer.

    References:
      Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, 2017,
      figure 4.
    """

    scale: Count = 4
    channels: Count = 3
    width: Width = 64
    """Channels of the largest map."""

    rank = 3  # images
    blocks: Depth = 16
    """Residual blocks."""
    norm: Literal["batch", "none"] = "batch"
    dtype: Any = jnp.float32

    @property
    def reach(self) -> int:
        """How far it looks: an output pixel depends on input pixels this far from its own, and on none beyond.

        Counted from the last layer to the first, in pixels of the map at hand.
        """
        far = 4
        for _ in range(self.scale.bit_length() - 1):
            far = -(-far // 2) + 1
        return far + 1 + 2 * self.blocks + 4

    @nn.compact
    def __call__(
        self,
        image: jax.Array,
        *,
        train: bool = False,
        keys: jax.Array | None = None,
        inside: jax.Array | None = None,
    ) -> jax.Array:
        """`[N, H, W, C]` to `[N, scale H, scale W, channels]`, float32.

        Args:
          image: In [-1, 1].
          train: Whether batch norm sees the batch.
          keys: Not used; there is nothing random.
          inside: `[N, H, W, 1]`, 1 where the image is and 0 around it: what lies around is then zero for every layer,
            as beyond the border of an image that fills the array. So images of any size fit into one array.

        Raises:
          ValueError: If scale or norm are not offered.
        """
        if self.scale not in SCALES or self.norm not in ("batch", "none"):
            raise ValueError(
                f"scale is {self.scale}, norm {self.norm!r}; scale must be 2 or 4, norm 'batch' or 'none'"
            )
        bias, here = self.norm == "none", inside
        small = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal", -1, 0)

        def conv(
            x: jax.Array, features: int, kernel: int = 3, use_bias: bool = True, **init: Any
        ) -> jax.Array:
            x = x if here is None else x * here.astype(x.dtype)
            return Conv(features, kernel, use_bias=use_bias, dtype=self.dtype, **init)(x)

        def normed(x: jax.Array, **init: Any) -> jax.Array:
            return Norm(self.norm, dtype=self.dtype)(conv(x, self.width, 3, bias, **init), train=train)

        first = x = nn.PReLU(negative_slope_init=0.25)(conv(image.astype(self.dtype), self.width, 9))
        for _ in range(self.blocks):
            y = nn.PReLU(negative_slope_init=0.25)(normed(x))
            x = x + normed(y, **({"kernel_init": small} if bias else {}))
        x = first + normed(x)
        for _ in range(self.scale.bit_length() - 1):
            x = nn.PReLU(negative_slope_init=0.25)(pixel_shuffle(conv(x, 4 * self.width)))
            here = here if here is None else here.repeat(2, 1).repeat(2, 2)
        return conv(x, self.channels, 9).astype(jnp.float32)


@network("vgg", "discriminator", "example")
class VGGDiscriminator(nn.Module):
    """Images `[N, H, W, C]` to logits `[N]`, float32.

    Pairs of 3x3 convolutions, the second of each strided and the next pair twice as wide, then two dense layers on all
    of the last map: the images must have the size with which the network was made. The published network is 64 wide,
    of four pairs, for 96x96. With `minibatch_std` the last map gains the deviations of groups of four examples.

    References:
      Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, 2017,
      figure 4.
    """

    width: Width = 64
    """Channels of the largest map."""

    rank = 3  # images
    pairs: Annotated[int, Field(ge=1, le=8)] = 4
    """Pairs of convolutions, each of which halves the image."""
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
        """`[N, H, W, C]` to `[N]`."""

        def weighed(layer: nn.Module, x: jax.Array) -> jax.Array:
            return SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)

        x = image.astype(self.dtype)
        for i in range(2 * self.pairs):
            norm = self.norm if i else "none"
            bias = norm in ("none", "instance")
            layer = Conv(self.width * 2 ** (i // 2), 3, 1 + i % 2, 1, bias, dtype=self.dtype)
            x = nn.leaky_relu(Norm(norm, dtype=self.dtype)(weighed(layer, x), train=train), 0.2)
        x = minibatch_std(x) if self.minibatch_std else x
        x = x.reshape(len(x), -1)
        x = nn.leaky_relu(weighed(Dense(16 * self.width, dtype=self.dtype), x), 0.2)
        return weighed(Dense(1, dtype=self.dtype), x).astype(jnp.float32)[:, 0]
