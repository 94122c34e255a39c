"""Files of a run directory, damaged in every way that is known, and the programs that read them.

The strategies are Hypothesis's, so that a test and `robustness.py` draw the same kinds of damage. A try is a failure
where a reader ends in anything but what it reads or one line that names the file.
"""

import functools
import hashlib
import json
import os
import random
import shlex
import shutil
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from jaxgan import config, experiment, pages, plots, report
from jaxgan.errors import InputError, RunError
from jaxgan.experiment import provenance
from jaxgan.public import Run
from jaxgan.runs import inspection
from jaxgan.runs.checkpoint import Checkpoints, Damaged
from jaxgan.runs.directory import RunDirectory, check_manifest
from jaxgan.saying import MOST, clean
from jaxgan.scoring import compare
from jaxgan.training.claim import together
from jaxgan.training.recorder import Recorder

LAST = 60
"""The step of the checkpoint whose files are damaged."""
TOKENS = (
    *("null", "true", "false", "0", "-1", "1.5", "7", "2026-11-27", "1979-13-99", "2147483648"),
    *("1e308", "1e999", "-1e999", "NaN", "-Infinity", "inf", "nan", str(2**63), str(2**64)),
    *("9" * 5000, "0x" + "f" * 5000, "[" * 100_000, "[" * 60 + "]" * 60, '{"a":' * 5000 + "1" + "}" * 5000),
    *("[]", "{}", "[1]", '[""]', "[[]]", "[null]", '{"": 0}', '{"a": 1}', "", "\0", '""', "''", '"text"'),
    *('"\\ud800"', '"\\u0000"', '"\\u001b[2J\\u202e"', '"a\\nforged: line"', '"' + "x" * 100_000 + '"'),
    *('"</script><script>"', '"$\\\\frac$"', '"../../etc/passwd"', '"os.system"'),
)
"""What is put in a value's place, as JSON or TOML writes it, or nearly."""
KEYS = ("", "step", "score", "a.b", "[x", "\u202e", "x" * 10_000, "__class__", "data", "name")
"""What keys are called anew."""
RUBBISH = (
    *(b"", b"\0" * 64, b"\xff\xfe\x00", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"x" * 2**20),
    *(b"{", b"}", b"[", b"\n", b"=", b'"', b"\r"),
)
"""Bytes that get into a file."""
PLACES = ("missing", "folder", "pipe", "loop")
"""What stands in a file's place."""
_HOLE = "@@here@@"


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where values are in plain data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, each in inner for path in _paths(each, (*at, key)))]


def _with(value: Any, path: tuple[Any, ...], do: Callable[[Any, Any], None]) -> Any:
    """Plain data after `do(parent, key)` at a place."""
    copy = json.loads(json.dumps(value))
    *parents, key = path
    do(functools.reduce(lambda found, each: found[each], parents, copy), key)
    return copy


def _put(parent: Any, key: Any) -> None:
    parent[key] = _HOLE


def _drop(parent: Any, key: Any) -> None:
    del parent[key]


@functools.cache
def of_json(content: bytes) -> st.SearchStrategy[bytes]:
    """JSON with one value or key changed for another."""
    value = json.loads(content)
    paths = _paths(value)[1:]
    tokens = st.sampled_from(TOKENS)
    if not paths:
        return tokens.map(str.encode)

    def called(parent: Any, key: Any, name: str) -> None:
        if isinstance(parent, dict):
            parent[name] = parent.pop(key)
        else:
            parent[key] = {name: parent[key]}

    at = st.sampled_from(paths)
    changed = st.tuples(at, tokens).map(
        lambda x: (
            json.dumps(_with(value, x[0], _put)).replace(f'"{_HOLE}"', x[1]).encode("utf-8", "surrogatepass")
        )
    )
    dropped = at.map(lambda path: json.dumps(_with(value, path, _drop)).encode())
    renamed = st.tuples(at, st.sampled_from(KEYS)).map(
        lambda x: json.dumps(_with(value, x[0], lambda parent, key: called(parent, key, x[1]))).encode()
    )
    return st.one_of(changed, changed, changed, dropped, renamed, tokens.map(str.encode))


def of_lines(content: bytes, line: Callable[[bytes], st.SearchStrategy[bytes]]) -> st.SearchStrategy[bytes]:
    """Lines with one of them changed, lost, doubled, moved or new."""
    lines = content.splitlines()
    at = st.integers(0, len(lines) - 1)

    def joined(parts: list[bytes]) -> bytes:
        return b"".join(part + b"\n" for part in parts)

    changed = at.flatmap(lambda i: line(lines[i]).map(lambda new: joined([*lines[:i], new, *lines[i + 1 :]])))
    lost = at.map(lambda i: joined([*lines[:i], *lines[i + 1 :]]))
    moved = st.tuples(at, at).map(lambda x: joined([*lines[: x[0]], lines[x[1]], *lines[x[0] :]]))
    new = st.tuples(at, st.sampled_from(RUBBISH)).map(
        lambda x: joined([*lines[: x[0]], x[1], *lines[x[0] :]])
    )
    return st.one_of(changed, changed, changed, lost, moved, new)


