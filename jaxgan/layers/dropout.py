"""Dropout whose masks belong to examples, not to devices.

For example:

    >>> keys, x = jax.random.split(jax.random.key(0), 4), jnp.ones((4, 100))
    >>> drop = jax.jit(lambda x, keys: Dropout(0.5).apply({}, x, keys))
    >>> y = drop(x, keys)
    >>> np.unique(y).tolist()
    [0.0, 2.0]
    >>> bool((drop(x, keys[::-1]) == y[::-1]).all())  # masks follow keys
    True
"""

import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp


class Dropout(nn.Module):
    """Zeroes features with probability `rate` and scales the rest by `1 / (1 - rate)`.

    Masks are drawn from one key per example, so they do not depend on how the batch is split over devices
    (`flax.linen.Dropout` gives every device the same mask). The layer's path is folded in: layers differ.

    References:
      Srivastava et al., Dropout, JMLR 2014.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        """`[N, ...]` to the same shape.

        Args:
          x: Features.
          keys: One key per example, `[N]`; None for the identity, as in evaluation.

        Raises:
          ValueError: If `rate` is not in [0, 1).
        """
        if not 0 <= self.rate < 1:
            raise ValueError(f"dropout rate is {self.rate}; it must be at least 0 and less than 1")
        if keys is None or self.rate == 0:
            return x
        layer = zlib.crc32("/".join(self.path).encode())
        draw = jax.vmap(
            lambda key: jax.random.bernoulli(jax.random.fold_in(key, layer), 1 - self.rate, x.shape[1:])
        )
        return jnp.where(draw(keys), x / (1 - self.rate), jnp.zeros_like(x))
