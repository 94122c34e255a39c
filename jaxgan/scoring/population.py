"""Which classes are scored, and how often: as often as in the reference, so that a difference is not one of classes.

For example:

    >>> in_proportion([6, 3, 1], 10).tolist()
    [0, 1, 0, 0, 1, 2, 0, 0, 1, 0]
    >>> in_proportion([5, 5, 5], 7).tolist()  # where classes are equally many, each in turn
    [0, 1, 2, 0, 1, 2, 0]
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgan.data.sources import Source
from jaxgan.errors import InputError


def in_proportion(counts: Sequence[int], number: int) -> np.ndarray:
    """Classes in the proportions of `counts`, as near as any beginning of the sequence can come to them.

    The next class is the one with the largest `counts[c] / (2 n_c + 1)`, where n_c says how often it was there before,
    the first of several (Webster's and Sainte-Lague's way to give seats to parties). Nothing is drawn by chance.

    Args:
      counts: How many there are of each class, at least one of some.
      number: How many classes to give.

    Returns:
      int32 `[number]`.
    """
    of = np.asarray(counts, np.float64)
    # All fractions rounded, their sum is apart by half of the classes at most: no class has more turns than this.
    most = np.ceil((number + len(of) / 2) * of / of.sum() + 1).astype(int)
    label = np.repeat(np.arange(len(of), dtype=np.int32), most)
    before = np.arange(len(label)) - np.repeat(np.cumsum(most) - most, most)
    with np.errstate(divide="ignore"):
        turn = (2 * before + 1) / of[label]
    return label[np.lexsort((label, turn))][:number]


class Population(NamedTuple):
    """How many examples of each class the reference holds."""

    counts: tuple[int, ...]
    counted: str
    """Where they were counted."""

    @property
    def even(self) -> bool:
        """Whether all classes are equally many, so that each has its turn."""
        return len(set(self.counts)) <= 1

    def labels(self, number: int, classes: int) -> np.ndarray:
        """The classes of so many samples, `[number]` int32; each class in turn where they are equally many.

        Raises:
          InputError: The samples are of other classes than the reference.
        """
        if classes != len(self.counts):
            raise InputError(
                f"the run makes samples of {classes} classes, and the real examples are of {len(self.counts)}; "
                "take another split"
            )
        return in_proportion(self.counts, number)

    def protocol(self) -> dict[str, Any]:
        """What a protocol says of the labels of samples."""
        if self.even:
            return {"labels": "each class in turn"}
        return {
            "labels": "in the reference's proportions",
            "class_counts": list(self.counts),
            "classes_counted": self.counted,
        }


def population(reference: Source, seen: np.ndarray) -> Population:
    """The population of a reference: of all of it where its source has `labels`, else of the examples seen.

    Args:
      reference: Real examples.
      seen: The labels of those that were read, `[N]`.
    """
    known = getattr(reference, "labels", None)
    of, counted = (seen, "examples read") if known is None else (known, "all examples")
    return Population(tuple(np.bincount(of, minlength=len(reference.classes)).tolist()), counted)