@functools.cache
def of_toml(line: bytes) -> st.SearchStrategy[bytes]:
    """A line of TOML with another value, key or section."""
    key = line.partition(b"=")[0].strip()
    tokens = st.sampled_from(TOKENS).map(str.encode)
    return st.one_of(
        tokens.map(lambda value: key + b" = " + value),
        st.sampled_from(KEYS).map(lambda name: json.dumps(name).encode() + b" = 1"),
        tokens,
        st.just(b".".join([b"a"] * 3000) + b" = 1"),
        st.sampled_from([b"[data]", b"[[data]]", b"[a.b]", b"[game]", b'["\\u0000"]']),
    )


def of_bytes(content: bytes) -> st.SearchStrategy[bytes]:
    """Bytes flipped, cut off, lost, doubled or new."""
    at = st.integers(0, len(content) - 1)
    flipped = st.tuples(at, st.integers(1, 255)).map(
        lambda x: content[: x[0]] + bytes([content[x[0]] ^ x[1]]) + content[x[0] + 1 :]
    )
    cut = at.map(lambda i: content[:i])
    span = st.tuples(at, at).map(sorted)
    lost = span.map(lambda x: content[: x[0]] + content[x[1] :])
    doubled = span.map(lambda x: content[: x[1]] + content[x[0] :])
    new = st.tuples(at, st.sampled_from(RUBBISH)).map(lambda x: content[: x[0]] + x[1] + content[x[0] :])
    return st.one_of(flipped, cut, lost, doubled, new)


def damaged(name: str, content: bytes) -> st.SearchStrategy[bytes | str]:
    """What may stand in the place of a file: other bytes, or one of `PLACES`."""
    kind = {
        ".json": lambda: of_json(content),
        ".jsonl": lambda: of_lines(content, of_json),
        ".toml": lambda: of_lines(content, of_toml),
    }[Path(name).suffix]()
    return st.one_of(kind, kind, of_bytes(content), of_bytes(content), kind, st.sampled_from(PLACES))


def place(path: Path, content: bytes | str) -> None:
    """Puts something in a file's place."""
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "folder":
        path.mkdir()
    elif content == "pipe":
        os.mkfifo(path)
    elif content == "loop":
        path.symlink_to(path.name)


def restore(path: Path, content: bytes) -> None:
    """Puts a file back, whatever stands in its place."""
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink(missing_ok=True)
    path.write_bytes(content)


def complete(run: Path) -> None:
    """Gives a finished run the files that only some runs have: scores, a best score, and a note beside its state."""
    scored = {
        "score": "kernel",
        "title": "KD (features)",
        "value": 3.5,
        "error": 0.25,
        "floor": 0.125,
        "step": LAST,
        "seed": 0,
        "state_sha256": "ab",
        "time": "2026-11-27T00:00:00Z",
        "versions": {"jaxgan": "0.1.0"},
        "protocol": {"n_fake": 400, "data_fingerprint": "ab" * 32, "features": "fashion-cnn", "resize": None},
    }
    folder = RunDirectory(run)
    folder.add_scores([{**scored, "seed": i, "value": 3.5 + i} for i in range(3)])
    folder.best.mkdir(exist_ok=True)
    (folder.best / "score.json").write_text(json.dumps(scored, indent=1))
    state = folder.checkpoints / str(LAST)
    (state / "note.json").write_text('{"privacy": {"epsilon": 1.5, "delta": 1e-05}}')
    listed = json.loads((state / "sha256.json").read_text())
    listed["note.json"] = hashlib.sha256((state / "note.json").read_bytes()).hexdigest()
    (state / "sha256.json").write_text(json.dumps(listed, indent=1))


def _quiet(line: str) -> None:
    """Hears what is said; it must be a line."""
    assert isinstance(line, str)


def _config(run: Path) -> None:
    config.deterministic(run, {})
    RunDirectory(run).read_config()
    compare.compare([run])


@functools.cache
def _settings(run: Path) -> config.RunSettings:
    found = RunDirectory(run).read_config()
    assert found is not None
    return found


