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
import stat
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from jaxgan import backends, config, reading
from jaxgan.data.images import FULL
from jaxgan.data.sources.base import IMAGES
from jaxgan.errors import InputError, RunError, full, replacing, writing
from jaxgan.runs import stored
from jaxgan.runs.checkpoint import Checkpoints

VERSIONS = ("jaxgan", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
LINKED_BY = ".jaxgan-run.json"
"""A file in a folder to which a run's `checkpoints` leads: it names the run, whose saves no other may remove."""


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
        self.best_score: Path = self.best / "score.json"
        self._lock = FileLock(path / ".lock")

    def acquire(self) -> None:
        """Makes the folder and takes it for this process, until it ends however it ends.

        Raises:
          InputError: If the folder holds something else than a run, cannot be written, or another process is using it.
          RunError: If the disk is full.
        """
        try:
            if not self.config.exists() and (strange := self._strange()):
                raise InputError(
                    f"{self.path} is not empty and not a run (it holds {strange}); give another --run-dir"
                )
            self.path.mkdir(parents=True, exist_ok=True)
            self._refuse_links()
            if not os.access(self.path, os.W_OK | os.X_OK):
                raise PermissionError(13, "permission denied")
            self._mark_linked()
            self._lock.acquire(timeout=0)
        except Timeout:
            raise InputError(
                f"{self.path} is in use by another process; wait for it, or give another --run-dir"
            ) from None
        except OSError as error:
            where = f"cannot write to the run directory {self.path}"
            if reason := full(error):
                raise RunError(f"{where}: {reason}; free space there and run again") from None
            raise InputError(f"{where}: {error.strerror}; give another --run-dir") from None

    def release(self) -> None:
        """Gives the folder back."""
        self._lock.release()

    def _refuse_links(self) -> None:
        """Refuses links out of the folder but for `checkpoints`, which a user may keep on another disk.

        Files that are replaced as a whole may be links: these are replaced, and not what they lead to.
        """
        for path in (self.samples, self.best, self.metrics, self.evaluation, Path(self._lock.lock_file)):
            refuse_link(path)
        with suppress(FileNotFoundError):  # to take the lock empties the file
            _refuse_shared(Path(self._lock.lock_file), os.stat(self._lock.lock_file))
        for path in (self.samples, self.best):
            if path.exists() and not path.is_dir():
                raise InputError(f"{path} is no folder, so nothing can be written there; move it")
        if not self.checkpoints.is_symlink():
            Checkpoints(self.checkpoints).refuse_strange()
            return
        target = self.checkpoints.resolve()
        if not target.is_dir():
            raise InputError(
                f"{self.checkpoints} is a link to {target}, which is no folder; make it, or remove the link"
            )
        if target.parent != self.path.resolve() and (target.parent / self.config.name).exists():
            raise InputError(
                f"{self.checkpoints} is a link into another run, {target.parent}; remove it, or link another folder"
            )
        Checkpoints(self.checkpoints).refuse_strange()
        other = self._linked_by()
        if other and other.resolve() != self.path.resolve() and (other / self.config.name).exists():
            with suppress(OSError):
                if (other / self.checkpoints.name).samefile(target):
                    raise InputError(
                        f"{self.checkpoints} is a link to the checkpoints of another run, {other}; remove it, or link "
                        "another folder"
                    )

    def _linked_by(self) -> Path | None:
        """The run that last saved to the folder that `checkpoints` leads to; None if none has."""
        try:
            found = stored.note_of(self.checkpoints / LINKED_BY).get("run")
        except InputError as error:
            raise InputError(f"{error}, if no other run saves there") from None
        return Path(found) if isinstance(found, str) else None

    def _mark_linked(self) -> None:
        """Writes whose saves are in the folder that `checkpoints` leads to: no two runs may share one."""
        if self.checkpoints.is_symlink() and self._linked_by() != self.path.resolve():
            self.write(self.checkpoints / LINKED_BY, json.dumps({"run": str(self.path.resolve())}))

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
            return stored.manifest_of(self.manifest)
        except FileNotFoundError:
            if self.checkpoints.exists():
                raise InputError(
                    f"{self.manifest} is missing; restore it, or give another --run-dir"
                ) from None
            return None

    def truncate(self, step: int, warn: Callable[[str], None]) -> None:
        """Drops the logs' lines after `step`, and lines that are damaged or doubled; a warning says what is lost below.

        A last line that was cut off as it was written is not worth one.
        """
        log = self.read_log()
        if lost := log.lacks(step):
            warn(f"{self.metrics}: {lost}; what is left of it is as it was written")
        if self.metrics.exists():
            self.write(self.metrics, "".join(f"{json.dumps(row)}\n" for row in log.up_to(step)))
        if self.evaluation.exists():
            self._truncate_scores(step, warn)

    def _truncate_scores(self, step: int, warn: Callable[[str], None]) -> None:
        kept, damaged, last = [], [], 0
        for last, line in enumerate(reading.lines_of(self.evaluation), 1):
            try:
                if stored.score_of(line)["step"] <= step:
                    kept.append(line)
            except reading.Faulty:
                damaged.append(last)
        if damaged and damaged != [last]:
            warn(f"{self.evaluation}: line {damaged[0]} is damaged and left out ({len(damaged)} in all)")
        self.write(self.evaluation, "".join(f"{line}\n" for line in kept))

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
        return stored.scores_of(self.evaluation)

    def read_log(self) -> stored.Log:
        """The log as far as it is whole, and what it has lost."""
        return stored.log_of(self.metrics)

    def read_metrics(self) -> list[stored.Row]:
        """The whole lines of the log."""
        return self.read_log().rows


def _append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Appends one JSON object a line, on a line of its own where the last one was cut off.

    Raises:
      InputError: The file is a link, which may lead anywhere, or has another name besides.
      RunError: It cannot be written.
    """
    lines = "".join(f"{json.dumps(row, allow_nan=False)}\n" for row in rows)
    refuse_link(path)
    with writing(path):
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(path, flags, 0o666), "r+b") as file:
            _refuse_shared(path, os.fstat(file.fileno()))
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                lines = lines if file.read(1) == b"\n" else f"\n{lines}"
            file.write(lines.encode())


def _refuse_shared(path: Path, found: os.stat_result) -> None:
    """Refuses to change a file that holds something and is also called otherwise, so that both would change.

    Raises:
      InputError: It is one.
    """
    if found.st_nlink > 1 and found.st_size and stat.S_ISREG(found.st_mode):
        raise InputError(
            f"{path} is a hard link, so another file would change with it; put a copy in its place"
        )


def refuse_link(path: Path) -> None:
    """Refuses to write to what is a link: it is as likely to be a stranger's as the user's.

    Raises:
      InputError: It is one.
    """
    if path.is_symlink():
        raise InputError(
            f"{path} is a link, and nothing is written through one; put a copy of what it leads to in its place"
        )


def versions() -> dict[str, str]:
    """The versions of Python, first, and of what a run's bits may depend on."""
    from importlib import metadata

    found = {name: metadata.version(name) for name in VERSIONS if _installed(name)}
    return {"python": platform.python_version(), **found}


def environment(devices: list[Any], seed: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """What a run depends on besides its configuration; `data` is what is known of its data."""
    python, *others = versions().items()
    return {
        "versions": dict(others),
        "python": python[1],
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
    was, now = old.get("domain", IMAGES), new.get("domain", IMAGES)
    if _without_usual(was) != _without_usual(now):
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


def _without_usual(domain: Mapping[str, Any]) -> dict[str, Any]:
    """A domain without ranges that images always had, which older runs do not name; anything else is as it is."""
    found = dict(domain)
    ranges = found.pop("ranges", None)
    if ranges and not isinstance(ranges, Mapping):
        return {**found, "ranges": ranges}
    usual = [[*span] for span in FULL.values()]
    plain = {
        name: [*span] if isinstance(span, list | tuple) else span for name, span in (ranges or {}).items()
    }
    kept = {name: span for name, span in plain.items() if span not in usual}
    return {**found, "ranges": kept} if kept else found


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
