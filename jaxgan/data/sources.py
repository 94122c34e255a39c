"""Where images come from: the embedded set, anything TFDS prepared as ArrayRecord, and folders of images.

A source is a plain random-access sequence. It pickles (grain sends it to worker processes), and its `fingerprint`
names what it holds, so that a run can tell that its data changed.
"""

import functools
import hashlib
import io
import json
import lzma
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from jaxgan.data import images, text
from jaxgan.errors import InputError

if TYPE_CHECKING:
    from jaxgan.data import arrayrecord

FINGERPRINT_BYTES = 64 * 2**20
"""Up to this total size a source's files are hashed whole; beyond it, by their names and sizes."""

EMBEDDED_BY = "embedding.json"
"""The file beside a prepared data set that says what embedded its captions."""

_opening = threading.Lock()

_SPLIT_NAMES = frozenset({"train", "test", "val", "valid", "validation"})


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


@runtime_checkable
class Source(Protocol):
    """A set of examples with random access, each with a square image.

    Every source has the fields "real" and "label". `classes` names the labels in order and is empty when the set is
    unlabelled (every label is then 0). `fingerprint` is a hex SHA-256 that identifies the data behind the source,
    whatever the resolution and channels it is read at. `source[i]` raises IndexError past the end and InputError,
    naming the place, where the example cannot be read.
    """

    @property
    def resolution(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def fields(self) -> Mapping[str, Field]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...
    @property
    def fingerprint(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> Example: ...


def example_bytes(source: Source) -> int:
    """How large an example is."""
    return sum(int(np.prod(field.shape)) * np.dtype(field.dtype).itemsize for field in source.fields.values())


class Embedded:
    """The part of Fashion-MNIST shipped with jaxgan: 10,000 train (1,000 a class) or 2,000 test images.

    The originals are 28x28 grey. At 28 and one channel the pixels are the originals'.

    Args:
      split: "train" or "test".
      resolution, channels: what `source[i]["real"]` is resized and converted to.

    Raises:
      InputError: for another split, or a bad resolution or channels.
    """

    classes: tuple[str, ...] = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )

    def __init__(
        self, split: Literal["train", "test"] = "train", resolution: int = 28, channels: int = 1
    ) -> None:
        images.check_size(resolution, channels)
        if split not in ("train", "test"):
            raise InputError(f"the embedded data set has no split {split!r}: take 'train' or 'test'")
        self.split = split
        self.resolution = resolution
        self.channels = channels

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of each example, by name."""
        return labelled(self.resolution, self.channels)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the split's pixels and labels."""
        digest = hashlib.sha256(self.split.encode())
        for array in _embedded()[self.split]:
            digest.update(array.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(_embedded()[self.split][1])

    def __getitem__(self, index: int, /) -> Example:
        pixels, labels = _embedded()[self.split]
        image = pixels[index]
        if (self.resolution, self.channels) == (28, 1):
            image = image[..., None].copy()
        else:
            image = images.to_array(Image.fromarray(image), self.resolution, self.channels)
        return {"real": image, "label": np.int32(labels[index])}

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The originals, read-only, whatever `resolution`: pixels uint8 [n, 28, 28], labels uint8 [n]."""
        return _embedded()[self.split]


class ImageFolder:
    """The image files of a folder, decoded when asked for.

    Subfolders are the classes, in the order of their names (plain character order), and are searched recursively. A
    folder without subfolders is one unlabelled set. Hidden files and folders are passed over, and so are files without
    the ending of an image (`images.SUFFIXES`). Within a class, files come in the order of their relative paths.

    Args:
      path: the folder.
      resolution, channels: what each image is cropped, resized and converted to (`images.to_array`).

    Raises:
      InputError: for a missing or empty folder, a class without images, images beside class folders, a folder of
        splits, or a bad resolution or channels.
    """

    def __init__(self, path: str | os.PathLike[str], resolution: int, channels: int) -> None:
        images.check_size(resolution, channels)
        self.path = Path(path).expanduser()
        self.resolution = resolution
        self.channels = channels
        self.classes, self.files, self._labels = scan(self.path)

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of each example, by name."""
        return labelled(self.resolution, self.channels)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over relative paths and sizes; and over the files' bytes where they total up to 64 MiB."""
        return digest_files(((file, self.path / file) for file in self.files), self.classes)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> Example:
        image = images.read(self.path / self.files[index], self.resolution, self.channels)
        return {"real": image, "label": self._labels[index]}

    def stored(self, index: int) -> tuple[str, Path]:
        """Where an image is, in words, and its file."""
        return str(self.path / self.files[index]), self.path / self.files[index]


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

    Raises:
      InputError: where the data set is not prepared, is not in ArrayRecord, lacks files, the split or an image
        feature; for neither name nor directory; or for a bad resolution or channels.
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
        text_length: int = 64,
    ) -> None:
        from jaxgan.data import arrayrecord

        size, of_input = (
            (resolution, channels),
            (input_resolution or resolution, input_channels or channels),
        )
        for each in (size, of_input):
            images.check_size(*each)
        self.directory = arrayrecord.find(name, directory)
        self.split = split
        self.resolution = resolution
        self.channels = channels
        contents = arrayrecord.describe(self.directory, split, image, input)
        self.classes = contents.classes
        self._files = contents.files
        self._features = contents.features
        self._length = contents.length
        sizes = {"real": size, "input": of_input, "other": size}
        self._sizes = {name: sizes[name] for name in contents.features if name in sizes}
        self._text_length = text_length
        self._embedding = contents.embedding
        self._records: arrayrecord.Records | None = None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_records": None}  # open files do not travel to worker processes

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
                example[name] = images.to_array(Image.open(io.BytesIO(stored[name])), side, channels)
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

    def stored(self, index: int) -> tuple[str, io.BytesIO]:
        """Where an image is, in words, and its file."""
        return f"{self.directory}: example {index} of split {self.split!r}", io.BytesIO(
            self._open()[index]["real"]
        )

    def _open(self) -> "arrayrecord.Records":
        from jaxgan.data import arrayrecord

        with _opening:  # reading threads that come together open the files once
            if self._records is None:
                self._records = arrayrecord.Records(self.directory, self.split, self._features)
        return self._records


def as_they_are(open_at: Callable[[int, int], "ImageFolder | TFDS"]) -> "ImageFolder | TFDS":
    """A source at its images' own resolution, so that nothing is cropped or resized.

    Args:
      open_at: Opens it at a resolution and number of channels.

    Returns:
      The source, grey if all of its images are.

    Raises:
      InputError: If an image cannot be read, is not square, or is not as large as the first.
    """
    source = open_at(1, 3)
    grey, first = True, None
    for i in range(len(source)):
        where, stored = source.stored(i)
        try:
            with Image.open(stored) as image:
                size, mode = image.size, image.mode
        except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
            raise InputError(f"{where}: {images.reason(error, where)}; replace or remove it") from error
        first = first or size
        if size != first or size[0] != size[1]:
            what = "is not square" if size[0] != size[1] else f"the first of its set {first[0]}x{first[1]}"
            raise InputError(
                f"{where} is {size[0]}x{size[1]} pixels, which {what}; make all images one square size, for example "
                "with jaxgan prepare --resolution"
            )
        grey &= mode in ("1", "L") or mode.startswith("I")
    assert first is not None
    return open_at(first[0], 1 if grey else 3)


def scan(folder: Path) -> tuple[tuple[str, ...], list[str], np.ndarray]:
    """A folder's class names, its image files (relative paths) and their labels int32 [n]; see `ImageFolder`.

    Raises:
      InputError: as `ImageFolder` says.
    """
    entries = _visible(folder)
    below = [name for name in entries if (folder / name).is_dir()]
    loose = [name for name in entries if _is_image(name) and (folder / name).is_file()]
    if not below:
        if not loose:
            raise InputError(f"{folder}: holds no images ({_endings()}); name a folder that does")
        return (), loose, np.zeros(len(loose), np.int32)
    if loose:
        raise InputError(
            f"{folder}: holds both class folders ({below[0]}, ...) and images ({loose[0]}, ...); "
            "move the images into a class folder, or the folders away"
        )
    if "train" in below and _SPLIT_NAMES.issuperset(below):
        raise InputError(f"{folder}: holds splits ({', '.join(below)}), not classes; name {folder / 'train'}")
    files: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(below):
        found = sorted(images_below(folder, name))
        if not found:
            raise InputError(
                f"{folder / name}: this class folder holds no images ({_endings()}); remove or fill it"
            )
        files.extend(found)
        labels.extend([label] * len(found))
    return tuple(below), files, np.array(labels, np.int32)


def _visible(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except FileNotFoundError:
        raise InputError(f"{folder}: no such folder; name a folder of images") from None
    except NotADirectoryError:
        raise InputError(f"{folder}: not a folder; name a folder of images") from None
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed ({error.strerror}); name a folder of images") from error


def images_below(root: Path, name: str) -> Iterable[str]:
    """The image files below root/name, as paths relative to root, in no order."""
    for folder, folders, files in os.walk(root / name):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for file in files:
            if _is_image(file):
                yield Path(folder, file).relative_to(root).as_posix()


def _is_image(name: str) -> bool:
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in images.SUFFIXES


def _endings() -> str:
    return ".png, .jpg, .webp and the like"


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


@functools.cache
def _embedded() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both splits as (pixels uint8 [n, 28, 28], labels uint8 [n]), read-only; unpacked once a process."""
    with lzma.open(Path(__file__).parent / "fashion_mnist" / "data.npy.xz") as file:
        arrays = [np.load(file, allow_pickle=False) for _ in range(4)]
    for array in arrays:
        array.flags.writeable = False
    return {"train": (arrays[0], arrays[1]), "test": (arrays[2], arrays[3])}
