"""The script for an accelerator's minutes: it keeps to its time, and nothing that it found is lost."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"
STEP = """
import json, os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
with open(sys.argv[2], "a") as found:
    print(json.dumps({"what": "process", "pid": child.pid}), file=found, flush=True)
    if sys.argv[1] == "machine":
        sys.exit(3)
    found.write('{"what": "half a li')
    found.flush()
    time.sleep(600)
"""
"""A step that leaves a process behind, and fails as "machine" or does not end."""


@pytest.fixture
def accelerator(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("accelerator")


@pytest.fixture
def steps(tmp_path: Path) -> Path:
    """A folder with such a step."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "accelerator_steps.py").write_text(STEP)
    return folder


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def start(steps: Path, *arguments: str) -> subprocess.Popen[str]:
    """The script, in a process of its own, with other steps."""
    code = f"import sys, pathlib, accelerator; accelerator.HERE = pathlib.Path({str(steps)!r}); accelerator.main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": f"{BENCHMARKS}{os.pathsep}{ROOT}"},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_time_is_shared_by_weight_and_in_order(accelerator: Any) -> None:
    two = accelerator.plan(63, ["bits", "machine"], {"machine": 20, "other": 5, "bits": 40})
    assert two == [("machine", 20.0, 20.0), ("bits", 40.0, 60.0)]
    whole = accelerator.plan(480, list(accelerator.PLAN), accelerator.PLAN)
    assert whole[-1].end == pytest.approx(480 - accelerator.LAST)
    assert whole[-1].name == "biggan"
    usual = accelerator.plan(480, [name for name in accelerator.PLAN if name != "biggan"], accelerator.PLAN)
    assert usual[-1].seconds == pytest.approx(62, abs=1)  # the weights are seconds of 480
    assert set(accelerator.TOY) == set(accelerator.PLAN)


@pytest.mark.slow
def test_steps_that_fail_or_do_not_end_are_ended_with_all_that_they_started(
    steps: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    begun = time.monotonic()
    process = start(steps, "--seconds", "12", "--out", str(out), "--only", "machine", "kernels")
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert time.monotonic() - begun < 20
    document = json.loads((out / "accelerator.json").read_text())
    machine, kernels = (document["steps"][name] for name in ("machine", "kernels"))
    assert machine["status"] == "failed: exit status 3, see accelerator.log"
    assert kernels["status"] == "stopped: its time was over"
    for step in (machine, kernels):
        (found,) = step["results"]  # and not the half line
        assert not alive(found["pid"])
    assert "stopped: its time was over" in (out / "accelerator.md").read_text()
    assert "machine" in printed


def test_what_was_found_is_kept_when_somebody_stops_it(steps: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(steps, "--seconds", "600", "--out", str(out), "--only", "kernels")
    document = out / "accelerator.json"
    until = time.monotonic() + 60
    while not document.exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 1
    step = json.loads(document.read_text())["steps"]["kernels"]
    assert step["status"] == "stopped by a signal"
    assert not alive(step["results"][0]["pid"])


def test_a_table_that_fails_loses_nothing(accelerator: Any, tmp_path: Path) -> None:
    document = accelerator.Document(tmp_path, {})
    odd = {
        "planned_seconds": 1.0,
        "status": "done",
        "results": [{"what": "case", "nothing": "that is known"}],
    }
    document.update("torch", odd)
    assert json.loads((tmp_path / "accelerator.json").read_text())["steps"]["torch"] == odd
    assert "The table cannot be made" in (tmp_path / "accelerator.md").read_text()


def test_tables_say_what_was_found(accelerator: Any) -> None:
    def step(*results: dict[str, Any]) -> dict[str, Any]:
        return {"planned_seconds": 10.0, "seconds": 4.0, "status": "done", "results": list(results)}

    run = {"what": "run", "state_sha256": "ab" * 32, "recorded_as_deterministic": True, "seconds": 9.0}
    verdict = {"what": "verdict", "runs": 2, "first_step_that_differs": None}
    text = accelerator.render(
        {
            "steps": {
                "bits": step(
                    {**run, "name": "killed", "deterministic": True, "killed_at": 120, "resumed_from": 100},
                    {**verdict, "deterministic": True, "equal": True},
                    {**verdict, "deterministic": False, "equal": False, "first_step_that_differs": 7},
                ),
                "tests": step(
                    {"what": "test", "name": "tests/a.py::b", "outcome": "passed"},
                    {"what": "test", "name": "tests/a.py::c", "outcome": "failed"},
                ),
                "torch": step({"what": "left out", "case": "wgangp", "why": "3 s were left"}),
            }
        }
    )
    assert "## bits (4 of 10 s): done" in text
    assert "Determinism asked for: the bits of 2 runs are equal." in text
    assert "not asked for: the bits of 2 runs are NOT EQUAL, metrics differ from step 7 on." in text
    assert "| abababababababab |" in text
    assert "1 of 2 passed. Not: tests/a.py::c" in text
    assert "- left out: case wgangp, why 3 s were left" in text


@pytest.mark.slow
def test_the_machine_is_measured(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(BENCHMARKS / "accelerator.py"),
        "--toy",
        "--seconds",
        "60",
        "--only",
        "machine",
    ]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    step = json.loads((tmp_path / "accelerator.json").read_text())["steps"]["machine"]
    assert step["status"] == "done", (tmp_path / "accelerator.log").read_text()
    found = {one["what"]: one for one in step["results"]}
    assert set(found) == {"environment", "product", "bandwidth"}
    assert found["environment"]["devices"]
    assert found["product"]["tflops"] > 0
    assert found["bandwidth"]["gigabytes_per_second"]["median"] > 0
    assert "| processor" in done.stdout


@pytest.mark.parametrize("arguments", [["--seconds", "2"], ["--only", "machines"]], ids=str)
def test_what_cannot_be_done_is_said(arguments: list[str]) -> None:
    command = [sys.executable, str(BENCHMARKS / "accelerator.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert arguments[0] in done.stderr
