"""Batches against direct gathering, with threads and with processes; and how the processes end."""

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import Batch, Embedded, ImageFolder, batches, indices, load
from jaxgan.data.sources import Example, labelled
from jaxgan.errors import InputError, RunError

LENGTH = 37


class Numbers:
    """Example i is an image full of i, with label i % 5. It pickles, as every source does."""

    resolution = 3
    channels = 3
    fields: ClassVar = labelled(3, 3)
    classes = tuple("abcde")
    fingerprint = "0" * 64

    def __init__(self, bad: int = -1, die: bool = False) -> None:
        self.bad = bad
        self.die = die

    def __len__(self) -> int:
        return LENGTH

    def __getitem__(self, index: int, /) -> Example:
        if index == self.bad:
            if self.die:
                os._exit(9)
            raise InputError("numbers/13.png: broken; replace or remove the file")
        return {"real": np.full((3, 3, 3), index, np.uint8), "label": np.int32(index % 5)}


def check(got: list[Batch], seed: int, start: int, turns: int, size: int, rows: slice) -> None:
    for s, batch in enumerate(got, start):
        for t in range(turns):
            want = [int(indices(seed, LENGTH, (s * turns + t) * size + r, 1)[0]) for r in range(size)][rows]
            assert batch["real"].dtype == np.uint8
            assert batch["label"].dtype == np.int32
            assert batch["real"].shape == (turns, len(want), 3, 3, 3)
            assert (batch["real"][t] == np.array(want)[:, None, None, None]).all()
            assert batch["label"][t].tolist() == [i % 5 for i in want]


@pytest.mark.parametrize("rows", [slice(None), slice(0, 4), slice(4, 8), slice(1, None, 3)])
def test_threads_match_direct_gathering(rows: slice) -> None:
    got = list(batches(Numbers(), 5, 3, 20, 2, 8, rows, 0))
    assert len(got) == 17
    check(got, 5, 3, 2, 8, rows)


@pytest.mark.parametrize(("workers", "steps"), [(1, 3), (2, 11)])
@pytest.mark.slow
def test_processes_give_the_same_bits(workers: int, steps: int) -> None:
    got = list(batches(Numbers(), 5, 3, 3 + steps, 2, 8, slice(2, 6), workers))
    assert len(got) == steps
    check(got, 5, 3, 2, 8, slice(2, 6))


def test_two_half_readers_together_equal_the_whole() -> None:
    whole = list(batches(Numbers(), 1, 0, 12, 1, 6, slice(None), 0))
    halves = [list(batches(Numbers(), 1, 0, 12, 1, 6, rows, 0)) for rows in (slice(0, 3), slice(3, 6))]
    for want, first, second in zip(whole, *halves, strict=True):
        for key in ("real", "label"):
            assert np.array_equal(np.concatenate([first[key], second[key]], axis=1), want[key])


def test_each_epoch_of_batches_visits_each_example_once() -> None:
    seen = [b["real"][0, :, 0, 0, 0] for b in batches(Numbers(), 0, 0, LENGTH, 1, 5)]
    epochs = np.concatenate(seen).reshape(5, LENGTH)  # 37 does not divide by 5: batches straddle epochs
    assert (np.sort(epochs, axis=1) == np.arange(LENGTH)).all()


def test_no_steps_and_a_far_step() -> None:
    assert list(batches(Numbers(), 0, 5, 5, 1, 4)) == []
    assert list(batches(Numbers(), 0, 5, 3, 1, 4, slice(None), 2)) == []
    far = 10**12
    check(list(batches(Numbers(), 0, far, far + 1, 1, 4)), 0, far, 1, 4, slice(None))


def test_batches_larger_than_the_set() -> None:
    check(list(batches(Numbers(), 0, 0, 2, 1, 100)), 0, 0, 1, 100, slice(None))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_unreadable_example_reaches_the_caller(workers: int) -> None:
    with pytest.raises(InputError, match=r"^numbers/13\.png: broken; replace or remove the file$"):
        list(batches(Numbers(bad=13), 0, 0, 20, 1, 4, slice(None), workers))


@pytest.mark.slow
def test_a_worker_that_dies_is_a_run_error() -> None:
    with pytest.raises(RunError, match="worker process died"):
        list(batches(Numbers(bad=13, die=True), 0, 0, 20, 1, 4, slice(None), 1))


