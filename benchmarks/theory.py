"""How near to theory does a GAN on the line come? `jaxgan theory` with several seeds, scored in the end."""

from typing import Any

import harness

from jaxgan import theory

STEPS, SEEDS = 8000, 4


def render(document: dict) -> str:
    rows = [
        [
            f"seed {r['seed']}, {r['steps']:,} steps",
            f"{r['value']:.4f}",
            f"{r['value'] - theory.END:+.4f}",
            f"{r['error']:.3f}",
            f"{r['distance']:.3f}",
        ]
        for r in document["results"]
    ]
    columns = ["run", "value", "off -log 4", "D off the best, at most", "p_g off p_data"]
    return harness.table(columns, rows)


def main() -> None:
    options = harness.parser(__doc__).parse_args()
    report = harness.Report("theory", options)
    size: dict[str, Any] = {"width": 8, "batch_size": 16} if options.toy else {}
    steps, seeds = (20, 2) if options.toy else (STEPS, SEEDS)
    for seed in range(seeds):
        *_, last = theory.train(steps, seed, **size)
        measured = {name: float(getattr(last, name)) for name in ("value", "error", "distance")}
        report.add({"seed": seed, "steps": steps, **measured})
    report.finish(render)


if __name__ == "__main__":
    main()
