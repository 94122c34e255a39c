"""The files of a run directory: what was written is read back, and what was not is named."""

import json

import pytest

from jaxgan.errors import InputError
from jaxgan.runs import stored

MANIFEST = {
    "versions": {"jax": "0.10.2"},
    "devices": ["cpu:cpu"],
    "threads": 2,
    "git_commit": None,
    "data_fingerprint": "ab",
    "classes": ["a", "b"],
    "examples": 10,
    "fields": {"real": [[28, 28, 1], "uint8"], "label": [[], "int32"]},
    "origins": [{"module": "mine", "file": None, "sha256": "unverified"}],
    "command": ["jaxgan", "train"],
    "of a later version": [{}],
}


def test_a_manifest_is_read_with_what_other_versions_add(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(MANIFEST))
    assert stored.manifest_of(path) == MANIFEST


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("versions", 3, "versions: Input should be a valid dictionary"),
        ("devices", ["cpu", 1], "devices.1: Input should be a valid string"),
        ("classes", None, "classes: Input should be a valid list"),
        ("classes", "ab", "classes: Input should be a valid list"),
        ("examples", True, "examples: Input should be a valid integer"),
        ("examples", 0, "examples: Input should be greater than 0"),
        ("fields", {"real": [[28, -1], "uint8"]}, "fields.real: Value error, [28, -1] is no shape"),
        ("fields", {"real": [[2**30] * 2, "uint8"]}, "is no shape of an example"),
        (
            "fields",
            {"real": [[28], "object"]},
            "fields.real: Value error, 'object' is no dtype of an example",
        ),
        ("fields", {"real": [[28], "no such"]}, "'no such' is no dtype of an example"),
        ("origins", [{"module": "mine", "file": None}], "origins.0.sha256: Field required"),
        ("origins_changed", [{"step": "5"}], "origins_changed.0.step: Input should be a valid integer"),
        ("fixed_weights", {"vgg": 1}, "fixed_weights.vgg: Input should be a valid string"),
    ],
)
def test_a_manifest_with_something_else_in_it_is_damaged(tmp_path, key, value, why):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({**MANIFEST, key: value}))
    with pytest.raises(InputError) as caught:
        stored.manifest_of(path)
    said = str(caught.value)
    assert said.startswith(f"{path} is damaged: ")
    assert why in said
    assert said.endswith("; restore it, or give another --run-dir")
    assert "\n" not in said


def log(path, *lines):
    path.write_bytes(
        b"".join(line if isinstance(line, bytes) else (json.dumps(line) + "\n").encode() for line in lines)
    )
    return stored.log_of(path)


def row(step, value=0.5):
    return {"step": step, "d/loss": value}


def test_a_whole_log_lacks_nothing(tmp_path):
    found = log(tmp_path / "metrics.jsonl", row(1), row(2, None), row(3))
    assert found == ([row(1), row(2, None), row(3)], [], [], False)
    assert found.lacks(3) is None
    assert found.lacks(2) is None
    assert found.up_to(2) == [row(1), row(2, None)]


@pytest.mark.parametrize(
    ("lines", "steps", "lost"),
    [
        ([row(1), row(4)], [1, 4], "2 steps missing (the first is 2)"),
        ([row(1), row(1), row(2), row(3), row(4)], [1, 2, 3, 4], "1 line doubled"),
        (
            [row(1), row(2), row(2, 9.0), row(3), row(4)],
            [1, 3, 4],
            "1 step missing (the first is 2), 2 lines damaged (line 2)",
        ),
        (
            [row(1), b'{"step": 2, "d/\n', row(3), row(4)],
            [1, 3, 4],
            "1 step missing (the first is 2), 1 line damaged (line 2)",
        ),
        (
            [row(1), row(2, "0.5"), row(3), row(4)],
            [1, 3, 4],
            "1 step missing (the first is 2), 1 line damaged (line 2)",
        ),
        ([row(1), row(3), row(2), row(4)], [1, 2, 3, 4], None),
        ([row(1), row(2), row(3), row(4), b'{"step": 5, "d/l'], [1, 2, 3, 4], None),
        ([row(1), row(2), row(3), b'{"step": 4, "d/l'], [1, 2, 3], "1 step missing (the first is 4)"),
        ([], [], "4 steps missing (the first is 1)"),
    ],
)
def test_what_a_log_has_lost_is_said_and_what_is_left_is_true(tmp_path, lines, steps, lost):
    found = log(tmp_path / "metrics.jsonl", *lines)
    assert [each["step"] for each in found.rows] == steps
    assert all(each["d/loss"] == 0.5 for each in found.rows)
    assert found.lacks(4) == lost


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"3",
        b"[1]",
        b'{"step": null}',
        b'{"step": true}',
        b'{"step": 0}',
        b'{"step": 1.0}',
        b'{"step": 99999999999}',
        b'{"other": 3}',
        b'{"step": 3, "x": NaN}',
        b'{"step": 3, "x": 1e999}',
        b'{"step": 3, "x": [1]}',
        b'{"step": 3, "x": ' + b"9" * 5000 + b"}",
        b'{"step": 3, "x": ' + b"[" * 100_000,
        b'{"step": 3, "x": "\xff"}',
        b"\0" * 40,
    ],
    ids=lambda line: line[:24].decode("latin-1"),
)
def test_what_is_no_line_of_a_log_is_left_out_and_counted(tmp_path, line):
    found = log(tmp_path / "metrics.jsonl", row(1), line + b"\n", row(2))
    assert found.rows == [row(1), row(2)]
    assert found.damaged == [2]
    assert found.lacks(2) == "1 line damaged (line 2)"


SCORE = {"score": "kernel", "value": None, "step": 5, "seed": 0, "time": "", "protocol": {"n_fake": 4}}


def test_scores_are_read_with_what_older_versions_leave_out(tmp_path):
    path = tmp_path / "evaluation.jsonl"
    assert stored.scores_of(path) == []
    old = {"metric": "kernel", **{key: value for key, value in SCORE.items() if key != "score"}}
    path.write_text(f"{json.dumps(SCORE)}\n{json.dumps(old)}\n")
    assert stored.scores_of(path) == [{"title": "kernel", "error": None, "floor": None, **SCORE}] * 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"value": "1"}, "value: Input should be a valid number"),
        ({"error": True}, "error: Input should be a valid number"),
        ({"score": 1}, "score: Input should be a valid string"),
        ({"step": -1}, "step: Input should be greater than or equal to 0"),
        ({"protocol": []}, "protocol: Input should be a valid dictionary"),
        ({"title": None}, "title: Input should be a valid string"),
    ],
)
def test_a_score_that_is_none_is_named_by_its_line(tmp_path, changes, why):
    path = tmp_path / "evaluation.jsonl"
    path.write_text(f"{json.dumps(SCORE)}\n{json.dumps({**SCORE, **changes})}\n")
    with pytest.raises(InputError) as caught:
        stored.scores_of(path)
    assert str(caught.value).startswith(f"{path}: line 2 is damaged ({why}")
    assert str(caught.value).endswith("); remove it")


def test_a_note_is_a_table_or_nothing(tmp_path):
    path = tmp_path / "note.json"
    assert stored.note_of(path) == {}
    path.write_text('{"privacy": 1}')
    assert stored.note_of(path) == {"privacy": 1}
    path.write_text("[1]")
    with pytest.raises(InputError, match=r"note\.json is damaged: it holds no table"):
        stored.note_of(path)
