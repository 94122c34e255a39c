"""The one search of folders: links, hidden files, what is no file, names that are no text; and all that uses it."""

import os
import socket
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import Captions, ImageFolder, Pairs, Unpaired, files, images, prepare
from jaxgan.data.preparing import packages
from jaxgan.data.sources import TFDS, CaptionsData, FolderData, PairsData, TFDSData, UnpairedData, remarks_of
from jaxgan.errors import InputError
from jaxgan.sampling.translate import jobs

PNG = {".png"}


def save(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", (4, 4), value).save(path)
    return path


def test_links_are_followed_and_each_real_folder_counts_once(tmp_path: Path) -> None:
    for name in ("set/a/1.png", "set/z/2.png", "elsewhere/3.png", "elsewhere/deep/4.png"):
        save(tmp_path / name)
    root = tmp_path / "set"
    (root / "a" / "file.png").symlink_to(tmp_path / "elsewhere" / "3.png")
    (root / "b").symlink_to(tmp_path / "elsewhere")
    (root / "c").symlink_to(tmp_path / "elsewhere" / "deep")  # counts as b/deep
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "aside").symlink_to(root / "z")  # counts where it lies
    (tmp_path / "elsewhere" / "self").symlink_to(".")
    found = files.below(root, PNG)
    assert found.files == ["a/1.png", "a/file.png", "b/3.png", "b/deep/4.png", "z/2.png"]
    assert found.folders == ["a", "b", "c", "z"]
    assert found.same == {"a/aside": "z", "a/loop": "", "b/self": "b", "c": "b/deep"}
    assert found.passed == {"again": 4}
    assert found.left_out() == "4 files left out: 4 linked folders met before"
    (tmp_path / "link").symlink_to(root)
    assert files.below(tmp_path / "link", PNG).files == found.files


def test_a_folder_that_lies_hidden_counts_where_a_link_leads_to_it(tmp_path: Path) -> None:
    save(tmp_path / ".store" / "x.png")
    (tmp_path / "shown").symlink_to(".store")
    assert files.below(tmp_path, PNG).files == ["shown/x.png"]


