"""The ways to compute a convolution and its transpose, equal to rounding, each with gradients of every order.

A convolution is linear in its input and in its kernel, so its derivatives are three maps that turn into each other:

    conv(x, w)         dx = input_gradient(dy, w)      dw = weight_gradient(x, dy)
    input_gradient     the transposed convolution      weight_gradient   bilinear like the others

XLA's own derivatives of convolutions are exact too, but on CPU they run a naive kernel wherever they dilate their input
(transposed convolutions) or lose their canonical layout (inside a loop): up to 80 times slower. So on CPU there are
three other ways, and elsewhere the three maps are left to XLA:

- Windows of two strides (DCGAN's 4x4 with stride 2) in tiles of two by two outputs: nine matrix products where the
  definition has sixteen.
- Other windows that overlap little (1x1, and strides that divide the kernel) as matrix products with the patches of
  the image. The patches are kept for the weight gradient, which is a product with them too.
- Other windows (3x3 with stride 1) as each of the three maps written as one stride-1 or kernel-dilated convolution
  with explicit transposes, which keeps XLA's fast kernel.

Kernels are `[D, kh, kw, C]`: a filter's weights lie in memory as the patch that they meet, and so does their gradient.
Read the other way round (D in, C out) the same kernel is that of the transposed convolution.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]
Grid = tuple[tuple[jax.Array, ...], ...]
NHWC = ("NHWC", "HWIO", "NHWC")
OHWI = ("NHWC", "OHWI", "NHWC")


class Window(NamedTuple):
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


def _pad(x: jax.Array, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """Pads height and width with zeros; negative padding cuts."""
    (top, bottom), (left, right) = pads
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))


def _plain(x: jax.Array, w: jax.Array, pads: Sequence[tuple[int, int]], **kwargs: Any) -> jax.Array:
    # Negative padding takes XLA's slow path on CPU: cut the input instead.
    x = _pad(x, [(min(0, low), min(0, high)) for low, high in pads])
    pads = [(max(0, low), max(0, high)) for low, high in pads]
    kwargs = {"window_strides": (1, 1), **kwargs}
    return lax.conv_general_dilated(x, w, padding=pads, dimension_numbers=NHWC, **kwargs)


def stock(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """XLA's own convolution, `[N, H, W, C]` to `[N, H', W', D]`."""
    strides = (win.stride, win.stride)
    return lax.conv_general_dilated(x, w, strides, win.pads, dimension_numbers=OHWI)


