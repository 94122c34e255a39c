"""A game that somebody wrote in Python as an experiment: what it tells by itself, and what is wrong with it.

For example:

    >>> import optax
    >>> from jaxgan.data.sources import Field
    >>> def loss(state, batch, keys):
    ...     return jnp.square(state.params["mean"]["x"] - batch["real"].mean(0)).sum(), game.Aux()
    >>> def sample(state, keys, batch):
    ...     return state.params["mean"]["x"][None] + keys.normal((2,)) * batch["label"][:, None]
    >>> mean = lambda key, batch: {"mean": {"params": {"x": jnp.zeros(2)}}}
    >>> mine = Game(mean, {"learner": game.Player(("mean",), loss, optax.sgd(0.1))}, sample)
    >>> fields = {"real": Field((2,), "float32"), "label": Field((), "int32")}
    >>> found = read(Built(mine), fields, classes=3)
    >>> found.conditional, found.given, found.shown
    (True, (), {'learner loss': ('learner/loss',)})
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgan import config, game
from jaxgan.data.sources import Field, Source
from jaxgan.domains import Domain
from jaxgan.errors import InputError
from jaxgan.experiment import provenance
from jaxgan.families.base import SHOWN, Built
from jaxgan.game import Game, Keys
from jaxgan.objectives.latents import Latents
from jaxgan.settings import MOST_NUMBERS

LACKING = (
    "the game of this run is somebody's own, and no folder can hold it: pass --import FILE.py, the file that has it "
    "(in Python jaxgan.load(RUN, game=...))"
)


UNLABELLED = (
    "samples are made of labels, and the data has no classes; give it labels (and names by classes=), or pass "
    "conditional=False"
)


class Own(NamedTuple):
    """What the folder of a run cannot hold of a game that somebody wrote."""

    make: Callable[[dict[str, Any]], Game | Built]
    """Gives the game of the caller's settings."""
    source: Source | None = None
    """The data, where no settings name them."""
    file: Path | None = None
    """The file that stands for the game where all of its functions are of libraries."""
    maker: Callable[..., Any] | None = None
    """The function of the user's that gives the game, where one does."""


def made(own: Own, settings: Mapping[str, Any]) -> Built:
    """The game of some settings, with the file that it comes from.

    Raises:
      InputError: What is made is no game.
    """
    try:
        found: Any = own.make(dict(settings))
    except KeyError as error:
        if not error.args or not isinstance(error.args[0], str) or error.args[0] in settings:
            raise
        raise InputError(
            f"the game reads settings[{error.args[0]!r}], which is not among the settings"
        ) from error
    built = Built(found) if isinstance(found, Game) else found
    if not isinstance(built, Built):
        raise InputError(f"a game must be a jaxgan.Game or a jaxgan.Built, and is a {type(found).__name__}")
    _check_parts(built.game)
    otherwise = provenance.of_file(own.file.stem if own.file else "__main__", own.file)
    return built._replace(origins=provenance.of_game(built.game, own.maker, otherwise))


class _Asked(Mapping[str, Any]):
    """A batch that notices which fields are read."""

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self.fields, self.read, self.whole = fields, set[str](), False

    def __getitem__(self, name: str) -> Any:
        value = self.fields[name]
        self.read.add(name)
        return value

    def __contains__(self, name: object) -> bool:
        return name in self.fields

    def __iter__(self) -> Iterator[str]:
        self.whole = True
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)


def read(
    built: Built,
    fields: Mapping[str, Field],
    classes: int,
    conditional: bool | None = None,
    given: Sequence[str] | None = None,
    latents: Latents | None = None,
    shown: Mapping[str, Sequence[str]] | None = None,
) -> config.OwnGame:
    """What a run is to know of a game: what the caller says, and the rest by tracing the game.

    Args:
      built: The game; where it was given as `Built`, that says all but what is passed here.
      fields: The fields of examples as networks see them.
      classes: How many classes the data has.
      conditional: Whether samples are made of labels; by default whether `sample` reads "label".
      given: Fields that samples are made from; by default those others that `sample` reads.
      latents: What "latent" is drawn from; by default nothing can be said of it.
      shown: What the progress bar shows; by default losses, and what discriminators say where they are called so.

    Raises:
      InputError: Samples are made of labels, and the data has none.
    """
    if not isinstance(latents, Latents | None):
        raise InputError(f"latents is {_what(latents)}; give jaxgan.Latents(SIZE)")
    latents = latents or built.latents
    if latents and (most := max(latents.size, latents.modes)) > MOST_NUMBERS:
        raise InputError(f"latents has {most} numbers or modes; give it at most {MOST_NUMBERS}")
    for what, each in {"given": given, **{f"shown[{k!r}]": v for k, v in (shown or {}).items()}}.items():
        if isinstance(each, str):
            raise InputError(f"{what} is {each!r}; give a list of names: [{each!r}]")
    if unknown := [name for name in given or () if name not in fields]:
        raise InputError(f"given names {unknown[0]!r}, and the data has {', '.join(fields)}")
    if conditional is None or given is None:
        asked = _asked(built.game, fields, classes)
        names = () if asked.whole else tuple(name for name in fields if name in asked.read - {"label"})
        labelled = "label" in asked.read and (classes > 0 or not asked.whole)
        conditional = (built.classes > 0 or labelled) if conditional is None else conditional
        given = built.given or names if given is None else given
    if conditional and not classes:
        raise InputError(UNLABELLED)
    return config.OwnGame(
        conditional=conditional,
        given=tuple(given),
        latent=latents.size if latents else 0,
        latent_kind=latents.kind if latents else "normal",
        latent_modes=latents.modes if latents else 10,
        shown={label: tuple(keys) for label, keys in (shown or _shown(built)).items()},
    )


