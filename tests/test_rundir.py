"""The run directory: its log, its lock, and what it remembers of the machine."""

import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from jaxgan import config
from jaxgan.errors import InputError
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.directory import RunDirectory, check_manifest, environment
from jaxgan.runs.inspection import inspect


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path)


def steps(run):
    return [row["step"] for row in run.read_metrics()]


# The log


def test_log_appends_a_json_object_a_line(run):
    assert run.read_metrics() == []
    run.log([{"step": 1, "d/loss": 0.5}, {"step": 2, "d/loss": 1 / 3}])
    run.log([{"step": 3, "d/loss": -1e-30}])
    lines = run.metrics.read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": 1, "d/loss": 0.5},
        {"step": 2, "d/loss": 1 / 3},
        {"step": 3, "d/loss": -1e-30},
    ]
    assert run.read_metrics() == [json.loads(line) for line in lines]


def test_what_is_not_finite_is_null(run):
    inf, nan = float("inf"), float("nan")
    run.log([{"step": 1, "a": nan, "b": inf, "c": -inf, "d": 0.0}])

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    row = json.loads(run.metrics.read_text(), parse_constant=refuse)
    assert row == {"step": 1, "a": None, "b": None, "c": None, "d": 0.0}
    assert run.read_metrics() == [row]


def refuse(line):
    raise AssertionError(line)


@pytest.mark.parametrize(("step", "left"), [(0, []), (2, [1, 2]), (5, [1, 2, 3, 4, 5])])
def test_truncation_keeps_the_lines_up_to_a_step(run, step, left):
    run.log([{"step": i, "x": 0.5} for i in range(1, 6)])
    run.truncate(step, refuse)
    assert steps(run) == left
    run.log([{"step": step + 1}])
    assert steps(run) == [*left, step + 1]


@pytest.mark.parametrize("cut", range(1, 23))
def test_a_half_written_last_line_goes_wherever_it_was_cut(run, cut):
    run.log([{"step": 1, "x": 1.25}, {"step": 2, "x": 1.25}])
    whole = run.metrics.read_bytes()
    line = len(whole) // 2
    assert line == 23  # one more than this test leaves of it
    run.metrics.write_bytes(whole[: line + cut])
    said = []
    run.truncate(2, said.append)
    # Without its newline the last line is whole, and gets it back.
    assert run.metrics.read_bytes() == (whole if cut == line - 1 else whole[:line])
    lost = f"{run.metrics}: 1 step missing (the first is 2); what is left of it is as it was written"
    assert said == ([] if cut == line - 1 else [lost])


@pytest.mark.parametrize("rubbish", ["\0\0\0\0", "3\n", '{"other": 3}\n', '{"step": null}\n', "[1]\n"])
def test_truncation_stops_at_what_is_no_line_of_the_log(run, rubbish):
    run.log([{"step": 1}])
    with run.metrics.open("a") as file:
        file.write(rubbish)
    run.truncate(1, refuse)
    assert steps(run) == [1]


def test_one_bad_line_costs_no_other_and_is_named(run):
    run.log([{"step": 1}, {"step": 2}])
    with run.metrics.open("ab") as file:
        file.write(b'{"step": 3, "x": \xff\n')
    run.log([{"step": 4}, {"step": 5}])
    said = []
    run.truncate(4, said.append)
    assert steps(run) == [1, 2, 4]
    (lost,) = said
    assert lost.startswith(f"{run.metrics}: 1 step missing (the first is 3), 1 line damaged (line 3); ")


def test_truncation_without_a_log_makes_none(run):
    run.truncate(0, refuse)
    assert not run.metrics.exists()


def test_write_replaces_and_leaves_nothing_behind(run):
    run.write(run.manifest, "old")
    run.write(run.manifest, "new ü")
    assert run.manifest.read_text(encoding="utf-8") == "new ü"
    assert os.listdir(run.path) == ["manifest.json"]


# The lock


