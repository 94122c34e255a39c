"""Whether a run repeats: some of its steps are trained again here, and compared with what it stored, bit by bit.

For example:

    >>> same = Verdict(100, 200, None, True, {}, ())  # as `verify(Path("runs/mlp-s0"), print)` gives it
    >>> same.equal, same._replace(metrics_differ_from=150).equal
    (True, False)
    >>> print(describe(Path("runs/mlp-s0"), same))
    runs/mlp-s0: the same bits, trained again from its checkpoint of step 100 to step 200
      state of step 200: the same
      metrics: the same
"""

import json
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgan.errors import InputError, RunError
from jaxgan.experiment import Own
from jaxgan.experiment.provenance import GO_ON
from jaxgan.runs.checkpoint import Checkpoints, Damaged, Table, sha256
from jaxgan.runs.directory import RunDirectory
from jaxgan.saying import clean
from jaxgan.training.train import train

COMPARED = ("versions", "python", "devices", "threads", "deterministic")
"""What a run's bits may depend on besides its config, as its manifest calls it."""


class Verdict(NamedTuple):
    """What came of training some steps of a run again."""

    first: int
    """The step that training began from: a checkpoint's, or 0 for the start."""
    last: int
    """The last step that was compared."""
    metrics_differ_from: int | None
    """The first step whose metrics are not those in the log; None where all are the same."""
    state_is_the_same: bool | None
    """Whether the state after the last step is the stored one; None where none is stored."""
    differences: dict[str, tuple[Any, Any]]
    """What is not the same here as when the run was written, by its name in the manifest: (then, here)."""
    together_with: Sequence[int]
    """The seeds that the run was trained with in one program, its own among them; empty for none."""

    @property
    def equal(self) -> bool:
        """Whether all that could be compared is the same."""
        return self.metrics_differ_from is None and self.state_is_the_same is not False


def verify(
    path: Path,
    say: Callable[[str], None],
    *,
    own: Own | None = None,
    steps: int | None = None,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
) -> Verdict:
    """Trains steps of a run again, in a folder of their own; the run is only read.

    Args:
      path: The run's folder.
      say: Called with each line for the user.
      own: The game, where somebody wrote it in Python.
      steps: Train so many from the start. By default training begins at the last good checkpoint but one and ends at
        the last, or begins at the start where there is one alone.
      progress: Whether to draw a progress bar.
      devices: Where to train; by default on all devices.

    Raises:
      InputError: If the folder is not a run, has no good checkpoint, has not so many steps, or its data or the weights
        of a fixed network are others now.
      RunError: If training was interrupted, or fails.
    """
    run = RunDirectory(path)
    settings, manifest = run.read_config(), run.read_manifest()
    if settings is None or manifest is None:
        raise InputError(f"{path} is not a run: it has no config.toml; give a folder that jaxgan train made")
    stored = Checkpoints(run.checkpoints)
    good = _good(stored, path, say, 2 if steps is None else None)
    logged = _by_step(run)
    if steps is None:
        if not good:
            raise InputError(f"{path} has no checkpoint yet; train it further, or give --steps")
        last, first = max(good), min(good) if len(good) > 1 else 0
    else:
        reached = max([*logged, *good], default=0)
        if not 1 <= steps <= reached:
            raise InputError(f"--steps is {steps}; {path} has steps 1 to {reached}")
        first, last = 0, steps
    evaluation = settings.evaluation.model_copy(update={"every": 0})  # scores change nothing of the training
    for change in manifest.get("origins_changed", ()):
        if change["step"] > first:
            raise InputError(
                f"{path} went on with other files after step {change['step']}, so steps before cannot be trained again "
                "with the files as they are now; verify what came after (leave out --steps)"
            )
    asked = settings.model_copy(update={"steps": last, "evaluation": evaluation})
    with tempfile.TemporaryDirectory(prefix="jaxgan-verify-") as folder:
        again = RunDirectory(Path(folder) / "run")
        again.checkpoints.mkdir(parents=True)
        again.write(again.config, asked.to_toml())
        again.write(again.manifest, json.dumps(manifest))
        if first:
            shutil.copytree(run.checkpoints / str(first), again.checkpoints / str(first))
        how = {"own": own, "progress": progress, "devices": devices}
        try:
            code = train(asked, again.path, lambda line: None, **how)
        except InputError as error:
            raise InputError(str(error).replace(str(again.path), str(path)).replace(GO_ON, "")) from error
        if code:
            raise RunError(f"{path} is not verified: training was interrupted")
        here = again.read_manifest() or {}
        rows = _by_step(again)
        state = Checkpoints(again.checkpoints).read(last)
    compared = sorted(step for step in rows if first < step <= last and step in logged)
    return Verdict(
        first,
        last,
        next((step for step in compared if rows[step] != logged[step]), None),
        sha256(state) == sha256(good[last]) if last in good else None,
        {
            name: (manifest.get(name), here.get(name))
            for name in COMPARED
            if name in manifest and manifest[name] != here.get(name)
        },
        manifest.get("seeds") or (),
    )


def _by_step(run: RunDirectory) -> dict[int, dict[str, float | None]]:
    """The rows of a run's log."""
    return {int(step): row for row in run.read_metrics() if (step := row.get("step"))}


def _good(stored: Checkpoints, path: Path, say: Callable[[str], None], most: int | None) -> dict[int, Table]:
    """The newest good states by step, at most so many; each that is damaged is told of.

    Raises:
      InputError: If there are states and all are damaged.
    """
    found: dict[int, Table] = {}
    steps = stored.steps()
    for step in reversed(steps):
        if len(found) == most:
            break
        try:
            found[step] = stored.read(step)
        except Damaged as error:
            say(f"checkpoint {stored.directory / str(step)} is left out: {error}")
    if steps and not found:
        raise InputError(f"every checkpoint in {stored.directory} is damaged; restore one to verify {path}")
    return found


def describe(path: Path, verdict: Verdict) -> str:
    """A verdict for people: what was compared, whether it is the same, and what else is not."""
    start = f"from its checkpoint of step {verdict.first}" if verdict.first else "from the start"
    state = {True: "the same", False: "ANOTHER", None: "not stored, so not compared"}[
        verdict.state_is_the_same
    ]
    since = verdict.metrics_differ_from
    said = "the same bits" if verdict.equal else "NOT the same bits"
    lines = [
        f"{path}: {said}, trained again {start} to step {verdict.last}",
        f"  state of step {verdict.last}: {state}",
        f"  metrics: {'the same' if since is None else f'others from step {since} on'}",
    ]
    for name, (then, here) in verdict.differences.items():
        if isinstance(then, Mapping) and isinstance(here, Mapping):
            names = sorted(key for key in {*then, *here} if then.get(key) != here.get(key))
            lines += [f"  {key}: {then.get(key)} then, {here.get(key)} here" for key in names]
        else:
            lines.append(f"  {name}: {_text(then)} then, {_text(here)} here")
    if len(verdict.together_with) > 1:
        seeds = ", ".join(map(str, verdict.together_with))
        lines.append(
            f"  it was trained in one program with the seeds {seeds}, here alone: that may differ in rounding"
        )
    return "\n".join(map(clean, lines))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return f"{len(value)} x {value[0]}" if value and len(set(value)) == 1 else ", ".join(map(str, value))
    return str(value)
