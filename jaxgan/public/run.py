"""A run as an object: what it is, what it made, and what can be made of it.

For example:

    >>> from jaxgan.public.train import train
    >>> run = train("mlp", run_dir="runs/tiny", steps=4, batch_size=8, checkpoint_every=2, progress=False)
    >>> run.step, run.checkpoints, int(run.checkpoint(2).step)
    (4, [2, 4], 2)
    >>> load("runs/tiny").log["generator/loss"].shape
    (4,)
    >>> run.checkpoint(3)
    Traceback (most recent call last):
    jaxgan.errors.InputError: runs/tiny has no checkpoint of step 3; there are 2, 4
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import config, imports, report
from jaxgan.domains import Domain
from jaxgan.errors import InputError
from jaxgan.experiment import Own
from jaxgan.families import Built
from jaxgan.game import Game, State
from jaxgan.public.given import GameLike, caller, own_of
from jaxgan.public.play import play
from jaxgan.runs.checkpoint import Checkpoints, Damaged
from jaxgan.runs.directory import RunDirectory
from jaxgan.sampling import sample as sampling
from jaxgan.saying import say
from jaxgan.scoring import evaluate as scoring
from jaxgan.scoring.features import Resize
from jaxgan.training import verify as verifying


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
        self.sampled: sampling.Trained | None = None
        """What the last samples were made with."""
        self._loaded: tuple[Any, sampling.Trained] | None = None

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
        folder = RunDirectory(self.path)
        place = folder.best if best else folder.checkpoints
        at = best, settings, [(path, path.stat().st_mtime_ns) for path in sorted(place.glob("*/*.json"))]
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
        _check(truncation, standing)
        if walk < 1 or (columns is not None and columns < 1):
            raise InputError(f"walk is {walk} and columns {columns}; they must be at least 1")
        trained = self._trained(best)
        place = Path(out) if out is not None else None
        if place is not None:
            sampling.check_output(place, trained.built.domain)
        number = self._class(label)
        how = {"walk": walk, "truncation": truncation, "label": number, "caption": text}
        self.sampled = trained
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
        scores: str | Sequence[str] | None = None,
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
          A line for each score and seed: "score", "value", "error", "floor", "protocol" and more; "note" where there is
          something to be known besides.

        Raises:
          InputError: A score cannot be computed, or the data is not that which the run was trained on.
        """
        _check(truncation, standing)
        if num < 2:
            raise InputError(f"num is {num}; it must be at least 2")
        return scoring.of_run(
            self.path,
            names=[scores] if isinstance(scores, str) else scores,
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
        report.write([self.path], place, say, [self.own])
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
        imports.check_not_importing("Run.verify")
        return verifying.verify(self.path, say, own=self.own, steps=steps, progress=progress)


def _check(truncation: float | None, standing: int) -> None:
    if truncation is not None and not truncation > 0:
        raise InputError(f"truncation is {truncation}; it must be above 0")
    if not 0 <= standing < 2**16:
        raise InputError(f"standing is {standing}; it must be at least 0 and less than {2**16}")


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
    how: dict[str, Any] = {"classes": classes, "domain": domain, "known": run.manifest}
    return Run(run_dir, own_of(game, source, settings.game.settings, caller(), **how)[0])
