"""The files of a folder: the one place where folders are searched for examples, for all commands alike.

For example:

    >>> for name in ("a.png", "b/c.PNG", "b/notes.txt", "__MACOSX/._a.png"):
    ...     Path("photos", name).parent.mkdir(parents=True, exist_ok=True)
    ...     Path("photos", name).touch()
    >>> os.symlink("..", "photos/b/up")  # each real folder is read once
    >>> found = below(Path("photos"), {".png"})
    >>> found.files, found.folders, found.left_out()
    (['a.png', 'b/c.PNG'], ['b'], '3 files left out: 1 of another kind, 1 of the system, 1 linked folder met before')
    >>> irregular("photos"), irregular("photos/a.png")
    ('a folder', '')
"""

import os
import stat
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jaxgan.errors import InputError

NAMED = 10
"""So many files that are left out are named; the others are counted."""
SYSTEM = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "lost+found"})
"""What systems and archivers leave beside files, in lower case; hidden files are left out anyway."""
UNREADABLE, OTHER, HIDDEN, SYSTEMS, AGAIN = "unreadable", "other", "hidden", "system", "again"
ALONE, BESIDE = "alone", "beside"

_WORDS: Mapping[str, tuple[str, str]] = {
    UNREADABLE: ("unreadable", "unreadable"),
    OTHER: ("of another kind", "of other kinds"),
    HIDDEN: ("hidden", "hidden"),
    SYSTEMS: ("of the system", "of the system"),
    BESIDE: ("beside the splits", "beside the splits"),
    AGAIN: ("linked folder met before", "linked folders met before"),
    ALONE: ("with a caption and no image", "with a caption and no image"),
}


class Found(NamedTuple):
    """What a folder holds."""

    files: list[str]
    """Relative paths, sorted, with "/" between their parts; bytes that are no text are as `os.fsdecode` has them."""
    folders: list[str]
    """The folders right below it, sorted, links to folders among them."""
    unreadable: list[tuple[str, str]]
    """What is named like the files that are sought, and cannot be one: relative paths, and why."""
    passed: Counter[str]
    """How much else was left out, by kinds."""
    same: Mapping[str, str]
    """Links to folders that were met before, and where."""
    beside: Sequence[str] = ()
    """Files of the other endings that belong there, as `files`."""

    def left_out(self, more: int = 0) -> str:
        """How much was left out and why, in a few words; nothing if nothing was.

        Args:
          more: How many of `files` are unreadable.
        """
        return told(self.passed + Counter({UNREADABLE: len(self.unreadable) + more}))


def told(counts: Counter[str]) -> str:
    """How many files of which kinds are left out, in a few words; nothing if there are none."""
    each = [f"{counts[kind]} {words[counts[kind] > 1]}" for kind, words in _WORDS.items() if counts[kind]]
    total = sum(counts.values())
    return f"{total} file{'s' if total > 1 else ''} left out: {', '.join(each)}" if each else ""


def lines(where: str, unreadable: Sequence[tuple[str, str]], counts: Counter[str]) -> list[str]:
    """What users are told of files that are left out: the first unreadable ones by name, then how many of which kind.

    Args:
      where: The folder.
      unreadable: Paths, and why.
      counts: How many of each kind, see `Found.passed`; unreadable ones may be missing.
    """
    named = [f"left out {path}: {why}" for path, why in unreadable[:NAMED]]
    total = told(Counter({**counts, UNREADABLE: len(unreadable)}))
    return [*named, f"{where}: {total}"] if total else []


