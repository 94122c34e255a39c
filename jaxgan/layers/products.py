"""Products of matrices whose derivatives are spelt out in the order that is fast on a CPU.

For example:

    >>> a, w = jnp.ones((6, 3)), jnp.ones((3, 4))
    >>> times(a, w).shape
    (6, 4)
    >>> bool((times_transposed(a, w.T) == times(a, w)).all())
    True
    >>> da, dw = jax.grad(lambda a, w: times(a, w).sum(), (0, 1))(a, w)
    >>> float(da[0, 0]), float(dw[0, 0])  # each number of a meets 4 of w, each of w 6 of a
    (4.0, 6.0)
"""

from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, Protocol, cast

import jax

NARROW = 16
"""Columns from which the gradient of a matrix is computed as it lies in memory."""

_P = ParamSpec("_P")


class WithRule(Protocol[_P]):
    """A function of arrays with a rule for its derivatives: what `jax.custom_vjp` makes of it."""

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> jax.Array:
        """What the function computes."""
        ...

    def defvjp(self, fwd: Callable[..., tuple[jax.Array, Any]], bwd: Callable[..., tuple[Any, ...]]) -> Any:
        """Sets the rule, as that of JAX does."""
        ...


def custom_vjp(*constant: int) -> Callable[[Callable[_P, jax.Array]], WithRule[_P]]:
    """`jax.custom_vjp`, which keeps no types, with the positions of arguments that have no derivatives."""
    return cast(Any, partial(jax.custom_vjp, nondiff_argnums=constant))


@custom_vjp()
def times_transposed(a: jax.Array, w: jax.Array) -> jax.Array:
    """`[M, K]` times `[D, K]` transposed. Derivatives are spelt out: XLA's order of them is up to twice as slow."""
    return a @ w.T


@custom_vjp()
def times(a: jax.Array, w: jax.Array) -> jax.Array:
    """`[M, D]` times `[D, K]`."""
    return a @ w


def _times_backwards(kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    a, w = kept
    # XLA leaves the transpose of what follows to whoever reads it, which only a narrow result outweighs.
    return dy @ w.T, a.T @ dy if w.shape[1] >= NARROW else (dy.T @ a).T


times_transposed.defvjp(
    lambda a, w: (times_transposed(a, w), (a, w)), lambda kept, dy: (dy @ kept[1], dy.T @ kept[0])
)
times.defvjp(lambda a, w: (times(a, w), (a, w)), _times_backwards)
