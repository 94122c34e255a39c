"""Folders of images for translation: in pairs, or of two kinds.

For example:

    >>> from PIL import Image
    >>> Path("maps").mkdir()
    >>> Image.new("L", (8, 4)).save("maps/a.png")
    >>> source = Pairs("maps", None, resolution=4, channels=1)  # side by side in one file
    >>> [(name, array.shape) for name, array in source[0].items()]
    [('real', (4, 4, 1)), ('label', ()), ('input', (4, 4, 1))]
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxgan.data import files as walk
from jaxgan.data import images, order
from jaxgan.data.images import Range
from jaxgan.data.sources.base import Example, Field, Side, Source, digest_files, labelled, source
from jaxgan.data.sources.derived import HiddenPairs
from jaxgan.data.sources.folder import FilesData, Readable, Scan, domain, readable, scan, unlabelled
from jaxgan.errors import InputError
from jaxgan.settings import Pixels, Place


class Pairs:
    """Images, each with the one that it is to be made from: "real" and "input".

    They are in two folders, matched by their paths below them without the ending, or side by side in the files of one
    folder. The first folder's subfolders are classes, as of `sources.ImageFolder`.

    Args:
      path: the folder of the images, or of the files that hold both.
      inputs: the folder of the inputs; None where they are side by side.
      resolution, channels: what images are cropped, resized and converted to (`images.to_array`).
      input_resolution, input_channels: the same of inputs; as of the images if not given.
      direction: of files that hold both: whether the left half is the input or the right one.
      strict, span: as of `sources.ImageFolder`; where one of a pair cannot be read, both are left out.

    Raises:
      InputError: for a bad resolution or channels, what `sources.ImageFolder` refuses, two images of one name, or an
        image or input without a partner. `source[i]`: for pairs that do not have one size (one shape, where the
        resolutions differ), or a file with no two halves.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        inputs: str | os.PathLike[str] | None,
        resolution: int,
        channels: int,
        input_resolution: int | None = None,
        input_channels: int | None = None,
        direction: Literal["left-to-right", "right-to-left"] = "left-to-right",
        *,
        strict: bool = False,
        span: Range | None = None,
    ) -> None:
        self.path: Path = walk.named(path)
        self.resolution: int = resolution
        self.channels: int = channels
        self._sizes = (resolution, channels), (input_resolution or resolution, input_channels or channels)
        for size in self._sizes:
            images.check_size(*size)
        self.direction = direction
        self.inputs: Path | None = None if inputs is None else walk.named(inputs)
        ours, theirs = scan(self.path), None if self.inputs is None else unlabelled(self.inputs)
        if theirs:
            _check_names(ours, theirs)
        first = readable(
            ours, strict, span, *(() if theirs else ("cropped",))
        )  # it is whole halves that are cropped
        second = readable(theirs, strict, span) if theirs else first
        self.classes: tuple[str, ...] = ours.classes
        self._files, self._labels, self._marks = first.files, first.labels, first.marks
        self._spans = first.survey.span, second.survey.span
        self.remarks: tuple[str, ...] = first.remarks
        if self.inputs is not None:
            of_inputs = {_stem(file): file for file in second.files}
            whole = [i for i, file in enumerate(first.files) if _stem(file) in of_inputs]
            self._files, self._labels = [first.files[i] for i in whole], first.labels[whole]
            self._partners = [of_inputs[_stem(file)] for file in self._files]
            self._marks += second.marks
            self.remarks = _remarks(first, second, len(whole), self.path)
            _check_classes(self.path, self.classes, self._labels)

    @property
    def domain(self) -> Mapping[str, Any]:
        """The domain of the examples, see `jaxgan.domains`."""
        return domain({"real": self._spans[0], "input": self._spans[1]})

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        side, channels = self._sizes[1]
        return {**labelled(self.resolution, self.channels), "input": Field((side, side, channels), "uint8")}

    @property
    def labels(self) -> np.ndarray:
        """The labels of all images, `[N]`."""
        return self._labels

    @property
    def fingerprint(self) -> str:
        """As of `sources.ImageFolder`, over both folders."""
        files = [(file, self.path / file) for file in self._files]
        if self.inputs is None:
            return digest_files(files, (*self.classes, self.direction, *self._marks))
        files += [(file, self.inputs / file) for file in self._partners]
        return digest_files(files, (*self.classes, *self._marks))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int, /) -> Example:
        file = self.path / self._files[index]
        if self.inputs is not None:
            image, given = images.read_pair(
                file, self.inputs / self._partners[index], self._sizes, self._spans
            )
        elif self.direction == "right-to-left":
            image, given = images.read_pair(file, None, self._sizes, self._spans)
        else:
            given, image = images.read_pair(file, None, (self._sizes[1], self._sizes[0]), self._spans)
        return {"real": image, "label": self._labels[index], "input": given}


@source("pairs")
class PairsData(FilesData):
    """Images and what they are made from ("input"): in two folders, or side by side in one file each."""

    path: Place
    """Folder of the images, or of the files that hold both."""
    inputs: Place | None = None
    """Folder of the inputs, named like their images."""
    layout: Literal["folders", "side-by-side"] = "folders"
    direction: Literal["left-to-right", "right-to-left"] = "left-to-right"
    """Side by side: from which half to which half."""
    input_resolution: Pixels | None = None
    """As the images if not given."""
    input_channels: Literal[1, 3] | None = None
    unpaired: bool = False
    """Hides the pairs: "other", the input of another image, in the place of "input"."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse a second folder that the layout has no use for, and the lack of one that it needs."""
        if self.layout == "folders" and self.inputs is None:
            raise ValueError("lacks inputs, the second folder; name it, or set layout to 'side-by-side'")
        if self.layout == "side-by-side" and self.inputs is not None:
            raise ValueError("has inputs, but layout 'side-by-side' has one folder; leave out one of them")

    def open(self) -> Source:
        """The pairs, hidden where that is asked."""
        of_input = (self.input_resolution, self.input_channels)
        how = {"strict": self.strict, "span": self.span}
        found = Pairs(self.path, self.inputs, *self.size, *of_input, self.direction, **how)
        return HiddenPairs(found) if self.unpaired else found


