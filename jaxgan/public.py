"""Training and what comes after it, from Python: `train`, `load` and `Run`. The command line is a caller of these.

For example, a game of one's own, whose generator is one number that learns the mean of the data:

    >>> import jax.numpy as jnp, optax
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

import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, ClassVar, Literal, TypedDict, Unpack, overload

import numpy as np

from jaxgan import backends, cache, config, domains, experiment, imports, parallel, report
from jaxgan.data.sources import DATA, Data
from jaxgan.data.sources.given import given as given_source
from jaxgan.domains import Domain
from jaxgan.errors import InputError
from jaxgan.experiment import Own
from jaxgan.families import Built
from jaxgan.game import Aux, Game, Player, State
from jaxgan.objectives.latents import Latents
from jaxgan.runs.checkpoint import Checkpoints, Damaged
from jaxgan.runs.directory import RunDirectory
from jaxgan.sampling import sample as sampling
from jaxgan.scoring import evaluate as scoring
from jaxgan.scoring.features import Resize
from jaxgan.training import verify as verifying
from jaxgan.training.train import train as train_one
from jaxgan.training.train import train_seeds

__all__ = ["Aux", "Game", "Player", "Run", "Stopped", "Terminated", "load", "train"]

Say = Callable[[str], None]
GameLike = Game | Built | Callable[[dict[str, Any]], Game | Built]
"""A game, or a function of the caller's settings that gives it."""


class Keys(TypedDict, total=False):
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


class Stopped(KeyboardInterrupt):
    """Training was interrupted from the keyboard; the run is saved, and the same call goes on from there."""

    number: ClassVar[int] = signal.SIGINT
    """The signal's number."""


class Terminated(SystemExit):
    """Training was ended by a signal; the run is saved. A script ends with 128 and the signal's number."""

    def __init__(self, number: int) -> None:
        """Takes the signal's number."""
        super().__init__(128 + number)
        self.number = number
        """The signal's number."""


def say(line: str) -> None:
    """Prints a line for the user on stderr, above a progress bar if there is one."""
    from tqdm import tqdm

    tqdm.write(f"jaxgan: {line}", file=sys.stderr)


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
    **keys: Unpack[Keys],
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
    **keys: Unpack[Keys],
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
    **keys: Unpack[Keys],
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
        seeds = [int(each) for each in seeds]
        if not seeds or len(set(seeds)) < len(seeds):
            raise InputError(f"seeds are {seeds}; give at least one, and none of them twice")
    _start(keys.get("deterministic", True), seeds)
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
        own, found = None, config.changed(_config(game), told)
    else:
        own, found = _own(game, source, run_dir, told, _caller(), **own_words)
    return play(found, own, run_dir, seeds, changed=changed, progress=progress, devices=devices)


def _start(deterministic: bool, seeds: Sequence[int] | None) -> None:
    """What comes before JAX starts: XLA is told how to compile, and where programs are kept."""
    if seeds is not None:
        parallel.share_cores(len(seeds))
    backends.ask_for_determinism(deterministic)
    cache.keep(say)


def play(
    settings: config.RunSettings,
    own: Own | None,
    run_dir: str | Path | None,
    seeds: Sequence[int] | None,
    *,
    changed: bool = False,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
) -> "Run | list[Run]":
    """Trains settings; `train` makes them of what a user has.

    Args:
      settings: Of the run.
      own: The game, where somebody wrote it in Python.
      run_dir: As of `train`.
      seeds: As of `train`.
      changed: As of `train`.
      progress: As of `train`.
      devices: As of `train`.

    Raises:
      InputError: As `train`.
      RunError: As `train`.
      Stopped: As `train`.
      Terminated: As `train`.
    """
    _start(settings.run.deterministic, seeds)
    how: dict[str, Any] = {"changed": changed, "progress": progress, "devices": devices}
    if seeds is not None:
        folder = Path(run_dir or "runs")
        paths = {each: folder / f"{settings.name}-s{each}" for each in seeds}
        code = train_seeds(settings, paths, say, own=own, **how)
        first, *_, last = [*paths.values()] * 2
        where = f"{first} to {last.name}" if len(seeds) > 1 else str(first)
        made = f"{len(seeds)} runs to step {_reached(first, settings)}; see {where}"
        _end(code, made, where)
        return [Run(path, own) for path in paths.values()]
    path = Path(run_dir or f"runs/{settings.name}-s{settings.seed}")
    code = train_one(settings, path, say, own=own, **how)
    _end(code, f"to step {_reached(path, settings)}; see {path / 'samples'} and {path / 'curves.png'}", path)
    return Run(path, own)


