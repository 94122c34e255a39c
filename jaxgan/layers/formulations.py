"""The ways to compute a convolution and its transpose, equal to rounding, each with gradients of every order.

A convolution is linear in its input and in its kernel, so its derivatives are three maps that turn into each other:

    conv(x, w)         dx = input_gradient(dy, w)      dw = weight_gradient(x, dy)
    input_gradient     the transposed convolution      weight_gradient   bilinear like the others

XLA's own derivatives of convolutions are exact too, but on CPU they run a naive kernel wherever they dilate their input
(transposed convolutions) or lose their canonical layout (inside a loop): up to 80 times slower. So on CPU there are
three other ways, and elsewhere the three maps are left to XLA:

- Windows of two strides (DCGAN's 4x4 with stride 2) in tiles of outputs: nine matrix products where the definition
  has sixteen, or twenty-five where it has sixty-four.
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
import numpy as np
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


NARROW = 16
"""Columns from which the gradient of a matrix is computed as it lies in memory."""


@jax.custom_vjp
def _times_transposed(a: jax.Array, w: jax.Array) -> jax.Array:
    """`[M, K]` times `[D, K]` transposed. Derivatives are spelt out: XLA's order of them is up to twice as slow."""
    return a @ w.T


@jax.custom_vjp
def times(a: jax.Array, w: jax.Array) -> jax.Array:
    """`[M, D]` times `[D, K]`."""
    return a @ w


