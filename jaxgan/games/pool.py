"""Image pools: discriminators also see what was generated some time ago."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan import axis
from jaxgan.game import Array, Keys

Pool = dict[str, Array]
"""Images "images" `[size, ...]`, and how many of them there are, "filled"."""


def empty(size: int, image: Array) -> Pool:
    """A pool for images like `image` `[N, ...]`; nothing for a size of 0."""
    return (
        {"images": jnp.zeros((size, *image.shape[1:]), jnp.float32), "filled": jnp.int32(0)} if size else {}
    )


class Query(NamedTuple):
    """What a batch asked of a pool."""

    seen: Array
    """What the discriminator gets, `[N, ...]`."""
    candidates: Any
    """For `remember`."""


def query(pool: Pool, fresh: Array, keys: Keys) -> Query:
    """Exchanges generated images for older ones.

    While the pool is not full, images are stored and returned. Then each is, by the toss of a coin, returned, or takes
    the place of a random one of the pool that is returned in its stead. All images of a batch find the pool as it was
    before the batch, and where several take one place, the last one stays; with one image a batch this is the paper's
    pool.

    Args:
      pool: The pool.
      fresh: Generated images `[N, ...]`, this device's part.
      keys: One for each of them.

    References:
      Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, 2017,
      section 2.3.
      Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, 2017, section 4.
    """
    if not pool:
        return Query(fresh, None)
    size, n = len(pool["images"]), len(fresh)
    count = pool["filled"] + axis.index(axis.AXIS if axis.bound() else None) * n + jnp.arange(n)
    full = count >= size
    swapped = keys.fold("swap").uniform() < 0.5
    place = jnp.minimum((keys.fold("place").uniform() * size).astype(jnp.int32), size - 1)
    old = full & swapped
    seen = jnp.where(old.reshape(-1, *(1,) * (fresh.ndim - 1)), pool["images"][place], fresh)
    # The number `size` is no place: those images are not stored.
    stored = jnp.where(full, jnp.where(swapped, place, size), count).astype(jnp.int32)
    return Query(seen, {"images": jax.lax.stop_gradient(fresh), "place": stored})


def remember(pool: Pool, candidates: Any) -> Pool:
    """The pool with the images of all devices, in global order, in their places."""
    if not pool:
        return pool
    size, place = len(pool["images"]), candidates["place"]
    # The last of those that claim a place: scattered images would leave the choice to the device.
    claims = place[None] == jnp.arange(size)[:, None]
    last = jnp.max(jnp.where(claims, jnp.arange(len(place))[None], -1), 1)
    chosen = candidates["images"][jnp.maximum(last, 0)]
    images = jnp.where((last >= 0).reshape(-1, *(1,) * (chosen.ndim - 1)), chosen, pool["images"])
    return {"images": images, "filled": jnp.minimum(size, pool["filled"] + len(place)).astype(jnp.int32)}
