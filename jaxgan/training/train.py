"""Training: a config to its run, resumed where there is one already.

For example:

    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> settings = config.parse(given, {"run.window": "2"})
    >>> train(settings, Path("runs/tiny-s0"), print, progress=False)
    0
    >>> train(settings.model_copy(update={"steps": 4}), Path("runs/tiny-s0"), print, progress=False)
    resuming runs/tiny-s0 from step 2
    0
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxgan import backends, config, experiment, peers
from jaxgan.data import stream
from jaxgan.data.sources import Source, remarks_of, source_bytes
from jaxgan.errors import InputError
from jaxgan.experiment import Own
from jaxgan.families import Built
from jaxgan.parallel import Layout, Seeds, Spread
from jaxgan.runs.directory import RunDirectory, versions
from jaxgan.scoring import evaluate
from jaxgan.scoring.scorer import Scorer
from jaxgan.training import size
from jaxgan.training.claim import claimed, of_process
from jaxgan.training.loop import Loop
from jaxgan.training.recorder import Recorder

Say = Callable[[str], None]


def train(
    settings: config.RunSettings,
    run_dir: Path,
    say: Callable[[str], None],
    *,
    own: Own | None = None,
    changed: bool = False,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
) -> int:
    """Trains to `settings.steps`, from the newest good checkpoint of `run_dir` if there is one.

    Args:
      settings: Of the run.
      run_dir: Its folder, made if need be.
      say: Called with each line for the user.
      own: The game, where somebody wrote it in Python.
      changed: Whether a resumed run may go on with other files than it was trained with.
      progress: Whether to draw a progress bar.
      devices: Where to train; by default on all devices.

    Returns:
      0 when the run is complete, 128 + the signal's number when a signal ended it; the state is saved in both cases.

    Raises:
      InputError: If the configuration cannot be run or the folder is not this run's; nothing is written.
      RunError: If a save failed or too many steps in a row were not finite.
    """
    backends.ask_for_determinism(settings.run.deterministic)
    how = {"own": own, "changed": changed, "progress": progress}
    return _train([settings], [run_dir], Spread(settings.run.spread, devices), say, **how)


def train_seeds(
    settings: config.RunSettings,
    run_dirs: Mapping[int, Path],
    say: Callable[[str], None],
    *,
    own: Own | None = None,
    changed: bool = False,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
) -> int:
    """Trains one run for each seed, all in one program, each as `train` would on one device.

    A run that is behind the others catches up before they go on. One that gives up stops alone.

    Args:
      settings: Of the runs; its own seed does not matter.
      run_dirs: The folder of each seed's run.
      say: Called with each line for the user.
      own: As of `train`.
      changed: As of `train`.
      progress: Whether to draw a progress bar.
      devices: Where to train, by default on all devices: on as many of these as each get equally many runs.

    Returns:
      As `train`.

    Raises:
      InputError: As `train`, or if there are several processes.
      RunError: As `train`; where runs gave up, once the others are complete.
    """
    backends.ask_for_determinism(settings.run.deterministic)
    each = [settings.model_copy(update={"seed": seed}) for seed in run_dirs]
    spread = Seeds(len(each), settings.run.seeds_by, devices)
    how = {"own": own, "changed": changed, "progress": progress}
    return _train(each, list(run_dirs.values()), spread, say, **how)


def _train(
    each: Sequence[config.RunSettings],
    run_dirs: list[Path],
    spread: Layout,
    say: Say,
    progress: bool,
    own: Own | None = None,
    changed: bool = False,
) -> int:
    """Trains experiments that differ in their seeds alone, in one program."""
    source = experiment.source_of(each[0], own=own)
    first = _affordable(experiment.of_source(each[0], source, own))
    built = [first._replace(config=first.config.model_copy(update={"seed": one.seed})) for one in each]
    settings = built[0].config
    if (others := peers.present()) is not None:
        others.agree(_facts(each[0], first, source))
    spread.rows(built[0].rows)
    resident, initial = _resident(settings, source, spread), experiment.beginning(built[0])
    size.check(built[0], source, size.shapes(initial), spread, resident, len(built))
    scorer = _scorer(built[0], source, spread, say, progress)
    for line in remarks_of(source) if spread.process == 0 else ():
        say(line)
    data = stream.load(source, progress) if resident else source
    if settings.run.deterministic and (why := backends.not_deterministic(spread.devices[0].platform)):
        say(f"run.deterministic: {why}")
    runs = [RunDirectory(path) for path in run_dirs]
    with claimed(runs, built, source, spread, say, changed) as manifests:
        recorders = [Recorder(b, run, say, spread.process == 0) for b, run in zip(built, runs, strict=True)]
        code = Loop(recorders, spread, data, manifests, scorer, say, progress, initial).run_all()
    asked, ledger = each[0].steps, built[0].ledger
    if code == 0 and ledger and settings.steps < asked:
        say(
            f"the budget is spent: epsilon {ledger.epsilon(settings.steps):.4g} of {ledger.budget:g} at delta "
            f"{ledger.delta:g} after step {settings.steps} of {asked}; one more would exceed it"
        )
    return code


def _facts(settings: config.RunSettings, built: Built, source: Source) -> dict[str, str]:
    """What must be alike in all processes of a run."""
    apart = of_process(settings)
    leaves = config.leaves(settings.model_dump(mode="json"))
    asked = {key: str(value) for key, value in leaves if key not in apart}
    here = {name: str(version) for name, version in versions().items()}
    files = {f"the file of {origin.module}": origin.sha256 for origin in built.origins}
    return {**here, **files, **asked, "the data's fingerprint": source.fingerprint}


def _affordable(built: Built) -> Built:
    """The experiment, ended sooner where a budget of privacy is spent sooner."""
    if not built.ledger:
        return built
    steps = built.ledger.steps(built.config.steps)
    return built._replace(config=built.config.model_copy(update={"steps": steps}))


def _scorer(built: Built, source: Source, spread: Layout, say: Say, progress: bool) -> Scorer | None:
    """What scores samples while training, where that is asked for.

    Raises:
      InputError: There are several processes, or as `evaluate.scorer_of`.
    """
    asked = built.config.evaluation
    if not asked.every:
        return None
    if spread.processes > 1:
        # The others would wait in a collective for as long as one of them scores, and collectives time out.
        raise InputError(
            "evaluation.every needs a single process; leave it out, and run jaxgan evaluate afterwards"
        )
    look = (asked.features, Path(asked.weights) if asked.weights else None, None)
    return evaluate.scorer_of(built, source, look, asked.scores, asked.num, say=say, progress=progress)


def _resident(settings: config.Settings, source: Source, spread: Layout) -> bool:
    """Whether all of the data is kept on the devices."""
    if settings.feed.resident is not None:
        return settings.feed.resident
    size = source_bytes(source) * spread.copies
    return size <= settings.feed.resident_megabytes * 2**20
