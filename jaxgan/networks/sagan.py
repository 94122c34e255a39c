"""SAGAN (Zhang et al., 2018): BigGAN's forerunner, with the same blocks and attention.

What differs: latents enter at the bottom alone; the scales and biases of the generator's batch norms are a table
with a row for each class, without spectral norm, and plain batch norm where there are no classes; weights start as
Glorot's; and attention, where it is asked for, is on maps of 32x32 in the paper (`attention=32`), after block 3 of 5
at 128x128.

For example:

    >>> generator, latents = SAGANGenerator(resolution=32, attention=16), jnp.zeros((2, 128))
    >>> images, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), latents)
    >>> images.shape
    (2, 32, 32, 3)
    >>> SAGANGenerator(resolution=32, attention=64)
    Traceback (most recent call last):
    jaxgan.networks.registry.FieldError: SAGANGenerator.attention: ... maps of size 16 or 8, not 64
"""

from collections.abc import Callable
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxgan.layers import Conv, Dense, Norm, SelfAttention, SpectralNorm
from jaxgan.networks.biggan import RESOLUTIONS, BigGANDiscriminator, check_attention, plan
from jaxgan.networks.conditioning import one_hot
from jaxgan.networks.registry import network
from jaxgan.networks.resnet import UpBlock, glorot, shortcut
from jaxgan.settings import Count, Whole, Width


@network("sagan", "generator", "latent")
class SAGANGenerator(nn.Module):
    """Latents `[N, Z]` to images `[N, resolution, resolution, channels]` in (-1, 1).

    Without attention and spectral norm it is the generator of Miyato and Koyama's projection paper.

    References:
      Zhang et al., Self-Attention Generative Adversarial Networks, 2018, section 4.
      Miyato and Koyama, cGANs with Projection Discriminator, ICLR 2018, appendix A.
    """

    resolutions: ClassVar[tuple[int, ...]] = RESOLUTIONS
    checks: ClassVar[tuple[Callable[[Any], None], ...]] = (check_attention,)
    resolution: Count = 128
    channels: Count = 3
    width: Width = 64
    """Channels of the largest map."""

    rank = 3  # images
    classes: Whole = 0
    attention: Whole = 0
    """Size of the map that gets attention, such as 32 at 128x128 or 14 at 28x28; 0 for none."""
    spectral: bool = True
    """Whether weights are spectrally normalised."""
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
          ValueError: If a conditional generator gets no label.
        """
        base, up, _ = plan(self.resolution)
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


@network("sagan", "discriminator", "example", "label")
class SAGANDiscriminator(BigGANDiscriminator):
    """BigGAN's discriminator, narrower, and with Glorot's weights.

    References:
      Zhang et al., Self-Attention Generative Adversarial Networks, 2018, section 4.
    """

    width: Width = 64
    """Channels of the largest map."""

    rank = 3  # images
    conv_init: ClassVar[Initializer] = staticmethod(shortcut)
    dense_init: ClassVar[Initializer] = staticmethod(glorot)
