"""Folders for translation and text to image: what they hold, and every way in which they can be wrong."""

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import Captions, HiddenPairs, Pairs, Source, Unpaired, batches, images, load, text
from jaxgan.data.order import of_sides
from jaxgan.data.sources import CaptionsData, PairsData, UnpairedData, sides_of
from jaxgan.errors import InputError


def save(path: Path, value: int, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, value).save(path)


def random(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def pairs(tmp_path: Path) -> tuple[Path, Path]:
    """Images of value v and inputs of value v + 100, in two classes; endings differ."""
    for i in range(6):
        stem = f"{'ab'[i % 2]}/{i}"
        save(tmp_path / "images" / f"{stem}.png", i)
        save(tmp_path / "inputs" / f"{stem}.bmp", i + 100)
    return tmp_path / "images", tmp_path / "inputs"


def refused(match: str, make, *arguments, **more) -> None:
    """Opening or reading all of it raises what matches."""
    with pytest.raises(InputError, match=match) as caught:
        list(make(*arguments, **more))
    assert "\n" not in str(caught.value)


# Pairs


def test_pairs_meet_by_their_relative_stem(pairs: tuple[Path, Path]) -> None:
    source = Pairs(*pairs, 4, 3, input_channels=1)
    assert isinstance(source, Source)
    assert len(source) == 6
    assert source.classes == ("a", "b")
    assert {n: f.shape for n, f in source.fields.items()} == {
        "real": (4, 4, 3),
        "label": (),
        "input": (4, 4, 1),
    }
    for i in range(6):
        example = source[i]
        assert example.keys() == source.fields.keys()
        for name, field in source.fields.items():
            assert (example[name].shape, str(example[name].dtype)) == field
        value = int(example["real"][0, 0, 0])
        assert (example["input"] == value + 100).all()
        assert example["label"] == value % 2


def test_inputs_of_another_resolution(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", 1, (8, 8))
    save(tmp_path / "inputs" / "a.png", 2, (4, 4))
    folders = tmp_path / "images", tmp_path / "inputs"
    assert Pairs(*folders, 8, 1, input_resolution=4)[0]["input"].shape == (4, 4, 1)
    refused(r"inputs/a\.png: is 4x4 pixels, but its partner .*images/a\.png 8x8", Pairs, *folders, 8, 1)
    save(tmp_path / "inputs" / "a.png", 2, (4, 6))
    refused(r"inputs/a\.png: is 4x6 pixels", Pairs, *folders, 8, 1, input_resolution=4)


@pytest.mark.parametrize("direction", ["left-to-right", "right-to-left"])
def test_side_by_side(tmp_path: Path, direction) -> None:
    left, right = random(5, 5, 3, seed=1), random(5, 5, 3, seed=2)
    Image.fromarray(np.hstack([left, right])).save(tmp_path / "both.png")
    given, image = (left, right) if direction == "left-to-right" else (right, left)
    source = Pairs(tmp_path, None, 5, 3, direction=direction)
    assert np.array_equal(source[0]["real"], image)
    assert np.array_equal(source[0]["input"], given)
    sized = Pairs(tmp_path, None, 5, 3, 2, 1, direction)[0]
    assert np.array_equal(sized["real"], image)
    assert np.array_equal(sized["input"], images.to_array(Image.fromarray(given), 2, 1))


def test_halves_that_are_not_square_are_cropped_alike(tmp_path: Path) -> None:
    half = np.tile(np.arange(6, dtype=np.uint8)[:, None], (1, 4))  # 6 rows of 4: rows 1 to 4 are the centre
    Image.fromarray(np.hstack([half, half + 100])).save(tmp_path / "both.png")
    example = Pairs(tmp_path, None, 4, 1)[0]
    assert example["input"][:, 0, 0].tolist() == [1, 2, 3, 4]
    assert (example["real"] == example["input"] + 100).all()


def test_bad_pairs(pairs: tuple[Path, Path], tmp_path: Path) -> None:
    ours, theirs = pairs
    refused(r"missing: no such folder", Pairs, ours, tmp_path / "missing", 4, 1)
    (tmp_path / "empty").mkdir()
    refused(r"empty: holds no images", Pairs, ours, tmp_path / "empty", 4, 1)
    refused(r"resolution is 0", Pairs, ours, theirs, 0, 1)
    refused(r"channels is 2", Pairs, ours, theirs, 4, 1, None, 2)
    (theirs / "a" / "2.bmp").rename(tmp_path / "2.bmp")
    refused(r"images/a/2\.png: 1 without a partner .*inputs; add or remove", Pairs, ours, theirs, 4, 1)
    save(theirs / "b" / "9.bmp", 0)
    refused(r"images/a/2\.png, .*inputs/b/9\.bmp: 2 without", Pairs, ours, theirs, 4, 1)
    (theirs / "b" / "9.bmp").unlink()
    save(theirs / "a" / "2.bmp", 0, (4, 5))
    refused(r"inputs/a/2\.bmp: is 4x5 pixels, but its partner .*a/2\.png 4x4", Pairs, ours, theirs, 4, 1)
    (theirs / "a" / "2.bmp").write_text("no image")
    refused(r"inputs/a/2\.bmp: not an image", Pairs, ours, theirs, 4, 1, strict=True)
    save(theirs / "a" / "4.png", 0)
    refused(r"inputs: a/4\.\w+ and a/4\.\w+ have one name", Pairs, ours, theirs, 4, 1)
    save(tmp_path / "odd" / "x.png", 0, (5, 4))
    refused(r"x\.png: is 5x4 pixels, which has no two halves", Pairs, tmp_path / "odd", None, 4, 1)


def test_hidden_pairs_give_every_input_once_and_never_the_own(pairs: tuple[Path, Path]) -> None:
    source = HiddenPairs(Pairs(*pairs, 4, 1))
    assert isinstance(source, Source)
    assert source.fields.keys() == {"real", "label", "other"}
    own = [int(source[i]["real"][0, 0, 0]) for i in range(6)]
    others = [int(source[i]["other"][0, 0, 0]) - 100 for i in range(6)]
    assert sorted(others) == sorted(own)
    assert all(a != b for a, b in zip(own, others, strict=True))
    for i in range(6):
        truth = source.truth(i)
        assert np.array_equal(truth["input"], source[i]["other"])
        assert truth["real"][0, 0, 0] == others[i]
    with pytest.raises(IndexError):
        source[6]


def test_what_cannot_be_hidden(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", 1)
    save(tmp_path / "inputs" / "a.png", 1)
    refused("a single pair", HiddenPairs, Pairs(tmp_path / "images", tmp_path / "inputs", 4, 1))
    refused('no "input"', HiddenPairs, Unpaired(tmp_path / "images", tmp_path / "inputs", 4, 1))


# Unpaired


@pytest.mark.parametrize(("ours", "theirs"), [(3, 10), (10, 3), (4, 4)])
def test_an_epoch_sees_all_of_both_folders(tmp_path: Path, ours: int, theirs: int) -> None:
    for i in range(ours):
        save(tmp_path / "images" / f"{i}.png", i)
    for i in range(theirs):
        save(tmp_path / "other" / "sub" / f"{i}.png", i + 100)
    source = Unpaired(tmp_path / "images", tmp_path / "other", 4, 1)
    assert isinstance(source, Source)
    assert len(source) == max(ours, theirs)
    seen = [
        (int(e["real"][0, 0, 0]), int(e["other"][0, 0, 0]) - 100)
        for e in map(source.__getitem__, range(len(source)))
    ]
    assert [a for a, _ in seen] == [i % ours for i in range(len(source))]
    for turn in range(0, len(source), theirs):  # each turn of the other folder is a permutation of it
        part = [b for _, b in seen[turn : turn + theirs]]
        assert len(set(part)) == len(part)
    assert {b for _, b in seen} == set(range(theirs))
    again = pickle.loads(pickle.dumps(source))
    assert [int(again[i]["other"][0, 0, 0]) - 100 for i in range(len(source))] == [b for _, b in seen]
    with pytest.raises(IndexError):
        source[len(source)]


def test_others_do_not_follow_the_names(tmp_path: Path) -> None:
    for i in range(40):
        save(tmp_path / "images" / f"{i:02d}.png", i)
        save(tmp_path / "other" / f"{i:02d}.png", i)
    source = Unpaired(tmp_path / "images", tmp_path / "other", 4, 1)
    same = [source[i]["real"][0, 0, 0] == source[i]["other"][0, 0, 0] for i in range(40)]
    assert sum(same) <= 4  # one on average


def test_bad_unpaired(tmp_path: Path) -> None:
    save(tmp_path / "images" / "a.png", 1)
    refused("other: no such folder", Unpaired, tmp_path / "images", tmp_path / "other", 4, 1)
    (tmp_path / "other").mkdir()
    refused("other: holds no images", Unpaired, tmp_path / "images", tmp_path / "other", 4, 1)
    (tmp_path / "other" / "b.png").write_text("no image")
    refused(
        r"other: none of its 1 images .*b\.png: not an image",
        Unpaired,
        tmp_path / "images",
        tmp_path / "other",
        4,
        1,
    )


# Captions


@pytest.fixture
def captioned(tmp_path: Path) -> Path:
    for i in range(4):
        save(tmp_path / "set" / f"{i}.png", i)
        (tmp_path / "set" / f"{i}.txt").write_text(f" number {i} \nmore on it\n", encoding="utf-8")
    return tmp_path / "set"


def bytes_of(caption: str, length: int) -> list[int]:
    return [*caption.encode(), *[0] * length][:length]


def test_captions_beside_their_images(captioned: Path) -> None:
    source = Captions(captioned, 4, 1, text_length=12)
    assert isinstance(source, Source)
    assert source.fields["text"] == ((12,), "int32")
    for i in range(4):
        assert source[i]["text"].dtype == np.int32
        assert source[i]["text"].tolist() == bytes_of(f"number {i}", 12)
        assert source[i]["real"][0, 0, 0] == i


def test_captions_of_a_list(captioned: Path) -> None:
    lines = [{"file_name": f"{i}.png", "text": f"nombre n° {i}", "more": 1} for i in (2, 0, 3, 1)]
    (captioned / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n", encoding="utf-8")
    source = Captions(captioned, 4, 1)
    assert [text.decode(source[i]["text"]) for i in range(4)] == [f"nombre n° {i}" for i in range(4)]
    before = source.fingerprint
    (captioned / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)).replace("nombre", "chiffre"))
    assert Captions(captioned, 4, 1).fingerprint != before


def test_long_captions_are_cut_between_characters() -> None:
    assert text.encode("aé", 2).tolist() == [97, 0]
    assert text.encode("aé", 3).tolist() == [97, 0xC3, 0xA9]
    assert text.encode("", 2).tolist() == [0, 0]
    assert text.decode(text.encode("ein Käse", 64)) == "ein Käse"
    assert text.decode(text.encode("abc", 3)) == "abc"


def test_bad_captions_beside_their_images(captioned: Path) -> None:
    file = captioned / "2.txt"
    for content, why in [
        (b"", "2.txt: the caption is empty"),
        (b"  \nsecond", "2.txt: the caption is empty"),
        (b"caf\xe9", "2.txt: is not UTF-8"),
        (b"a\0b", "2.txt: the caption holds a zero"),
    ]:
        file.write_bytes(content)
        refused(why, Captions, captioned, 4, 1)
    file.unlink()
    refused(r"2\.png: has no caption; write one into 2\.txt", Captions, captioned, 4, 1)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "line 2 is not JSON"),
        ("[]", "line 2 must be an object"),
        ('{"file_name": "1.png"}', "line 2 must be an object"),
        ('{"file_name": "1.png", "text": 3}', "line 2 must be an object"),
        ('{"file_name": "9.png", "text": "x"}', r"line 2 names 9\.png, which is not an image"),
        ('{"file_name": "../1.png", "text": "x"}', r"line 2 names \.\./1\.png, which is not"),
        ('{"file_name": "0.png", "text": "x"}', r"line 2 names 0\.png a second time"),
        ('{"file_name": "1.png", "text": " "}', r"line 2 \(1\.png\): the caption is empty"),
        ('{"file_name": "1.png", "text": "\\ud800"}', r"line 2 \(1\.png\): the caption is not valid text"),
        ('{"file_name": "1.png", "text": "x"}', r"2\.png: has no caption in metadata\.jsonl"),
        (b"\xff", r"metadata\.jsonl: is not UTF-8"),
    ],
)
def test_bad_lists_of_captions(captioned: Path, line: str | bytes, why: str) -> None:
    first = b'{"file_name": "0.png", "text": "x"}\n'
    (captioned / "metadata.jsonl").write_bytes(first + (line if isinstance(line, bytes) else line.encode()))
    refused(why, Captions, captioned, 4, 1)


