"""XLA's own convolutions: as XLA differentiates them, and with derivatives that keep its fast kernel on a CPU.

Here is also what all ways share: `Geometry`, and `pad`.

For example:

    >>> geo = Geometry(kernel=(3, 3), size=(8, 8), stride=1, pads=((1, 1), (1, 1)))
    >>> x, w = jnp.ones((2, 8, 8, 4)), jnp.ones((5, 3, 3, 4))
    >>> y = plain(x, w, geo)
    >>> y.shape, bool(jnp.allclose(y, stock(x, w, geo)))
    ((2, 8, 8, 5), True)
    >>> plain_transposed(y, w, geo).shape
    (2, 8, 8, 4)
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.layers.products import custom_vjp

Pads = tuple[tuple[int, int], tuple[int, int]]
NHWC = ("NHWC", "HWIO", "NHWC")
OHWI = ("NHWC", "OHWI", "NHWC")


class Geometry(NamedTuple):
    """What is static about a convolution: kernel, input size, stride and padding, each for height and width."""

    kernel: tuple[int, int]
    size: tuple[int, int]
    stride: int
    pads: Pads

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = (
            (n + low + high - k) // self.stride + 1
            for n, k, (low, high) in zip(self.size, self.kernel, self.pads, strict=True)
        )
        return height, width


def pad(x: jax.Array, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """Pads height and width with zeros; negative padding cuts."""
    (top, bottom), (left, right) = pads
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))


def _plain(x: jax.Array, w: jax.Array, pads: Sequence[tuple[int, int]], **kwargs: Any) -> jax.Array:
    # Negative padding takes XLA's slow path on CPU: cut the input instead.
    x = pad(x, [(min(0, low), min(0, high)) for low, high in pads])
    pads = [(max(0, low), max(0, high)) for low, high in pads]
    kwargs = {"window_strides": (1, 1), **kwargs}
    return lax.conv_general_dilated(x, w, padding=pads, dimension_numbers=NHWC, **kwargs)


def stock(x: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    """XLA's own convolution, `[N, H, W, C]` to `[N, H', W', D]`."""
    strides = (geo.stride, geo.stride)
    return lax.conv_general_dilated(x, w, strides, geo.pads, dimension_numbers=OHWI)


def stock_transposed(g: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    """XLA's own transposed convolution, `[N, H', W', D]` to `[N, H, W, C]`."""
    x = jax.ShapeDtypeStruct((g.shape[0], *geo.size, w.shape[3]), g.dtype)
    (dx,) = jax.linear_transpose(lambda x: stock(x, w, geo), x)(g)
    return dx


def _forward(x: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    return _plain(x, w.transpose(1, 2, 3, 0), geo.pads, window_strides=(geo.stride, geo.stride))


def _input_gradient(g: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    """Each of the stride^2 phases of the output is a stride-1 convolution of `g`; depth to space interleaves them."""
    s, (kh, kw), (height, width) = geo.stride, geo.kernel, geo.size
    taps = [-(-k // s) for k in (kh, kw)]  # taps of one phase
    first = [low // s for low, _ in geo.pads]
    count = [(low + n - 1) // s - f + 1 for n, (low, _), f in zip(geo.size, geo.pads, first, strict=True)]
    pads = []
    for n, t, f, c in zip(g.shape[1:3], taps, first, count, strict=True):
        pads.append((t - 1 - f, c - n + f))
    co, ci = w.shape[0], w.shape[3]
    w = jnp.pad(w, ((0, 0), (0, taps[0] * s - kh), (0, taps[1] * s - kw), (0, 0)))
    w = w.reshape(co, taps[0], s, taps[1], s, ci)[:, ::-1, :, ::-1]
    w = w.transpose(1, 3, 0, 2, 4, 5).reshape(taps[0], taps[1], co, s * s * ci)
    y = _plain(g, w, pads)
    y = y.reshape(-1, count[0], count[1], s, s, ci).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(-1, count[0] * s, count[1] * s, ci)
    top, left = (low - s * f for (low, _), f in zip(geo.pads, first, strict=True))
    return y[:, top : top + height, left : left + width]


def _weight_gradient(x: jax.Array, g: jax.Array, geo: Geometry) -> jax.Array:
    """The batch is summed over as channels, and `g`, dilated by the stride, is the kernel."""
    s = geo.stride
    pads = [
        (low, s * (o - 1) + k - n - low)
        for n, k, o, (low, _) in zip(geo.size, geo.kernel, g.shape[1:3], geo.pads, strict=True)
    ]
    y = _plain(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), pads, rhs_dilation=(s, s))
    return y.transpose(3, 1, 2, 0)


@custom_vjp(2)
def plain(x: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    """The convolution, for patches that overlap much."""
    return _forward(x, w, geo)


@custom_vjp(2)
def plain_transposed(g: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    """The transposed convolution, for patches that overlap much."""
    return _input_gradient(g, w, geo)


@custom_vjp(2)
def _correlate(x: jax.Array, g: jax.Array, geo: Geometry) -> jax.Array:
    return _weight_gradient(x, g, geo)


def _keep(f: Any) -> Callable[..., tuple[jax.Array, tuple[jax.Array, jax.Array]]]:
    return lambda a, b, geo: (f(a, b, geo), (a, b))


plain.defvjp(
    _keep(plain),
    lambda geo, kept, dy: (plain_transposed(dy, kept[1], geo), _correlate(kept[0], dy, geo)),
)
plain_transposed.defvjp(
    _keep(plain_transposed),
    lambda geo, kept, dx: (plain(dx, kept[1], geo), _correlate(dx, kept[0], geo)),
)
_correlate.defvjp(
    _keep(_correlate),
    lambda geo, kept, dw: (plain_transposed(kept[1], dw, geo), plain(kept[0], dw, geo)),
)
