"""Scores from the distances between neighbours: precision and recall, density and coverage, memorisation.

Kynkaanniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019; Naeem et al., Reliable
Fidelity and Diversity Metrics for Generative Models, 2020; Meehan et al., A Non-Parametric Test to Detect Data-Copying
in Generative Models, 2020.

For example:

    >>> distances, which = nearest([[0.0]], [[3.0], [1.0]])
    >>> distances.item(), which.item()
    (1.0, 1)
    >>> train, test = [[0.0], [10.0]], [[1.0], [9.0]]
    >>> memorisation(train, test, fake=train).copied  # each is nearer than every test image
    1.0
    >>> found = manifold(train, fake=[[0.0], [0.0]], k=1, density_k=1)
    >>> float(found.precision), float(found.recall)  # nothing was made near 10
    (1.0, 0.5)
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.scoring.formulas.distances import Block, Distances
from jaxgan.scoring.formulas.errors import error_of_share, halves, standard_error
from jaxgan.scoring.formulas.features import table

MANY = 64
"""Generated features near a real one of which any half holds some."""


class Manifold(NamedTuple):
    """How two sets of features cover each other."""

    precision: float
    """Share of generated features within the k nearest neighbours' ball of some real one, 0 to 1."""
    recall: float
    """Share of real features within such a ball of some generated one, 0 to 1."""
    density: float
    """In how many such balls of real features, over k, a generated one lies: 1 expected of real ones."""
    coverage: float
    """Share of real features whose ball has a generated one in it, 0 to 1."""
    balls: np.ndarray
    """`[M]`: in how many balls of density each generated feature lies."""
    errors: tuple[float, float, float, float]
    """Standard errors of the four over the choice of generated images; NaN for nothing and for everything."""


class _Halves:
    """Recall and coverage by halves of the generated features, which tell what these two spread by."""

    def __init__(self, near: np.ndarray, which: np.ndarray, k: int, strata: ArrayLike | None) -> None:
        """Takes the distances of generated features to some nearest others, in order, and which these are."""
        first = halves(len(near), strata)
        self.masks = np.stack([first, ~first], 1)  # [splits, 2, M]
        self.recalled, self.covered = np.zeros((2, *self.masks.shape[:2]), int)
        ranks = np.cumsum(self.masks[:, :, which], -1, dtype=np.int32)
        at = np.minimum((ranks < k).sum(-1), near.shape[1] - 1)
        self.radii = np.take_along_axis(near[None, None], at[..., None], -1)[..., 0]
        self.reach = near[:, -1]

    def see(self, block: Block, within: np.ndarray) -> None:
        """Counts in a block of distances, and of those within balls of density; what is near a ball's edge is in it."""
        rows, columns = _some(block.squares <= self.reach + block.off)
        near = block.squares[rows, columns] - block.off
        self.recalled += _hit(rows, self.masks[:, :, columns] & (near <= self.radii[:, :, columns]))
        rows, columns = _some(within)
        self.covered += _hit(rows, self.masks[:, :, columns])


