"""Which bits moved: every config at toy size, with this checkout and with another commit, on the same machine.

Each config trains six steps in five ways: by pmap and by jit, on one device and on four virtual ones, and once more
interrupted in the middle. The commit is checked out beside the working tree. Both sides run by the command line alone,
so that the commit may be of any age, and share one cache of compiled programs. Digests are of this processor: they are
compared, never stored.

    python benchmarks/bits.py --against HEAD~1
    python benchmarks/bits.py --against v1.0 --configs mlp biggan
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from text_table import table

ROOT = Path(__file__).resolve().parents[1]
STEPS, MIDDLE = 6, 3
WAYS = {
    "pmap": {"run.spread": "pmap"},
    "jit": {"run.spread": "jit"},
}
DEVICES = (1, 4)
AT_ONCE = 4
"""Configs that one process trains: a process can hold the programs of ten or so before Linux gives it no more maps."""
RESUMED = "pmap, resumed"
"""One more way, on one device: `STEPS` in two parts."""
COMMON = {
    "batch_size": "8",
    "run.samples": "10",
    "run.sample_every": str(MIDDLE),
    "run.checkpoint_every": str(MIDDLE),
    "generator.width": "4",
    "discriminator.width": "4",
}
IMAGES = {"data.source": "embedded", "data.channels": "3", "data.resolution": "32"}
NARROW = {"generator.width": "2", "discriminator.width": "2"}
SIZES: Mapping[str, Mapping[str, str]] = {
    "aae_semi": {"game.labels": "20"},
    "biggan": {"generator.width": "8", "discriminator.width": "8", "game.latent": "6"},
    "biggan64": {**IMAGES, **NARROW, "generator.attention": "0", "discriminator.attention": "0"},
    "cyclegan": {**NARROW, "generator.blocks": "1", "game.pool": "12"},
    "dcgan32": IMAGES,
    "dcgan64": IMAGES,
    "fashion_mnist": {"data.source": "embedded"},
    "lapgan": {"generator.hidden": "4", "discriminator.hidden": "4", "game.latent": "4"},
    "pix2pix": {**NARROW, "generator.depth": "2"},
    "private": {"game.noise_multiplier": "1.0"},  # one that is found depends on the steps
    "refiner": {"data.source": "embedded", "data.task": "unpaired-edges", **NARROW, "game.history": "12"},
    "sngan32": {**IMAGES, "generator.width": "8", "discriminator.width": "8"},
    "srgan": {"generator.blocks": "1", "discriminator.pairs": "2", "game.warmup": "1"},
    "stackgan": {"game.stage_two": "3", "generator.blocks": "0"},
    "stackgan_openmoji": {
        **{"data.source": "embedded", "data.task": "captions", "data.resolution": "28", "data.channels": "1"},
        **{"game.given": "text", "game.stage_two": "3", "generator.blocks": "0"},
    },
}
"""What makes a config small and independent of data that may not be there, besides `COMMON`."""


def child(what: Mapping[str, Any]) -> None:
    """Trains configs with the jaxgan that this process finds, and prints a line of JSON for each way."""
    from jaxgan.cli import main

    root, devices = Path(what["root"]), what["devices"]
    for name in what["configs"]:
        path = root / "configs" / f"{name}.toml"
        ways = dict(WAYS) | ({RESUMED: WAYS["pmap"]} if devices == 1 else {})
        for way, keys in ways.items():
            told = {"config": name, "way": way, "devices": devices}
            with tempfile.TemporaryDirectory(prefix="jaxgan-bits-") as folder:
                run = Path(folder) / "run"
                found = {**COMMON, **SIZES.get(name, {}), **keys}
                words = ["train", str(path), "--run-dir", str(run), "--quiet"]
                words += [word for key, value in found.items() for word in (f"--{key}", value)]
                errors = io.StringIO()
                code = 0
                with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
                    for steps in ([MIDDLE] if way == RESUMED else []) + [STEPS]:
                        code = code or main([*words, "--steps", str(steps)])
                if code:
                    last = (errors.getvalue().strip().splitlines() or ["it failed"])[-1]
                    print(json.dumps({**told, "failed": last}), flush=True)
                    continue
                printed = io.StringIO()
                with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
                    main(["inspect", str(run), "--json"])
                state = json.loads(printed.getvalue())["state_sha256"]
                log = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
                print(json.dumps({**told, "state": state, "log": log}), flush=True)


@contextlib.contextmanager
def checked_out(commit: str, folder: Path) -> Iterator[Path]:
    """A commit's files in a folder of their own."""
    place = folder / "commit"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--quiet", "--detach", str(place), commit], check=True)
    try:
        yield place
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)


