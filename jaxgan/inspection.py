"""What `jaxgan inspect` says of a run, read from its files alone."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan import config
from jaxgan.checkpoint import Checkpoints, sha256
from jaxgan.errors import InputError
from jaxgan.rundir import RunDirectory


def inspect(path: Path, warn: Callable[[str], None] = print) -> dict[str, Any]:
    """Step, parameter counts, versions, and digests of configuration, data and state.

    `state_sha256` is over path, dtype, shape and bytes of every leaf of the newest good state: equal only for equal runs.

    Raises:
      InputError: If the folder is not a run or has no good checkpoint.
    """
    run = RunDirectory(path)
    if not run.config.exists():
        raise InputError(f"{path} is not a run: it has no config.toml; give a folder that jaxgan train made")
    settings = config.load(run.config)
    found = Checkpoints(run.checkpoints).newest(warn)
    if found is None:
        raise InputError(f"{path} has no checkpoint yet; train it further, or lower run.checkpoint_every")
    step, table = found
    parameters: dict[str, int] = {}
    for name, value in table.items():
        kind, *rest = name.split("/")
        if kind == "params":
            parameters[rest[0]] = parameters.get(rest[0], 0) + int(np.size(value))
    manifest = run.read_manifest() or {}
    return {
        "run": str(path),
        "name": settings.name,
        "seed": settings.seed,
        "step": step,
        "steps": settings.steps,
        "skipped": int(table["skipped"]),
        "parameters": parameters,
        "versions": manifest.get("versions"),
        "devices": manifest.get("devices"),
        "git_commit": manifest.get("git_commit"),
        "checkpoints": Checkpoints(run.checkpoints).steps(),
        "config_sha256": hashlib.sha256(json.dumps(settings.model_dump(), sort_keys=True).encode()).hexdigest(),
        "data_fingerprint": manifest.get("data_fingerprint"),
        "state_sha256": sha256(table),
    }


def table(found: Mapping[str, Any]) -> str:
    """The same for people: a line for each entry."""

    def text(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{k} {v:,}" if isinstance(v, int) else f"{k} {v}" for k, v in value.items())
        return ", ".join(map(str, value)) if isinstance(value, list) else str(value)

    return "\n".join(f"{name.replace('_', ' '):<18}{text(value)}" for name, value in found.items())
