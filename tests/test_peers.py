"""Processes of one run meet, agree, and end by one line when one of them is gone; most of it without JAX."""

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_parallel import free_port

from jaxgan import config, experiment
from jaxgan.data.sources import DATA
from jaxgan.errors import InputError
from jaxgan.peers import meeting, messages, watch
from jaxgan.runs.directory import RunDirectory
from jaxgan.settings import places
from jaxgan.training import claim
from jaxgan.training import train as training

MEETS = """
import sys, time
from jaxgan import peers
from jaxgan.errors import InputError
from jaxgan.peers import meeting, watch
watch.SILENCE, watch.SIGN, watch.REPLY, meeting.REPLY, meeting.MEETING = 3.0, 0.2, 1.0, 1.0, 20.0
process, processes, port, does = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
if does == "hurries":
    meeting.MEETING = 2.0
try:
    peers.meet(f"127.0.0.1:{port}", processes, process)
    others = peers.present()
    if does == "begins":
        time.sleep(1)
    others.agree({"steps": "20" if does == "differs" else "10", "seed": "0"})
    print("agreed", flush=True)
    if does == "fails":
        raise InputError("a mistake of its own")
    if does == "waits":
        time.sleep(60)
    if does == "busy":
        until = time.monotonic() + 2 * watch.SILENCE
        while time.monotonic() < until:  # holds the interpreter, as Python does, but for switches between threads
            sum(range(1000))
except InputError as error:
    print(f"jaxgan: error: {error}", file=sys.stderr)
    peers.leave(2)
    sys.exit(2)
"""

WATCHES = """
import socket, sys, time
from jaxgan.peers import watch
here, there = socket.socketpair()
hub = watch.Peers(0, 2)
hub.add(watch.Line(here, 1))
if sys.argv[1] == "closed":
    here.close()
hub._lines[1].heard -= 60  # it came long ago
hub.watch()
there.sendall(bytes.fromhex(sys.argv[1])) if sys.argv[1] != "closed" else None
time.sleep(15 if sys.argv[1] else 2)
"""

Started = subprocess.Popen[str]


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    """Starts a small process of a run; whatever is left of them is killed."""
    started: list[Started] = []

    def begin(process: int, does: str, port: str, processes: int = 2) -> Started:
        command = [sys.executable, "-c", MEETS, str(process), str(processes), port, does]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        started.append(subprocess.Popen(command, **pipes))
        return started[-1]

    yield begin
    for each in started:
        each.kill()
        each.communicate()


def ended(process: Started, within: float = 60) -> tuple[int, str]:
    """A process's exit code and what it said."""
    _, said = process.communicate(timeout=within)
    return process.returncode, said


def agreed(process: Started) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == "agreed\n"


@pytest.mark.parametrize("lost", [0, 1, 2])
@pytest.mark.parametrize(
    ("number", "how"), [(signal.SIGKILL, "ended before"), (signal.SIGSTOP, "no sign of life")]
)
def test_a_process_that_is_gone_ends_the_others(start: Any, lost: int, number: int, how: str) -> None:
    """Whether it is killed or stopped, and whether it is the hub or another."""
    port = free_port()
    processes = [start(process, "waits", port, 3) for process in range(3)]
    for process in processes:
        agreed(process)
    processes[lost].send_signal(number)
    for process in (each for each in processes if each is not processes[lost]):
        code, said = ended(process)
        assert code == 1
        assert said.startswith(f"jaxgan: error: process {lost} of 3 ")
        assert how in said
        assert said.count("\n") == 1


def test_a_process_that_was_stopped_learns_that_the_others_went(start: Any) -> None:
    port = free_port()
    hub, other = start(0, "waits", port), start(1, "waits", port)
    for process in (hub, other):
        agreed(process)
    hub.send_signal(signal.SIGSTOP)
    assert ended(other)[0] == 1
    hub.send_signal(signal.SIGCONT)
    code, said = ended(hub)
    assert (code, said.count("\n")) == (1, 1)
    assert "process 1 of 2 ended before the run did" in said


