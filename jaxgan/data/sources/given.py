"""A source of what somebody has at hand: arrays, or an object that gives its examples by their numbers.

`given` takes

- a `Source`, as it is;
- a mapping of field names to arrays `[N, ...]` of NumPy, of JAX, or nested lists of numbers (`Arrays`);
- one such array, which is the field "real";
- a list of examples, or any object with `__len__` and `__getitem__` of whole numbers, such as a data set of PyTorch
  (`Indexed`). Its examples are mappings of fields, arrays ("real"), or pairs of an array and a whole number ("real",
  "label").

Floating-point numbers are stored as float32, whatever they were, and labels as int32; bytes, other whole numbers and
truth values stay as they are. A label is one whole number from 0 on; data without the field "label" has no classes.

For example:

    >>> points = np.random.default_rng(0).normal(size=(100, 2))
    >>> source = given({"real": points, "label": points[:, 0] > 0}, classes=["left", "right"])
    >>> source.fields
    {'real': Field(shape=(2,), dtype='float32'), 'label': Field(shape=(), dtype='int32')}
    >>> len(source), source.classes, dict(domain_of(source))
    (100, ('left', 'right'), {'domain': 'numbers'})
    >>> pairs = given([(np.full((8, 8, 3), i, np.uint8), i % 2) for i in range(10)])
    >>> pairs.classes, dict(domain_of(pairs))
    (('0', '1'), {'domain': 'image'})
    >>> given({"real": points, "label": [0, 1]})
    Traceback (most recent call last):
        ...
    jaxgan.errors.InputError: 'label' has 2 examples, and 'real' has 100; give every field as many
"""

import hashlib
import json
import operator
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxgan.data import stored
from jaxgan.data.sources.base import FINGERPRINT_BYTES, IMAGES, Example, Field, Source, domain_of
from jaxgan.data.sources.derived import Derived
from jaxgan.errors import InputError

SAMPLED = 1024
"""How many examples of an object larger than `FINGERPRINT_BYTES` its fingerprint is made of."""
TWICE = 8
"""How many examples are read twice, to find objects that make another one each time."""
NUMBERS = {"domain": "numbers"}
"""What floating-point numbers are, if nothing else is said (`jaxgan.domains.Numbers`)."""
MOST_CLASSES = 100_000
"""Most classes that are counted by their labels: larger numbers are likely something else."""


def given(data: Any, *, classes: Sequence[str] | None = None, domain: Any = None) -> Source:
    """A source of what somebody has at hand; the module says what that may be.

    Args:
      data: The examples. Arrays are copied, so that the source is safe from later changes, but for those of JAX, which
        nobody can change; an object is asked for each example whenever that is needed.
      classes: The names of the labels, in order. If not given, those that a source or an object has as `classes`, or
        else "0", "1" and so on up to the largest label.
      domain: What the examples are: plain data such as {"domain": "numbers"}, or a `jaxgan.domains.Domain`. If not
        given, what a source says; else bytes `[R, R, 1 or 3]` are images, and floating-point numbers of the domain
        "numbers".

    Raises:
      InputError: "real" or examples are missing; something is no number, or not of the shape and dtype of the other
        examples; fields are not of one length; a label is of no class; or the domain cannot be told.
    """
    names, said = _names(classes), _plain(domain)
    if isinstance(data, str | bytes | type):
        raise _no_data(data)
    if isinstance(data, Source):
        if names is None and said is None:
            return data
        if isinstance(data, Arrays):
            names, said = data.classes if names is None else names, data.domain if said is None else said
            return Arrays(data.arrays(), names, said)
        return Described(data, names, said)
    if isinstance(data, tuple):
        raise InputError(
            'a tuple does not say what its parts are; pass {"real": ..., "label": ...}, or a list of examples'
        )
    if isinstance(data, Mapping):
        return _of_arrays(data, names, said)
    if hasattr(data, "__array__") or (isinstance(data, list) and not (data and stored.is_example(data[0]))):
        return _of_arrays({"real": data}, names, said)
    if not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise _no_data(data)
    return Indexed(data, names, said)


