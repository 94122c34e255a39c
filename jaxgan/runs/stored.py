r"""What the files of a run directory hold, each checked as it is read: a damaged one is named in one line.

A run directory may come from anybody, and a disk may have lost a part of it. All of its files that programs read but
the configuration (`jaxgan.config`) and the states themselves (`jaxgan.runs.checkpoint`) are read here alone.

For example:

    >>> path = Path("metrics.jsonl")
    >>> size = path.write_text('{"step": 1, "d/loss": 0.5}\n' * 2 + '{"step": 2, "d/lo\n{"step": 4}')
    >>> log = log_of(path)
    >>> log.rows
    [{'step': 1, 'd/loss': 0.5}, {'step': 4}]
    >>> log.lacks(4)
    '2 steps missing (the first is 2), 1 line damaged (line 3), 1 line doubled'
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from jaxgan import reading
from jaxgan.errors import InputError
from jaxgan.reading import Faulty

Row = dict[str, float | None]
"""A line of the log: "step", and the metrics of that step; None where one was not finite."""


class _Plain(BaseModel):
    """What is known of a table: a key that is there is of its type, and keys of other versions are left alone."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


def _field(field: list[Any]) -> list[Any]:
    """A field of an example: its shape and its dtype."""
    shape, dtype = field
    if not isinstance(shape, list) or not all(type(n) is int and 0 < n < 2**31 for n in shape):
        raise ValueError(f"{shape!r} is no shape")
    if len(shape) > 16 or math.prod(shape) >= 2**40:
        raise ValueError(f"{shape!r} is no shape of an example")
    try:
        kind = np.dtype(dtype).kind if isinstance(dtype, str) else ""
    except TypeError:
        kind = ""
    if kind not in ("b", "i", "u", "f"):
        raise ValueError(f"{dtype!r} is no dtype of an example")
    return field


class _Origin(_Plain):
    module: str
    file: str | None
    sha256: str


class _Change(_Plain):
    step: int


class _Manifest(_Plain):
    versions: dict[str, str] = {}
    python: str = ""
    platform: str = ""
    devices: list[str] = []
    threads: int = 0
    deterministic: bool = True
    seed: int = 0
    git_commit: str | None = None
    data_fingerprint: str = ""
    classes: list[str] = []
    examples: Annotated[int, Field(gt=0)] = 1
    domain: dict[str, Any] = {}
    fields: dict[str, Annotated[list[Any], Field(min_length=2, max_length=2), AfterValidator(_field)]] = {}
    command: list[str] = []
    fixed_weights: dict[str, str] | None = None
    seeds: list[int] = []
    seeds_by: str = ""
    origins: list[_Origin] = []
    origins_changed: list[_Change] = []
    resumed_from_step: int | None = None


class _Score(_Plain):
    score: str
    title: str = ""
    value: float | None
    error: float | None = None
    floor: float | None = None
    note: str = ""
    step: Annotated[int, Field(ge=0)]
    seed: Annotated[int, Field(ge=0)]
    time: str
    protocol: dict[str, Any]


_MANIFEST, _SCORE = TypeAdapter(_Manifest), TypeAdapter(_Score)
_DIGESTS = TypeAdapter(dict[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]])


def _checked(found: Any, model: TypeAdapter[Any]) -> Any:
    """Plain data as it is.

    Raises:
      Faulty: It is not what the model says.
    """
    try:
        model.validate_python(found)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise Faulty(f"{where}: {first['msg']}" if where else first["msg"]) from None
    return found


def manifest_of(path: Path) -> dict[str, Any]:
    """What a manifest says.

    Raises:
      InputError: It cannot be read or is damaged.
      FileNotFoundError: There is none.
    """
    try:
        return _checked(reading.json_of(path), _MANIFEST)
    except (Faulty, InputError) as error:
        why = str(error).removeprefix(f"{path} is damaged: ")
        raise InputError(f"{path} is damaged: {why}; restore it, or give another --run-dir") from None


def note_of(path: Path) -> dict[str, Any]:
    """What was noted beside a state or a score; empty where nothing was.

    Raises:
      InputError: It cannot be read or is no table.
    """
    try:
        found = reading.json_of(path)
    except FileNotFoundError:
        return {}
    if not isinstance(found, dict):
        raise InputError(f"{path} is damaged: it holds no table; restore it, or remove it")
    return found


