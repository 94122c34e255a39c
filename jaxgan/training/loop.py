"""The loop: windows of compiled steps, and what is written between them.

For example:

    >>> from jaxgan import config
    >>> from jaxgan.parallel import Spread
    >>> from jaxgan.runs.directory import RunDirectory
    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> settings = config.parse(given)
    >>> source = experiment.source_of(settings)
    >>> built, folder = experiment.of_source(settings, source), RunDirectory(Path("tiny"))
    >>> run = Recorder(built, folder, print, writes=False)
    >>> Loop([run], Spread(), stream.load(source), [{}], None, print, progress=False).run_all()
    0
    >>> run.step, run.logged, run.last["skipped"]
    (2, 2, 0.0)
"""

import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from jaxgan import experiment, game
from jaxgan.data import feed, stream
from jaxgan.data.sources import Source
from jaxgan.errors import InputError, RunError
from jaxgan.parallel import Layout
from jaxgan.saying import clean
from jaxgan.scoring import evaluate, groups
from jaxgan.scoring.scorer import Scorer
from jaxgan.training.recorder import Recorder
from jaxgan.training.signals import Signals
from jaxgan.training.window import Program, longest, program, sampler

WINDOW_SECONDS = 2.0
"""How long a window should take: the bar moves, and a signal is answered, about this often. On a CPU each window asks
the kernel for its memory anew, which costs a DCGAN half a step."""
CURVES_AFTER, CURVES_SHARE = 10.0, 0.02
"""Curves are drawn after so many seconds, and then in up to this part of a run's time; and at its end."""