class Arrays:
    """A source that holds all examples in arrays; `given` makes it."""

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        classes: Sequence[str] | None = None,
        domain: Mapping[str, Any] | None = None,
    ) -> None:
        """Takes arrays as they are, without a copy.

        Args:
          arrays: "real", "label" and others, `[N, ...]` each, as `jaxgan.data.stored.array` gives them.
          classes: As in `given`.
          domain: Plain data, as in `given`.

        Raises:
          InputError: A label is of no class, or the domain cannot be told.
        """
        self._arrays, self._fingerprint = dict(arrays), ""
        self.fields: Mapping[str, Field] = {
            n: Field(x.shape[1:], str(x.dtype)) for n, x in self._arrays.items()
        }
        labels = self._arrays["label"]
        self.classes: tuple[str, ...] = tuple(_counted(labels) if classes is None else classes)
        bad = np.flatnonzero((labels < 0) | (labels >= max(1, len(self.classes))))
        if len(bad):
            _check_label(labels[bad[0]], int(bad[0]), self.classes)
        self.domain: Mapping[str, Any] = _told(self.fields["real"]) if domain is None else domain

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the names, dtypes, shapes and bytes of all fields, in whatever order, and over the classes."""
        if not self._fingerprint:
            digest = _digest(self.fields, self.classes, len(self))
            for name in sorted(self._arrays):
                digest.update(np.ascontiguousarray(self._arrays[name]))
            self._fingerprint = digest.hexdigest()
        return self._fingerprint

    @property
    def labels(self) -> np.ndarray:
        """The labels of all examples, `[N]`."""
        return self._arrays["label"]

    def arrays(self) -> dict[str, np.ndarray]:
        """All examples by field: `[N, *fields[name].shape]` of the field's dtype, read-only, not copied."""
        return dict(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays["real"])

    def __getitem__(self, index: int, /) -> Example:
        at = operator.index(index)
        return {name: x[at].copy() for name, x in self._arrays.items()}