def _manifest(run: Path) -> None:
    folder, settings = RunDirectory(run), _settings(run)
    found = folder.read_manifest()
    now = {
        "data_fingerprint": "",
        "versions": {},
        "python": "",
        "devices": [],
        "threads": 1,
        "deterministic": True,
    }
    try:
        check_manifest(found, now, run, _quiet)
    except InputError as error:
        clean(error)
    if found is None:
        return
    try:
        provenance.check(found, {}, run, False)
    except InputError as error:
        clean(error)
    provenance.differs(found, ())
    together(found)
    shlex.join([*report._again(folder, settings, found), *found.get("command", [])])
    pages.text(json.dumps(found, indent=1)).encode()
    inspection.table(found)
    try:
        experiment.of_manifest(settings, found)
    except InputError as error:  # `sample.load` puts the folder before it
        clean(error)


def _metrics(run: Path) -> None:
    folder = RunDirectory(run)
    log = folder.read_log()
    log.lacks(LAST)
    report.warnings(log.rows)
    _ = Run(run).log
    content = folder.metrics.read_bytes() if folder.metrics.is_file() else b""
    if log.rows and hashlib.sha256(content).digest()[0] < 4:  # it takes longest
        plots.curves(log.rows, run / "curves.png", "title")
    folder.truncate(LAST, _quiet)


def _evaluation(run: Path) -> None:
    folder = RunDirectory(run)
    scored = folder.read_evaluation()
    report._scores(run, scored)
    report._by_step(scored)
    compare.table(compare.compare([run]))


def _truncate(run: Path) -> None:
    RunDirectory(run).truncate(LAST, _quiet)


@functools.cache
def _recorder(run: Path) -> Recorder:
    settings = _settings(run)
    assert isinstance(settings, config.Settings)
    built = experiment.of_source(settings, experiment.source_of(settings))
    return Recorder(built, RunDirectory(run), _quiet, writes=False)


def _best(run: Path) -> None:
    _recorder(run).beaten({"value": 2.0, "protocol": {"n_fake": 400}}, -1)


def _state(run: Path) -> None:
    try:
        Checkpoints(run / "checkpoints").read(LAST)
    except Damaged as error:
        clean(error)


def _note(run: Path) -> None:
    _state(run)
    Checkpoints(run / "checkpoints").note(LAST)


FILES: Mapping[str, tuple[Callable[[Path], None], ...]] = {
    "config.toml": (_config,),
    "manifest.json": (_manifest,),
    "metrics.jsonl": (_metrics,),
    "evaluation.jsonl": (_evaluation, _truncate),
    "best/score.json": (_best,),
    f"checkpoints/{LAST}/sha256.json": (_state,),
    f"checkpoints/{LAST}/note.json": (_note,),
}
"""Files that programs read, and what they do with them."""


def looked_at(run: Path, name: str, content: bytes | str) -> str | None:
    """Why programs do not stand a file in a run; None where they do. The file stays as they left it."""
    path = run / name
    place(path, content)
    for look in FILES[name]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                look(run)
        except (InputError, RunError) as error:
            said = clean(" ".join(str(error).split()))
            if "\n" in said or len(said) > MOST + 1000:
                return f"{name}: what is said is no line: {said[:200]!r} of {content[:200]!r}"
            if str(run) not in said:
                return f"{name}: {said!r} names no file, of {content[:200]!r}"
        except Exception as error:
            return f"{name}: {type(error).__name__}: {str(error)[:300]} of {content[:300]!r}"
    return None


def spoilt(folder: Path, draws: random.Random) -> str:
    """Damages a checkpoint's folder in one way; says which."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    file, other = draws.choice(files), draws.choice(files)
    content = file.read_bytes()
    digests = folder / "sha256.json"

    def flip() -> None:
        at = draws.randrange(len(content)) if content else 0
        file.write_bytes(
            content[:at] + bytes([content[at] ^ draws.randrange(1, 256)]) + content[at + 1 :]
            if content
            else b"x"
        )

    def cut() -> None:
        file.write_bytes(content[: draws.randrange(len(content))] if content else b"x")

    def change_over() -> None:
        new = other.read_bytes()
        file.write_bytes(new if new != content else content + b"x")

    def unlist() -> None:
        listed = json.loads(digests.read_text())
        flip()
        listed.pop(file.relative_to(folder).as_posix(), None)
        if file != digests:
            digests.write_text(json.dumps(listed))

    def list_nothing() -> None:
        flip()
        digests.write_text("{}")

    ways: dict[str, Callable[[], Any]] = {
        "a byte flipped": flip,
        "a file cut off": cut,
        "a file lost": file.unlink,
        "a file that is another one": change_over,
        "a byte flipped in a file that is not listed": unlist,
        "a byte flipped where nothing is listed": list_nothing,
        "a file more": lambda: (folder / "more").write_text("x"),
        "a file doubled": lambda: shutil.copy(file, file.with_name(f"{file.name}-2")),
        "bytes more": lambda: file.write_bytes(content + b"\0"),
    }
    how = draws.choice(sorted(ways))
    ways[how]()
    return f"{how} ({file.relative_to(folder)})"
