"""What `jaxgan inspect` says of a run, read from its files alone.

For example:

    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> run = RunDirectory(Path("tiny"))
    >>> run.write(run.config, config.parse(given).to_toml())
    >>> run.write(run.manifest, json.dumps({"devices": ["cpu:cpu"]}))
    >>> saves = Checkpoints(run.checkpoints)
    >>> saves.save(2, {"params": {"generator": {"kernel": np.ones((2, 3))}}, "skipped": np.int32(0)})
    >>> saves.wait()
    >>> found = inspect(run.path, print)
    >>> print(table({name: found[name] for name in ("name", "step", "parameters", "devices")}))
    name              tiny
    step              2
    parameters        generator 6
    devices           cpu:cpu
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan import config
from jaxgan.errors import InputError
from jaxgan.runs.checkpoint import Checkpoints, Table, sha256
from jaxgan.runs.directory import RunDirectory
from jaxgan.saying import clean

ORIGINS = ("origins", "origins_cover", "origins_changed")
"""What a manifest says of a game's files, where it has some."""


class Saved(NamedTuple):
    """What a run's folder holds."""

    config: config.RunSettings
    manifest: dict[str, Any]
    step: int
    table: Table
    """The newest good state, see `jaxgan.runs.checkpoint.flatten`."""
    note: dict[str, Any] = {}
    """What was noted when it was saved, such as what it costs in privacy."""


def load_run(path: Path, warn: Callable[[str], None], *, best: bool = False) -> Saved:
    """Reads a run's folder: its newest good state, or the one that scored best while it was trained.

    Raises:
      InputError: If it is not a run or has no good checkpoint.
    """
    run = RunDirectory(path)
    settings = run.read_config()
    if settings is None:
        raise InputError(f"{path} is not a run: it has no config.toml; give a folder that jaxgan train made")
    saves = Checkpoints(run.best if best else run.checkpoints)
    found = saves.newest(warn)
    if found is None and best:
        raise InputError(
            f"{path} has no best checkpoint; train it with --evaluation.every N, or leave out --best"
        )
    if found is None:
        raise InputError(f"{path} has no checkpoint yet; train it further, or lower run.checkpoint_every")
    return Saved(settings, run.read_manifest() or {}, *found, saves.note(found[0]))


def inspect(path: Path, warn: Callable[[str], None]) -> dict[str, Any]:
    """Step, parameter counts, versions, digests of configuration, data and state, and what was noted with the state.

    `state_sha256` is over path, dtype, shape and bytes of every leaf of the newest good state.

    Raises:
      InputError: As `load_run`.
    """
    settings, manifest, step, table, note = load_run(path, warn)
    parameters: dict[str, int] = {}
    for name, value in table.items():
        kind, _, rest = name.partition("/")
        if kind == "params":
            network = rest.partition("/")[0]
            parameters[network] = parameters.get(network, 0) + int(np.size(value))
    first = {
        "run": str(path),
        "name": settings.name,
        "seed": settings.seed,
        "step": step,
        "steps": settings.steps,
        "skipped": int(np.sum(table.get("skipped", 0))),
    }
    others = {
        "parameters": parameters,
        "versions": manifest.get("versions"),
        "devices": manifest.get("devices"),
        "deterministic": manifest.get("deterministic"),
        "git_commit": manifest.get("git_commit"),
        **({"log": lost} if (lost := RunDirectory(path).read_log().lacks(step)) else {}),
        "checkpoints": Checkpoints(RunDirectory(path).checkpoints).steps(),
        **{name: manifest[name] for name in ORIGINS if name in manifest},
        "config_sha256": hashlib.sha256(
            json.dumps(settings.model_dump(), sort_keys=True).encode()
        ).hexdigest(),
        "data_fingerprint": manifest.get("data_fingerprint"),
        "state_sha256": sha256(table),
    }
    known = {*first, *others, "log", *ORIGINS}  # a note says none of these
    return {**first, **{name: said for name, said in note.items() if name not in known}, **others}


def table(found: Mapping[str, Any]) -> str:
    """The same for people: a line for each entry."""

    def text(value: Any) -> str:
        return clean(plain(value))

    def plain(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in value.items())
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return "\n".join(f"{clean(name.replace('_', ' ')):<18}{text(value)}" for name, value in found.items())
