"""The idx files of MNIST: written by hand here, read by the package."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from jaxgan.data.preparing import idx
from jaxgan.errors import InputError


def write(path: Path, array: np.ndarray) -> None:
    data = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)


IMAGES = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
LABELS = np.array([7, 0], np.uint8)


@pytest.mark.parametrize("pattern", ["{}-{}-idx{}-ubyte", "{}-{}-idx{}-ubyte.gz", "{}-{}.idx{}-ubyte"])
def test_round_trip(tmp_path: Path, pattern: str) -> None:
    for split in ("train", "t10k"):
        write(tmp_path / pattern.format(split, "images", 3), IMAGES)
        write(tmp_path / pattern.format(split, "labels", 1), LABELS)
    (tmp_path / "README").touch()
    found = idx.find(tmp_path)
    assert list(found) == ["train", "test"]
    images, labels = idx.read(*found["test"])
    assert np.array_equal(images, IMAGES)
    assert np.array_equal(labels, LABELS)


def test_no_idx_files(tmp_path: Path) -> None:
    assert idx.find(tmp_path) == {}


def test_a_missing_half_is_named(tmp_path: Path) -> None:
    write(tmp_path / "train-images-idx3-ubyte", IMAGES)
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte: .*labels is missing"):
        idx.find(tmp_path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    images, labels = tmp_path / "train-images-idx3-ubyte.gz", tmp_path / "train-labels-idx1-ubyte"
    write(images, IMAGES)
    write(labels, LABELS)
    good = images.read_bytes()
    images.write_bytes(good[:-9])
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
        idx.read(images, labels)
    images.write_bytes(b"not gzip")
    with pytest.raises(InputError, match="cannot be read"):
        idx.read(images, labels)
    images.write_bytes(good)
    whole = labels.read_bytes()
    labels.write_bytes(whole[:-1])
    with pytest.raises(InputError, match="is truncated, 9 of 10 bytes"):
        idx.read(images, labels)
    labels.write_bytes(b"\0\0\x09\x01" + whole[4:])
    with pytest.raises(InputError, match="no idx file of 1-dimensional bytes"):
        idx.read(images, labels)
    write(labels, np.zeros(3, np.uint8))
    with pytest.raises(InputError, match="3 labels for 2 images"):
        idx.read(images, labels)
    write(images, np.zeros((0, 3, 4), np.uint8))
    write(labels, np.zeros(0, np.uint8))
    with pytest.raises(InputError, match="holds no images"):
        idx.read(images, labels)
