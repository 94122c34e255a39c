"""Several seeds trained together, in one program, against the same seeds one after another.

Together they run as `jaxgan train --seeds` runs them: on a CPU with a device for each core, each seed whole on one of
them ("map"), or, on each device, all in the same operations ("vmap"). One after another each has the whole machine.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import harness
import jax
import numpy as np

from jaxgan import config, experiment, parallel

CONFIGS = {"mlp": 50, "default": 5}
"""Names in configs/, and the steps of each seed in a window."""
IMAGES = 10_000


class Alone:
    """One seed after another, by the same program."""

    def __init__(self, run: harness.Steps, seeds: int) -> None:
        self._run, self._seeds = run, seeds

    def __call__(self) -> int:
        for _ in range(self._seeds):
            self._run()
        return self._run.steps


def peer(what: Mapping[str, Any]) -> harness.Run:
    """Steps of all seeds, in a process of its own; a step is one of each seed."""
    overrides = harness.TOY | {"generator.depth": "1", "discriminator.depth": "1"} if what["toy"] else {}
    settings = config.load(harness.ROOT / "configs" / f"{what['config']}.toml", overrides)
    classes = 10 if settings.game.conditional else 0
    data = harness.random_images(IMAGES, settings.data.resolution, settings.data.channels, classes)
    rules = experiment.build(settings, ["class"] * classes, IMAGES).game
    rest = (data, settings.batch_size, what["steps"])
    if what["by"] == "alone":
        return Alone(harness.Steps(rules, *rest), what["seeds"])
    parallel.share_cores(what["seeds"])
    over = parallel.Seeds(what["seeds"], what["by"])
    return harness.Steps(rules, *rest, over=over, seeds=range(what["seeds"]))


def measure(name: str, seeds: int, options: argparse.Namespace) -> dict[str, Any]:
    """Times all ways in rounds."""
    steps = 2 if options.toy else CONFIGS.get(name, 5)
    each = {
        by: {"config": name, "seeds": seeds, "by": by, "steps": steps, "toy": options.toy}
        for by in ("alone", "map", "vmap")
    }
    if jax.default_backend() == "cpu":
        peers: dict[str, Any] = {by: harness.Child(__file__, what) for by, what in each.items()}
    else:
        peers = {by: peer(what) for by, what in each.items()}
    seconds = harness.rounds(peers, options.windows)
    for one in peers.values():
        if isinstance(one, harness.Child):
            one.close()
    return {
        "config": name,
        "seeds": seeds,
        "steps_in_window": steps,
        "seconds_per_step_of_all": {by: harness.spread(taken) for by, taken in seconds.items()},
        "seed_steps_per_second": {by: seeds / float(np.median(taken)) for by, taken in seconds.items()},
        "times_faster_than_alone": {
            by: harness.times_faster(seconds[by], seconds["alone"]) for by in ("map", "vmap")
        },
    }


def render(document: dict[str, Any]) -> str:
    """The table of a document."""
    rows = []
    for result in document["results"]:
        ms = [1e3 * result["seconds_per_step_of_all"][by]["median"] for by in ("alone", "map", "vmap")]
        ratios = [result["times_faster_than_alone"][by] for by in ("map", "vmap")]
        texts = [f"{r['median']:.2f} ({r['min']:.2f}-{r['max']:.2f})" for r in ratios]
        rows.append([result["config"], result["seeds"], *ms, *texts])
    columns = ["config", "seeds", "one after another, ms", "map, ms", "vmap, ms"]
    return harness.table([*columns, "map: times faster", "vmap: times faster"], rows)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument("--configs", nargs="+", default=list(CONFIGS), metavar="NAME", help="in configs/")
    parser.add_argument("--seeds", nargs="+", type=int, metavar="N", help="how many (default: 2 4 8)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        harness.serve(lambda: (peer(json.loads(options.child)), {}))
        return
    report = harness.Report(Path(__file__).stem, options)
    for name in options.configs:
        for seeds in options.seeds or ([2] if options.toy else [2, 4, 8]):
            report.add(measure(name, seeds, options))
    report.finish(render)


if __name__ == "__main__":
    main()