class Unpaired:
    """Images of two kinds that do not belong together: "real" and "other".

    In training each folder goes through epochs of its own, in an order of its own, so that all of its images are seen
    equally often and partners change. Of fixed examples there are as many as the larger folder has images: `source[i]`
    has the image i, counted on from the first again where there are fewer of them, and an "other" that a shuffle chose
    which knows nothing of the images.

    Args:
      path: the folder of the images; its subfolders are classes, as of `sources.ImageFolder`.
      other: the folder of the other kind, whose subfolders mean nothing.
      resolution, channels: what images of both are cropped, resized and converted to (`images.to_array`).
      strict, span: as of `sources.ImageFolder`.

    Raises:
      InputError: for a bad resolution or channels, and what `sources.ImageFolder` refuses.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        other: str | os.PathLike[str],
        resolution: int,
        channels: int,
        *,
        strict: bool = False,
        span: Range | None = None,
    ) -> None:
        images.check_size(resolution, channels)
        self.path: Path = walk.named(path)
        self.other: Path = walk.named(other)
        self.resolution: int = resolution
        self.channels: int = channels
        found = scan(self.path)
        self.classes: tuple[str, ...] = found.classes
        self._read = readable(found, strict, span)
        self._read_others = readable(unlabelled(self.other), strict, span)
        self._files, self._labels, self._others = self._read.files, self._read.labels, self._read_others.files
        self.remarks: tuple[str, ...] = (*self._read.remarks, *self._read_others.remarks)

    @property
    def domain(self) -> Mapping[str, Any]:
        """The domain of the examples, see `jaxgan.domains`."""
        return domain({"real": self._read.survey.span, "other": self._read_others.survey.span})

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        fields = labelled(self.resolution, self.channels)
        return {**fields, "other": fields["real"]}

    @property
    def sides(self) -> tuple[Side, Side]:
        """The images with their labels, and the others."""
        fields = labelled(self.resolution, self.channels)
        return (
            Side(fields, len(self._files), self._image),
            Side({"other": fields["real"]}, len(self._others), self._other),
        )

    @property
    def labels(self) -> np.ndarray:
        """The labels of all images, `[N]`."""
        return self._labels

    @property
    def fingerprint(self) -> str:
        """As of `sources.ImageFolder`, over both folders."""
        first = digest_files(
            ((file, self.path / file) for file in self._files), (*self.classes, *self._read.marks)
        )
        second = digest_files(((file, self.other / file) for file in self._others), self._read_others.marks)
        return hashlib.sha256(f"{first} {second}".encode()).hexdigest()

    def __len__(self) -> int:
        return max(len(self._files), len(self._others))

    def __getitem__(self, index: int, /) -> Example:
        at = range(len(self))[index]
        chosen = int(order.indices(0, len(self._others), at, 1)[0])
        return {**self._image(at % len(self._files)), **self._other(chosen)}

    def _image(self, index: int) -> Example:
        size, span = (self.resolution, self.channels), self._read.survey.span
        return {
            "real": images.read(self.path / self._files[index], *size, span),
            "label": self._labels[index],
        }

    def _other(self, index: int) -> Example:
        size, span = (self.resolution, self.channels), self._read_others.survey.span
        return {"other": images.read(self.other / self._others[index], *size, span)}


@source("unpaired")
class UnpairedData(FilesData):
    """Images of two kinds, in two folders, that do not belong together."""

    path: Place
    other: Place
    """Folder of the other kind."""

    def open(self) -> Source:
        """The images of both folders."""
        return Unpaired(self.path, self.other, *self.size, strict=self.strict, span=self.span)


def _stem(file: str) -> str:
    return os.path.splitext(file)[0]


def _check_names(ours: Scan, theirs: Scan) -> None:
    """Refuses two files of one name in a folder, and those without a partner in the other one."""
    stems: list[dict[str, str]] = []
    for found in (ours, theirs):
        named: dict[str, str] = {}
        for file in (*found.files, *(path for path, _ in found.found.unreadable)):
            first = named.setdefault(_stem(file), file)
            if first != file:
                raise InputError(
                    f"{found.path}: {first} and {file} have one name, so pairs are unclear; remove one"
                )
        stems.append(named)
    alone = [(ours.path / stems[0][stem], theirs.path) for stem in sorted(stems[0].keys() - stems[1].keys())]
    alone += [(theirs.path / stems[1][stem], ours.path) for stem in sorted(stems[1].keys() - stems[0].keys())]
    if alone:
        names = ", ".join(str(file) for file, _ in alone[:3]) + (", ..." if len(alone) > 3 else "")
        raise InputError(
            f"{names}: {len(alone)} without a partner of the same name in {alone[0][1]}; add or remove"
        )


def _remarks(first: Readable, second: Readable, whole: int, where: Path) -> tuple[str, ...]:
    """What users are to be told of pairs, `whole` of which can be read."""
    found = (*first.remarks, *second.remarks)
    if not (first.left_out or second.left_out):
        return found
    return (*found, f"{where}: {whole} pairs are left, of which both can be read")


def _check_classes(where: Path, classes: tuple[str, ...], labels: np.ndarray) -> None:
    present = set(labels.tolist())
    missing = [name for label, name in enumerate(classes or ("",)) if label not in present]
    if missing:
        raise InputError(f"{where / missing[0]}: has no pair of which both can be read; replace them")
