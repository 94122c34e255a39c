"""The loop: windows of compiled steps, and what is written between them."""

import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jaxgan import config, experiment, game, report
from jaxgan.checkpoint import Checkpoints, sha256, unflatten
from jaxgan.data import stream
from jaxgan.data.feed import Feed, Resident, Streaming
from jaxgan.data.sources import Source
from jaxgan.errors import InputError, RunError
from jaxgan.game import Game, Keys, State
from jaxgan.parallel import Spread
from jaxgan.rundir import RunDirectory, check_manifest, environment

SAMPLES = 0xFFFFFFFF
"""What the run's key is folded with for sample latents; steps never count this far."""
WINDOW_SECONDS = 1.0
"""How long a window should take: the bar moves, and a signal is answered, about this often."""


def decode(batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Images uint8 to float32 in [-1, 1]."""
    return {**batch, "image": batch["image"].astype(jnp.float32) / 127.5 - 1}


def program(
    rules: Game, feed: Feed, spread: Spread, give_up_after: int
) -> Callable[[State, Any, Any, Any], tuple[State, dict[str, jax.Array]]]:
    """A compiled window: `(state, feed.whole, parts, count)` to the new state and metrics `[window]` by name.

    It takes `count` steps, a traced number, and fewer where `give_up_after` in a row are refused: one trace serves
    every window of a run.
    """

    def take(state: State, whole: Any, parts: Any, i: Any) -> tuple[State, dict[str, jax.Array]]:
        new, metrics = game.step(rules, state, decode(feed.fetch(whole, parts, i)), spread.axis)
        counts = {
            "played": 1,
            "skipped": new.skipped - state.skipped,
            "skipped_in_a_row": new.skipped_in_a_row,
        }
        return new, {**metrics, **{name: jnp.float32(count) for name, count in counts.items()}}

    def window(state: State, whole: Any, parts: Any, count: Any) -> tuple[State, dict[str, jax.Array]]:
        names = jax.eval_shape(take, state, whole, parts, 0)[1]

        def more(carry: Any) -> Any:
            i, state, _ = carry
            return (i < count) & (state.skipped_in_a_row < give_up_after)

        def body(carry: Any) -> Any:
            i, state, log = carry
            state, metrics = take(state, whole, parts, i)
            return i + 1, state, {name: log[name].at[i].set(metrics[name]) for name in log}

        empty = {name: jnp.zeros(feed.window) for name in names}
        _, state, log = jax.lax.while_loop(more, body, (jnp.int32(0), state, empty))
        return state, log

    return spread.compile(window)


def sampler(built: experiment.Experiment) -> Callable[[State], jax.Array]:
    """A compiled function from a state on one device to the run's sample images, from the same latents every time."""
    n, classes = built.config.run.samples, built.classes
    batch = {"label": jnp.arange(n, dtype=jnp.int32) % classes} if classes else None

    @jax.jit
    def sample(state: State) -> jax.Array:
        keys = Keys.of(jax.random.fold_in(state.key, SAMPLES), n)
        return built.game.sample(state.averaged(), keys, batch)

    return sample


class _Signals:
    """SIGINT and SIGTERM as a number to look at between windows; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        self.seen = 0

    def _handle(self, number: int, frame: Any) -> None:
        if self.seen == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.seen = number

    @contextmanager
    def caught(self) -> Iterator["_Signals"]:
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def train(
    settings: config.Experiment, run_dir: Path, say: Callable[[str], None], *, progress: bool = True
) -> int:
    """Trains to `settings.steps`, from the newest good checkpoint of `run_dir` if there is one.

    Args:
      settings: The experiment.
      run_dir: Its folder, made if need be.
      say: Called with each line for the user.
      progress: Whether to draw a progress bar.

    Returns:
      0 when the run is complete, 128 + the signal's number when a signal ended it; the state is saved in both cases.

    Raises:
      InputError: If the configuration cannot be run or the folder is not this run's; nothing is written.
      RunError: If a save failed or too many steps in a row were not finite.
    """
    spread = Spread(settings.run.spread)
    source = experiment.open_source(settings.data)
    built = experiment.build(settings, source.classes, len(source))
    spread.rows(settings.batch_size)
    fits = len(source) * source.resolution**2 * source.channels <= settings.feed.resident_megabytes * 2**20
    resident = fits if settings.feed.resident is None else settings.feed.resident
    data = stream.load(source, progress) if resident else source

    run = RunDirectory(run_dir)
    main = spread.process == 0
    if main:
        run.acquire()
    try:
        _claim(run, settings)
        here = environment(spread.devices, settings.seed, source.fingerprint, source.classes, len(source))
        check_manifest(run.read_manifest(), here, run.path, say)
        spread.barrier("claimed")
        return _Loop(built, run, spread, data, here, say, progress).run_all()
    finally:
        if main:
            run.release()


def _claim(run: RunDirectory, settings: config.Experiment) -> None:
    """Checks that the run in the folder, if there is one, is this experiment's."""
    old = run.read_config()
    if old is None:
        return
    changed = [key for key in config.differences(old, settings) if key != "steps"]
    if changed:
        raise InputError(
            f"{run.path} is a run of another config, with other {', '.join(changed)}; give another --run-dir or seed"
        )
    if settings.steps < old.steps:
        raise InputError(
            f"{run.path} was started for {old.steps} steps; --steps may grow, not shrink to {settings.steps}"
        )


class _Loop:
    def __init__(
        self,
        built: experiment.Experiment,
        run: RunDirectory,
        spread: Spread,
        data: stream.Batch | Source,
        here: dict[str, Any],
        say: Callable[[str], None],
        progress: bool,
    ) -> None:
        self.built, self.settings, self.run, self.spread, self.say = built, built.config, run, spread, say
        self.main = spread.process == 0
        settings = built.config
        self.checkpoints = Checkpoints(run.checkpoints, settings.run.keep, settings.run.keep_every)
        template = jax.eval_shape(partial(experiment.initial, built))
        found = self.checkpoints.newest(say)
        if found is None:
            if run.metrics.exists():
                say(f"there is no good checkpoint in {run.checkpoints}; starting again from step 0")
            state = jax.jit(partial(experiment.initial, built))()
        else:
            state = unflatten(template, found[1])
            # A run that gave up goes on when it is asked to.
            state = state.replace(
                skipped_in_a_row=np.minimum(state.skipped_in_a_row, settings.run.give_up_after - 1)
            )
        self.step = int(state.step)
        if self.step > settings.steps:
            raise InputError(
                f"{run.path} is at step {self.step}; --steps may grow, not shrink to {settings.steps}"
            )
        restored = int(sha256(found[1])[:7], 16) if found else 0
        if len(set(spread.gather(restored))) > 1:
            raise InputError(
                f"processes found different checkpoints: {run.path} must be one folder that all of them see"
            )
        if self.main:
            run.write(run.config, settings.to_toml())
            run.write(
                run.manifest,
                json.dumps({**here, "resumed_from_step": self.step if found else None}, indent=1),
            )
            run.truncate_metrics(self.step, say)
            self.checkpoints.forget_after(self.step)
            if found:
                say(f"resuming {run.path} from step {self.step}")
        spread.barrier("restored")
        self.state: State = spread.replicate(state)
        window = min(
            settings.run.window, settings.run.sample_every, settings.run.checkpoint_every, settings.steps
        )
        shape = (settings.seed, built.game.turns, settings.batch_size, window, spread)
        self.feed: Resident | Streaming
        if isinstance(data, dict):
            self.feed = Resident(data, *shape)
        else:
            self.feed = Streaming(data, *shape, stop=settings.steps, workers=settings.feed.workers)
        self.window = program(built.game, self.feed, spread, settings.run.give_up_after)
        self.sample = sampler(built)
        self.late: list[Callable[[], None]] = []
        self.saved = self.step if found else -1
        self.first_bad = ""
        self.gave_up = False
        self.pace = 1 if spread.processes == 1 else self.feed.window  # steps in the next window
        self.bar = tqdm(
            total=settings.steps,
            initial=self.step,
            unit="step",
            desc=settings.name,
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 10,
            disable=not (progress and self.main),
        )

    def run_all(self) -> int:
        signals = _Signals()
        with signals.caught(), self.bar:
            try:
                self._play(signals)
            except (InputError, RunError) as error:
                with suppress(RunError):
                    self._save()
                    self.checkpoints.wait()
                if isinstance(error, RunError):  # a worker that died, a full disk
                    raise
                raise InputError(
                    f"{error}. The run is saved, and goes on once its data is whole again"
                ) from error
            finally:
                if isinstance(self.feed, Streaming):
                    self.feed.close()
            self._save()
            self.checkpoints.wait()
            self._draw_curves()
        self.spread.barrier("done")
        if self.gave_up:
            raise RunError(
                f"stopped at step {self.step}: {self.settings.run.give_up_after} steps in a row were not finite. "
                f"First, {self.first_bad}. The last good state is saved in {self.run.checkpoints / str(self.step)}; "
                "try a lower learning rate"
            )
        return 128 + signals.seen if signals.seen and self.step < self.settings.steps else 0

    def _play(self, signals: _Signals) -> None:
        settings, begun = self.settings, time.monotonic()
        if self.step == 0:
            self._sample_later()
        parts = self._parts()
        while self.step < settings.steps and not self.gave_up:
            count, arrays = parts
            self.state, log = self.window(self.state, self.feed.whole, arrays, np.int32(count))
            self.step += count
            # The device is busy with this window: write down what came before it, and make the next one ready.
            self._catch_up()
            self.late.append(partial(self._record, self.step - count, count, log))
            if self._due(settings.run.sample_every):
                self._sample_later()
            if self.step < settings.steps:
                parts = self._parts()
            if self._due(settings.run.checkpoint_every):
                self._save()
                self._draw_curves()
            now = time.monotonic()
            self._adapt(count / (now - begun))
            begun = now
            signals.seen = max(self.spread.gather(signals.seen))
            if signals.seen:
                break

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.step == self.settings.steps

    def _parts(self) -> tuple[int, Any]:
        """The next window: as many steps as the pace allows, none of them past a step at which something is written."""
        run = self.settings.run
        stops = [
            self.settings.steps,
            *(self.step + n - self.step % n for n in (run.sample_every, run.checkpoint_every)),
        ]
        count = min(self.pace, self.feed.window, min(stops) - self.step)
        return count, self.feed.parts(self.step, count)

    def _adapt(self, steps_per_second: float) -> None:
        # Processes must agree on the length of windows, and their clocks do not.
        if self.spread.processes == 1:
            self.pace = max(1, min(2 * self.pace, self.feed.window, int(steps_per_second * WINDOW_SECONDS)))

    def _catch_up(self) -> None:
        late, self.late = self.late, []
        for do in late:
            do()

    def _record(self, before: int, count: int, log: dict[str, jax.Array]) -> None:
        """Writes down a window's metrics, and notices when the run gave up in it."""
        values = {name: np.asarray(array) for name, array in self.spread.local(log).items()}
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
        if not (self.main and rows):
            return
        self.run.log(rows)
        shown = {
            "D loss": "discriminator/loss",
            "G loss": "generator/loss",
            "D(x)": "discriminator/real",
            "D(G(z))": "discriminator/fake",
        }
        last = rows[-1]
        pace = self.bar.format_dict
        rate = (pace["n"] + played - pace["initial"]) / pace["elapsed"] if pace["elapsed"] else 0.0
        text = [
            f"{rate * self.settings.batch_size:.0f} images/s",
            *(f"{k} {last[v]:.3f}" for k, v in shown.items() if v in last),
        ]
        self.bar.set_postfix_str(", ".join(text), refresh=False)
        self.bar.update(played)

    def _waits(self, metric: str, step: int) -> bool:
        return step < self.built.game.players[metric.split("/")[0]].start

    def _sample_later(self) -> None:
        if not self.main:
            return
        step, images = self.step, self.sample(self.spread.local(self.state))

        def write() -> None:
            if not self.gave_up:
                sheet = report.grid(report.to_uint8(np.asarray(images)), self.built.classes or None)
                report.save(sheet, self.run.samples / f"step_{step:08d}.png")

        self.late.append(write)

    def _save(self) -> None:
        self._catch_up()
        if self.gave_up:
            self.step = int(self.spread.local(self.state.step))
        if self.main and self.step != self.saved:
            self.checkpoints.save(self.step, self.spread.local(self.state))
        self.saved = self.step

    def _draw_curves(self) -> None:
        if self.main and self.step and (rows := self.run.read_metrics()):
            report.curves(rows, self.run.curves, f"{self.settings.name}, seed {self.settings.seed}")
