"""Minimal filtering: the sums that make several outputs of fewer products than the definition has.

For example:

    >>> inputs, taps, outputs = FILTERINGS[2]
    >>> d, g = list(jnp.array([1.0, 2.0, 3.0])), list(jnp.array([10.0, 1.0]))
    >>> products = [a * b for a, b in zip(sums(inputs, d), sums(taps, g), strict=True)]
    >>> len(products)  # four by the definition
    3
    >>> [float(y) for y in sums(outputs, products)]  # 1 * 10 + 2 * 1 and 2 * 10 + 3 * 1
    [12.0, 23.0]
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# Minimal filtering: over blocks of stride by stride pixels, a patch of two strides is one of two blocks, and m such
# patches side by side see m + 1 blocks d:
#     y[k] = d[k] g[0] + d[k + 1] g[1]   for k < m
# is linear in the products of m + 1 sums over d with m + 1 sums over g: 3 for 4 products where m = 2, 5 for 8 where
# m = 4, and in both directions at once 9 for 16 and 25 for 64. The sums interpolate polynomials at m points and at
# infinity. (Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for Convolutional
# Neural Networks, 2015.) Points a, -1 / a round best (Barabasz et al., Error Analysis and Improving the Accuracy of
# Winograd Convolution for Deep Neural Networks, 2020): m = 4 errs two to three times as much as m = 2, which errs as
# the definition does.
POINTS: dict[int, tuple[float, ...]] = {2: (0, 1), 4: (0, 0.5, -1, 2)}


class _Filtering(NamedTuple):
    """The sums, as rows of factors."""

    inputs: np.ndarray
    """`[m + 1, m + 1]`, over blocks."""
    taps: np.ndarray
    """`[m + 1, 2]`, over the kernel's blocks."""
    outputs: np.ndarray
    """`[m, m + 1]`, over products."""


def _filtering(points: Sequence[float]) -> _Filtering:
    """The transforms of m points that make m outputs from m + 1 products (Toom and Cook)."""
    m = len(points)
    at_points = [(point, np.delete(points, i)) for i, point in enumerate(points)]
    polynomials = [np.append(np.poly(others)[::-1], 0) for _, others in at_points]  # the constant first
    taps = [np.array([1, point]) / np.prod(point - others) for point, others in at_points]
    return _Filtering(
        np.array([*polynomials, np.poly(points)[::-1]]),
        np.array([*taps, [0, 1]]),
        np.column_stack([np.vander(points, increasing=True).T, np.eye(m)[-1]]),
    )


FILTERINGS = {m: _filtering(points) for m, points in POINTS.items()}


def sums(matrix: np.ndarray, arrays: Sequence[jax.Array]) -> list[jax.Array]:
    """Each row's sum over the arrays."""

    def total(row: np.ndarray) -> jax.Array:
        terms = [(factor, x) for factor, x in zip(row, arrays, strict=True) if factor]
        scaled = [x if abs(factor) == 1 else x * jnp.asarray(abs(factor), x.dtype) for factor, x in terms]
        y = scaled[0] if terms[0][0] > 0 else -scaled[0]
        for (factor, _), x in zip(terms[1:], scaled[1:], strict=True):
            y = y + x if factor > 0 else y - x
        return y

    return [total(row) for row in matrix]