def results(roots: Sequence[Path], names: Sequence[str], cache: Path) -> list[dict[tuple[str, str], Any]]:
    """What both sides found, by config and way: a process for each side, number of devices and few configs."""

    def run(root: Path, devices: int, configs: Sequence[str]) -> list[dict[str, Any]]:
        what = {"root": str(root), "devices": devices, "configs": list(configs)}
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(root), str(Path(__file__).resolve().parent)]),
            "JAX_PLATFORMS": "cpu",
            "JAX_NUM_CPU_DEVICES": str(devices),
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        command = [sys.executable, "-P", str(Path(__file__).resolve()), "--child", json.dumps(what)]
        found = []
        with subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            for line in process.stdout:
                found.append(json.loads(line))
                print(
                    f"{root.name}: {found[-1]['config']}, {found[-1]['way']}, {devices} devices",
                    file=sys.stderr,
                )
        if process.returncode:
            raise SystemExit(f"bits: {' '.join(command)} ended with {process.returncode}")
        return found

    sides = []
    for root in roots:  # one after the other: the second finds the first one's programs
        jobs = [
            (root, devices, names[i : i + AT_ONCE])
            for i in range(0, len(names), AT_ONCE)
            for devices in DEVICES
        ]
        with ThreadPoolExecutor(len(DEVICES)) as pool:
            parts = list(pool.map(run, *zip(*jobs, strict=True)))
        sides.append(
            {
                (one["config"], f"{one['way']}, {one['devices']} devices"): one
                for part in parts
                for one in part
            }
        )
    return sides


def compare(here: Mapping[Any, Any], there: Mapping[Any, Any]) -> list[dict[str, Any]]:
    """What differs, by config and way: since which step the metrics do, or why they cannot be compared."""
    found = []
    for key in sorted({*here, *there}):
        config, way = key
        one, other = here.get(key), there.get(key)
        told = {"config": config, "way": way}
        if one is None or other is None or "failed" in one or "failed" in other:
            why = {
                side: "there is none" if x is None else x.get("failed", "it runs")
                for side, x in (("here", one), ("there", other))
            }
            same = one is not None and other is not None and "failed" in one and "failed" in other
            found.append(
                {**told, "kind": "runs on neither side" if same else "cannot be compared", "why": why}
            )
            continue
        step = next((a["step"] for a, b in zip(one["log"], other["log"], strict=False) if a != b), None)
        if one["state"] != other["state"] or step is not None:
            found.append({**told, "kind": "differs", "from_step": step})
    return found


def render(found: Sequence[Mapping[str, Any]], compared: int, commit: str) -> str:
    """The answer for people."""
    differ = [one for one in found if one["kind"] == "differs"]
    rest = [one for one in found if one["kind"] != "differs"]
    parts = []
    if differ:
        names = sorted({one["config"] for one in differ})
        parts.append(f"The bits of {len(names)} configs are not those of {commit}: {', '.join(names)}.")
        rows = [
            [
                f"{one['config']}, {one['way']}",
                "the state alone" if one["from_step"] is None else one["from_step"],
            ]
            for one in differ
        ]
        parts.append(table(["config and way", "metrics differ from step"], rows))
    else:
        parts.append(f"None differ from {commit}: {compared - len(rest)} runs.")
    parts += [f"- {one['kind']}: {one['config']}, {one['way']}: {one['why']}" for one in rest]
    return "\n\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--against", metavar="COMMIT", help="the commit to compare the working tree with")
    parser.add_argument("--configs", nargs="+", metavar="NAME", help="some of configs/ (default: all)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(json.loads(options.child))
        return
    if not options.against:
        parser.error("--against COMMIT is needed: what to compare with")
    known = sorted(path.stem for path in (ROOT / "configs").glob("*.toml"))
    if unknown := set(options.configs or ()) - set(known):
        parser.error(f"no config is called {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="jaxgan-bits-") as folder,
        checked_out(options.against, Path(folder)) as place,
    ):
        here, there = results([ROOT, place], options.configs or known, Path(folder) / "cache")
    found = compare(here, there)
    print(render(found, len(here), options.against))
    print(f"{time.monotonic() - start:.0f} s", file=sys.stderr)
    sys.exit(any(one["kind"] != "runs on neither side" for one in found))


if __name__ == "__main__":
    main()
