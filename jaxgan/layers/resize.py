"""Resizing as the implementations of published metrics do it: their numbers depend on it.

Parmar et al., On Aliased Resizing and Surprising Subtleties in GAN Evaluation, CVPR 2022, compare the ways.

For example:

    >>> line = jnp.zeros((1, 8, 8, 1)).at[:, :, 0].set(1)  # a white line along the left border
    >>> float(bilinear(line, 2).max())  # it sees the four middle pixels of each 4x4 alone
    0.0
    >>> round(float(antialiased(line, 2).max()), 2)
    0.19
"""

import jax
import jax.numpy as jnp


def antialiased(images: jax.Array, size: int) -> jax.Array:
    """Bicubic, with the filter widened by the ratio of sizes when shrinking: Pillow's, which clean-fid uses.

    Keys' kernel with a = -0.5, weights renormalised at the edges. As Pillow does on images of mode "F", nothing is
    rounded or clipped, so values may overshoot.

    Args:
      images: `[N, H, W, C]`, of any range.
      size: Height and width of the result.

    Returns:
      `[N, size, size, C]`, float32.
    """
    return _resize(images, size, "cubic", True)


def bilinear(images: jax.Array, size: int) -> jax.Array:
    """Bilinear between the four nearest pixels, also when shrinking: pytorch-fid's, aliasing included.

    That is PyTorch's `interpolate(mode="bilinear", align_corners=False)`.

    Args:
      images: `[N, H, W, C]`, of any range.
      size: Height and width of the result.

    Returns:
      `[N, size, size, C]`, float32.
    """
    return _resize(images, size, "linear", False)


def _resize(images: jax.Array, size: int, method: str, antialias: bool) -> jax.Array:
    shape = (images.shape[0], size, size, images.shape[3])
    return jax.image.resize(images.astype(jnp.float32), shape, method, antialias)
