"""Folders of image files, whose subfolders are classes.

For example:

    >>> from PIL import Image
    >>> for name in ("boot", "coat"):
    ...     Path("garments", name).mkdir(parents=True)
    ...     Image.new("L", (4, 4)).save(f"garments/{name}/a.png")
    >>> source = FolderData(path="garments", resolution=2, channels=1).open()
    >>> source.classes, [int(source[i]["label"]) for i in range(2)], source[0]["real"].shape
    (('boot', 'coat'), [0, 1], (2, 2, 1))
    >>> Path("garments/coat/b.png").touch()
    >>> ImageFolder("garments", 2, 1).remarks
    ('left out garments/coat/b.png: the file is empty', 'garments: 1 file left out: 1 unreadable')
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import AfterValidator

from jaxgan.data import files as walk
from jaxgan.data import images
from jaxgan.data.images import Range
from jaxgan.data.sources.base import (
    IMAGES,
    Example,
    Field,
    ImageData,
    Scale,
    Source,
    digest_files,
    labelled,
    source,
)
from jaxgan.data.sources.derived import Degraded
from jaxgan.data.survey import Survey, survey
from jaxgan.errors import InputError
from jaxgan.settings import Place

_SPLIT_NAMES = frozenset({"train", "test", "val", "valid", "validation"})


def _check_range(span: list[float]) -> list[float]:
    if len(span) != 2 or not span[0] < span[1]:
        raise ValueError(f"is {span}; give two numbers, the values of black and of white, such as [0, 4095]")
    return span


class RangedData(ImageData):
    """Settings of images that may have more than 8 bits."""

    range: Annotated[list[float], AfterValidator(_check_range)] | None = None
    """The values of black and of white in images of more than 8 bits; chosen for the whole set if not given."""

    @property
    def span(self) -> Range | None:
        """The range as sources take it."""
        return (self.range[0], self.range[1]) if self.range else None


class FilesData(RangedData):
    """Settings of images in files."""

    strict: bool = False
    """Ends at files that cannot be read; otherwise they are named, counted and left out."""


class Scan(NamedTuple):
    """What a folder holds."""

    path: Path
    classes: tuple[str, ...]
    files: list[str]
    """Relative paths."""
    labels: np.ndarray
    """The files' classes, int32 [n]."""
    found: walk.Found


class Readable(NamedTuple):
    """What can be read of a folder."""

    files: list[str]
    """Relative paths."""
    labels: np.ndarray
    scanned: list[str]
    """Those of all images, by which `survey` counts."""
    survey: Survey
    left_out: tuple[str, ...]
    """Relative paths of what cannot be read."""
    remarks: tuple[str, ...]
    """What users are to be told of it."""

    @property
    def marks(self) -> tuple[str, ...]:
        """What a fingerprint says besides files: what is left out, and that colours are not those of the files."""
        return (*self.left_out, *(("colours converted to sRGB",) if self.survey.counts["profile"] else ()))

    @property
    def domain(self) -> Mapping[str, Any]:
        """What the images are, if they are "real"."""
        return domain({"real": self.survey.span})


def domain(spans: Mapping[str, Range | None]) -> Mapping[str, Any]:
    """What images are, by their fields' ranges, where they are of more than 8 bits."""
    ranges = {name: list(span) for name, span in spans.items() if span}
    return {**IMAGES, "ranges": ranges} if ranges else IMAGES


