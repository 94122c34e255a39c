"""What a device or this process can hold, and a refusal of what cannot fit before anything of it is made.

For example:

    >>> parts = [Part("the state", 3 * 10**9, "make generator.width smaller"), Part("the log", 400, "")]
    >>> check("the run", parts, Room(8 * 10**9, "this process"))
    >>> check("the run", parts, Room(2 * 10**9, "this process"))
    Traceback (most recent call last):
    jaxgan.errors.InputError: at least 3.0 GB of memory are needed for the run, and this process has 2.0 GB; 3.0 GB of
    them for the state: make generator.width smaller
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from jaxgan.errors import InputError


class Part(NamedTuple):
    """Something that has to be held."""

    what: str
    size: int
    """In bytes."""
    remedy: str
    """How a user makes it smaller."""


class Room(NamedTuple):
    """How much can be held, and where."""

    size: int
    """In bytes."""
    where: str


def check(whose: str, parts: Sequence[Part], room: Room) -> None:
    """Refuses what cannot fit; parts are what is held at one time.

    Raises:
      InputError: They are larger than the room together.
    """
    total, most = sum(part.size for part in parts), max(parts, key=lambda part: part.size)
    if total > room.size:
        raise InputError(
            f"at least {written(total)} of memory are needed for {whose}, and {room.where} has {written(room.size)}; "
            f"{written(most.size)} of them for {most.what}: {most.remedy}"
        )


def written(size: int) -> str:
    """Bytes for people."""
    amount, unit = size / 1e3, "kB"
    for larger in ("MB", "GB", "TB", "PB", "EB"):
        if amount >= 1e3:
            amount, unit = amount / 1e3, larger
    return f"{amount:,.1f} {unit}"


def of_device(device: Any) -> Room:
    """What a device of JAX can hold: what its allocator may take, or where it has none, as CPUs, `of_process`."""
    stats: Any = None
    with suppress(Exception):  # backends without an allocator of their own raise what they like
        stats = device.memory_stats()
    limit = (stats or {}).get("bytes_limit")
    return Room(int(limit), f"the device {device}") if limit else of_process()


def of_process(root: Path = Path("/")) -> Room:
    """What this process can hold at most: the least of the machine's memory, its address space and its control groups.

    Args:
      root: Where /proc and /sys are.
    """
    limits = [*_machine(), *_address_space(), *_groups(root)]
    return Room(min(limits, default=2**63), "this process")


def _machine() -> Iterator[int]:
    with suppress(AttributeError, ValueError, OSError):  # not on Windows
        yield os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _address_space() -> Iterator[int]:
    with suppress(ImportError):  # not on Windows
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        if limit != resource.RLIM_INFINITY:
            yield limit


def _groups(root: Path) -> Iterator[int]:
    """The limits of the control groups that this process is in, of version 1 and 2, where Linux has them."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return
    for _, kinds, path in (line.split(":", 2) for line in lines if line.count(":") > 1):
        if not kinds:
            mounted, file = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in kinds.split(","):
            mounted, file = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        yield from _numbers(place / file for place in _upwards(mounted, path))


def _upwards(mounted: Path, path: str) -> Iterable[Path]:
    """A group's folder and those of the groups that it is in; in a container it may be the mounted one alone."""
    inner = mounted / path.strip("/")
    return [inner, *(place for place in inner.parents if place.is_relative_to(mounted))]


def _numbers(files: Iterable[Path]) -> Iterator[int]:
    for file in files:
        with suppress(OSError, ValueError):  # "max" is no limit
            yield int(file.read_text())
