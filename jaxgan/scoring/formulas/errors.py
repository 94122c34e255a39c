"""Standard errors of scores: over the choice of generated images, while the reference stays as it is.

That is the one meaning of every error beside a score: how far the score of as many other images of the same generator
would be. Most scores are means over images, or nearly so: then what each image adds (its influence) tells the error.

For example:

    >>> standard_error([0.0, 1.0, 2.0, 3.0])  # the deviation over the root of how many there are
    0.6454972243679028
    >>> standard_error([0.0, 1.0, 5.0, 6.0], strata=[7, 7, 8, 8])  # two of each class in any choice
    0.3535533905932738
    >>> covered = np.array([[0.2, 0.4], [0.3, 0.3]])  # by one half of the images, and by the other
    >>> round(error_of_share(0.5, covered), 3)
    0.109
"""

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.scoring.formulas.features import shuffled

ALIKE = 1e-12
"""Relative differences below this are rounding."""
SPLITS = 16
"""How often images are split into halves."""


def standard_error(influences: ArrayLike, strata: ArrayLike | None = None) -> float:
    """The standard error of a mean over images, of what each of them adds to it.

    Args:
      influences: `[N]`.
      strata: The stratum of each image, `[N]` int, such as its class, where any choice has as many of each: then only
        what images of one stratum differ by counts (Cochran, Sampling Techniques, 1977, section 5.6). All are of one
        if not given.

    Returns:
      The error; NaN where there are not more images than strata, and where all add the same, so that there is no spread
      to be seen.
    """
    values = np.asarray(influences, np.float64)
    kinds = np.zeros(len(values), int) if strata is None else np.unique(strata, return_inverse=True)[1]
    counts = np.bincount(kinds)
    free = len(values) - len(counts)
    if free < 1:
        return float("nan")
    apart = values - (np.bincount(kinds, values) / counts)[kinds]
    if np.abs(apart).max() <= ALIKE * np.abs(values).max():
        return float("nan")
    return float(np.sqrt(apart @ apart / (len(values) * free)))


def halves(count: int, strata: ArrayLike | None = None) -> np.ndarray:
    """Random halves of images, of each stratum half: `[SPLITS, count]`, whether an image is in the first."""
    found = np.zeros((SPLITS, count), bool)
    for number, first in enumerate(found):
        order = shuffled(count, 0, number)
        if strata is not None:
            order = order[np.argsort(np.asarray(strata)[order], kind="stable")]
        first[order[::2]] = True
    return found


def error_of_share(share: float, of_halves: np.ndarray) -> float:
    """The standard error of a share of real images that generated ones reach, over the choice of the generated.

    Real images are not reached independently of each other, as one generated image reaches several. How many
    independent ones they are worth is taken from halves of the generated images, two sets that are: there the variance
    is known, and it is p (1 - p) over that number. (Kish, Survey Sampling, 1965, section 8.2: the effect of a design.)

    Args:
      share: What all images reach.
      of_halves: What either half reaches, `[splits, 2]`.

    Returns:
      The error; NaN where nothing or everything is reached, which has no spread to be seen.
    """
    middle = of_halves.mean()
    if not (0 < share < 1 and 0 < middle < 1):
        return float("nan")
    variance = np.mean((of_halves[:, 0] - of_halves[:, 1]) ** 2) / 2
    return float(np.sqrt(variance / (middle * (1 - middle)) * share * (1 - share)))
