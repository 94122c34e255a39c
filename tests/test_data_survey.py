"""What the images of a set are, decided once: range, greyness, what cannot be read; for all sources and commands."""

import json
import os
import pickle
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan import cache, domains
from jaxgan.data import (
    Captions,
    HiddenPairs,
    ImageFolder,
    Pairs,
    Unpaired,
    arrayrecord,
    images,
    known,
    prepare,
    survey,
)
from jaxgan.data.sources import TFDS, Field, FolderData, TFDSData, as_they_are
from jaxgan.domains import Image as Images
from jaxgan.errors import InputError

RAMP = np.arange(16).reshape(4, 4)


def save(path: Path, values: np.ndarray, dtype: type, mode: str | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values.astype(dtype))
    (image.convert(mode) if mode else image).save(path)
    return path


def read(folder: Path, **how) -> list[list[int]]:
    """All pixels of a folder's images, in order."""
    source = ImageFolder(folder, 4, 1, **how)
    return [source[i]["real"].ravel().tolist() for i in range(len(source))]


@pytest.mark.parametrize(
    ("least", "most", "kind", "want"),
    [
        (0, 65535, "whole", (0, 65535)),
        (3, 40000, "whole", (0, 65535)),
        (0, 4095, "whole", (0, 4095)),
        (0, 4096, "whole", (0, 16383)),
        (0, 1000, "whole", (0, 1023)),
        (0, 255, "whole", (0, 255)),
        (0, 10, "whole", (0, 10)),  # less than a quarter of 0 to 255
        (0, 65536, "whole", (0, 65536)),
        (-1, 999, "whole", (-1, 999)),
        (7, 7, "whole", (0, 255)),
        (0, 1, "float", (0, 1)),
        (0.1, 0.2, "float", (0, 1)),
        (0, 1.01, "float", (0, 1.01)),
        (0, 255, "float", (0, 255)),
        (-1, 1, "float", (-1, 1)),
    ],
)
def test_ranges(least: float, most: float, kind: str, want: tuple[float, float]) -> None:
    assert survey.range_of(least, most, kind) == want


@pytest.mark.parametrize(
    ("dtype", "first", "second", "want"),
    [
        (np.int32, (-1000, 1000), (-1000, 3000), [(0, 128), (0, 255)]),  # 2000 of 4000: 127.5
        (np.int32, (0, 1000), (-1, 999), [(0, 255), (0, 255)]),  # -1 to 1000: 0 is at 0.25, 999 at 254.75
        (np.float32, (0, 1.01), (0, 1), [(0, 255), (0, 252)]),  # 255 / 1.01 = 252.5
        (np.uint16, (0, 4095), (0, 2047), [(0, 255), (0, 127)]),  # 12 bits in files of 16
    ],
)
def test_one_range_for_all_files_of_a_set(
    tmp_path: Path,
    dtype: type,
    first: tuple[float, float],
    second: tuple[float, float],
    want: list[tuple[int, int]],
) -> None:
    ending = "png" if dtype is np.uint16 else "tif"
    for name, ends in (("a", first), ("b", second)):
        save(tmp_path / "set" / f"{name}.{ending}", np.linspace(*ends, 16).reshape(4, 4), dtype)
    found = read(tmp_path / "set")
    assert [(min(x), max(x)) for x in found] == want
    assert all(np.unique(x).size == 16 for x in found)
    report = prepare(str(tmp_path / "set"), tmp_path / "out", progress=False)
    source = TFDS(None, tmp_path / "out", "train", 4, 1)
    assert sorted(source[i]["real"].ravel().tolist() for i in range(2)) == sorted(found)
    opened = ImageFolder(tmp_path / "set", 4, 1)
    assert report.remarks == opened.remarks
    assert "2 of more than 8 bits, values" in opened.remarks[0]
    assert dict(source.domain) == dict(opened.domain)  # stored with it
    assert source.domain["ranges"].keys() == {"real"}


