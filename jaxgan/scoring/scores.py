"""Scores, each with its protocol, and as tables for people.

For example:

    >>> lines = [
    ...     {"score": "kernel", "title": "kernel distance", "value": value, "error": 0.25, "floor": 0.125}
    ...     for value in (1.0, 3.0)  # of two seeds
    ... ]
    >>> print(columns(rows(lines)))
    score            value  error  real images  better
    kernel distance      2      1        0.125   lower
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgan.saying import clean
from jaxgan.scoring import groups
from jaxgan.scoring.groups import GROUP


class Score(NamedTuple):
    """One score of one set of images."""

    name: str
    title: str
    value: float
    error: float
    """Standard error over the choice of the images that are scored, the reference staying as it is; NaN for none."""
    floor: float
    """The same score of real images."""
    protocol: Mapping[str, Any]
    """All that must agree before this score may be compared with another."""
    note: str = ""
    """What has to be known of it besides, such as how far few images move it; empty for nothing."""


def mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error, NaN of one value; neither is finite where the sums are not."""
    n = len(values)
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def number(value: float | None, digits: int = 4) -> str:
    """So many digits, as people read them; "-" for what is not finite."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def better(name: str) -> str:
    """What is better, in a word or two."""
    return {1: "higher", -1: "lower"}.get(groups.better(name), "as real images")


def floors(names: Iterable[str]) -> str:
    """What the floors of scores are of, as the head of a column."""
    of_pairs = {"pairs" in GROUP[name].needs for name in names if name in GROUP}
    return {frozenset({True}): "input", frozenset({True, False}): "real or input"}.get(
        frozenset(of_pairs), "real images"
    )


def rows(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Scores for people, with a head: over several seeds their mean, and its error over the seeds."""
    found = [("score", "value", "error", floors(line["score"] for line in lines), "better")]
    for name in dict.fromkeys(line["score"] for line in lines):
        each = [line for line in lines if line["score"] == name]
        value, error = each[0]["value"], each[0]["error"]
        known = [line["value"] for line in each if line["value"] is not None]
        if len(each) > 1 and known:
            value, error = mean(known)
        few = f" ({len(known)} of {len(each)} seeds)" if len(known) < len(each) else ""
        shown = (number(value), number(error, 2), number(each[0]["floor"]), better(name))
        found.append((f"{each[0]['title']}{few}", *shown))
    return found


def notes(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """What has to be known of scores besides, each once, with the titles of those that it is of."""
    found: dict[str, dict[str, None]] = {}
    for line in lines:
        if note := line.get("note"):
            found.setdefault(note, {})[line["title"]] = None
    return [f"{', '.join(titles)}: {note}" for note, titles in found.items()]


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, the first column to the left and the others to the right."""
    rows = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def _short(values: Sequence[Any]) -> str:
    return " ".join(map(str, values[:12])) + (f" and {len(values) - 12} more" if len(values) > 12 else "")


def describe(protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """The protocols of scores, by name, for people: what all share in one line, then what each adds."""

    def text(items: Mapping[str, Any]) -> str:
        hashes = ("features_sha256", "data_fingerprint", "images_fingerprint")
        items = {k: _short(v) if isinstance(v, list) else v for k, v in items.items()}
        parts = (f"{k} {str(v)[:12] if k in hashes else v}" for k, v in items.items() if v is not None)
        return clean(", ".join(parts))

    first = next(iter(protocols.values()))
    common = {k: v for k, v in first.items() if all(p.get(k) == v and k in p for p in protocols.values())}
    lines: dict[str, list[str]] = {}
    for name, protocol in protocols.items():
        if own := text({k: v for k, v in protocol.items() if k not in common}):
            lines.setdefault(own, []).append(name)
    return "\n".join([text(common), *(f"{clean(', '.join(names))}: {own}" for own, names in lines.items())])
