"""Small files that anybody may have damaged: they are read, or one reason is given, and nothing hangs."""

import math
import os

import pytest

from jaxgan import reading
from jaxgan.errors import InputError
from jaxgan.reading import Faulty


@pytest.mark.parametrize("parse", [reading.parsed_json, reading.parsed_toml])
def test_plain_data_is_read_as_it_is(parse):
    json = parse is reading.parsed_json
    text = (
        '{"a": [1, -2.5, true, "ü"], "b": {"c": ""}}' if json else 'a = [1, -2.5, true, "ü"]\n[b]\nc = ""\n'
    )
    assert parse(text) == {"a": [1, -2.5, True, "ü"], "b": {"c": ""}}


DEEP, LONG = "it is nested more than 64 deep", "an integer has more than 64 bits"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[" * 200_000, DEEP),
        ('{"a":' * 65 + "1" + "}" * 65, DEEP),
        ("9" * 5000, LONG),
        (str(2**63), LONG),
        ('{"a": [NaN]}', "NaN is no finite number"),
        ("-Infinity", "-Infinity is no finite number"),
        ("1e999", "1e999 is no finite number"),
        ('{"a": 1', "Expecting ',' delimiter (line 1, column 8)"),
        ("", "Expecting value (line 1, column 1)"),
        ('"a\0b"', "Invalid control character at (line 1, column 3)"),
    ],
)
def test_json_that_is_none_has_one_reason(text, why):
    with pytest.raises(Faulty) as caught:
        reading.parsed_json(text)
    assert str(caught.value) == why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = " + "[" * 200_000, DEEP),
        (".".join(["a"] * 3000) + " = 1", DEEP),
        ("a = " + "9" * 5000, LONG),
        ("a = 0x" + "f" * 5000, LONG),
        ("a = = 1", "Invalid value (at line 1, column 5)"),
        ('a = "\0"', "Illegal character '\\x00' (at line 1, column 6)"),
    ],
)
def test_toml_that_is_none_has_one_reason(text, why):
    with pytest.raises(Faulty) as caught:
        reading.parsed_toml(text)
    assert str(caught.value) == why


def test_the_largest_that_is_honest_is_read():
    assert reading.parsed_json(str(2**63 - 1)) == 2**63 - 1
    assert reading.parsed_json("[" * 64 + "]" * 64)
    assert math.isinf(reading.parsed_toml("a = inf")["a"])  # the settings refuse it, and name its key


def test_what_is_no_file_of_text_is_named(tmp_path):
    path = tmp_path / "note.json"
    with pytest.raises(FileNotFoundError):
        reading.json_of(path)
    path.write_bytes(b"\xef\xbb\xbf[1]")  # the mark that some editors write
    assert reading.json_of(path) == [1]
    path.write_bytes(b'["\xff"]')
    for put, why in (
        (lambda: None, "is damaged: byte 2 is not UTF-8"),
        (path.mkdir, "is damaged: it is not a file"),
        (lambda: os.mkfifo(path), "is damaged: it is not a file"),  # without a writer it would never open
        (lambda: path.symlink_to(path), "cannot be read: Too many levels of symbolic links"),
    ):
        if why != "is damaged: byte 2 is not UTF-8":
            path.rmdir() if path.is_dir() else path.unlink()
            put()
        with pytest.raises(InputError) as caught:
            reading.json_of(path)
        assert str(caught.value) == f"{path} {why}"


def test_a_file_too_large_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LARGEST", 2**20)
    (tmp_path / "a").write_bytes(b" " * (2**20 + 1))
    with pytest.raises(InputError, match="is damaged: it is larger than 1 MiB"):
        reading.json_of(tmp_path / "a")


def test_lines_are_read_one_by_one_and_what_is_no_text_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "LONGEST", 10)
    path = tmp_path / "a"
    path.write_bytes(
        b"\xef\xbb\xbfone\n\xff\n" + b"x" * 35 + b"\ntwo\xe2\x80\xa8\n123456789\n1234567890\n\nend"
    )
    assert list(reading.lines_of(path)) == ["one", None, None, "two\u2028", "123456789", None, "", "end"]
    path.write_bytes(b"")
    assert list(reading.lines_of(path)) == []
