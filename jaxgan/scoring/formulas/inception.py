"""The Inception score, of any classifier.

Salimans et al., Improved Techniques for Training GANs, 2016, section 4.

For example:

    >>> sure_and_diverse = 100 * np.eye(4)  # four images, each of another class
    >>> round(inception_score(sure_and_diverse, splits=1).value, 6)
    4.0
    >>> round(inception_score(np.zeros((4, 4)), splits=1).value, 6)
    1.0
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import log_softmax, softmax

from jaxgan.scoring.formulas.errors import standard_error
from jaxgan.scoring.formulas.features import checked
from jaxgan.scoring.formulas.kernel import Estimate


def inception_bias(logits: ArrayLike, *, splits: int = 10) -> float:
    """What the score lacks, about, since each split has few images: their own classes are part of the mean's.

    The entropy of a mean of n is too low by its chi-squared over 2 n (Miller, Note on the Bias of Information
    Estimates, 1955).

    Args:
      logits: As of `inception_score`.
      splits: Likewise.
    """
    p = softmax(checked(logits, "logits", splits), axis=1)
    lacking = np.sum(p.var(0) / np.maximum(p.mean(0), np.finfo(float).tiny)) * splits / (2 * len(p))
    return float(lacking) * inception_score(logits, splits=splits).value


def inception_score(logits: ArrayLike, *, splits: int = 10, strata: ArrayLike | None = None) -> Estimate:
    """The exponential of the mean divergence of an image's classes from all images' classes, from 1 to the classes.

    An image's influence on the score of its split is that score times how far its divergence is from the mean: how it
    moves the classes of all has no part in it to first order.

    Args:
      logits: `[N, classes]`, of generated images, in the order that is split.
      splits: Number of parts of consecutive rows; each has a score of its own.
      strata: Of the images, see `standard_error`.

    Raises:
      ValueError: If there are fewer rows than splits.
    """
    if splits < 1:
        raise ValueError(f"splits is {splits}; it must be at least 1")
    rows = log_softmax(checked(logits, "logits", splits), axis=1)

    def divergences(log_p: np.ndarray) -> np.ndarray:
        p = np.exp(log_p)
        marginal = p.mean(0)
        return np.sum(p * log_p, 1) - p @ np.log(np.maximum(marginal, np.finfo(float).tiny))

    each = [divergences(part) for part in np.array_split(rows, splits)]
    parts = np.array([float(np.exp(part.mean())) for part in each])
    shares = [len(rows) / (splits * len(part)) for part in each]  # of an image in the mean over splits
    influences = [
        share * score * (part - part.mean()) for share, score, part in zip(shares, parts, each, strict=True)
    ]
    return Estimate(float(parts.mean()), standard_error(np.concatenate(influences), strata), parts)
