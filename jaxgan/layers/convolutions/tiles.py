"""Convolutions in tiles of outputs, with fewer matrix products than the definition has, for kernels of two strides.

For example:

    >>> geo = Geometry(kernel=(4, 4), size=(16, 16), stride=2, pads=((1, 1), (1, 1)))
    >>> x, w = jnp.ones((16, 16, 16, 16)), jnp.ones((32, 4, 4, 16))
    >>> y = jax.jit(conv_by_tiles, static_argnums=(2, 3))(x, w, geo, 2)  # in 4 by 4 tiles of 2 by 2 outputs
    >>> y.shape, float(y[0, 4, 4, 0])  # a sum over 4 * 4 * 16 numbers
    ((16, 8, 8, 32), 256.0)
    >>> jax.eval_shape(lambda: transposed_by_tiles(y, w, geo, 2)).shape
    (16, 16, 16, 16)
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.layers.convolutions.filtering import FILTERINGS, sums
from jaxgan.layers.convolutions.plain import Geometry, pad
from jaxgan.layers.products import times, times_transposed

Grid = tuple[tuple[jax.Array, ...], ...]


def _kept(x: jax.Array, dim: int) -> jax.Array:
    """One longer: XLA on a CPU computes a sum again in all that read it, but a pad that several read only once."""
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, int(i == dim), 0) for i in range(x.ndim)])


def tiling(geo: Geometry, m: int) -> tuple[int, int]:
    """How many tiles of m outputs cover the height and the width of all."""
    rows, columns = geo.out
    return -(-rows // m), -(-columns // m)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _tiles(x: jax.Array, geo: Geometry, m: int) -> Grid:
    """What the products read, each `[N * tiles, stride * stride * C]`."""
    s, (n, *size, channels), (rows, columns) = geo.stride, x.shape, tiling(geo, m)
    factors, high, wide = FILTERINGS[m].inputs, m * rows + 1, m * columns + 1
    ends = [
        (low, s * blocks - length - low)
        for length, (low, _), blocks in zip(size, geo.pads, (high, wide), strict=True)
    ]
    x = pad(x, ends).reshape(n, high, s, wide, s * channels)

    def every(x: jax.Array, dim: int, count: int) -> list[jax.Array]:
        return [lax.slice_in_dim(x, i, i + m * (count - 1) + 1, m, dim) for i in range(m + 1)]

    def of_row(row: jax.Array) -> tuple[jax.Array, ...]:
        # The pixels of a block in two dimensions, whose inner one is whole, are moved as vectors; in one, they are not.
        row = lax.collapse(_kept(jnp.transpose(row, (0, 1, 3, 2, 4)), 2), 3)
        return tuple(lax.collapse(v, 0, 3) for v in sums(factors, every(row, 2, columns)))

    return tuple(of_row(row) for row in sums(factors, every(x, 1, rows)))


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _untile(v: Grid, geo: Geometry, m: int) -> jax.Array:
    """The transpose of `_tiles`, `[N, H, W, C]`."""
    s, (rows, columns) = geo.stride, tiling(geo, m)
    channels = v[0][0].shape[-1] // (s * s)
    factors = FILTERINGS[m].inputs.T

    # The last patch may end one block beyond the tiles.
    tall, broad = (tiles + (m * tiles == n) for tiles, n in zip((rows, columns), geo.out, strict=True))

    def blocks(parts: Sequence[jax.Array], dim: int, tiles: int) -> jax.Array:
        """The blocks of so many tiles along a dimension: the last of a tile is the first of the next."""

        def place(x: jax.Array, low: int) -> jax.Array:
            high = tiles - low - x.shape[dim]
            ends = [(low, high, 0) if i == dim else (0, 0, 0) for i in range(x.ndim)]
            return lax.pad(x, jnp.zeros((), x.dtype), ends)

        first, *middle, last = sums(factors, parts)
        x = jnp.stack([place(first, 0) + place(last, 1), *(place(x, 0) for x in middle)], dim + 1)
        return lax.collapse(x, dim, dim + 2)

    grid = jax.tree.map(lambda v: v.reshape(-1, rows, columns, s, s * channels), v)
    x = blocks([blocks(row, 2, broad) for row in grid], 1, tall)
    x = jnp.transpose(x, (0, 1, 3, 2, 4)).reshape(-1, s * m * tall, s * m * broad, channels)
    ends = [
        (-low, length + low - s * m * tiles)
        for length, (low, _), tiles in zip(geo.size, geo.pads, (tall, broad), strict=True)
    ]
    return pad(x, ends)


_tiles.defvjp(lambda x, geo, m: (_tiles(x, geo, m), None), lambda geo, m, _, dv: (_untile(dv, geo, m),))
_untile.defvjp(lambda v, geo, m: (_untile(v, geo, m), None), lambda geo, m, _, dx: (_tiles(dx, geo, m),))


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
def _gather(u: Grid, geo: Geometry, m: int) -> jax.Array:
    """The outputs that the products make, `[N, H', W', D]`."""
    (rows, columns), features = tiling(geo, m), u[0][0].shape[-1]
    factors = FILTERINGS[m].outputs
    by_column = [sums(factors, column) for column in zip(*u, strict=True)]
    by_both = [sums(factors, row) for row in zip(*by_column, strict=True)]
    grid = jax.tree.map(lambda y: y.reshape(-1, rows, columns, features), by_both)
    return _in_turns([_in_turns(row, 2, geo.out[1]) for row in grid], 1, geo.out[0])


@partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _scatter(y: jax.Array, geo: Geometry, m: int) -> Grid:
    """The transpose of `_gather`, each `[N * tiles, D]`."""
    (n, *size, features), (rows, columns) = y.shape, tiling(geo, m)
    factors = FILTERINGS[m].outputs.T
    y = pad(y, [(0, m * rows - size[0]), (0, m * columns - size[1])])
    y = y.reshape(n, rows, m, columns, m, features)
    by_row = [sums(factors, [y[:, :, i, :, j] for i in range(m)]) for j in range(m)]
    return tuple(
        tuple(u.reshape(n * rows * columns, features) for u in sums(factors, column))
        for column in zip(*by_row, strict=True)
    )


_gather.defvjp(lambda u, geo, m: (_gather(u, geo, m), None), lambda geo, m, _, dy: (_scatter(dy, geo, m),))
_scatter.defvjp(lambda y, geo, m: (_scatter(y, geo, m), None), lambda geo, m, _, du: (_gather(du, geo, m),))


def _kernels(w: jax.Array, s: int, m: int) -> Grid:
    """The kernels of the products, each `[D, stride * stride * C]`."""
    features, channels = w.shape[0], w.shape[3]
    w = w.reshape(features, 2, s, 2, s, channels)
    taps = FILTERINGS[m].taps
    by_row = [
        sums(taps, [w[:, i, :, j].reshape(features, s * s * channels) for i in range(2)]) for j in range(2)
    ]
    return tuple(tuple(sums(taps, column)) for column in zip(*by_row, strict=True))


def conv_by_tiles(x: jax.Array, w: jax.Array, geo: Geometry, m: int) -> jax.Array:
    """The convolution `[N, H, W, C]` to `[N, H', W', D]`, for kernels of two strides, in tiles of m by m outputs."""
    products = jax.tree.map(times_transposed, _tiles(x, geo, m), _kernels(w, geo.stride, m))
    return _gather(products, geo, m)  # pyright: ignore[reportReturnType]


def transposed_by_tiles(g: jax.Array, w: jax.Array, geo: Geometry, m: int) -> jax.Array:
    """The transposed convolution `[N, H', W', D]` to `[N, H, W, C]`, for kernels of two strides."""
    products = jax.tree.map(times, _scatter(g, geo, m), _kernels(w, geo.stride, m))
    return _untile(products, geo, m)  # pyright: ignore[reportReturnType]
