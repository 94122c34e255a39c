"""Preparation into ArrayRecord, read back without TensorFlow; what it reports, refuses and leaves behind."""

import importlib
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import TFDS, ImageFolder, Source, arrayrecord, batches, indices, load, prepare
from jaxgan.errors import InputError, RunError

ROOT = Path(__file__).parents[1]


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of seven colour images, 6x6, each with pixels of its own."""
    for label, name in enumerate(["ape", "bee"]):
        for i in range(7):
            save(tmp_path / "photos" / name / f"{i}.png", random(6, 6, 3, seed=100 * label + i))
    return tmp_path / "photos"


def contents(source: Source) -> list[tuple[bytes, int]]:
    return sorted((source[i]["real"].tobytes(), int(source[i]["label"])) for i in range(len(source)))


def run(code: str, **environment: str) -> str:
    """What a fresh Python prints; it fails if TensorFlow was imported, or anything was said on stderr."""
    code += "\nimport sys; assert 'tensorflow' not in sys.modules"
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_folder_reads_back_exactly_in_a_silent_process(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    report = prepare(str(photos), out)
    assert capfd.readouterr() == ("", "")  # stderr is no terminal here: no bar either
    assert report.directory == out
    assert report.counts == {"train": 14}
    assert report.classes == ("ape", "bee")
    assert (report.resolution, report.channels) == (6, 3)
    assert report.unreadable == ()
    assert [p.name for p in out.parent.iterdir()] == ["out"]  # nothing else is left there
    printed = run(
        "import base64, json\n"
        "from jaxgan.data import TFDS\n"
        f"s = TFDS(None, {str(out)!r}, 'train', 6, 3)\n"
        "print(json.dumps([[base64.b16encode(s[i]['real'].tobytes()).decode(), int(s[i]['label'])]"
        " for i in range(len(s))]))"
    )
    found = sorted((bytes.fromhex(pixels), label) for pixels, label in json.loads(printed))
    assert found == contents(ImageFolder(photos, 6, 3))


def test_two_preparations_are_the_same_bytes(photos: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepare(str(photos), tmp_path / name, name="same", progress=False)
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == sorted(p.name for p in (tmp_path / "b").iterdir())
    shard = next(f for f in files if "array_record" in f)
    first, second = (TFDS(None, tmp_path / name, "train", 6, 3) for name in ("a", "b"))
    assert (tmp_path / "a" / shard).read_bytes() == (tmp_path / "b" / shard).read_bytes()
    assert [first[i]["real"].tobytes() for i in range(14)] == [second[i]["real"].tobytes() for i in range(14)]
    assert first.fingerprint == second.fingerprint


def test_a_prepared_set_is_a_source(photos: Path, tmp_path: Path) -> None:
    prepare(str(photos), tmp_path / "out", name="zoo", progress=False)
    source = TFDS(None, tmp_path / "out", "train", 6, 3)
    assert isinstance(source, Source)
    assert isinstance(source[0]["label"], np.int32)
    assert np.array_equal(source[-1]["real"], source[13]["real"])
    with pytest.raises(IndexError):
        source[14]
    again = pickle.loads(pickle.dumps(source))  # after reading: the open files stay behind
    assert np.array_equal(again[5]["real"], source[5]["real"])
    whole = load(source, progress=False)
    for workers in (0, 1):
        (batch,) = batches(source, 4, 3, 4, 1, 6, slice(None), workers)
        assert np.array_equal(batch["real"][0], whole["real"][indices(4, 14, 18, 6)])
    part = TFDS(None, tmp_path / "out", "train[:50%]", 6, 3)
    assert len(part) == 7
    assert part.fingerprint != source.fingerprint
    small = TFDS(None, tmp_path / "out", "train", 3, 1)[0]
    assert small["real"].shape == (3, 3, 1)
    assert TFDS(None, tmp_path, "train", 6, 3).directory == tmp_path / "out"  # the only one below
    with pytest.raises(InputError, match=r"no split 'test'; it has train"):
        TFDS(None, tmp_path / "out", "test", 6, 3)


def test_splits_share_one_list_of_classes(tmp_path: Path) -> None:
    for split, names in {"train": ["b", "c"], "test": ["a", "c"], "val": ["b"]}.items():
        for name in names:
            save(tmp_path / "data" / split / name / "x.png", np.full((4, 4), 10 * ord(name) % 256, np.uint8))
    report = prepare(str(tmp_path / "data"), tmp_path / "out", progress=False)
    assert report.counts == {"train": 2, "test": 2, "validation": 1}
    assert report.classes == ("a", "b", "c")
    assert report.channels == 1
    for split in report.counts:
        source = TFDS(None, tmp_path / "out", split, 4, 1)
        assert source.classes == ("a", "b", "c")
        for i in range(len(source)):
            assert source[i]["real"][0, 0, 0] == 10 * ord("abc"[source[i]["label"]]) % 256


def test_an_unlabelled_folder(tmp_path: Path) -> None:
    for i in range(4):
        save(tmp_path / "flat" / f"{i}.png", random(5, 8, seed=i))
    report = prepare(str(tmp_path / "flat"), tmp_path / "out", progress=False)
    assert report.classes == ()
    source = TFDS(None, tmp_path / "out", "train", 5, 1)
    assert source.classes == ()
    assert contents(source) == contents(ImageFolder(tmp_path / "flat", 5, 1))


def test_mixed_sizes_need_a_resolution(photos: Path, tmp_path: Path) -> None:
    save(photos / "bee" / "wide.png", random(9, 20, 3))
    with pytest.raises(InputError, match=r"mixed sizes .*6 .*wide\.png 9.*--resolution"):
        prepare(str(photos), tmp_path / "out", progress=False)
    report = prepare(str(photos), tmp_path / "out", resolution=5, channels=1, progress=False)
    assert (report.resolution, report.channels) == (5, 1)
    assert contents(TFDS(None, tmp_path / "out", "train", 5, 1)) == contents(ImageFolder(photos, 5, 1))


def test_sixteen_bit_and_palette_images(tmp_path: Path) -> None:
    deep = np.array([[0, 65535], [257, 32896]], np.uint16)
    save(tmp_path / "flat" / "deep.png", deep)
    report = prepare(str(tmp_path / "flat"), tmp_path / "out", progress=False)
    assert report.channels == 1
    assert TFDS(None, tmp_path / "out", "train", 2, 1)[0]["real"][..., 0].tolist() == [[0, 255], [1, 128]]


def test_unreadable_files_are_named_and_left_out(photos: Path, tmp_path: Path) -> None:
    whole = (photos / "ape" / "2.png").read_bytes()
    (photos / "ape" / "2.png").write_bytes(whole[: len(whole) // 2])
    (photos / "bee" / "text.jpg").write_text("no image")
    report = prepare(str(photos), tmp_path / "out", progress=False)
    assert report.counts == {"train": 13}
    names = [Path(file).relative_to(photos).as_posix() for file, _ in report.unreadable]
    assert names == ["ape/2.png", "bee/text.jpg"]
    assert "not an image" in report.unreadable[1][1]
    assert all(str(photos) not in why and "\n" not in why for _, why in report.unreadable)


@pytest.mark.parametrize("resolution", [None, 4])
def test_only_unreadable_files(tmp_path: Path, resolution: int | None) -> None:
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "a.png").write_text("no image")
    with pytest.raises(InputError, match=r"flat: none of its 1 .*can be read.*nothing was written"):
        prepare(
            str(tmp_path / "flat"),
            tmp_path / "out",
            resolution=resolution,
            channels=resolution and 1,
            progress=False,
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["flat"]


def write_idx(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    head = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    path.write_bytes(head + array.tobytes())


def test_idx_files(tmp_path: Path) -> None:
    for split, count in (("train", 20), ("t10k", 6)):
        write_idx(tmp_path / "mnist" / f"{split}-images-idx3-ubyte", random(count, 7, 7, seed=count))
        write_idx(tmp_path / "mnist" / f"{split}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 4)
    report = prepare(str(tmp_path / "mnist"), tmp_path / "out", progress=False)
    assert report.counts == {"train": 20, "test": 6}
    assert report.classes == ("0", "1", "2", "3")
    assert (report.resolution, report.channels) == (7, 1)
    for split, count in (("train", 20), ("test", 6)):
        pixels = random(count, 7, 7, seed=count)
        want = sorted((pixels[i].tobytes(), i % 4) for i in range(count))
        assert contents(TFDS(None, tmp_path / "out", split, 7, 1)) == want


def test_a_finished_set_is_never_overwritten(photos: Path, tmp_path: Path) -> None:
    prepare(str(photos), tmp_path / "out", progress=False)
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}
    with pytest.raises(InputError, match="already holds a prepared data set"):
        prepare(str(photos), tmp_path / "out", progress=False)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before
    (tmp_path / "busy").mkdir()
    (tmp_path / "busy" / "mine.txt").touch()
    with pytest.raises(InputError, match="is not empty"):
        prepare(str(photos), tmp_path / "busy", progress=False)
    with pytest.raises(InputError, match="is a file"):
        prepare(str(photos), tmp_path / "busy" / "mine.txt", progress=False)
    with pytest.raises(InputError, match="cannot write"):
        prepare(str(photos), tmp_path / "busy" / "mine.txt" / "below", progress=False)
    (tmp_path / "made").mkdir()
    assert prepare(str(photos), tmp_path / "made", progress=False).counts == {"train": 14}


def test_a_failure_leaves_nothing(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(arrayrecord, "write", full)
    with pytest.raises(RunError, match=r"cannot write .*/out: No space left"):
        prepare(str(photos), tmp_path / "out", progress=False)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["photos"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_preparation_does_not_read_as_good(tmp_path: Path, number: int) -> None:
    """Stopped among the examples; after SIGKILL only a hidden folder is left, and the next try works."""
    for i in range(40):
        save(tmp_path / "flat" / f"{i:02d}.png", random(4, 4, seed=i))
    code = (
        "import os, signal, time\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "from jaxgan.data import images, prepare\n"
        "read = images.read\n"
        "def slow(path, *rest):\n"
        "    if path.name == '30.png':\n"
        "        os.write(1, b'half\\n')\n"
        f"        while not os.path.exists({str(tmp_path / 'go')!r}): time.sleep(0.05)\n"
        "    return read(path, *rest)\n"
        "images.read = slow\n"
        f"prepare({str(tmp_path / 'flat')!r}, {str(tmp_path / 'out')!r}, progress=False)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        time.sleep(0.2)
        process.send_signal(number)
        (tmp_path / "go").touch()
        process.communicate()
    assert process.returncode != 0
    left = [p.name for p in tmp_path.iterdir() if p.name not in ("flat", "go")]
    assert left == [] if number == signal.SIGINT else all(name.startswith(".out.preparing-") for name in left)
    with pytest.raises(InputError, match=r"no such folder"):
        TFDS(None, tmp_path / "out")
    assert prepare(str(tmp_path / "flat"), tmp_path / "out", progress=False).counts == {"train": 40}


def test_damaged_prepared_sets_say_so(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    prepare(str(photos), out, name="zoo", progress=False)
    shard = next(out.glob("*.array_record*"))
    whole = shard.read_bytes()
    shard.write_bytes(whole[:1000] + bytes(1000) + whole[2000:])
    source = TFDS(None, out, "train", 6, 3)
    with pytest.raises(InputError, match=r"example \d+ of split 'train' .*prepare the data set again"):
        load(source, progress=False)
    shard.unlink()
    with pytest.raises(InputError, match=r"array_record-00000-of-00001: .*missing"):
        TFDS(None, out, "train", 6, 3)
    shard.write_bytes(whole)
    info = json.loads((out / "dataset_info.json").read_text())
    (out / "dataset_info.json").write_text(json.dumps({**info, "fileFormat": "tfrecord"}))
    with pytest.raises(InputError, match=r"its files are tfrecord, which only TensorFlow reads"):
        TFDS(None, out, "train", 6, 3)
    (out / "dataset_info.json").write_text("{")
    with pytest.raises(InputError, match=r"out: its description cannot be read"):
        TFDS(None, out, "train", 6, 3)


def test_bad_sources(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="missing: no such folder"):
        prepare(str(tmp_path / "missing"), tmp_path / "out")
    with pytest.raises(InputError, match="channels is 2"):
        prepare(str(photos), tmp_path / "out", channels=2)
    with pytest.raises(InputError, match="resolution is 0"):
        prepare(str(photos), tmp_path / "out", resolution=0)
    with pytest.raises(InputError, match="name 'Zoo!'"):
        prepare(str(photos), tmp_path / "out", name="Zoo!")
    with pytest.raises(InputError, match="TFDS keeps its own sizes"):
        prepare("tfds:mnist", tmp_path / "out", resolution=32)
    with pytest.raises(InputError, match="tfds:nonesuch: TFDS has no such data set"):
        prepare("tfds:nonesuch", tmp_path / "out")
    save(tmp_path / "odd" / "train" / "a" / "1.png", random(4, 4))
    save(tmp_path / "odd" / "test" / "1.png", random(4, 4))
    with pytest.raises(InputError, match="make them alike"):
        prepare(str(tmp_path / "odd"), tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_tfds_preparation_that_needs_tensorflow_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A builder that yields arrays, as most of TFDS's own do, needs TensorFlow to encode them."""
    tfds = arrayrecord.tfds()

    class NeedsTensorflow(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = tmp_path

        def _info(self) -> Any:
            features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=(4, 4, 1))})
            return self.dataset_info_from_configs(features=features)

        def _split_generators(self, dl_manager: Any) -> Any:
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Any:
            yield 0, {"image": np.zeros((4, 4, 1), np.uint8)}

    try:
        importlib.import_module("tensorflow")
    except ImportError:
        pass
    else:
        pytest.skip("TensorFlow is installed")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    with pytest.raises(InputError, match=r"needs TensorFlow; install jaxgan\[tensorflow\]") as caught:
        prepare("tfds:needs_tensorflow", tmp_path / "out", progress=False)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_tfds_preparation_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tfds = arrayrecord.tfds()
    save(tmp_path / "x.png", random(4, 4, 3))

    class NeedsNothing(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = tmp_path

        def _info(self) -> Any:
            features = {
                "picture": tfds.features.Image(),
                "id": np.int64,
                "kind": tfds.features.ClassLabel(num_classes=3),
            }
            return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: Any) -> Any:
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Any:
            yield "x", {"picture": tmp_path / "x.png", "id": 7, "kind": 2}

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    report = prepare("tfds:needs_nothing", tmp_path / "out", progress=False)
    assert report.counts == {"train": 1}
    assert report.classes == ("0", "1", "2")
    source = TFDS(None, tmp_path / "out", "train", 4, 3)
    assert np.array_equal(source[0]["real"], random(4, 4, 3))
    assert source[0]["label"] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_file_names_need_not_be_text(tmp_path: Path) -> None:
    save(tmp_path / "flat" / "good.png", random(4, 4))
    folder = os.fsencode(tmp_path / "flat")
    os.link(tmp_path / "flat" / "good.png", folder + b"/\xff.png")
    Path(os.fsdecode(folder + b"/\xfe.png")).write_text("no image")
    report = prepare(str(tmp_path / "flat"), tmp_path / "out", progress=False)
    assert report.counts == {"train": 2}
    assert report.unreadable[0][0].encode().endswith(b"\\udcfe.png")  # can be printed anywhere
