"""Convolutions as matrix products with the patches of an image, the pixels that each output sees.

For example:

    >>> geo = Geometry(kernel=(4, 4), size=(8, 8), stride=2, pads=((1, 1), (1, 1)))
    >>> x, w = jnp.ones((2, 8, 8, 3)), jnp.ones((5, 4, 4, 3))
    >>> y = jax.jit(conv_by_products, static_argnums=2)(x, w, geo)
    >>> y.shape, float(y[0, 1, 1, 0])  # of 2 * 4 * 4 patches of 4 * 4 * 3 numbers
    ((2, 4, 4, 5), 48.0)
    >>> jax.eval_shape(lambda: transposed_by_products(y, w, geo)).shape
    (2, 8, 8, 3)
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxgan.layers.convolutions.plain import Geometry, pad
from jaxgan.layers.products import times, times_transposed


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _patches(x: jax.Array, geo: Geometry) -> jax.Array:
    """What each output sees, `[N, H', W', kh * kw * C]`."""
    (kh, kw), s, (rows, columns) = geo.kernel, geo.stride, geo.out
    x = pad(x, geo.pads)
    taps = [
        x[:, i : i + s * (rows - 1) + 1 : s, j : j + s * (columns - 1) + 1 : s]
        for i in range(kh)
        for j in range(kw)
    ]
    return jnp.concatenate(taps, -1)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _overlap(p: jax.Array, geo: Geometry) -> jax.Array:
    """The transpose of `_patches`: each pixel's sum over the patches that it lies in, `[N, H, W, C]`.

    Where the stride divides the kernel, patches cover the image in blocks of stride by stride pixels: whole blocks are
    added, and taken apart into pixels at the end.
    """
    s, (rows, columns) = geo.stride, geo.out
    high, wide = (k // s for k in geo.kernel)
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
    # Without the padding, and with the pixels that lie in no patch.
    ends = [
        (-low, n + low - s * m) for n, (low, _), m in zip(geo.size, geo.pads, (rows, columns), strict=True)
    ]
    return pad(x, ends)


_patches.defvjp(lambda x, geo: (_patches(x, geo), None), lambda geo, _, dp: (_overlap(dp, geo),))
_overlap.defvjp(lambda p, geo: (_overlap(p, geo), None), lambda geo, _, dx: (_patches(dx, geo),))


def conv_by_products(x: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    """The convolution as a product with patches."""
    rows, columns = geo.out
    w = w.reshape(w.shape[0], -1)
    p = jnp.reshape(_patches(x, geo), (-1, w.shape[1]))  # pyright: ignore[reportArgumentType]
    y = times_transposed(p, w)
    return jnp.reshape(y, (-1, rows, columns, w.shape[0]))  # pyright: ignore[reportArgumentType]


def transposed_by_products(g: jax.Array, w: jax.Array, geo: Geometry) -> jax.Array:
    """The transposed convolution as a product whose patches are added where they overlap."""
    p = times(g.reshape(-1, g.shape[-1]), w.reshape(w.shape[0], -1))
    return _overlap(p.reshape(*g.shape[:3], -1), geo)