def _reached(path: Path, settings: config.RunSettings) -> int:
    """The last step of a run, which a budget may have ended sooner."""
    return (RunDirectory(path).read_config() or settings).steps


def _end(code: int, made: str, where: str | Path) -> None:
    if code == 0:
        say(f"trained {made}")
        return
    say(f"stopped and saved; the same command goes on from here: {where}")
    if code == 128 + signal.SIGINT:
        raise Stopped
    raise Terminated(code - 128)


def _config(given: config.RunSettings | Mapping[str, Any] | str | Path) -> config.Settings:
    """The settings that a user names in one way or another."""
    if isinstance(given, config.Settings):
        return given
    if isinstance(given, config.RunSettings):
        raise InputError("these are settings of a run of somebody's own game; give the game")
    if isinstance(given, Mapping):
        if "real" in given:
            raise InputError("the game comes first, then the data: jaxgan.train(game, source, run_dir)")
        return config.parse(dict(given))
    path = Path(given)
    if path.is_dir() and (path / "config.toml").exists():
        raise InputError(f"{path} is a run: jaxgan.load({str(path)!r}).resume() goes on with it")
    if path.suffix == ".toml" or path.exists() or len(path.parts) > 1:
        return config.load(path)
    return config.load(config.shipped(str(given)))


def _caller() -> Path | None:
    """The file of the code that called us, if it is one."""
    frame: FrameType | None = sys._getframe(1)
    package = str(Path(__file__).parent)
    while frame is not None and frame.f_code.co_filename.startswith(package):
        frame = frame.f_back
    path = Path(frame.f_code.co_filename) if frame else Path()
    return path if path.is_file() else None


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
    plain = config.plain(settings or {})
    own, data = own_of(game, source, plain, file, classes=classes, domain=domain)
    path = Path(run_dir) if run_dir is not None else None
    named = path.name if path else file.stem if file else "game"
    table = {"name": re.sub(r"[^\w.-]", "-", named) or "game", "game": config.OwnGame(settings=plain)}
    known = config.load_run(path / "config.toml") if path and (path / "config.toml").exists() else None
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


def own_of(
    game: GameLike,
    source: Any,
    settings: Mapping[str, Any],
    file: Path | None,
    *,
    classes: Sequence[str] | None = None,
    domain: Domain | Mapping[str, Any] | None = None,
) -> tuple[Own, Data | None]:
    """What the folder of a run cannot hold of a game of one's own, and the settings of its data where it has any.

    Args:
      game: As of `train`.
      source: As of `train`; None where settings that are known already name it.
      settings: The caller's settings.
      file: The file that stands for the game where all of its functions are of libraries.
      classes: As of `train`.
      domain: As of `train`.

    Raises:
      InputError: The game is none, or the data cannot be used.
    """
    if isinstance(game, Game | Built):
        make: Callable[[dict[str, Any]], Any] = lambda settings: game  # noqa: E731
    elif callable(game):
        make = game
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
        return Own(make, None, file), data
    held = None if source is None else given_source(source, classes=classes, domain=domain)
    return Own(make, held, file), None


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


