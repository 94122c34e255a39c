"""Statistics of groups of examples, which tell a discriminator of missing variety.

For example:

    >>> x = jnp.array([[1.0], [3.0], [5.0], [5.0]])
    >>> print(minibatch_std(x, group=2).round())
    [[1. 1.]
     [3. 1.]
     [5. 0.]
     [5. 0.]]
"""

import jax
import jax.numpy as jnp

from jaxgan import axis
from jaxgan.errors import InputError

GROUP = 4
"""Examples in a group."""


def minibatch_std(x: jax.Array, group: int = GROUP) -> jax.Array:
    """Appends to each example, as one more channel, how much the examples of its group differ.

    Groups are of `group` examples that follow each other in the whole batch, over all devices (of all of them, where
    there are fewer), so they are the same on any number of devices. The deviation of each value over the group is
    averaged over all values.

    The logit of an example then depends on those of its group. A penalty on slopes is of the sum of the logits, as in
    the authors' code.

    Args:
      x: `[N, ..., C]`.
      group: Examples in a group.

    Returns:
      `[N, ..., C + 1]`.

    Raises:
      InputError: If groups do not divide the batch.

    References:
      Karras et al., Progressive Growing of GANs for Improved Quality, Stability, and Variation, 2018, section 3.
    """
    name, here = axis.current(), len(x)
    total = here * axis.size(name)
    group = min(group, total)
    if total % group:
        raise InputError(
            f"groups of {group} do not divide a batch of {total}: minibatch_std needs a multiple"
        )
    apart = here % group == 0
    everyone = x if apart else axis.gather(x, name)
    y = everyone.astype(jnp.float32).reshape(-1, group, x.size // here)
    # The small number keeps the slope finite where all examples are the same.
    deviations = jnp.sqrt(jnp.mean(jnp.square(y - jnp.mean(y, 1, keepdims=True)), 1) + 1e-8)
    of_each = jnp.repeat(jnp.mean(deviations, 1), group)
    if not apart:
        of_each = jax.lax.dynamic_slice_in_dim(of_each, axis.index(name) * here, here)
    channel = of_each.astype(x.dtype).reshape(here, *(1,) * (x.ndim - 1))
    return jnp.concatenate([x, jnp.broadcast_to(channel, (*x.shape[:-1], 1))], -1)
