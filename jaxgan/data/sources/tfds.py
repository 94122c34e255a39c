"""Data that TFDS or `jaxgan prepare` prepared as ArrayRecord.

For example:

    >>> from jaxgan.data import prepare
    >>> Path("drawings").mkdir()
    >>> Image.new("L", (4, 4)).save("drawings/a.png")
    >>> prepare("drawings", "prepared", progress=False).counts
    {'train': 1}
    >>> source = TFDS(None, "prepared", resolution=2)
    >>> len(source), source[0]["real"].shape
    (1, (2, 2, 1))
    >>> as_they_are(lambda side, channels: TFDS(None, "prepared", "train", side, channels)).resolution
    4
"""

import io
import json
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from jaxgan.data import images, text
from jaxgan.data.images import Range
from jaxgan.data.sources.base import (
    FINGERPRINT_BYTES,
    Example,
    Field,
    Scale,
    Source,
    digest_files,
    labelled,
    source,
)
from jaxgan.data.sources.derived import Degraded, HiddenPairs
from jaxgan.data.sources.folder import ImageFolder, RangedData, domain
from jaxgan.errors import InputError
from jaxgan.settings import Numbers, Pixels, Place

if TYPE_CHECKING:
    from jaxgan.data import arrayrecord

EMBEDDED_BY = "embedding.json"
"""The file beside a prepared data set that says what embedded its captions."""
CONVERTED_BY = "images.json"
"""The file beside a prepared data set that says which values became black and white, where images were deep."""

_opening = threading.Lock()


