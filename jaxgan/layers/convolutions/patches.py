"""Convolutions as matrix products with the patches of an image, the pixels that each output sees.

For example:

    win = Window(kernel=(4, 4), size=(8, 8), stride=2, pads=((1, 1), (1, 1)))
    x, w = jnp.ones((2, 8, 8, 3)), jnp.ones((5, 4, 4, 3))
    y = conv_by_products(x, w, win)  # [2, 4, 4, 5], of 2 * 4 * 4 patches of 4 * 4 * 3 numbers
    dx = transposed_by_products(y, w, win)  # [2, 8, 8, 3]
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxgan.layers.convolutions.plain import Window, pad
from jaxgan.layers.products import times, times_transposed


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _patches(x: jax.Array, win: Window) -> jax.Array:
    """What each window sees, `[N, H', W', kh * kw * C]`."""
    (kh, kw), s, (rows, columns) = win.kernel, win.stride, win.out
    x = pad(x, win.pads)
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
    return pad(x, ends)


_patches.defvjp(lambda x, win: (_patches(x, win), None), lambda win, _, dp: (_overlap(dp, win),))
_overlap.defvjp(lambda p, win: (_overlap(p, win), None), lambda win, _, dx: (_patches(dx, win),))


def conv_by_products(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The convolution as a product with patches."""
    rows, columns = win.out
    w = w.reshape(w.shape[0], -1)
    p = jnp.reshape(_patches(x, win), (-1, w.shape[1]))  # pyright: ignore[reportArgumentType]
    y = times_transposed(p, w)
    return jnp.reshape(y, (-1, rows, columns, w.shape[0]))  # pyright: ignore[reportArgumentType]


def transposed_by_products(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """The transposed convolution as a product whose patches are added where they overlap."""
    p = times(g.reshape(-1, g.shape[-1]), w.reshape(w.shape[0], -1))
    return _overlap(p.reshape(*g.shape[:3], -1), win)