class ImageFolder:
    """The image files of a folder, decoded when asked for.

    Subfolders are the classes, in the order of their names (plain character order), and are searched recursively. A
    folder without subfolders is one unlabelled set. Within a class, files come in the order of their relative paths.
    Which files count, `jaxgan.data.files.below` says: links are followed, hidden files are left out, and so are files
    without the ending of an image (`images.SUFFIXES`). All are decoded as the folder is first opened, and what
    cannot be read is left out, too.

    Args:
      path: the folder.
      resolution, channels: what each image is cropped, resized and converted to (`images.to_array`).
      strict: whether to refuse files that cannot be read.
      span: the values of black and of white in images of more than 8 bits; None to choose it for the whole folder
        (`jaxgan.data.survey`).

    Raises:
      InputError: for a missing or empty folder, a class without images, images beside class folders, a folder of
        splits, nothing that can be read, or a bad resolution or channels.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        resolution: int,
        channels: int,
        *,
        strict: bool = False,
        span: Range | None = None,
    ) -> None:
        images.check_size(resolution, channels)
        self.path: Path = walk.named(path)
        self.resolution = resolution
        self.channels = channels
        found = scan(self.path)
        self.classes: tuple[str, ...] = found.classes
        self._read = readable(found, strict, span)
        self.files: list[str] = self._read.files
        self.remarks: tuple[str, ...] = self._read.remarks

    @property
    def domain(self) -> Mapping[str, Any]:
        """The domain of the examples, see `jaxgan.domains`."""
        return self._read.domain

    @property
    def survey(self) -> Survey:
        """What the images are."""
        return self._read.survey

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of each example, by name."""
        return labelled(self.resolution, self.channels)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over relative paths and sizes, and over the files' bytes where they total up to 64 MiB.

        The paths of what cannot be read count, too.
        """
        return digest_files(
            ((file, self.path / file) for file in self.files), (*self.classes, *self._read.marks)
        )

    @property
    def labels(self) -> np.ndarray:
        """The labels of all examples, `[N]`."""
        return self._read.labels

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int, /) -> Example:
        file = self.path / self.files[index]
        image = images.read(file, self.resolution, self.channels, self.survey.span)
        return {"real": image, "label": self._read.labels[index]}

    def shapes(self) -> tuple[dict[tuple[int, int], str], bool]:
        """The widths and heights of images, each with where it is met first, and whether all images are grey."""
        every = self._read.scanned
        return {size: str(self.path / every[i]) for size, i in self.survey.sizes.items()}, self.survey.grey


@source("folder")
class FolderData(FilesData):
    """A folder of images, whose subfolders are classes."""

    path: Place
    scale: Scale | None = None
    """Super-resolution: "input" is the image shrunken so many times."""

    def open(self) -> Source:
        """The images, with themselves shrunken where there is a scale."""
        found = ImageFolder(self.path, *self.size, strict=self.strict, span=self.span)
        return Degraded(found, self.scale) if self.scale else found


def scan(folder: Path, beside: Collection[str] = ()) -> Scan:
    """A folder's classes, its image files and their labels; see `ImageFolder`.

    Args:
      folder: The folder.
      beside: See `jaxgan.data.files.below`.

    Raises:
      InputError: as `ImageFolder` says.
    """
    found = walk.below(folder, images.SUFFIXES, beside)
    below = found.folders
    by_class: dict[str, list[str]] = {name: [] for name in below}
    loose = []
    for file in found.files:
        name, inside, _ = file.partition("/")
        (by_class[name] if inside else loose).append(file)
    if not below:
        if not loose and not found.unreadable:
            raise InputError(f"{folder}: holds no images ({_endings()}); name a folder that does")
        return Scan(folder, (), loose, np.zeros(len(loose), np.int32), found)
    if loose:
        raise InputError(
            f"{folder}: holds both class folders ({below[0]}, ...) and images ({loose[0]}, ...); "
            "move the images into a class folder, or the folders away"
        )
    if "train" in below and _SPLIT_NAMES.issuperset(below):
        raise InputError(f"{folder}: holds splits ({', '.join(below)}), not classes; name {folder / 'train'}")
    for name in below:
        if not _is_text(name):
            raise InputError(f"{folder}: class folder {name!r} has a name that is no text; rename it")
        if not by_class[name]:
            raise InputError(f"{folder / name}: {_why_empty(folder, found, name)}; remove or fill it")
    labels = np.repeat(np.arange(len(below), dtype=np.int32), [len(by_class[name]) for name in below])
    return Scan(folder, tuple(below), [file for name in below for file in by_class[name]], labels, found)


def _why_empty(folder: Path, found: walk.Found, name: str) -> str:
    if name in found.same:
        return f"this class folder leads to {folder / found.same[name]}, whose images count already"
    for path, why in found.unreadable:
        if path.split("/")[0] == name:
            return f"this class folder holds no images that can be read ({folder / path}: {why})"
    return f"this class folder holds no images ({_endings()})"


def _is_text(name: str) -> bool:
    return not any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in name)


def unlabelled(folder: Path) -> Scan:
    """The image files of a folder and of those below it, which mean nothing.

    Raises:
      InputError: There is no such folder, or it holds no images.
    """
    found = walk.below(folder, images.SUFFIXES)
    if not found.files and not found.unreadable:
        raise InputError(f"{folder}: holds no images; name a folder that does")
    return Scan(folder, (), found.files, np.zeros(len(found.files), np.int32), found)


def readable(found: Scan, strict: bool, span: Range | None, *kept: str) -> Readable:
    """Decodes all images of a folder once, and leaves out what cannot be read.

    Args:
      found: What is there.
      strict: Whether to refuse what cannot be read.
      span: See `ImageFolder`.
      kept: See `Survey.converted`.

    Raises:
      InputError: Something cannot be read and `strict` is set, or nothing can be read, or nothing of a class.
    """
    seen = survey([found.path / file for file in found.files], span=span)
    bad = sorted([*found.found.unreadable, *((found.files[i], why) for i, why in seen.unreadable.items())])
    if bad and strict:
        more = f", one of {len(bad)} such files" if len(bad) > 1 else ""
        raise InputError(
            f"{found.path / bad[0][0]}: {bad[0][1]}{more}; replace or remove it, or leave out data.strict"
        )
    good = [i for i in range(len(found.files)) if i not in seen.unreadable]
    labels = found.labels[good]
    present = set(labels.tolist()) if good else set()
    missing = [name for label, name in enumerate(found.classes or ("",)) if label not in present]
    if missing:
        first = next(
            ((path, why) for path, why in bad if not missing[0] or path.startswith(f"{missing[0]}/")), bad[0]
        )
        count = sum(not missing[0] or path.startswith(f"{missing[0]}/") for path, _ in bad)
        raise InputError(
            f"{found.path / missing[0]}: none of its {count} images can be read ({first[0]}: {first[1]}); replace them"
        )
    named = [(str(found.path / path), why) for path, why in bad]
    told = walk.lines(str(found.path), named, found.found.passed)
    if converted := seen.converted(*kept):
        told.append(f"{found.path}: of {len(good)} images {converted}")
    left_out = tuple(path for path, _ in bad)
    return Readable([found.files[i] for i in good], labels, found.files, seen, left_out, tuple(told))


def _endings() -> str:
    return ".png, .jpg, .webp and the like"
