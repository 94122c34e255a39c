"""The idx files of MNIST and its kin.

For example:

    >>> ones = bytes((0, 0, 0, 1))
    >>> _ = Path("train-images-idx3-ubyte").write_bytes(bytes((0, 0, 8, 3)) + 3 * ones + bytes((255,)))
    >>> _ = Path("train-labels-idx1-ubyte").write_bytes(bytes((0, 0, 8, 1)) + ones + bytes((7,)))
    >>> pixels, labels = read(*find(Path("."))["train"])
    >>> pixels.tolist(), labels.tolist()
    ([[[255]]], [7])
"""

import gzip
import re
import zlib
from pathlib import Path

import numpy as np

from jaxgan.data.files import irregular
from jaxgan.errors import InputError

_NAME = re.compile(r"(train|t10k|test)-(images|labels)[-.]idx[13]-ubyte(\.gz)?")


def find(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The idx files in a folder, as {"train" or "test": (images, labels)}; empty where there are none.

    Raises:
      InputError: where images lack their labels or the other way round.
    """
    found: dict[str, dict[str, Path]] = {}
    for path in sorted(folder.iterdir()):  # sorted: the raw file comes before its .gz and wins
        if match := _NAME.fullmatch(path.name):
            split = "train" if match[1] == "train" else "test"
            found.setdefault(split, {}).setdefault(match[2], path)
    for split, files in found.items():
        if len(files) < 2:
            have = next(iter(files.values()))
            missing = ({"images", "labels"} - set(files)).pop()
            raise InputError(f"{have}: the idx file of the {split} {missing} is missing beside it; add it")
    return {
        split: (found[split]["images"], found[split]["labels"])
        for split in ("train", "test")
        if split in found
    }


def read(images: Path, labels: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels uint8 [n, h, w], values 0..255, and labels uint8 [n].

    Raises:
      InputError: for a file that is unreadable, no idx file of bytes, truncated, or of another length than its pair.
    """
    pixels, numbers = _array(images, 3), _array(labels, 1)
    if len(pixels) != len(numbers):
        raise InputError(
            f"{labels}: holds {len(numbers)} labels for {len(pixels)} images; the pair does not match"
        )
    if not pixels.size:
        raise InputError(f"{images}: holds no images; take the original file")
    return pixels, numbers


def _array(path: Path, rank: int) -> np.ndarray:
    if kind := irregular(path):
        raise InputError(f"{path}: is {kind}, and no idx file; take the original file")
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); take the original file") from error
    if raw[:4] != bytes((0, 0, 8, rank)):
        raise InputError(f"{path}: is no idx file of {rank}-dimensional bytes; take the original file")
    start = 4 + 4 * rank
    shape = tuple(int.from_bytes(raw[i : i + 4], "big") for i in range(4, start, 4))
    size = int(np.prod(shape, dtype=object))
    if len(raw) < start + size:
        raise InputError(f"{path}: is truncated, {len(raw)} of {start + size} bytes; take the original file")
    return np.frombuffer(raw, np.uint8, count=size, offset=start).reshape(shape)
