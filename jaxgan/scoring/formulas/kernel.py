"""The kernel distance: KID, in any features.

Binkowski et al., Demystifying MMD GANs, 2018.

For example:

    >>> real, fake = [[0.0], [0.0]], [[1.0], [1.0]]
    >>> kernel_distance(real, fake, number=1).value  # (0 + 1)^3 + (1 + 1)^3 - 2 (0 + 1)^3
    7.0
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.scoring.formulas.errors import standard_error
from jaxgan.scoring.formulas.features import shuffled, table


class Estimate(NamedTuple):
    """A mean over subsets, splits or pairs of images."""

    value: float
    error: float
    """Its standard error over the choice of generated images, NaN where that cannot be told."""
    parts: np.ndarray
    """The values of the subsets, splits or pairs."""

    @classmethod
    def of(cls, parts: ArrayLike) -> "Estimate":
        """The mean of parts that have no image in common, and its standard error, which is NaN where there is one."""
        values = np.asarray(parts, np.float64)
        return cls(float(values.mean()), standard_error(values), values)


def subsets(n: int, size: int, number: int, seed: int) -> np.ndarray:
    """Indices below n, `[number, size]`, without repetition within a row."""
    return np.stack([shuffled(n, seed, i)[:size] for i in range(number)])


def _mmd(x: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """The unbiased estimate of the squared MMD with the kernel (x . y / d + 1)^3, and of each y half its influence."""
    d = x.shape[1]

    def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return (a @ b.T / d + 1) ** 3

    def within(kernel: np.ndarray) -> float:
        return (kernel.sum() - np.trace(kernel)) / (len(kernel) * (len(kernel) - 1))

    own, shared = between(y, y), between(x, y)
    value = within(between(x, x)) + within(own) - 2 * shared.mean()
    return value, (own.sum(1) - own.diagonal()) / (len(y) - 1) - shared.mean(0)


def kernel_distance(
    real: ArrayLike,
    fake: ArrayLike,
    *,
    number: int = 100,
    size: int = 1000,
    seed: int = 0,
    strata: ArrayLike | None = None,
) -> Estimate:
    """The mean over random subsets of the unbiased squared MMD with the kernel `(x . y / d + 1)^3`.

    Its standard error is that of a U-statistic (Hoeffding, 1948): of what each generated image adds by its likeness to
    the others and to the real ones, weighted by the number of subsets that it is in.

    Args:
      real: Features `[N, d]`.
      fake: Features `[M, d]`.
      number: Number of subsets.
      size: Rows of each in a subset; at most all there are.
      seed: Of the subsets: `subsets(N, size, number, seed)` and, for `fake`, of seed + 1.
      strata: Of the generated images, see `standard_error`.

    Returns:
      The estimate; unbiased, so it may be below 0.

    Raises:
      ValueError: If there are fewer than two rows, the widths differ, or number or size is too small.
    """
    x = table(real, "real features", 2)
    y = table(fake, "generated features", 2, x.shape[1])
    if number < 1 or size < 2:
        raise ValueError(f"number is {number} and size {size}; they must be at least 1 and 2")
    size = min(size, len(x), len(y))
    pairs = zip(subsets(len(x), size, number, seed), subsets(len(y), size, number, seed + 1), strict=True)
    parts, total, times = np.empty(number), np.zeros(len(y)), np.zeros(len(y))
    for part, (i, j) in enumerate(pairs):
        parts[part], each = _mmd(x[i].astype(np.float64), y[j].astype(np.float64))
        total[j] += each
        times[j] += 1
    mean = total.sum() / times.sum()
    influences = 2 * len(y) * (total - times * mean) / (number * size)
    return Estimate(float(parts.mean()), standard_error(influences, strata), parts)