@pytest.mark.parametrize("fails", [0, 1])
def test_an_error_of_one_ends_the_others(start: Any, fails: int) -> None:
    port = free_port()
    processes = [start(process, "fails" if process == fails else "waits", port) for process in (0, 1)]
    assert ended(processes[fails]) == (2, "jaxgan: error: a mistake of its own\n")
    code, said = ended(processes[1 - fails])
    assert (code, said.count("\n")) == (1, 1)
    assert f"process {fails} of 2 failed, and says why itself" in said


def test_whoever_is_busy_is_not_gone(start: Any) -> None:
    """Signs of life are a thread's; and one process may end long before the other, once all is done."""
    port = free_port()
    hub, other = start(0, "busy", port), start(1, "ends", port)
    assert ended(other) == (0, "")
    assert ended(hub) == (0, "")


@pytest.mark.parametrize("differs", [0, 1, 2])
def test_processes_that_differ_all_say_in_what(start: Any, differs: int) -> None:
    port = free_port()
    processes = [start(process, "differs" if process == differs else "ends", port, 3) for process in range(3)]
    mine, theirs, other = ("20", "10", 1) if differs == 0 else ("10", "20", differs)
    for process in processes:
        code, said = ended(process)
        assert code == 2
        assert f"steps is {mine} in process 0, {theirs} in process {other}; start all with the same" in said
        assert said.count("\n") == 1


