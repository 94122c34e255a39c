"""What scores are computed, from what, and what real images give in their place."""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgan.errors import InputError
from jaxgan.networks.classifier import Classifier
from jaxgan.scoring import metrics
from jaxgan.scoring.metrics import accuracy as downstream

SIMILAR = 2000
"""Images of which pairs are compared for diversity, at most."""
ACCURACY = downstream.Training()
"""How the classifiers of the classification accuracy score are trained."""

NEIGHBOURS = 5
"""Neighbours that density and coverage count."""

Say = Callable[[str], None]
Values = dict[str, tuple[float, float]]
"""Scores and their standard errors, NaN where there is none, by metric."""


class Sample(NamedTuple):
    """Images as scores see them."""

    features: np.ndarray
    """`[N, d]`."""
    logits: np.ndarray
    """`[N, classes]`."""
    images: np.ndarray
    """The first of the images, uint8 `[n, H, W, C]`, as many as asked for."""
    labels: np.ndarray
    """`[N]` int."""

    def part(self, rows: slice) -> "Sample":
        """Some of them."""
        return Sample(*(x[rows] for x in self))


class Pairs(NamedTuple):
    """The true answers for what samples are made from, in the order of the samples, uint8 `[n, H, W, C]` each."""

    truth: np.ndarray
    baseline: np.ndarray
    """What is left to beat: what samples are made from, as it is or enlarged."""


class Seen(NamedTuple):
    """What scores are computed from."""

    real: Sample
    """The reference."""
    fake: Sample
    train: Sample | None
    """All training images; None where nothing asks for them, or they are not known."""
    test: Sample | None
    """Real images that were not trained on; likewise."""
    classes: int
    num: int
    """How many images are scored."""
    pairs: Pairs | None = None
    """None where samples have no true answer."""


class Group(NamedTuple):
    """Metrics that are computed together."""

    metrics: Mapping[str, str]
    """Titles by name, with the title of the Frechet distance where it says {title}."""
    compute: Callable[[Seen], Values]
    floor: Callable[[Seen], Values]
    """The same of real images."""
    parameters: Mapping[str, Any] = {}
    needs: frozenset[str] = frozenset()
    """What it needs besides: some of "train", "test", "labels", "images" and "pairs"."""


def _halves(compute: Callable[[Seen], Values]) -> Callable[[Seen], Values]:
    """The score of one half of the real images against the other.

    That is of half as many images, for which biased scores, such as the Frechet distance, are a little higher.
    """

    def floor(seen: Seen) -> Values:
        middle = len(seen.real.features) // 2
        first, second = seen.real.part(slice(middle)), seen.real.part(slice(middle, None))
        return compute(seen._replace(real=first, fake=second))

    return floor


def _of_real(compute: Callable[[Seen], Values]) -> Callable[[Seen], Values]:
    """The score of the real images themselves."""
    return lambda seen: compute(seen._replace(fake=seen.real))