class Indexed:
    """A source over an object with `__len__` and `__getitem__`; `given` makes it.

    Shapes and dtypes are those of example 0. What the object raises comes through as it is.

    If the object has a `fingerprint`, a string, the source has that. Otherwise examples are read once at first: all of
    them if they hold at most `FINGERPRINT_BYTES`, or else `SAMPLED` of them, evenly spaced. The fingerprint is a
    SHA-256 over their bytes, the number of examples, their fields and the classes. An object that makes another example
    each time that it is asked for the same one, such as one that augments, is refused then, as no run would repeat.

    Classes that are neither given nor named by the object's `classes`, a list of strings, are counted, where all
    examples hold at most `FINGERPRINT_BYTES`.
    """

    def __init__(
        self, data: Any, classes: Sequence[str] | None = None, domain: Mapping[str, Any] | None = None
    ) -> None:
        """Reads examples, as the class says.

        Args:
          data: The object.
          classes: As in `given`.
          domain: Plain data, as in `given`.

        Raises:
          InputError: As `given`.
        """
        self.data: Any = data
        self._length = len(data)
        if self._length < 1:
            raise InputError("the data has no examples; give at least one")
        first = stored.example(data[0], 0)
        self._named = frozenset(first)
        fields = {name: Field(x.shape, str(x.dtype)) for name, x in first.items()}
        self.fields: Mapping[str, Field] = (
            fields if "label" in fields else {**fields, "label": Field((), "int32")}
        )
        self.domain: Mapping[str, Any] = _told(self.fields["real"]) if domain is None else domain
        known = _own_classes(data) if classes is None else tuple(classes)
        if "label" not in first:
            _check_unlabelled(classes)
            known = ()
        own = getattr(data, "fingerprint", None)
        self.fingerprint: str = own if isinstance(own, str) else ""
        whole = self._length * sum(x.nbytes for x in first.values()) <= FINGERPRINT_BYTES
        if known is None and not whole:
            raise InputError(
                f"the data has labels, and over {FINGERPRINT_BYTES >> 20} MiB of examples, too many to count the "
                "classes; pass their names as `classes`"
            )
        self.classes: tuple[str, ...] = known or ()
        if known is None or not self.fingerprint:
            self._survey(self._length if whole else SAMPLED, known)

    def _survey(self, count: int, classes: tuple[str, ...] | None) -> None:
        """Reads some examples, counts the classes if they are not known, and makes the fingerprint if there is none."""
        held, labels = hashlib.sha256(), np.zeros(self._length, np.int32)
        for n in range(count):
            index = n * self._length // count
            example = self._like_first(index, classes)
            labels[index] = example["label"]
            held.update(content := _bytes(example))
            if n < TWICE and not self.fingerprint and _bytes(self._like_first(index, classes)) != content:
                raise InputError(
                    f"example {index} is another one each time that it is read, so no run would repeat; make it the "
                    "same each time, or give the object a `fingerprint`, a string, to train all the same"
                )
        self.classes = _counted(labels) if classes is None else classes
        if not self.fingerprint:
            digest = _digest(self.fields, self.classes, self._length)
            digest.update(held.digest())
            self.fingerprint = digest.hexdigest()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Example:
        at = operator.index(index)
        if not -self._length <= at < self._length:
            raise IndexError(f"there is no example {at}: there are {self._length}")
        return self._like_first(at % self._length, self.classes)

    def _like_first(self, index: int, classes: tuple[str, ...] | None) -> dict[str, Any]:
        """An example, if it is like the first; with any label from 0 on if the classes are not known."""
        example: dict[str, Any] = stored.example(self.data[index], index)
        if example.keys() != self._named:
            raise InputError(
                f"example {index} has the fields {stored.listed(sorted(example))}, and example 0 "
                f"{stored.listed(sorted(self._named))}; give all the same"
            )
        for name, x in example.items():
            shape, dtype = self.fields[name]
            if x.shape != shape or x.dtype != dtype:
                raise InputError(
                    f"{name!r} of example {index} is {x.dtype} {list(x.shape)}, and of example 0 {dtype} "
                    f"{list(shape)}; give all the same"
                )
        example.setdefault("label", np.zeros((), np.int32))
        if classes is not None or example["label"] < 0:
            _check_label(example["label"], index, classes or ())
        return example