def test_a_port_in_use_is_one_line(start: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said = ended(start(0, "ends", port))
    assert (code, said.count("\n")) == (2, 1)
    assert f"port {port} of --coordinator 127.0.0.1:{port} cannot be opened" in said


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"[]\n", b"5\n", b"x" * 5000])
def test_something_else_at_the_port_is_one_line(start: Any, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        process = start(1, "ends", str(other.getsockname()[1]))
        connection, _ = other.accept()
        connection.sendall(answer)
        connection.close()
        code, said = ended(process)
    assert (code, said.count("\n")) == (2, 1)
    assert "something else than process 0 of a run listens at" in said


@pytest.mark.parametrize(
    "knock", [b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"{}\n", b"[1]\n", b"x" * 5000, b'{"as": 3}\n']
)
def test_whatever_else_knocks_is_turned_away(start: Any, knock: bytes) -> None:
    port = free_port()
    hub = start(0, "ends", port)
    connection = None
    while connection is None:
        with suppress(OSError):  # it does not listen yet
            connection = socket.create_connection(("127.0.0.1", int(port)), timeout=10)
        assert hub.poll() is None
    connection.sendall(knock)
    assert ended(start(1, "ends", port)) == (0, "")
    assert ended(hub) == (0, "")
    connection.close()


def test_other_numbers_of_processes(start: Any) -> None:
    port = free_port()
    hub = start(0, "ends", port, 2)
    code, said = ended(start(1, "ends", port, 3))
    assert (code, said.count("\n")) == (2, 1)
    assert "process 0 was started with --processes 2, this one with 3" in said
    assert ended(start(1, "ends", port, 2)) == (0, "")
    assert ended(hub) == (0, "")


@pytest.mark.parametrize("process", [0, 1])
def test_nobody_comes(start: Any, process: int) -> None:
    port = free_port()
    code, said = ended(start(process, "hurries", port))
    assert code == 2
    waits, error = said.splitlines()
    assert waits == f"jaxgan: waiting for process {1 - process} of 2 at 127.0.0.1:{port}"
    assert f"process {1 - process} of 2 did not come to 127.0.0.1:{port} within 2 s" in error


def test_processes_may_come_long_after_each_other(start: Any) -> None:
    """Nobody gives signs of life before all are there."""
    port = free_port()
    first = [start(process, "begins", port, 3) for process in range(2)]
    time.sleep(4)  # more than SILENCE
    for process in (*first, start(2, "begins", port, 3)):
        code, said = ended(process)
        assert (code, "error" in said) == (0, False), said


def knocked(port: str, what: str) -> tuple[socket.socket, str]:
    """A connection to a hub that may not listen yet, and its answer to the first line."""
    until = time.monotonic() + 30
    while True:
        try:
            connection = socket.create_connection(("127.0.0.1", int(port)), timeout=10)
            break
        except OSError:
            assert time.monotonic() < until
    connection.sendall(f"{what}\n".encode())
    return connection, connection.makefile().readline()


def test_a_process_may_come_again_before_all_are_there(start: Any) -> None:
    """One that died is not counted among those that are there; one that is there is replaced by nobody."""
    port, first = free_port(), '{"as": "process", "process": 1, "processes": 3}'
    hub = start(0, "ends", port, 3)
    died, answer = knocked(port, first)
    assert answer == '{"refused": ""}\n'
    twice, answer = knocked(port, first)
    assert "there is a process 1 already" in answer
    twice.close()
    died.close()
    others = [start(2, "ends", port, 3), start(1, "ends", port, 3)]
    for process in (hub, *others):
        code, said = ended(process, 20)
        assert (code, "error" in said) == (0, False), said


def test_a_number_that_is_a_truth_is_none(start: Any) -> None:
    port = free_port()
    hub = start(0, "ends", port)
    connection, answer = knocked(port, '{"as": "process", "process": true, "processes": 2}')
    assert answer == ""
    connection.close()
    assert ended(start(1, "ends", port)) == (0, "")
    assert ended(hub) == (0, "")


def test_a_run_that_has_begun_takes_nobody_in(start: Any) -> None:
    port = free_port()
    hub, other, calm = start(0, "waits", port, 3), start(1, "waits", port, 3), start(2, "ends", port, 3)
    agreed(hub)
    agreed(other)
    assert ended(calm)[0] == 0
    code, said = ended(start(2, "ends", port, 3), 20)
    assert (code, said.count("\n")) == (2, 1)
    assert "the run has begun" in said
    assert hub.poll() is None


def test_a_hub_that_cannot_accept_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where it is out of file descriptors: it goes on once it can, and does not take a core meanwhile."""
    tried: list[str] = []
    served = threading.Event()

    class Full:
        def accept(self) -> tuple[str, None]:
            if served.is_set():
                threading.Event().wait()
            tried.append("accept")
            if tried.count("accept") < 3:
                raise OSError(errno.EMFILE, "Too many open files")
            return "a connection", None

    monkeypatch.setattr(meeting.time, "sleep", lambda _: tried.append("pause"))
    full: Any = Full()
    meeting._serve(full, lambda connection: served.set())
    assert served.wait(10)
    assert tried[:5] == ["accept", "pause", "accept", "pause", "accept"]


def watching(what: str) -> tuple[int, str]:
    """A hub's exit code and words, whose only other process sends bytes, in hexadecimal, or is closed by itself."""
    command = [sys.executable, "-c", WATCHES, what]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    "said",
    [
        "5",
        "null",
        "[" * 998,
        '{"facts": 1}',
        '{"facts": {"steps": 1}}',
        '{"calm": "no"}',
        '{"verdict": null}',
        '{"gone": true, "how": "x"}',
        '{"gone": 1}',
        '{"gone": 1, "how": "x", "more": 2}',
        "1" * 5000,
        "",
    ],
)
def test_what_no_process_says_is_no_message(said: str) -> None:
    assert messages.parsed(said.encode()) is None
    assert messages.parsed(b"\xff" + said.encode()) is None


