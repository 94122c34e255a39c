"""Image pools: discriminators also see what was generated some time ago.

For example:

    >>> keys, fresh = Keys.of(jax.random.key(0), 3), jnp.ones((3, 8, 8, 1))
    >>> pool = empty(50, fresh)
    >>> seen, candidates = jax.jit(query)(pool, fresh, keys)  # there is room: all are stored, and returned
    >>> pool = remember(pool, candidates)
    >>> int(pool["filled"]), bool(jnp.all(seen == fresh))
    (3, True)
"""

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

    While the pool is not full, images are stored, as far as there is room, and returned. Then each is, by the toss of a
    coin, returned, or takes the place of a random one of the pool that is returned in its stead. All images of a batch
    find the pool as it was before the batch, and where several take one place, the last one stays; with one image a
    batch this is the paper's pool.

    Args:
      pool: The pool.
      fresh: Generated images `[N, ...]`, this device's part.
      keys: One for each of them.

    References:
      Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, 2017, section 4.
    """
    if not pool:
        return Query(fresh, None)
    coin = keys.fold("swap").uniform() < 0.5
    return _exchange(pool, fresh, keys, coin, coin)


def halves(pool: Pool, fresh: Array, keys: Keys) -> Query:
    """Half of a batch from the pool, the other half as it is; that one is stored in random places of the pool.

    Every second image of the whole batch gives way to a random one of the pool. While the pool is not full, and where
    several take one place, it is as with `query`; arguments as there.

    References:
      Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, 2017,
      section 2.3.
    """
    if not pool:
        return Query(fresh, None)
    odd = _index(len(fresh)) % 2 == 1
    return _exchange(pool, fresh, keys, odd, ~odd)


def _index(n: int) -> Array:
    """The places of this device's `n` images in the whole batch."""
    return axis.index(axis.current()) * n + jnp.arange(n)


def _exchange(pool: Pool, fresh: Array, keys: Keys, old: Array, new: Array) -> Query:
    """Shows images of the pool where `old` says so, and stores those that `new` names, `[N]` bool each."""
    size = len(pool["images"])
    full = pool["filled"] >= size
    place = jnp.minimum((keys.fold("place").uniform() * size).astype(jnp.int32), size - 1)
    shown = (full & old).reshape(-1, *(1,) * (fresh.ndim - 1))
    seen = jnp.where(shown, pool["images"][place], fresh)
    # The number `size` is no place: those images are not stored.
    free = jnp.minimum(pool["filled"] + _index(len(fresh)), size)
    stored = jnp.where(full, jnp.where(new, place, size), free).astype(jnp.int32)
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
