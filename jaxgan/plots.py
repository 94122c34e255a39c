"""Plots of a run: curves, scores, points, and samples that are numbers.

For example:

    >>> smooth(np.array([0.0, 3.0, np.nan, 5.0]), 3).tolist()
    [1.5, 1.5, 4.0, 5.0]
    >>> points, label = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1])
    >>> scatter(points, label, ("shirt", "bag"), Path("codes.png"), behind=np.zeros((0, 2)))
    >>> Path("codes.png").read_bytes()[1:4]
    b'PNG'
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import replacing
from jaxgan.saying import clean

POINTS = 4000
"""Most points of a curve, about; longer ones are thinned."""
FEW = 10
"""Most classes of samples that a legend names; beyond, a bar shows their colours."""
PANELS = 16
"""Most samples that are drawn as lines."""
LARGEST = 1e100
"""Numbers of this size and beyond are left out of curves, as those are that are not finite: axes cannot hold them."""
STRETCHED = 20
"""How many times as long as the other axis one may be for both to have the same scale."""


def write(figure: Any, path: Path) -> None:
    """Writes a figure of matplotlib as a PNG, at once."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def text(label: str) -> str:
    """A label that says what it holds: a dollar sign begins no formula, which may be none."""
    return clean(label, 80).replace("$", r"\$")


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean over `width` values, over fewer at the ends; NaN is left out."""
    kernel, valid = np.ones(width), np.isfinite(values)
    total = np.convolve(np.where(valid, values, 0), kernel, "same")
    count = np.convolve(valid, kernel, "same")
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def _drawable(values: Sequence[float | None]) -> np.ndarray:
    """The numbers that an axis can hold, NaN in place of others."""
    found = np.array(values, float)
    return np.where(np.abs(found) < LARGEST, found, np.nan)


SAID = ("/real", "/fake")
"""How metrics end that are what a discriminator says of real and of generated examples, on average."""


def judged(rows: Sequence[Mapping[str, float | None]]) -> bool:
    """Whether a log has what a discriminator says as probabilities; a game of one's own may call other things so."""
    found = [x for row in rows for key, x in row.items() if key.endswith(SAID) and x is not None]
    return any(key.endswith(SAID) for row in (rows[0], rows[-1]) for key in row) and all(
        0 <= x <= 1 for x in found if np.isfinite(x)
    )