@pytest.mark.parametrize(
    "said",
    [
        {"as": "relay"},
        {"as": "process", "process": 1, "processes": 2},
        {"refused": ""},
        {"calm": True},
        {"facts": {"steps": "1", "a folder": "\ud800"}},
        {"gone": 1, "how": "x"},
    ],
)
def test_what_processes_say_is_a_message(said: dict[str, Any]) -> None:
    assert messages.parsed(json.dumps(said).encode()) == said


@pytest.mark.parametrize("said", ["5", "null", '{"facts":1}', "[" * 998, '{"calm":"no"}'])
def test_a_process_that_sends_something_else_ends_the_run(said: str) -> None:
    code, line = watching(f"{said}\n".encode().hex())
    assert code == 1
    assert line.startswith(
        "jaxgan: error: process 1 of 2 sent what no process of a run sends; so this one ends."
    )
    assert line.count("\n") == 1


@pytest.mark.parametrize(
    ("how", "shown"),
    [("x\x1b[2J\nwrote 5 files", r"x\x1b[2J\nwrote 5 files"), ("half \ud800", r"half \ud800")],
)
def test_what_a_process_says_of_another_steers_no_terminal(how: str, shown: str) -> None:
    code, line = watching((json.dumps({"gone": 1, "how": how}) + "\n").encode().hex())
    assert (code, line.count("\n")) == (1, 1)
    assert line.startswith(f"jaxgan: error: process 1 of 2 {shown}; so this one ends.")


def test_a_watch_that_fails_ends_the_process() -> None:
    code, line = watching("closed")
    assert (code, line.count("\n")) == (1, 1)
    assert line.startswith("jaxgan: error: the watch over the other processes failed (ValueError: ")


def test_whoever_came_long_ago_is_not_gone() -> None:
    """A process is silent since the watch began, not since it came."""
    assert watching("") == (0, "")


