"""Mode coverage, where the modes are known.

Protocols of Lin et al., PacGAN: The Power of Two Samples in Generative Adversarial Networks, 2018, section 4.

For example:

    >>> gaussian_modes(RING, RING, deviation=0.01)
    Modes(modes=8, high_quality=1.0, reverse_kl=0.0)
    >>> found = gaussian_modes(RING[:1], RING, deviation=0.01)
    >>> found.modes, round(found.reverse_kl, 3)  # log(8)
    (1, 2.079)
    >>> class_modes([[0, 0], [0, 1], [0, 1]], classes=2).modes
    2
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from jaxgan.scoring.formulas.features import checked

RING = np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], 1)
"""Means of eight Gaussians on a circle of radius 1, whose deviation is 0.01."""
GRID = np.stack(np.meshgrid(*[np.arange(-4.0, 5, 2)] * 2, indexing="ij"), -1).reshape(25, 2)
"""Means of 25 Gaussians on a grid, whose deviation is 0.05."""


class Modes(NamedTuple):
    """What of the modes samples cover."""

    modes: int
    """Modes with at least one sample; of Gaussians, one within three deviations."""
    high_quality: float
    """Share of the samples within three deviations of their mode; 1 where a mode is a class."""
    reverse_kl: float
    """Divergence of the samples' modes from equally many in each, in nats: 0 is best, log(modes) one mode only."""


def _divergence(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(np.sum(p * np.log(p * len(counts))))


def gaussian_modes(samples: ArrayLike, means: ArrayLike, deviation: float) -> Modes:
    """How samples cover a mixture of equal Gaussians.

    Args:
      samples: `[N, d]`.
      means: `[modes, d]`, such as `RING` and `GRID`.
      deviation: Of each Gaussian, above 0: 0.01 of the ring, 0.05 of the grid.

    Returns:
      Every sample counts for the mode whose mean is nearest.

    Raises:
      ValueError: If there are no samples, they are not as wide as the means, or the deviation is not above 0.
    """
    centers = checked(means, "means")
    points = checked(samples, "samples", 1, centers.shape[1])
    if not deviation > 0:
        raise ValueError(f"deviation is {deviation}; it must be above 0")
    distances = np.linalg.norm(points[:, None] - centers, axis=2)
    mode, near = distances.argmin(1), distances.min(1) <= 3 * deviation
    counts = np.bincount(mode, minlength=len(centers))
    return Modes(len(np.unique(mode[near])), float(near.mean()), _divergence(counts))


def class_modes(labels: ArrayLike, classes: int) -> Modes:
    """How samples cover combinations of classes: stacked digits, one class in each channel.

    Args:
      labels: Classes `[N, channels]` of the samples, integers below `classes`, by a classifier.
      classes: Number of classes of a channel; there are `classes ** channels` modes.

    Raises:
      ValueError: If there are no samples or a label is no class.
    """
    found = np.asarray(labels)
    if found.ndim != 2 or found.dtype.kind not in "iu" or not found.size:
        raise ValueError(f"labels must be integers [N, channels], got {found.dtype} {list(found.shape)}")
    if found.min() < 0 or found.max() >= classes:
        raise ValueError(f"labels run from {found.min()} to {found.max()}; there are {classes} classes")
    modes = found @ classes ** np.arange(found.shape[1])
    counts = np.bincount(modes, minlength=classes ** found.shape[1])
    return Modes(int(np.count_nonzero(counts)), 1.0, _divergence(counts))