def _asked(played: Game, fields: Mapping[str, Field], classes: int) -> _Asked:
    """Which fields of a batch `sample` reads.

    Raises:
      InputError: It reads one that the data has not.
    """
    batch, state = _state(played, fields, 2)
    asked = _Asked(batch)

    def sample(state: game.State, key: jax.Array) -> Any:
        known = {name: x for name, x in batch.items() if classes or name != "label"}
        asked.fields = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), known)
        return played.sample(state.averaged(), Keys.of(key, 2), asked)

    try:
        jax.eval_shape(sample, state, jax.random.key(0))
    except TypeError:
        if not hasattr(played.sample, "lower"):
            raise
        asked.whole = True  # compiled by itself: it takes plain dictionaries alone
    except KeyError as error:
        (name,) = error.args or ("",)
        if name == "label":
            raise InputError(UNLABELLED) from None
        if name == "latent":
            raise InputError(
                "the game's sample reads batch['latent'] always, and it is there for walks alone; let it draw its own "
                "from the keys otherwise"
            ) from None
        raise
    return asked


def _shown(built: Built) -> Mapping[str, tuple[str, ...]]:
    """What the bar shows where nobody says: the usual where the players have the usual names."""
    if built.shown is not SHOWN or {"generator", "discriminator"} <= set(built.game.players):
        return built.shown
    return {f"{name} loss": (f"{name}/loss",) for name in built.game.players}


def _state(played: Game, fields: Mapping[str, Field], count: int) -> tuple[dict[str, Any], game.State]:
    """The shapes of a batch, and of the state before the first step.

    Raises:
      InputError: `init` gives no networks, or the game is not playable.
    """
    batch = {name: jax.ShapeDtypeStruct((count, *field.shape), field.dtype) for name, field in fields.items()}
    nets: Any = jax.eval_shape(played.init, jax.random.key(0), batch)
    if not isinstance(nets, Mapping) or not nets:
        raise InputError(
            f"the game's init gives {_what(nets)}, and not the variables of networks by their names"
        )
    for name, variables in nets.items():
        if not isinstance(variables, Mapping) or "params" not in variables:
            raise InputError(
                f"the game's init gives {_what(variables)} for {name!r}, and not variables with 'params', as "
                "module.init does"
            )
    try:
        return batch, jax.eval_shape(
            lambda key, batch: game.init(played, key, batch), jax.random.key(0), batch
        )
    except ValueError as error:
        raise InputError(f"the game cannot be played: {error}") from error


def _what(value: Any) -> str:
    return f"a {type(value).__name__}"


def _check_parts(played: Game) -> None:
    """Checks what can be seen of a game without tracing it.

    Raises:
      InputError: Something is missing, or of another type.
    """
    for name in ("init", "sample"):
        if not callable(getattr(played, name)):
            raise InputError(
                f"the game has no {name}: Game({name}=...) takes a function, and this is "
                f"{_what(getattr(played, name))}"
            )
    if not isinstance(played.players, Mapping) or not played.players:
        raise InputError("the game has no players: Game(players=...) takes at least one, by its name")
    for name, player in played.players.items():
        if not isinstance(player, game.Player):
            raise InputError(f"player {name!r} is {_what(player)}, and not a jaxgan.Player")
        if isinstance(player.moves, str):
            raise InputError(
                f"player {name!r} moves {player.moves!r}; give a tuple of names: ({player.moves!r},)"
            )
        if not player.moves:
            raise InputError(f"player {name!r} moves nothing; name the networks that it trains in moves")
        if "/" in name or not name:
            raise InputError(f"player {name!r}: a name of a player must have no '/', which its metrics have")


