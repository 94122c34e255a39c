r"""What is said to the user: every text that may hold somebody's file names or data is cleaned and cut here.

For example:

    >>> clean("a.png\x1b[2J\nwrote 5 files")
    'a.png\\x1b[2J\\nwrote 5 files'
    >>> clean("x" * 5000, most=20)
    'xxxxxxxxxxxxxx [4,980 characters left out] xxxxxx'
    >>> lines("one\ntwo\x07")
    'one\ntwo\\x07'
"""

import sys
import unicodedata

MOST = 2000
"""Characters of a line, at most about this many."""
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Categories of Unicode that show nothing but steer terminals and readers: controls, formats, half pairs, breaks."""
_JOINERS = "\u200c\u200d"
"""They are in emoji and in Persian words, and move nothing."""


def clean(value: object, most: int = MOST) -> str:
    r"""A text as one line that shows all that it holds.

    Controls, line breaks, marks that turn the direction of text and bytes that are no text are written as Python
    escapes them, such as `\x1b`, so that a file's name can neither steer a terminal nor look like another line.

    Args:
      value: Anything that has a text.
      most: Characters that are left, at most about this many; what is left out of the middle is counted.
    """
    text = cut(str(value), most)
    if text.isprintable():
        return text
    return "".join(_shown(each) if not each.isprintable() else each for each in text)


def cut(text: str, most: int = MOST) -> str:
    """A text without its middle where it is longer than `most` characters: the start says what, the end what to do."""
    if len(text) <= most:
        return text
    head = most * 7 // 10
    return f"{text[:head]} [{len(text) - most:,} characters left out] {text[head - most :]}"


def lines(text: str) -> str:
    """A text of several lines, each of them as `clean` makes it but as long as it is."""
    return "\n".join(clean(line, len(line)) for line in text.split("\n"))


def say(line: str) -> None:
    """Prints a line for the user on stderr, above a progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(f"jaxgan: {clean(line)}", file=sys.stderr)


def _shown(char: str) -> str:
    if unicodedata.category(char) not in _HIDDEN or char in _JOINERS:
        return char
    return char.encode("unicode_escape", "surrogatepass").decode("ascii")
