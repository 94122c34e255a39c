"""Do scores move the way their papers say? Real images of Fashion-MNIST are made worse in five ways, step by step.

Noise and blur spoil images, dropped classes and duplicates spoil their variety, and copies of training images spoil
nothing that a distance between distributions could see: memorisation must.
"""

import harness
import numpy as np
from PIL import Image, ImageFilter

from jaxgan.data import order
from jaxgan.data.sources import Embedded
from jaxgan.scoring import features, formulas

LEVELS = {
    "noise": (0, 0.05, 0.1, 0.2, 0.4),  # deviation, of the range of values
    "blur": (0, 0.5, 1, 1.5, 2),  # deviation, pixels
    "dropped classes": (0, 2, 4, 6, 8),
    "duplicates": (0, 0.25, 0.5, 0.75, 0.95),  # share of images that repeat one of the first five
    "copies": (0, 0.25, 0.5, 0.75, 1),  # share of images that are training images
}
EXPECTED = {
    "frechet": {"noise": 1, "blur": 1, "dropped classes": 1, "duplicates": 1},
    "kernel": {"noise": 1, "blur": 1, "dropped classes": 1, "duplicates": 1},
    "inception_score": {"noise": -1, "blur": -1, "dropped classes": -1},
    "precision": {"noise": -1, "blur": -1},
    "recall": {"dropped classes": -1},
    "density": {"noise": -1, "blur": -1},
    "coverage": {"noise": -1, "blur": -1, "dropped classes": -1, "duplicates": -1},
    "diversity": {"duplicates": 1},
    "memorisation": {"copies": 1},
}
"""1 where the score must rise from the first to the last level, -1 where it must fall."""


def worse(kind: str, level: float, images: np.ndarray, labels: np.ndarray, train: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "noise":
        return np.clip(images + 255 * level * rng.normal(size=images.shape), 0, 255).astype(np.uint8)
    if kind == "blur":
        blurred = (Image.fromarray(x[..., 0]).filter(ImageFilter.GaussianBlur(level)) for x in images)
        return np.stack([np.asarray(x) for x in blurred])[..., None]
    if kind == "dropped classes":
        kept = images[labels >= level]
        return kept[np.arange(len(images)) % len(kept)] if level else images
    chosen = rng.random(len(images)) < level
    if kind == "duplicates":
        return np.where(chosen[:, None, None, None], images[rng.integers(5, size=len(images))], images)
    return np.where(chosen[:, None, None, None], train[: len(images)], images)


def scores(
    real: features.Extracted, test: features.Extracted, fake: features.Extracted, images: np.ndarray
) -> dict:
    area = formulas.manifold(real.features, fake.features)
    return {
        "frechet": formulas.frechet_distance(
            formulas.moments(real.features), formulas.moments(fake.features)
        ),
        "kernel": formulas.kernel_distance(
            real.features, fake.features, number=20, size=min(1000, len(images))
        ).value,
        "inception_score": formulas.inception_score(fake.logits).value,
        "precision": area.precision,
        "recall": area.recall,
        "density": area.density,
        "coverage": area.coverage,
        "diversity": formulas.diversity(images, data_range=255).value,
        "memorisation": formulas.memorisation(real.features, test.features, fake.features).copied,
    }


def monotone(values: list[float], sign: int) -> bool:
    return bool(np.all(sign * np.diff(values) > 0))


def render(document: dict) -> str:
    rows = []
    for metric, kinds in EXPECTED.items():
        for kind, sign in kinds.items():
            values = [r["scores"][metric] for r in document["results"] if r["kind"] == kind]
            rows.append(
                [f"{metric}, {kind}", *values, "rises" if sign > 0 else "falls", monotone(values, sign)]
            )
    return harness.table(
        ["score, what is done", "none", "a little", "some", "much", "most", "must", "does"], rows
    )


def draw(document: dict, path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    for ax, metric in zip(figure.subplots(3, 3).ravel(), EXPECTED, strict=True):
        for kind in LEVELS:
            values = [r["scores"][metric] for r in document["results"] if r["kind"] == kind]
            ax.plot(values, marker=".", label=kind, linestyle="-" if kind in EXPECTED[metric] else ":")
        ax.set_title(metric, fontsize=10)
        ax.set_xticks(range(5), ["none", "a little", "some", "much", "most"], fontsize=7)
        ax.grid(alpha=0.3)
    figure.axes[0].legend(fontsize=7)
    figure.suptitle("Real images made worse: solid where the score must move one way", fontsize=11)
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = harness.parser(__doc__)
    options = parser.parse_args()
    report = harness.Report("degradations", options)
    (images, labels), (test_images, _) = (Embedded(split).arrays() for split in ("train", "test"))
    shuffled = order.permutation(0, len(images), 0)
    images, labels = images[shuffled, ..., None], labels[shuffled]
    n, m = (60, 40) if options.toy else (5000, 2500)
    train, fresh, fresh_labels = images[:n], images[n : n + m], labels[n : n + m]
    network = features.load("auto", (28, 28, 1))
    real, test = (network.extract([x]) for x in (train, test_images[:m, ..., None]))
    for kind, levels in LEVELS.items():
        for level in levels:
            made = worse(kind, level, fresh, fresh_labels, train)
            found = scores(real, test, network.extract([made]), made)
            report.add({"kind": kind, "level": level, "n_real": n, "n_fake": m, "scores": found})
    report.document["features"] = {"name": network.name, "sha256": network.sha256}
    report.finish(render)
    if not options.toy:
        draw(report.document, str(harness.ROOT / "benchmarks" / "results" / "degradations.png"))


if __name__ == "__main__":
    main()
