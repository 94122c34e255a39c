"""SAGAN (Zhang et al., 2018): BigGAN's forerunner, with the same blocks and attention.

What differs: latents enter at the bottom alone; the scales and biases of the generator's batch norms are a table
with a row for each class, without spectral norm, and plain batch norm where there are no classes; weights start as
Glorot's; and attention is on maps of 32x32, after block 3 of 5 at 128x128.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers import Conv, Dense, Norm, SelfAttention, SpectralNorm
from jaxgan.networks.biggan import BigGANDiscriminator, plan
from jaxgan.networks.conditioning import one_hot
from jaxgan.networks.resnet import UpBlock, glorot, shortcut


class SAGANGenerator(nn.Module):
    """Latents `[N, Z]` to images `[N, resolution, resolution, channels]` in (-1, 1).

    Without attention and spectral norm it is the generator of Miyato and Koyama's projection paper.

    References:
      Zhang et al., Self-Attention Generative Adversarial Networks, 2018, section 4.
      Miyato and Koyama, cGANs with Projection Discriminator, ICLR 2018, appendix A.
    """

    resolution: int = 128
    channels: int = 3
    width: int = 64
    classes: int = 0
    attention: int = 32
    """Size of the map that gets attention, 0 for none."""
    spectral: bool = True
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
          ValueError: If the resolution or the map for attention does not exist, or a conditional generator gets no
            label.
        """
        base, up, _ = plan(self.resolution, self.attention)
        rows = one_hot(label, self.classes) if self.classes else None

        def run(layer: nn.Module, x: jax.Array) -> jax.Array:
            return SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)

        x = run(Dense(base * base * up[0] * self.width, kernel_init=glorot, dtype=self.dtype), latent)
        x = x.reshape(-1, base, base, up[0] * self.width)
        for units in up[1:]:
            how = ("batch", self.dtype, self.spectral, shortcut, shortcut)
            x = UpBlock(units * self.width, *how)(x, rows, train=train)
            if x.shape[1] == self.attention:
                x = SelfAttention(self.spectral, shortcut, self.dtype)(x, train=train)
        x = nn.relu(Norm(dtype=self.dtype)(x, train=train))
        x = run(Conv(self.channels, kernel_init=shortcut, dtype=self.dtype), x)
        return jnp.tanh(x.astype(jnp.float32))


class SAGANDiscriminator(BigGANDiscriminator):
    """BigGAN's discriminator, narrower, with attention on maps of 32x32, and Glorot's weights.

    References:
      Zhang et al., Self-Attention Generative Adversarial Networks, 2018, section 4.
    """

    width: int = 64
    attention: int = 32
    conv_init: Any = shortcut
    dense_init: Any = glorot
