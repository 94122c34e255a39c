"""Sources: the embedded set, folders of images, and what they refuse. Prepared sets: test_data_prepare.py."""

import hashlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import TFDS, Embedded, ImageFolder, Source, images
from jaxgan.errors import InputError

# Of the originals, selected independently of the package: with `labels[i]` counted upwards until a class is full.
EMBEDDED_SHA256 = {
    "train": "73194a0c06a93deab58b95e00e618cc5c80fb5c9a84df26bbc429eeb3507846a",
    "test": "8e8b02fc2db0ff9ed2d481ff30f8bd7cc5c88205cb131d7f4a0c19448f6957c9",
}
ORIGINALS = Path("/usr/share/datasets/fashion-mnist")


def save(path: Path, value: int, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes; images of value 10 * class + position in the class."""
    root = tmp_path / "photos"
    for label, name in enumerate(["ape", "bee"]):
        for i in range(3):
            save(root / name / f"{i}.png", 10 * label + i)
    return root


@pytest.mark.parametrize(("split", "each"), [("train", 1000), ("test", 200)])
def test_embedded_holds_the_originals(split: str, each: int) -> None:
    source = Embedded(split)  # type: ignore[arg-type]
    assert isinstance(source, Source)
    pixels, labels = source.arrays()
    assert len(source) == 10 * each
    assert np.bincount(labels).tolist() == [each] * 10
    assert hashlib.sha256(pixels.tobytes() + labels.tobytes()).hexdigest() == EMBEDDED_SHA256[split]
    example = source[7]
    assert example["real"].shape == (28, 28, 1)
    assert example["real"].dtype == np.uint8
    assert np.array_equal(example["real"][..., 0], pixels[7])
    assert isinstance(example["label"], np.int32)
    assert example["label"] == labels[7]
    assert len(source.classes) == 10
    with pytest.raises(IndexError):
        source[10 * each]
    example["real"][:] = 0  # the caller's copy
    assert source[7]["real"].any()


def test_embedded_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    if not ORIGINALS.is_dir():
        pytest.skip("Debian's dataset-fashion-mnist is not there")
    home = Path(images.__file__).parent / "fashion_mnist"
    command = [sys.executable, home / "make.py", ORIGINALS, tmp_path / "again.xz"]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "again.xz").read_bytes() == (home / "data.npy.xz").read_bytes()


def test_embedded_is_small_and_needs_nothing_heavy() -> None:
    home = Path(images.__file__).parent / "fashion_mnist"
    assert sum(p.stat().st_size for p in home.iterdir() if p.is_file()) < 5.5e6
    assert "MIT" in (home / "LICENSE").read_text()
    code = (
        "import sys; from jaxgan.data import Embedded; Embedded()[0];"
        "print({'jax', 'grain', 'tensorflow_datasets', 'tensorflow'} & set(sys.modules))"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env)
    assert done.stdout == "set()\n"


def test_embedded_resizes() -> None:
    example = Embedded("test", 32, 3)[0]
    assert example["real"].shape == (32, 32, 3)
    small = np.asarray(
        Image.fromarray(Embedded("test").arrays()[0][0]).resize((32, 32), Image.Resampling.LANCZOS)
    )
    assert np.abs(example["real"].astype(int) - small[..., None]).max() == 0


def test_fingerprints_tell_data_apart_and_not_sizes(folder: Path) -> None:
    assert Embedded("train").fingerprint == Embedded("train", 64, 3).fingerprint
    assert Embedded("train").fingerprint != Embedded("test").fingerprint
    before = ImageFolder(folder, 4, 1).fingerprint
    assert before == ImageFolder(folder, 8, 3).fingerprint
    assert int(before, 16) < 2**256
    assert len(before) == 64
    path = folder / "ape" / "0.png"
    content = path.read_bytes()
    time.sleep(0.01)
    path.write_bytes(content)  # another time of change, the same content
    assert ImageFolder(folder, 4, 1).fingerprint == before
    path.write_bytes(content[:-1] + b"x")  # the same size, another content
    assert ImageFolder(folder, 4, 1).fingerprint != before
    path.write_bytes(content)
    path.rename(folder / "ape" / "00.png")
    assert ImageFolder(folder, 4, 1).fingerprint != before


def test_folder_classes_in_sorted_order(folder: Path) -> None:
    save(folder / "ape" / "deeper" / "still" / "9.png", 3)
    save(folder / "10" / "a.PNG", 40)
    (folder / ".hidden").mkdir()
    (folder / "ape" / ".cut.png").touch()
    (folder / "ape" / "notes.txt").write_text("no image")
    source = ImageFolder(folder, 4, 1)
    assert isinstance(source, Source)
    assert source.classes == ("10", "ape", "bee")
    found = [(int(e["label"]), int(e["real"][0, 0, 0])) for e in (source[i] for i in range(len(source)))]
    assert found == [(0, 40), (1, 0), (1, 1), (1, 2), (1, 3), (2, 10), (2, 11), (2, 12)]


def test_folder_without_classes_is_unlabelled(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / f"{i}.jpg", 50 * i, (9, 7))
    source = ImageFolder(tmp_path, 5, 3)
    assert source.classes == ()
    assert [int(source[i]["label"]) for i in range(3)] == [0, 0, 0]
    assert source[2]["real"].shape == (5, 5, 3)
    assert np.abs(source[2]["real"].astype(int) - 100).max() <= 1


def test_a_file_that_breaks_later_is_named(folder: Path) -> None:
    source = ImageFolder(folder, 4, 1)
    (folder / "bee" / "1.png").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"bee/1\.png"):
        source[4]


@pytest.mark.parametrize("source", [Embedded("test", 16, 3), Embedded()])
def test_embedded_pickles_small(source: Embedded) -> None:
    data = pickle.dumps(source)
    assert len(data) < 1000
    assert np.array_equal(pickle.loads(data)[3]["real"], source[3]["real"])


def test_folder_pickles(folder: Path) -> None:
    source = ImageFolder(folder, 4, 1)
    again = pickle.loads(pickle.dumps(source))
    assert again[5]["real"].tolist() == source[5]["real"].tolist()
    assert again.fingerprint == source.fingerprint


def test_bad_folders(tmp_path: Path, folder: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").touch()
    (tmp_path / "file").touch()
    for name, why in [
        ("missing", "no such folder"),
        ("empty", "no images"),
        ("texts", "no images"),
        ("file", "not a folder"),
    ]:
        with pytest.raises(InputError, match=rf"{name}: .*{why}"):
            ImageFolder(tmp_path / name, 4, 1)
    (folder / "cat").mkdir()
    with pytest.raises(InputError, match=r"cat: .*no images"):
        ImageFolder(folder, 4, 1)
    (folder / "cat").rmdir()
    save(folder / "loose.png", 1)
    with pytest.raises(InputError, match=r"both class folders .*loose\.png"):
        ImageFolder(folder, 4, 1)
    for name in ("train", "test"):
        save(tmp_path / "splits" / name / "a" / "1.png", 1)
    with pytest.raises(InputError, match="holds splits"):
        ImageFolder(tmp_path / "splits", 4, 1)


def test_bad_arguments(folder: Path, tmp_path: Path) -> None:
    for make in (
        lambda r, c: Embedded("train", r, c),
        lambda r, c: ImageFolder(folder, r, c),
        lambda r, c: TFDS(None, folder, "train", r, c),
    ):
        for resolution, channels in [(0, 1), (-1, 1), (28, 2), (28, 4)]:
            with pytest.raises(InputError, match=r"resolution is|channels is"):
                make(resolution, channels)
    with pytest.raises(InputError, match="no split 'validation'"):
        Embedded("validation")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="needs a name or a directory"):
        TFDS(None, None)
    with pytest.raises(InputError, match=r"photos: holds no prepared data set"):
        TFDS(None, folder)
    with pytest.raises(InputError, match="no such folder"):
        TFDS(None, tmp_path / "missing")
    with pytest.raises(InputError, match=r"'mnist' is not prepared in .*; run `jaxgan prepare tfds:mnist"):
        TFDS("mnist", tmp_path)
    with pytest.raises(InputError, match="'no such name' is not prepared"):
        TFDS("no such name", tmp_path)
