"""What runs stand up to: killed processes, damaged checkpoints, full disks, and files that anybody may have changed.

Each kind makes one small run first, then tries to break it many times. A try fails where a state comes back that was
never saved, where a run does not end in the bits of the run that nobody touched, or where what is said is not one line.

    python benchmarks/robustness.py                               # all kinds, some minutes
    python benchmarks/robustness.py --only fuzz --number 2000
"""

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import harness
from damage import FILES, complete, damaged, looked_at, restore, spoilt
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from text_table import table

from jaxgan import config
from jaxgan.runs.checkpoint import Checkpoints, sha256
from jaxgan.runs.directory import RunDirectory

STEPS, EVERY = 60, 5
"""Steps of the small run, and from one checkpoint to the next."""
KILLS = 4
"""How often one run is killed before it may end."""
TRAIN = [
    *("--quiet", "--data.split", "test", "--batch-size", "8", "--run.samples", "4", "--game.latent", "3"),
    *("--generator.width", "4", "--generator.depth", "1", "--discriminator.width", "4"),
    *("--discriminator.depth", "1", "--run.sample_every", "20", "--run.window", "5"),
    *("--run.checkpoint_every", str(EVERY), "--steps", str(STEPS)),
]
NUMBER = {"kill": 20, "flip": 200, "disk": 10, "fuzz": 10_000}
"""Tries by kind."""


def command(run: Path) -> list[str]:
    """The words that train the small run."""
    return ["train", str(config.shipped("mlp")), *TRAIN, "--run-dir", str(run)]


LIMITED = """import resource, sys
most = int(sys.argv.pop(1))
if most:
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
from jaxgan.cli import main
sys.exit(main())"""
"""The command line in a process that can write no file of more than so many bytes."""


def process(run: Path, most: int = 0) -> subprocess.Popen[str]:
    """A process that trains, and can write no file of more than so many bytes; 0 for as many as it wants."""
    return subprocess.Popen(
        [sys.executable, "-c", LIMITED, str(most), *command(run)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "JAX_NUM_CPU_DEVICES": "1"},
    )


def ended(started: subprocess.Popen[str]) -> tuple[int, str]:
    """A process's exit code and what it said."""
    _, said = started.communicate(timeout=300)
    return started.returncode, said


def newest(run: Path) -> tuple[int, str]:
    """The step and digest of a run's newest good state."""
    found = Checkpoints(run / "checkpoints").newest(lambda line: None)
    return (found[0], sha256(found[1])) if found else (0, "")


def same(run: Path, whole: Path) -> str | None:
    """How a run differs from the one that nobody touched; None where it does not."""
    if newest(run) != newest(whole):
        return "another state"
    log, expected = (RunDirectory(path).metrics.read_bytes() for path in (run, whole))
    return None if log == expected else "another log"


Found = Iterator[str | None]
"""For each try None, or why it failed."""


def kill(whole: Path, number: int, draws: random.Random) -> Found:
    """SIGKILL at any moment, several times in one run, which then goes on to its end."""
    run = whole.with_name("killed")
    for i in range(number):
        if i % KILLS == 0:
            shutil.rmtree(run, ignore_errors=True)
        before, saves = newest(run)[0], Checkpoints(run / "checkpoints")
        started = process(run)
        while started.poll() is None and max(saves.steps(), default=0) <= before:
            time.sleep(0.01)  # until it has saved something new
        time.sleep(draws.uniform(0, 0.5))
        started.kill()
        started.communicate()
        step, _ = newest(run)
        why = None if step >= before else f"step {before} was lost"
        if (i + 1) % KILLS == 0 or i + 1 == number:
            code, said = ended(process(run))
            why = why or (f"ended with {code}: {said[-500:]}" if code else same(run, whole))
        yield why


