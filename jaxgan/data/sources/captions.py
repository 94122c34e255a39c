"""A folder of images with captions, for text to image.

For example:

    >>> from PIL import Image
    >>> Path("maps").mkdir()
    >>> Image.new("L", (8, 4)).save("maps/a.png")
    >>> Captions("maps", resolution=4, channels=1)
    Traceback (most recent call last):
    jaxgan.errors.InputError: maps/a.png: has no caption; write one into a.txt beside it, or ...
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.data import files as walk
from jaxgan.data import images, text
from jaxgan.data.images import Range
from jaxgan.data.sources.base import Example, Field, Source, digest_files, labelled, source
from jaxgan.data.sources.folder import FilesData, Scan, readable, scan
from jaxgan.errors import InputError
from jaxgan.settings import Numbers, Place

CAPTION_FILES = (".txt", ".jsonl")
"""Endings of the files that hold captions."""


class Captions:
    """A folder of images with a caption each ("text"): a .txt file beside it, of which the first line counts, or one
    metadata.jsonl in the folder, with "file_name" and "text" in each line.

    Args:
      path: the folder; its subfolders are classes, as of `sources.ImageFolder`.
      resolution, channels: what images are cropped, resized and converted to (`images.to_array`).
      text_length: of "text"; longer captions are cut (`text.encode`).
      strict, span: as of `sources.ImageFolder`.

    Raises:
      InputError: for a bad resolution or channels, what `sources.ImageFolder` refuses, and for a caption that is
        missing, empty, not UTF-8 or without its image.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        resolution: int,
        channels: int,
        text_length: int = text.LENGTH,
        *,
        strict: bool = False,
        span: Range | None = None,
    ) -> None:
        images.check_size(resolution, channels)
        self.path: Path = walk.named(path)
        self.resolution: int = resolution
        self.channels: int = channels
        self.text_length: int = text_length
        found = scan(self.path, beside=CAPTION_FILES)
        self.classes: tuple[str, ...] = found.classes
        every = captions(found)
        self._read = readable(found, strict, span)
        self._files, self._labels = self._read.files, self._read.labels
        self.captions: list[str] = [every[file] for file in self._files]

    @property
    def domain(self) -> Mapping[str, Any]:
        """The domain of the examples, see `jaxgan.domains`."""
        return self._read.domain

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        return {**labelled(self.resolution, self.channels), "text": Field((self.text_length,), "int32")}

    @property
    def labels(self) -> np.ndarray:
        """The labels of all images, `[N]`."""
        return self._labels

    @property
    def fingerprint(self) -> str:
        """As of `sources.ImageFolder`, over the captions too."""
        more = (*self.classes, *self.captions, *self._read.marks)
        return digest_files(((file, self.path / file) for file in self._files), more)

    @property
    def remarks(self) -> tuple[str, ...]:
        """Which files are left out or converted, and how many captions are cut."""
        return (*self._read.remarks, *text.remarks(self.captions, self.text_length))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int, /) -> Example:
        return {
            "real": images.read(
                self.path / self._files[index], self.resolution, self.channels, self._read.survey.span
            ),
            "label": self._labels[index],
            "text": text.encode(self.captions[index], self.text_length),
        }


@source("captions")
class CaptionsData(FilesData):
    """A folder of images with a caption each, in a .txt beside it or in metadata.jsonl."""

    path: Place
    text_length: Numbers = text.LENGTH
    """Bytes of a caption; longer ones are cut."""

    def open(self) -> Source:
        """The images and their captions."""
        return Captions(self.path, *self.size, self.text_length, strict=self.strict, span=self.span)


def captions(found: Scan) -> dict[str, str]:
    """The caption of each of the image files of a folder, by relative paths.

    Raises:
      InputError: as `Captions` says.
    """
    listed = found.path / "metadata.jsonl"
    if listed.is_file():
        return _listed(listed, found.files, [file for file, _ in found.found.unreadable])
    return {file: _beside(found.path / file) for file in found.files}


def _text(file: Path) -> str:
    """A file of UTF-8, without the mark that some editors begin one with; FileNotFoundError where there is none."""
    if kind := walk.irregular(file):
        raise InputError(f"{file}: is {kind}, and no file with captions; write one")
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not UTF-8 text; convert it") from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); mend that") from error


def _beside(image: Path) -> str:
    file = image.with_suffix(".txt")
    try:
        lines = _text(file).splitlines()
    except FileNotFoundError:
        raise InputError(
            f"{image}: has no caption; write one into {file.name} beside it, or into metadata.jsonl"
        ) from None
    return _checked(lines[0] if lines else "", str(file))


def _listed(file: Path, images_there: list[str], unreadable: list[str]) -> dict[str, str]:
    """The captions that a metadata.jsonl has for the images; it may have some for unreadable ones, too."""
    lines = _text(file).split("\n")
    there, found = {*images_there, *unreadable}, {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{file}: line {number}"
        try:
            entry: Any = json.loads(line)
        except ValueError as error:
            raise InputError(f"{where} is not JSON ({error}); mend it") from error
        name = entry.get("file_name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not isinstance(entry.get("text"), str):
            raise InputError(f'{where} must be an object with the strings "file_name" and "text"; mend it')
        name = Path(name).as_posix()
        if name not in there:
            raise InputError(
                f"{where} names {name}, which is not an image of {file.parent}; mend or remove it"
            )
        if name in found:
            raise InputError(f"{where} names {name} a second time; keep one caption")
        found[name] = _checked(entry["text"], f"{where} ({name})")
    for name in images_there:
        if name not in found:
            raise InputError(f"{file.parent / name}: has no caption in {file.name}; add a line for it")
    return found


def _checked(caption: str, where: str) -> str:
    caption = caption.strip().strip("\ufeff")
    try:
        caption.encode()
    except UnicodeEncodeError as error:  # JSON can escape halves of characters
        raise InputError(f"{where}: the caption is not valid text; mend it") from error
    if not caption or "\0" in caption:
        raise InputError(f"{where}: the caption {'holds a zero' if caption else 'is empty'}; write one")
    return caption
