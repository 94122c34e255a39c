"""The Frechet distance between Gaussians fitted to features: FID, in any features.

Heusel et al., GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, 2017.

For example:

    >>> real, fake = moments([[-1.0], [1.0]]), moments([[2.0], [4.0]])
    >>> real.mean.item(), fake.mean.item(), fake.covariance.item()
    (0.0, 3.0, 2.0)
    >>> round(frechet_distance(real, fake), 6)  # equal variances, and means that are 3 apart
    9.0
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.scoring.formulas.errors import halves, standard_error
from jaxgan.scoring.formulas.features import shuffled, table

BLOCK = 4096
"""Rows that become float64 at once."""


class Moments(NamedTuple):
    """Sums over features seen so far, from which mean and covariance follow. All float64.

    The features are shifted by the mean of the first ones: without that, large means drown small variances.
    """

    rows: int
    shift: np.ndarray
    """`[d]`."""
    total: np.ndarray
    """`[d]`, of shifted features."""
    products: np.ndarray
    """`[d, d]`, of shifted features."""

    @property
    def mean(self) -> np.ndarray:
        """`[d]`."""
        return self.shift + self.total / self.rows

    @property
    def covariance(self) -> np.ndarray:
        """`[d, d]`, unbiased.

        Raises:
          ValueError: If fewer than two rows were seen.
        """
        if self.rows < 2:
            raise ValueError(f"a covariance needs at least 2 rows of features, got {self.rows}")
        return (self.products - np.outer(self.total, self.total) / self.rows) / (self.rows - 1)


def moments(features: ArrayLike, before: Moments | None = None) -> Moments:
    """The moments of the features `[N, d]`, and of those before them.

    Raises:
      ValueError: If the features are no finite table, or not as wide as those before.
    """
    x = table(features, "features", 1, None if before is None else len(before.shift))
    d = x.shape[1]
    before = before or Moments(0, x.mean(0, dtype=np.float64), np.zeros(d), np.zeros((d, d)))
    total, products = before.total.copy(), before.products.copy()
    # Memory that is asked for again in every turn would take as long as the products.
    shifted, product = np.empty((min(BLOCK, len(x)), d)), np.empty((d, d))
    for start in range(0, len(x), BLOCK):
        rows = x[start : start + BLOCK]
        part = np.subtract(rows, before.shift, out=shifted[: len(rows)])
        total += part.sum(0)
        products += np.matmul(part.T, part, out=product)
    return Moments(before.rows + len(x), before.shift, total, products)


def _root(covariance: np.ndarray) -> np.ndarray:
    """R with R R^T the covariance, without its empty directions, the widest first: `[d, rank]`."""
    values, vectors = np.linalg.eigh(covariance)
    kept = values > values[-1] * len(values) * np.finfo(np.float64).eps
    # In this order the small eigenvalues of R^T B R keep their digits, of which the sum has as many as of the large.
    return (vectors[:, kept] * np.sqrt(values[kept]))[:, ::-1]


def _distance(root: np.ndarray, a: Moments, b: Moments) -> float:
    """The squared distance, from the root of a's covariance."""
    covariance = b.covariance
    # tr sqrt(A B) = tr sqrt(R^T B R): symmetric, so that its eigenvalues are real and at least 0, as they must be.
    shared = np.linalg.eigvalsh(root.T @ covariance @ root) if root.size else np.zeros(0)
    apart = a.mean - b.mean
    value = apart @ apart + np.trace(a.covariance) + np.trace(covariance)
    return max(0.0, float(value - 2 * np.sqrt(np.maximum(shared, 0)).sum()))


def frechet_distance(a: Moments, b: Moments) -> float:
    """The squared Frechet distance between the Gaussians of a and b, at least 0.

    It is biased upwards by about 1 / N: compare only scores of the same numbers of real and generated images.

    Raises:
      ValueError: If a or b saw fewer than two rows, or they are not equally wide.
    """
    if len(a.shift) != len(b.shift):
        raise ValueError(f"the features are {len(a.shift)} and {len(b.shift)} wide")
    return _distance(_root(a.covariance), a, b)


