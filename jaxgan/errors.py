"""The two ways in which a run can fail, told apart by who can mend them.

For example:

    >>> with replacing(Path("notes.txt")) as partial:
    ...     size = partial.write_text("whole")
    >>> Path("notes.txt").read_text()
    'whole'
    >>> with writing(Path("sheet.png")):
    ...     raise OSError(errno.ENOSPC, "No space left on device")
    Traceback (most recent call last):
        ...
    jaxgan.errors.RunError: cannot write sheet.png: No space left on device; free space there and run again
"""

import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class InputError(ValueError):
    """A user's mistake: one line that says what is wrong, where, and what to do. The command line exits 2."""


class RunError(RuntimeError):
    """A failure while running that no change of the input explains (disk, numerics). The command line exits 1."""


FULL = {os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)} | {
    "No usable temporary directory found"  # Python's own words, where all of them are full
}
"""What is said where a disk has no room for a file, be it for its bytes or for its name."""


def full(error: BaseException | None) -> str | None:
    """What of `FULL` is behind an error, in the words of whatever library it comes from; None if nothing is."""
    while error is not None:
        text = f"{error} {getattr(error, 'strerror', None)}"
        if found := next((said for said in FULL if said in text), None):
            return found
        error = error.__cause__ or error.__context__
    return None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the file in an error of the operating system, which does not always.

    Raises:
      RunError: Where the code inside raises OSError, or what is behind an error of a library is a full disk.
    """
    try:
        yield
    except (InputError, RunError):
        raise
    except Exception as error:
        reason = full(error)
        if not (reason or isinstance(error, OSError)):
            raise
        hint = "free space there and run again" if reason else "mend that and run again"
        said = reason or getattr(error, "strerror", None) or error
        raise RunError(f"cannot write {path}: {said}; {hint}") from error


@contextmanager
def placing(path: Path) -> Iterator[None]:
    """For the first that is made at a place that the user named, such as a folder.

    Raises:
      InputError: Where the code inside raises OSError, as nothing can be written there.
      RunError: The disk is full.
    """
    try:
        with writing(path):
            yield
    except RunError as error:
        if full(error):
            raise
        cause = error.__cause__
        said = getattr(cause, "strerror", None) or cause
        raise InputError(f"cannot write {path}: {said}; name another place") from cause


class Renamed(FutureWarning):
    """Something is called by a name of older versions; it is read all the same."""


SHORT = 128
"""Bytes of a name, at most, to which a beginning and an end are added: file systems allow 255 in all, or 143."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` at once at the end, so that it is never half there.

    Where the code inside fails, what was written is removed, and what `path` was before stays. A file that is replaced
    gives its permissions to the new one.

    Raises:
      RunError: As `writing`.
    """
    partial = _partial(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with writing(partial):
            partial.unlink(missing_ok=True)  # it may be a link that somebody else put there
        try:
            before = path.lstat().st_mode if path.exists() else 0
            yield partial
            if stat.S_ISREG(before):
                with suppress(OSError):  # some file systems have no permissions
                    partial.chmod(before & 0o777)
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):
                partial.unlink(missing_ok=True)
            raise


def _partial(path: Path) -> Path:
    """Where a file is made ready: beside it, by a name that file systems allow wherever they allow its own."""
    name, encoded = path.name, os.fsencode(path.name)
    if len(encoded) > SHORT:
        name = f"{name[: SHORT // 8]}-{hashlib.sha256(encoded).hexdigest()[:16]}"
    return path.with_name(f".{name}.partial")