# All of them


def test_all_feed_alike_from_memory_threads_and_processes(pairs: tuple[Path, Path], captioned: Path) -> None:
    for source in (Pairs(*pairs, 4, 1, 2), Captions(captioned, 4, 3), HiddenPairs(Pairs(*pairs, 4, 1))):
        whole = load(source, progress=False)
        assert whole.keys() == source.fields.keys()
        (threads,) = batches(source, 7, 1, 2, 1, 4, slice(None), 0)
        wanted = of_sides(7, [(side.length, side.apart) for side in sides_of(source)], 4, 4)
        for side, chosen in zip(sides_of(source), wanted, strict=True):
            for name, field in side.fields.items():
                assert whole[name].shape == (len(source), *field.shape)
                assert threads[name].dtype == whole[name].dtype == field.dtype
                assert np.array_equal(threads[name][0], whole[name][chosen])
    (workers,) = batches(source, 7, 1, 2, 1, 4, slice(None), 1)
    assert all(np.array_equal(workers[name], threads[name]) for name in source.fields)


def test_configurations_open_them(pairs: tuple[Path, Path], captioned: Path) -> None:
    ours, theirs = map(str, pairs)
    size = {"resolution": 4, "channels": 1}
    for data, kind, fields in [
        (PairsData(source="pairs", path=ours, inputs=theirs, input_resolution=2, **size), Pairs, "input"),
        (PairsData(source="pairs", path=ours, inputs=theirs, unpaired=True, **size), HiddenPairs, "other"),
        (PairsData(source="pairs", path=ours, layout="side-by-side", **size), Pairs, "input"),
        (UnpairedData(source="unpaired", path=ours, other=theirs, **size), Unpaired, "other"),
        (CaptionsData(source="captions", path=str(captioned), text_length=9, **size), Captions, "text"),
    ]:
        source = data.open()
        assert isinstance(source, kind)
        assert source.fields.keys() == {"real", "label", fields}
        assert source[0].keys() == source.fields.keys()
    for wrong in ({"inputs": None}, {"inputs": theirs, "layout": "side-by-side"}):
        with pytest.raises(ValueError, match="inputs"):
            PairsData(source="pairs", path=ours, **wrong, **size)


def test_fingerprints_see_both_folders_and_not_sizes(pairs: tuple[Path, Path]) -> None:
    for make in (Pairs, Unpaired):
        before = make(*pairs, 4, 1).fingerprint
        assert make(*pairs, 8, 3).fingerprint == before
        save(pairs[1] / "b" / "5.bmp", 9)
        assert make(*pairs, 4, 1).fingerprint != before
        save(pairs[1] / "b" / "5.bmp", 105)
