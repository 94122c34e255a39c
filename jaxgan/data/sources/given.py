"""A source of what somebody has at hand: arrays, or an object that gives its examples by their numbers.

`given` takes, in this order:

- a `Source`, as it is;
- a mapping of field names to arrays `[N, ...]` of NumPy, of JAX, or nested lists of numbers (`Arrays`);
- one such array, which is the field "real";
- a list of examples, or any object with `__len__` and `__getitem__` of whole numbers, such as a data set of PyTorch, whose
  examples are mappings of fields, arrays ("real"), or pairs of an array and a whole number ("real", "label") (`Indexed`).

Floating-point numbers of any size are kept as float32, labels as int32; bytes, other whole numbers and truth values stay as
they are. "label" is one whole number an example, from 0 on; where there is none, the data has no classes.

For example:

    >>> points = np.random.default_rng(0).normal(size=(100, 2))
    >>> source = given({"real": points, "label": points[:, 0] > 0}, classes=["left", "right"])
    >>> source.fields
    {'real': Field(shape=(2,), dtype='float32'), 'label': Field(shape=(), dtype='int32')}
    >>> len(source), source.classes, dict(domain_of(source))
    (100, ('left', 'right'), {'domain': 'numbers'})
    >>> len(given([(np.zeros((8, 8, 3), np.uint8), 0), (np.ones((8, 8, 3), np.uint8), 1)]).classes)  # pairs
    2
    >>> given({"real": points, "label": [0, 1]})
    Traceback (most recent call last):
        ...
    jaxgan.errors.InputError: 'label' has 2 examples, and 'real' has 100; give every field as many
"""

import functools
import hashlib
import json
import operator
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from jaxgan.data.sources.base import FINGERPRINT_BYTES, IMAGES, Example, Field, Source, domain_of
from jaxgan.data.sources.derived import Derived
from jaxgan.errors import InputError

SAMPLED = 1024
"""How many examples the fingerprint of an object that is larger than `FINGERPRINT_BYTES` is made of."""
TWICE = 8
"""How many examples are read twice, to find data that is another one each time."""
NUMBERS = {"domain": "numbers"}
"""The domain of floating-point numbers (`jaxgan.domains.Numbers`)."""
MOST_CLASSES = 100_000
"""The most classes that labels alone can make; beyond, they are likely no labels."""


def given(data: Any, *, classes: Sequence[str] | None = None, domain: Any = None) -> Source:
    """A source of what somebody has at hand; see the module for what that may be.

    Args:
      data: The examples.
      classes: The names of the labels, in order. If not given, they are those that a source or an object names by its
        attribute `classes`; otherwise "0", "1" and so on up to the largest label.
      domain: What the examples are, plain data such as {"domain": "numbers"} or a `jaxgan.domains.Domain`. If not given,
        square uint8 `[H, W, 1 or 3]` are images, and floating-point numbers are of the domain "numbers".

    Returns:
      The source. What it holds is safe from later changes of arrays: they are copied, those of JAX aside, which nobody can
      change. Objects are asked for each example again.

    Raises:
      InputError: Something is missing, or is not of one shape, one type and one number of examples, or is no number.
    """
    said = _plain(domain)
    names = _names(classes)
    if isinstance(data, Arrays):
        kept = data.arrays()
        return (
            data
            if names is None and said is None
            else Arrays(kept, names or data.classes, said or data.domain)
        )
    if isinstance(data, Source):
        return data if names is None and said is None else Described(data, names, said)
    if isinstance(data, tuple):
        raise InputError(
            'a tuple does not say what its parts are; pass {"real": ..., "label": ...}, or a list of examples'
        )
    if isinstance(data, Mapping):
        return _of_arrays(data, names, said)
    if hasattr(data, "__array__") or (isinstance(data, list) and not (data and _is_example(data[0]))):
        return _of_arrays({"real": data}, names, said)
    if isinstance(data, str | bytes) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise InputError(
            f"{type(data).__name__} is no data: pass a mapping of arrays such as {{'real': array}}, an array, or an object "
            "with __len__ and __getitem__"
        )
    return Indexed(data, names, said)


