"""The choice between the ways to compute a convolution: by `jaxgan.backends` and, on a CPU, by shapes.

For example:

    >>> geo = Geometry(kernel=(4, 4), size=(16, 16), stride=2, pads=((1, 1), (1, 1)))
    >>> x, w = jnp.ones((16, 16, 16, 16)), jnp.ones((32, 4, 4, 16))
    >>> tiles_that_pay(geo, x, w)
    2
    >>> y = jax.eval_shape(lambda: convolution(x, w, geo))  # on a CPU conv_by_tiles(x, w, geo, 2)
    >>> dx = jax.eval_shape(lambda: transposed(y, w, geo))
    >>> y.shape, dx.shape
    ((16, 8, 8, 32), (16, 16, 16, 16))
"""

import math

import jax
import jax.numpy as jnp

from jaxgan import backends
from jaxgan.layers.convolutions.filtering import POINTS
from jaxgan.layers.convolutions.patches import conv_by_products, transposed_by_products
from jaxgan.layers.convolutions.plain import Geometry, plain, plain_transposed, stock, stock_transposed
from jaxgan.layers.convolutions.tiles import conv_by_tiles, tiling, transposed_by_tiles


def products_pay(geo: Geometry) -> bool:
    """Whether patches overlap so little that products with them are the fastest way on a CPU."""
    return geo.kernel == (1, 1) == (geo.stride,) * 2 or (
        geo.stride > 1 and not any(k % geo.stride for k in geo.kernel)
    )


def tiles_that_pay(geo: Geometry, x: jax.Array, w: jax.Array) -> int:
    """The fastest tiles, m by m outputs; 0 where patches are faster: with few channels, or few outputs in a batch.

    Nor do tiles round well enough in 16 bits. Large tiles are for maps that they fit, of batches that outweigh the
    sums over kernels.
    """
    outputs = x.shape[0] * math.prod(geo.out)
    if (
        geo.kernel != (2 * geo.stride,) * 2
        or min(w.shape[0], w.shape[3]) < 16
        or outputs < 1024
        or jnp.finfo(x.dtype).bits < 32
    ):
        return 0
    products = {m: math.prod((m + 1) * tiles for tiles in tiling(geo, m)) for m in POINTS}
    return min(products, key=lambda m: products[m]) if outputs >= 2048 else 2


def convolution(x: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    """The convolution `[N, H, W, C]` to `[N, H', W', D]`, in the fastest way."""
    if not backends.choices().formulations:
        return stock(x, w, geo)
    if m := tiles_that_pay(geo, x, w):
        return conv_by_tiles(x, w, geo, m)
    return conv_by_products(x, w, geo) if products_pay(geo) else plain(x, w, geo)


def transposed(g: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    """The transposed convolution `[N, H', W', D]` to `[N, H, W, C]`, in the fastest way."""
    if not backends.choices().formulations:
        return stock_transposed(g, w, geo)
    if m := tiles_that_pay(geo, g, w):
        return transposed_by_tiles(g, w, geo, m)
    return transposed_by_products(g, w, geo) if products_pay(geo) else plain_transposed(g, w, geo)
