"""Folders of image files, whose subfolders are classes.

For example:

    >>> from PIL import Image
    >>> for name in ("boot", "coat"):
    ...     Path("garments", name).mkdir(parents=True)
    ...     Image.new("L", (6, 4)).save(f"garments/{name}/a.png")
    >>> source = FolderData(path="garments", resolution=2, channels=1).open()
    >>> source.classes, [int(source[i]["label"]) for i in range(2)], source[0]["real"].shape
    (('boot', 'coat'), [0, 1], (2, 2, 1))
"""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from jaxgan.data import images
from jaxgan.data.sources.base import Example, Field, ImageData, Scale, Source, digest_files, labelled, source
from jaxgan.data.sources.derived import Degraded
from jaxgan.errors import InputError

_SPLIT_NAMES = frozenset({"train", "test", "val", "valid", "validation"})


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
        self.path: Path = Path(path).expanduser()
        self.resolution = resolution
        self.channels = channels
        self.classes: tuple[str, ...]
        self.files: list[str]
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


@source("folder")
class FolderData(ImageData):
    """A folder of images, whose subfolders are classes."""

    path: str
    scale: Scale | None = None
    """Super-resolution: "input" is the image shrunken so many times."""

    def open(self) -> Source:
        """The images, with themselves shrunken where there is a scale."""
        found = ImageFolder(self.path, *self.size)
        return Degraded(found, self.scale) if self.scale else found


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