def flip(whole: Path, number: int, draws: random.Random) -> Found:
    """Checkpoints with a byte flipped, a file cut, lost, added or changed over: never a state that was not saved."""
    saves = Checkpoints(whole / "checkpoints")
    known = {step: sha256(saves.read(step)) for step in saves.steps()}
    folder = whole.with_name("flipped")
    for _ in range(number):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(saves.directory, folder)
        how = spoilt(folder / str(draws.choice(sorted(known))), draws)
        said: list[str] = []
        try:
            found = Checkpoints(folder).newest(said.append)
        except Exception as error:
            yield f"{how}: {type(error).__name__}: {error}"
            continue
        if found is None or known.get(found[0]) != sha256(found[1]):
            yield f"{how}: a state that nobody saved"
        else:
            yield None if (found[0] == max(known)) != bool(said) else f"{how}: left out without a word"


def disk(whole: Path, number: int, draws: random.Random) -> Found:
    """No file may grow past so many bytes, as on a full disk: one line, and the run goes on once there is room."""
    run = whole.with_name("full")
    for _ in range(number):
        shutil.rmtree(run, ignore_errors=True)
        most = int(10 ** draws.uniform(1.5, 5))
        code, said = ended(process(run, most))
        lines = [line for line in said.splitlines() if line.startswith("jaxgan: error: ")]
        if code not in (0, 1, 2) or len(lines) != bool(code) or "Traceback" in said:
            yield f"{most} bytes: ended with {code}: {said[-500:]}"
            continue
        code, said = ended(process(run))
        yield f"{most} bytes: went on with {code}: {said[-500:]}" if code else same(run, whole)


def _named(name: str, content: bytes | str) -> tuple[str, bytes | str]:
    return name, content


def fuzz(whole: Path, number: int, draws: random.Random) -> Found:
    """Each file that programs read, mutated in every way, through its reader: it is read, or one line names it."""
    outcomes: list[str | None] = []
    run = whole.with_name("fuzzed")
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    before = {name: (run / name).read_bytes() for name in FILES}

    @seed(draws.getrandbits(32))
    @settings(
        max_examples=number,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of([damaged(name, before[name]).map(partial(_named, name)) for name in sorted(FILES)]))
    def each(case: tuple[str, bytes | str]) -> None:
        name, content = case
        outcomes.append(looked_at(run, name, content))
        restore(run / name, before[name])

    each()
    yield from outcomes


KINDS: Mapping[str, Callable[[Path, int, random.Random], Found]] = {
    "kill": kill,
    "flip": flip,
    "disk": disk,
    "fuzz": fuzz,
}


@contextmanager
def finished() -> Iterator[Path]:
    """The small run, in a folder that goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="jaxgan-robustness-") as folder:
        run = Path(folder) / "whole"
        code, said = ended(process(run))
        if code:
            raise SystemExit(f"the small run ended with {code}: {said}")
        complete(run)
        yield run


def tried(kind: str, whole: Path, number: int, at: int = 0) -> dict[str, Any]:
    """Tries of one kind: how many, how many failed, and why the first of these did."""
    start = time.monotonic()
    found = list(KINDS[kind](whole, number, random.Random(f"{kind} {at}")))
    failed = [why for why in found if why]
    return {
        "kind": kind,
        "what": (KINDS[kind].__doc__ or "").splitlines()[0],
        "tries": len(found),
        "failures": len(failed),
        "reasons": [why[:1000] for why in failed[:10]],
        "seconds": round(time.monotonic() - start, 1),
    }


def render(document: Mapping[str, Any]) -> str:
    """A row for each kind."""
    rows = [
        [f"{each['kind']}: {each['what']}", each["tries"], each["failures"]] for each in document["results"]
    ]
    return table(["what is done to a run", "tries", "failures"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the JSON (default: benchmarks/results/robustness.json)"
    )
    parser.add_argument("--only", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND")
    parser.add_argument("--number", type=int, metavar="N", help="tries of each kind")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of what is drawn (default: 0)")
    options = parser.parse_args()
    report = harness.Report("robustness", options)
    with finished() as whole:
        for kind in options.only:
            report.add(tried(kind, whole, options.number or NUMBER[kind], options.seed))
    report.finish(render)


if __name__ == "__main__":
    main()