def test_what_is_no_example_is_counted_by_kinds(tmp_path: Path) -> None:
    for name in ("x.PNG", "._x.png", ".hidden/y.png", "__MACOSX/x.png", "sub/Thumbs.db", "sub/a.txt", "b.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "gone.png").symlink_to("nowhere")
    (tmp_path / "round.png").symlink_to("round.png")
    with socket.socket(socket.AF_UNIX) as listening:
        here = os.open(tmp_path, os.O_RDONLY)
        listening.bind(f"/proc/self/fd/{here}/socket.png")
        os.close(here)
        found = files.below(tmp_path, PNG, beside=[".txt"])
    assert found.files == ["x.PNG"]
    assert [name for name, _ in found.unreadable] == ["gone.png", "pipe.png", "round.png", "socket.png"]
    assert dict(found.unreadable)["pipe.png"] == "not a regular file"
    assert dict(found.unreadable)["gone.png"] == "a link to nothing"
    # Hidden: ._x.png and .hidden; the system's: __MACOSX and Thumbs.db; others: b.md and pipe.txt, but not a.txt.
    assert found.passed == {"hidden": 2, "system": 2, "other": 2}
    assert found.left_out(1) == "11 files left out: 5 unreadable, 2 of other kinds, 2 hidden, 2 of the system"


def test_the_first_ten_are_named() -> None:
    bad = [(f"x/{i}.png", "why") for i in range(12)]
    told = files.lines("x", bad, Counter(other=1))
    assert told == [
        *(f"left out x/{i}.png: why" for i in range(10)),
        "x: 13 files left out: 12 unreadable, 1 of another kind",
    ]
    assert files.lines("x", [], Counter()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_names_that_are_no_text(tmp_path: Path) -> None:
    whole = save(tmp_path / "set" / "a" / "good.png").read_bytes()
    folder = os.fsencode(tmp_path / "set" / "a")
    for name, content in ((b"\xff.png", whole), (b"\xfe.png", b"damaged")):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(content)
    source = ImageFolder(tmp_path / "set", 4, 1)
    assert len(source) == 2
    assert len(source.fingerprint) == 64
    assert source[1]["real"].shape == (4, 4, 1)
    assert source.remarks[0].encode("utf-8", "backslashreplace").endswith(b"an image that Pillow can read")
    assert len(jobs([tmp_path / "set"], tmp_path / "out")) == 3
    Path(os.fsdecode(os.fsencode(tmp_path / "set") + b"/\xff")).mkdir()
    with pytest.raises(InputError, match="has a name that is no text"):
        ImageFolder(tmp_path / "set", 4, 1)


def test_all_commands_count_alike(tmp_path: Path) -> None:
    """Seven images, five of them in linked folders, one of which is a class."""
    root = tmp_path / "set"
    save(root / "a" / "1.png")
    save(root / "b" / "2.png")
    for i in range(3):
        save(tmp_path / "deeper" / f"{i}.png")
    for i in range(2):
        save(tmp_path / "class" / f"{i}.png")
    (root / "a" / "more").symlink_to(tmp_path / "deeper")
    (root / "c").symlink_to(tmp_path / "class")
    (root / "__MACOSX").mkdir()
    save(root / "__MACOSX" / "._1.png")
    source = ImageFolder(root, 4, 1)
    assert (len(source), source.classes) == (7, ("a", "b", "c"))
    assert [int(source[i]["label"]) for i in range(7)] == [0, 0, 0, 0, 1, 2, 2]
    assert source.remarks == (f"{root}: 1 file left out: 1 of the system",)
    report = prepare(str(root), tmp_path / "out", progress=False)
    assert (report.counts, report.classes) == ({"train": 7}, ("a", "b", "c"))
    assert report.remarks == source.remarks
    assert len(jobs([root], tmp_path / "translated")) == 7
    assert len(Unpaired(root, root, 4, 1)) == 7
    assert len(Pairs(root, root, 4, 1)) == 7


def test_a_class_that_is_a_link_to_another_is_named(tmp_path: Path) -> None:
    save(tmp_path / "set" / "ape" / "1.png")
    (tmp_path / "set" / "aaa").symlink_to("ape")
    with pytest.raises(InputError, match=r"aaa: this class folder leads to .*set/ape, whose images count"):
        ImageFolder(tmp_path / "set", 4, 1)


def test_pipes_never_hang(tmp_path: Path) -> None:
    """Given by name, or put in the place of a file that was there when its folder was read."""
    save(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "a.txt").write_text("a caption")
    for i in range(2):
        save(tmp_path / "set" / f"b{i}.png")
        (tmp_path / "set" / f"b{i}.txt").write_text("another")
    source = ImageFolder(tmp_path / "set", 4, 1)
    (tmp_path / "set" / "a.png").unlink()
    os.mkfifo(tmp_path / "set" / "a.png")
    for read in (lambda: source[0], lambda: images.read_whole(tmp_path / "set" / "a.png", 1)):
        with pytest.raises(InputError, match=r"a\.png: cannot be read as an image: it is a pipe"):
            read()
    assert len(ImageFolder(tmp_path / "set", 4, 1)) == 2
    assert len(Captions(tmp_path / "set", 4, 1)) == 2
    (tmp_path / "set" / "b0.txt").unlink()
    os.mkfifo(tmp_path / "set" / "b0.txt")
    with pytest.raises(InputError, match=r"b0\.txt: is a pipe"):
        Captions(tmp_path / "set", 4, 1)
    os.mkfifo(tmp_path / "LICENSE")
    with pytest.raises(InputError, match=r"LICENSE: is a pipe"):
        packages.read(packages.Package("npm", "openmoji", "17.0.0"), tmp_path, lambda name: name == "LICENSE")
    os.mkfifo(tmp_path / "train-images-idx3-ubyte")
    (tmp_path / "train-labels-idx1-ubyte").touch()
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte: is a pipe"):
        prepare(str(tmp_path), tmp_path / "out", progress=False)


def test_pairs_are_left_out_together(tmp_path: Path) -> None:
    for i in range(6):
        save(tmp_path / "images" / f"{i}.png", i)
        save(tmp_path / "inputs" / f"{i}.png", 100 + i)
    (tmp_path / "images" / "1.png").write_bytes(b"")
    (tmp_path / "inputs" / "3.png").write_bytes(b"no image")
    (tmp_path / "inputs" / "4.png").unlink()
    os.mkfifo(tmp_path / "inputs" / "4.png")
    source = Pairs(tmp_path / "images", tmp_path / "inputs", 4, 1)
    found = [
        (int(e["real"][0, 0, 0]), int(e["input"][0, 0, 0])) for e in (source[i] for i in range(len(source)))
    ]
    assert found == [(0, 100), (2, 102), (5, 105)]
    assert source.remarks[-1] == f"{tmp_path / 'images'}: 3 pairs are left, of which both can be read"
    with pytest.raises(
        InputError, match=r"1\.png: the file is empty; replace or remove it, or leave out data\.strict"
    ):
        Pairs(tmp_path / "images", tmp_path / "inputs", 4, 1, strict=True)


def test_what_is_left_out_is_part_of_the_data(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / "set" / f"{i}.png", i)
        (tmp_path / "set" / f"{i}.txt").write_text(f"number {i}")
        save(tmp_path / "other" / f"{i}.png", 9)
    makes = (
        lambda: ImageFolder(tmp_path / "set", 4, 1),
        lambda: Captions(tmp_path / "set", 4, 1),
        lambda: Unpaired(tmp_path / "set", tmp_path / "other", 4, 1),
        lambda: Pairs(tmp_path / "set", tmp_path / "other", 4, 1),
    )
    before = [make().fingerprint for make in makes]
    whole = (tmp_path / "set" / "1.png").read_bytes()
    (tmp_path / "set" / "1.png").write_bytes(whole[:-20])
    damaged = [make().fingerprint for make in makes]
    (tmp_path / "set" / "1.png").unlink()
    (tmp_path / "set" / "1.txt").unlink()
    (tmp_path / "other" / "1.png").unlink()
    removed = [make().fingerprint for make in makes]
    for three in zip(before, damaged, removed, strict=True):
        assert len(set(three)) == 3


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    save(tmp_path / "set" / "a" / "1.png")
    (tmp_path / "set" / "b").mkdir()
    (tmp_path / "set" / "b" / "2.png").write_bytes(b"")
    with pytest.raises(
        InputError, match=r"set/b: none of its 1 images can be read \(b/2\.png: the file is empty\)"
    ):
        ImageFolder(tmp_path / "set", 4, 1)
    with pytest.raises(InputError, match=r"set/b: none of its 1 images can be read"):
        ImageFolder(tmp_path / "set" / "b", 4, 1)


@pytest.mark.parametrize(
    ("data", "given"),
    [
        (FolderData, {"path": ""}),
        (CaptionsData, {"path": ""}),
        (UnpairedData, {"path": "x", "other": ""}),
        (PairsData, {"path": "x", "inputs": ""}),
        (TFDSData, {"directory": ""}),
        (FolderData, {"path": "a\0b"}),
        (FolderData, {"path": "\udcff"}),
    ],
)
def test_paths_that_are_none(data: type, given: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"is empty; name a file or a folder|is no text"):
        data(**given, resolution=4)


def test_empty_paths_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    for make in (
        lambda: ImageFolder("", 4, 1),
        lambda: Captions("", 4, 1),
        lambda: Unpaired(".", "", 4, 1),
        lambda: Pairs("", None, 4, 1),
        lambda: prepare("", "out"),
        lambda: prepare(".", ""),
    ):
        with pytest.raises(InputError, match="a path is empty"):
            make()
    assert len(ImageFolder(".", 4, 1)) == 1


def test_prepared_data_has_nothing_to_remark(tmp_path: Path) -> None:
    save(tmp_path / "set" / "a.png")
    (tmp_path / "set" / "b.png").write_bytes(b"")
    report = prepare(str(tmp_path / "set"), tmp_path / "out", progress=False)
    assert report.remarks == (
        f"left out {tmp_path / 'set' / 'b.png'}: the file is empty",
        f"{tmp_path / 'set'}: 1 file left out: 1 unreadable",
    )
    assert remarks_of(TFDS(None, tmp_path / "out", "train", 4, 1)) == ()
    assert np.array_equal(TFDS(None, tmp_path / "out", "train", 4, 1)[0]["real"], np.zeros((4, 4, 1)))
