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
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """A user's mistake: one line that says what is wrong, where, and what to do. The command line exits 2."""


class RunError(RuntimeError):
    """A failure while running that no change of the input explains (disk, numerics). The command line exits 1."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the file in an error of the operating system, which does not always.

    Raises:
      RunError: Where the code inside raises OSError.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        hint = "free space there and run again" if full else "mend that and run again"
        raise RunError(f"cannot write {path}: {error.strerror or error}; {hint}") from error


class Renamed(FutureWarning):
    """Something is called by a name of older versions; it is read all the same."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` at once at the end, so that it is never half there.

    Raises:
      RunError: As `writing`.
    """
    partial = path.with_name(f".{path.name}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        os.replace(partial, path)