class Run:
    """A run in its folder: what it is, what training wrote, and what can be made of it.

    Nothing is read before it is asked for; what training goes on writing is seen.
    """

    def __init__(self, path: str | Path, own: Own | None = None) -> None:
        """Names the folder.

        Args:
          path: The run's folder.
          own: The game, where it is one's own; `load` and `train` make it.
        """
        self.path: Path = Path(path)
        """The folder."""
        self.own: Own | None = own
        """What the folder cannot hold of a game of one's own."""
        self.sampled: int | None = None
        """The step of the last samples."""
        self._loaded: tuple[tuple[bool, int], sampling.Trained] | None = None

    def __repr__(self) -> str:
        steps = self.checkpoints
        return f"Run({str(self.path)!r}, {f'step {steps[-1]}' if steps else 'no checkpoint'})"

    @property
    def settings(self) -> config.RunSettings:
        """What RUN/config.toml holds."""
        found = RunDirectory(self.path).read_config()
        if found is None:
            raise InputError(
                f"{self.path} is not a run: it has no config.toml; give a folder that jaxgan train made"
            )
        return found

    @property
    def manifest(self) -> dict[str, Any]:
        """What RUN/manifest.json holds: versions, devices, data, and whose code made the run."""
        return RunDirectory(self.path).read_manifest() or {}

    @property
    def checkpoints(self) -> list[int]:
        """The steps that are stored, ascending."""
        return Checkpoints(RunDirectory(self.path).checkpoints).steps()

    @property
    def step(self) -> int:
        """The step of the newest good checkpoint."""
        return self._trained().step

    @property
    def state(self) -> State:
        """The newest good state, on the default device."""
        return self._trained().state

    @property
    def game(self) -> Game:
        """The game that was trained."""
        return self._trained().built.game

    @property
    def built(self) -> Built:
        """The game, and how it is sampled."""
        return self._trained().built

    @property
    def log(self) -> dict[str, np.ndarray]:
        """The log of training, a column `[rows]` for each metric: "step" int64, others float64 by "player/metric".

        A metric is NaN where it was not finite, and where its player had no turn.
        """
        rows = RunDirectory(self.path).read_metrics()
        names = dict.fromkeys(name for row in rows for name in row)
        columns = {
            name: np.array([np.nan if (value := row.get(name)) is None else value for row in rows])
            for name in names
        }
        return {name: x.astype(np.int64 if name == "step" else np.float64) for name, x in columns.items()}

    @property
    def scores(self) -> list[dict[str, Any]]:
        """All scores that were computed of the run, each with its protocol: the lines of RUN/evaluation.jsonl."""
        return RunDirectory(self.path).read_evaluation()

    def _trained(self, best: bool = False) -> sampling.Trained:
        """The run as read back, kept until there is a newer checkpoint."""
        settings = self.settings  # says so where this is no run
        steps = self.checkpoints
        at = best, steps[-1] if steps else settings.steps
        if self._loaded is None or self._loaded[0] != at:
            self._loaded = at, sampling.load(self.path, say, best=best, own=self.own)
        return self._loaded[1]

    def checkpoint(self, step: int) -> State:
        """A stored state.

        Args:
          step: One of `checkpoints`.

        Raises:
          InputError: There is none of that step, or it is damaged.
        """
        stored = Checkpoints(RunDirectory(self.path).checkpoints)
        if step not in stored.steps():
            known = ", ".join(map(str, stored.steps())) or "none"
            raise InputError(f"{self.path} has no checkpoint of step {step}; there are {known}")
        try:
            return sampling.restored(self.built, stored.read(step))
        except Damaged as error:
            raise InputError(f"checkpoint {stored.directory / str(step)} is damaged: {error}") from None

    def resume(
        self,
        steps: int | None = None,
        *,
        changed: bool = False,
        progress: bool = True,
        devices: Sequence[Any] | None = None,
    ) -> "Run":
        """Trains on, from the newest good checkpoint.

        Args:
          steps: To this step; to that which the run was started for if not given.
          changed: As of `train`.
          progress: Whether to draw progress bars.
          devices: Where to train; by default on all devices.

        Returns:
          This run.

        Raises:
          InputError: As `train`.
          RunError: As `train`.
        """
        imports.check_not_importing("Run.resume")
        settings = config.changed(self.settings, {} if steps is None else {"steps": steps})
        play(settings, self.own, self.path, None, changed=changed, progress=progress, devices=devices)
        return self

    def sample(
        self,
        n: int = 64,
        *,
        label: int | str | None = None,
        seed: int = 0,
        truncation: float | None = None,
        walk: int = 1,
        text: str | None = None,
        standing: int = 0,
        best: bool = False,
        out: str | Path | None = None,
        columns: int | None = None,
        minilm: str | Path | None = None,
    ) -> np.ndarray:
        """Samples of the newest good state, of averaged weights where there are any.

        Args:
          n: How many.
          label: The class of all of them, by its number or its name; each class in turn if not given.
          seed: Sample i depends on the seed and i alone.
          truncation: Gaussian latents larger than this are drawn again.
          walk: Samples in a walk from one latent to the next; 1 for samples of their own.
          text: What all of them show, of runs that make images from text.
          standing: Batches whose statistics batch norm uses in place of its running averages; 0 for these.
          best: Whether to take the checkpoint that scored best while the run was trained.
          out: A file to write them to as well: a sheet (of images .png), or .npz for arrays with their origin.
          columns: Samples in a row of the sheet.
          minilm: Where MiniLM's package is, of runs from embeddings (`text`).

        Returns:
          Samples `[n, ...]` as the data is stored: images uint8 `[n, R, R, C]` in 0 to 255, numbers float32.

        Raises:
          InputError: The run has no such samples, or the file cannot be written.
        """
        for what, value, least, most in (("n", n, 1, 2**31), ("seed", seed, 0, 2**32)):
            if not least <= value < most:
                raise InputError(f"{what} is {value}; it must be at least {least} and less than {most}")
        trained = self._trained(best)
        place = Path(out) if out is not None else None
        if place is not None:
            sampling.check_output(place, trained.built.domain)
        number = self._class(label)
        how = {"walk": walk, "truncation": truncation, "label": number, "caption": text}
        self.sampled = trained.step
        made = sampling.images(
            trained, n, seed, **how, standing_batches=standing, minilm=Path(minilm) if minilm else None
        )
        if place is not None:
            sampling.write(trained, made, place, seed=seed, columns=columns, **how)
        return made

    def _class(self, label: int | str | None) -> int | None:
        if not isinstance(label, str):
            return label
        names = list(self.manifest.get("classes", ()))
        if label not in names:
            raise InputError(f"no class is called {label!r}; there are {', '.join(names) or 'none'}")
        return names.index(label)

    def evaluate(
        self,
        scores: Sequence[str] | None = None,
        *,
        num: int = 10_000,
        features: str = "auto",
        weights: str | Path | None = None,
        resize: Resize | None = None,
        seeds: Sequence[int] = (0,),
        split: str | None = None,
        averaged: bool = True,
        truncation: float | None = None,
        best: bool = False,
        standing: int = 0,
        progress: bool = True,
    ) -> list[dict[str, Any]]:
        """Scores the newest good state, and writes the scores to RUN/evaluation.jsonl.

        Args:
          scores: Their names, such as "frechet", or "all"; all but the slow ones if not given.
          num: Samples to make, and most real examples to compare them with.
          features: The network that scores look through.
          weights: Its weights, where they have to be brought.
          resize: How images reach it: "clean" or "bilinear".
          seeds: Of the latents: one evaluation for each.
          split: Of the real examples; that which the run was trained on if not given.
          averaged: Whether to take averaged weights where there are any.
          truncation: As of `sample`.
          best: As of `sample`.
          standing: As of `sample`.
          progress: Whether to draw progress bars.

        Returns:
          A line for each score and seed: "score", "value", "error", "floor", "protocol" and more.

        Raises:
          InputError: A score cannot be computed, or the data is not that which the run was trained on.
        """
        self._trained(best)
        return scoring.of_run(
            self.path,
            names=scores,
            num=num,
            network=features,
            weights=Path(weights) if weights else None,
            resize=resize,
            seeds=seeds,
            split=split,
            averaged=averaged,
            truncation=truncation,
            best=best,
            standing=standing,
            own=self.own,
            say=say,
            progress=progress,
        )

    def report(self, out: str | Path | None = None) -> Path:
        """Writes the run as one HTML file: samples, curves, scores, and how to repeat it.

        Args:
          out: The file; RUN/report.html if not given.

        Returns:
          The file.

        Raises:
          InputError: The run has no checkpoint.
        """
        place = Path(out) if out is not None else self.path / "report.html"
        report.write([self.path], place, say, self.own)
        return place

    def verify(self, steps: int | None = None, *, progress: bool = True) -> verifying.Verdict:
        """Trains some steps again in another folder, and compares their bits with those that are stored.

        Args:
          steps: So many from the start; from the last checkpoint but one to the last if not given.
          progress: Whether to draw progress bars.

        Raises:
          InputError: There is nothing to compare with.
          RunError: Training fails.
        """
        return verifying.verify(self.path, say, own=self.own, steps=steps, progress=progress)


def load(
    run_dir: str | Path,
    game: GameLike | None = None,
    source: Any = None,
    *,
    classes: Sequence[str] | None = None,
    domain: Domain | Mapping[str, Any] | None = None,
) -> Run:
    """A run that was trained before.

    Args:
      run_dir: Its folder.
      game: The game, as of `train`, where it is one's own; without it only the log, the scores and the settings of such
        a run can be read.
      source: The data, as of `train`, where it came from Python; needed to resume and to score.
      classes: As of `train`.
      domain: As of `train`.

    Raises:
      InputError: The folder is not a run, or a game is given and the run's is a config's.
    """
    run = Run(run_dir)
    settings = run.settings
    if game is None:
        return run
    if not isinstance(settings, config.OwnSettings):
        raise InputError(f"{run.path} is a run of a config, which says its game itself; leave out game")
    how = {"classes": classes, "domain": domain}
    return Run(run_dir, own_of(game, source, settings.game.settings, _caller(), **how)[0])
