"""Few labelled examples among many: a source that hands out one of them with each of its examples.

For example:

    >>> from jaxgan.data.sources import Embedded
    >>> source = Labelled(Embedded("test"), 20)
    >>> [int(source[i]["labelled_label"]) for i in range(12)]
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    >>> np.array_equal(source[3]["labelled_real"], source[23]["labelled_real"])
    True
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxgan.data import order
from jaxgan.data.sources.base import Example, Field, Side, Source, domain_of, remarks_of, sides_of
from jaxgan.data.sources.derived import FirstSide
from jaxgan.errors import InputError


class Labelled:
    """A source whose examples each carry one of few labelled examples too, for training that sees no other labels.

    Each carries one as the fields "labelled_real" and "labelled_label", so that batches hold as many labelled examples
    as others: example i the labelled example i modulo `count`. In training the labelled ones go through epochs of their
    own, in an order of their own, so that each is shown equally often, beside others each time. Which are
    labelled depends on the source and the count alone, never on the run's seed: of each class as many, the first that
    come in the order of epoch 0 of seed 0.

    Args:
      source: The examples.
      count: How many of them are labelled.

    Raises:
      InputError: If the source has no classes, they do not divide `count`, or one of them has too few examples.
    """

    def __init__(self, source: Source, count: int) -> None:
        self.source = source
        self._own = FirstSide(source)
        check(count, len(source.classes), len(self._own))
        self.indices: np.ndarray = choose(self._own, count)
        """Those of the labelled examples."""

    @property
    def domain(self) -> Mapping[str, Any]:
        """The domain of the examples, see `jaxgan.domains`."""
        return domain_of(self.source)

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return self.source.classes

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        fields = self.source.fields
        return {**fields, "labelled_real": fields["real"], "labelled_label": fields["label"]}

    @property
    def labels(self) -> np.ndarray | None:
        """The labels of all examples, `[N]`; None where only reading them would tell."""
        return getattr(self.source, "labels", None)

    @property
    def fingerprint(self) -> str:
        """That of the source: the data are the same."""
        return self.source.fingerprint

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int, /) -> Example:
        return {**self.source[index], **self._known(index % len(self.indices))}

    @property
    def remarks(self) -> tuple[str, ...]:
        """Those of the source."""
        return remarks_of(self.source)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Those of the source, and the labelled examples."""
        known = {name: self.fields[name] for name in ("labelled_real", "labelled_label")}
        return *sides_of(self.source), Side(known, len(self.indices), self._known)

    def _known(self, index: int) -> Example:
        example = self._own[int(self.indices[index])]
        return {"labelled_real": example["real"], "labelled_label": example["label"]}


def check(count: int, classes: int, examples: int) -> None:
    """Raises InputError where so many of the examples cannot be labelled evenly."""
    if classes < 2:
        raise InputError(
            f"{count} labelled examples are asked for, but the data has no classes; give it labels, or ask for 0"
        )
    if count > examples:
        raise InputError(
            f"{count} labelled examples are asked for, more than the {examples} of the data; ask for fewer"
        )
    if count % classes:
        raise InputError(
            f"{count} labelled examples cannot be spread evenly over {classes} classes; ask for a multiple of that"
        )


def choose(source: Source, count: int) -> np.ndarray:
    """The indices of `count` examples, as many of each class: int64 `[count]`, the classes in turn.

    Raises:
      InputError: If a class has too few examples.
    """
    each = count // len(source.classes)
    found: list[list[int]] = [[] for _ in source.classes]
    missing = count
    for i in order.permutation(0, len(source), 0):
        if not missing:
            break
        of = found[int(source[int(i)]["label"])]
        if len(of) < each:
            of.append(int(i))
            missing -= 1
    for name, of in zip(source.classes, found, strict=True):
        if len(of) < each:
            raise InputError(
                f"{count} labelled examples are {each} of each class, but {name!r} has only {len(of)}; ask for fewer"
            )
    return np.array(found, np.int64).T.ravel()
