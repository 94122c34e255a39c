"""Imports from outside: files and packages that a user named, and what installed distributions offer; nothing else.

A config or a run directory, whoever wrote it, never causes an import by itself. A dotted name means something only
where its top package was brought here before, which a command line does for each `--import`; a plain one where an
installed distribution offers exactly that name. The current folder is off the path.

For example:

    >>> _ = Path("my_nets.py").write_text("class Sine: ...")
    >>> find("jaxgan.networks", "my_nets.Sine") is None  # nobody named it
    True
    >>> bring("my_nets.py").__name__
    'my_nets'
    >>> find("jaxgan.networks", "my_nets.Sine").__name__
    'Sine'
"""

import importlib
import importlib.util
import multiprocessing
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxgan.errors import InputError

_named: dict[str, ModuleType] = {}
"""What was brought, by its top name."""
_current: list[str] = []
"""What is imported at this moment, from the outside to the inside."""
_beside: list[str] = []
"""Folders of files that were brought: such a file may import what stands beside it, and nothing else may."""
_lock = threading.RLock()
"""Held while `sys.path` is another one."""


def check_not_importing(what: str) -> None:
    """Refuses to train while a file is imported, by `--import` or by a process that reads data.

    Args:
      what: Which function was called.

    Raises:
      InputError: A file is imported at this moment.
    """
    starting = getattr(
        multiprocessing.current_process(), "_inheriting", False
    )  # a worker imports its main file
    if _current or starting:
        where = _current[-1] if _current else "its file"
        raise InputError(
            f"{what} was called while {where} was imported; guard it with if __name__ == '__main__':"
        )


def bring(name: str) -> ModuleType:
    """Imports a file or a package that the user named, once.

    Args:
      name: The path of a Python file, or the name of an installed package. Files beside the file can be imported by it,
        behind all that is installed.

    Returns:
      The module. What it registers is known from then on, and dotted names that begin with its name mean what it holds.

    Raises:
      InputError: There is no such file or package, it has the name of something installed, or it raises; its own
        traceback is printed to stderr then.
    """
    is_file = name.endswith(".py") or os.sep in name
    module = _file(Path(name)) if is_file else _package(name)
    _named[module.__name__] = module
    return module


def _file(path: Path) -> ModuleType:
    if not path.is_file():
        raise InputError(
            f"--import {path}: there is no such file; give a Python file or an installed package"
        )
    name, path = path.stem, path.resolve()
    if not name.isidentifier() or path.suffix != ".py":
        raise InputError(f"--import {path}: Python cannot import a file of that name; rename it to NAME.py")
    known = _named.get(name)
    if known is not None and Path(known.__file__ or "") == path:
        return known
    if name in sys.modules or name in sys.stdlib_module_names or _installed(name, path):
        raise InputError(f"--import {path}: there is another module {name}; rename the file")
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last: a file beside it hides nothing that is installed
        _beside.append(str(path.parent))
    sys.modules[name] = module
    try:
        with _importing(path.name, str(path)):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _installed(name: str, path: Path) -> bool:
    with _installed_alone():
        spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin != str(path)


def _package(name: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise InputError(
            f"--import {name}: that is no name of a package; give one, or a file that ends in .py"
        )
    top = name.partition(".")[0]
    with _installed_alone(), _importing(name):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name not in (top, name):
                raise
            raise InputError("no such package is installed; for a file give its path") from None
    return sys.modules[top]


@contextmanager
def _installed_alone() -> Iterator[None]:
    """Leaves what is installed on the path: not the current folder, and not the folders of files that were brought.

    The current folder is taken off where Python put it there by itself, as under `python -c`.
    """
    with _lock:
        before = list(sys.path)
        here = before[0] if before and (before[0] == "" or Path(before[0]) == Path.cwd()) else None
        sys.path[:] = [
            place for i, place in enumerate(before) if place not in _beside and (i or place != here)
        ]
        try:
            yield
        finally:
            added = [place for place in sys.path if place not in before]
            sys.path[:] = [*before, *added]


@contextmanager
def _importing(name: str, file: str | None = None) -> Iterator[None]:
    """Turns what a file from outside raises into one line, below its own traceback."""
    _current.append(name)
    try:
        yield
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except SystemExit:
        raise InputError(
            f"{name} ended Python while it was imported; guard what does so with if __name__ == '__main__':"
        ) from None
    except Exception as error:
        show(error, file)
        raise InputError(f"{name} raised {type(error).__name__} while it was imported: {error}") from None
    finally:
        _current.pop()


def show(error: Exception, file: str | None = None) -> None:
    """Prints the traceback of a file from outside to stderr, from its own file on."""
    first = found = error.__traceback__
    while found is not None and file is not None:
        if found.tb_frame.f_code.co_filename == file:
            first = found
            break
        found = found.tb_next
    if isinstance(error, SyntaxError):
        first = None  # the text of one that is of the file itself says where
    traceback.print_exception(type(error), error, first)


def find(group: str, name: str) -> Any:
    """What a name from outside means, or None where nothing that may be imported has it.

    Nothing of what is found is called.

    Args:
      group: The group of entry points: "jaxgan.networks", "jaxgan.families" or "jaxgan.domains".
      name: The name, as a config has it.

    Raises:
      InputError: A package that was brought holds no such thing, two distributions offer it, or the import raises.
    """
    top, *inner = name.split(".")
    if inner and top in _named:
        return _inside(_named[top], name, inner)
    points = [(point, owner) for point, owner in _offered(group) if point.name == name]
    if not points:
        return None
    if len(points) > 1:
        owners = " and ".join(sorted(owner for _, owner in points))
        raise InputError(f"{name!r} is offered by {owners}, all of them installed; uninstall all but one")
    with _installed_alone(), _importing(f"{name} of {points[0][1]}"):
        return points[0][0].load()


def _inside(module: ModuleType, name: str, inner: list[str]) -> Any:
    """What a dotted name means below a module: of its own package, not of others that it imported."""
    found: Any = module
    for part in inner:
        within = isinstance(found, ModuleType) and f"{found.__name__}.".startswith(f"{module.__name__}.")
        if part.startswith("_") or not (within or isinstance(found, type)):
            raise InputError(f"{name}: only public classes of {module.__name__} itself can be named so")
        if within and not hasattr(found, part) and hasattr(found, "__path__"):
            below = f"{found.__name__}.{part}"
            with _installed_alone(), _importing(below):
                if importlib.util.find_spec(below) is not None:
                    importlib.import_module(below)
        if not hasattr(found, part):
            raise InputError(f"{name}: {found.__name__} has no {part}")
        found = getattr(found, part)
    return found


def _offered(group: str) -> list[tuple[metadata.EntryPoint, str]]:
    """The entry points of installed distributions, each with its distribution's name."""
    found: dict[tuple[str, str, str], tuple[metadata.EntryPoint, str]] = {}
    with _installed_alone():
        for distribution in metadata.distributions(path=list(sys.path)):
            for point in distribution.entry_points.select(group=group):
                owner = distribution.metadata["Name"]
                found.setdefault((point.name, point.value, owner), (point, owner))
    return list(found.values())