def _frechet(seen: Seen) -> Values:
    real, fake = metrics.moments(seen.real.features), seen.fake.features
    groups = min(10, len(fake) // 2)
    error = metrics.frechet_error(real, fake, groups=groups) if groups > 1 else math.nan
    return {"frechet": (metrics.frechet_distance(real, metrics.moments(fake)), error)}


def _frechet_infinity(seen: Seen) -> Values:
    found = metrics.frechet_infinity(metrics.moments(seen.real.features), seen.fake.features)
    return {"frechet_infinity": (found.value, math.nan)}


def _kernel(seen: Seen) -> Values:
    found = metrics.kernel_distance(seen.real.features, seen.fake.features)
    return {"kernel": (found.value, found.error)}


def _inception_score(seen: Seen) -> Values:
    found = metrics.inception_score(seen.fake.logits)
    return {"inception_score": (found.value, found.error)}


def _manifold(seen: Seen) -> Values:
    found = metrics.manifold(seen.real.features, seen.fake.features, density_k=NEIGHBOURS)
    n, m = len(seen.real.features), len(seen.fake.features)

    def share(p: float, of: int) -> tuple[float, float]:
        return p, math.sqrt(p * (1 - p) / of)

    return {
        "precision": share(found.precision, m),
        "recall": share(found.recall, n),
        "density": (found.density, float(found.balls.std(ddof=1)) / NEIGHBOURS / math.sqrt(m)),
        "coverage": share(found.coverage, n),
    }


def _diversity(seen: Seen) -> Values:
    found = metrics.diversity(seen.fake.images[:SIMILAR], data_range=255)
    return {"diversity": (found.value, found.error)}


def _memorisation(seen: Seen) -> Values:
    assert seen.train is not None
    assert seen.test is not None
    found = metrics.memorisation(seen.train.features, seen.test.features, seen.fake.features)
    return {"memorisation": (found.copied, found.error)}


def _memorisation_of_real(seen: Seen) -> Values:
    """The memorisation of one half of the test images by the other."""
    assert seen.test is not None
    middle = len(seen.test.features) // 2
    first, second = seen.test.part(slice(middle)), seen.test.part(slice(middle, None))
    return _memorisation(seen._replace(test=first, fake=second))


def _gan_test(seen: Seen) -> Values:
    """The share of samples in which a classifier finds the asked class (Shmelkov et al., How good is my GAN?, 2018)."""
    width = seen.fake.logits.shape[1]
    if width != seen.classes:
        raise InputError(f"gan_test needs features that tell the {seen.classes} classes; these tell {width}")
    found = float(np.mean(seen.fake.logits.argmax(1) == seen.fake.labels))
    return {"gan_test": (found, math.sqrt(found * (1 - found) / len(seen.fake.logits)))}


def _gan_test_of_real(seen: Seen) -> Values:
    """The same of real images: a classifier that is mostly wrong about them tells other classes."""
    found = _of_real(_gan_test)(seen)
    if found["gan_test"][0] < 0.5:
        raise InputError(
            f"gan_test needs features that tell the classes; these find {found['gan_test'][0]:.0%} of real images'"
        )
    return found


def _accuracy(seen: Seen) -> Values:
    assert seen.test is not None
    classifier = Classifier(seen.classes)
    variables = downstream.train_classifier(classifier, seen.fake.images, seen.fake.labels, ACCURACY)
    found = downstream.accuracy(classifier, variables, seen.test.images, seen.test.labels)
    return {"accuracy": (found, math.sqrt(found * (1 - found) / len(seen.test.images)))}


def _accuracy_of_real(seen: Seen) -> Values:
    """The accuracy of a classifier that saw as many training images."""
    assert seen.train is not None
    return _accuracy(seen._replace(fake=seen.train.part(slice(seen.num))))


def _pairs(seen: Seen) -> Values:
    assert seen.pairs is not None
    made, truth = seen.fake.images, seen.pairs.truth[: len(seen.fake.images)]
    found = {
        "psnr": metrics.psnr(made, truth, data_range=255),
        "ssim": metrics.ssim(made, truth, data_range=255),
        "l1": metrics.absolute(made, truth),
    }
    with np.errstate(
        invalid="ignore"
    ):  # an image that is met exactly has an infinite ratio, and then there is no error
        means = {name: metrics.Estimate.of(each) for name, each in found.items()}
    return {name: (mean.value, mean.error) for name, mean in means.items()}


def _pairs_of_baseline(seen: Seen) -> Values:
    assert seen.pairs is not None
    return _pairs(seen._replace(fake=seen.real._replace(images=seen.pairs.baseline)))


GROUPS: tuple[Group, ...] = (
    Group({"frechet": "{title}"}, _frechet, _halves(_frechet)),
    Group(
        {"frechet_infinity": "{title} at infinity"},
        _frechet_infinity,
        _halves(_frechet_infinity),
        {"sizes": 15, "smallest": "half"},
    ),
    Group({"kernel": "kernel distance"}, _kernel, _halves(_kernel), {"subsets": 100, "size": "at most 1000"}),
    Group(
        {"inception_score": "Inception score"},
        _inception_score,
        _of_real(_inception_score),
        {"splits": 10},
    ),
    Group(
        {
            "precision": "precision",
            "recall": "recall",
            "density": "density",
            "coverage": "coverage",
        },
        _manifold,
        _halves(_manifold),
        {"k": 3, "density_k": NEIGHBOURS},
    ),
    Group(
        {"diversity": "MS-SSIM of pairs"},
        _diversity,
        _of_real(_diversity),
        {"most_images": SIMILAR},
        frozenset({"images"}),
    ),
    Group(
        {"memorisation": "memorisation"},
        _memorisation,
        _memorisation_of_real,
        {},
        frozenset({"train", "test"}),
    ),
    Group({"gan_test": "asked class found"}, _gan_test, _gan_test_of_real, {}, frozenset({"labels"})),
    Group(
        {"accuracy": "classification accuracy"},
        _accuracy,
        _accuracy_of_real,
        ACCURACY._asdict(),
        frozenset({"train", "test", "labels", "images"}),
    ),
    Group(
        {"psnr": "PSNR (dB)", "ssim": "SSIM", "l1": "mean absolute difference (of 255)"},
        _pairs,
        _pairs_of_baseline,
        {"floor": "the input itself, enlarged by bicubic where it is small", "border": 0},
        frozenset({"images", "pairs"}),
    ),
)
BETTER = {
    "frechet": -1,
    "frechet_infinity": -1,
    "kernel": -1,
    "inception_score": 1,
    "gan_test": 1,
    "accuracy": 1,
    "psnr": 1,
    "ssim": 1,
    "l1": -1,
} | dict.fromkeys(("precision", "recall", "density", "coverage"), 1)
"""1 where higher is better and -1 where lower is, of the metrics for which that is so."""
GROUP = {name: group for group in GROUPS for name in group.metrics}
"""The group of each metric."""
LACKING = {
    "train": "the training images",
    "test": "a split of test images",
    "labels": "a class-conditional run",
    "pairs": "samples with a true answer",
}
"""What metrics may need, in words."""
PIXELS = ("diversity", "accuracy", "psnr", "ssim", "l1")
"""Metrics that look at images themselves, not through a network."""
SLOW = ("frechet_infinity", "accuracy")
DEFAULT = tuple(name for name in GROUP if name not in SLOW)
"""Metrics that are computed unless others are asked for."""


class Score(NamedTuple):
    """One score of one set of images."""

    metric: str
    title: str
    value: float
    error: float
    """Standard error over the choice of images, NaN where there is none."""
    floor: float
    """The same score of real images."""
    protocol: Mapping[str, Any]
    """All that must agree before this score may be compared with another."""


def chosen(names: Sequence[str] | None, missing: frozenset[str], say: Say) -> tuple[str, ...]:
    """The metrics to compute.

    Args:
      names: Those asked for; "all" is every one; None for all of `DEFAULT` that can be computed.
      missing: What there is none of: "train", "test", "labels" or "pairs". What needs pairs is left out without a
        word, as few runs have them, and what needs labels too where no metric is asked for.
      say: Called with a line where a metric is left out.

    Raises:
      InputError: If one is unknown, or asked for by name and cannot be computed.
    """
    known = list(GROUP)
    for name in names or ():
        if name not in (*known, "all"):
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)} and all"
            raise InputError(f"no metric is called {name!r}; {hint}")
        if name != "all" and (lacks := sorted(GROUP[name].needs & missing)):
            raise InputError(f"{name} needs {' and '.join(LACKING[x] for x in lacks)}; leave it out")
    wanted = DEFAULT if names is None else tuple(known) if "all" in names else tuple(dict.fromkeys(names))
    possible = tuple(name for name in wanted if not GROUP[name].needs & missing)
    silent = {"pairs"} if names else {"pairs", "labels"}
    for name in wanted:
        if name not in possible and not silent & GROUP[name].needs:
            lacks = " and ".join(LACKING[x] for x in sorted(GROUP[name].needs & missing))
            say(f"{name} is left out: it needs {lacks}")
    return possible


