"""What scores are computed, from what, and what real examples give in their place.

A score of one's own is registered under a name that the `scores` of a domain have, too.

For example:

    >>> def brightness(seen: Seen) -> Values:
    ...     each = seen.fake.examples.mean((1, 2, 3))
    ...     return {"brightness": (each.mean().item(), each.std().item() / len(each) ** 0.5)}
    >>> register(Group({"brightness": "mean brightness"}, brightness, of_real(brightness), looks_at=ALL))
    >>> black, white = np.zeros((2, 4, 4, 1), np.uint8), np.full((2, 4, 4, 1), 255, np.uint8)
    >>> real = Sample(np.zeros((2, 1)), np.zeros((2, 0)), black, np.zeros(2, int))
    >>> seen = Seen(real, real._replace(examples=white), None, None, classes=0, num=2)
    >>> GROUP["brightness"].compute(seen), GROUP["brightness"].floor(seen)
    ({'brightness': (255.0, 0.0)}, {'brightness': (0.0, 0.0)})
"""

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxgan.domains import Domain, Image
from jaxgan.errors import InputError
from jaxgan.networks.classifier import Classifier
from jaxgan.scoring import formulas, remarks
from jaxgan.scoring.formulas import accuracy as downstream

SIMILAR = 2000
"""Images of which pairs are compared for diversity, at most."""
ACCURACY = downstream.Training()
"""How the classifiers of the classification accuracy score are trained."""
NEIGHBOURS = 5
"""Neighbours that density and coverage count."""
OF_MANIFOLD = ("precision", "recall", "density", "coverage")
ALL = 2**62
"""As many examples as there are."""

Say = Callable[[str], None]
Values = dict[str, tuple[float, float]]
"""Scores and their standard errors over the choice of what is scored, NaN where there is none, by name."""


class Sample(NamedTuple):
    """Examples as scores see them."""

    features: np.ndarray
    """`[N, d]`."""
    logits: np.ndarray
    """`[N, classes]`."""
    examples: np.ndarray
    """The first of the examples, as they are stored, `[n, ...]`, as many as asked for."""
    labels: np.ndarray
    """`[N]` int."""

    def part(self, rows: slice) -> "Sample":
        """Some of them."""
        return Sample(*(x[rows] for x in self))


class Pairs(NamedTuple):
    """The true answers for what samples are made from, in the order of the samples, `[n, ...]` each, as stored."""

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
    domain: Domain = Image()
    """What the examples are."""


class Group(NamedTuple):
    """Scores that are computed together."""

    titles: Mapping[str, str]
    """Titles by name, with the title of the Frechet distance where it says {title}."""
    compute: Callable[[Seen], Values]
    floor: Callable[[Seen], Values]
    """The same of real images."""
    parameters: Mapping[str, Any] = {}
    better: Mapping[str, int] = {}
    """1 where higher is better and -1 where lower is, of the scores for which that is so."""
    slow: bool = False
    """Whether it is computed only where it is asked for."""
    looks_at: int = 0
    """How many examples it looks at themselves, at most; 0 for none."""
    features: bool = True
    """Whether it looks at features, or logits, of a network."""
    needs: frozenset[str] = frozenset()
    """What it needs besides: some of "train", "test", "labels" and "pairs"."""
    notes: Callable[[Seen, Values, Values], Mapping[str, str]] = lambda seen, values, floors: {}
    """What has to be known of values besides, given them and those of real images, by name; see `remarks`."""


def halves(compute: Callable[[Seen], Values]) -> Callable[[Seen], Values]:
    """The score of one half of the real images against the other.

    That is of half as many images, for which biased scores, such as the Frechet distance, are a little higher.
    """

    def floor(seen: Seen) -> Values:
        middle = len(seen.real.features) // 2
        first, second = seen.real.part(slice(middle)), seen.real.part(slice(middle, None))
        return compute(seen._replace(real=first, fake=second))

    return floor


def of_real(compute: Callable[[Seen], Values]) -> Callable[[Seen], Values]:
    """The score of the real images themselves."""
    return lambda seen: compute(seen._replace(fake=seen.real))


def _frechet(seen: Seen) -> Values:
    real, fake = formulas.moments(seen.real.features), seen.fake.features
    error = formulas.frechet_error(real, fake, strata=seen.fake.labels)
    return {"frechet": (formulas.frechet_distance(real, formulas.moments(fake)), error)}


