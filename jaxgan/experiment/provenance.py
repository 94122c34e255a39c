"""Where a run comes from: the files of a game that somebody wrote, and of what a config names of one's own.

A digest covers one file, not what that file imports.

For example:

    >>> of_function(of_settings).module, of_function(lambda x: x).sha256  # a lambda typed in has no file
    ('jaxgan.experiment.provenance', 'unverified')
    >>> told((Origin("mine", "mine.py", "ab12"),))["origins"]
    [{'module': 'mine', 'file': 'mine.py', 'sha256': 'ab12'}]
"""

import functools
import hashlib
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

from jaxgan.config import Settings
from jaxgan.domains import Domain
from jaxgan.errors import InputError
from jaxgan.families.base import Origin
from jaxgan.game import Game
from jaxgan.settings import Model

UNVERIFIED = "unverified"
GO_ON = ", or go on with it as it is now by --changed (in Python changed=True)"
"""What can be done where a run is resumed, and not where it is looked at."""
LIBRARIES = frozenset({"jaxgan", "jax", "jaxlib", "flax", "optax", "functools"})
"""Packages that versions name."""


def of_file(module: str, file: str | Path | None) -> Origin:
    """What is stored of a module and its file, as it was when this process first looked."""
    path = Path(file).resolve() if file else None
    if path is None or not path.is_file():
        return Origin(module, None, UNVERIFIED)
    return Origin(module, str(path), _first_seen(path)[0])


_seen: dict[Path, tuple[str, frozenset[CodeType]]] = {}


def _first_seen(path: Path) -> tuple[str, frozenset[CodeType]]:
    """The digest of a file, and all that it compiles to, when this process first looked."""
    if path not in _seen:
        _seen[path] = _compiled(path)
    return _seen[path]


def _compiled(path: Path) -> tuple[str, frozenset[CodeType]]:
    content = path.read_bytes()
    try:
        whole = compile(content, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return hashlib.sha256(content).hexdigest(), frozenset()
    found, todo = set[CodeType](), [whole]
    while todo:
        found.add(one := todo.pop())
        todo += [each for each in one.co_consts if isinstance(each, CodeType)]
    return hashlib.sha256(content).hexdigest(), frozenset(found)


def of_function(function: Any) -> Origin:
    """What is stored of the file that a function, or the class of a callable object, stands in.

    Where the file is not what the function was made of, as it was edited since, it counts as unverified.
    """
    before = None
    while function is not before:
        before = function
        function = function.func if isinstance(function, functools.partial) else inspect.unwrap(function)
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    if code is not None:
        found = of_file(function.__module__, code.co_filename)
        if found.file is None or code in _first_seen(path := Path(found.file))[1]:
            return found
        _seen[path] = _compiled(path)  # it may have been imported again since
        digest, compiled = _seen[path]
        return found._replace(sha256=digest if code in compiled else UNVERIFIED)
    return _of_class(function if isinstance(function, type) else type(function))


def _of_class(cls: type) -> Origin:
    return of_file(cls.__module__, getattr(sys.modules.get(cls.__module__), "__file__", None))


def _outside(module: str | None) -> bool:
    return (module or "").partition(".")[0] not in LIBRARIES


def of_game(game: Game, maker: Callable[..., Any] | None, otherwise: Origin) -> tuple[Origin, ...]:
    """What is stored of the files that hold a game: those of its functions that are of no library.

    Args:
      game: The game.
      maker: The function that gives it, where one does.
      otherwise: What is stored where all of them are of libraries.
    """
    functions: list[Callable[..., Any] | None] = [maker, game.init]
    for player in game.players.values():
        functions += [player.loss, player.value_and_grad, player.remember, player.after]
    functions += [game.sample, game.fakes.make if game.fakes else None, game.memory]
    found = [of_function(each) for each in functions if each is not None]
    own = dict.fromkeys(each for each in found if _outside(each.module))
    by_file: dict[str, Origin] = {}
    for each in own:  # unverified where one of its functions is
        key = each.file or each.module
        if key not in by_file or each.sha256 == UNVERIFIED:
            by_file[key] = each
    return tuple(by_file.values()) or (otherwise,)


def of_settings(settings: Settings, domain: Domain) -> tuple[Origin, ...]:
    """What is stored of the files, not jaxgan's own, of what a config names and of the domain of its data."""
    found = {origin.module: origin for cls in (*_classes(settings), type(domain)) if (origin := _own(cls))}
    return tuple(found.values())


def _own(cls: type) -> Origin | None:
    return _of_class(cls) if _outside(cls.__module__) else None


def _classes(model: Model) -> Iterator[type]:
    """The classes of settings, and of the modules that they are of."""
    yield type(model)
    if module := getattr(model, "module", None):
        yield module
    for name in type(model).model_fields:
        if isinstance(value := getattr(model, name), Model):
            yield from _classes(value)


def told(origins: Sequence[Origin]) -> dict[str, Any]:
    """What a run's manifest says of files from outside."""
    if not origins:
        return {}
    covers = "each digest covers that file alone, not what it imports"
    return {"origins": [each._asdict() for each in origins], "origins_cover": covers}


def check(old: Mapping[str, Any], new: dict[str, Any], where: Path, changed: bool) -> None:
    """Compares the files of a resumed run with those that it was trained with.

    Args:
      old: The run's manifest.
      new: The manifest to be written, which gets the history of changes.
      where: The run's folder.
      changed: Whether another file is what the user wants.

    Raises:
      InputError: A file is another one, and that is not wanted.
    """
    then, now = _digests(old), _digests(new)
    history = list(old.get("origins_changed", ()))
    if then != now:
        if not changed:
            files = [each["file"] or each["module"] for each in new.get("origins", ())] or [
                "what it was made of"
            ]
            raise InputError(
                f"{where} was trained with other files: {', '.join(files)} had SHA-256 {_short(then)} and has "
                f"{_short(now)}; restore it{GO_ON}"
            )
        history.append({"step": None, "from": then, "to": now})
    if history:
        new["origins_changed"] = history


def differs(manifest: Mapping[str, Any], origins: Sequence[Origin]) -> str | None:
    """How files differ from those that a run was trained with, for people; None where they do not."""
    then, now = _digests(manifest), sorted({each.sha256 for each in origins})
    return None if then == now else f"SHA-256 {_short(then)} then, {_short(now)} now"


def _digests(manifest: Mapping[str, Any]) -> list[str]:
    return sorted({each["sha256"] for each in manifest.get("origins", ())})


def _short(digests: Sequence[str]) -> str:
    return ", ".join(digest[:12] for digest in digests) or "none"