class TFDS:
    """One split of a data set that TFDS (or `jaxgan prepare`) prepared as ArrayRecord. Needs no TensorFlow.

    The field "real" is the feature "image", or else the only image feature. The label is the feature "label", or else
    the only ClassLabel; without one the set is unlabelled. Where they are there, the image features "input" and
    "other" and the text feature "text" come along.

    Args:
      name: a TFDS name such as "mnist" or "celeb_a/config:2.0.1", looked up in `directory` or, where that is None, in
        TFDS's own folder (TFDS_DATA_DIR, or ~/tensorflow_datasets). None: `directory` is the prepared data set.
      directory: see `name`; the folder that holds dataset_info.json, or one with a single such folder below.
      split: a split's name, or part of one as TFDS writes it ("train[:90%]").
      resolution, channels: what each image is cropped, resized and converted to (`images.to_array`).
      image, input: image features to be taken for these two; None: as above.
      input_resolution, input_channels: what "input" is converted to; as images if not given.
      text_length: of "text"; longer captions are cut (`text.encode`).
      span: the values of black and of white in images of more than 8 bits; `images.FULL` if not given. What was
        prepared with a range keeps that.

    Raises:
      InputError: where the data set is not prepared, is not in ArrayRecord, lacks files, the split or an image
        feature; for neither name nor directory; for another range than it was prepared with; or for a bad resolution or
        channels.
    """

    def __init__(
        self,
        name: str | None,
        directory: str | os.PathLike[str] | None,
        split: str = "train",
        resolution: int = 28,
        channels: int = 1,
        *,
        image: str | None = None,
        input: str | None = None,
        input_resolution: int | None = None,
        input_channels: int | None = None,
        text_length: int = text.LENGTH,
        span: Range | None = None,
    ) -> None:
        from jaxgan.data import arrayrecord

        size, of_input = (
            (resolution, channels),
            (input_resolution or resolution, input_channels or channels),
        )
        for each in (size, of_input):
            images.check_size(*each)
        self.directory: Path = arrayrecord.find(name, directory)
        self.split = split
        self.resolution = resolution
        self.channels = channels
        contents = arrayrecord.describe(self.directory, split, image, input)
        self.classes: tuple[str, ...] = contents.classes
        self._files = contents.files
        self._features = contents.features
        self._length = contents.length
        sizes = {"real": size, "input": of_input, "other": size}
        self._sizes = {name: sizes[name] for name in contents.features if name in sizes}
        self._text_length = text_length
        self._span = span
        self._deep = contents.deep
        self._check_range()
        self._embedding = contents.embedding
        self._records: arrayrecord.Records | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_records": None}  # open files do not travel to worker processes

    @property
    def domain(self) -> Mapping[str, Any]:
        """The domain of the examples, see `jaxgan.domains`."""
        if stored := _ranges(self.directory / CONVERTED_BY):
            return domain(stored)
        if self._span:
            return domain(dict.fromkeys(self._sizes, self._span))
        return domain(dict.fromkeys(self._deep, images.FULL["whole"]))

    def _check_range(self) -> None:
        stored = _ranges(self.directory / CONVERTED_BY).get("real") if self._span else None
        if stored and stored != self._span:
            raise InputError(
                f"{self.directory}: these were prepared with black and white at {stored[0]:.7g} and {stored[1]:.7g}; "
                "leave out the range (data.range)"
            )

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of each example, by name."""
        fields = labelled(self.resolution, self.channels)
        for name, (side, channels) in self._sizes.items():
            fields[name] = Field((side, side, channels), "uint8")
        if "text" in self._features:
            fields["text"] = Field((self._text_length,), "int32")
        if self._embedding:
            fields["embedding"] = Field((self._embedding,), "float32")
        return fields

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the split, the features, and the shards' names and sizes; bytes too up to 64 MiB."""
        features = (self.directory / "features.json").read_text(encoding="utf-8")
        return digest_files(
            ((path.name, path) for path in self._files), (self.split, features, *self.classes)
        )

    @property
    def remarks(self) -> tuple[str, ...]:
        """How many captions are cut: counted, or of large sets as `jaxgan prepare` stored it."""
        if "text" not in self._features:
            return ()
        try:
            if sum(path.stat().st_size for path in self._files) <= FINGERPRINT_BYTES:
                records = self._open()
                known = text.described(
                    (records[i]["text"].decode() for i in range(len(self))), (self._text_length,)
                )
            else:
                known = json.loads((self.directory / text.STORED).read_text(encoding="utf-8"))[self.split]
            return text.remarks_of(known, self._text_length)
        except MemoryError:
            raise
        except Exception:  # whoever reads a damaged example is told; and TFDS stores nothing of captions
            return ()

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int, /) -> Example:
        if not -self._length <= index < self._length:
            raise IndexError(f"example {index} of {self._length}")
        records = self._open()
        example: dict[str, Any] = {}
        try:
            stored = records[int(index) % self._length]
            for name, (side, channels) in self._sizes.items():
                picture = Image.open(io.BytesIO(stored[name]))
                images.leave_key(picture)
                example[name] = images.to_array(picture, side, channels, self._span)
            if "text" in stored:
                example["text"] = text.encode(stored["text"].decode(), self._text_length)
            if "embedding" in stored:
                example["embedding"] = np.asarray(stored["embedding"], np.float32)
        except MemoryError:
            raise
        except Exception as error:  # damaged shards and pictures raise nearly anything
            where = f"{self.directory}: example {index} of split {self.split!r}"
            why = images.reason(error, self.directory)
            raise InputError(f"{where} {why}; prepare the data set again") from error
        return {**example, "label": np.int32(stored.get("label", 0))}

    @property
    def embedded_by(self) -> str | None:
        """SHA-256 of the weights that made the embeddings, where `jaxgan prepare --embed` did.

        Raises:
          InputError: where the file that says so is damaged.
        """
        path = self.directory / EMBEDDED_BY
        try:
            return str(json.loads(path.read_text(encoding="utf-8"))["weights_sha256"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} cannot be read ({error!r}); prepare the data set again") from error

    def shapes(self) -> tuple[dict[tuple[int, int], str], bool]:
        """The widths and heights of images, each with where it is met first, and whether all images are grey.

        Raises:
          InputError: If an image cannot be read.
        """
        sizes: dict[tuple[int, int], str] = {}
        grey = True
        for i in range(len(self)):
            where = f"{self.directory}: example {i} of split {self.split!r}"
            try:
                with Image.open(io.BytesIO(self._open()[i]["real"])) as image:
                    sizes.setdefault(image.size, where)
                    grey &= images.is_grey(image)
            except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
                raise InputError(f"{where}: {images.reason(error, where)}; replace or remove it") from error
        return sizes, grey

    def _open(self) -> "arrayrecord.Records":
        from jaxgan.data import arrayrecord

        with _opening:  # reading threads that come together open the files once
            if self._records is None:
                self._records = arrayrecord.Records(self.directory, self.split, self._features)
        return self._records


@source("tfds")
class TFDSData(RangedData):
    """A dataset prepared as ArrayRecord, by `jaxgan prepare` or TFDS: by its folder, or by name (and TFDS's folder)."""

    name: str | None = None
    directory: Place | None = None
    split: str = "train"
    image: str | None = None
    """The feature that is the image, by default the one named so, or the only one."""
    input: str | None = None
    """The feature that it is made from, by default the one named so."""
    input_resolution: Pixels | None = None
    """As the images if not given."""
    input_channels: Literal[1, 3] | None = None
    text_length: Numbers = text.LENGTH
    """Bytes of a caption; longer ones are cut."""
    unpaired: bool = False
    """Hides the pairs: "other", the input of another image, in the place of "input"."""
    scale: Scale | None = None
    """Super-resolution: "input" is the image shrunken so many times."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse a scale beside other inputs."""
        if self.scale and (self.unpaired or self.input):
            raise ValueError("has a scale, which makes the input; leave out scale, or unpaired and input")

    def open(self) -> Source:
        """The images, their pairs hidden or themselves shrunken where that is asked."""
        keys = ("image", "input", "input_resolution", "input_channels", "text_length")
        chosen = {key: getattr(self, key) for key in keys}
        found = TFDS(self.name, self.directory, self.split, *self.size, **chosen, span=self.span)
        if self.unpaired:
            return HiddenPairs(found)
        return Degraded(found, self.scale) if self.scale else found


def _ranges(path: Path) -> dict[str, Range]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["ranges"]
        return {str(name): (float(low), float(high)) for name, (low, high) in found.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(f"{path} cannot be read ({error!r}); prepare the data set again") from error


def as_they_are(open_at: Callable[[int, int], "ImageFolder | TFDS"]) -> "ImageFolder | TFDS":
    """A source at its images' own resolution, so that nothing is cropped or resized.

    Args:
      open_at: Opens it at a resolution and number of channels.

    Returns:
      The source, grey if all of its images are (`images.is_grey`).

    Raises:
      InputError: If an image is not square or is not as large as the first; of prepared data, if one cannot be read.
    """
    source = open_at(1, 3)
    sizes, grey = source.shapes()
    first = next(iter(sizes))
    for size, where in sizes.items():
        if size != first or size[0] != size[1]:
            what = "is not square" if size[0] != size[1] else f"the first of its set {first[0]}x{first[1]}"
            raise InputError(
                f"{where} is {size[0]}x{size[1]} pixels, which {what}; make all images one square size, for example "
                "with jaxgan prepare --resolution"
            )
    return open_at(first[0], 1 if grey else 3)