def _frechet_infinity(seen: Seen) -> Values:
    found = formulas.frechet_infinity(formulas.moments(seen.real.features), seen.fake.features)
    return {"frechet_infinity": (found.value, math.nan)}


def _kernel(seen: Seen) -> Values:
    found = formulas.kernel_distance(seen.real.features, seen.fake.features, strata=seen.fake.labels)
    return {"kernel": (found.value, found.error)}


def _inception_score(seen: Seen) -> Values:
    found = formulas.inception_score(seen.fake.logits, strata=seen.fake.labels)
    return {"inception_score": (found.value, found.error)}


def _manifold(seen: Seen) -> Values:
    given = seen.real.features, seen.fake.features
    found = formulas.manifold(*given, density_k=NEIGHBOURS, strata=seen.fake.labels)
    return {
        name: (getattr(found, name), error) for name, error in zip(OF_MANIFOLD, found.errors, strict=True)
    }


def _diversity(seen: Seen) -> Values:
    found = formulas.diversity(seen.fake.examples[:SIMILAR], data_range=255)
    return {"diversity": (found.value, found.error)}


def _memorisation(seen: Seen) -> Values:
    assert seen.train is not None
    assert seen.test is not None
    given = seen.train.features, seen.test.features, seen.fake.features
    found = formulas.memorisation(*given, strata=seen.fake.labels)
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
    right = seen.fake.logits.argmax(1) == seen.fake.labels
    return {"gan_test": (float(np.mean(right)), formulas.standard_error(right, seen.fake.labels))}


def _gan_test_of_real(seen: Seen) -> Values:
    """The same of real images: a classifier that is mostly wrong about them tells other classes."""
    found = of_real(_gan_test)(seen)
    if found["gan_test"][0] < 0.5:
        raise InputError(
            f"gan_test needs features that tell the classes; these find {found['gan_test'][0]:.0%} of real images'"
        )
    return found


def _accuracy(seen: Seen) -> Values:
    assert seen.test is not None
    classifier = Classifier(seen.classes)
    variables = downstream.train_classifier(classifier, seen.fake.examples, seen.fake.labels, ACCURACY)
    found = downstream.accuracy(classifier, variables, seen.test.examples, seen.test.labels)
    return {"accuracy": (found, math.nan)}  # only training again on other images would tell its error


def _accuracy_of_real(seen: Seen) -> Values:
    """The accuracy of a classifier that saw as many training images."""
    assert seen.train is not None
    return _accuracy(seen._replace(fake=seen.train.part(slice(seen.num))))


def _pairs(seen: Seen) -> Values:
    assert seen.pairs is not None
    made, truth = seen.fake.examples, seen.pairs.truth[: len(seen.fake.examples)]
    found = {
        "psnr": formulas.psnr(made, truth, data_range=255),
        "ssim": formulas.ssim(made, truth, data_range=255),
        "l1": formulas.absolute(made, truth),
    }
    found["psnr"] = found["psnr"][
        np.isfinite(found["psnr"])
    ]  # images that are met exactly: see `remarks.of_pairs`
    return {
        name: (float(each.mean()), formulas.standard_error(each)) if len(each) else (math.inf, math.nan)
        for name, each in found.items()
    }


def _pairs_of_baseline(seen: Seen) -> Values:
    assert seen.pairs is not None
    return _pairs(seen._replace(fake=seen.real._replace(examples=seen.pairs.baseline)))


GROUP: dict[str, Group] = {}
"""The group of each score, by its name."""


def register(*groups: Group) -> None:
    """Makes scores known.

    Raises:
      ValueError: The name of one is taken.
    """
    for group in groups:
        for name in group.titles:
            if name in GROUP:
                raise ValueError(f"the score {name!r} is registered already; choose another name")
            GROUP[name] = group


