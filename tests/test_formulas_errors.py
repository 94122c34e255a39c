"""Errors of scores against the spread of the scores of other images, which is what they are to be."""

from functools import cache

import numpy as np
import pytest

from jaxgan.domains import Image
from jaxgan.scoring.formulas import kernel_distance, standard_error
from jaxgan.scoring.formulas.errors import error_of_share, halves
from jaxgan.scoring.groups import GROUP, Pairs, Sample, Seen

NUM, WIDTH, CLASSES, DRAWS = 240, 8, 5, 24
WITHOUT = {"accuracy", "frechet_infinity"}
"""Scores that say no error, as only much more work would tell it."""
OF_SETS = sorted(set(Image().scores) - WITHOUT - {"kernel"})
"""The kernel distance has a test of its own."""


def drawn(rng, scale, balanced):
    """Images in features, logits and pixels, whose classes are far apart: as many of each, or unlabelled by chance."""
    label = np.arange(NUM) % CLASSES if balanced else rng.integers(CLASSES, size=NUM)
    centers = 2 * np.random.default_rng(1).normal(size=(CLASSES, WIDTH))
    noise = scale * rng.normal(size=(NUM, WIDTH)) / np.arange(1, WIDTH + 1) ** 0.5
    features = centers[label] + noise
    logits = 2 * rng.normal(size=(NUM, CLASSES)) - np.square(features[:, None] - centers).sum(2) / 8
    wave = np.sin(features[:, :1] * np.arange(256) / 20).reshape(NUM, 16, 16, 1)
    pixels = np.clip(128 + 60 * wave + 20 * rng.normal(size=wave.shape), 0, 255).astype(np.uint8)
    return Sample(features, logits, pixels, label if balanced else np.zeros(NUM, int))


@cache
def scored(balanced):
    """Values and errors of all scores of fresh images, while all that is real stays the same: `[draws, 2]` each."""
    rng = np.random.default_rng(0)
    real, train, test = (drawn(rng, 1.0, balanced) for _ in range(3))
    found = {name: [] for name in OF_SETS}
    for _ in range(DRAWS):
        fake = drawn(rng, 1.3, balanced)
        noise = rng.normal(size=fake.examples.shape) * rng.uniform(5, 30, (NUM, 1, 1, 1))
        truth = np.clip(fake.examples + noise, 0, 255).astype(np.uint8)
        seen = Seen(real, fake, train, test, CLASSES, NUM, Pairs(truth, truth))
        for group in {id(GROUP[name]): GROUP[name] for name in OF_SETS}.values():
            for name, value in group.compute(seen).items():
                found[name].append(value)
    return {name: np.array(each) for name, each in found.items()}


@pytest.mark.parametrize("balanced", [False, True])
@pytest.mark.parametrize("name", OF_SETS)
def test_every_error_is_the_spread_over_other_images(name, balanced):
    """With as many of each class in all sets, too: then the distance of classes is no part of it."""
    values, errors = scored(balanced)[name].T
    assert 0.6 < errors.mean() / values.std(ddof=1) < 1.6


@pytest.mark.parametrize("times", [1, 2, 10])
def test_the_error_of_the_kernel_distance_whatever_the_subsets(times):
    """Where the subsets are all that there is, where they are half of it, and where they are a tenth."""
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 4))
    found = [
        kernel_distance(real, 0.2 + rng.normal(size=(400, 4)), number=20, size=400 // times)[:2]
        for _ in range(30)
    ]
    values, errors = np.transpose(found)
    assert 0.6 < errors.mean() / values.std(ddof=1) < 1.6


def test_of_means_by_hand():
    values = [1.0, 2.0, 4.0, 9.0]
    assert standard_error(values) == pytest.approx(np.std(values, ddof=1) / 2)
    # Two strata, {1, 4} and {2, 9}, each of known size: variances 4.5 and 24.5, each over 2, weighted by 1/2 each.
    assert standard_error(values, [0, 1, 0, 1]) == pytest.approx(np.sqrt((4.5 / 2 + 24.5 / 2) / 4))
    assert standard_error(values, [3, 3, 3, 3]) == standard_error(values)
    assert np.isnan(standard_error([1.0]))
    assert np.isnan(standard_error(values, [0, 1, 2, 3]))
    assert np.isnan(
        standard_error([0.1 + 0.2, 0.3, 0.3])
    )  # alike but for rounding: nothing tells how far others are
    assert np.isnan(standard_error([0.0, 0.0, 5.0, 5.0], [7, 7, 8, 8]))


def test_of_independent_events_by_hand():
    """A hundred things that each image reaches one of: then a share spreads as one of so many by chance."""
    rng = np.random.default_rng(0)
    alone = rng.uniform(size=(4000, 2, 100)) < 0.3
    assert error_of_share(0.5, alone.mean(2)) == pytest.approx(np.sqrt(0.5 * 0.5 / 100), rel=0.05)
    assert np.isnan(error_of_share(0.0, np.zeros((4, 2))))
    assert np.isnan(error_of_share(1.0, np.full((4, 2), 0.9)))


def test_halves_are_halves_of_each_stratum():
    kinds = np.array([0] * 10 + [1] * 6 + [2] * 2)
    for first in halves(18, kinds):
        assert [int(first[kinds == kind].sum()) for kind in range(3)] == [5, 3, 1]
    assert (halves(7).sum(1) == 4).all()
    assert len({first.tobytes() for first in halves(18)}) > 10
