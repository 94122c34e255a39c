"""Small files that anybody may have written or damaged: as text, JSON and TOML, or one line that says what is wrong.

For example:

    >>> size = Path("note.json").write_text('{"step": 5}')
    >>> json_of(Path("note.json"))
    {'step': 5}
    >>> size = Path("note.json").write_text('{"step": 5')
    >>> json_of(Path("note.json"))
    Traceback (most recent call last):
    jaxgan.errors.InputError: note.json is damaged: Expecting ',' delimiter (line 1, column 11)
"""

import json
import os
import stat
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from jaxgan.errors import InputError

LARGEST = 2**26
"""Bytes of a file that is read as a whole, at most."""
LONGEST = 2**24
"""Bytes of a line, at most."""
DEEPEST = 64
"""Tables in tables, at most: what reads them calls itself for each."""
WHOLE = 2**63
"""Integers are less than this on both sides of 0, as TOML has them."""


class Faulty(ValueError):
    """Why a text is not what it should be; whoever reads the file says which and what to do."""


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """A file, open to be read; a pipe, which would wait for a writer for ever, and a folder are none."""
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise Faulty("it is not a file")
        with os.fdopen(number, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(number)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Names the file in what is wrong with it; that it is missing is left to whoever asked."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
    except Faulty as error:
        raise InputError(f"{path} is damaged: {error}") from None


def bytes_of(path: Path) -> bytes:
    """What a file holds.

    Raises:
      Faulty: It is no file, or larger than `LARGEST`.
      OSError: It is missing, or cannot be read.
    """
    with _opened(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise Faulty(f"it is larger than {LARGEST // 2**20} MiB")
    return content


def text_of(path: Path) -> str:
    """A file's text, without the mark of UTF-8 that some editors write.

    Raises:
      Faulty: As `bytes_of`, or it is not UTF-8.
      OSError: As `bytes_of`.
    """
    try:
        return bytes_of(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Faulty(f"byte {error.start} is not UTF-8") from None


def lines_of(path: Path) -> Iterator[str | None]:
    """The lines of a file without their ends, one at a time; None for one that is not UTF-8, or longer than `LONGEST`.

    Raises:
      InputError: It cannot be read, or is no file.
      FileNotFoundError: It is missing.
    """
    with _named(path), _opened(path) as file:
        first = True
        while line := file.readline(LONGEST):
            whole = line.endswith(b"\n") or len(line) < LONGEST
            yield _decoded(line.removeprefix(b"\xef\xbb\xbf") if first else line) if whole else None
            while not whole:  # the rest of a line too long
                whole = (line := file.readline(LONGEST)).endswith(b"\n") or len(line) < LONGEST
            first = False


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode().removesuffix("\n")
    except UnicodeDecodeError:
        return None


def json_of(path: Path) -> Any:
    """The JSON that a file holds.

    Raises:
      InputError: It cannot be read, or is none.
      FileNotFoundError: It is missing.
    """
    with _named(path):
        return parsed_json(text_of(path))


def parsed_json(text: str) -> Any:
    """What JSON says: plain data of finite numbers, no integer past 64 bits and nothing deeper than `DEEPEST`.

    Raises:
      Faulty: It is not JSON, or says more.
    """
    try:
        return _bounded(_JSON.decode(text))
    except json.JSONDecodeError as error:
        raise Faulty(f"{error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise Faulty(_DEEP) from None
    except ValueError as error:  # an integer of thousands of digits
        raise error if isinstance(error, Faulty) else Faulty(_LONG) from None


def parsed_toml(text: str) -> dict[str, Any]:
    """What TOML says, with the bounds of `parsed_json`, but that a number may be infinite or none.

    Raises:
      Faulty: It is not TOML, or says more.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Faulty(str(error)) from None
    except RecursionError:
        raise Faulty(_DEEP) from None
    except ValueError:  # an integer of thousands of digits
        raise Faulty(_LONG) from None
    return _bounded(found)


_DEEP = f"it is nested more than {DEEPEST} deep"
_LONG = "an integer has more than 64 bits"


def _bounded(whole: Any) -> Any:
    """The value itself, looked through without calling itself: it may be deeper than Python's stack."""
    level, depth = [whole], 0
    while level:
        if depth > DEEPEST:
            raise Faulty(_DEEP)
        below: list[Any] = []
        for value in level:
            if isinstance(value, Mapping):
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, int) and not -WHOLE < value < WHOLE:
                raise Faulty(_LONG)
        level, depth = below, depth + 1
    return whole


def _finite(text: str) -> float:
    value = float(text)
    if value - value != 0:
        raise Faulty(f"{text} is no finite number")
    return value


_JSON = json.JSONDecoder(parse_constant=_finite, parse_float=_finite)