def check(built: Built, rows: int) -> None:
    """Checks that a game can be trained on its data, by tracing it once.

    Args:
      built: The experiment.
      rows: Examples in a batch.

    Raises:
      InputError: A loss is no scalar, the state changes its shape, or samples have another shape than real examples.
    """
    played, fields = built.game, built.domain.decoded(built.fields)
    batch, state = _state(played, fields, rows)
    if built.poisson:
        batch["included"] = jax.ShapeDtypeStruct((rows,), bool)

    def turn(state: game.State, batch: Any, key: jax.Array) -> None:
        keys = Keys.of(key, rows)
        if played.fakes and played.shared_draws:
            batch = {**batch, "fakes": played.fakes.make(state, batch, keys)[0]}
        for name, player in played.players.items():
            if player.value_and_grad is jax.value_and_grad:  # others may add something to the batch
                try:
                    said = player.loss(state, batch, keys)
                except KeyError as error:
                    if not error.args or error.args[0] in batch or not isinstance(error.args[0], str):
                        raise
                    known = f"it has {', '.join(batch)}"
                    raise InputError(
                        f"player {name!r}: its loss reads {error.args[0]!r}, and if that is of the batch, {known}"
                    ) from error
                _check_loss(name, said)

    jax.eval_shape(turn, state, batch, jax.random.key(0))
    whole = {name: jax.ShapeDtypeStruct((played.turns, *x.shape), x.dtype) for name, x in batch.items()}
    try:
        after = jax.eval_shape(lambda state, batch: game.transition(played, state, batch)[0], state, whole)
    except ValueError as error:
        if not str(error).startswith("player "):
            raise
        raise InputError(
            f"{error} (metrics are Aux(metrics=...), statistics of networks Aux(stats=...))"
        ) from error
    _check_same(state, after)
    given = {name: batch[name] for name in (*built.given, *(["label"] if built.classes else []))}
    sampled: Any = jax.eval_shape(
        lambda state, batch, key: played.sample(state.averaged(), Keys.of(key, rows), batch),
        *(state, given, jax.random.key(0)),
    )
    shape, wanted = getattr(sampled, "shape", None), (rows, *fields["real"].shape)
    if shape != wanted:
        found = list(shape) if shape is not None else _what(sampled)
        raise InputError(
            f"the game's sample makes {found} for {rows} keys, and examples of the data make {list(wanted)}"
        )


def _check_loss(name: str, said: Any) -> None:
    if not (isinstance(said, tuple) and len(said) == 2 and isinstance(said[1], game.Aux)):
        second = (
            f"a pair whose second is {_what(said[1])}" if isinstance(said, tuple) and len(said) == 2 else None
        )
        alone = "the value alone" if hasattr(said, "dtype") else _what(said)
        raise InputError(
            f"player {name!r}: its loss must give the value and a jaxgan.Aux, such as (value, Aux()), and gives "
            f"{second or alone}"
        )
    value = jnp.asarray(said[0])
    if value.shape:
        raise InputError(
            f"player {name!r} has a loss of shape {list(value.shape)}, which must be one number; take its mean"
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(
            f"player {name!r} has a loss of {value.dtype}, which must be a floating-point number"
        )


def _check_same(before: game.State, after: game.State) -> None:
    old, new = (
        {jax.tree_util.keystr(path, simple=True, separator="/"): x for path, x in leaves}
        for leaves in (jax.tree_util.tree_flatten_with_path(tree)[0] for tree in (before, after))
    )
    for name in {**old, **new}:
        kinds = [
            f"{each[name].dtype} {list(each[name].shape)}" if name in each else "nothing"
            for each in (old, new)
        ]
        if kinds[0] != kinds[1]:
            raise InputError(
                f"a step makes state.{name.replace('/', '.')} {kinds[1]}, which was {kinds[0]} before"
            )


def open_own(settings: config.OwnSettings, own: Own | None, split: str | None) -> Source:
    """The data of a run of a game that somebody wrote, or another split of it.

    Raises:
      InputError: It came from Python and is not given, or has no such split.
    """
    data = settings.data
    if data is not None:
        if split is None or split == getattr(data, "split", None):
            return data.open()
        return data.of_split(split).open()
    if own is None:
        raise InputError(LACKING)
    if own.source is None:
        raise InputError(
            "the examples of this run came from Python; its file needs a def source(settings) for --import (in Python "
            "pass source=)"
        )
    if split is not None:
        raise InputError("examples from Python have no splits; leave out --split")
    return own.source


def build_own(
    settings: config.RunSettings,
    own: Own | None,
    classes: Sequence[str],
    examples: int,
    fields: Mapping[str, Field],
    domain: Domain,
) -> Built:
    """The experiment of a run of a game that somebody wrote; see `jaxgan.experiment.build`.

    Raises:
      InputError: The game is not given, or see `made` and `check`.
    """
    assert isinstance(settings, config.OwnSettings)
    if own is None:
        raise InputError(LACKING)
    told = settings.game
    built = made(own, told.settings)
    latents = Latents(told.latent, told.latent_kind, told.latent_modes) if told.latent else None
    built = built._replace(
        classes=len(classes) if told.conditional else 0,
        latents=latents,
        given=told.given,
        shown=told.shown,
        config=settings,
        fields=fields,
        domain=domain,
        open=lambda split: open_own(settings, own, split),
    )
    check(built, built.rows)
    return built