def holder(path):
    """Another process that has taken the folder and waits."""
    code = (
        "import sys, time; from pathlib import Path; from jaxgan.runs.directory import RunDirectory;"
        "run = RunDirectory(Path(sys.argv[1])); run.acquire(); print('taken', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "taken\n"
    return process


def test_a_folder_in_use_is_refused_until_its_process_is_killed(tmp_path):
    run = RunDirectory(tmp_path / "run")
    other = holder(run.path)
    try:
        with pytest.raises(InputError, match=r"is in use by another process; .*--run-dir"):
            run.acquire()
        other.send_signal(signal.SIGKILL)
        other.wait(60)
        run.acquire()
        run.release()
    finally:
        other.kill()
        other.wait()
        other.stdout.close()


def test_one_process_cannot_take_a_folder_twice_and_gives_it_back(tmp_path):
    first, second = RunDirectory(tmp_path / "a" / "b"), RunDirectory(tmp_path / "a" / "b")
    first.acquire()
    with pytest.raises(InputError, match="in use"):
        second.acquire()
    first.release()
    second.acquire()
    second.release()


def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(InputError, match=r"not empty and not a run \(it holds thesis.tex\)"):
        RunDirectory(tmp_path).acquire()
    assert os.listdir(tmp_path) == ["thesis.tex"]


@pytest.mark.parametrize("left", [[], [".lock"], [".lock", ".config.toml.partial"]])
def test_what_a_start_that_was_killed_leaves_is_no_hindrance(tmp_path, left):
    for name in left:
        (tmp_path / name).touch()
    run = RunDirectory(tmp_path)
    run.acquire()
    run.release()


def test_a_run_is_taken_with_all_that_it_holds(tmp_path):
    (tmp_path / "config.toml").touch()
    (tmp_path / "notes.txt").touch()
    run = RunDirectory(tmp_path)
    run.acquire()
    run.release()


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match=r"cannot write to the run directory .*give another --run-dir"):
            RunDirectory(path).acquire()
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_without_permission_cannot_be_written(tmp_path, mode):
    folder = tmp_path / "run"
    folder.mkdir()
    folder.chmod(mode)
    try:
        with pytest.raises(InputError, match="cannot write to the run directory"):
            RunDirectory(folder).acquire()
    finally:
        folder.chmod(0o755)
    assert os.listdir(folder) == []


# The manifest


def machine(**changes):
    devices = [SimpleNamespace(platform="cpu", device_kind="cpu")] * 2
    return {
        **environment(devices, 3, {"data_fingerprint": "abc", "classes": ["a", "b"], "examples": 5}),
        **changes,
    }


def test_environment_is_json_and_names_what_a_run_depends_on():
    import jax
    import numpy as np

    found = json.loads(json.dumps(machine()))
    assert (found["seed"], found["data_fingerprint"], found["devices"]) == (3, "abc", ["cpu:cpu", "cpu:cpu"])
    assert found["versions"]["jax"] == jax.__version__
    assert found["versions"]["numpy"] == np.__version__
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert 1 <= found["threads"] <= (os.cpu_count() or 1)


def test_the_same_environment_is_silent(tmp_path):
    said = []
    check_manifest(None, machine(), tmp_path, said.append)
    check_manifest(json.loads(json.dumps(machine())), machine(), tmp_path, said.append)
    # Moved to another folder, started by another command: no bits depend on that.
    check_manifest(machine(command=["x"], platform="y", git_commit="z"), machine(), tmp_path, said.append)
    assert said == []


@pytest.mark.parametrize(
    "changes", [{"versions": {"jax": "0.1"}}, {"python": "2.7.1"}, {"devices": ["gpu:H100"]}, {"threads": 77}]
)
def test_another_environment_is_named_and_goes_on(changes, tmp_path):
    said = []
    check_manifest(machine(**changes), machine(), tmp_path, said.append)
    assert len(said) == 1
    assert said[0].startswith(f"{next(iter(changes))} changed since")
    assert "not to the bit" in said[0]


def test_other_data_is_refused(tmp_path):
    with pytest.raises(InputError, match=f"not the data that {tmp_path} was trained on"):
        check_manifest(machine(data_fingerprint="def"), machine(), tmp_path, pytest.fail)


def test_another_range_of_deep_images_is_refused(tmp_path):
    """Runs of before ranges were chosen had one alone, that of all 16 bits, and did not name it."""

    def of(*span):
        return machine(domain={"domain": "image", "ranges": {"real": list(span)}})

    older = machine(domain={"domain": "image"})
    check_manifest(older, of(0, 65535), tmp_path, pytest.fail)
    check_manifest(of(0, 4095), of(0.0, 4095.0), tmp_path, pytest.fail)
    for was, now in ((older, of(0, 4095)), (of(0, 1023), of(0, 4095)), (of(0, 4095), older)):
        with pytest.raises(InputError, match="the data is of domain"):
            check_manifest(was, now, tmp_path, pytest.fail)