def _bar() -> Any:
    """The progress bar of a terminal, or in a notebook that of notebooks, where its widgets are installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they are not
        from tqdm.auto import tqdm as found
    return found


class Loop:
    """One run or several, each at a step of its own; those behind play until they have caught up."""

    def __init__(
        self,
        runs: list[Recorder],
        spread: Layout,
        data: stream.Batch | Source,
        manifests: list[dict[str, Any]],
        scorer: Scorer | None,
        say: Callable[[str], None],
        progress: bool,
        initial: Callable[[Any], game.State] | None = None,
    ) -> None:
        """Restores what is there, and compiles nothing yet.

        Args:
          runs: Of one experiment but for their seeds; their folders are claimed.
          spread: Over which devices.
          data: Examples in memory, or the source to read them from.
          manifests: What each run is written to be.
          scorer: Scores samples while training; None where nothing does.
          say: Called with each line for the user.
          progress: Whether to draw a progress bar.
          initial: As of `experiment.beginning`, where somebody traced it already.

        Raises:
          InputError: A checkpoint is past the last step or of another model, or processes found different ones.
        """
        self.runs: list[Recorder] = runs
        self.spread: Layout = spread
        self.say: Callable[[str], None] = say
        self.scorer: Scorer | None = scorer
        self.main: bool = spread.process == 0
        built, settings = runs[0].built, runs[0].settings
        self.settings: Any = settings
        initial = initial or experiment.beginning(built)
        template = jax.eval_shape(initial, np.uint32(0))
        found = [run.restore(template) for run in runs]
        states = [
            initial(np.uint32(run.settings.seed)) if state is None else state
            for run, state in zip(runs, found, strict=True)
        ]
        if len(set(spread.gather(runs[0].restored))) > 1:
            raise InputError(
                f"processes found different checkpoints: {runs[0].folder.path} must be one folder that all of them see"
            )
        for run, manifest in zip(runs, manifests, strict=True):
            run.begin(manifest)
        spread.barrier("restored")
        self.state: game.State = spread.place(states)
        shape = (built.game.turns, built.rows, longest(settings), spread)
        reading = {"stop": settings.steps, "workers": settings.feed.workers, "poisson": built.poisson}
        self.feeds: Sequence[feed.Resident | feed.Streaming] = feed.feeds(
            data, [run.settings.seed for run in runs], *shape, **reading
        )
        self.feed: feed.Resident | feed.Streaming = self.feeds[0]
        self.window: Program = program(
            built.game, built.domain, self.feed, spread, built.rows, settings.run.give_up_after
        )
        self.examples: Mapping[str, Any] | None = experiment.examples(built, settings.run.samples)
        self.sample: Callable[[game.State], jax.Array] = sampler(built, self.examples)
        self.generate: evaluate.Generator | None = (
            evaluate.Generator(built, scorer.population) if scorer else None
        )
        for run in runs:
            run.alone = len(runs) == 1
        self.late: list[Callable[[], None]] = []
        self.undrawn: list[Recorder] = []
        self.seen: int = 0  # examples of all runs since the start
        self.pace: int = 1 if spread.processes == 1 else self.feed.window  # steps in the next window
        self.bar: tqdm[Any] = _bar()(
            total=settings.steps,
            initial=min(run.step for run in runs),
            unit="step",
            desc=settings.name if len(runs) == 1 else f"{settings.name} x {len(runs)}",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() or "ipykernel" in sys.modules else 10,
            disable=not (progress and self.main),
        )

    def run_all(self) -> int:
        """Plays all steps, and writes what is due on the way.

        Returns:
          0 when the runs are complete, 128 + the signal's number when a signal ended them; all is saved in both cases.

        Raises:
          InputError: An example cannot be read.
          RunError: A save failed, or too many steps in a row were not finite.
        """
        signals = Signals()
        with signals.caught(), self.bar:
            try:
                self._play(signals)
            except (InputError, RunError) as error:
                with suppress(RunError):
                    self._catch_up()
                    for i, run in enumerate(self.runs):
                        with suppress(RunError):  # one folder may be broken, and another not
                            run.save(partial(self.spread.member, self.state, i))
                            run.checkpoints.wait()
                if isinstance(error, RunError):  # a worker that died, a full disk
                    raise
                raise InputError(
                    f"{error}. The run is saved, and goes on once its data is whole again"
                ) from error
            finally:
                for read in self.feeds:
                    read.close()
            self._save()
            for run in self.runs:
                run.checkpoints.wait()
                run.draw_curves()
        self.spread.barrier("done")
        if any(run.gave_up for run in self.runs):
            raise RunError(self._why())
        unfinished = any(run.live for run in self.runs)
        return 128 + signals.seen if signals.seen and unfinished else 0

    def _why(self) -> str:
        """What to tell of the runs that gave up."""
        most = self.settings.run.give_up_after
        lost = [run for run in self.runs if run.gave_up]
        if len(self.runs) == 1:
            (run,) = lost
            return (
                f"stopped at step {run.step}: {most} steps in a row were not finite. "
                f"First, {run.first_bad}. The last good state is saved in "
                f"{run.folder.checkpoints / str(run.step)}; try a lower learning rate"
            )
        each = "; ".join(f"{run.folder.path} at step {run.step} (first, {run.first_bad})" for run in lost)
        return (
            f"{len(lost)} of {len(self.runs)} runs stopped as {most} steps in a row were not finite: {each}. "
            "Their last good states are saved; try a lower learning rate"
        )

    def _play(self, signals: Signals) -> None:
        every, begun = self.settings.run, time.monotonic()
        draw_from = begun + CURVES_AFTER
        self._sample_later([run for run in self.runs if run.step == 0])
        counts, parts = self._parts()
        while any(counts):
            self.state, log = self.window(self.state, self.feed.whole, *parts)
            played, before = [], [run.step for run in self.runs]
            for run, count in zip(self.runs, counts, strict=True):
                if count:
                    played.append(run)
                    run.step += count
            # The device is busy with this window: write down what came before it, and make the next one ready.
            self._catch_up()
            if self.undrawn and (now := time.monotonic()) > draw_from:
                self.undrawn.pop(0).draw_curves()
                drawn = time.monotonic()
                draw_from = drawn + (drawn - now) / CURVES_SHARE
            self.late.append(partial(self._record, before, counts, log))
            self._sample_later([run for run in played if run.due(every.sample_every)])
            if self.scorer and any(run.due(self.settings.evaluation.every) for run in played):
                self._evaluate(
                    self.scorer, [run for run in played if run.due(self.settings.evaluation.every)]
                )
            taken = max(counts)
            counts, parts = self._parts()
            if any(run.due(every.checkpoint_every) for run in played):
                self._save()
                self.undrawn += [run for run in played if run not in self.undrawn]
            now = time.monotonic()
            self._adapt(taken / (now - begun))
            begun = now
            signals.seen = max(self.spread.gather(signals.seen))
            if signals.seen:
                break

    def _parts(self) -> tuple[list[int], Any]:
        """The next window: each run's number of steps, and what the program needs for them.

        The runs that are furthest behind play, as many steps as the pace allows, none of them past a step at which
        something is written or others join in.
        """
        live = [run for run in self.runs if run.live]
        if not live:
            return [0], None
        behind = min(run.step for run in live)
        front = [run for run in live if run.step == behind]
        stops = [front[0].stop(), *(run.step for run in live if run.step > behind)]
        count = min(self.pace, self.feed.window, min(stops) - behind)
        counts = [count if run in front else 0 for run in self.runs]
        parts = [
            read.host(run.step, count) for read, run, count in zip(self.feeds, self.runs, counts, strict=True)
        ]
        return counts, self.spread.join(parts, counts)

    def _adapt(self, steps_per_second: float) -> None:
        # Processes must agree on the length of windows, and their clocks do not.
        if self.spread.processes == 1:
            self.pace = max(1, min(2 * self.pace, self.feed.window, int(steps_per_second * WINDOW_SECONDS)))

    def _catch_up(self) -> None:
        late, self.late = self.late, []
        for do in late:
            do()

    def _record(self, before: list[int], counts: list[int], log: dict[str, jax.Array]) -> None:
        """Writes down a window's metrics, and shows them."""
        for i, (run, count) in enumerate(zip(self.runs, counts, strict=True)):
            if count:
                played = run.record(before[i], count, self.spread.member(log, i))
                self.seen += played * self.settings.batch_size
                if played and run.gave_up and len(self.runs) > 1:
                    self.say(f"{run.folder.path} stopped: {run.first_bad}; the others go on")
        shown = [run.last for run in self.runs if run.last and not run.gave_up] or [
            run.last for run in self.runs if run.last
        ]
        if not (self.main and shown):
            return
        elapsed = self.bar.format_dict["elapsed"]
        text = [f"{self.seen / elapsed if elapsed else 0.0:.0f} {self.runs[0].built.domain.plural}/s"]
        for name, keys in self.runs[0].built.shown.items():
            values = [last[key] for last in shown for key in keys if key in last]
            if len(self.runs) == 1 and values:
                text.append(f"{name} {values[0]:.3f}")
            elif values:
                text.append(f"{name} {np.median(values):.2f} [{min(values):.2f}, {max(values):.2f}]")
        self.bar.set_postfix_str(clean(", ".join(text)), refresh=False)
        reached = [run.logged for run in self.runs if not run.gave_up] or [run.logged for run in self.runs]
        self.bar.update(min(reached) - self.bar.n)

    def _sample_later(self, runs: Sequence[Recorder]) -> None:
        for run in runs if self.main else ():
            images = self.sample(self.spread.member(self.state, self.runs.index(run)))
            self.late.append(partial(run.sheet, run.step, images, self.examples))

    def _evaluate(self, scorer: Scorer, runs: Sequence[Recorder]) -> None:
        assert self.generate is not None
        self._catch_up()  # a run that gave up is not scored
        for run in runs:
            if run.gave_up:
                continue
            state = self.spread.member(self.state, self.runs.index(run))
            scores = scorer.score(self.generate(state, 0))
            lines = [evaluate.line(score, run.step, 0, "") for score in scores]
            first = next((i for i, line in enumerate(lines) if groups.better(line["score"])), 0)
            lines = [lines[first], *lines[:first], *lines[first + 1 :]]
            run.score(lines, groups.better(lines[0]["score"]), state)

    def _save(self) -> None:
        self._catch_up()
        for i, run in enumerate(self.runs):
            run.save(partial(self.spread.member, self.state, i))
