"""What reaches a terminal: one line that shows all that it holds."""

import unicodedata

import pytest

from jaxgan import saying


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, ä, 猫, ± and 👩\u200d🚀", "plain, ä, 猫, ± and 👩\u200d🚀"),
        ("a\x1b]0;owned\x07.png", r"a\x1b]0;owned\x07.png"),
        ("a.png\njaxgan: wrote 5 files", r"a.png\njaxgan: wrote 5 files"),
        ("a\rb\tc\0d\x7fe\x9bf", r"a\rb\tc\x00d\x7fe\x9bf"),
        ("\u202egnp.exe\u2066\u200f\ufeff", r"\u202egnp.exe\u2066\u200f\ufeff"),
        ("caf\udce9", r"caf\udce9"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_python_escapes_it(text, shown):
    assert saying.clean(text) == shown


def test_no_character_of_unicode_breaks_or_steers_a_line():
    said = saying.clean("".join(map(chr, range(0x110000))), most=2**21)
    assert len(said.splitlines()) == 1
    left = {char for char in said if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    assert left == {"\u200c", "\u200d"}
    said.encode()


def test_what_is_long_loses_its_middle_and_says_how_much():
    text = "start" + "x" * 2_200_000 + "what to do"
    said = saying.clean(text)
    assert said.startswith("startxxx")
    assert said.endswith("xxxwhat to do")
    assert len(said) < saying.MOST + 50
    assert "[2,198,015 characters left out]" in said
    assert saying.clean("x" * saying.MOST) == "x" * saying.MOST


def test_lines_stay_lines_as_long_as_they_are():
    text = "head\n" + "x" * 5000 + "\x1b\n"
    assert saying.lines(text) == "head\n" + "x" * 5000 + "\\x1b\n"


def test_say_prints_one_line_on_stderr(capsys):
    saying.say("left out a\x1b[31m\nb.png")
    assert capsys.readouterr().err == "jaxgan: left out a\\x1b[31m\\nb.png\n"
