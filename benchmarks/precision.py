"""Trains one config twice from the same seed, in float32 and in bfloat16, and draws both runs' curves in one picture.

Parameters, optimizers, statistics and losses are float32 in both. A thin line is a step, a thick one a running mean.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import harness
import numpy as np
from matplotlib.figure import Figure

from jaxgan import cli
from jaxgan.plots import smooth

COLOURS = {"float32": "tab:blue", "bfloat16": "tab:orange"}
PANELS = {
    "discriminator/loss": "D loss (nats)",
    "generator/loss": "G loss (nats)",
    "discriminator/grad_norm": "norm of D's gradient",
    "generator/grad_norm": "norm of G's gradient",
}


def train(config: str, dtype: str, steps: int, overrides: list[str]) -> list[dict[str, float]]:
    """The log of a run."""
    with tempfile.TemporaryDirectory() as folder:
        run = str(Path(folder) / "run")
        arguments = ["train", config, "--run-dir", run, "--steps", str(steps), "--quiet"]
        arguments += ["--compute_dtype", dtype, "--run.sample_every", str(steps)]
        code = cli.main([*arguments, *overrides])
        if code:
            raise SystemExit(code)
        return [json.loads(line) for line in (Path(run) / "metrics.jsonl").read_text().splitlines()]


def draw(logs: dict[str, list[dict[str, float]]], path: Path, title: str) -> None:
    figure = Figure(figsize=(14, 3.4), layout="constrained")
    for axes, (name, label) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        for dtype, rows in logs.items():
            steps, values = (np.array([row[key] for row in rows]) for key in ("step", name))
            width = max(1, len(rows) // 50)
            axes.plot(steps, values, color=COLOURS[dtype], alpha=0.2, linewidth=0.5)
            axes.plot(steps, smooth(values, width), color=COLOURS[dtype], label=dtype)
        axes.set(title=label, xlabel="step")
        axes.grid(alpha=0.3)
    figure.axes[0].legend()
    figure.suptitle(title)
    figure.savefig(path, dpi=100)


def summary(logs: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Of the last fifth of the steps: each run's mean and spread of every curve."""
    tail = {dtype: rows[-max(1, len(rows) // 5) :] for dtype, rows in logs.items()}
    return {
        name: {
            dtype: {"mean": float(np.mean(values)), "std": float(np.std(values))}
            for dtype, rows in tail.items()
            for values in ([row[name] for row in rows],)
        }
        for name in PANELS
    }


def render(document: dict[str, Any]) -> str:
    """The table of a document."""
    (result,) = document["results"]
    rows = []
    for name, found in result["last_fifth"].items():
        cells = [f"{found[dtype]['mean']:.3f} ± {found[dtype]['std']:.3f}" for dtype in COLOURS]
        rows.append([PANELS[name], *cells])
    skipped = [result["skipped"][dtype] for dtype in COLOURS]
    return harness.table(["mean over the last fifth", *COLOURS], [*rows, ["steps refused", *skipped]])


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: configs/default.toml")
    parser.add_argument("--steps", type=int, default=500)
    options = parser.parse_args()
    config = options.config or harness.ROOT / "configs" / "default.toml"
    steps = 20 if options.toy else options.steps
    toy = [word for key, value in harness.TOY.items() for word in (f"--{key}", value)] if options.toy else []
    report = harness.Report("precision", options)
    logs = {dtype: train(str(config), dtype, steps, toy) for dtype in COLOURS}
    name = config.stem
    picture = (options.out or harness.ROOT / "benchmarks" / "results" / "precision.json").with_suffix(".png")
    picture.parent.mkdir(parents=True, exist_ok=True)
    draw(logs, picture, f"{name}, {steps} steps, seed 0")
    skipped = {dtype: int(sum(row["skipped"] for row in rows)) for dtype, rows in logs.items()}
    report.add({"config": name, "steps": steps, "last_fifth": summary(logs), "skipped": skipped})
    report.finish(render)


if __name__ == "__main__":
    main()