def digests_of(path: Path) -> dict[str, str]:
    """The SHA-256 of each file of a checkpoint, by its place in there.

    Raises:
      Faulty: It cannot be read, or is something else.
    """
    try:
        return _checked(reading.json_of(path), _DIGESTS)
    except FileNotFoundError:
        raise Faulty(f"{path.name} is missing") from None
    except (InputError, Faulty) as error:
        raise Faulty(f"{path.name} cannot be read ({str(error).removeprefix(f'{path} ')})") from None


def scores_of(path: Path) -> list[dict[str, Any]]:
    """All lines of an evaluation.jsonl, see `jaxgan.scoring.evaluate.line`; none where there is no file.

    Raises:
      InputError: A line is damaged.
    """
    found = []
    try:
        for number, line in enumerate(reading.lines_of(path), 1):
            try:
                found.append(score_of(line))
            except Faulty as error:
                raise InputError(f"{path}: line {number} is damaged ({error}); remove it") from None
    except FileNotFoundError:
        return []
    return found


def score_of(line: str | None) -> dict[str, Any]:
    """A line of an evaluation.jsonl.

    Raises:
      Faulty: It is none.
    """
    if line is None:
        raise Faulty("it is no text")
    found = reading.parsed_json(line)
    if isinstance(found, dict) and "metric" in found:  # as older versions call it
        found = {"score": found.pop("metric"), **found}
    _checked(found, _SCORE)
    return {"title": found["score"], "error": None, "floor": None, **found}


class Log(NamedTuple):
    """What a metrics.jsonl holds, and what it has lost. No value in it is made up."""

    rows: list[Row]
    """Whole lines in the order of their steps, one of each step."""
    damaged: list[int]
    """The numbers of lines that are no lines of a log, or that contradict another line of their step, as that does."""
    doubled: list[int]
    """The numbers of lines that say again what another one says."""
    torn: bool
    """Whether the last line is the only damaged one: training was cut off as it wrote it, or is writing it now."""

    def up_to(self, step: int) -> list[Row]:
        """The rows of the steps up to one."""
        return [row for row in self.rows if _step(row) <= step]

    def lacks(self, step: int) -> str | None:
        """What is not as it was written, up to a step that the run has reached; None where nothing is amiss."""
        there = set(map(_step, self.up_to(step)))
        lost = step - len(there)
        first = next((each for each in range(1, step + 1) if each not in there), 0) if lost else 0
        said = [_count(lost, "step", f"missing (the first is {first:,})")] if lost else []
        if self.damaged and not self.torn:
            said.append(_count(len(self.damaged), "line", f"damaged (line {self.damaged[0]:,})"))
        if self.doubled:
            said.append(_count(len(self.doubled), "line", "doubled"))
        return ", ".join(said) or None


def _count(number: int, what: str, how: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'} {how}"


def log_of(path: Path) -> Log:
    """The log of a run, as far as it is whole; empty where there is no file.

    Raises:
      InputError: It cannot be read.
    """
    rows: dict[int, tuple[int, Row]] = {}
    damaged: set[int] = set()
    doubled, last = [], 0
    try:
        for last, line in enumerate(reading.lines_of(path), 1):
            row = _row(line)
            if row is None:
                damaged.add(last)
                continue
            first, before = rows.setdefault(_step(row), (last, row))
            if first != last:
                (doubled.append if before == row else damaged.add)(last)
                if before != row:  # nothing says which of the two is true
                    damaged.add(first)
    except FileNotFoundError:
        pass
    kept = [row for _, (number, row) in sorted(rows.items()) if number not in damaged]
    return Log(kept, sorted(damaged), doubled, damaged == {last})


def _step(row: Row) -> int:
    return int(row["step"] or 0)


def _row(line: str | None) -> Row | None:
    try:
        found = json.loads(line or "")
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or type(step := found.get("step")) is not int or not 0 < step < 2**31:
        return None
    return found if all(value is None or _number(value) for value in found.values()) else None


def _number(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) < 2**63)
