"""Dense layers, faster than Flax's own where `jaxgan.backends` has it so.

For example:

    >>> layer = Dense(2, use_bias=False, kernel_init=nn.initializers.ones)
    >>> y, variables = layer.init_with_output(jax.random.key(0), np.array([[1.0, 2.0, 3.0]]))
    >>> print(y)
    [[6. 6.]]
    >>> variables["params"]["kernel"].shape
    (3, 2)
"""

from typing import Any

import flax.linen as nn
import jax
from jax import lax

from jaxgan import backends
from jaxgan.layers.products import times


def product(x: jax.Array, w: jax.Array, dimension_numbers: Any, precision: Any = None) -> jax.Array:
    """What `nn.Dense` asks of `lax.dot_general`: `[..., K]` times `[K, D]`.

    XLA's own gradient is the transpose of a product, and on a CPU sums over that, such as the norm of a gradient, are
    slow.
    """
    if precision is not None or not backends.choices().dense_gradients:
        return lax.dot_general(x, w, dimension_numbers, precision)
    return times(x.reshape(-1, x.shape[-1]), w).reshape(*x.shape[:-1], w.shape[1])


class Dense(nn.Dense):
    """`nn.Dense`, on a CPU with the gradient of its kernel as it lies in memory."""

    dot_general: Any = product