def below(root: Path, endings: Collection[str], beside: Collection[str] = ()) -> Found:
    """The files of a folder and of those below it with an ending of `endings`.

    Links are followed, to files and to folders, and each real folder is read once: where it lies, if it lies below
    `root`, and not where a link leads to it. Hidden files and folders are left out, and so is what systems leave
    (`SYSTEM`). Whether something is a file is asked of the system before anything is opened.

    Args:
      root: The folder.
      endings: In lower case.
      beside: Endings of other files that belong there, which do not count as left out.

    Raises:
      InputError: There is no such folder, or it cannot be listed.
    """
    files: list[str] = []
    folders: list[str] = []
    unreadable: list[tuple[str, str]] = []
    others: list[str] = []
    passed: Counter[str] = Counter()
    same: dict[str, str] = {}
    met: dict[tuple[int, int], str] = {}
    real, linked = [""], []
    while real or linked:
        place = real.pop() if real else linked.pop(0)
        try:
            here = os.stat(root / place)
            first = met.setdefault((here.st_dev, here.st_ino), place)
            if first != place:
                same[place] = first
                passed[AGAIN] += 1
                continue
            with os.scandir(root / place) as listed:
                entries = sorted(listed, key=lambda entry: entry.name)
        except OSError as error:
            if not place:
                raise _no_folder(root, error) from None
            unreadable.append((place, f"a folder that cannot be listed ({error.strerror})"))
            continue
        inner = []
        for entry in entries:
            name = f"{place}/{entry.name}" if place else entry.name
            kind = _kind(entry)
            sought = os.path.splitext(entry.name)[1].lower()
            if _hidden(entry.name):
                passed[HIDDEN] += 1
            elif _of_system(entry.name):
                passed[SYSTEMS] += 1
            elif kind == "folder":
                (linked if entry.is_symlink() else inner).append(name)
                if not place:
                    folders.append(name)
            elif sought in beside and kind == "file":
                others.append(name)
            elif sought not in endings:
                passed[OTHER] += 1
            elif kind == "file":
                files.append(name)
            else:
                unreadable.append((name, kind))
        real.extend(reversed(inner))
        linked.sort()
    return Found(sorted(files), folders, sorted(unreadable), passed, same, sorted(others))


def folders(root: Path) -> list[str]:
    """The names of the folders right below a folder that count, sorted."""
    return sorted(
        p.name for p in root.iterdir() if p.is_dir() and not (_hidden(p.name) or _of_system(p.name))
    )


def loose(root: Path) -> Counter[str]:
    """How much lies right in a folder of splits and is in none of them, by kinds."""
    found: Counter[str] = Counter()
    for entry in root.iterdir():
        if _hidden(entry.name) or _of_system(entry.name):
            found[HIDDEN if _hidden(entry.name) else SYSTEMS] += 1
        elif not entry.is_dir():
            found[BESIDE] += 1
    return found


def _hidden(name: str) -> bool:
    return name.startswith(".")


def _of_system(name: str) -> bool:
    return name.lower() in SYSTEM


def _kind(entry: "os.DirEntry[str]") -> str:
    """Whether something is a "file" or a "folder", links followed, or else why it is neither."""
    try:
        if entry.is_dir():
            return "folder"
        if entry.is_file():
            return "file"
        return (
            "a link to nothing" if entry.is_symlink() and not os.path.exists(entry) else "not a regular file"
        )
    except OSError as error:
        return f"cannot be looked at ({error.strerror})"


def _no_folder(root: Path, error: OSError) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError(f"{root}: no such folder; name a folder of images")
    if isinstance(error, NotADirectoryError):
        return InputError(f"{root}: not a folder; name a folder of images")
    return InputError(f"{root}: cannot be listed ({error.strerror}); name a folder of images")


def named(path: str | os.PathLike[str]) -> Path:
    """A path that a user gave, "~" resolved.

    Raises:
      InputError: It is empty, which would be the current folder.
    """
    if not os.fspath(path):
        raise InputError("a path is empty; name a file or a folder, and . for the current one")
    return Path(path).expanduser()


def irregular(path: str | os.PathLike[str]) -> str:
    """What something is that is there and is no regular file, links followed; else nothing.

    To open a pipe may take for ever: this is asked first.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return ""  # whoever opens it hears of it
    if stat.S_ISREG(mode):
        return ""
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, a socket or a device"
