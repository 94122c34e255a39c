"""What a source is, a plain random-access sequence of examples, and how settings name it.

A source pickles (grain sends it to worker processes), and its `fingerprint` names what it holds, so that a run can tell
that its data changed. Its settings are registered beside it.

For example:

    >>> class Greys:
    ...     fields, classes, fingerprint = labelled(2, 1), (), "greys of 2x2 pixels"
    ...
    ...     def __len__(self) -> int:
    ...         return 256
    ...
    ...     def __getitem__(self, index: int) -> Example:
    ...         return {"real": np.full((2, 2, 1), index, np.uint8), "label": np.int32(0)}
    >>> @source("my-greys")
    ... class GreysData(ImageData):
    ...     def open(self) -> Source:
    ...         return Greys()
    >>> DATA.validate({"source": "my-greys", "resolution": 2, "channels": 1}).open()[7]["real"].ravel().tolist()
    [7, 7, 7, 7]
"""

import hashlib
import os
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
from pydantic import ValidationError

from jaxgan.errors import InputError
from jaxgan.settings import Class, Model, Pixels, Registry

FINGERPRINT_BYTES = 64 * 2**20
"""Up to this total size a source's files are hashed whole; beyond it, by their names and sizes."""
DATA = Registry("source")
"""What `source = "..."` of a config's `[data]` can name."""

Scale = Literal[2, 4]

Example = Mapping[str, Any]
"""One example: an array for each of the source's fields."""


class Field(NamedTuple):
    """What a source holds under one name."""

    shape: tuple[int, ...]
    dtype: str
    """A dtype of NumPy. Images are "uint8", values 0..255, and reach networks as float32 in [-1, 1]."""


def labelled(resolution: int, channels: int) -> dict[str, Field]:
    """The fields of square images with labels."""
    return {"real": Field((resolution, resolution, channels), "uint8"), "label": Field((), "int32")}


class Side(NamedTuple):
    """Some fields of a source, whose items do not belong to those of its other sides.

    Training takes each side in an order of its own (`order.of_sides`), so that who meets whom changes with each epoch.
    """

    fields: Mapping[str, Field]
    length: int
    """How many items there are."""
    read: Callable[[int], Example]
    """An item by its number, `fields` alone. It pickles, as a method of the source does."""
    apart: bool = False
    """Never beside the item of the same number of the first side, which is as long."""


@runtime_checkable
class Source(Protocol):
    """A set of examples with random access.

    Every source has the fields "real", what a game learns to make, and "label". `classes` names the labels in order and
    is empty when the set is unlabelled (every label is then 0). `fingerprint`, such as a SHA-256, identifies the data
    behind the source, whatever the size that it is read at. `source[i]` raises IndexError past the end and InputError,
    naming the place, where the example cannot be read. A source whose examples are no images also has `domain`, plain
    data that says what they are (`jaxgan.domains`). One that puts together what does not belong together has `sides`
    too, a tuple of `Side`, the first with "real" and "label": the partners that `source[i]` has are those of fixed
    examples, and training does without them. One that leaves out, cuts or converts something has `remarks`, the lines
    that users are told of it. One that knows all labels without reading examples may have them as `labels`, `[N]`:
    scores ask for samples in their proportions.
    """

    @property
    def fields(self) -> Mapping[str, Field]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Example: ...


IMAGES = {"domain": "image"}
"""What sources that say nothing else hold."""


def domain_of(source: Source) -> Mapping[str, Any]:
    """What a source says of the domain of its examples."""
    return getattr(source, "domain", IMAGES)


def sides_of(source: Source) -> tuple[Side, ...]:
    """What a source says of its sides; most have one, themselves."""
    return tuple(getattr(source, "sides", ())) or (Side(source.fields, len(source), source.__getitem__),)


def remarks_of(source: Source) -> tuple[str, ...]:
    """What users are to be told of a source, a line each: what is left out of it, cut or converted."""
    return tuple(getattr(source, "remarks", ()))


def field_bytes(fields: Mapping[str, Field]) -> int:
    """How large the fields of an example are."""
    return sum(int(np.prod(field.shape)) * np.dtype(field.dtype).itemsize for field in fields.values())


def example_bytes(source: Source) -> int:
    """How large an example is."""
    return field_bytes(source.fields)


def source_bytes(source: Source) -> int:
    """How large all examples are in memory."""
    return sum(side.length * field_bytes(side.fields) for side in sides_of(source))


def digest_files(files: Iterable[tuple[str, Path]], more: Iterable[str]) -> str:
    """SHA-256 over names and sizes, the strings of `more`, and the bytes of all files if they are small in total."""
    digest = hashlib.sha256()
    entries = [(name, path, path.stat().st_size) for name, path in files]
    for entry in (*more, *(f"{name}\0{size}" for name, _, size in entries)):
        digest.update(os.fsencode(entry) + b"\0\n")
    if sum(size for _, _, size in entries) <= FINGERPRINT_BYTES:
        for _, path, _ in entries:
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Data(Model):
    """Settings of data: where examples come from."""

    source: str = ""
    """The name that the settings are registered by."""

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of the examples where the settings alone tell them, otherwise none."""
        return {}

    @abstractmethod
    def open(self) -> Source:
        """The source.

        Raises:
          InputError: The data is not as the settings say.
        """

    def of_split(self, split: str) -> Self:
        """The same settings for another split of the data.

        Raises:
          InputError: The data has no splits, or no such split.
        """
        if "split" not in type(self).model_fields:
            raise InputError(f"data of source {self.source!r} has no splits; leave out --split")
        try:
            return type(self).model_validate({**self.model_dump(), "split": split})
        except ValidationError as error:
            raise InputError(
                f"data of source {self.source!r} has no split {split!r}: {error.errors()[0]['msg']}"
            ) from None


class ImageData(Data):
    """Settings of square images."""

    resolution: Pixels
    channels: Literal[1, 3] = 3

    @property
    def size(self) -> tuple[int, int]:
        """Pixels of a side, and channels."""
        return self.resolution, self.channels

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of square images with labels."""
        return labelled(*self.size)


def source(name: str) -> Callable[[Class], Class]:
    """Registers settings of data under a name.

    Returns:
      A decorator that gives the class with the field `source` of that name.

    Raises:
      ValueError: The name is taken.
    """
    return DATA.named(name)