def _some(chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns where a table is true, in the order of rows, `MANY` of a row at most."""
    rows, columns = np.divmod(np.flatnonzero(chosen), chosen.shape[1])
    rank = np.arange(len(rows)) - np.searchsorted(rows, rows)
    return rows[rank < MANY], columns[rank < MANY]


def _hit(rows: np.ndarray, true: np.ndarray) -> np.ndarray:
    """How many rows have anything true, of entries `[..., n]` in the order of rows: `[...]`."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    return np.logical_or.reduceat(true, starts, -1).sum(-1) if len(starts) else np.zeros(true.shape[:-1], int)


def manifold(
    real: ArrayLike, fake: ArrayLike, *, k: int = 3, density_k: int = 5, strata: ArrayLike | None = None
) -> Manifold:
    """Precision and recall with k neighbours, density and coverage with `density_k`.

    All depend on the numbers of features: compare only scores of the same numbers.

    Args:
      real: Features `[N, d]`.
      fake: Features `[M, d]`.
      k: Neighbours of precision and recall, 3 in the paper.
      density_k: Neighbours of density and coverage, 5 in the paper.
      strata: Of the generated images, see `jaxgan.scoring.formulas.errors.standard_error`.

    Raises:
      ValueError: If there are not more rows than neighbours, or the widths differ.
    """
    if min(k, density_k) < 1:
        raise ValueError(f"k is {k} and density_k {density_k}; they must be at least 1")
    x = table(real, "real features", max(k, density_k) + 1)
    y = table(fake, "generated features", k + 1, x.shape[1])
    narrow, wide = _nearest(Distances(x), max(k, density_k))[0][:, [k - 1, density_k - 1]].T
    # In a half, the kth nearest is among these but for one in hundreds.
    near, which = _nearest(Distances(y), min(4 * k + 4, len(y) - 1))
    others, parts = near[:, k - 1], _Halves(near, which, k, strata)
    inside, balls, recalled, covered = np.zeros(len(y), bool), np.zeros(len(y), int), 0, 0
    for block in Distances(x, y).blocks():
        inside |= block.within(narrow[block.rows, None]).any(0)
        recalled += np.count_nonzero(block.within(others).any(1))
        within = block.within(wide[block.rows, None])
        covered += np.count_nonzero(within.any(1))
        balls += np.count_nonzero(within, 0)
        parts.see(block, within)
    precision, recall, coverage = float(inside.mean()), float(recalled / len(x)), float(covered / len(x))
    errors = (
        standard_error(inside, strata),
        error_of_share(recall, parts.recalled / len(x)),
        standard_error(balls / density_k, strata),
        error_of_share(coverage, parts.covered / len(x)),
    )
    return Manifold(precision, recall, float(balls.mean()) / density_k, coverage, balls, errors)


def nearest(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The distance from each row of a to the nearest of b, and which that is, the first of equal ones, each `[N]`.

    Raises:
      ValueError: If either is no finite table, or the widths differ.
    """
    y = table(b, "the features searched")
    x = table(a, "the features that search", 1, y.shape[1])
    found, which = _nearest(Distances(x, y), 1)
    return np.sqrt(found[:, 0]), which[:, 0]


def _nearest(distances: Distances, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k smallest squared distances of each row in order, and to which they are, `[N, k]` each."""
    found, which = zip(*(block.nearest(k) for block in distances.blocks()), strict=True)
    return np.concatenate(found), np.concatenate(which)


class Memorisation(NamedTuple):
    """Whether generated images lie nearer to the training images than fresh real ones do."""

    copied: float
    """How probable it is that a generated image is nearer than a test image: 1/2 expected, 1 for copies."""
    error: float
    """Its standard error over the choice of generated images; NaN of one image."""
    p_value: float
    """The probability of that or more, if generated images were as far as test images (Mann and Whitney)."""


def memorisation(
    train: ArrayLike, test: ArrayLike, fake: ArrayLike, *, strata: ArrayLike | None = None
) -> Memorisation:
    """Compares the distances of generated and of test features to their nearest training features.

    Args:
      train: Features of the training images, `[N, d]`.
      test: Features of real images that were not trained on, `[M, d]`.
      fake: Features of generated images, `[L, d]`.
      strata: Of the generated images, see `jaxgan.scoring.formulas.errors.standard_error`.

    Returns:
      The probability is Mann and Whitney's U over M L, ties counted as half; its error is the generated images' part of
      that of DeLong et al., Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves,
      1988.

    Raises:
      ValueError: If any is no finite table, or the widths differ.
    """
    fresh, _ = nearest(test, train)
    made, _ = nearest(fake, train)

    def below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
        """For each of the others, the share of values below it, ties counted as half."""
        ordered = np.sort(values)
        ranks = np.searchsorted(ordered, others) + np.searchsorted(ordered, others, side="right")
        return ranks / (2 * len(values))

    error = standard_error(
        below(fresh, made), strata
    )  # to first order, all depends on the generated images by this
    from scipy.stats import mannwhitneyu  # slower to import than all else that a run needs of SciPy

    p_value = mannwhitneyu(fresh, made, alternative="greater").pvalue
    return Memorisation(float(below(made, fresh).mean()), error, float(p_value))
