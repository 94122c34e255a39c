"""What a run writes: its configuration and manifest, checkpoints, log, sheets of samples and curves.

For example:

    >>> from jaxgan import config
    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> settings = config.parse(given)
    >>> built = experiment.of_source(settings, experiment.source_of(settings))
    >>> run = Recorder(built, RunDirectory(Path("tiny")), print, writes=True)
    >>> run.begin(manifest={"seed": 0})
    >>> log = {"generator/loss": [0.5, 0.25], "skipped": [0, 0], "skipped_in_a_row": [0, 0], "played": [1, 1]}
    >>> run.record(before=0, count=2, log={name: jax.numpy.array(each) for name, each in log.items()})
    2
    >>> [row["generator/loss"] for row in run.folder.read_metrics()]
    [0.5, 0.25]
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxgan import experiment, plots, reading
from jaxgan.errors import InputError, writing
from jaxgan.families import Built
from jaxgan.game import State
from jaxgan.runs import stored
from jaxgan.runs.checkpoint import Checkpoints, sha256, unflatten
from jaxgan.runs.directory import RunDirectory
from jaxgan.training.signs import Watch


class Recorder:
    """One run: where it stands, and its folder. All processes of a run hold one, and the main process's writes."""

    def __init__(self, built: Built, folder: RunDirectory, say: Callable[[str], None], writes: bool) -> None:
        """Reads and writes nothing yet."""
        self.built: Built = built
        self.settings: Any = built.config
        self.folder: RunDirectory = folder
        self.say: Callable[[str], None] = say
        self.writes: bool = writes
        self.checkpoints: Checkpoints = Checkpoints(
            folder.checkpoints, self.settings.run.keep, self.settings.run.keep_every
        )
        self.step: int = 0
        """The last step that was asked for."""
        self.logged: int = 0
        """The last step in the log."""
        self.last: dict[str, float] = {}
        """The metrics of that step, of the players who had a turn; empty before the first."""
        self.restored: int = 0
        """Some digits of the digest of the state that the run goes on from, 0 for none."""
        self.alone = True
        """Whether no other run trains with this one."""
        self.gave_up: bool = False
        """Whether too many steps in a row were not finite."""
        self.first_bad: str = ""
        """Where the last such row began."""
        self._saved = self._drawn = -1
        self._watch = Watch()
        self._best = Checkpoints(folder.best, keep=2)

    @property
    def live(self) -> bool:
        """Whether there are steps left to take."""
        return not self.gave_up and self.step < self.settings.steps

    def due(self, every: int) -> bool:
        """Whether something that is done every so many steps is to be done now; so it is at the end."""
        return self.step % every == 0 or self.step == self.settings.steps

    def stop(self) -> int:
        """The next step at which something is due."""
        run = self.settings.run
        return min(
            self.settings.steps,
            *(
                self.step + n - self.step % n
                for n in (run.sample_every, run.checkpoint_every, self.settings.evaluation.every)
                if n
            ),
        )

    def restore(self, template: State) -> State | None:
        """The newest good state, if there is one.

        Raises:
          InputError: If all are damaged, of another model, or past the last step.
        """
        found = self.checkpoints.newest(self.say)
        if found is None:
            if self.folder.metrics.exists():
                self.say(
                    f"there is no good checkpoint in {self.folder.checkpoints}; starting again from step 0"
                )
            return None
        state = unflatten(template, found[1])
        self.step = self.logged = self._saved = int(state.step)
        if self.step > self.settings.steps:
            raise InputError(
                f"{self.folder.path} is at step {self.step}; "
                f"--steps may grow, not shrink to {self.settings.steps}"
            )
        self.restored = int(sha256(found[1])[:7], 16)
        # A run that gave up goes on when it is asked to.
        most = self.settings.run.give_up_after - 1
        return state.replace(skipped_in_a_row=np.minimum(state.skipped_in_a_row, most))

    def begin(self, manifest: dict[str, Any]) -> None:
        """Writes what the run is, and takes away what a run that ended early wrote past the state it goes on from."""
        if not self.writes:
            return
        resumed = self._saved >= 0
        self.folder.write(self.folder.config, self.settings.to_toml())
        manifest = {**manifest, "resumed_from_step": self.step if resumed else None}
        for change in manifest.get("origins_changed", ()):
            if change["step"] is None:  # the one that was made just now
                change["step"] = self.step
        self.folder.write(self.folder.manifest, json.dumps(manifest, indent=1))
        self.folder.truncate(self.step, self.say)
        self.checkpoints.forget_after(self.step)
        if resumed:
            self.say(f"resuming {self.folder.path} from step {self.step}")

    def record(self, before: int, count: int, log: dict[str, jax.Array]) -> int:
        """Writes down the metrics of a window that began after step `before`, and notices when the run gave up in it.

        Returns:
          The number of steps taken: less than `count` if the run gave up.
        """
        values = {name: np.asarray(array) for name, array in log.items()}
        played = int(values.pop("played")[:count].sum())
        in_a_row = values.pop("skipped_in_a_row")
        order = [
            k
            for player in self.built.game.players
            for k in sorted(values, key=lambda k: not k.endswith("/loss"))
            if k.startswith(f"{player}/")
        ]
        rows = [
            {"step": before + i + 1, **{k: float(values[k][i]) for k in [*order, "skipped"]}}
            for i in range(played)
        ]
        for i, row in enumerate(rows):
            if row["skipped"] and (in_a_row[i] == 1 or not self.first_bad):
                broken = [k for k in order if not math.isfinite(row[k]) and not self._waits(k, before + i)]
                self.first_bad = (
                    f"at step {before + i + 1}, {broken[0] if broken else 'a batch statistic'} was not finite"
                )
        self.gave_up |= played > 0 and in_a_row[played - 1] >= self.settings.run.give_up_after
        if rows:
            waiting = {k for k in order if self._waits(k, before + played - 1)}
            self.last = {k: x for k, x in rows[-1].items() if k not in waiting}
            self.logged = before + played
            if self.writes:
                self.folder.log(rows)
                for sign in self._watch.see({k: values[k][:played] for k in order}):
                    name = "" if self.alone else f"{self.folder.path}, "
                    self.say(f"warning: {name}step {self.logged}: {sign}")
        return played

    def _waits(self, metric: str, step: int) -> bool:
        return not self.built.game.players[metric.split("/")[0]].plays(step)

    def sheet(self, step: int, made: jax.Array, examples: Mapping[str, np.ndarray] | None = None) -> None:
        """Writes the samples of a step, beside the examples that they were made from, if they were."""
        if not self.gave_up:
            domain = self.built.domain
            shown = experiment.shown(self.built, domain.encode(np.asarray(made)), examples)
            for ending in domain.sheets:
                file = self.folder.samples / f"step_{step:08d}{ending}"
                with writing(file):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    domain.write(shown, file)

    def score(self, lines: Sequence[Mapping[str, Any]], better: int, state: State) -> None:
        """Writes down scores, and keeps the state apart if the first of them is the best so far.

        Args:
          lines: As of `jaxgan.scoring.evaluate.line`.
          better: 1 where more is better, -1 where less is; 0 where that cannot be said, and nothing is kept.
          state: The state that was scored.

        Raises:
          RunError: If they cannot be written.
        """
        self.folder.add_scores(lines)
        first = lines[0]
        if not better or first["value"] is None:
            return
        if self.beaten(first, better):
            self._best.save(self.step, state, self._note())
            self._best.wait()
            self._best.forget_others(self.step)
            self.folder.write(self.folder.best_score, json.dumps(first, indent=1))

    def beaten(self, score: Mapping[str, Any], better: int) -> bool:
        """Whether a score is better than the best so far, which is of another protocol or damaged, or there is none."""
        try:
            best = stored.score_of(reading.text_of(self.folder.best_score))
        except (OSError, reading.Faulty):
            return True
        if best["protocol"] != score["protocol"] or best["value"] is None:
            return True
        return better * (score["value"] - best["value"]) > 0

    def save(self, state: Callable[[], State]) -> None:
        """Saves the state that is called for, unless that is done.

        Raises:
          RunError: If the save before this one failed.
        """
        if self.gave_up:
            self.step = int(state().step)
        if self.writes and self.step != self._saved:
            self.checkpoints.save(self.step, state(), self._note())
        self._saved = self.step

    def _note(self) -> dict[str, Any] | None:
        ledger = self.built.ledger
        return {"privacy": ledger.note(self.step)} if ledger else None

    def draw_curves(self) -> None:
        """Draws the log, unless that is done."""
        if self._drawn == self.logged:
            return
        self._drawn = self.logged
        if self.writes and self.step and (rows := self.folder.read_metrics()):
            title = f"{self.settings.name}, seed {self.settings.seed}"
            plots.curves(rows, self.folder.curves, title, self.built.shown)
