"""Captions of one length: what is cut of them, and that it is told."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import Captions, Edges, Garments, prepare, text
from jaxgan.data.labelled import Labelled
from jaxgan.data.sources import TFDS, remarks_of
from jaxgan.data.sources import tfds as tfds_source
from jaxgan.errors import InputError

LONG = "a very long caption of seventy bytes that ends with the colour of it: "  # 70 bytes


class Encoder:
    """Embeds nothing, and says that one caption was too long."""

    width, sha256, cut = 2, "0" * 64, {"one"}

    def __call__(self, caption: str) -> np.ndarray:
        return np.zeros(2, np.float32)


def folder(root: Path, captions: list[str]) -> Path:
    root.mkdir(exist_ok=True)
    for i, caption in enumerate(captions):
        Image.new("L", (4, 4), i).save(root / f"{i:02d}.png")
        (root / f"{i:02d}.txt").write_text(caption + "\n", encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("captions", "length", "said"),
    [
        (["boot", "coat"], 4, None),
        ([LONG + "red", LONG + "blue", "hat"], 64, "2 of 3 captions are cut to 64 bytes, and 1 more is equal to"),
        ([LONG + "red"] * 2 + ["a hat"], 64, "2 of 3 captions are cut to 64 bytes, and all that differ still do"),
        (["abcd", "abce", "abcf", "abc"], 3, "3 of 4 captions are cut to 3 bytes, and 3 more are equal to others"),
        (["abcd", "b"], 3, "1 of 2 captions is cut to 3 bytes, and all"),
        (["é" * 3, "é" * 2 + "e"], 5, "1 of 2 captions is cut to 5 bytes, and all"),  # between two characters
        (["é" * 3, "é" * 2], 5, "1 of 2 captions is cut to 5 bytes, and 1 more"),
    ],
)  # fmt: skip
def test_what_is_cut_is_counted(captions: list[str], length: int, said: str | None) -> None:
    found = text.remarks(captions, length)
    if said is None:
        assert found == ()
        return
    (line,) = found
    assert line.startswith(said)
    longest = max(len(each.encode()) for each in captions)
    assert line.endswith(f"; --data.text_length {longest} keeps them whole")
    assert text.remarks(captions, longest) == ()
    # What is said is what becomes of them.
    kept = [text.decode(text.encode(each, length)) for each in captions]
    assert sum(a != b for a, b in zip(kept, captions, strict=True)) == int(said.split()[0])
    assert all(whole.startswith(part) for part, whole in zip(kept, captions, strict=True))


def test_sources_say_it(tmp_path: Path) -> None:
    captions = [LONG + "red", LONG + "blue", "a hat"]
    source = Captions(folder(tmp_path / "set", captions), 4, 1)
    (line,) = remarks_of(source)
    assert line.startswith("2 of 3 captions are cut to 64 bytes")
    assert remarks_of(Edges(source)) == (line,)
    assert remarks_of(Captions(tmp_path / "set", 4, 1, 74)) == ()
    assert remarks_of(Garments("test")) == ()
    (line,) = remarks_of(Garments("test", text_length=11))
    assert line.startswith("2,000 of 2,000 captions are cut to 11 bytes")
    assert remarks_of(Labelled(Garments("test", text_length=11), 10)) == (line,)


def test_prepared_data_knows_its_captions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole captions are stored, with how long they are; small sets are counted, large ones remember."""
    captions = [LONG + "red", LONG + "blue", "a hat"]

    monkeypatch.setattr("jaxgan.data.preparing.prepare._encoder", lambda place: Encoder())
    report = prepare(str(folder(tmp_path / "set", captions)), tmp_path / "out", embed=True, progress=False)
    assert report.longest == 74
    assert report.remarks == ("1 different caption has more words than are embedded, and lost its end",)
    stored = json.loads((tmp_path / "out" / "captions.json").read_text())["train"]
    assert stored["bytes"] == {"5": 1, "73": 1, "74": 1}
    assert stored["merged"] == {"16": 1, "32": 1, "64": 1, "128": 0, "256": 0}
    source = TFDS(None, tmp_path / "out", resolution=4)
    wanted = text.remarks(captions, 64)
    assert remarks_of(source) == wanted
    monkeypatch.setattr(tfds_source, "FINGERPRINT_BYTES", 0)
    assert remarks_of(source) == wanted
    assert remarks_of(TFDS(None, tmp_path / "out", resolution=4, text_length=74)) == ()
    (line,) = remarks_of(TFDS(None, tmp_path / "out", resolution=4, text_length=70))
    assert line.startswith("2 of 3 captions are cut to 70 bytes, and some may be equal")
    for damaged in ("[]", '{"train": {"bytes": {"x": 1}}}', "{"):
        (tmp_path / "out" / "captions.json").write_text(damaged)
        assert remarks_of(source) == ()
    monkeypatch.undo()
    (shard,) = (tmp_path / "out").glob("*array_record*")
    shard.write_bytes(bytes(100))  # told of where an example is read
    assert remarks_of(TFDS(None, tmp_path / "out", resolution=4)) == ()


@pytest.mark.parametrize("listed", [False, True])
def test_a_mark_of_utf8_is_no_part_of_a_text(tmp_path: Path, listed: bool) -> None:
    place = folder(tmp_path / "set", ["a hat", "été"])
    if listed:
        rows = [{"file_name": f"{i:02d}.png", "text": said} for i, said in enumerate(["a hat", "été"])]
        (place / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8-sig")
    else:
        (place / "00.txt").write_text("a hat", encoding="utf-8-sig")
    assert Captions(place, 4, 1).captions == ["a hat", "été"]
    (place / ("metadata.jsonl" if listed else "00.txt")).write_text("a hat", encoding="utf-16")
    with pytest.raises(InputError, match="is not UTF-8 text; convert it"):
        Captions(place, 4, 1)


def test_what_else_files_of_captions_hold_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Further lines, and captions of no image; a list of captions makes files beside it mean nothing."""
    root = folder(tmp_path / "set", ["a hat", "a boot", "a coat"])
    (root / "00.txt").write_text("a hat\n\nof felt\nand worn\n", encoding="utf-8")
    (root / "01.txt").write_text("a boot\n \n", encoding="utf-8")
    for name in ("alone.txt", "gone.txt"):
        (root / name).write_text("a glove", encoding="utf-8")
    said = f"{root}: 2 files left out: 2 with a caption and no image"
    more = "1 file with a caption has more lines, of which the first counts"
    source = Captions(root, 4, 1)
    assert source.captions == ["a hat", "a boot", "a coat"]
    assert source.remarks == (said, more)
    monkeypatch.setattr("jaxgan.data.preparing.prepare._encoder", lambda place: Encoder())
    report = prepare(str(root), tmp_path / "out", embed=True, progress=False)
    assert report.remarks[:2] == (said, f"{root}: {more}")
    rows = [{"file_name": f"{i:02d}.png", "text": "x"} for i in range(3)]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert Captions(root, 4, 1).remarks == (f"{root}: 5 files left out: 5 of other kinds",)


@pytest.mark.parametrize("line", ["[" * 200_000, '{"file_name": ' + "9" * 5_000 + "}"])
def test_a_list_of_captions_that_is_no_plain_data_is_refused(tmp_path: Path, line: str) -> None:
    root = folder(tmp_path / "set", ["a hat"])
    (root / "metadata.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(InputError, match=r"metadata.jsonl: line 1 is not JSON"):
        Captions(root, 4, 1)