class Arrays:
    """A source that holds all its examples in arrays, as `given` makes it of arrays.

    `fingerprint` is a SHA-256 over names, dtypes, shapes and bytes of all fields, and over the classes; the order of the
    fields does not matter.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], classes: Sequence[str] | None, domain: Any) -> None:
        """Takes arrays that are as `given` stores them, and that nobody changes."""
        self._arrays = dict(arrays)
        self.fields = {name: Field(x.shape[1:], str(x.dtype)) for name, x in self._arrays.items()}
        labels = self._arrays["label"]
        self.classes = (
            _counted(int(labels.max()), int(labels.argmax())) if classes is None else tuple(classes)
        )
        bad = np.flatnonzero((labels < 0) | (labels >= max(1, len(self.classes))))
        if len(bad):
            _check_label(int(labels[bad[0]]), int(bad[0]), self.classes)
        self.domain: Mapping[str, Any] = _guessed(self.fields["real"]) if domain is None else domain

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that it holds."""
        digest = _begun(self.fields, self.classes, len(self))
        for name in sorted(self._arrays):
            digest.update(np.ascontiguousarray(self._arrays[name]))
        return digest.hexdigest()

    def arrays(self) -> dict[str, np.ndarray]:
        """All examples by field: `[N, *fields[name].shape]` of the field's dtype, read-only; nothing is copied."""
        return dict(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays["real"])

    def __getitem__(self, index: int, /) -> Example:
        return {name: x[index].copy() for name, x in self._arrays.items()}


