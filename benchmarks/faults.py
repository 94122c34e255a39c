"""Faults put into the code one at a time, and which tests notice: `make test`, or only the slow rest.

Each fault is one line of a checkout of its own, as somebody might write it by mistake. Tests run until the first that
fails; the programs compiled for one fault are found again by the next. A fault that no test notices is a hole.

    python benchmarks/faults.py                           # all of them: up to thirteen runs of each part
    python benchmarks/faults.py --only stale-average --parts fast
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import harness
from bits import checked_out
from text_table import table

PARTS = {"fast": "not slow", "slow": "slow"}
"""`make test`, and what `make test-all` runs besides."""


class Fault(NamedTuple):
    """A mistake: what it is, and the text of a file that becomes another."""

    what: str
    file: str
    right: str
    wrong: str


FAULTS: Mapping[str, Fault] = {
    "dropped-pmean": Fault(
        "gradients, statistics and metrics are each device's own",
        "jaxgan/axis.py",
        "lambda x: lax.pmean(x, axis) if jnp.issubdtype(x.dtype, jnp.inexact) else x",
        "lambda x: x",
    ),
    "norm-of-one-device": Fault(
        "batch norm takes the statistics of its device's examples alone",
        "jaxgan/layers/norm.py",
        "axis_name=axis.current()",
        "axis_name=None",
    ),
    "keys-by-device": Fault(
        "examples draw by their place on the device, not in the batch",
        "jaxgan/game.py",
        "first = _axis.index(axis) * n",
        "first = 0",
    ),
    "keys-of-one-turn": Fault(
        "all turns of a step draw the same noise",
        "jaxgan/game.py",
        "Keys.of(jax.random.fold_in(base, turn), n, first)",
        "Keys.of(base, n, first)",
    ),
    "window-off-by-one": Fault(
        "every window but the first reads the examples of one step later",
        "jaxgan/data/feed.py",
        "self._seed, self._order, start, count, *shape",
        "self._seed, self._order, start + (start > 0), count, *shape",
    ),
    "stale-average": Fault(
        "averages follow the parameters from before the step",
        "jaxgan/game.py",
        "ema=_averages(game, state, new.params)",
        "ema=_averages(game, state, state.params)",
    ),
    "wrong-label-order": Fault(
        "classes of a folder are numbered from the last name to the first",
        "jaxgan/data/sources/folder.py",
        "np.arange(len(below), dtype=np.int32)",
        "np.arange(len(below) - 1, -1, -1, dtype=np.int32)",
    ),
    "forgotten-count": Fault(
        "a resumed run begins the schedules of its optimizers again",
        "jaxgan/runs/checkpoint.py",
        "found.append(jax.random.wrap_key_data(jnp.asarray(value)) if typed_key else value)",
        'value = value * 0 if name.endswith("/count") else value\n'
        "        found.append(jax.random.wrap_key_data(jnp.asarray(value)) if typed_key else value)",
    ),
    "damage-accepted": Fault(
        "a checkpoint is restored whatever its digests say",
        "jaxgan/runs/checkpoint.py",
        "if _file_sha256(folder / name) != digest:",
        'if digest == "":',
    ),
    "transposed-kernel": Fault(
        "published convolutions are taken with height and width changed over",
        "jaxgan/networks/pretrained.py",
        'table[f"{convolution}.weight"].transpose(0, 2, 3, 1)',
        'table[f"{convolution}.weight"].transpose(0, 3, 2, 1)',
    ),
    "one-mix-for-all": Fault(
        "the gradient penalty mixes all pairs by the first one's draw",
        "jaxgan/objectives/penalties.py",
        "mix = mix.reshape(-1, *(1,) * (real.ndim - 1))",
        "mix = mix[:1].reshape(-1, *(1,) * (real.ndim - 1))",
    ),
    "biased-covariance": Fault(
        "the Frechet distance divides by N where it should by N - 1",
        "jaxgan/scoring/formulas/frechet.py",
        "/ self.rows) / (self.rows - 1)",
        "/ self.rows) / self.rows",
    ),
}


@contextlib.contextmanager
def planted(fault: Fault, root: Path) -> Iterator[None]:
    """The fault in the checkout.

    Raises:
        SystemExit: The text that it changes is not there once: the code has moved on.
    """
    path = root / fault.file
    text = path.read_text()
    if text.count(fault.right) != 1:
        raise SystemExit(
            f"{fault.file} has {text.count(fault.right)} times {fault.right!r}; it must be there once"
        )
    path.write_text(text.replace(fault.right, fault.wrong))
    try:
        yield
    finally:
        path.write_text(text)


def run(root: Path, cache: Path, marks: str) -> dict[str, Any]:
    """The tests of a mark until the first that fails: which, and how long it took."""
    variables = {
        **os.environ,
        "PYTHONPATH": str(root),
        "PYTHONDONTWRITEBYTECODE": "1",  # a file changed twice within a second would be taken for the one before
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-x",
        "-n",
        "2",
        "--dist",
        "worksteal",
        "-m",
        marks,
        "--tb=no",
    ]
    start = time.monotonic()
    command += ["-p", "no:cacheprovider", "--ignore", "tests/test_faults.py"]  # that looks at the very text
    done = subprocess.run(command, cwd=root, env=variables, capture_output=True, text=True)
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.MULTILINE)
    # Stopped at a failure, pytest's workers end with 2, as after an interruption.
    if done.returncode not in (0, 1, 2) or bool(failed) != bool(done.returncode):
        raise SystemExit(
            f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return {"failed": failed, "seconds": time.monotonic() - start}


def render(document: Mapping[str, Any]) -> str:
    """A row for each fault, and a column for each part that was run."""
    titles = {"fast": "`make test` finds it by", "slow": "the slow rest by"}
    names = [name for name in PARTS if any(name in result["parts"] for result in document["results"])]
    rows = []
    for result in document["results"]:
        found = [
            (f"`{part['failed'][0]}`" if part["failed"] else "no")
            if (part := result["parts"].get(name))
            else "not run"
            for name in names
        ]
        rows.append([f"{result['fault']}: {result['what']}", *found])
    return table(["fault", *(titles[name] for name in names)], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the JSON (default: benchmarks/results/faults.json)"
    )
    parser.add_argument("--only", nargs="+", choices=sorted(FAULTS), metavar="FAULT", help="some of them")
    parser.add_argument(
        "--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="(default: both)"
    )
    options = parser.parse_args()
    report = harness.Report("faults", options)
    with (
        tempfile.TemporaryDirectory(prefix="jaxgan-faults-") as folder,
        checked_out("HEAD", Path(folder)) as root,
    ):
        cache = Path(folder) / "cache"
        for part in options.parts:
            if (clean := run(root, cache, PARTS[part]))["failed"]:
                raise SystemExit(f"without a fault {clean['failed'][0]} fails")
        for name in options.only or FAULTS:
            with planted(FAULTS[name], root):
                parts = {part: run(root, cache, PARTS[part]) for part in options.parts}
            report.add({"fault": name, "what": FAULTS[name].what, "parts": parts})
    report.finish(render)


if __name__ == "__main__":
    main()