def test_a_range_that_is_given(tmp_path: Path) -> None:
    save(tmp_path / "set" / "a.png", RAMP * 100, np.uint16)
    save(tmp_path / "set" / "b.png", RAMP, np.uint8)
    assert read(tmp_path / "set", span=(0, 1500)) == [[17 * i for i in range(16)], list(range(16))]
    assert read(tmp_path / "set", span=(100, 400))[0] == [0, 0, 85, 170, *[255] * 12]
    data = FolderData(path=str(tmp_path / "set"), resolution=4, channels=1, range=[100, 400])
    said = data.open().remarks[0]
    assert said.endswith("of 2 images 1 of more than 8 bits, values 100 to 400, those outside clipped in 1")
    report = prepare(str(tmp_path / "set"), tmp_path / "out", span=(0, 1500), progress=False)
    assert json.loads((report.directory / "images.json").read_text()) == {"ranges": {"real": [0, 1500]}}
    for wrong in ([1], [2, 1], [1, 1], [0, 1, 2], [0, float("nan")], [0, float("inf")]):
        with pytest.raises(ValueError, match=r"give two numbers|finite"):
            FolderData(path="x", resolution=4, range=wrong)
    with pytest.raises(InputError, match="the range is 3 to 1"):
        prepare(str(tmp_path / "set"), tmp_path / "other", span=(3, 1), progress=False)
    (report.directory / "images.json").write_text("{")
    with pytest.raises(InputError, match=r"images\.json cannot be read"):
        _ = TFDS(None, report.directory).domain


def test_whole_numbers_and_others_have_no_range_in_common(tmp_path: Path) -> None:
    save(tmp_path / "set" / "a.png", RAMP * 4000, np.uint16)
    save(tmp_path / "set" / "b.tif", RAMP / 16, np.float32)
    with pytest.raises(
        InputError, match=r"a\.png holds whole numbers .*b\.tif floating-point ones.*give one"
    ):
        ImageFolder(tmp_path / "set", 4, 1)
    assert len(ImageFolder(tmp_path / "set", 4, 1, span=(0, 65535))) == 2