def curves(
    rows: Sequence[Mapping[str, float | None]],
    path: Path,
    title: str,
    shown: Mapping[str, Sequence[str]] = {},
) -> None:
    """Draws losses, gradient norms, and what the discriminator thinks of real and generated images, by step.

    No file is written where the rows have none of these.

    Args:
      rows: The lines of metrics.jsonl.
      path: The PNG to write.
      title: Above the picture.
      shown: What is to be seen besides, as of `jaxgan.families.Built.shown`.
    """
    from matplotlib.figure import Figure  # not pyplot, which would change the backend of a caller's notebook

    rows = rows[:: max(1, len(rows) // POINTS)]
    steps = np.array([row["step"] for row in rows], float)
    width = max(1, len(rows) // 100)

    def column(key: str) -> np.ndarray:
        return _drawable([row.get(key) for row in rows])

    keys = list(dict.fromkeys(key for row in (rows[0], rows[-1]) for key in row))
    said = [key for key in keys if key.endswith(SAID)]
    probabilities = judged(rows)
    others = {key: label for label, each in shown.items() for key in each[:1] if key in keys}
    panels = [
        (
            "loss (nats)" if probabilities else "loss",
            [key for key in keys if key.endswith("/loss")],
            None,
            False,
        ),
        ("D(x) and D(G(z))", said, 0.5 if probabilities else None, False),
        ("mean logits", [key for key in keys if key.endswith(("/real_logit", "/fake_logit"))], None, False),
        ("gradient norm", [key for key in keys if key.endswith("/grad_norm")], None, True),
    ]
    drawn = {key for panel in panels for key in panel[1]}
    panels += [(label, [key], None, False) for key, label in others.items() if key not in drawn]
    panels = [panel for panel in panels if panel[1]]
    if not panels:
        return
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)

    def name(key: str) -> str:
        player, _, metric = key.partition("/")
        said = {"real": "D(x)", "fake": "D(G(z))"}.get(metric.removesuffix("_logit"))
        if said is None:
            return text(player)
        return said if player == "discriminator" else f"{said} of {text(player)}"

    for ax, (label, shown, line, log) in zip(axes[0], panels, strict=True):
        for i, key in enumerate(shown):
            values = column(key)
            if log:
                values[values <= 0] = np.nan
            ax.plot(steps, values, color=f"C{i}", alpha=0.2, linewidth=0.6)
            ax.plot(
                steps,
                smooth(values, width),
                color=f"C{i}",
                linewidth=1.4,
                label=name(key),
            )
        if line is not None:
            ax.axhline(line, color="black", linestyle="--", linewidth=0.8)
            ax.set_ylim(0, 1)
        if log:
            ax.set_yscale("log")
        ax.set_xlabel("step")
        ax.set_title(text(label), fontsize=10)
        ax.legend(fontsize=8)
        ax.grid(alpha=0.3)
    figure.suptitle(title, fontsize=11)
    write(figure, path)


def scores(by_title: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Draws scores by step, each with a band of two standard errors and the floor that real images reach.

    Args:
      by_title: Lines of evaluation.jsonl, of one protocol each and in the order of steps.
      path: The PNG to write.
    """
    from matplotlib.figure import Figure

    columns = min(3, len(by_title))
    rows = -(-len(by_title) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (title, lines) in zip(axes, by_title.items(), strict=False):
        steps = [line["step"] for line in lines]
        value, error, floor = (
            _drawable([line[key] for line in lines]) for key in ("value", "error", "floor")
        )
        ax.plot(steps, value, marker=".")
        ax.fill_between(steps, value - 2 * error, value + 2 * error, alpha=0.2)
        ax.plot(steps, floor, color="black", linestyle="--", linewidth=0.8)
        ax.set_title(text(title), fontsize=10)
        ax.set_xlabel("step")
        ax.grid(alpha=0.3)
    for ax in axes[len(by_title) :]:
        ax.remove()
    write(figure, path)


def scatter(
    points: np.ndarray, label: np.ndarray, classes: Sequence[str], path: Path, behind: np.ndarray
) -> None:
    """Draws points in the plane, coloured by class, on equal axes.

    Args:
      points: `[N, 2]`.
      label: `[N]` int, of which class each is; without classes it is left unread.
      classes: The names of the classes, none where there are none.
      path: The PNG to write.
      behind: Points in grey behind the others, `[M, 2]`.
    """
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    ax = figure.subplots()
    ax.scatter(*behind.T, s=5, color="0.85", linewidths=0)
    colors = colormaps["tab10" if len(classes) <= 10 else "nipy_spectral"]
    for i, name in enumerate(classes):
        color = colors(i if len(classes) <= 10 else i / (len(classes) - 1))
        ax.scatter(*points[label == i].T, s=5, color=color, linewidths=0, label=text(name))
    if classes:
        figure.legend(loc="outside right upper", fontsize=8, markerscale=3)
    else:
        ax.scatter(*points.T, s=5, linewidths=0)
    ax.set_aspect("equal")
    ax.grid(alpha=0.3)
    write(figure, path)


def numbers(made: np.ndarray, path: Path, classes: int = 0, real: np.ndarray | None = None) -> None:
    """Draws samples that are numbers: a histogram of single ones, points of pairs, lines of longer samples.

    Points and bars are coloured by class. Samples that hold something not finite are left out and counted in the title;
    lines have gaps there.

    Args:
      made: `[N, ...]` floating.
      path: The PNG to write.
      classes: Sample i is of class i modulo this; 0 if there are none.
      real: Real examples `[M, ...]`, in grey behind the samples; each line has that of its own number, if there is one.
    """
    from matplotlib.figure import Figure

    rows = made.reshape(len(made), -1).astype(np.float64)
    behind = np.zeros((0, rows.shape[1])) if real is None else real.reshape(len(real), -1).astype(np.float64)
    good, length = np.isfinite(rows).all(1), rows.shape[1]
    count = "1 sample" if len(rows) == 1 else f"{len(rows)} samples"
    note = "" if good.all() else f", {int((~good).sum())} not finite"
    if length > 2:
        shape, panels = "x".join(map(str, made.shape[1:])), min(PANELS, len(rows))
        count = f"{panels} of {count}" if panels < len(rows) else count
        columns = min(4, math.ceil(math.sqrt(panels)))
        figure = Figure(figsize=(8.6, 1.6 + 1.3 * math.ceil(panels / columns)), layout="constrained")
        _lines(figure, columns, rows[:panels], behind[:panels], classes)
        figure.suptitle(f"{count} of {shape} numbers{note}", fontsize=11)
    else:
        figure = Figure(figsize=(6.4, 5.2) if length == 2 else (6.4, 4.2), layout="constrained")
        ax, label = figure.subplots(), np.arange(len(rows)) % max(1, classes)
        draw = _points if length == 2 else _bars
        draw(ax, rows[good], label[good], classes, behind[np.isfinite(behind).all(1)])
        ax.set_title(count + note, fontsize=11)
        ax.grid(alpha=0.3)
        ax.set_axisbelow(True)
        if not good.any():
            _say_nothing_is_finite(ax)
        if 0 < classes <= FEW or len(behind):
            figure.legend(loc="outside right upper", fontsize=8, markerscale=2)
        if classes > FEW:
            _color_bar(figure, ax, classes)
    write(figure, path)


def _colors(classes: int) -> list[Any]:
    """A colour for each class, and one where there are none."""
    from matplotlib import colormaps

    if classes <= FEW:
        return [colormaps["tab10"](i) for i in range(max(1, classes))]
    return list(colormaps["turbo"](np.linspace(0, 1, classes)))


def _color_bar(figure: Any, ax: Any, classes: int) -> None:
    """Draws which colour is which class, beside the axes, where there are too many for a legend."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import MaxNLocator

    colors = ScalarMappable(Normalize(0, classes - 1), "turbo")
    figure.colorbar(colors, ax=ax, label="class", ticks=MaxNLocator(integer=True))


def _names(classes: int) -> list[str]:
    """What the legend calls each class, and all samples if there are none; what begins with "_" is not in it."""
    return [f"class {i}" if classes <= FEW else "_" for i in range(classes)] or ["samples"]


def _say_nothing_is_finite(ax: Any) -> None:
    ax.text(0.5, 0.5, "not finite", transform=ax.transAxes, ha="center", va="center", color="0.4", fontsize=9)


def _bars(ax: Any, rows: np.ndarray, label: np.ndarray, classes: int, behind: np.ndarray) -> None:
    """Draws a histogram of `[N, 1]`, where the bars of classes stand one upon the other."""
    values = np.concatenate([rows, behind])[:, 0]
    low, high = (values.min(), values.max()) if len(values) else (0.0, 1.0)
    pad = 0.5 * max(1.0, abs(low)) if high == low else 0.0
    bins = 11 if pad else int(np.clip(2 * np.sqrt(len(rows)), 10, 60))  # odd: one bar in the middle
    edges = np.linspace(low - pad, high + pad, bins + 1)
    if len(behind):
        weights, scaled = len(rows) / len(behind), len(rows) != len(behind)
        name = "real, scaled" if scaled else "real"
        ax.hist(behind[:, 0], edges, weights=np.full(len(behind), weights), color="0.8", label=name)
    names = _names(classes)
    parts = [rows[label == i, 0] for i in range(len(names))]
    ax.hist(parts, edges, stacked=True, color=_colors(classes), label=names, alpha=0.65)
    ax.set_xlabel("value")
    ax.set_ylabel("samples")


def _points(ax: Any, rows: np.ndarray, label: np.ndarray, classes: int, behind: np.ndarray) -> None:
    """Draws points `[N, 2]`, on equal axes unless one is `STRETCHED` times as long as the other."""
    size = float(np.clip(4000 / max(1, len(rows)), 4, 24))
    if len(behind):
        ax.scatter(*behind.T, s=2 * size, color="0.8", linewidths=0, label="real")
    for i, (name, color) in enumerate(zip(_names(classes), _colors(classes), strict=True)):
        ax.scatter(*rows[label == i].T, s=size, color=color, linewidths=0, label=name, alpha=0.75)
    values = np.concatenate([rows, behind])
    wide, high = np.ptp(values, axis=0) if len(values) else (0, 0)
    if max(wide, high) < STRETCHED * min(wide, high) or not min(wide, high):
        ax.set_aspect("equal", adjustable="datalim")
    ax.set_xlabel("first number")
    ax.set_ylabel("second number")


def _lines(figure: Any, columns: int, rows: np.ndarray, behind: np.ndarray, classes: int) -> None:
    """Draws samples `[N, D]` as lines in panels of their own, all on the same scale."""
    from matplotlib.ticker import MaxNLocator

    panels = figure.subplots(math.ceil(len(rows) / columns), columns, sharex=True, sharey=True, squeeze=False)
    every = math.ceil(rows.shape[1] / POINTS)
    at = np.arange(0, rows.shape[1], every)
    look = {"linewidth": 1.0, "marker": "." if len(at) <= 32 else "", "markersize": 4}
    colors = _colors(classes)
    for i, ax in enumerate(panels.ravel()):
        if i >= len(rows):
            ax.remove()
            continue
        kind = i % max(1, classes)
        for lines, color, name in ((behind, "0.7", "real"), (rows, colors[kind], "samples")):
            if i < len(lines):
                ax.plot(
                    at, np.where(np.isfinite(lines[i]), lines[i], np.nan)[at], color=color, label=name, **look
                )
        if not np.isfinite(rows[i]).any():
            _say_nothing_is_finite(ax)
        ax.set_title(f"{i}, class {kind}" if classes else f"{i}", fontsize=8, pad=3)
        ax.tick_params(labelsize=7, labelbottom=i + columns >= len(rows))
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ax.grid(alpha=0.3)
    if len(behind):
        handles, names = panels[0, 0].get_legend_handles_labels()
        seen = slice(1 if classes else 2)  # the colours of classes are in the titles
        figure.legend(handles[seen], names[seen], loc="outside right upper", fontsize=8)
    figure.supxlabel("place in the sample" + (f", one in {every} drawn" if every > 1 else ""), fontsize=9)
    figure.supylabel("value", fontsize=9)
