"""Differentiable augmentation of what a discriminator sees, real and generated alike.

Every draw belongs to an example, so it does not depend on the number of devices.

For example:

    >>> images, keys = jnp.ones((2, 8, 8, 1)), jax.random.split(jax.random.key(0), 2)
    >>> seen = jax.jit(augment, static_argnums=2)(images, keys, ("translation", "cutout"))
    >>> seen.shape, bool(jnp.all((seen == 0) | (seen == 1)))  # moved and cut, with zeros behind
    ((2, 8, 8, 1), True)
    >>> augment(images, keys, ("colour",))
    Traceback (most recent call last):
        ...
    ValueError: augmentation is 'colour'; known are color, translation, cutout
"""

from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp

Kind = Literal["color", "translation", "cutout"]


def _draws(keys: jax.Array, purpose: int, count: int) -> jax.Array:
    """`[count, N]` uniform in [0, 1)."""
    return jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, purpose), (count,)))(keys).T


def color(images: jax.Array, keys: jax.Array) -> jax.Array:
    """Brightness plus up to 1/2, saturation times up to 2, contrast times 1/2 to 3/2.

    Args:
      images: `[N, H, W, C]`.
      keys: `[N]`.
    """
    shift, saturation, contrast = _draws(keys, 0, 3)[..., None, None, None]
    x = images + (shift - 0.5)
    grey = jnp.mean(x, 3, keepdims=True)
    x = (x - grey) * (2 * saturation) + grey
    middle = jnp.mean(x, (1, 2, 3), keepdims=True)
    return (x - middle) * (contrast + 0.5) + middle


def _shift(x: jax.Array, offsets: jax.Array, reach: int, axis: int) -> jax.Array:
    """Moves each image `[N, H, W, C]` along an axis by a whole number of pixels in [-reach, reach], zeros behind."""
    pads = [(0, 0)] * 4
    pads[axis] = (reach, reach)
    size = x.shape[axis]
    move = lambda x, k: jax.lax.dynamic_slice_in_dim(x, reach - k, size, axis - 1)  # noqa: E731
    return jax.vmap(move)(jnp.pad(x, pads), offsets)


def translation(images: jax.Array, keys: jax.Array) -> jax.Array:
    """Moves by up to an eighth of the size in each direction, zeros behind; arguments as of `color`."""
    x = images
    for axis, draw in zip((1, 2), _draws(keys, 1, 2), strict=True):
        reach = int(x.shape[axis] / 8 + 0.5)
        x = _shift(x, jnp.floor(draw * (2 * reach + 1)).astype(jnp.int32) - reach, reach, axis)
    return x


def cutout(images: jax.Array, keys: jax.Array) -> jax.Array:
    """Zeroes a square of half the size, which may reach over the border; arguments as of `color`."""
    inside = []
    for size, draw in zip(images.shape[1:3], _draws(keys, 2, 2), strict=True):
        cut = int(size / 2 + 0.5)
        center = jnp.floor(draw * (size + 1 - cut % 2)).astype(jnp.int32)[:, None]
        at = jnp.arange(size)[None]
        inside.append((at >= center - cut // 2) & (at < center - cut // 2 + cut))
    hole = inside[0][:, :, None, None] & inside[1][:, None, :, None]
    return jnp.where(hole, 0.0, images)


KINDS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "color": color,
    "translation": translation,
    "cutout": cutout,
}


def augment(images: jax.Array, keys: jax.Array, kinds: Sequence[Kind]) -> jax.Array:
    """Images as DiffAugment shows them to the discriminator.

    Args:
      images: `[N, H, W, C]` in [-1, 1].
      keys: One for each example, `[N]`.
      kinds: Which changes, in this order.

    Returns:
      `[N, H, W, C]`; colours may leave [-1, 1].

    Raises:
      ValueError: If a kind is unknown, or the images are not `[N, H, W, C]`.

    References:
      Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training, 2020, section 3.
    """
    if kinds and images.ndim != 4:
        raise ValueError(f"augmentation is of images [N, H, W, C], got {images.shape}")
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"augmentation is {kind!r}; known are {', '.join(KINDS)}")
        images = KINDS[kind](images, keys)
    return images
