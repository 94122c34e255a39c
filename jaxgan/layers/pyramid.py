"""Laplacian pyramids: an image as a small copy of itself and, size by size, what each enlargement lacks.

References:
  Burt and Adelson, The Laplacian Pyramid as a Compact Image Code, 1983.
  Denton et al., Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks, 2015, section 2.2.

For example:

    >>> images = jnp.arange(256.0).reshape(1, 16, 16, 1) / 256
    >>> bands = jax.jit(pyramid, static_argnames="levels")(images, levels=3)
    >>> [band.shape for band in bands]
    [(1, 16, 16, 1), (1, 8, 8, 1), (1, 4, 4, 1)]
    >>> np.allclose(jax.jit(reconstruct)(bands), images, atol=1e-5)
    True
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def down(images: jax.Array) -> jax.Array:
    """Blurs and halves: `[N, H, W, C]` to `[N, H / 2, W / 2, C]`, within the range of the image.

    The filter has weights 1, 3, 3, 1 in each direction, around the middle of the four pixels that become one, so the
    smaller image lies exactly under the larger one; borders are repeated.

    Raises:
      ValueError: If a side is odd.
    """
    if images.shape[1] % 2 or images.shape[2] % 2:
        raise ValueError(f"only an image of even sides has half its size, got {images.shape}")
    for axis in (1, 2):
        x = _bordered(images, axis)
        a, b, c, d = (_every_second(x, start, images.shape[axis] // 2, axis) for start in range(4))
        images = (a + 3 * (b + c) + d) / 8
    return images


def up(images: jax.Array) -> jax.Array:
    """Doubles, with bilinear weights: `[N, H, W, C]` to `[N, 2 H, 2 W, C]`; borders are repeated."""
    for axis in (1, 2):
        x, size = _bordered(images, axis), images.shape[axis]
        before, here, after = (jax.lax.slice_in_dim(x, i, i + size, axis=axis) for i in range(3))
        pairs = jnp.stack([(before + 3 * here) / 4, (3 * here + after) / 4], axis + 1)
        images = pairs.reshape(*images.shape[:axis], 2 * size, *images.shape[axis + 1 :])
    return images


def pyramid(images: jax.Array, levels: int) -> list[jax.Array]:
    """Images to `levels` bands, the finest first, the last a small copy of the image.

    A band is what the next smaller copy of the image lacks when it is enlarged: of images in [-1, 1], in [-2, 2].

    Args:
      images: `[N, H, W, C]`; H and W can be halved `levels - 1` times.
      levels: At least 1.

    Raises:
      ValueError: If they cannot.
    """
    if levels < 1:
        raise ValueError(f"a pyramid has at least one level, not {levels}")
    bands = []
    for _ in range(levels - 1):
        smaller = down(images)
        bands.append(images - up(smaller))
        images = smaller
    return [*bands, images]


def reconstruct(bands: Sequence[jax.Array]) -> jax.Array:
    """The images of a pyramid's bands: the inverse of `pyramid`, to rounding."""
    *finer, images = bands
    for band in reversed(finer):
        images = up(images) + band
    return images


def _bordered(x: jax.Array, axis: int) -> jax.Array:
    """One pixel more on both sides, the same as its neighbour."""
    pads = [(0, 0)] * x.ndim
    pads[axis] = (1, 1)
    return jnp.pad(x, pads, "edge")


def _every_second(x: jax.Array, start: int, count: int, axis: int) -> jax.Array:
    return jax.lax.slice_in_dim(x, start, start + 2 * count - 1, 2, axis)
