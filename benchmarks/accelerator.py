"""Everything worth knowing about jaxgan on an accelerator, in the minutes that there are, on a bare machine.

Steps run one after another, each in a process of its own that is stopped when its seconds are over; what it found until
then is kept. `OUT/accelerator.json` is written whenever something is found, `OUT/accelerator.md` holds the tables,
`OUT/accelerator.log` what the steps printed. Seconds that a step leaves go to those behind it.

    python benchmarks/accelerator.py --seconds 480 --out OUT                          all of it but "biggan"
    python benchmarks/accelerator.py --seconds 300 --out OUT --only biggan --data DIR  some of it, for longer

The step "biggan", which compiles for two minutes, trains on pictures that travel with the checkout:
`jaxgan prepare emoji --only image --out data/noto`.
Without an accelerator all steps run on the CPU: `--toy` takes sizes for that.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from accelerator_tables import render

PLAN = {
    "machine": 25,
    "bits": 80,
    "tests": 50,
    "throughput": 110,
    "torch": 100,
    "seeds": 50,
    "kernels": 62,
    "biggan": 300,
}
"""Seconds of each step where there are 480 for all but the last; other times are shared in the same proportions."""
TOY = {
    "machine": 8,
    "bits": 27,
    "tests": 12,
    "throughput": 17,
    "torch": 21,
    "seeds": 15,
    "kernels": 12,
    "biggan": 18,
}
"""The same with `--toy`, where most of a step is its start."""
LAST = 3.0
"""Seconds kept for the end."""
GRACE = 2.0
"""Seconds that a step has to end by itself once it is asked to; they are its own."""
HERE = Path(__file__).resolve().parent
HASTE = "--xla_backend_optimization_level=0"
"""Compiles sooner what is not measured."""


class Planned(NamedTuple):
    """A step and its part of the time."""

    name: str
    seconds: float
    end: float
    """When it is stopped, in seconds from the start."""


def plan(seconds: float, names: Sequence[str], weights: Mapping[str, float]) -> list[Planned]:
    """Shares the time among steps: in proportion to their weights, and in that order."""
    chosen = {name: weight for name, weight in weights.items() if name in names}
    unit, end, planned = (seconds - LAST) / sum(chosen.values()), 0.0, []
    for name, weight in chosen.items():
        end += weight * unit
        planned.append(Planned(name, weight * unit, end))
    return planned


class Document:
    """What was found, on disk as soon as it is known."""

    def __init__(self, out: Path, about: Mapping[str, Any]) -> None:
        self.out, self.content = out, {"benchmark": "accelerator", **about, "steps": {}}

    def update(self, name: str, step: Mapping[str, Any]) -> None:
        """Keeps what is known of a step, and writes all."""
        self.content["steps"][name] = dict(step)
        partial = self.out / "accelerator.json.partial"
        partial.write_text(json.dumps(self.content, indent=1, default=str) + "\n", encoding="utf-8")
        partial.replace(self.out / "accelerator.json")
        (self.out / "accelerator.md").write_text(render(self.content) + "\n", encoding="utf-8")


class Stopped(BaseException):
    """Somebody asks all to end."""


def take(
    step: Planned, arguments: Sequence[str], start: float, document: Document, work: Path, log: Any
) -> dict[str, Any]:
    """Runs a step in a process group of its own until it ends or its time does."""
    found = work / f"{step.name}.jsonl"
    found.write_text("", encoding="utf-8")
    begun, deadline = time.monotonic(), start + step.end
    state: dict[str, Any] = {"planned_seconds": step.seconds, "results": [], "status": "running"}
    left = deadline - begun - GRACE
    if left <= 0:
        return {**state, "status": "left out: no time was left"}
    command = [
        sys.executable,
        str(HERE / "accelerator_steps.py"),
        step.name,
        str(found),
        str(left),
        *arguments,
    ]
    log.write(f"\n== {step.name}: {' '.join(command)}\n")
    log.flush()
    variables = {
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # several processes share the accelerator
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    if "--toy" in arguments:
        variables["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {HASTE}".strip()
    process = subprocess.Popen(command, stdout=log, stderr=log, env=variables, start_new_session=True)
    try:
        while process.poll() is None and time.monotonic() < deadline - GRACE:
            time.sleep(0.2)
            results = whole_lines(found)
            if len(results) > len(state["results"]):
                state["results"], state["seconds"] = results, round(time.monotonic() - begun, 1)
                document.update(step.name, state)
        late = process.poll() is None
    finally:
        end(process)
    state["results"] = whole_lines(found)
    state["seconds"] = round(time.monotonic() - begun, 1)
    if late:
        state["status"] = "stopped: its time was over"
    elif process.returncode:
        state["status"] = f"failed: exit status {process.returncode}, see accelerator.log"
    else:
        state["status"] = "done"
    return state


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The results in a file that somebody is writing."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and all that it started."""
    for number, seconds in ((signal.SIGTERM, GRACE), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break  # all of them are gone
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seconds", type=float, default=480.0, metavar="S", help="in all (default: 480)")
    parser.add_argument(
        "--out", type=Path, default=Path("accelerator"), metavar="DIR", help="where it writes"
    )
    parser.add_argument("--only", nargs="+", choices=PLAN, metavar="STEP", help=f"some of {', '.join(PLAN)}")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data/noto"),
        metavar="DIR",
        help="pictures for biggan (default: data/noto)",
    )
    parser.add_argument("--commit", metavar="TEXT", help="what is measured, where Git cannot say so")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to see that it works")
    options = parser.parse_args()
    if options.seconds <= LAST:
        parser.error(f"--seconds is {options.seconds}; it must be above {LAST}")
    start = time.monotonic()
    out: Path = options.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    names = options.only or [name for name in PLAN if options.toy or name != "biggan"]
    planned = plan(options.seconds, names, TOY if options.toy else PLAN)
    for step in planned:
        print(f"{step.name:<12}{step.seconds:6.0f} s, until {step.end:4.0f} s", flush=True)
    about = {"arguments": vars(options), "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    about["planned_seconds"] = {step.name: step.seconds for step in planned}
    document = Document(out, about)
    arguments = [
        "--out",
        str(out),
        "--data",
        str(options.data.resolve()),
        *(["--toy"] if options.toy else []),
    ]

    def stop(number: int, frame: Any) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    status = 0
    with (
        tempfile.TemporaryDirectory(prefix="jaxgan-accelerator-", ignore_cleanup_errors=True) as work,
        (out / "accelerator.log").open("a", encoding="utf-8") as log,
    ):
        try:
            for step in planned:
                state = take(step, arguments, start, document, Path(work), log)
                document.update(step.name, state)
                took = f"{state.get('seconds', 0):.0f} s"
                print(f"{step.name:<12}{took:>8}: {state['status']}", flush=True)
        except Stopped:
            status = 1
            for name, state in document.content["steps"].items():
                if state["status"] == "running":
                    document.update(name, {**state, "status": "stopped by a signal"})
            print("stopped; what was found is kept", flush=True)
    print(f"\n{render(document.content)}\n\nwritten to {out}, {time.monotonic() - start:.0f} s in all")
    sys.exit(status)


if __name__ == "__main__":
    main()