class Indexed:
    """A source over an object with `__len__` and `__getitem__`, as `given` makes it of whatever is neither array nor source.

    Shapes and dtypes are those of example 0, and what the object raises comes through as it is. If the object has a
    `fingerprint`, a string, that is the source's. Otherwise the examples are read once at first, all of them if they have
    at most `FINGERPRINT_BYTES`, or else `SAMPLED` of them, evenly spaced: the fingerprint is a SHA-256 over how many there
    are, their fields, the classes and what was read. An object that makes another example of the same number each time,
    such as one that augments, is refused then, unless it has a `fingerprint`: runs on it would not repeat.

    The classes are given, or the object's attribute `classes`, a list of strings; otherwise the labels are counted where
    all examples can be read as above.
    """

    def __init__(self, data: Any, classes: Sequence[str] | None = None, domain: Any = None) -> None:
        """Reads some examples.

        Raises:
          InputError: As `given`.
        """
        self.data, self._length = data, len(data)
        if self._length < 1:
            raise InputError("the data has no examples; give at least one")
        first = self._read(0)
        self.fields = {name: Field(x.shape, str(x.dtype)) for name, x in first.items()}
        self.fields.setdefault("label", Field((), "int32"))
        self.classes: tuple[str, ...] = ()
        self._labels = "label" in first
        small = self._length * sum(x.nbytes for x in first.values()) <= FINGERPRINT_BYTES
        own = getattr(data, "fingerprint", None)
        said = classes if classes is not None else _own_classes(data)
        count = self._labels and said is None
        if count and not small:
            raise InputError(
                f"the data has labels, and is too large to count its classes (over {FINGERPRINT_BYTES >> 20} MiB); pass "
                "their names by `classes`"
            )
        if said is not None and not self._labels:
            if classes:
                raise InputError(
                    "the data has no field 'label' that `classes` could name; add it or leave out `classes`"
                )
            said = ()
        self.classes = tuple(said or ())
        self.fingerprint = own if isinstance(own, str) else ""
        if count or not self.fingerprint:
            self._survey(small, count)
        self.domain: Mapping[str, Any] = _guessed(self.fields["real"]) if domain is None else domain

    def _survey(self, whole: bool, count: bool) -> None:
        """Reads examples for the fingerprint, where there is none, and for the number of classes, where that is asked for."""
        number = self._length if whole else SAMPLED
        places = [i * self._length // number for i in range(number)]
        digest, largest, where = hashlib.sha256(), 0, 0
        for n, i in enumerate(places):
            example = self._checked(i, None if count else self.classes)
            if int(example["label"]) > largest:
                largest, where = int(example["label"]), i
            parts = _bytes(example)
            for part in parts:
                digest.update(part)
            if n < TWICE and not self.fingerprint and _bytes(self._checked(i, None)) != parts:
                raise InputError(
                    f"example {i} of the data is another one each time it is read, so that no run on it would repeat; make "
                    "it the same each time, or give the object a `fingerprint`, a string"
                )
        if count:
            self.classes = _counted(largest, where)
        if not self.fingerprint:
            begun = _begun(self.fields, self.classes, self._length)
            begun.update(digest.digest())
            self.fingerprint = begun.hexdigest()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Example:
        at = operator.index(index)
        if not -self._length <= at < self._length:
            raise IndexError(f"example {at} of {self._length}")
        return self._checked(at % self._length, self.classes)

    def _checked(self, index: int, classes: tuple[str, ...] | None) -> dict[str, Any]:
        """An example that is like the first; its label is of the classes, where these are known."""
        example = self._read(index)
        if not self._labels:
            if "label" not in example:
                example["label"] = np.zeros((), np.int32)
        if example.keys() != self.fields.keys():
            raise InputError(
                f"example {index} has the fields {_listed(example)}, and example 0 {_listed(self.fields)}; give all the same"
            )
        for name, field in self.fields.items():
            x = example[name]
            if x.shape != field.shape or x.dtype != field.dtype:
                raise InputError(
                    f"{name!r} of example {index} is {x.dtype} {list(x.shape)}, and of example 0 {field.dtype} "
                    f"{list(field.shape)}; give all the same"
                )
        if classes is not None:
            _check_label(int(example["label"]), index, classes)
        elif example["label"] < 0:
            _check_label(int(example["label"]), index, ())
        return example

    def _read(self, index: int) -> dict[str, Any]:
        """An example by fields, each as it is stored."""
        return {name: _stored(name, x, index) for name, x in _by_field(self.data[index], index).items()}


class Described(Derived):
    """A source with other names of its classes, or of another domain.

    Raises:
      InputError: There are fewer names than the source has classes.
    """

    def __init__(
        self, source: Source, classes: Sequence[str] | None, domain: Mapping[str, Any] | None
    ) -> None:
        super().__init__(source)
        if classes is not None and len(classes) < len(source.classes):
            raise InputError(
                f"`classes` are {len(classes)} names, and the source has {len(source.classes)} classes; name each of them"
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
        """The source's, or with other names of classes a SHA-256 over it and them."""
        if self._classes is None:
            return self.source.fingerprint
        return hashlib.sha256(json.dumps([self.source.fingerprint, *self._classes]).encode()).hexdigest()

    def __getitem__(self, index: int, /) -> Example:
        example = self.source[index]
        _check_label(int(example["label"]), index, self.classes)
        return example


def _of_arrays(data: Mapping[Any, Any], classes: tuple[str, ...] | None, domain: Any) -> Arrays:
    """Arrays as they are stored, each of its own memory."""
    _check_names(data)
    arrays = {name: _array(name, value) for name, value in data.items()}
    count = len(arrays["real"])
    for name, x in arrays.items():
        if len(x) != count:
            raise InputError(
                f"{name!r} has {len(x)} examples, and 'real' has {count}; give every field as many"
            )
    if "label" not in arrays:
        if classes:
            raise InputError(
                "the data has no field 'label' that `classes` could name; add it or leave out `classes`"
            )
        arrays["label"], classes = np.zeros(count, np.int32), ()
    for x in arrays.values():
        x.flags.writeable = False
    return Arrays(arrays, classes, domain)


def _array(name: str, value: Any) -> np.ndarray:
    """A field of all examples `[N, ...]`, as it is stored and C-contiguous; a copy, but for arrays of JAX."""
    jax = sys.modules.get("jax")  # data of JAX is there only where somebody imported it
    try:
        x = np.asarray(value)
    except Exception as error:
        raise _ragged(name, value, error) from None
    if _kind(x.dtype) is None and x.ndim:
        raise _ragged(name, value, None)
    if not x.ndim:
        raise InputError(f"{name!r} is no array of examples but a single {x.dtype}; give it as [N, ...]")
    if not len(x):
        raise InputError(f"{name!r} has no examples; give at least one")
    return _converted(name, x, None, copy=not (jax and isinstance(value, jax.Array)))


def _ragged(name: str, value: Any, error: Exception | None) -> InputError:
    """What is wrong with a field that is no array of numbers."""
    shape = None
    for i, part in enumerate(value if isinstance(value, Sequence | np.ndarray) else ()):
        try:
            x = np.asarray(part)
        except Exception:
            return InputError(f"{name!r} of example {i} is ragged; give lists of one length, or pad them")
        if _kind(x.dtype) is None:
            return InputError(f"{name!r} of example {i} is {_called(x.dtype)}; give numbers alone")
        shape = x.shape if shape is None else shape
        if x.shape != shape:
            return InputError(
                f"{name!r} of example {i} has the shape {list(x.shape)}, and of example 0 {list(shape)}; give all one shape"
            )
    reason = " ".join(str(error).split()) if error else f"its dtype is {getattr(value, 'dtype', 'object')}"
    return InputError(
        f"{name!r} is no array of numbers ({reason}); give one, such as np.stack(list_of_examples)"
    )


def _stored(name: str, value: Any, index: int) -> np.ndarray:
    """A field of one example, as it is stored."""
    try:
        x = np.asarray(value)
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{name!r} of example {index} is no array of numbers ({reason}); give one") from None
    return _converted(name, x, index, copy=False)


def _converted(name: str, x: np.ndarray, index: int | None, copy: bool) -> np.ndarray:
    """Numbers of the dtype that they are stored as; `[N, ...]` where no example is named by `index`."""
    where = name if index is None else f"{name!r} of example {index}"
    where = repr(name) if index is None else where
    kind, shape = _kind(x.dtype), x.shape[1:] if index is None else x.shape
    if kind is None or isinstance(x, np.ma.MaskedArray):
        raise InputError(f"{where} is {_called(x.dtype)}; give numbers alone")
    if 0 in shape:
        raise InputError(f"{where} is empty, {list(shape)}; give at least one number")
    if name == "label":
        if shape or kind == "float":
            each = "" if index is not None else " an example"
            raise InputError(
                f"{where} is {x.dtype} {list(shape)}{each}; give one whole number{each}, the class"
            )
        least, most = np.iinfo(np.int32).min, np.iinfo(np.int32).max
        bad = np.flatnonzero((x < least) | (x > most)) if x.dtype.itemsize > 2 else ()
        if len(bad):
            at = int(bad[0]) if index is None else index
            raise InputError(f"'label' of example {at} is {x.ravel()[bad[0]]}; number the classes from 0 on")
        return x.astype(np.int32, order="C", copy=copy)
    if kind == "whole":
        return x.astype(x.dtype.newbyteorder("="), order="C", copy=copy)
    try:
        with np.errstate(over="raise"):
            return x.astype(np.float32, order="C", copy=copy)
    except FloatingPointError:
        with np.errstate(over="ignore"):
            lost = np.isinf(x.astype(np.float32)) & np.isfinite(x)
        at = int(np.argwhere(lost)[0][0]) if index is None else index
        raise InputError(f"{name!r} of example {at} is too large for float32; scale it") from None


def _kind(dtype: np.dtype) -> str | None:
    """Whether numbers are "float" or "whole", truth values among these; None if they are neither."""
    if dtype.kind in "biu":
        return "whole"
    floating = dtype.kind == "f" or dtype.name.startswith(
        ("bfloat", "float")
    )  # those of JAX are of NumPy's kind "V"
    return "float" if floating else None


def _called(dtype: np.dtype) -> str:
    return {"O": "of Python objects", "U": "text", "S": "text", "c": "complex"}.get(
        dtype.kind, f"of dtype {dtype}"
    )


def _is_example(value: Any) -> bool:
    """Whether an item of a list is an example in itself, not a part of an array: a mapping, or an array and its label."""
    if isinstance(value, Mapping):
        return True
    return isinstance(value, tuple) and len(value) == 2 and np.ndim(value[0]) > 0 and _is_whole(value[1])


def _is_whole(value: Any) -> bool:
    x = np.asarray(value)
    return not x.ndim and _kind(x.dtype) == "whole"


def _by_field(example: Any, index: int) -> Mapping[str, Any]:
    """An example by its fields."""
    if isinstance(example, tuple):
        if len(example) == 1:
            return {"real": example[0]}
        if len(example) != 2 or not _is_whole(example[1]):
            raise InputError(
                f"example {index} is a tuple of {len(example)} that are not an array and a whole number (its label); give a "
                'mapping such as {"real": ..., "input": ...}'
            )
        return {"real": example[0], "label": example[1]}
    if not isinstance(example, Mapping):
        return {"real": example}
    _check_names(example)
    return example


def _check_names(fields: Mapping[Any, Any]) -> None:
    if "real" not in fields:
        raise InputError(
            f"the data has no field 'real', what a game learns to make; its fields are {_listed(fields)}: rename one"
        )
    for name in fields:
        if not isinstance(name, str):
            raise InputError(f"a field is called {name!r}; give names that are strings")


def _check_label(label: int, index: int, classes: Sequence[str]) -> None:
    if not 0 <= label < max(1, len(classes)):
        known = f"there are {len(classes)} classes" if classes else "labels of data without classes are 0"
        known = "labels are numbered from 0 on" if label < 0 else known
        raise InputError(f"'label' of example {index} is {label}, and {known}; mend it or name all `classes`")


def _counted(largest: int, where: int) -> tuple[str, ...]:
    """The names of classes that only have numbers."""
    if largest >= MOST_CLASSES:
        raise InputError(
            f"'label' of example {where} is {largest}, which would make {largest + 1} classes; number them from 0 on"
        )
    return tuple(map(str, range(largest + 1)))


def _names(classes: Any) -> tuple[str, ...] | None:
    if classes is None:
        return None
    if isinstance(classes, str) or not isinstance(classes, Iterable):
        raise InputError(f"`classes` is {classes!r}; give a list of names")
    names = tuple(classes)
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"`classes` holds {name!r}; give names that are strings")
    return names


def _own_classes(data: Any) -> tuple[str, ...] | None:
    """What an object says of its classes, where that is a list of names."""
    said = getattr(data, "classes", None)
    good = isinstance(said, list | tuple) and said and all(isinstance(name, str) for name in said)
    return tuple(said) if good else None


def _plain(domain: Any) -> Any:
    """A domain as plain data."""
    if domain is None:
        return None
    if hasattr(domain, "model_dump"):
        return domain.model_dump(mode="json")
    if not isinstance(domain, Mapping):
        raise InputError(
            f'`domain` is {domain!r}; give a table such as {{"domain": "numbers"}} or a jaxgan.domains.Domain'
        )
    return dict(domain)


def _guessed(real: Field) -> Mapping[str, Any]:
    """The domain of examples of which nothing is said."""
    shape = real.shape
    if real.dtype == "uint8" and len(shape) == 3 and shape[0] == shape[1] and shape[2] in (1, 3):
        return IMAGES
    if real.dtype == "float32":
        return NUMBERS
    raise InputError(
        f"'real' is {real.dtype} {list(shape)}, neither a square image, uint8 [R, R, 1 or 3], nor floating-point numbers; "
        'convert it, or pass `domain=`, such as {"domain": "numbers"}'
    )


def _begun(fields: Mapping[str, Field], classes: tuple[str, ...], count: int) -> Any:
    """A digest that has what examples are, whatever the order of their fields."""
    what = [sorted([name, *field] for name, field in fields.items()), list(classes), count]
    return hashlib.sha256(json.dumps(what).encode())


def _bytes(example: Mapping[str, Any]) -> list[bytes]:
    return [np.asarray(example[name]).tobytes() for name in sorted(example)]


def _listed(fields: Iterable[Any]) -> str:
    return ", ".join(map(str, fields)) or "none"
