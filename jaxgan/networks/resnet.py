"""ResNets of SNGAN (Miyato et al., 2018): residual blocks of two 3x3 convolutions that double or halve the map.

Where the papers' layers commute, the cheaper order is taken, and computes the same: 1x1 convolutions of shortcuts see
the smaller map, before nearest-neighbour upsampling and after average pooling; a 3x3 convolution next to either of
them becomes one convolution with stride 2 and the sums of its taps, 4 multiplications in place of 9.

For example:

    >>> widths(128, width=64)  # channels of the maps from 4x4 to 128x128
    [1024, 1024, 512, 256, 128, 64]
    >>> network = ResNetDiscriminator(resolution=32, classes=10)
    >>> images, labels = jnp.zeros((2, 32, 32, 3)), jnp.array([0, 1])
    >>> logits, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images, labels)
    >>> logits.shape, sorted(variables)
    ((2,), ['params', 'spectral'])
"""

from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.nn.initializers import Initializer

from jaxgan.layers import (
    ConditionalNorm,
    Conv,
    Dense,
    Norm,
    SpectralNorm,
    conv,
    conv_transpose,
    minibatch_std,
)
from jaxgan.layers.norm import NormKind
from jaxgan.networks.conditioning import Conditioning, concatenate_label, judge
from jaxgan.networks.registry import network
from jaxgan.settings import Count, Whole, Width

RESOLUTIONS = (16, 28, 32, 64, 128)

glorot: Initializer = nn.initializers.glorot_uniform()
shortcut: Initializer = nn.initializers.glorot_uniform(-1, 0)
residual: Initializer = nn.initializers.variance_scaling(2.0, "fan_avg", "uniform", -1, 0)
"""Convolutions on the residual way: Glorot's limits times the square root of 2, as in the authors' code."""


def base(resolution: int) -> int:
    """Size of the smallest map."""
    return 7 if resolution == 28 else 4


def widths(resolution: int, width: int) -> list[int]:
    """Channels of the maps of a generator, from 4x4 (of 28x28, from 7x7) to the image.

    Up to 32x32 all are `width`, as in the paper's table for CIFAR-10. Larger ones are `width` at full resolution and
    twice as wide on each smaller map, up to 16 times, as in its table for 128x128.

    Raises:
      ValueError: If the resolution is not one of `RESOLUTIONS`.
    """
    if resolution not in RESOLUTIONS:
        raise ValueError(f"ResNet has no {resolution}x{resolution} network; supported are {RESOLUTIONS}")
    doublings = (resolution // base(resolution)).bit_length() - 1
    return [width * (1 if resolution <= 32 else min(2**i, 16)) for i in range(doublings, -1, -1)]


def upsample(x: jax.Array) -> jax.Array:
    """`[N, H, W, C]` to `[N, 2H, 2W, C]`, each pixel four times."""
    n, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (n, h, 2, w, 2, c)).reshape(n, 2 * h, 2 * w, c)


def pool(x: jax.Array) -> jax.Array:
    """`[N, 2H, 2W, C]` to `[N, H, W, C]`, the means of 2x2 pixels."""
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))


def _spread(kernel: jax.Array) -> jax.Array:
    """The kernel `[D, k + 1, k + 1, C]` of a convolution followed by the sum over 2x2 pixels."""
    for axis in (1, 2):
        before, after = ([(0, 0)] * 4, [(0, 0)] * 4)
        before[axis], after[axis] = (1, 0), (0, 1)
        kernel = jnp.pad(kernel, before) + jnp.pad(kernel, after)
    return kernel


class _Resampling(nn.Module):
    """A 3x3 convolution with bias beside a change of size, its kernel laid out as in `Conv`."""

    features: int
    dtype: Any = jnp.float32
    kernel_init: Any = residual

    def weights(self, channels: int) -> tuple[jax.Array, jax.Array]:
        """The layer makes its kernel, and its bias as images have it."""
        kernel = self.param("kernel", self.kernel_init, (self.features, 3, 3, channels))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return kernel, bias.astype(self.dtype)[None, None, None]


class UpsampleConv(_Resampling):
    """Nearest-neighbour upsampling, then a 3x3 convolution, as one transposed convolution."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, H, W, C]` to `[N, 2H, 2W, features]`."""
        kernel, bias = self.weights(x.shape[-1])
        kernel = _spread(kernel[:, ::-1, ::-1].swapaxes(0, 3))
        return conv_transpose(x.astype(self.dtype), kernel.astype(self.dtype), 2, 1) + bias


class ConvPool(_Resampling):
    """A 3x3 convolution, then average pooling, as one convolution with stride 2."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, 2H, 2W, C]` to `[N, H, W, features]`."""
        kernel, bias = self.weights(x.shape[-1])
        return conv(x.astype(self.dtype), (_spread(kernel) / 4).astype(self.dtype), 2, 1) + bias


class UpBlock(nn.Module):
    """Norm, ReLU, upsampling, 3x3, norm, ReLU, 3x3, beside a shortcut of upsampling and 1x1."""

    features: int
    norm: NormKind = "batch"
    dtype: Any = jnp.float32
    spectral: bool = False
    """Whether convolutions are spectrally normalised."""
    kernel_init: Any = residual
    shortcut_init: Any = shortcut
    modulation_init: Any = nn.initializers.zeros
    """How the projections of conditional norms start."""
    spectral_modulation: bool = False
    """Whether those are spectrally normalised."""

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array | None = None, *, train: bool) -> jax.Array:
        """`[N, H, W, C]`, and `[N, E]` for conditional norms, to `[N, 2H, 2W, features]`."""

        def norm(x: jax.Array) -> jax.Array:
            if condition is None:
                return Norm(self.norm, dtype=self.dtype)(x, train=train)
            how = (self.norm, self.spectral_modulation, self.modulation_init, self.dtype)
            return ConditionalNorm(*how)(x, condition, train=train)

        def run(layer: nn.Module, x: jax.Array) -> jax.Array:
            return SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)

        y = run(UpsampleConv(self.features, self.dtype, self.kernel_init), nn.relu(norm(x)))
        y = run(Conv(self.features, kernel_init=self.kernel_init, dtype=self.dtype), nn.relu(norm(y)))
        aside = Conv(self.features, 1, kernel_init=self.shortcut_init, dtype=self.dtype)
        return y + upsample(run(aside, x))


