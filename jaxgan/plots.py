"""Plots of a run: curves, scores and points.

For example:

    >>> smooth(np.array([0.0, 3.0, np.nan, 5.0]), 3).tolist()
    [1.5, 1.5, 4.0, 5.0]
    >>> points, label = np.array([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1])
    >>> scatter(points, label, ("shirt", "bag"), Path("codes.png"), behind=np.zeros((0, 2)))
    >>> Path("codes.png").read_bytes()[1:4]
    b'PNG'
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxgan.errors import replacing

POINTS = 4000
"""Most points of a curve, about; longer logs are thinned."""


def write(figure: Any, path: Path) -> None:
    """Writes a figure of matplotlib as a PNG, at once."""
    with replacing(path) as partial:
        figure.savefig(partial, format="png", dpi=110)


def smooth(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean over `width` values, over fewer at the ends; NaN is left out."""
    kernel, valid = np.ones(width), np.isfinite(values)
    total = np.convolve(np.where(valid, values, 0), kernel, "same")
    count = np.convolve(valid, kernel, "same")
    return np.divide(total, count, out=np.full(len(values), np.nan), where=count > 0)


def curves(rows: Sequence[Mapping[str, float | None]], path: Path, title: str) -> None:
    """Draws losses, gradient norms, and what the discriminator thinks of real and generated images, by step.

    Args:
      rows: The lines of metrics.jsonl.
      path: The PNG to write.
      title: Above the picture.
    """
    from matplotlib.figure import Figure  # not pyplot, which would change the backend of a caller's notebook

    rows = rows[:: max(1, len(rows) // POINTS)]
    steps = np.array([row["step"] for row in rows], float)
    width = max(1, len(rows) // 100)

    def column(key: str) -> np.ndarray:
        return np.array([row.get(key) for row in rows], float)

    keys = list(dict.fromkeys(key for row in (rows[0], rows[-1]) for key in row))
    probabilities = any(key.endswith("/real") for key in keys)  # so the losses are cross-entropies
    panels = [
        (
            "loss (nats)" if probabilities else "loss",
            [key for key in keys if key.endswith("/loss")],
            None,
            False,
        ),
        ("D(x) and D(G(z))", [key for key in keys if key.endswith(("/real", "/fake"))], 0.5, False),
        ("mean logits", [key for key in keys if key.endswith(("/real_logit", "/fake_logit"))], None, False),
        ("gradient norm", [key for key in keys if key.endswith("/grad_norm")], None, True),
    ]
    panels = [panel for panel in panels if panel[1]]
    figure = Figure(figsize=(4.2 * len(panels), 3.2), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)
    names = {
        f"discriminator/{key}{kind}": name
        for key, name in {"real": "D(x)", "fake": "D(G(z))"}.items()
        for kind in ("", "_logit")
    }
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
                label=names.get(key, key.split("/")[0]),
            )
        if line is not None:
            ax.axhline(line, color="black", linestyle="--", linewidth=0.8)
            ax.set_ylim(0, 1)
        if log:
            ax.set_yscale("log")
        ax.set_xlabel("step")
        ax.set_title(label, fontsize=10)
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
            np.array([line[key] for line in lines], float) for key in ("value", "error", "floor")
        )
        ax.plot(steps, value, marker=".")
        ax.fill_between(steps, value - 2 * error, value + 2 * error, alpha=0.2)
        ax.plot(steps, floor, color="black", linestyle="--", linewidth=0.8)
        ax.set_title(title, fontsize=10)
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
        ax.scatter(*points[label == i].T, s=5, color=color, linewidths=0, label=name)
    if classes:
        figure.legend(loc="outside right upper", fontsize=8, markerscale=3)
    else:
        ax.scatter(*points.T, s=5, linewidths=0)
    ax.set_aspect("equal")
    ax.grid(alpha=0.3)
    write(figure, path)


def numbers(made: np.ndarray, path: Path, classes: int = 0, real: np.ndarray | None = None) -> None:
    """Draws samples that are numbers.

    Args:
      made: `[N, ...]`.
      path: The PNG to write.
      classes: Sample i is of class i modulo this; 0 if there are none.
      real: Real examples `[M, ...]` behind them.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    ax = figure.subplots()
    flat = made.reshape(len(made), -1)
    if flat.shape[1] == 1:
        ax.hist(flat[:, 0])
    elif flat.shape[1] == 2:
        ax.scatter(*flat.T, s=5)
        ax.set_aspect("equal")
    else:
        ax.plot(flat[:16].T)
    write(figure, path)
