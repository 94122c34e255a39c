"""What the images of sets showed when they were last looked at, kept for as long as their files stay the same.

For example:

    >>> Path("a.png").touch()
    >>> key([Path("a.png")], whole=True)  # just made: it may change again and keep its time of change
    >>> _changed_lately(os.stat("a.png"), now=0.0)  # by a clock that is behind
    False
"""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple

import PIL
from pydantic import TypeAdapter, ValidationError

from jaxgan import cache, reading
from jaxgan.errors import InputError, replacing

MOST = 64
"""So many sets are kept on disk, those that were used last."""
_IN_MEMORY = 8
_MOMENT = 2.0  # seconds: a file that was changed as lately may change again without a later time of change
_FORM = 1  # to be raised where images are looked at in another way

Kind = Literal["whole", "float"]


class Seen(NamedTuple):
    """What images show, before a range is chosen."""

    unreadable: dict[int, str]
    sizes: dict[tuple[int, int], int]
    grey: bool
    counts: Counter[str]
    values: list[tuple[int, Kind, float, float]]
    """Each deep image's number, whether it is "whole" or "float", and its least and greatest value."""


class _Stored(NamedTuple):
    """The same as JSON has it."""

    unreadable: list[tuple[int, str]]
    sizes: list[tuple[int, int, int]]
    grey: bool
    counts: dict[str, int]
    values: list[tuple[int, Kind, float, float]]


_KEPT: dict[str, Seen] = {}
_STORED = TypeAdapter(_Stored)


def key(paths: Sequence[Path], whole: bool) -> str | None:
    """What says that files are the same as before; None where that cannot be said.

    Args:
      paths: The files.
      whole: Whether all are decoded in full.
    """
    digest = hashlib.sha256(f"{_FORM} {PIL.__version__} {whole}\n".encode())
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            return None
        if _changed_lately(found, time.time()):
            return None
        facts = found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
        digest.update(os.fsencode(os.path.abspath(path)) + f"\0{facts}\n".encode())
    return digest.hexdigest()


def _changed_lately(found: os.stat_result, now: float) -> bool:
    """Whether a file may change again without a later time of change; one from the future did not change lately."""
    return any(abs(now - at / 1e9) <= _MOMENT for at in (found.st_mtime_ns, found.st_ctime_ns))


def find(name: str, count: int, why: Callable[[int], str | None]) -> Seen | None:
    """What was kept under a key, in this process or on disk; None where nothing was, or it is damaged.

    Args:
      name: The key.
      count: How many images there are.
      why: Why an image cannot be read now, None where it can: what was read from disk holds only if that is the same,
        as a disk or the rights to read may have been to blame.
    """
    if name in _KEPT:
        return _KEPT[name]
    try:
        if not (folder := cache.surveys()):
            return None
        file = folder / f"{name}.json"
        stored = _STORED.validate_python(reading.json_of(file))
        os.utime(file)
    except (OSError, InputError, RuntimeError, ValidationError):
        return None
    numbers = [
        *(x[0] for x in stored.unreadable),
        *(x[2] for x in stored.sizes),
        *(x[0] for x in stored.values),
    ]
    if not all(0 <= i < count for i in numbers) or bool(stored.sizes) != (len(stored.unreadable) < count):
        return None
    if any(why(i) != said for i, said in stored.unreadable):
        return None
    sizes = {(width, height): i for width, height, i in stored.sizes}
    seen = Seen(dict(stored.unreadable), sizes, stored.grey, Counter(stored.counts), stored.values)
    _remember(name, seen)
    return seen


def keep(name: str, seen: Seen, seconds: float) -> None:
    """Keeps what images showed: in this process, and on disk where it took long (`cache.SECONDS`) and that can be.

    Args:
      name: The key.
      seen: What they showed.
      seconds: How long it took to look.
    """
    _remember(name, seen)
    if seconds <= cache.SECONDS:
        return
    sizes = [(*size, i) for size, i in seen.sizes.items()]
    stored = _Stored(list(seen.unreadable.items()), sizes, seen.grey, dict(seen.counts), seen.values)
    with suppress(OSError, RuntimeError):  # the next start looks again
        if not (folder := cache.surveys()):
            return
        with replacing(folder / f"{name}.json") as partial:
            partial.write_text(json.dumps(stored._asdict()), encoding="utf-8")
        kept = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
        for file in kept[:-MOST]:
            file.unlink(missing_ok=True)


def _remember(name: str, seen: Seen) -> None:
    while len(_KEPT) >= _IN_MEMORY:
        del _KEPT[next(iter(_KEPT))]
    _KEPT[name] = seen
