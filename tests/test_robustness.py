"""What `benchmarks/robustness.py` does to runs, a few times each: they stand it."""

import base64
import json
import shutil
from pathlib import Path

import damage
import pytest
import robustness
from quick import quickly

from jaxgan import cli, report
from jaxgan.runs.directory import RunDirectory


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 60 steps with every file that a run may have."""
    run = tmp_path_factory.mktemp("robustness") / "whole"
    with quickly():
        assert cli.main(robustness.command(run)) == 0
    damage.complete(run)
    return run


def stands(kind, whole, number, at=0):
    found = robustness.tried(kind, whole, number, at)
    assert found["reasons"] == []
    assert (found["tries"], found["failures"]) == (number, 0)


def test_two_thousand_damaged_files_are_read_or_named_in_one_line(whole):
    stands("fuzz", whole, 2000)


def test_damaged_checkpoints_never_come_back_as_states_that_nobody_saved(whole):
    stands("flip", whole, 40)


@pytest.mark.slow
def test_killed_runs_and_runs_on_a_full_disk_end_in_the_same_bits():
    with robustness.finished() as whole:
        stands("kill", whole, 2)
        stands("disk", whole, 2)


def test_a_failure_is_counted(whole, monkeypatch):
    """The tool itself: a reader that ends in something else, and a state that nobody saved."""

    def broken(run):
        raise KeyError("classes")

    monkeypatch.setitem(damage.FILES, "manifest.json", (broken,))
    found = robustness.tried("fuzz", whole, 60)
    assert 0 < found["failures"] < 60
    assert all(why.startswith("manifest.json: KeyError: 'classes' of ") for why in found["reasons"])
    monkeypatch.setattr(robustness, "spoilt", lambda folder, draws: shutil.rmtree(folder) or "a save lost")
    found = robustness.tried("flip", whole, 10)
    assert 0 < found["failures"] < 10
    assert set(found["reasons"]) == {"a save lost: left out without a word"}


BAD = {
    "deep": b"[" * 100_000,
    "long": b'{"step": ' + b"9" * 5000 + b"}",
    "wrong": b'{"step": "\\u001b[2J", "score": 3, "classes": 7, "name": []}',
    "toml": b"name = 3\nsteps = " + b"9" * 5000,
    "not text": b"\xff\xfe\x00",
    "empty": b"",
    "folder": None,
}


@pytest.fixture
def run(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "run"))


def ended(capsys, *words):
    """What a command ends with: its code and the one line of an error, if there is one."""
    capsys.readouterr()
    code = cli.main([str(word) for word in words])
    said = capsys.readouterr().err
    assert "Traceback" not in said
    lines = [line for line in said.splitlines() if line.startswith("jaxgan: error: ")]
    assert len(lines) == (code != 0)
    return code, said


@pytest.mark.parametrize("name", ["config.toml", "manifest.json", "evaluation.jsonl"])
@pytest.mark.parametrize("how", BAD)
def test_commands_on_a_damaged_file_end_in_one_line_that_names_it(run, capsys, name, how):
    damage.place(run / name, "folder" if BAD[how] is None else BAD[how])
    commands = [["inspect", run], ["compare", run]]
    if name != "evaluation.jsonl":
        commands += [robustness.command(run), ["sample", run, "--out", run.parent / "a.png"]]
    for words in commands:
        code, said = ended(capsys, *words)
        reads = name == "config.toml" or (words[0] == "compare") == (name == "evaluation.jsonl")
        empty = name == "evaluation.jsonl" and how == "empty"  # no scores yet
        assert code == (2 if reads else 0), said
        assert (str(run / name) in said) or not reads or empty, said


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints/60/sha256.json", "checkpoints/60/note.json"])
@pytest.mark.parametrize("how", [how for how in BAD if BAD[how] is not None])
def test_commands_go_on_with_what_is_whole(run, capsys, name, how):
    damage.place(run / name, BAD[how])
    code, said = ended(capsys, "inspect", run)
    assert code == 0
    if name != "metrics.jsonl":
        assert f"checkpoint {run / 'checkpoints' / '60'} is left out: " in said
        return
    torn = how in (
        "empty",
        "deep",
        "long",
        "wrong",
        "not text",
    )  # no line, or one alone, as a write leaves it
    capsys.readouterr()
    assert cli.main(["inspect", str(run)]) == 0
    lost = "60 steps missing (the first is 1)" + ("" if torn else ", 2 lines damaged (line 1)")
    assert f"log               {lost}" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"real": [[], "uint8"], "label": [[], "int32"]}, "examples are uint8 [], and images uint8"),
        (
            {"real": [[28, 28, 1], "float32"], "label": [[], "int32"]},
            "examples are float32 [28, 28, 1], and images",
        ),
        ({"real": [[28, 28, 1], "uint8"], "label": [[3], "int32"]}, "'label' is int32 [3]"),
        ({"label": [[], "int32"]}, "says nothing of the field 'real'"),
        (None, "says nothing of examples"),
    ],
)
def test_a_manifest_of_data_that_there_cannot_be_is_named(run, capsys, fields, why):
    path = RunDirectory(run).manifest
    found = {**json.loads(path.read_text()), "fields": fields}
    if fields is None:
        del found["fields"], found["examples"]
    path.write_text(json.dumps(found))
    code, said = ended(capsys, "sample", run, "--out", run.parent / "a.png")
    assert code == 2
    assert said.splitlines()[-1].startswith(f"jaxgan: error: {run}: its manifest.json says ")
    assert why in said
    assert said.endswith("; restore it\n")


@pytest.mark.slow
def test_a_report_of_a_run_with_a_log_that_was_cut_off(run, capsys):
    log = RunDirectory(run).metrics
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(
        b"".join([*lines[:10], *lines[11:20], lines[19], b"{\n", *lines[21:], b'{"step": 61, "disc'])
    )
    (run / "samples" / "step_00000020.png").unlink()
    (run.parent / "secret.png").write_bytes(b"secret")
    (run / "samples" / "step_00000020.png").symlink_to(run.parent / "secret.png")
    code, said = ended(capsys, "report", run, "--out", run.parent / "page.html")
    assert code == 0, said
    page = (run.parent / "page.html").read_text()
    lost = "2 steps missing (the first is 11), 2 lines damaged (line 21), 1 line doubled"
    assert f"The log is not whole: {lost}." in page
    assert "step_00000020.png is a link or no file" in page
    assert base64.b64encode(b"secret").decode()[:6] not in page
    assert ended(capsys, "inspect", run)[0] == 0


def test_inspect_and_a_resumed_run_say_what_the_log_has_lost(run, capsys):
    log = RunDirectory(run).metrics
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines[:10], *lines[11:20], lines[19], "{\n", *lines[21:]]))
    lost = "2 steps missing (the first is 11), 1 line damaged (line 21), 1 line doubled"
    assert cli.main(["inspect", str(run)]) == 0
    assert f"log               {lost}" in capsys.readouterr().out.splitlines()
    assert cli.main(["inspect", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["log"] == lost
    with quickly():
        code, said = ended(capsys, *robustness.command(run))
    assert code == 0
    assert said.count(f"{log}: {lost}; what is left of it is as it was written") == 1
    assert log.read_text() == "".join([*lines[:10], *lines[11:20], *lines[21:]])
    assert len(report.warnings(RunDirectory(run).read_metrics())) == 0


def test_names_of_runs_reach_the_terminal_clean(whole, capsys, tmp_path):
    run = Path(shutil.copytree(whole, tmp_path / "a\x1b[2J\nforged: \u202eb"))
    assert cli.main(["inspect", str(run)]) == 0
    assert cli.main(["compare", str(run)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\u202e" not in out
    assert not [line for line in out.splitlines() if line.startswith("forged")]
    assert cli.main(["inspect", str(run / ("x" * 200_000))]) == 2
    said = capsys.readouterr().err
    assert len(said) < 3000
    assert said.count("\n") == 1
    assert "\x1b" not in said
