"""BigGAN (Brock et al., 2018): wide residual networks whose generator learns of class and latent in every block.

Parameters at 128x128 with width 96, latents of 120 and 1,000 classes: 70.4 million in the generator and 88.0 million
in the discriminator, as published. Spectral norm and batch norm use our epsilons, 1e-12 and 1e-5, where the paper
has 1e-4.

For example:

    >>> plan(128).attention  # sizes of maps that can get attention
    (64, 32, 16, 8)
    >>> generator = BigGANGenerator(resolution=32, width=64, classes=10)
    >>> generator.parts  # of the latents: one for the first layer and one for each of three blocks
    4
    >>> latents, labels = jnp.zeros((2, 128)), jnp.array([0, 1])
    >>> images, _ = jax.eval_shape(generator.init_with_output, jax.random.key(0), latents, labels)
    >>> images.shape
    (2, 32, 32, 3)
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jax.nn.initializers import Initializer

from jaxgan.layers import Conv, Dense, Norm, SelfAttention, SpectralNorm, minibatch_std
from jaxgan.networks.conditioning import judge, one_hot
from jaxgan.networks.registry import FieldError, network
from jaxgan.networks.resnet import DownBlock, UpBlock
from jaxgan.settings import Count, Whole, Width

RESOLUTIONS = (28, 32, 64, 128, 256)

columns: Initializer = nn.initializers.orthogonal()
rows: Initializer = nn.initializers.orthogonal(column_axis=0)
"""For kernels of convolutions, whose outputs come first."""

_UP = {64: (16, 16, 8, 4, 2), 128: (16, 16, 8, 4, 2, 1), 256: (16, 16, 8, 8, 4, 2, 1)}
_DOWN = {64: (1, 2, 4, 8, 16), 128: (1, 2, 4, 8, 16, 16), 256: (1, 2, 4, 8, 8, 16, 16)}


class Plan(NamedTuple):
    """What the networks of a resolution look like."""

    base: int
    """Size of the smallest map."""
    up: tuple[int, ...]
    """Channels of the generator's maps, from the smallest, in units of the width."""
    down: tuple[tuple[int, bool], ...]
    """For each of the discriminator's blocks the channels, in those units, and whether it halves the map."""

    @property
    def attention(self) -> tuple[int, ...]:
        """Sizes of maps on which attention can be: those that both networks have."""
        image = self.base * 2 ** (len(self.up) - 1)
        sizes = [image >> i for i in range(1, 1 + sum(halved for _, halved in self.down))]
        return tuple(size for size in sizes if size > self.base)


