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
from scipy.special import log_softmax

from jaxgan.scoring.formulas.features import checked
from jaxgan.scoring.formulas.kernel import Estimate


def inception_score(logits: ArrayLike, *, splits: int = 10) -> Estimate:
    """The exponential of the mean divergence of an image's classes from all images' classes, from 1 to the classes.

    Args:
      logits: `[N, classes]`, of generated images, in the order that is split.
      splits: Number of parts of consecutive rows; each has a score of its own.

    Raises:
      ValueError: If there are fewer rows than splits.
    """
    if splits < 1:
        raise ValueError(f"splits is {splits}; it must be at least 1")
    rows = log_softmax(checked(logits, "logits", splits), axis=1)

    def score(log_p: np.ndarray) -> float:
        p = np.exp(log_p)
        marginal = p.mean(0)
        divergence = np.sum(p * log_p, 1) - p @ np.log(np.maximum(marginal, np.finfo(float).tiny))
        return float(np.exp(divergence.mean()))

    return Estimate.of([score(part) for part in np.array_split(rows, splits)])
