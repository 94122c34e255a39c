"""Tables of Markdown."""

from collections.abc import Sequence
from typing import Any


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    lines = [list(columns), *([_text(cell) for cell in row] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    pad = [str.ljust, *[str.rjust] * (len(columns) - 1)]
    return "\n".join(
        f"| {' | '.join(p(cell, w) for p, cell, w in zip(pad, line, widths, strict=True))} |"
        for line in (lines[0], rule, *lines[1:])
    )


def _text(cell: Any) -> str:
    """Three digits that count."""
    if not isinstance(cell, float):
        return "-" if cell is None else str(cell)
    return f"{cell:,.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
