"""Training from Python: a config, or a game of one's own.

For example, a game of one's own, whose generator is one number that learns the mean of the data:

    >>> import jax.numpy as jnp, numpy as np, optax
    >>> from jaxgan import Aux, Game, Player, load
    >>> def game(settings):
    ...     def loss(state, batch, keys):
    ...         return jnp.mean(jnp.square(state.params["mean"]["x"][None] - batch["real"])), Aux()
    ...     init = lambda key, batch: {"mean": {"params": {"x": jnp.zeros(1)}}}
    ...     sample = lambda state, keys, batch: state.params["mean"]["x"][None] + 0.1 * keys.normal((1,))
    ...     return Game(init, {"mean": Player(("mean",), loss, optax.sgd(settings["rate"]))}, sample)
    >>> points = np.full((64, 1), 3.0)
    >>> run = train(game, points, "runs/mean", steps=20, batch_size=8, settings={"rate": 0.2}, progress=False)
    >>> run.step, round(float(run.state.params["mean"]["x"][0]), 1), run.sample(5).shape
    (20, 3.0, (5, 1))
    >>> run.resume(steps=30).log["mean/loss"].shape
    (30,)
    >>> load("runs/mean", game=game, source=points).checkpoint(20).step.item()
    20
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np

from jaxgan import config, domains, experiment, imports
from jaxgan.domains import Domain
from jaxgan.errors import InputError
from jaxgan.experiment import Own
from jaxgan.objectives.latents import Latents
from jaxgan.public.given import GameLike, caller, own_of
from jaxgan.public.play import begin, play
from jaxgan.public.run import Run
from jaxgan.runs.directory import RunDirectory
from jaxgan.saying import say


class RunKeys(TypedDict, total=False):
    """Keys of a config's `[run]`, `[feed]` and `[evaluation]`, see `jaxgan.config`."""

    sample_every: int
    samples: int
    checkpoint_every: int
    keep: int
    keep_every: int
    window: int
    give_up_after: int
    spread: Literal["pmap", "jit"]
    deterministic: bool
    seeds_by: Literal["auto", "map", "vmap"]
    resident: bool | None
    resident_megabytes: int
    workers: int
    every: int
    scores: list[str]
    num: int
    features: str
    weights: str | None


