"""Channels into pixels."""

import jax


def pixel_shuffle(x: jax.Array, factor: int = 2) -> jax.Array:
    """Moves groups of `factor * factor` channels into squares of pixels, row by row, as PyTorch's layer does.

    Args:
      x: `[N, H, W, factor * factor * C]`; channel `c * factor**2 + i * factor + j` becomes the pixel in row i and
        column j of each square, in channel c.
      factor: What height and width are multiplied by.

    Returns:
      `[N, factor * H, factor * W, C]`.

    Raises:
      ValueError: If the channels do not divide.

    References:
      Shi et al., Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel Convolutional Neural
        Network, 2016, equation 4.
    """
    n, h, w, channels = x.shape
    if channels % factor**2:
        raise ValueError(
            f"pixel_shuffle by {factor} needs a multiple of {factor**2} channels, got {channels}"
        )
    x = x.reshape(n, h, w, channels // factor**2, factor, factor)
    return x.transpose(0, 1, 4, 2, 5, 3).reshape(n, factor * h, factor * w, -1)