@pytest.mark.parametrize("asks", [0, 1])
def test_nobody_waits_for_a_word_of_a_process_that_has_left(asks: int) -> None:
    """As where one process calls `jaxgan.train` once more than the other."""
    here, there = socket.socketpair()
    stays, leaves = watch.Peers(asks, 2), watch.Peers(1 - asks, 2)
    stays.add(watch.Line(here, 1 - asks))
    leaves.add(watch.Line(there, asks))
    stays.watch()
    leaves.calm(True)
    stays.calm(True)
    there.close()
    said: list[str] = []

    def ask() -> None:
        try:
            stays.agree({"seed": "0"})
        except InputError as error:
            said.append(str(error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(20)
    assert said == [
        f"process {1 - asks} of 2 has ended, so the next run cannot begin; train the same runs in all processes"
    ]


def test_a_message_without_an_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "LONGEST", 1000)
    here, there = socket.socketpair()
    with here, there:
        line = watch.Line(here, 1)
        there.sendall(b"x" * 1000)
        assert line.receive() == []
        there.sendall(b"x")
        assert line.receive() is None


def test_differences_are_cut_and_counted() -> None:
    first = dict.fromkeys("abcde", "1")
    assert watch.differing([first, first]) == ""
    assert (
        watch.differing([first, {**first, "b": "x" * 99}])
        == f"b is 1 in process 0, {'x' * 60}... in process 1"
    )
    assert watch.differing([first, {}]).endswith("c is 1 in process 0, not there in process 1, and 2 more")
    assert watch.differing([{}, {}, {"new": "1"}]) == "new is not there in process 0, 1 in process 2"


def test_each_process_may_have_its_data_elsewhere(tmp_path: Path) -> None:
    """The same images in two folders, read by other numbers of workers: alike; other images or settings: not."""
    here, there, other = (tmp_path / name for name in ("here", "there", "other"))
    for folder, grey in ((here, 0), (there, 0), (other, 1)):
        folder.mkdir()
        for i in range(8):
            Image.new("L", (8, 8), grey + i).save(folder / f"{i}.png")

    def asked(folder: Path, **more: str) -> config.Settings:
        data = {"source": "folder", "path": str(folder), "resolution": 8, "channels": 1}
        mlp = {"network": "mlp", "width": 4, "depth": 1}
        given = {
            "name": "tiny",
            "steps": 1,
            "batch_size": 8,
            "data": data,
            "generator": mlp,
            "discriminator": mlp,
        }
        return config.parse(given, {key.replace("__", "."): value for key, value in more.items()})

    def facts(folder: Path, **more: str) -> dict[str, str]:
        settings = asked(folder, **more)
        source = experiment.source_of(settings)
        return training._facts(settings, experiment.of_source(settings, source), source)

    first = facts(here)
    assert watch.differing([first, facts(there, feed__workers="0")]) == ""
    assert watch.differing([first, facts(other)]).startswith("the data's fingerprint is ")
    assert watch.differing([first, facts(there, feed__resident="false")]) == (
        "feed.resident is None in process 0, False in process 1"
    )

    run, second = RunDirectory(tmp_path / "run"), asked(there, feed__workers="0")
    run.path.mkdir()
    run.write(run.config, asked(here).to_toml())
    claim.check(
        run, second, claim.of_process(second)
    )  # as processes but the first do when the run is resumed
    with pytest.raises(InputError, match=r"with other feed\.workers, data\.path; give"):
        claim.check(run, second)


def test_what_is_a_process_of_its_own_in_each_source_of_data() -> None:
    found = {name: places(model) for name, model in DATA.kinds.items() if places(model)}
    assert found["pairs"] == ["path", "inputs"]
    assert found["unpaired"] == ["path", "other"]
    assert found["folder"] == ["path"]


# Whole runs, through the command line.

CONFIG = Path(__file__).parents[1] / "configs" / "mlp.toml"
SMALL = (
    "--generator.width",
    "8",
    "--discriminator.width",
    "8",
    "--run.checkpoint_every",
    "200",
    "--run.sample_every",
    "1000",
)
STEPS = 4000


def train(run: Path, steps: int, among: Sequence[str] = (), *more: str) -> Started:
    command = [sys.executable, "-m", "jaxgan", "train", str(CONFIG), "--quiet", "--run-dir", str(run)]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1", "XLA_FLAGS": ""}
    return subprocess.Popen(
        [*command, "--steps", str(steps), *SMALL, *among, *more], env=environment, **pipes
    )


def pair(run: Path, steps: int, *of_second: str) -> list[Started]:
    port = free_port()
    among = ["--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process"]
    return [train(run, steps, [*among, "0"]), train(run, steps, [*among, "1"], *of_second)]


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "number"), [(0, signal.SIGKILL), (1, signal.SIGSTOP)])
def test_a_run_whose_process_is_gone_goes_on_with_one(tmp_path: Path, lost: int, number: int) -> None:
    run = tmp_path / "run"
    processes = pair(run, STEPS)
    try:
        while not [
            each for each in (run / "checkpoints").glob("*/sha256.json") if each.parent.name.isdigit()
        ]:
            assert all(process.poll() is None for process in processes)
            time.sleep(0.1)
        processes[lost].send_signal(number)
        code, said = ended(processes[1 - lost], 30)
        assert (code, said.count("\n")) == (1, 1)
        assert said.startswith(f"jaxgan: error: process {lost} of 2 ")
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    code, said = ended(train(run, STEPS), 120)
    assert code == 0, said
    assert f"resuming {run} from step " in said
    assert f"trained to step {STEPS}" in said
    assert "damaged" not in said


@pytest.mark.slow
def test_a_run_of_two_configs_is_one_line_in_each(tmp_path: Path) -> None:
    for process in pair(tmp_path / "run", 40, "--game.latent", "7"):
        code, said = ended(process, 120)
        assert (code, said.count("\n")) == (2, 1), said
        assert "game.latent is 100 in process 0, 7 in process 1" in said
    assert not (tmp_path / "run").exists()
