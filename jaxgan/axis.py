"""The one mapped axis of jaxgan: the devices over which a batch is split.

Layers that need the whole batch (batch norm, minibatch statistics, top-k) ask here instead of naming an axis. Where
the axis is not bound, on one device or under plain `jit`, the batch they see is all of it.

For example:

    >>> def whole_mean(examples):
    ...     return mean(jnp.mean(examples), current())
    >>> parts = jnp.array([[1.0, 2.0], [3.0, 4.0]])  # two examples on each of two devices
    >>> jax.vmap(whole_mean, axis_name=AXIS)(parts).tolist()
    [2.5, 2.5]
    >>> float(whole_mean(parts)), bound()  # no axis: all of the batch is here
    (2.5, False)
"""

from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

AXIS = "devices"
"""Name of the axis that `jaxgan.parallel` maps steps over."""

T = TypeVar("T")


def bound() -> bool:
    """Whether the code is being traced under a map over `AXIS`, with more devices than one."""
    try:
        return not _alone(AXIS)
    except NameError:
        return False


def current() -> str | None:
    """`AXIS` where it is bound, else None: what the functions below take."""
    return AXIS if bound() else None


def _alone(axis: str) -> bool:
    """Whether there is nobody to talk to; XLA would keep a collective of one device, and copy what goes through it."""
    return lax.axis_size(axis) == 1


def index(axis: str | None) -> jax.Array | int:
    """Position of this device along `axis`; 0 when there is none."""
    return 0 if axis is None or _alone(axis) else lax.axis_index(axis)


def size(axis: str | None) -> int:
    """Number of devices along `axis`; 1 when there is none."""
    return 1 if axis is None else lax.axis_size(axis)


def mean(tree: T, axis: str | None) -> T:
    """Mean over `axis` of every leaf of real numbers; integers are the same everywhere and stay as they are."""
    if axis is None or _alone(axis):
        return tree
    return jax.tree.map(lambda x: lax.pmean(x, axis) if jnp.issubdtype(x.dtype, jnp.inexact) else x, tree)


def gather(tree: T, axis: str | None) -> T:
    """Every leaf `[n, ...]` joined over `axis` to `[N, ...]` in the global order of examples."""
    return tree if axis is None or _alone(axis) else lax.all_gather(tree, axis, tiled=True)
