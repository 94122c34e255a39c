"""The folders of runs, claimed before anything is written: whose they are, and what is written into their manifests.

For example:

    >>> from jaxgan.parallel import Spread
    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> settings, run = config.parse(given), RunDirectory(Path("tiny"))
    >>> source = experiment.source_of(settings)
    >>> with claimed([run], [experiment.of_source(settings, source)], source, Spread(), print) as manifests:
    ...     run.write(run.config, settings.to_toml())
    ...     manifests[0]["seed"], manifests[0]["examples"]
    (0, 2000)
    >>> check(run, settings.model_copy(update={"batch_size": 16}))
    Traceback (most recent call last):
    jaxgan.errors.InputError: tiny is a run of another config, with other batch_size; give another ...
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from jaxgan import config, experiment
from jaxgan.data.sources import Source
from jaxgan.errors import InputError
from jaxgan.experiment import provenance
from jaxgan.families import Built
from jaxgan.parallel import Layout
from jaxgan.runs.directory import RunDirectory, check_manifest, environment
from jaxgan.settings import places

MAY_CHANGE = (
    "steps",
    "run.deterministic",
    "run.seeds_by",
    "game.epsilon",
    "game.shown.",
    "evaluation.",
)
"""Keys of the config, or how they begin, that may change when a run is resumed."""


def of_process(settings: config.RunSettings) -> set[str]:
    """Keys of the config that each process of a run may have its own of: its workers, and where its data is.

    What the data is, is compared by its fingerprint. Whether it is resident is no matter of one process: all of them
    run one program.
    """
    data = getattr(settings, "data", None)
    return {"feed.workers", *(f"data.{name}" for name in (places(type(data)) if data else ()))}


@contextmanager
def claimed(
    runs: Sequence[RunDirectory],
    built: Sequence[Built],
    source: Source,
    spread: Layout,
    say: Callable[[str], None],
    changed: bool = False,
) -> Iterator[list[dict[str, Any]]]:
    """Holds the folders of runs that train together for as long as the code inside runs.

    Args:
      runs: The folders, made if need be.
      built: The experiment of each.
      source: Their data.
      spread: Over which devices they train.
      say: Called with each line for the user.
      changed: Whether a resumed run may go on with other files than it was trained with.

    Yields:
      The manifest of each run, as it is to be written.

    Raises:
      InputError: A folder is not this run's, or another process holds it; nothing is written.
    """
    if len(runs) > 1:  # before any folder is made
        for run, one in zip(runs, built, strict=True):
            check(run, one.config)
    apart = of_process(built[0].config) if spread.process else ()  # what is written is of process 0
    fixed = built[0].fixed()
    with ExitStack() as held:
        for run in runs if spread.process == 0 else ():
            run.acquire()
            held.callback(run.release)
        manifests = []
        for i, (run, one) in enumerate(zip(runs, built, strict=True)):
            check(run, one.config, apart)
            here = environment(spread.home(i), one.config.seed, experiment.facts(source))
            here |= {"fixed_weights": fixed} if fixed else {}
            here |= provenance.told(one.origins)
            if spread.by:
                here |= {"seeds": [other.config.seed for other in built], "seeds_by": spread.by}
            old = run.read_manifest()
            check_manifest(old, here, run.path, say)
            if old:
                provenance.check(old, here, run.path, changed)
                if provenance.UNVERIFIED in str(here.get("origins")):
                    say(
                        f"{run.path}: nobody can check that its game is the one that it was trained with before"
                    )
            if old and together(old) != together(here):
                say(
                    f"{run.path} was in another program until now, alone or with other seeds: results will agree to "
                    "rounding, not to the bit"
                )
            manifests.append(here)
        spread.barrier("claimed")
        yield manifests


def together(manifest: Mapping[str, Any]) -> Any:
    """What a run's bits may depend on: which program it is in, and under "vmap" the seeds that share its operations."""
    by = manifest.get("seeds_by")
    return by, manifest.get("seeds") if by == "vmap" else None


def check(run: RunDirectory, settings: config.RunSettings, apart: Collection[str] = ()) -> None:
    """Checks that the run in the folder, if there is one, is this experiment's, whatever keys `apart` are."""
    old = run.read_config()
    if old is None:
        return
    differ = [key for key in config.differences(old, settings) if key not in apart]
    changed = [key for key in differ if not key.startswith(MAY_CHANGE)]
    if changed:
        raise InputError(
            f"{run.path} is a run of another config, with other {', '.join(changed)}; give another --run-dir or seed"
        )
    if settings.steps < old.steps:
        raise InputError(
            f"{run.path} was started for {old.steps} steps; --steps may grow, not shrink to {settings.steps}"
        )
