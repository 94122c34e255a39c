"""A folder of images with captions, for text to image.

For example:

    >>> from PIL import Image
    >>> Path("maps").mkdir()
    >>> Image.new("L", (8, 4)).save("maps/a.png")
    >>> Captions("maps", resolution=4, channels=1)
    Traceback (most recent call last):
    jaxgan.errors.InputError: maps/a.png: has no caption; write one into a.txt beside it, or ...
"""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan import reading
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
        missing, empty or not UTF-8, or listed for an image that is not there.
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
        written = captions(found)
        self._read = readable(written.scan, strict, span)
        self._files, self._labels = self._read.files, self._read.labels
        self.captions: list[str] = [written.texts[file] for file in self._files]
        self._further = written.further

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
        """Which files are left out or converted, and what of captions is left out or cut."""
        cut = text.remarks(self.captions, self.text_length)
        return (*self._read.remarks, *further(self._further), *cut)

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


class Written(NamedTuple):
    """What is written of a folder's images."""

    scan: Scan
    """The folder, in which files that hold captions of no image are counted as left out."""
    texts: dict[str, str]
    """The caption of each image file."""
    further: int
    """How many files have more lines than the first, which counts."""


def captions(found: Scan) -> Written:
    """The captions of the image files of a folder.

    Raises:
      InputError: as `Captions` says.
    """
    listed, beside = found.path / "metadata.jsonl", found.found.beside
    if listed.is_file():
        texts = _listed(listed, found.files, [file for file, _ in found.found.unreadable])
        return Written(_passing(found, {walk.OTHER: len(beside) - 1}), texts, 0)
    each = {file: _beside(found.path / file) for file in found.files}
    pictures = (*found.files, *(file for file, _ in found.found.unreadable))
    stems = {os.path.splitext(file)[0] for file in pictures}
    alone = sum(file.endswith(".txt") and os.path.splitext(file)[0] not in stems for file in beside)
    other = sum(not file.endswith(".txt") for file in beside)
    texts = {file: caption for file, (caption, _) in each.items()}
    scan = _passing(found, {walk.ALONE: alone, walk.OTHER: other})
    return Written(scan, texts, sum(more for _, more in each.values()))


def _passing(found: Scan, more: Mapping[str, int]) -> Scan:
    """The scan with more files that are left out."""
    return found._replace(found=found.found._replace(passed=found.found.passed + Counter(more)))


def further(count: int) -> tuple[str, ...]:
    """What users are told of captions with further lines; nothing where there are none."""
    some = "1 file with a caption has" if count == 1 else f"{count:,} files with a caption have"
    return (f"{some} more lines, of which the first counts",) if count else ()


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


def _beside(image: Path) -> tuple[str, bool]:
    """The caption in the file beside an image, and whether that file has more lines."""
    file = image.with_suffix(".txt")
    try:
        lines = _text(file).splitlines()
    except FileNotFoundError:
        raise InputError(
            f"{image}: has no caption; write one into {file.name} beside it, or into metadata.jsonl"
        ) from None
    return _checked(lines[0] if lines else "", str(file)), any(line.strip() for line in lines[1:])


def _listed(file: Path, images_there: list[str], unreadable: list[str]) -> dict[str, str]:
    """The captions that a metadata.jsonl has for the images; it may have some for unreadable ones, too."""
    lines = _text(file).split("\n")
    there, found = {*images_there, *unreadable}, {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{file}: line {number}"
        try:
            entry: Any = reading.parsed_json(line)
        except reading.Faulty as error:
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