@pytest.mark.parametrize("ranges", [5, [[0, 255]], {"a": 5}, {"a": None}, {"a": [[]]}, {"a": "xy"}])
def test_ranges_that_are_none_are_another_domain(tmp_path, ranges):
    """They may be facts of a domain of one's own, which is compared as it is."""
    odd = machine(domain={"domain": "image", "ranges": ranges})
    check_manifest(json.loads(json.dumps(odd)), odd, tmp_path, pytest.fail)
    for was, now in ((odd, machine(domain={"domain": "image"})), (machine(domain={"domain": "image"}), odd)):
        with pytest.raises(InputError, match="the data is of domain"):
            check_manifest(was, now, tmp_path, pytest.fail)


def test_a_manifest_is_read_back_and_a_broken_one_named(run):
    assert run.read_manifest() is None
    run.write(run.manifest, json.dumps(machine()))
    assert run.read_manifest() == machine()
    run.write(run.manifest, "{")
    with pytest.raises(InputError, match=r"manifest.json is damaged"):
        run.read_manifest()
    run.write(run.manifest, "[]")
    with pytest.raises(InputError, match=r"manifest.json is damaged"):
        run.read_manifest()
    run.manifest.unlink()
    run.checkpoints.mkdir()
    with pytest.raises(InputError, match=r"manifest.json is missing"):
        run.read_manifest()


# Links, which a stranger may have put there


@pytest.fixture
def outside(tmp_path):
    """A folder that is nobody's to change, and what it holds."""
    folder = tmp_path / "outside"
    (folder / "7").mkdir(parents=True)
    (folder / "7" / "thesis.tex").write_text("...")
    (folder / "file").write_text("private\n")
    return folder