def frechet_error(real: Moments, fake: ArrayLike, *, strata: ArrayLike | None = None) -> float:
    """The standard error of the Frechet distance over the choice of generated images.

    To first order an image x adds `2 (x - m) (m - n) + (x - m)^T (I - T) (x - m)`, where m and n are the generated and
    the real mean, and T is the linear map that takes the one Gaussian to the other: so the distance changes with mean
    and covariance.

    Args:
      real: Moments of real features.
      fake: Generated features `[N, d]`.
      strata: Of the images, see `standard_error`.

    Raises:
      ValueError: If there are fewer than two rows, or they are not as wide as the real ones.
    """
    x = table(fake, "generated features", 2, len(real.shift))
    whole, root = moments(x), _root(real.covariance)
    values, vectors = np.linalg.eigh(root.T @ whole.covariance @ root)
    kept = values > values[-1:] * len(values) * np.finfo(np.float64).eps
    # T is W W^T, the positive root of T B T = A for the covariances A of the real and B of the generated.
    w, apart = root @ (vectors[:, kept] / values[kept] ** 0.25), whole.mean - real.mean
    influences = np.empty(len(x))
    for start in range(0, len(x), BLOCK):
        part = x[start : start + BLOCK] - whole.mean
        mapped = part @ w
        squares = np.einsum("ij,ij->i", part, part) - np.einsum("ij,ij->i", mapped, mapped)
        influences[start : start + BLOCK] = 2 * part @ apart + squares
    return standard_error(influences, strata)


def frechet_bias(real: ArrayLike, fake: ArrayLike, *, strata: ArrayLike | None = None) -> float:
    """How much of the Frechet distance comes from the small numbers of images, about.

    The bias falls as 1 / N, so halves of both sets have twice as much: the difference is the bias. Where there are
    fewer images than features it falls more slowly, and this is too little.

    Args:
      real: Real features `[N, d]`.
      fake: Generated features `[M, d]`.
      strata: Of the generated images, see `jaxgan.scoring.formulas.errors.halves`.

    Raises:
      ValueError: If there are fewer than four rows of either, or the widths differ.
    """
    x = table(real, "real features", 4)
    y = table(fake, "generated features", 4, x.shape[1])
    first, other = halves(len(x))[0], halves(len(y), strata)[0]
    of_halves = [
        frechet_distance(moments(x[first == part]), moments(y[other == part])) for part in (True, False)
    ]
    return float(np.mean(of_halves)) - frechet_distance(moments(x), moments(y))


class Extrapolated(NamedTuple):
    """A Frechet distance at infinitely many generated images."""

    value: float
    """Where the line crosses 1 / N = 0; noise may put it below 0."""
    sizes: tuple[int, ...]
    distances: tuple[float, ...]


def frechet_infinity(
    real: Moments, fake: ArrayLike, *, sizes: Sequence[int] | None = None, seed: int = 0
) -> Extrapolated:
    """The Frechet distance without the bias of a finite number of generated images.

    Distances of random subsets of several sizes lie on a line over 1 / N, which is drawn to 0. (Chong and Forsyth,
    Effectively Unbiased FID and Inception Score, 2020, section 5.) The bias of the real images remains.

    Args:
      real: Moments of real features.
      fake: Generated features `[N, d]`.
      sizes: Sizes of subsets; 15 from N / 2 to N if not given: where N is not much larger
        than d the distances of smaller ones leave the line.
      seed: Of the subsets.

    Raises:
      ValueError: If the sizes are fewer than two, or not from 2 to N.
    """
    x = table(fake, "generated features", 2, len(real.shift))
    chosen = sizes or [int(n) for n in np.linspace(max(2, len(x) // 2), len(x), 15)]
    if len(set(chosen)) < 2 or min(chosen) < 2 or max(chosen) > len(x):
        raise ValueError(f"sizes must be two or more different ones from 2 to {len(x)}, got {list(chosen)}")
    root = _root(real.covariance)
    found = [_distance(root, real, moments(x[shuffled(len(x), seed, i)[:n]])) for i, n in enumerate(chosen)]
    _, value = np.polyfit(1 / np.asarray(chosen, float), found, 1)
    return Extrapolated(float(value), tuple(chosen), tuple(found))