def needs(names: Iterable[str]) -> frozenset[str]:
    """What metrics need, all of them together."""
    return frozenset[str]().union(*(GROUP[name].needs for name in names))


def mean(values: Sequence[float]) -> tuple[float, float]:
    """The mean and its standard error, NaN of one value."""
    n = len(values)
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else math.nan


def number(value: float | None, digits: int = 4) -> str:
    """So many digits, as people read them; "-" for what is not finite."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 10**digits else f"{value:.{digits}g}"


def better(metric: str) -> str:
    """What is better, in a word or two."""
    return {1: "higher", -1: "lower"}.get(BETTER.get(metric, 0), "as real images")


def floors(names: Iterable[str]) -> str:
    """What the floors of metrics are of, as the head of a column."""
    of_pairs = {"pairs" in GROUP[name].needs for name in names if name in GROUP}
    return {frozenset({True}): "input", frozenset({True, False}): "real or input"}.get(
        frozenset(of_pairs), "real images"
    )


def rows(lines: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Scores for people, with a head: over several seeds their mean, and its error over the seeds."""
    found = [("score", "value", "error", floors(line["metric"] for line in lines), "better")]
    for name in dict.fromkeys(line["metric"] for line in lines):
        each = [line for line in lines if line["metric"] == name]
        value, error = each[0]["value"], each[0]["error"]
        known = [line["value"] for line in each if line["value"] is not None]
        if len(known) > 1:
            value, error = mean(known)
        shown = (number(value), number(error, 2), number(each[0]["floor"]), better(name))
        found.append((each[0]["title"], *shown))
    return found


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text, the first column to the left and the others to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *(x.rjust(w) for x, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    )


def describe(protocols: Mapping[str, Mapping[str, Any]]) -> str:
    """The protocols of metrics, by name, for people: what all share in one line, then what each adds."""

    def text(items: Mapping[str, Any]) -> str:
        hashes = ("features_sha256", "data_fingerprint", "images_fingerprint")
        parts = (f"{k} {v[:12] if k in hashes else v}" for k, v in items.items() if v is not None)
        return ", ".join(parts)

    first = next(iter(protocols.values()))
    common = {k: v for k, v in first.items() if all(p.get(k) == v and k in p for p in protocols.values())}
    lines: dict[str, list[str]] = {}
    for name, protocol in protocols.items():
        if own := text({k: v for k, v in protocol.items() if k not in common}):
            lines.setdefault(own, []).append(name)
    return "\n".join([text(common), *(f"{', '.join(names)}: {own}" for own, names in lines.items())])