class DownBlock(nn.Module):
    """ReLU, 3x3, ReLU, 3x3, pooling, beside a shortcut of 1x1 and pooling; the identity where nothing changes."""

    features: int
    first: bool = False
    """The block that reads images: no ReLU before the first convolution."""
    down: bool = True
    spectral: bool = True
    dtype: Any = jnp.float32
    wide: bool = False
    """Whether the first convolution changes the width, as in SAGAN and BigGAN; in SNGAN the second does."""
    kernel_init: Any = residual
    shortcut_init: Any = shortcut

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[N, H, W, C]` to `[N, H / 2, W / 2, features]`, or to the same size without `down`."""

        def run(layer: nn.Module, x: jax.Array) -> jax.Array:
            return SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)

        y = x if self.first else nn.relu(x)
        inner = self.features if self.first or self.wide else x.shape[-1]
        y = nn.relu(run(Conv(inner, kernel_init=self.kernel_init, dtype=self.dtype), y))
        last = (
            ConvPool(self.features, self.dtype, self.kernel_init)
            if self.down
            else Conv(self.features, kernel_init=self.kernel_init, dtype=self.dtype)
        )
        y = run(last, y)
        if self.down or x.shape[-1] != self.features:
            x = pool(x) if self.down else x
            x = run(Conv(self.features, 1, kernel_init=self.shortcut_init, dtype=self.dtype), x)
        return y + x


@network("resnet", "generator", "latent", "decoder")
class ResNetGenerator(nn.Module):
    """Latents `[N, Z]` to images `[N, resolution, resolution, channels]` in (-1, 1).

    The published widths are 256 at 32x32 and 64 at 128x128. A label is appended to the latent.
    """

    resolutions: ClassVar[tuple[int, ...]] = RESOLUTIONS
    resolution: Count = 32
    channels: Count = 3
    width: Width = 256
    """Channels of the largest map."""

    rank = 3  # images
    classes: Whole = 0
    norm: Literal["batch", "layer", "none"] = "batch"
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
          ValueError: If the resolution is not supported, or a conditional generator gets no label.
        """
        first, *rest = widths(self.resolution, self.width)
        x = concatenate_label(latent, label, self.classes).astype(self.dtype)
        size = base(self.resolution)
        x = Dense(size * size * first, kernel_init=glorot, dtype=self.dtype)(x).reshape(-1, size, size, first)
        for features in rest:
            x = UpBlock(features, self.norm, self.dtype)(x, train=train)
        x = nn.relu(Norm(self.norm, dtype=self.dtype)(x, train=train))
        x = Conv(self.channels, kernel_init=shortcut, dtype=self.dtype)(x)
        return jnp.tanh(x.astype(jnp.float32))


@network("resnet", "discriminator", "example", "label")
class ResNetDiscriminator(nn.Module):
    """Images `[N, resolution, resolution, channels]` to logits `[N]`, without batch norm.

    The published widths are 128 at 32x32 and 64 at 128x128. Up to 32x32 two blocks halve the map and two leave it;
    larger images are halved down to 4x4, with one more block there. With `spectral` every weight is spectrally
    normalised. With `minibatch_std` the last map gains the deviations of groups of four examples.

    References:
      Miyato et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018, appendix B.4.
      Miyato and Koyama, cGANs with Projection Discriminator, ICLR 2018.
    """

    resolutions: ClassVar[tuple[int, ...]] = RESOLUTIONS
    resolution: Count = 32
    channels: Count = 3
    width: Width = 128
    """Channels of the largest map."""

    rank = 3  # images
    classes: Whole = 0
    spectral: bool = True
    """Whether weights are spectrally normalised."""
    dtype: Any = jnp.float32
    conditioning: Conditioning = "projection"
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
    ) -> jax.Array | tuple[jax.Array, jax.Array]:
        """`[N, R, R, C]` to float32 logits `[N]`, and with an auxiliary classifier also those of the classes `[N, K]`.

        Raises:
          ValueError: If the image is not of the module's resolution and channels, or a conditional discriminator gets
            no label.
        """
        size = (self.resolution, self.resolution, self.channels)
        if image.shape[1:] != size:
            raise ValueError(f"this discriminator reads images {size}, got {image.shape[1:]}")

        def dense(features: int, x: jax.Array, **kwargs: Any) -> jax.Array:
            layer = Dense(features, kernel_init=glorot, dtype=jnp.float32, **kwargs)
            return SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)

        maps = widths(self.resolution, self.width)[:0:-1]
        if self.resolution <= 32:
            blocks = [(self.width, True)] * 2 + [(self.width, False)] * 2
        else:
            blocks = [(features, True) for features in maps] + [(maps[-1], False)]
        if self.conditioning == "concatenate":
            image = concatenate_label(image, label, self.classes)
        x = image.astype(self.dtype)
        for i, (features, down) in enumerate(blocks):
            x = DownBlock(features, i == 0, down, self.spectral, self.dtype)(x, train=train)
        x = minibatch_std(x) if self.minibatch_std else x
        x = jnp.sum(nn.relu(x).astype(jnp.float32), (1, 2))
        return judge(x, label, self.classes, self.conditioning, dense)
