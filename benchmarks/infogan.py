"""How far InfoGAN's categorical code is from the classes, beside k-means; and what each code changes, as pictures.

Takes trained runs of one config. Q's categories of held-out images are matched to the classes by the best permutation,
as in Chen et al., 2016, section 7.2; k-means, with as many clusters and on pixels, is matched likewise.

    jaxgan train configs/infogan.toml --seeds 0:3
    python benchmarks/infogan.py runs/infogan-s0 runs/infogan-s1 runs/infogan-s2 --pictures docs/gallery
"""

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import harness
import jax
import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.optimize import linear_sum_assignment
from text_table import table

from jaxgan import experiment, report
from jaxgan.data import stream
from jaxgan.sampling import sample


def error(told: np.ndarray, label: np.ndarray, count: int) -> float:
    """The share of examples whose category is not that of their class, by the best permutation.

    Args:
      told: The category of each example, `[N]` int in [0, count).
      label: Its class, likewise.
      count: Categories, and classes.
    """
    together = np.zeros((count, count), int)
    np.add.at(together, (told, label), 1)
    rows, columns = linear_sum_assignment(-together)
    return 1 - together[rows, columns].sum() / len(label)


def clusters(train: np.ndarray, test: np.ndarray, count: int, seed: int) -> np.ndarray:
    """The cluster of each test image, of those that k-means finds among the training images: `[N]` int."""
    flat, other = (x.reshape(len(x), -1).astype(np.float64) for x in (train, test))
    centers, _ = kmeans2(flat, count, iter=100, minit="++", seed=seed)
    distance = (other**2).sum(1)[:, None] - 2 * other @ centers.T + (centers**2).sum(1)[None]
    return distance.argmin(1)


def measure(path: Path, pictures: Path | None) -> dict[str, Any]:
    """The errors of a run and of k-means with the run's seed, and its pictures into a folder if there is one."""
    trained = sample.load(path, print)
    built, state = trained.built, trained.state.averaged()
    count = built.config.game.categories
    source = experiment.source_of(built.config)
    held = experiment.held_out(built)
    assert held is not None
    train, test = (stream.load(x, progress=False) for x in (source, held))
    facts = built.domain.facts(source.fields["real"].shape)
    module = built.config.discriminator.build(**facts, classes=count + built.config.game.continuous)

    @jax.jit
    def read(images: Any) -> Any:
        _, told = module.apply(
            state.variables("discriminator"), built.domain.decode({"real": images})["real"], train=False
        )
        return told[:, :count].argmax(1)

    if pictures is not None:
        with tempfile.TemporaryDirectory() as folder:
            for i, (_, (file,)) in enumerate(report.of_family(trained, Path(folder))):
                harness.enlarge(file, pictures / f"{built.config.name}-{i + 1}.png")
    return {
        "run": built.config.name,
        "seed": built.config.seed,
        "step": trained.step,
        "images": len(held),
        "error": error(np.asarray(read(test["real"])), test["label"], count),
        "k-means": error(
            clusters(train["real"], test["real"], count, built.config.seed), test["label"], count
        ),
    }


def render(document: Mapping[str, Any]) -> str:
    """A row for each seed, and the means with their standard deviations."""
    found = document["results"]
    rows = [
        [f"seed {x['seed']}, {x['step']:,} steps", f"{x['error']:.1%}", f"{x['k-means']:.1%}"] for x in found
    ]
    spread = [
        f"{np.mean(values):.1%} +- {np.std(values, ddof=1):.1%}"
        for values in ([x[name] for x in found] for name in ("error", "k-means"))
        if len(values) > 1
    ]
    rows += [["mean and standard deviation", *spread]] if spread else []
    return table(["run", "InfoGAN's code", "k-means of pixels"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="the folders of trained runs")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="write the first run's codes there")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="the JSON (default: benchmarks/results/infogan.json)"
    )
    options = parser.parse_args()
    paths, options.runs = options.runs, [path.name for path in options.runs]
    document = harness.Report("infogan", options)
    for i, path in enumerate(paths):
        document.add(measure(path, options.pictures if i == 0 else None))
    document.finish(render)


if __name__ == "__main__":
    main()
