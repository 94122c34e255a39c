"""The folder of one run: who may write to it, what it was made from, and its log.

For example:

    >>> run = RunDirectory(Path("runs/mlp-s0"))
    >>> run.acquire()
    >>> run.log([{"step": 1, "generator/loss": 0.5}, {"step": 2, "generator/loss": float("nan")}])
    >>> run.read_metrics()
    [{'step': 1, 'generator/loss': 0.5}, {'step': 2, 'generator/loss': None}]
    >>> run.truncate(1, print)  # before it goes on from step 1
    >>> len(run.read_metrics())
    1
    >>> run.release()
"""

import json
import math
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jaxgan import backends, config
from jaxgan.data.sources.base import IMAGES
from jaxgan.errors import InputError, replacing, writing

VERSIONS = ("jaxgan", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


class RunDirectory:
    """`RUN/`: config.toml, manifest.json, logs, samples/, curves.png, checkpoints/ and the best one apart."""

    def __init__(self, path: Path) -> None:
        """Names the folder; nothing is read or written yet."""
        self.path = path
        self.config: Path = path / "config.toml"
        self.manifest: Path = path / "manifest.json"
        self.metrics: Path = path / "metrics.jsonl"
        self.evaluation: Path = path / "evaluation.jsonl"
        self.samples: Path = path / "samples"
        self.curves: Path = path / "curves.png"
        self.checkpoints: Path = path / "checkpoints"
        self.best: Path = path / "best"
        self._lock = FileLock(path / ".lock")

    def acquire(self) -> None:
        """Makes the folder and takes it for this process, until it ends however it ends.

        Raises:
          InputError: If the folder holds something else than a run, cannot be written, or another process is using it.
        """
        try:
            if not self.config.exists() and (strange := self._strange()):
                raise InputError(
                    f"{self.path} is not empty and not a run (it holds {strange}); give another --run-dir"
                )
            self.path.mkdir(parents=True, exist_ok=True)
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(13, "permission denied")
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.path} is in use by another process; wait for it, or give another --run-dir"
            ) from None
        except OSError as error:
            raise InputError(
                f"cannot write to the run directory {self.path}: {error.strerror}; give another --run-dir"
            ) from None

    def release(self) -> None:
        """Gives the folder back."""
        self._lock.release()

    def _strange(self) -> str | None:
        """The name of something in the folder that no start of a run leaves there."""
        names = sorted(p.name for p in self.path.iterdir()) if self.path.is_dir() else []
        return next((name for name in names if name != ".lock" and not name.endswith(".partial")), None)

    def write(self, path: Path, text: str) -> None:
        """Replaces a file at once, so that it is never half there."""
        with replacing(path) as partial:
            partial.write_text(text, encoding="utf-8")

    def read_config(self) -> config.RunSettings | None:
        """The settings that this is a run of, if it is a run."""
        try:
            return config.load_any(self.config) if self.config.exists() else None
        except OSError as error:
            raise InputError(f"cannot read the run directory {self.path}: {error.strerror}") from None

    def read_manifest(self) -> dict[str, Any] | None:
        """What the last start wrote, if there was one.

        Raises:
          InputError: If it is damaged, or missing from a run that has checkpoints.
        """
        try:
            found = json.loads(self.manifest.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if self.checkpoints.exists():
                raise InputError(
                    f"{self.manifest} is missing; restore it, or give another --run-dir"
                ) from None
            return None
        except (OSError, ValueError):
            found = None
        if not isinstance(found, dict):
            raise InputError(f"{self.manifest} is damaged; restore it, or give another --run-dir")
        return found

    def truncate(self, step: int, warn: Callable[[str], None]) -> None:
        """Drops the logs' lines after `step`, and lines that are damaged, with a warning where it is not the last."""
        for log in (self.metrics, self.evaluation):
            if not log.exists():
                continue
            kept, damaged = [], []
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
            for number, line in enumerate(lines, 1):
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line)
                except (ValueError, KeyError, TypeError):
                    damaged.append(number)
            if damaged and damaged != [len(lines)]:
                warn(f"{log}: line {damaged[0]} is damaged and left out ({len(damaged)} in all)")
            self.write(log, "".join(f"{line}\n" for line in kept))

    def log(self, rows: list[dict[str, float]]) -> None:
        """Appends the metrics of steps; what is not finite is null, as JSON has no name for it."""
        _append(
            self.metrics,
            ({k: v if math.isfinite(v) else None for k, v in row.items()} for row in rows),
        )

    def add_scores(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Appends scores; see `jaxgan.scoring.evaluate.line`."""
        _append(self.evaluation, lines)

    def read_evaluation(self) -> list[dict[str, Any]]:
        """All scores; see `jaxgan.scoring.evaluate.line`.

        Raises:
          InputError: If a line is damaged.
        """
        if not self.evaluation.exists():
            return []
        found = []
        for number, line in enumerate(
            self.evaluation.read_text(encoding="utf-8", errors="replace").splitlines(), 1
        ):
            try:
                read = json.loads(line)
                if "metric" in read:  # as older versions call it
                    read = {"score": read.pop("metric"), **read}
                found.append(read)
                whole = {"score", "value", "step", "seed", "time", "protocol"} <= set(read)
            except (ValueError, TypeError, AttributeError):
                whole = False
            if not whole:
                raise InputError(f"{self.evaluation}: line {number} is damaged; remove it")
        return found

    def read_metrics(self) -> list[dict[str, float | None]]:
        """The log."""
        if not self.metrics.exists():
            return []
        return [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]


def _append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends one JSON object a line."""
    lines = [json.dumps(row, allow_nan=False) for row in rows]
    with writing(path), path.open("a", encoding="utf-8") as file:
        file.write("".join(f"{line}\n" for line in lines))


def environment(devices: list[Any], seed: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a run depends on besides its configuration; `data` is what is known of its data."""
    from importlib import metadata

    return {
        "versions": {name: metadata.version(name) for name in VERSIONS if _installed(name)},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "devices": [f"{d.platform}:{d.device_kind}" for d in devices],
        "threads": _threads(),
        "deterministic": not backends.not_deterministic(devices[0].platform),
        "seed": seed,
        "git_commit": _git_commit(),
        **data,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def check_manifest(
    old: Mapping[str, Any] | None, new: Mapping[str, Any], where: Path, warn: Callable[[str], None]
) -> None:
    """Compares a resumed run's environment with the one that it started in.

    Raises:
      InputError: If the data or the weights of a fixed network are not the same.
    """
    if old is None:
        return
    for name, digest in (old.get("fixed_weights") or {}).items():
        if new.get("fixed_weights", {}).get(name) != digest:
            raise InputError(
                f"the weights of {name} are not those that {where} was trained with; restore them, or give another "
                "--run-dir"
            )
    if (was := old.get("domain", IMAGES)) != (now := new.get("domain", IMAGES)):
        raise InputError(
            f"the data is of domain {now}, and that of {where} was of {was}; restore it, or give another --run-dir"
        )
    if old.get("data_fingerprint") != new["data_fingerprint"]:
        raise InputError(
            f"the data is not the data that {where} was trained on; restore it, or give another --run-dir"
        )
    # Runs of before it was recorded were all on CPUs.
    before = {"deterministic": True, **old}
    what = ("versions", "python", "devices", "threads", "deterministic")
    changed = [key for key in what if before.get(key) != new[key]]
    if changed:
        warn(
            f"{', '.join(changed)} changed since {where} was last written: "
            "results will agree to rounding, not to the bit"
        )


def _installed(name: str) -> bool:
    from importlib import metadata

    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _git_commit() -> str | None:
    """The commit of the code, with "-dirty" where it was changed; None outside a checkout."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
