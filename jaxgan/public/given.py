"""What a user has in Python, a game and data, made into what a run needs of them.

For example:

    >>> import jax.numpy as jnp, optax
    >>> from jaxgan.game import Aux, Player
    >>> init = lambda key, batch: {"mean": {"params": {"x": jnp.zeros(2)}}}
    >>> loss = lambda state, batch, keys: (jnp.sum(state.params["mean"]["x"]), Aux())
    >>> sample = lambda state, keys, batch: keys.normal((2,))
    >>> mine = Game(init, {"mean": Player(("mean",), loss, optax.sgd(0.1))}, sample)
    >>> own, data = own_of(mine, {"real": [[0.0, 1.0]] * 8}, {}, None)
    >>> len(own.source), data  # the data are at hand, not named
    (8, None)
    >>> own, data = own_of(mine, "embedded:test", {}, None)
    >>> own.source, data.source, data.split
    (None, 'embedded', 'test')
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from jaxgan import config
from jaxgan.data.sources import DATA, Data, Source
from jaxgan.data.sources.given import given as given_source
from jaxgan.domains import Domain
from jaxgan.errors import InputError
from jaxgan.experiment import Own
from jaxgan.families import Built
from jaxgan.game import Game

GameLike = Game | Built | Callable[[dict[str, Any]], Game | Built]
"""A game, or a function of the caller's settings that gives it."""


def own_of(
    game: GameLike,
    source: Any,
    settings: Mapping[str, Any],
    file: Path | None,
    *,
    classes: Sequence[str] | None = None,
    domain: Domain | Mapping[str, Any] | None = None,
    known: Mapping[str, Any] | None = None,
) -> tuple[Own, Data | None]:
    """What the folder of a run cannot hold of a game of one's own, and the settings of its data where it has any.

    Classes and domain that are not given are those of `known`, unless the data says its own.

    Args:
      game: As of `train`.
      source: As of `train`; None where settings that are known already name it.
      settings: The caller's settings.
      file: The file that stands for the game where all of its functions are of libraries.
      classes: As of `train`.
      domain: As of `train`.
      known: The manifest of the run, where there is one: its classes and its domain.

    Raises:
      InputError: The game is none, or the data cannot be used.
    """
    maker = game if callable(game) else None
    if maker is not None:
        make: Callable[[dict[str, Any]], Any] = maker
    elif isinstance(game, Game | Built):
        make = lambda settings: game  # noqa: E731
    else:
        raise InputError(
            f"a game is a jaxgan.Game, or a function of the settings that gives one, and no {type(game).__name__}"
        )
    if callable(source) and not hasattr(source, "__getitem__"):
        source = source(dict(settings))
    data = _named(source)
    if data is not None:
        if classes is not None or domain is not None:
            raise InputError(
                "data that is named has its classes and its domain; leave out classes and domain"
            )
        return Own(make, None, file, maker), data
    if known and source is not None and not isinstance(source, Source):
        classes = classes or known.get("classes") or None
        domain = domain or known.get("domain")
    held = None if source is None else given_source(source, classes=classes, domain=domain)
    return Own(make, held, file, maker), None


def _named(source: Any) -> Data | None:
    """The settings of data that is named, None for data itself."""
    if isinstance(source, Data):
        return source
    table = dict(source) if isinstance(source, Mapping) and isinstance(source.get("source"), str) else None
    if isinstance(source, str | Path):
        name, _, split = str(source).partition(":")
        if name not in DATA.kinds:
            known = ", ".join(DATA.kinds)
            raise InputError(
                f"no source is called {name!r}; there are {known}; a folder of images is a table such as "
                '{"source": "folder", "path": "photos", "resolution": 64}'
            )
        table = {"source": name, **({"split": split} if split else {})}
    if table is None:
        return None
    return config.own({"name": "data", "steps": 1, "data": table}).data


def caller() -> Path | None:
    """The file of the code that called us, if it is one."""
    frame: FrameType | None = sys._getframe(1)
    package = Path(__file__).parents[1]
    while frame is not None and Path(frame.f_code.co_filename).is_relative_to(package):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename) if frame else Path()
    return path if path.is_file() else None