def plan(resolution: int) -> Plan:
    """The tables of the paper's appendix B for 128 and 256, those of the authors' PyTorch code for 64 and 32.

    28x28 is as 32x32, with maps from 7x7: the generator has two blocks, and in the discriminator two halve the map
    and two leave it.

    Args:
      resolution: Of the images.

    Raises:
      ValueError: If the resolution is not one of `RESOLUTIONS`.
    """
    if resolution not in RESOLUTIONS:
        raise ValueError(f"BigGAN has no {resolution}x{resolution} network; supported are {RESOLUTIONS}")
    if resolution <= 32:
        base = 7 if resolution == 28 else 4
        up = (4,) * (resolution // base).bit_length()
        return Plan(base, up, ((4, True), (4, True), (4, False), (4, False)))
    halved = len(_UP[resolution]) - 1
    return Plan(4, _UP[resolution], tuple((w, i < halved) for i, w in enumerate(_DOWN[resolution])))


def check_attention(module: Any) -> None:
    """Raises FieldError where a network of `plan` has no map of the size that is to get attention."""
    resolution, sizes = module.resolution, plan(module.resolution).attention
    if module.attention and module.attention not in sizes:
        reason = (
            f"attention at {resolution}x{resolution} can be on maps of size {' or '.join(map(str, sizes))}"
        )
        raise FieldError(type(module).__name__, "attention", f"{reason}, not {module.attention}")


@network("biggan", "generator", "latent")
class BigGANGenerator(nn.Module):
    """Latents `[N, Z]` to images `[N, resolution, resolution, channels]` in (-1, 1).

    Latents are cut into one part for the first layer and one for each block, as equal as can be; the scales and
    biases of a block's batch norms are projections of its part, joined with an embedding of the class that all
    blocks share. Every layer but that embedding is spectrally normalised.

    References:
      Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2018, appendix B.
    """

    resolutions: ClassVar[tuple[int, ...]] = RESOLUTIONS
    checks: ClassVar[tuple[Callable[[Any], None], ...]] = (check_attention,)
    resolution: Count = 128
    channels: Count = 3
    width: Width = 96
    """Channels of the largest map from 128x128; a quarter of them at 28x28 and 32x32."""

    rank = 3  # images
    classes: Whole = 0
    attention: Whole = 0
    """Size of the map that gets attention, such as 64 at 128x128 or 14 at 28x28; 0 for none."""
    embedding: Width = 128
    """Numbers that all blocks learn of the class."""
    dtype: Any = jnp.float32

    @property
    def parts(self) -> int:
        """Into how many parts latents are cut."""
        return len(plan(self.resolution).up)

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
          ValueError: If a conditional generator gets no label, or there are fewer latents than parts.
        """
        base, up, _ = plan(self.resolution)
        if latent.shape[1] < self.parts:
            raise ValueError(f"this generator needs at least {self.parts} latents, got {latent.shape[1]}")
        first, *parts = jnp.array_split(latent, self.parts, 1)
        if self.classes:
            # Not a layer with a "kernel": the paper leaves it out of the penalty on weights that are not orthogonal.
            table = self.param("class_embedding", columns, (self.classes, self.embedding))
            shared = jnp.matmul(one_hot(label, self.classes), table, precision=lax.Precision.HIGHEST)
            parts = [jnp.concatenate([shared, part], 1) for part in parts]

        def run(layer: nn.Module, x: jax.Array) -> jax.Array:
            return SpectralNorm(layer)(x, train=train)

        x = run(Dense(base * base * up[0] * self.width, kernel_init=columns, dtype=self.dtype), first)
        x = x.reshape(-1, base, base, up[0] * self.width)
        for units, part in zip(up[1:], parts, strict=True):
            block = UpBlock(units * self.width, "batch", self.dtype, True, rows, rows, columns, True)
            x = block(x, part, train=train)
            if x.shape[1] == self.attention:
                x = SelfAttention(True, rows, self.dtype)(x, train=train)
        x = nn.relu(Norm(dtype=self.dtype)(x, train=train))
        x = run(Conv(self.channels, kernel_init=rows, dtype=self.dtype), x)
        return jnp.tanh(x.astype(jnp.float32))


@network("biggan", "discriminator", "example", "label")
class BigGANDiscriminator(nn.Module):
    """Images `[N, resolution, resolution, channels]` to logits `[N]`: residual blocks, a sum over the map, a
    projection.

    Every layer is spectrally normalised, the embedding of the classes too. With `minibatch_std` the last map gains the
    deviations of groups of four examples.

    References:
      Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2018, appendix B.
    """

    resolutions: ClassVar[tuple[int, ...]] = RESOLUTIONS
    checks: ClassVar[tuple[Callable[[Any], None], ...]] = (check_attention,)
    resolution: Count = 128
    channels: Count = 3
    width: Width = 96
    """Channels of the largest map from 128x128; a quarter of them at 28x28 and 32x32."""

    rank = 3  # images
    classes: Whole = 0
    attention: Whole = 0
    """Size of the map that gets attention, such as 64 at 128x128 or 14 at 28x28; 0 for none."""
    dtype: Any = jnp.float32
    conv_init: ClassVar[Initializer] = staticmethod(rows)
    dense_init: ClassVar[Initializer] = staticmethod(columns)
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
        """`[N, R, R, C]` to float32 logits `[N]`.

        Raises:
          ValueError: If the image is not of the module's resolution and channels, or a conditional discriminator gets
            no label; or as the generator.
        """
        size = (self.resolution, self.resolution, self.channels)
        if image.shape[1:] != size:
            raise ValueError(f"this discriminator reads images {size}, got {image.shape[1:]}")

        def dense(outputs: int, x: jax.Array, use_bias: bool) -> jax.Array:
            layer = Dense(outputs, use_bias, kernel_init=self.dense_init, dtype=jnp.float32)
            return SpectralNorm(layer)(x, train=train)

        x = image.astype(self.dtype)
        for i, (units, down) in enumerate(plan(self.resolution).down):
            how = (True, self.dtype, True, self.conv_init, self.conv_init)
            x = DownBlock(units * self.width, i == 0, down, *how)(x, train=train)
            if down and x.shape[1] == self.attention:
                x = SelfAttention(True, self.conv_init, self.dtype)(x, train=train)
        x = minibatch_std(x) if self.minibatch_std else x
        x = jnp.sum(nn.relu(x).astype(jnp.float32), (1, 2))
        return judge(x, label, self.classes, "projection", dense)  # pyright: ignore[reportReturnType]