@pytest.mark.parametrize(
    "change",
    [{"turns": 0}, {"batch_size": 0}, {"start": -1}, {"workers": -1}, {"seed": -1}],
    ids=lambda change: next(iter(change)),
)
def test_bad_arguments_are_refused_at_once(change: dict[str, int]) -> None:
    arguments = {"seed": 0, "start": 0, "stop": 2, "turns": 1, "batch_size": 2, "workers": 0} | change
    with pytest.raises(InputError):
        batches(Numbers(), **arguments)


def test_load_equals_the_source(tmp_path: Path) -> None:
    for i in range(30):
        Image.new("L", (6, 6), 8 * i).save(tmp_path / f"{i:02d}.png")
    for source in (ImageFolder(tmp_path, 4, 3), Numbers()):
        whole = load(source, progress=False)
        assert whole["real"].dtype == np.uint8
        assert whole["label"].dtype == np.int32
        for i in range(len(source)):
            assert np.array_equal(whole["real"][i], source[i]["real"])
            assert whole["label"][i] == source[i]["label"]


def test_load_embedded() -> None:
    source = Embedded("test")
    whole = load(source)
    assert whole["real"].shape == (2000, 28, 28, 1)
    for i in (0, 999, 1999):
        assert np.array_equal(whole["real"][i], source[i]["real"])
        assert whole["label"][i] == source[i]["label"]
    whole["real"][:] = 0  # a copy: the source stays whole
    assert source[0]["real"].any()


def test_load_names_an_unreadable_example_and_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match=r"numbers/13\.png"):
        load(Numbers(bad=13))
    assert capfd.readouterr() == ("", "")


SCRIPT = """
import os, sys, time
import numpy as np
from jaxgan.data import Embedded, batches

def main():
    stream = batches(Embedded("test"), 0, 0, 10**6, 1, 16, slice(None), 2)
    batch = next(stream)
    print("ready", flush=True)
    MODE

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process, the leader of a session of its own, that reads with two workers and does `mode`.

    It has said `ready`, on a line, when the call returns.
    """
    started: list[subprocess.Popen[str]] = []

    def run(mode: str, code: str = SCRIPT, ready: str = "ready") -> subprocess.Popen[str]:
        script = tmp_path / "script.py"
        script.write_text(code.replace("MODE", mode))
        process = subprocess.Popen(
            [sys.executable, script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == f"{ready}\n", process.communicate()[1]
        return process

    yield run
    for process in started:
        for pid in group(process):
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def group(process: subprocess.Popen[str]) -> list[int]:
    """The living processes of its session, by /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == process.pid and fields[0] != "Z":
            found.append(int(stat.parent.name))
    return found


Start = Callable[..., subprocess.Popen[str]]


def wait_until_gone(process: subprocess.Popen[str], seconds: float = 15) -> None:
    end = time.monotonic() + seconds
    while group(process) and time.monotonic() < end:
        time.sleep(0.05)
    assert group(process) == []


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")


@linux
@pytest.mark.slow
def test_workers_die_with_a_killed_parent(start: Start) -> None:
    process = start("time.sleep(60)")
    assert len(group(process)) >= 3
    process.kill()
    process.wait()
    wait_until_gone(process)


@linux
@pytest.mark.slow
def test_workers_end_quietly_with_an_iterator_that_is_still_held(start: Start) -> None:
    process = start("globals().update(s=stream, b=batch)")
    begin = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")
    assert time.monotonic() - begin < 15
    wait_until_gone(process)


@linux
@pytest.mark.slow
def test_interrupts_are_the_parents_alone(start: Start) -> None:
    """Ctrl-C and a TERM to the whole group: the parent alone decides, and goes on reading; no worker speaks.

    Neither does a worker that is still importing Python modules when the signal comes.
    """
    early = SCRIPT.replace(
        "    batch = next(stream)",
        "    import grain, signal\n"
        "    seen = []\n"
        "    for n in (signal.SIGINT, signal.SIGTERM): signal.signal(n, lambda *a: seen.append(a[0]))\n"
        "    print('go', flush=True)\n"
        "    batch = next(stream)",
    )
    mode = (
        "exec('while len(seen) < 5: time.sleep(0.01)'); "
        "[next(stream) for _ in range(50)]; del stream; print('read on', flush=True)"
    )
    process = start(mode, early, "go")
    for _ in range(3):
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "read on\n", "")
    wait_until_gone(process)


@pytest.mark.slow
def test_many_streams_one_after_another() -> None:
    """A resumed or evaluated run opens streams again: nothing may be left over from the one before."""
    for k in range(2):
        stream = batches(Numbers(), k, 0, 100, 1, 4, slice(None), 1)
        check(list(itertools.islice(stream, 2)), k, 0, 1, 4, slice(None))
        stream.close()  # type: ignore[attr-defined]