register(
    Group(
        {"frechet": "{title}"},
        _frechet,
        halves(_frechet),
        better={"frechet": -1},
        notes=remarks.of_frechet,
    ),
    Group(
        {"frechet_infinity": "{title} at infinity"},
        _frechet_infinity,
        halves(_frechet_infinity),
        {"sizes": 15, "smallest": "half"},
        better={"frechet_infinity": -1},
        slow=True,
        notes=remarks.of_frechet_infinity,
    ),
    Group(
        {"kernel": "kernel distance"},
        _kernel,
        halves(_kernel),
        {"subsets": 100, "size": "at most 1000"},
        better={"kernel": -1},
    ),
    Group(
        {"inception_score": "Inception score"},
        _inception_score,
        of_real(_inception_score),
        {"splits": 10},
        better={"inception_score": 1},
        notes=remarks.of_inception_score,
    ),
    Group(
        {name: name for name in OF_MANIFOLD},
        _manifold,
        halves(_manifold),
        {"k": 3, "density_k": NEIGHBOURS},
        better=dict.fromkeys(OF_MANIFOLD, 1),
        notes=remarks.of_manifold,
    ),
    Group(
        {"diversity": "MS-SSIM of pairs"},
        _diversity,
        of_real(_diversity),
        {"most_images": SIMILAR},
        looks_at=SIMILAR,
        features=False,
    ),
    Group(
        {"memorisation": "memorisation"},
        _memorisation,
        _memorisation_of_real,
        needs=frozenset({"train", "test"}),
    ),
    Group(
        {"gan_test": "asked class found"},
        _gan_test,
        _gan_test_of_real,
        better={"gan_test": 1},
        notes=remarks.of_gan_test,
        needs=frozenset({"labels"}),
    ),
    Group(
        {"accuracy": "classification accuracy"},
        _accuracy,
        _accuracy_of_real,
        ACCURACY._asdict(),
        better={"accuracy": 1},
        slow=True,
        looks_at=ALL,
        features=False,
        needs=frozenset({"train", "test", "labels"}),
    ),
    Group(
        {"psnr": "PSNR (dB)", "ssim": "SSIM", "l1": "mean absolute difference (of 255)"},
        _pairs,
        _pairs_of_baseline,
        {"floor": "the input itself, enlarged by bicubic where it is small", "border": 0},
        better={"psnr": 1, "ssim": 1, "l1": -1},
        looks_at=ALL,
        features=False,
        notes=remarks.of_pairs,
        needs=frozenset({"pairs"}),
    ),
)

LACKING = {
    "train": "the training data",
    "test": "a split of test data",
    "labels": "a class-conditional run",
    "pairs": "samples with a true answer",
}
"""What scores may need, in words."""


def better(name: str) -> int:
    """1 where a higher score is better and -1 where a lower one is; 0 where that cannot be said."""
    return GROUP[name].better.get(name, 0) if name in GROUP else 0


def chosen(
    names: Sequence[str] | None, possible: Sequence[str], missing: frozenset[str], say: Say
) -> tuple[str, ...]:
    """The scores to compute.

    Args:
      names: Those asked for; "all" is every one; None for all that can be computed but the slow ones.
      possible: Those that make sense, as of `Domain.scores`.
      missing: What there is none of: "train", "test", "labels" or "pairs". What needs pairs is left out without a
        word, as few runs have them, and what needs labels too where no score is asked for.
      say: Called with a line where a score is left out.

    Raises:
      InputError: If one is unknown, or asked for by name and cannot be computed.
    """
    unknown = [name for name in possible if name not in GROUP]
    if unknown:
        raise InputError(
            f"no score is registered as {unknown[0]!r}, which the domain has; see jaxgan.scoring.groups"
        )
    for name in names or ():
        if name not in (*possible, "all"):
            near = difflib.get_close_matches(name, possible, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(possible)} and all"
            raise InputError(f"no score is called {name!r}; {hint}")
        if name != "all" and (lacks := sorted(GROUP[name].needs & missing)):
            raise InputError(f"{name} needs {' and '.join(LACKING[x] for x in lacks)}; leave it out")
    if names is None:
        wanted = tuple(name for name in possible if not GROUP[name].slow)
    else:
        wanted = tuple(possible) if "all" in names else tuple(dict.fromkeys(names))
    found = tuple(name for name in wanted if not GROUP[name].needs & missing)
    silent = {"pairs"} if names else {"pairs", "labels"}
    for name in wanted:
        if name not in found and not silent & GROUP[name].needs:
            lacks = " and ".join(LACKING[x] for x in sorted(GROUP[name].needs & missing))
            say(f"{name} is left out: it needs {lacks}")
    return found


def needs(names: Iterable[str]) -> frozenset[str]:
    """What scores need, all of them together."""
    return frozenset[str]().union(*(GROUP[name].needs for name in names))
