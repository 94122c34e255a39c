"""Channels into pixels.

For example:

    >>> x = jnp.arange(8.0).reshape(1, 1, 2, 4)  # two pixels of four channels
    >>> print(pixel_shuffle(x)[0, :, :, 0])
    [[0. 1. 4. 5.]
     [2. 3. 6. 7.]]
"""

import jax


def pixel_shuffle(x: jax.Array, factor: int = 2) -> jax.Array:
    """Moves groups of channels into squares of pixels, row by row.

    Channels that go to one pixel lie together, as in TensorFlow's depth_to_space: where channels are last in memory
    that is faster than PyTorch's order, in which pixels that come from one channel do.

    Args:
      x: `[N, H, W, factor * factor * C]`; channel `(factor * i + j) * C + c` becomes channel c of the pixel in row i
        and column j of each square.
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
    x = x.reshape(n, h, w, factor, factor, channels // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, factor * h, factor * w, -1)