@overload
def train(
    game: GameLike | config.RunSettings | Mapping[str, Any] | str | Path,
    source: Any = None,
    run_dir: str | Path | None = None,
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    seeds: None = None,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    domain: Domain | Mapping[str, Any] | None = None,
    conditional: bool | None = None,
    given: Sequence[str] | None = None,
    latents: Latents | None = None,
    shown: Mapping[str, Sequence[str]] | None = None,
    changed: bool = False,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
    **keys: Unpack[RunKeys],
) -> "Run": ...
@overload
def train(
    game: GameLike | config.RunSettings | Mapping[str, Any] | str | Path,
    source: Any = None,
    run_dir: str | Path | None = None,
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: None = None,
    seeds: Sequence[int],
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    domain: Domain | Mapping[str, Any] | None = None,
    conditional: bool | None = None,
    given: Sequence[str] | None = None,
    latents: Latents | None = None,
    shown: Mapping[str, Sequence[str]] | None = None,
    changed: bool = False,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
    **keys: Unpack[RunKeys],
) -> "list[Run]": ...
def train(
    game: GameLike | config.RunSettings | Mapping[str, Any] | str | Path,
    source: Any = None,
    run_dir: str | Path | None = None,
    *,
    steps: int | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    name: str | None = None,
    settings: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    domain: Domain | Mapping[str, Any] | None = None,
    conditional: bool | None = None,
    given: Sequence[str] | None = None,
    latents: Latents | None = None,
    shown: Mapping[str, Sequence[str]] | None = None,
    changed: bool = False,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
    **keys: Unpack[RunKeys],
) -> "Run | list[Run]":
    """Trains a config or a game of one's own, from the newest good checkpoint of its folder if there is one.

    The first call of a process asks XLA for operations that repeat their bits, and keeps compiled programs for the next
    start, as the command line does. SIGINT and SIGTERM save and stop, in the main thread.

    Args:
      game: A config: its path, the name of one that comes with jaxgan, a table, or `jaxgan.config.Settings`. Or a game
        of one's own: a `Game`; a `Built`, which can say more; or a function of `settings` that gives one of both, which
        `--import` needs.
      source: The data of a game of one's own: a mapping of field names to arrays `[N, ...]`, among them "real", what
        the game learns to make; an array alone, which is "real"; any object with `__len__` and `__getitem__`; a
        `Source`; the name of a source that settings have ("embedded", "embedded:test"), or their table; or a function
        of `settings` that gives one of these. uint8 `[R, R, 1 or 3]` are images, in 0 to 255, and reach the game in -1
        to 1; floating-point numbers reach it as they are, float32. A config names its data itself.
      run_dir: The run's folder, by default runs/NAME-sSEED; with `seeds`, the folder of the runs' folders.
      steps: Train to this step; may grow when a run is resumed. That of the config or of the run if not given.
      batch_size: Examples in each player's turn, over all devices; 128 of one's own game if not given.
      seed: Of weights, draws and the order of data.
      seeds: Trains a run for each of these, all in one program.
      name: The run's name; by default the config's, or that of the folder.
      settings: The caller's own settings, plain data, for `game` and `source` where these are functions; stored with
        the run.
      classes: The names of the labels, where the data has labels and no names for them.
      domain: What examples are, `jaxgan.domains`, where that is neither images nor numbers.
      conditional: Whether samples are made of labels; by default whether `Game.sample` reads "label".
      given: Fields of examples that samples are made from; by default those others that `Game.sample` reads.
      latents: What the field "latent" is drawn from that `Game.sample` takes where it is there: then samples can be
        walks between latents, and truncated.
      shown: What the progress bar shows: labels, each with metrics such as "player/loss", the first of which that is
        there is shown. By default losses.
      changed: Whether a run may go on with other files than it was trained with, which its manifest then says.
      progress: Whether to draw progress bars.
      devices: Where to train; by default on all devices.
      keys: Keys of a config's `[run]`, `[feed]` and `[evaluation]`.

    Returns:
      The run; with `seeds` a list of runs, in their order.

    Raises:
      InputError: Something does not fit; nothing is written then.
      RunError: A save failed, or too many steps in a row were not finite.
      Stopped: Training was interrupted; the run is saved.
      Terminated: A signal ended it; the run is saved.
    """
    imports.check_not_importing("jaxgan.train")
    if seeds is not None and seed is not None:
        raise InputError("seed and seeds exclude each other; give one of them")
    if seeds is not None:
        if not all(isinstance(each, int | np.integer) for each in seeds):
            raise InputError(f"seeds are {list(seeds)}; they must be whole numbers")
        seeds = [int(each) for each in seeds]
        if not seeds or len(set(seeds)) < len(seeds):
            raise InputError(f"seeds are {seeds}; give at least one, and none of them twice")
    for key in keys:
        if key not in RunKeys.__annotations__:
            known = (
                *RunKeys.__annotations__,
                "steps",
                "batch_size",
                "seed",
                "seeds",
                "name",
                "run_dir",
                "settings",
            )
            near = difflib.get_close_matches(key, known, 1)
            raise InputError(f"unknown key {key}" + (f"; did you mean {near[0]}?" if near else ""))
    if isinstance(game, Mapping) and "real" in game:
        raise InputError("the game comes first, then the data: jaxgan.train(game, source, run_dir)")
    top = {"steps": steps, "batch_size": batch_size, "seed": seed, "name": name}
    told = {**{key: value for key, value in top.items() if value is not None}, **keys}
    own_words = {
        "settings": settings,
        "classes": classes,
        "domain": domain,
        "conditional": conditional,
        "given": given,
        "latents": latents,
        "shown": shown,
    }
    if isinstance(game, config.RunSettings | Mapping | str | Path):
        extra = [key for key, value in {"source": source, **own_words}.items() if value is not None]
        if extra:
            raise InputError(
                f"{extra[0]} is of a game of one's own, and a config says that itself; leave it out (a folder is "
                "run_dir=)"
            )
        own, found = None, config.changed(settings_of(game), told)
    else:
        begin(keys.get("deterministic", True), seeds)  # before the game is traced
        own, found = _own(game, source, run_dir, told, caller(), **own_words)
    if seeds is None and run_dir is not None:
        found = _no_fewer(found, Path(run_dir))
    how = {"changed": changed, "progress": progress, "devices": devices}
    runs = [Run(path, own) for path in play(found, own, run_dir, seeds, **how)]
    return runs[0] if seeds is None else runs


