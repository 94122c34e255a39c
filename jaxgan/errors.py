"""The two ways in which a run can fail, told apart by who can mend them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """A user's mistake: one line that says what is wrong, where, and what to do. The command line exits 2."""


class RunError(RuntimeError):
    """A failure while running that no change of the input explains (disk, numerics). The command line exits 1."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Names the file in an error of the operating system, such as a full disk, which does not always.

    Raises:
      RunError: Where the code inside raises OSError.
    """
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {error.strerror or error}; free space there and run again"
        ) from error