def stock_transposed(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """XLA's own transposed convolution, `[N, H', W', D]` to `[N, H, W, C]`."""
    x = jax.ShapeDtypeStruct((g.shape[0], *win.size, w.shape[3]), g.dtype)
    (dx,) = jax.linear_transpose(lambda x: stock(x, w, win), x)(g)
    return dx


def _forward(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    return _plain(x, w.transpose(1, 2, 3, 0), win.pads, window_strides=(win.stride, win.stride))


def _input_gradient(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """Each of the stride^2 phases of the output is a stride-1 convolution of `g`; depth to space interleaves them."""
    s, (kh, kw), (height, width) = win.stride, win.kernel, win.size
    taps = [-(-k // s) for k in (kh, kw)]  # taps of one phase
    first = [low // s for low, _ in win.pads]
    count = [(low + n - 1) // s - f + 1 for n, (low, _), f in zip(win.size, win.pads, first, strict=True)]
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
    top, left = (low - s * f for (low, _), f in zip(win.pads, first, strict=True))
    return y[:, top : top + height, left : left + width]


def _weight_gradient(x: jax.Array, g: jax.Array, win: Window) -> jax.Array:
    """The batch is summed over as channels, and `g`, dilated by the stride, is the kernel."""
    s = win.stride
    pads = [
        (low, s * (o - 1) + k - n - low)
        for n, k, o, (low, _) in zip(win.size, win.kernel, g.shape[1:3], win.pads, strict=True)
    ]
    y = _plain(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), pads, rhs_dilation=(s, s))
    return y.transpose(3, 1, 2, 0)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def plain(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The convolution, for windows that overlap much."""
    return _forward(x, w, win)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def plain_transposed(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The transposed convolution, for windows that overlap much."""
    return _input_gradient(g, w, win)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _correlate(x: jax.Array, g: jax.Array, win: Window) -> jax.Array:
    return _weight_gradient(x, g, win)


def _keep(f: Any) -> Callable[..., tuple[jax.Array, tuple[jax.Array, jax.Array]]]:
    return lambda a, b, win: (f(a, b, win), (a, b))


plain.defvjp(
    _keep(plain),
    lambda win, kept, dy: (plain_transposed(dy, kept[1], win), _correlate(kept[0], dy, win)),
)
plain_transposed.defvjp(
    _keep(plain_transposed),
    lambda win, kept, dx: (plain(dx, kept[1], win), _correlate(dx, kept[0], win)),
)
_correlate.defvjp(
    _keep(_correlate),
    lambda win, kept, dw: (plain_transposed(kept[1], dw, win), plain(kept[0], dw, win)),
)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _patches(x: jax.Array, win: Window) -> jax.Array:
    """What each window sees, `[N, H', W', kh * kw * C]`."""
    (kh, kw), s, (rows, columns) = win.kernel, win.stride, win.out
    x = _pad(x, win.pads)
    taps = [
        x[:, i : i + s * (rows - 1) + 1 : s, j : j + s * (columns - 1) + 1 : s]
        for i in range(kh)
        for j in range(kw)
    ]
    return jnp.concatenate(taps, -1)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _overlap(p: jax.Array, win: Window) -> jax.Array:
    """The transpose of `_patches`: each pixel's sum over the windows that see it, `[N, H, W, C]`.

    Windows whose stride divides the kernel cover the image in blocks of stride by stride pixels: whole blocks are
    added, and taken apart into pixels at the end.
    """
    s, (rows, columns) = win.stride, win.out
    high, wide = (k // s for k in win.kernel)
    channels = p.shape[-1] // (high * s * wide * s)
    # A block's row of pixels stays one dimension: XLA copies long rows several times faster.
    p = p.reshape(-1, rows, columns, high, s, wide, s * channels)
    rows, columns = rows + high - 1, columns + wide - 1
    blocks = sum(
        jnp.pad(p[:, :, :, i, :, j], [(0, 0), (i, high - 1 - i), (j, wide - 1 - j), (0, 0), (0, 0)])
        for i in range(high)
        for j in range(wide)
    )
    x = jnp.transpose(blocks, (0, 1, 3, 2, 4)).reshape(-1, rows * s, columns * s, channels)
    # Without the padding, and with the pixels that no window sees.
    ends = [
        (-low, n + low - s * m) for n, (low, _), m in zip(win.size, win.pads, (rows, columns), strict=True)
    ]
    return _pad(x, ends)


_patches.defvjp(lambda x, win: (_patches(x, win), None), lambda win, _, dp: (_overlap(dp, win),))
_overlap.defvjp(lambda p, win: (_overlap(p, win), None), lambda win, _, dx: (_patches(dx, win),))


def products_pay(win: Window) -> bool:
    """Whether windows overlap so little that products with patches are the fastest way on a CPU."""
    return win.kernel == (1, 1) == (win.stride,) * 2 or (
        win.stride > 1 and not any(k % win.stride for k in win.kernel)
    )


@jax.custom_vjp
def _times_transposed(a: jax.Array, w: jax.Array) -> jax.Array:
    """`[M, K]` times `[D, K]` transposed. Derivatives are spelt out: XLA's order of them is up to twice as slow."""
    return a @ w.T


@jax.custom_vjp
def _times(a: jax.Array, w: jax.Array) -> jax.Array:
    """`[M, D]` times `[D, K]`."""
    return a @ w


_times_transposed.defvjp(
    lambda a, w: (_times_transposed(a, w), (a, w)), lambda kept, dy: (dy @ kept[1], dy.T @ kept[0])
)
_times.defvjp(lambda a, w: (_times(a, w), (a, w)), lambda kept, dy: (dy @ kept[1].T, kept[0].T @ dy))


def conv_by_products(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The convolution as a product with patches."""
    rows, columns = win.out
    w = w.reshape(w.shape[0], -1)
    p = jnp.reshape(_patches(x, win), (-1, w.shape[1]))  # pyright: ignore[reportArgumentType]
    y = _times_transposed(p, w)
    return jnp.reshape(y, (-1, rows, columns, w.shape[0]))  # pyright: ignore[reportArgumentType]


def transposed_by_products(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The transposed convolution as a product whose patches are added where they overlap."""
    p = _times(g.reshape(-1, g.shape[-1]), w.reshape(w.shape[0], -1))
    return _overlap(p.reshape(*g.shape[:3], -1), win)


# Minimal filtering: over blocks of stride by stride pixels, a window of two strides is one of two blocks. Of three
# blocks d the outputs of two such windows are
#     y0 = d0 g0 + d1 g1 = (d0 - d1) g0 + d1 (g0 + g1)
#     y1 = d1 g0 + d2 g1 = d1 (g0 + g1) - (d1 - d2) g1,
# three products for four, and in both directions at once nine for sixteen. Sums and differences only, so that rounding
# is that of the definition within a few units. (Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray,
# Fast Algorithms for Convolutional Neural Networks, 2015.)


def _tiling(win: Window) -> tuple[int, int]:
    """How many tiles of two outputs cover the height and the width of all."""
    rows, columns = win.out
    return -(-rows // 2), -(-columns // 2)


def _both_ways(f: Callable[..., tuple[jax.Array, ...]], grid: Sequence[Sequence[jax.Array]]) -> Grid:
    """A linear map of a row of arrays, over the columns of a grid of them and then over its rows."""
    columns = [f(*column) for column in zip(*grid, strict=True)]
    return tuple(f(*row) for row in zip(*columns, strict=True))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _tiles(x: jax.Array, win: Window) -> Grid:
    """What the nine products read, each `[N * tiles, stride * stride * C]`."""
    s, (n, *size, channels), (rows, columns) = win.stride, x.shape, _tiling(win)
    ends = [
        (low, s * (2 * tiles + 1) - length - low)
        for length, (low, _), tiles in zip(size, win.pads, (rows, columns), strict=True)
    ]
    x = _pad(x, ends).reshape(n, 2 * rows + 1, s, 2 * columns + 1, s * channels)

    def block(i: int, j: int) -> jax.Array:
        every = x[:, i : i + 2 * rows - 1 : 2, :, j : j + 2 * columns - 1 : 2]
        return jnp.transpose(every, (0, 1, 3, 2, 4))

    grid = _both_ways(lambda a, b, c: (a - b, b, b - c), [[block(i, j) for j in range(3)] for i in range(3)])
    return jax.tree.map(lambda v: v.reshape(n * rows * columns, s * s * channels), grid)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _untile(v: Grid, win: Window) -> jax.Array:
    """The transpose of `_tiles`, `[N, H, W, C]`."""
    s, (rows, columns) = win.stride, _tiling(win)
    channels = v[0][0].shape[-1] // (s * s)

    def blocks(dim: int, a: jax.Array, b: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Every other block along a dimension: those that two tiles share, then those in the middle of one."""

        def place(v: jax.Array, low: int, high: int) -> jax.Array:
            return jnp.pad(v, [(low, high) if i == dim else (0, 0) for i in range(5)])

        return place(a, 0, 1) - place(c, 1, 0), place(b + c - a, 0, 1)

    grid = jax.tree.map(lambda v: v.reshape(-1, rows, columns, s, s * channels), v)
    by_column = [blocks(2, *row) for row in grid]
    by_both = [blocks(1, *column) for column in zip(*by_column, strict=True)]
    x = jnp.stack([jnp.stack(pair, 2) for pair in by_both], 4)  # [N, rows, 2, columns, 2, s, s * C]
    x = jnp.transpose(x, (0, 1, 2, 5, 3, 4, 6)).reshape(
        -1, 2 * s * (rows + 1), 2 * s * (columns + 1), channels
    )
    ends = [
        (-low, length + low - 2 * s * (tiles + 1))
        for length, (low, _), tiles in zip(win.size, win.pads, (rows, columns), strict=True)
    ]
    return _pad(x, ends)


_tiles.defvjp(lambda x, win: (_tiles(x, win), None), lambda win, _, dv: (_untile(dv, win),))
_untile.defvjp(lambda v, win: (_untile(v, win), None), lambda win, _, dx: (_tiles(dx, win),))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(u: Grid, win: Window) -> jax.Array:
    """The outputs that the nine products make, `[N, H', W', D]`."""
    (rows, columns), features = _tiling(win), u[0][0].shape[-1]
    grid = jax.tree.map(lambda u: u.reshape(-1, rows, columns, features), u)
    pairs = _both_ways(lambda a, b, c: (a + b, b - c), grid)
    y = jnp.stack([jnp.stack(row, 3) for row in pairs], 2).reshape(-1, 2 * rows, 2 * columns, features)
    return y[:, : win.out[0], : win.out[1]]


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _scatter(y: jax.Array, win: Window) -> Grid:
    """The transpose of `_gather`, each `[N * tiles, D]`."""
    (n, *size, features), (rows, columns) = y.shape, _tiling(win)
    y = _pad(y, [(0, 2 * rows - size[0]), (0, 2 * columns - size[1])])
    y = y.reshape(n, rows, 2, columns, 2, features)
    grid = _both_ways(lambda a, b: (a, a + b, -b), [[y[:, :, i, :, j] for j in range(2)] for i in range(2)])
    return jax.tree.map(lambda u: u.reshape(n * rows * columns, features), grid)


_gather.defvjp(lambda u, win: (_gather(u, win), None), lambda win, _, dy: (_scatter(dy, win),))
_scatter.defvjp(lambda y, win: (_scatter(y, win), None), lambda win, _, du: (_gather(du, win),))


def _kernels(w: jax.Array, s: int) -> Grid:
    """The kernels of the nine products, each `[D, stride * stride * C]`."""
    features, channels = w.shape[0], w.shape[3]
    w = w.reshape(features, 2, s, 2, s, channels)
    grid = [[w[:, i, :, j].reshape(features, s * s * channels) for j in range(2)] for i in range(2)]
    return _both_ways(lambda a, b: (a, a + b, b), grid)


def conv_by_tiles(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The convolution `[N, H, W, C]` to `[N, H', W', D]`, for kernels of two strides."""
    products = jax.tree.map(_times_transposed, _tiles(x, win), _kernels(w, win.stride))
    return _gather(products, win)  # pyright: ignore[reportReturnType]


def transposed_by_tiles(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The transposed convolution `[N, H', W', D]` to `[N, H, W, C]`, for kernels of two strides."""
    products = jax.tree.map(_times, _scatter(g, win), _kernels(w, win.stride))
    return _untile(products, win)  # pyright: ignore[reportReturnType]


def tiles_pay(win: Window, x: jax.Array, w: jax.Array) -> bool:
    """Whether tiles are faster than patches: not with few channels, nor where kernels outweigh the outputs.

    Nor do they round well enough in 16 bits.
    """
    outputs = x.shape[0] * math.prod(win.out)
    return (
        win.kernel == (2 * win.stride,) * 2
        and min(w.shape[0], w.shape[3]) >= 16
        and outputs >= 1024
        and jnp.finfo(x.dtype).bits >= 32
    )