def _times_backwards(kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    a, w = kept
    # XLA leaves the transpose of what follows to whoever reads it, which only a narrow result outweighs.
    return dy @ w.T, a.T @ dy if w.shape[1] >= NARROW else (dy.T @ a).T


_times_transposed.defvjp(
    lambda a, w: (_times_transposed(a, w), (a, w)), lambda kept, dy: (dy @ kept[1], dy.T @ kept[0])
)
times.defvjp(lambda a, w: (times(a, w), (a, w)), _times_backwards)


def conv_by_products(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The convolution as a product with patches."""
    rows, columns = win.out
    w = w.reshape(w.shape[0], -1)
    p = jnp.reshape(_patches(x, win), (-1, w.shape[1]))  # pyright: ignore[reportArgumentType]
    y = _times_transposed(p, w)
    return jnp.reshape(y, (-1, rows, columns, w.shape[0]))  # pyright: ignore[reportArgumentType]


def transposed_by_products(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The transposed convolution as a product whose patches are added where they overlap."""
    p = times(g.reshape(-1, g.shape[-1]), w.reshape(w.shape[0], -1))
    return _overlap(p.reshape(*g.shape[:3], -1), win)


# Minimal filtering: over blocks of stride by stride pixels, a window of two strides is one of two blocks, and m such
# windows side by side see m + 1 blocks d:
#     y[k] = d[k] g[0] + d[k + 1] g[1]   for k < m
# is linear in the products of m + 1 sums over d with m + 1 sums over g: 3 for 4 products where m = 2, 5 for 8 where
# m = 4, and in both directions at once 9 for 16 and 25 for 64. The sums interpolate polynomials at m points and at
# infinity. (Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for Convolutional
# Neural Networks, 2015.) Points a, -1 / a round best (Barabasz et al., Error Analysis and Improving the Accuracy of
# Winograd Convolution for Deep Neural Networks, 2020): m = 4 errs two to three times as much as m = 2, which errs as
# the definition does.
POINTS = {2: (0, 1), 4: (0, 0.5, -1, 2)}


class _Filtering(NamedTuple):
    """The sums, as rows of factors."""

    inputs: np.ndarray
    """`[m + 1, m + 1]`, over blocks."""
    taps: np.ndarray
    """`[m + 1, 2]`, over the kernel's blocks."""
    outputs: np.ndarray
    """`[m, m + 1]`, over products."""


def _filtering(points: Sequence[float]) -> _Filtering:
    """The transforms of m points that make m outputs from m + 1 products (Toom and Cook)."""
    m = len(points)
    at_points = [(point, np.delete(points, i)) for i, point in enumerate(points)]
    polynomials = [np.append(np.poly(others)[::-1], 0) for _, others in at_points]  # the constant first
    taps = [np.array([1, point]) / np.prod(point - others) for point, others in at_points]
    return _Filtering(
        np.array([*polynomials, np.poly(points)[::-1]]),
        np.array([*taps, [0, 1]]),
        np.column_stack([np.vander(points, increasing=True).T, np.eye(m)[-1]]),
    )


FILTERINGS = {m: _filtering(points) for m, points in POINTS.items()}


def _sums(matrix: np.ndarray, arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """Each row's sum over the arrays."""

    def total(row: np.ndarray) -> jax.Array:
        terms = [(factor, x) for factor, x in zip(row, arrays, strict=True) if factor]
        scaled = [x if abs(factor) == 1 else x * jnp.asarray(abs(factor), x.dtype) for factor, x in terms]
        y = scaled[0] if terms[0][0] > 0 else -scaled[0]
        for (factor, _), x in zip(terms[1:], scaled[1:], strict=True):
            y = y + x if factor > 0 else y - x
        return y

    return [total(row) for row in matrix]


def _kept(x: jax.Array, dim: int) -> jax.Array:
    """One longer: XLA on a CPU computes a sum again in all that read it, but a pad that several read only once."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, int(i == dim), 0) for i in range(x.ndim)])


def _tiling(win: Window, m: int) -> tuple[int, int]:
    """How many tiles of m outputs cover the height and the width of all."""
    rows, columns = win.out
    return -(-rows // m), -(-columns // m)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _tiles(x: jax.Array, win: Window, m: int) -> Grid:
    """What the products read, each `[N * tiles, stride * stride * C]`."""
    s, (n, *size, channels), (rows, columns) = win.stride, x.shape, _tiling(win, m)
    factors, high, wide = FILTERINGS[m].inputs, m * rows + 1, m * columns + 1
    ends = [
        (low, s * blocks - length - low)
        for length, (low, _), blocks in zip(size, win.pads, (high, wide), strict=True)
    ]
    x = _pad(x, ends).reshape(n, high, s, wide, s * channels)

    def every(x: jax.Array, dim: int, count: int) -> list[jax.Array]:
        return [lax.slice_in_dim(x, i, i + m * (count - 1) + 1, m, dim) for i in range(m + 1)]

    def of_row(row: jax.Array) -> tuple[jax.Array, ...]:
        # The pixels of a block in two dimensions, whose inner one is whole, are moved as vectors; in one, they are not.
        row = lax.collapse(_kept(jnp.transpose(row, (0, 1, 3, 2, 4)), 2), 3)
        return tuple(lax.collapse(v, 0, 3) for v in _sums(factors, every(row, 2, columns)))

    return tuple(of_row(row) for row in _sums(factors, every(x, 1, rows)))


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _untile(v: Grid, win: Window, m: int) -> jax.Array:
    """The transpose of `_tiles`, `[N, H, W, C]`."""
    s, (rows, columns) = win.stride, _tiling(win, m)
    channels = v[0][0].shape[-1] // (s * s)
    factors = FILTERINGS[m].inputs.T

    # The last window may end one block beyond the tiles.
    tall, broad = (tiles + (m * tiles == n) for tiles, n in zip((rows, columns), win.out, strict=True))

    def blocks(parts: Sequence[jax.Array], dim: int, tiles: int) -> jax.Array:
        """The blocks of so many tiles along a dimension: the last of a tile is the first of the next."""

        def place(x: jax.Array, low: int) -> jax.Array:
            high = tiles - low - x.shape[dim]
            ends = [(low, high, 0) if i == dim else (0, 0, 0) for i in range(x.ndim)]
            return lax.pad(x, jnp.zeros((), x.dtype), ends)

        first, *middle, last = _sums(factors, parts)
        x = jnp.stack([place(first, 0) + place(last, 1), *(place(x, 0) for x in middle)], dim + 1)
        return lax.collapse(x, dim, dim + 2)

    grid = jax.tree.map(lambda v: v.reshape(-1, rows, columns, s, s * channels), v)
    x = blocks([blocks(row, 2, broad) for row in grid], 1, tall)
    x = jnp.transpose(x, (0, 1, 3, 2, 4)).reshape(-1, s * m * tall, s * m * broad, channels)
    ends = [
        (-low, length + low - s * m * tiles)
        for length, (low, _), tiles in zip(win.size, win.pads, (tall, broad), strict=True)
    ]
    return _pad(x, ends)


_tiles.defvjp(lambda x, win, m: (_tiles(x, win, m), None), lambda win, m, _, dv: (_untile(dv, win, m),))
_untile.defvjp(lambda v, win, m: (_untile(v, win, m), None), lambda win, m, _, dx: (_tiles(dx, win, m),))


def _in_turns(parts: Sequence[jax.Array], dim: int, size: int) -> jax.Array:
    """One of each in turns along a dimension, `size` in all.

    Cut before they are joined: XLA on a CPU computes a slice of what was joined element by element.
    """
    whole, rest = divmod(size, len(parts))
    x = jnp.stack([lax.slice_in_dim(part, 0, whole, 1, dim) for part in parts], dim + 1)
    x = lax.collapse(x, dim, dim + 2)
    if rest:
        end = jnp.stack([lax.index_in_dim(part, whole, dim, False) for part in parts[:rest]], dim)
        x = jnp.concatenate([x, end], dim)
    return x


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather(u: Grid, win: Window, m: int) -> jax.Array:
    """The outputs that the products make, `[N, H', W', D]`."""
    (rows, columns), features = _tiling(win, m), u[0][0].shape[-1]
    factors = FILTERINGS[m].outputs
    by_column = [_sums(factors, column) for column in zip(*u, strict=True)]
    by_both = [_sums(factors, row) for row in zip(*by_column, strict=True)]
    grid = jax.tree.map(lambda y: y.reshape(-1, rows, columns, features), by_both)
    return _in_turns([_in_turns(row, 2, win.out[1]) for row in grid], 1, win.out[0])


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _scatter(y: jax.Array, win: Window, m: int) -> Grid:
    """The transpose of `_gather`, each `[N * tiles, D]`."""
    (n, *size, features), (rows, columns) = y.shape, _tiling(win, m)
    factors = FILTERINGS[m].outputs.T
    y = _pad(y, [(0, m * rows - size[0]), (0, m * columns - size[1])])
    y = y.reshape(n, rows, m, columns, m, features)
    by_row = [_sums(factors, [y[:, :, i, :, j] for i in range(m)]) for j in range(m)]
    return tuple(
        tuple(u.reshape(n * rows * columns, features) for u in _sums(factors, column))
        for column in zip(*by_row, strict=True)
    )


_gather.defvjp(lambda u, win, m: (_gather(u, win, m), None), lambda win, m, _, dy: (_scatter(dy, win, m),))
_scatter.defvjp(lambda y, win, m: (_scatter(y, win, m), None), lambda win, m, _, du: (_gather(du, win, m),))


def _kernels(w: jax.Array, s: int, m: int) -> Grid:
    """The kernels of the products, each `[D, stride * stride * C]`."""
    features, channels = w.shape[0], w.shape[3]
    w = w.reshape(features, 2, s, 2, s, channels)
    taps = FILTERINGS[m].taps
    by_row = [
        _sums(taps, [w[:, i, :, j].reshape(features, s * s * channels) for i in range(2)]) for j in range(2)
    ]
    return tuple(tuple(_sums(taps, column)) for column in zip(*by_row, strict=True))


def conv_by_tiles(x: jax.Array, w: jax.Array, win: Window, m: int) -> jax.Array:
    """The convolution `[N, H, W, C]` to `[N, H', W', D]`, for kernels of two strides, in tiles of m by m outputs."""
    products = jax.tree.map(_times_transposed, _tiles(x, win, m), _kernels(w, win.stride, m))
    return _gather(products, win, m)  # pyright: ignore[reportReturnType]


def transposed_by_tiles(g: jax.Array, w: jax.Array, win: Window, m: int) -> jax.Array:
    """The transposed convolution `[N, H', W', D]` to `[N, H, W, C]`, for kernels of two strides."""
    products = jax.tree.map(times, _scatter(g, win, m), _kernels(w, win.stride, m))
    return _untile(products, win, m)  # pyright: ignore[reportReturnType]


def tiles_that_pay(win: Window, x: jax.Array, w: jax.Array) -> int:
    """The fastest tiles, m by m outputs; 0 where patches are faster: with few channels, or few outputs in a batch.

    Nor do tiles round well enough in 16 bits. Large tiles are for maps that they fit, of batches that outweigh the
    sums over kernels.
    """
    outputs = x.shape[0] * math.prod(win.out)
    if (
        win.kernel != (2 * win.stride,) * 2
        or min(w.shape[0], w.shape[3]) < 16
        or outputs < 1024
        or jnp.finfo(x.dtype).bits < 32
    ):
        return 0
    products = {m: math.prod((m + 1) * tiles for tiles in _tiling(win, m)) for m in POINTS}
    return min(products, key=lambda m: products[m]) if outputs >= 2048 else 2
