"""Training of settings, and how it ends from Python.

For example:

    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> play(config.parse(given), None, "runs", [3, 5], progress=False)
    [PosixPath('runs/tiny-s3'), PosixPath('runs/tiny-s5')]
    >>> Terminated(15).code
    143
"""

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from jaxgan import backends, cache, config, parallel, peers
from jaxgan.experiment import Own
from jaxgan.runs.directory import RunDirectory
from jaxgan.saying import say
from jaxgan.training.train import train as train_one
from jaxgan.training.train import train_seeds


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


def begin(deterministic: bool, seeds: Sequence[int] | None) -> None:
    """JAX starts, once XLA is told how to compile, and where programs are kept.

    Raises:
      InputError: There are no devices.
    """
    if seeds is not None:
        parallel.share_cores(len(seeds))
    backends.ask_for_determinism(deterministic)
    cache.keep(say)
    backends.start()


def play(
    settings: config.RunSettings,
    own: Own | None,
    run_dir: str | Path | None,
    seeds: Sequence[int] | None,
    *,
    changed: bool = False,
    progress: bool = True,
    devices: Sequence[Any] | None = None,
) -> list[Path]:
    """Trains settings; `jaxgan.train` makes them of what a user has.

    Args:
      settings: Of the run.
      own: The game, where somebody wrote it in Python.
      run_dir: As of `jaxgan.train`.
      seeds: As of `jaxgan.train`; None for the one seed of the settings.
      changed: As of `jaxgan.train`.
      progress: As of `jaxgan.train`.
      devices: As of `jaxgan.train`.

    Returns:
      The folders of the runs.

    Raises:
      InputError: As `jaxgan.train`.
      RunError: As `jaxgan.train`.
      Stopped: As `jaxgan.train`.
      Terminated: As `jaxgan.train`.
    """
    begin(settings.run.deterministic, seeds)
    with _among_peers():
        return _play(settings, own, run_dir, seeds, changed=changed, progress=progress, devices=devices)


@contextmanager
def _among_peers() -> Iterator[None]:
    """Tells the other processes, where there are some, how the code inside ends."""
    others = peers.present()
    if others is None:
        yield
        return
    import jax

    others.calm(False)
    try:
        yield
    except (Stopped, Terminated):  # all of them have stopped
        others.calm(True)
        raise
    except jax.errors.JaxRuntimeError:
        peers.settle()  # a collective that fails is how a lost process looks from here
        others.fail()
        raise
    except BaseException:
        others.fail()
        raise
    others.calm(True)


def _play(
    settings: config.RunSettings,
    own: Own | None,
    run_dir: str | Path | None,
    seeds: Sequence[int] | None,
    **how: Any,
) -> list[Path]:
    if seeds is not None:
        folder = Path(run_dir or "runs")
        paths = {each: folder / f"{settings.name}-s{each}" for each in seeds}
        code = train_seeds(settings, paths, say, own=own, **how)
        first, *_, last = [*paths.values()] * 2
        where = f"{first} to {last.name}" if len(seeds) > 1 else str(first)
        made = f"{len(seeds)} runs to step {_reached(first, settings)}; see {where}"
        _end(code, made, where)
        return list(paths.values())
    path = Path(run_dir or f"runs/{settings.name}-s{settings.seed}")
    code = train_one(settings, path, say, own=own, **how)
    _end(code, f"to step {_reached(path, settings)}; see {path / 'samples'} and {path / 'curves.png'}", path)
    return [path]


def _reached(path: Path, settings: config.RunSettings) -> int:
    """The last step of a run, which a budget may have ended sooner."""
    return (RunDirectory(path).read_config() or settings).steps


def _end(code: int, made: str, where: str | Path) -> None:
    if code == 0:
        say(f"trained {made}")
        return
    say(f"stopped and saved; the same command goes on from here: {where}")
    if code == 128 + signal.SIGINT:
        raise Stopped("the run is saved, and the same call goes on from there")
    raise Terminated(code - 128)