def listing(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("name", ["samples", "best", "metrics.jsonl", "evaluation.jsonl", ".lock"])
@pytest.mark.parametrize("there", [True, False])
def test_a_run_with_a_link_in_a_place_to_write_is_refused(tmp_path, outside, name, there):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.config.touch()
    target = (outside if name in ("samples", "best") else outside / "file") if there else outside / "none"
    (run.path / name).symlink_to(target)
    before = listing(outside)
    with pytest.raises(InputError) as caught:
        run.acquire()
    assert str(caught.value).startswith(
        f"{run.path / name} is a link, and nothing is written through one; put a copy"
    )
    assert listing(outside) == before


@pytest.mark.parametrize("there", [True, False])
def test_no_line_is_appended_through_a_link(tmp_path, outside, there):
    run = RunDirectory(tmp_path)
    run.metrics.symlink_to(outside / ("file" if there else "none"))
    before = listing(outside)
    with pytest.raises(InputError, match=r"metrics\.jsonl is a link"):
        run.log([{"step": 1}])
    assert listing(outside) == before


def test_no_line_is_appended_to_a_file_of_another_name(tmp_path, outside):
    """What is replaced as a whole is a file of its own then, as a log is where a run goes on."""
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.config.touch()
    (outside / "log").write_text('{"step": 1}\n')
    run.evaluation.hardlink_to(outside / "file")
    run.metrics.hardlink_to(outside / "log")
    before = listing(outside)
    with pytest.raises(
        InputError, match=r"evaluation\.jsonl is a hard link, so another file .*; put a copy in its place"
    ):
        run.add_scores([{"step": 1}])
    with pytest.raises(InputError, match=r"metrics\.jsonl is a hard link"):
        run.log([{"step": 2}])
    run.acquire()
    run.truncate(1, refuse)
    run.log([{"step": 2}])
    run.release()
    assert steps(run) == [1, 2]
    (run.path / ".lock").unlink(missing_ok=True)
    (run.path / ".lock").hardlink_to(outside / "file")
    with pytest.raises(InputError, match=r"\.lock is a hard link"):
        run.acquire()
    assert listing(outside) == before


@pytest.mark.parametrize(
    "name", ["config.toml", "manifest.json", ".config.toml.partial", ".manifest.json.partial"]
)
def test_what_is_replaced_replaces_links_and_not_what_they_lead_to(tmp_path, outside, name):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    (run.path / name).symlink_to(outside / "file")
    before = listing(outside)
    run.write(run.config, "a")
    run.write(run.manifest, "b")
    assert listing(outside) == before
    assert listing(run.path) == {"config.toml": b"a", "manifest.json": b"b"}
    assert not any(path.is_symlink() for path in run.path.iterdir())


def test_a_run_that_is_a_link_itself_is_a_run(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    run = RunDirectory(tmp_path / "run")
    run.acquire()
    run.log([{"step": 1}])
    run.release()
    assert steps(run) == [1]


def test_checkpoints_may_be_on_another_disk_but_not_in_another_run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()
    run.config.touch()
    run.checkpoints.symlink_to(tmp_path / "disk")
    with pytest.raises(InputError, match=r"checkpoints is a link to .*/disk, which is no folder; make it"):
        run.acquire()
    (tmp_path / "disk").mkdir()
    run.acquire()
    run.release()
    run.checkpoints.unlink()
    (tmp_path / "other" / "checkpoints").mkdir(parents=True)
    (tmp_path / "other" / "config.toml").touch()
    run.checkpoints.symlink_to(tmp_path / "other" / "checkpoints")
    with pytest.raises(InputError, match=r"checkpoints is a link into another run, .*/other; remove it"):
        run.acquire()


def linked(tmp_path, name):
    """A run whose checkpoints are in a folder elsewhere."""
    run = RunDirectory(tmp_path / name)
    run.path.mkdir()
    run.config.touch()
    (tmp_path / "disk").mkdir(exist_ok=True)
    run.checkpoints.symlink_to(tmp_path / "disk")
    return run


def test_a_folder_of_checkpoints_is_that_of_one_run(tmp_path):
    one, two = linked(tmp_path, "one"), linked(tmp_path, "two")
    for _ in range(2):  # also when it goes on
        one.acquire()
        one.release()
    with pytest.raises(
        InputError,
        match=r"two/checkpoints is a link to the checkpoints of another run, .*/one; remove it, or link",
    ):
        two.acquire()
    one.path.rename(tmp_path / "moved")
    one = RunDirectory(tmp_path / "moved")
    one.acquire()
    one.release()
    with pytest.raises(InputError, match=r"of another run, .*/moved; remove it"):
        two.acquire()
    one.checkpoints.unlink()  # it saves elsewhere now
    two.acquire()
    two.release()
    assert json.loads((tmp_path / "disk" / ".jaxgan-run.json").read_text()) == {"run": str(two.path)}


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_mark_of_whose_the_checkpoints_are_is_named(tmp_path, text):
    run = linked(tmp_path, "one")
    (tmp_path / "disk" / ".jaxgan-run.json").write_text(text)
    with pytest.raises(InputError, match=r"/\.jaxgan-run\.json is damaged"):
        run.acquire()


@pytest.mark.parametrize("name", ["checkpoints", "samples", "best"])
def test_a_file_where_a_folder_is_needed_is_refused_at_once(tmp_path, name):
    run = RunDirectory(tmp_path)
    run.config.touch()
    (run.path / name).write_text("mine")
    with pytest.raises(InputError, match=rf"{name} is no folder, so nothing can be .* there; move it"):
        run.acquire()
    assert (run.path / name).read_text() == "mine"


def test_a_note_says_nothing_that_is_known_of_a_run(tmp_path):
    """A note may come from anybody."""
    run = RunDirectory(tmp_path)
    mlp = {"network": "mlp", "width": 4, "depth": 1}
    data = {"source": "embedded", "split": "test"}
    given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    run.write(run.config, config.parse(given).to_toml())
    run.write(run.manifest, "{}")
    run.log([{"step": 1}, {"step": 2}])
    saves = Checkpoints(run.checkpoints)
    lies = {"name": "x", "step": 9, "state_sha256": "0", "parameters": {}, "log": "lost", "origins": []}
    saves.save(2, {"params": {"generator": {"kernel": np.ones((2, 3))}}}, note={**lies, "privacy": "said"})
    saves.wait()
    found = inspect(run.path, pytest.fail)
    assert {
        "name": "tiny",
        "step": 2,
        "parameters": {"generator": 6},
        "privacy": "said",
    }.items() <= found.items()
    assert len(found["state_sha256"]) == 64
    assert not {"log", "origins"} & set(found)


def test_a_line_after_one_that_was_cut_off_is_a_line_of_its_own(run):
    run.metrics.write_text('{"step": 1}\n{"step": 2, "x')
    run.log([{"step": 3}])
    assert steps(run) == [1, 3]
    run.metrics.write_text("x")  # of one byte
    run.log([{"step": 1}])
    assert run.metrics.read_text() == 'x\n{"step": 1}\n'
