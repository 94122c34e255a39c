"""What all formulas take: arrays of features, checked.

For example:

    >>> checked([[1, 2], [3, 4]], "features").dtype
    dtype('float64')
    >>> table([[1.0], [np.nan]], "real features")
    Traceback (most recent call last):
    ValueError: real features is not finite (first in row 1)
    >>> sorted(shuffled(5, seed=0).tolist())
    [0, 1, 2, 3, 4]
"""

import numpy as np
from numpy.typing import ArrayLike

Features = np.ndarray
"""`[N, d]` float64."""


def shuffled(n: int, seed: int, number: int = 0) -> np.ndarray:
    """0 to n - 1 in a random order, one for each seed and number, the same with every version of NumPy."""
    return np.argsort(np.random.Philox(key=np.array([seed, number], np.uint64)).random_raw(n), kind="stable")


def table(features: ArrayLike, name: str, least: int = 1, width: int | None = None) -> np.ndarray:
    """The features `[N, d]` as they are, for what makes float64 of some rows at a time.

    Args:
      features: Real numbers `[N, d]`.
      name: What they are, for messages.
      least: How many rows the metric needs.
      width: The d that they must have.

    Raises:
      ValueError: If they are not a finite table of numbers, too few, or of another width.
    """
    found = np.asarray(features)
    if found.ndim != 2 or found.dtype.kind not in "fiub" or found.shape[1] < 1:
        raise ValueError(f"{name} must be real numbers [N, d], got {found.dtype} {list(found.shape)}")
    if len(found) < least:
        raise ValueError(f"{name} holds {len(found)} rows; this needs at least {least}")
    if width is not None and found.shape[1] != width:
        raise ValueError(f"{name} is {found.shape[1]} wide, what it is compared with {width}")
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(1))[0])
        raise ValueError(f"{name} is not finite (first in row {row})")
    return found


def checked(features: ArrayLike, name: str, least: int = 1, width: int | None = None) -> Features:
    """A copy of the features in float64; see `table`."""
    return table(features, name, least, width).astype(np.float64)