def _no_fewer(settings: config.RunSettings, path: Path) -> config.RunSettings:
    """The settings with as many steps as the run in the folder was started for: the same call again takes none back."""
    known = RunDirectory(path).read_config()
    if known is None or known.steps <= settings.steps:
        return settings
    say(f"{path} was started for {known.steps} steps, more than the {settings.steps} that are asked for now")
    return settings.model_copy(update={"steps": known.steps})


def settings_of(given: config.RunSettings | Mapping[str, Any] | str | Path) -> config.Settings:
    """The settings that a user names in one way or another."""
    if isinstance(given, config.Settings):
        return given
    if isinstance(given, config.RunSettings):
        raise InputError("these are settings of a run of somebody's own game; give the game")
    if isinstance(given, Mapping):
        return config.parse(dict(given))
    path = Path(given)
    if path.is_dir() and (path / "config.toml").exists():
        raise InputError(f"{path} is a run: jaxgan.load({str(path)!r}).resume() goes on with it")
    if path.suffix == ".toml" or path.exists() or len(path.parts) > 1:
        return config.load(path)
    return config.load(config.shipped(str(given)))


def _own(
    game: GameLike,
    source: Any,
    run_dir: str | Path | None,
    told: Mapping[str, Any],
    file: Path | None,
    *,
    settings: Mapping[str, Any] | None,
    classes: Sequence[str] | None,
    domain: Domain | Mapping[str, Any] | None,
    **words: Any,
) -> tuple[Own, config.OwnSettings]:
    """A game of one's own and the settings of its run.

    Raises:
      InputError: Something is missing or of another type.
    """
    if not isinstance(settings, Mapping | None):
        raise InputError(f"settings is a {type(settings).__name__}; give a mapping, such as {{'rate': 1e-3}}")
    plain = config.plain(settings or {})
    own, data = own_of(game, source, plain, file, classes=classes, domain=domain)
    path = Path(run_dir) if run_dir is not None else None
    named = path.name if path else file.stem if file else "game"
    table = {"name": re.sub(r"[^\w.-]", "-", named) or "game", "game": config.OwnGame(settings=plain)}
    known = config.load_any(path / "config.toml") if path and (path / "config.toml").exists() else None
    if "steps" not in told and known is None:
        raise InputError("steps is missing: say to which step to train, such as steps=10_000")
    if isinstance(known, config.OwnSettings):
        table["steps"] = known.steps
    first = config.own({**table, "steps": table.get("steps", 1), **({"data": data} if data else {})})
    found = config.changed(first, told)
    opened = experiment.source_of(found, own=own)
    is_of = domains.of(opened)
    fields = is_of.decoded(opened.fields)
    if "real" not in fields:
        raise InputError(
            f"the data has no field 'real', what the game learns to make; it has {', '.join(fields)}"
        )
    read = experiment.read(experiment.made(own, plain), fields, len(opened.classes), **words)
    return own, found.model_copy(update={"game": read.model_copy(update={"settings": plain})})
