"""Runs side by side: scores of one protocol, means and errors over seeds.

For example:

    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> row = {"score": "kernel", "title": "KD", "error": None, "floor": 0.1, "seed": 0, "time": ""}
    >>> for seed, value in enumerate((9.0, 11.0)):
    ...     run = RunDirectory(Path(f"tiny-s{seed}"))
    ...     run.write(run.config, config.parse({**given, "seed": seed}).to_toml())
    ...     run.add_scores([{**row, "value": value, "step": 2, "protocol": {"n_fake": 100}}])
    >>> compare([Path("tiny-s0"), Path("tiny-s1")]).rows  # the mean over seeds, and its error
    {'kernel': [(10.0, 1.0)]}
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxgan import config
from jaxgan.errors import InputError
from jaxgan.runs.directory import RunDirectory
from jaxgan.scoring.scores import better, columns, describe, floors, mean, number

Line = Mapping[str, Any]


class Column(NamedTuple):
    """Runs of one config, which differ in their seeds alone."""

    config: config.RunSettings
    paths: list[Path]
    seeds: list[int]
    lines: list[Sequence[Line]]
    """The scores of each run."""
    steps: set[int]
    """Those whose scores are shown."""


class Comparison(NamedTuple):
    """What `compare` found."""

    columns: list[Column]
    rows: dict[str, list[tuple[float, float] | None]]
    """By name, the value and error of each column, None where it was not computed."""
    titles: dict[str, str]
    floors: dict[str, float | None]
    protocols: dict[str, Mapping[str, Any]]


def compare(paths: Sequence[Path]) -> Comparison:
    """Compares the scores that `jaxgan evaluate` wrote of runs.

    Of each name it takes the protocol that all runs share, the newest of several; of each run its last scored step.

    Raises:
      InputError: If a folder is not a run or was not scored, two are of one config and seed, or runs were scored by
        different protocols.
    """
    columns: list[Column] = []
    for path in paths:
        folder = RunDirectory(path)
        settings = folder.read_config()
        if settings is None:
            raise InputError(
                f"{path} is not a run: it has no config.toml; give folders that jaxgan train made"
            )
        lines = folder.read_evaluation()
        if not lines:
            raise InputError(f"{path} has no scores yet; run: jaxgan evaluate {path}")
        same = (c for c in columns if set(config.differences(c.config, settings)) <= {"seed"})
        column = next(same, None)
        if column is None:
            columns.append(column := Column(settings, [], [], [], set()))
        if settings.seed in column.seeds:
            other = column.paths[column.seeds.index(settings.seed)]
            raise InputError(f"{other} and {path} are of one config and seed; leave one out")
        column.paths.append(path)
        column.seeds.append(settings.seed)
        column.lines.append(lines)
    names = list(dict.fromkeys(line["score"] for c in columns for lines in c.lines for line in lines))
    found = Comparison(columns, {}, {}, {}, {})
    for name in names:
        _row(found, name)
    return found


def _row(found: Comparison, name: str) -> None:
    runs = [
        (path, [line for line in lines if line["score"] == name])
        for column in found.columns
        for path, lines in zip(column.paths, column.lines, strict=True)
    ]
    scored = [(path, lines) for path, lines in runs if lines]
    shared = set.intersection(*({_key(line) for line in lines} for _, lines in scored))
    if not shared:
        (first, a), *others = scored
        other, b = next((path, lines) for path, lines in others if _key(lines[-1]) != _key(a[-1]))
        raise InputError(
            f"{name} of {first} and {other} was measured by different protocols: "
            f"{_difference(a[-1]['protocol'], b[-1]['protocol'])}; evaluate both in one way"
        )
    newest = max((line for line in scored[0][1] if _key(line) in shared), key=lambda line: line["time"])
    key = _key(newest)
    values = dict[Path, tuple[float, float] | None]()
    for path, lines in runs:
        alike = [line for line in lines if _key(line) == key and line["value"] is not None]
        last = max((line["step"] for line in alike), default=None)
        by_seed = {line["seed"]: line for line in alike if line["step"] == last}
        values[path] = _over(list(by_seed.values()))
        if last is not None:
            next(column for column in found.columns if path in column.paths).steps.add(last)
    cells, partly = [], ""
    for column in found.columns:
        each = [value for path in column.paths if (value := values[path])]
        if 0 < len(each) < len(column.paths):
            partly = " (not of all runs)"
        cells.append(mean([v for v, _ in each]) if len(each) > 1 else each[0] if each else None)
    found.rows[name], found.titles[name] = cells, f"{newest['title']}{partly}"
    found.floors[name], found.protocols[name] = newest["floor"], newest["protocol"]


def _over(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Value and error over the seeds of the latents."""
    if len(lines) > 1:
        return mean([line["value"] for line in lines])
    nan = float("nan")
    return next(((x["value"], nan if x["error"] is None else x["error"]) for x in lines), None)


def _key(line: Line) -> str:
    return json.dumps(line["protocol"], sort_keys=True)


def _difference(a: Mapping[str, Any], b: Mapping[str, Any]) -> str:
    keys = [key for key in {**a, **b} if a.get(key) != b.get(key)]
    return ", ".join(f"{key} {a.get(key)} and {b.get(key)}" for key in keys)


def table(found: Comparison) -> str:
    """For people: a column for each config, a row for each name, and the protocols below."""

    def cell(value: tuple[float, float] | None) -> str:
        if value is None:
            return "-"
        return number(value[0]) + (f" ± {number(value[1], 2)}" if value[1] == value[1] else "")

    def head(column: Column) -> str:
        seeds, names = len(column.paths), [other.config.name for other in found.columns]
        if seeds > 1 and names.count(column.config.name) == 1:
            return f"{column.config.name} ({seeds} seeds)"
        return str(column.paths[0]) + (f" and {seeds - 1} more" if seeds > 1 else "")

    rows = [["score", *map(head, found.columns), floors(found.rows), "better"]]
    rows += [
        [found.titles[name], *map(cell, cells), number(found.floors[name]), better(name)]
        for name, cells in found.rows.items()
    ]
    steps = (", ".join(f"{step:,}" for step in sorted(column.steps)) for column in found.columns)
    rows.append(["at step", *steps, "", ""])
    of = {True: "runs, in a column of several", False: "images that are scored, in a column of one run"}
    over = " and of the ".join(of[several] for several in sorted({len(c.paths) > 1 for c in found.columns}))
    return f"{columns(rows)}\n\n±: standard error over the choice of the {over}\n{describe(found.protocols)}"