class Described(Derived):
    """A source with other names of its classes, or of another domain; `given` makes it.

    Raises:
      InputError: There are fewer names than the source has classes; or, where it is read, a label is of no class.
    """

    def __init__(
        self, source: Source, classes: Sequence[str] | None = None, domain: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(source)
        if classes is not None and len(classes) < len(source.classes):
            raise InputError(
                f"`classes` are {len(classes)} names, and the source has {len(source.classes)} classes; name them all"
            )
        self._classes, self._domain = None if classes is None else tuple(classes), domain

    @property
    def domain(self) -> Mapping[str, Any]:
        """The domain of the examples, see `jaxgan.domains`."""
        return domain_of(self.source) if self._domain is None else self._domain

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels."""
        return self.source.classes if self._classes is None else self._classes

    @property
    def fingerprint(self) -> str:
        """The source's; with other names of classes, a SHA-256 over it and them."""
        if self._classes is None:
            return self.source.fingerprint
        return hashlib.sha256(json.dumps([self.source.fingerprint, *self._classes]).encode()).hexdigest()

    def changed(self, example: Example, index: int) -> Example:
        """The example, if its label is of a class."""
        _check_label(example["label"], index, self.classes)
        return example


def _of_arrays(
    data: Mapping[Any, Any], classes: Sequence[str] | None, domain: Mapping[str, Any] | None
) -> Arrays:
    stored.check_names(data)
    arrays = {name: stored.array(name, value) for name, value in data.items()}
    count = len(arrays["real"])
    for name, x in arrays.items():
        if len(x) != count:
            raise InputError(
                f"{name!r} has {len(x)} examples, and 'real' has {count}; give every field as many"
            )
    if "label" not in arrays:
        _check_unlabelled(classes)
        arrays["label"], classes = stored.array("label", np.zeros(count, np.int32)), ()
    return Arrays(arrays, classes, domain)


def _check_unlabelled(classes: Sequence[str] | None) -> None:
    if classes:
        raise InputError(
            "`classes` name labels, and the data has no field 'label'; add it, or leave out `classes`"
        )


def _check_label(label: Any, index: int, classes: Sequence[str]) -> None:
    if label < 0:
        raise InputError(f"'label' of example {index} is {label}; number the classes from 0 on")
    if label >= max(1, len(classes)):
        named = {0: "there are no classes", 1: "there is 1 class"}.get(
            len(classes), f"there are {len(classes)} classes"
        )
        raise InputError(
            f"'label' of example {index} is {label}, and {named}; name all as `classes`, or mend the label"
        )


def _counted(labels: np.ndarray) -> tuple[str, ...]:
    """The names of classes that have numbers alone."""
    where = int(labels.argmax())
    if labels[where] >= MOST_CLASSES:
        raise InputError(
            f"'label' of example {where} is {labels[where]}, too large to count the classes by; number them from 0 on"
        )
    return tuple(map(str, range(labels[where] + 1)))


def _names(classes: Any) -> tuple[Any, ...] | None:
    if classes is None:
        return None
    names = tuple(classes) if isinstance(classes, Iterable) and not isinstance(classes, str) else (None,)
    if not all(isinstance(name, str) for name in names):
        raise InputError(f"`classes` is {classes!r}; give a list of names, which are strings")
    return names


def _own_classes(data: Any) -> tuple[str, ...] | None:
    """The classes that an object names, if it does."""
    own: Any = getattr(data, "classes", None)
    named = isinstance(own, list | tuple) and all(isinstance(name, str) for name in own)
    return tuple(own) if named and own else None


def _plain(domain: Any) -> Mapping[str, Any] | None:
    """A domain as plain data."""
    said = domain.model_dump(mode="json") if hasattr(domain, "model_dump") else domain
    if said is None or isinstance(said, Mapping):
        return said
    raise InputError(f"`domain` is {domain!r}; give a table such as {NUMBERS}, or a jaxgan.domains.Domain")


def _told(real: Field) -> Mapping[str, Any]:
    """The domain that shape and dtype tell."""
    shape = real.shape
    if real.dtype == "uint8" and len(shape) == 3 and shape[0] == shape[1] and shape[2] in (1, 3):
        return IMAGES
    if real.dtype == "float32":
        return NUMBERS
    raise InputError(
        f"'real' is {real.dtype} {list(shape)}, neither square images, uint8 [R, R, 1 or 3], nor floating-point "
        f"numbers; convert it, or say what it is by `domain=`, a table such as {NUMBERS} or a jaxgan.domains.Domain"
    )


def _no_data(data: Any) -> InputError:
    name = data.__name__ if isinstance(data, type) else type(data).__name__
    return InputError(
        f'{name} is no data; pass {{"real": array}}, an array, or an object with __len__ and __getitem__'
        + (", such as one of this class" if isinstance(data, type) else "")
    )


def _digest(fields: Mapping[str, Field], classes: Sequence[str], count: int) -> Any:
    """A SHA-256 that has seen what the examples are, whatever the order of the fields."""
    what = [
        sorted([name, list(shape), dtype] for name, (shape, dtype) in fields.items()),
        list(classes),
        count,
    ]
    return hashlib.sha256(json.dumps(what).encode())


def _bytes(example: Mapping[str, Any]) -> bytes:
    return b"".join(example[name].tobytes() for name in sorted(example))