def test_each_folder_of_a_pair_has_its_range(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "images", tmp_path / "inputs"
    save(ours / "a.png", RAMP * 4369, np.uint16)  # 16 bits
    save(theirs / "a.png", RAMP * 273, np.uint16)  # 12 bits
    levels = [17 * i for i in range(16)]
    for source, other in ((Pairs(ours, theirs, 4, 1), "input"), (Unpaired(ours, theirs, 4, 1), "other")):
        assert source[0]["real"].ravel().tolist() == source[0][other].ravel().tolist() == levels
        assert domains.of(source) == Images(ranges={"real": (0, 65535), other: (0, 4095)})
        assert pickle.loads(pickle.dumps(source))[0][other].ravel().tolist() == levels
    for folder in (ours, theirs):
        save(folder / "b.png", RAMP * 273, np.uint16)
    hidden = HiddenPairs(Pairs(ours, theirs, 4, 1))
    assert domains.of(hidden) == Images(ranges={"real": (0, 65535), "other": (0, 4095)})
    assert hidden[0]["other"].ravel().tolist() == levels
    (theirs / "b.png").unlink()
    (theirs / "a.txt").write_text("a ramp")
    assert Captions(theirs, 4, 1)[0]["real"].ravel().tolist() == levels


def test_a_domain_says_nothing_of_ranges_where_there_are_none() -> None:
    assert Images().model_dump(mode="json") == {"domain": "image"}
    said = {"domain": "image", "ranges": {"real": [0.0, 4095.0]}}
    assert domains.described(said).model_dump(mode="json") == said
    with pytest.raises(InputError, match="ranges"):
        domains.described({"domain": "image", "ranges": {"real": [1]}})


def test_single_files_are_read_by_the_range_of_the_run(tmp_path: Path) -> None:
    file = save(tmp_path / "a.png", RAMP * 100, np.uint16)
    field = ImageFolder(tmp_path, 4, 1).fields["real"]
    of_run = Images(ranges={"input": (0, 3000)})
    assert of_run.reader("input", field, [file]).read(file).max() == 128  # 1500 of 3000
    reader = Images().reader("input", field, [file])
    assert reader.read(file).max() == 93  # 1500 of 4095
    assert reader.remarks == ["of 1 images 1 of more than 8 bits, values 0 to 4095"]


@pytest.mark.parametrize(
    ("mode", "ending", "grey"),
    [
        *[("1", "png", True), ("L", "png", True), ("LA", "png", True), ("I;16", "png", True)],
        *[("F", "tif", True), ("I", "tif", True), ("P", "png", False), ("RGB", "png", False)],
        *[("RGBA", "png", False), ("CMYK", "tif", False)],
    ],
)
def test_one_list_of_what_is_grey(tmp_path: Path, mode: str, ending: str, grey: bool) -> None:
    """For `prepare` and for `evaluate`."""
    (tmp_path / "set").mkdir()
    Image.new(mode, (4, 4)).save(tmp_path / "set" / f"a.{ending}")
    want = 1 if grey else 3
    assert prepare(str(tmp_path / "set"), tmp_path / "out", progress=False).channels == want
    source = as_they_are(lambda r, c: ImageFolder(tmp_path / "set", r, c))
    assert source.fields["real"].shape == (4, 4, want)
    assert as_they_are(lambda r, c: TFDS(None, tmp_path / "out", "train", r, c)).channels == want


def test_conversions_are_counted(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4)).save(tmp_path / "a.png")
    Image.new("LA", (4, 4)).save(tmp_path / "b.png")
    Image.new("P", (4, 4)).save(tmp_path / "c.png", transparency=0)
    Image.new("CMYK", (4, 4)).save(tmp_path / "d.jpg")
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    frames[0].save(tmp_path / "e.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (4, 5)).save(tmp_path / "f.jpg")
    Image.new("RGB", (4, 4)).save(tmp_path / "g.png", icc_profile=b"none")
    (said,) = ImageFolder(tmp_path, 4, 3).remarks
    assert said.startswith(f"{tmp_path}: of 7 images ")
    assert said.partition("images ")[2].split("; ") == [
        "1 cropped to their central square",
        "1 with a colour profile that cannot be used",
        "3 with transparency, laid on white",
        "1 from CMYK",
        "1 animated, of which the first frame counts",
    ]


@pytest.mark.parametrize("cut", [20, 60])
def test_damage_is_found_in_the_pixels(tmp_path: Path, cut: int) -> None:
    """A header that is whole does not do, unless headers alone are asked for."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64))
    for name in "ab":
        save(tmp_path / f"{name}.png", noise, np.uint8)
    whole = (tmp_path / "b.png").read_bytes()
    (tmp_path / "b.png").write_bytes(whole[: -len(whole) * cut // 100])
    files = [tmp_path / f"{name}.png" for name in "ab"]
    assert list(survey.survey(files).unreadable) == [1]
    assert survey.survey(files, whole=False).unreadable == {}


def test_values_that_are_not_finite_are_unreadable(tmp_path: Path) -> None:
    save(tmp_path / "a.tif", np.full((4, 4), np.nan), np.float32)
    save(tmp_path / "b.tif", np.ones((4, 4)), np.float32)
    found = survey.survey([tmp_path / "a.tif", tmp_path / "b.tif"])
    assert found.unreadable == {0: "an image holds values that are not finite"}
    assert (found.count, found.span) == (1, (0, 1))


def test_what_is_known_of_files_is_forgotten_as_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files that nobody changed of late are decoded once a process; any change of them is seen."""
    monkeypatch.setenv("JAXGAN_CACHE", "off")
    path = save(tmp_path / "a.png", RAMP, np.uint8)
    looked = Counter()
    look = survey._look

    def counting(path: Path, whole: bool):
        looked[path.name] += 1
        return look(path, whole)

    monkeypatch.setattr(survey, "_look", counting)
    for _ in range(2):
        assert not survey.survey([path]).unreadable
    assert looked["a.png"] == 2  # just made: it may change within the same tick of the clock
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    for _ in range(2):
        assert not survey.survey([path]).unreadable
    assert looked["a.png"] == 3
    before = path.stat()
    path.write_bytes(bytes(before.st_size))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # of the same size and time
    assert survey.survey([path]).unreadable


def test_bytes_of_8_bits_and_of_full_16_stay_as_they_were(tmp_path: Path) -> None:
    """The formulas that all versions had: v of 8 bits, v / 257 of 16."""
    rng = np.random.default_rng(0)
    shallow, deep = rng.integers(0, 256, (4, 4)), rng.integers(0, 65536, (4, 4))
    deep[0, 0] = 65535
    save(tmp_path / "set" / "a.png", shallow, np.uint8)
    save(tmp_path / "set" / "b.png", deep, np.uint16)
    assert read(tmp_path / "set") == [
        shallow.ravel().tolist(),
        np.rint(deep / 257).astype(int).ravel().tolist(),
    ]
    assert images.FULL["whole"] == (0, 65535)


@pytest.mark.parametrize(("ending", "exif"), [("png", b"MM\0*\0\0"), ("webp", b"xx")])
def test_what_cannot_be_converted_is_found_before_it_is_read(
    tmp_path: Path, ending: str, exif: bytes
) -> None:
    """Pixels that decode do not do: reading turns images upright, too."""
    Image.new("RGB", (4, 4)).save(tmp_path / f"a.{ending}", exif=exif)
    Image.new("RGB", (4, 4)).save(tmp_path / f"b.{ending}")
    with pytest.raises(InputError, match=rf"a\.{ending}: cannot be read"):
        images.read(tmp_path / f"a.{ending}", 4, 3)
    source = ImageFolder(tmp_path, 4, 3)
    assert source.files == [f"b.{ending}"]
    assert source[0]["real"].shape == (4, 4, 3)


def deep_tfds(place: Path, values: np.ndarray) -> Path:
    """A data set of one image of 16 bits, prepared by TFDS."""
    tfds = arrayrecord.tfds()
    file = save(place / "x.png", values, np.uint16)

    class Deep(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version("1.0.0")
        name = "deep"
        pkg_dir_path = place

        def _info(self):
            image = tfds.features.Image(shape=(4, 4, 1), dtype=np.uint16, encoding_format="png")
            features = tfds.features.FeaturesDict({"image": image})
            return self.dataset_info_from_configs(features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            yield 0, {"image": file}

    builder = Deep(data_dir=place, file_format="array_record")
    with arrayrecord.silence():
        builder.download_and_prepare()
    return Path(builder.data_dir)


def test_deep_images_that_tfds_prepared_name_their_range(tmp_path: Path) -> None:
    """What runs on them translate is read as they are."""
    source = TFDS(None, deep_tfds(tmp_path, RAMP * 273), resolution=4)
    of_run = domains.of(source)
    assert of_run == Images(ranges={"real": images.FULL["whole"]})
    file = save(tmp_path / "a.png", RAMP * 273, np.uint16)
    field = source.fields["real"]
    np.testing.assert_array_equal(
        of_run.reader("real", field, [file]).read(file), np.rint(RAMP * 273 / 257)[..., None]
    )
    np.testing.assert_array_equal(source[0]["real"], np.rint(RAMP * 273 / 257)[..., None])
    save(tmp_path / "set" / "a.png", RAMP, np.uint8)
    prepare(str(tmp_path / "set"), tmp_path / "out", progress=False)
    assert domains.of(TFDS(None, tmp_path / "out", resolution=4)) == Images()


def test_prepared_data_keeps_its_range(tmp_path: Path) -> None:
    save(tmp_path / "set" / "a.png", RAMP * 273, np.uint16)
    prepare(str(tmp_path / "set"), tmp_path / "out", progress=False)
    for span in (None, (0, 4095)):
        source = TFDS(None, tmp_path / "out", resolution=4, span=span)
        assert source.domain["ranges"] == {"real": [0, 4095]}
    with pytest.raises(InputError, match=r"out: these were prepared .* 0 and 4095; leave out the range"):
        TFDSData(directory=str(tmp_path / "out"), resolution=4, channels=1, range=[0, 65535]).open()


def test_what_lies_beside_splits_is_counted(tmp_path: Path) -> None:
    for name in ("train/a.png", "test/a.png", "loose.png", "notes.txt", ".hidden", "Thumbs.db"):
        file = save(tmp_path / "a.png", RAMP, np.uint8)
        (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
        file.rename(tmp_path / "s" / name)
    report = prepare(str(tmp_path / "s"), tmp_path / "out", progress=False)
    assert report.counts == {"train": 1, "test": 1}
    assert report.remarks == (
        f"{tmp_path / 's'}: 4 files left out: 1 hidden, 1 of the system, 2 beside the splits",
    )


@pytest.mark.parametrize("resolution", [None, 4])
def test_images_that_are_no_files_are_counted(tmp_path: Path, resolution: int | None) -> None:
    (tmp_path / "w").mkdir()
    os.mkfifo(tmp_path / "w" / "a.png")
    with pytest.raises(
        InputError, match=r"w: none of its 1 images can be read \(a\.png: not a regular file\)"
    ):
        prepare(str(tmp_path / "w"), tmp_path / "out", resolution=resolution, progress=False)


def test_files_of_both_kinds_each_have_a_range_where_they_are_no_set(tmp_path: Path) -> None:
    """As those to be translated, which nobody can give a range."""
    whole = save(tmp_path / "a.png", RAMP * 273, np.uint16)
    floating = save(tmp_path / "b.tif", RAMP / 15, np.float32)
    shallow = save(tmp_path / "c.png", RAMP * 17, np.uint8)
    reader = Images().reader("input", Field((4, 4, 1), "uint8"), [whole, floating, shallow])
    for file in (whole, floating, shallow):
        np.testing.assert_array_equal(reader.read(file)[..., 0], RAMP * 17)
    assert reader.remarks == [
        "of 3 images 1 of more than 8 bits, values 0 to 4095; 1 of more than 8 bits, values 0 to 1"
    ]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Path], Counter[str]]:
    """Files that nobody changed of late, and how often each is looked at by processes that share a cache on disk."""
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "SECONDS", -1.0)  # however short it took
    monkeypatch.setattr(known, "_KEPT", {})
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    looked = Counter()
    look = survey._look

    def counting(path: Path, whole: bool):
        looked[path.name] += 1
        return look(path, whole)

    monkeypatch.setattr(survey, "_look", counting)
    files = [save(tmp_path / "a.png", RAMP * 273, np.uint16), save(tmp_path / "b.png", RAMP, np.uint8)]
    files.append(tmp_path / "c.png")
    files[2].write_text("no image")
    Image.new("CMYK", (6, 4)).save(tmp_path / "d.jpg")
    return [*files, tmp_path / "d.jpg"], looked


def again(files: list[Path]) -> survey.Survey:
    """As another process sees them."""
    known._KEPT.clear()
    return survey.survey(files)


def test_what_images_are_is_kept_for_the_next_process(kept, tmp_path: Path, monkeypatch) -> None:
    """But for those that could not be read, of which the disk may have been to blame."""
    files, looked = kept
    first = again(files)
    assert first.unreadable == {2: "not an image that Pillow can read"}
    assert (first.ranges, first.sizes, first.grey) == ({0: (0, 4095)}, {(4, 4): 0, (6, 4): 3}, False)
    assert again(files) == first
    assert looked == {"a.png": 1, "b.png": 1, "c.png": 2, "d.jpg": 1}
    (file,) = (tmp_path / "cache" / "images").iterdir()
    whole = json.loads(file.read_text())
    damage = [
        "",
        file.read_text()[:-20],
        "[]",
        "{}",
        json.dumps({**whole, "sizes": []}),
        json.dumps({**whole, "values": [[4, "whole", 0.0, 1.0]]}),
        json.dumps({**whole, "values": [[0, "other", 0.0, 1.0]]}),
        json.dumps({**whole, "unreadable": [[2, "another reason"]]}),
    ]
    for i, text in enumerate(damage):
        file.write_text(text)
        assert again(files) == first
        assert looked["a.png"] == 2 + i
        assert json.loads(file.read_text()) == whole
    monkeypatch.setenv("JAXGAN_CACHE", "off")
    assert again(files) == first
    assert looked["a.png"] == 2 + len(damage)
    monkeypatch.setenv("JAXGAN_CACHE", str(files[1] / "below"))  # cannot be made
    assert again(files) == first


def test_few_sets_are_kept_and_none_that_change(kept, tmp_path: Path, monkeypatch) -> None:
    files, looked = kept
    monkeypatch.setattr(known, "MOST", 2)
    for count in (1, 2, 1, 4):
        again(files[:count])
        time.sleep(0.01)  # the next is newer
    assert looked["a.png"] == 3
    assert len(list((tmp_path / "cache" / "images").iterdir())) == 2
    again(files[:1])  # used last but one
    assert looked["a.png"] == 3
    for path in files:
        os.utime(path, (time.time() + 1e6, time.time() + 1e6))  # of a clock that is ahead
    for _ in range(2):
        again(files)
    assert looked["a.png"] == 4
    save(files[1], RAMP + 1, np.uint8)
    again(files)
    assert looked["a.png"] == 5
