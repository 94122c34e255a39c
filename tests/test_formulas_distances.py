"""Distances whose ties are known: of copies, and of whole numbers, where sums have no rounding."""

import numpy as np
import pytest

from jaxgan.scoring.formulas import manifold, memorisation, nearest
from jaxgan.scoring.formulas.distances import Distances


def exactly(a, b):
    """Of whole numbers, which floating-point numbers hold as they are."""
    return np.square(a[:, None].astype(int) - b.astype(int)).sum(2)


def test_six_times_the_same_images_against_one_copy_of_every_other(rng):
    """Each generated image lies on six real ones, whose nearest others are at distance 0: on the balls, not beside."""
    once = (10 + rng.normal(size=(100, 37))).astype(np.float32)
    found = manifold(np.concatenate([once] * 6), once[::2])
    assert (found.precision, found.coverage) == (1, 0.5)
    assert found.density == 6 / 5  # of each, six balls of radius 0 over the five neighbours
    assert (found.balls == 6).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_points_on_a_lattice_are_counted_as_whole_numbers_are(dtype, rng):
    """Most distances are those of many other pairs; scaled by a third, none of them is a whole number any more."""
    x, y = rng.integers(-2, 3, (80, 6)), rng.integers(-2, 3, (70, 6))
    others = exactly(x, x) + 10**6 * np.eye(80, dtype=int)
    narrow, wide = (np.sort(others)[:, k - 1] for k in (3, 5))
    between = exactly(x, y)
    found = manifold(x.astype(dtype), y.astype(dtype))
    assert found.precision == (between <= narrow[:, None]).any(0).mean()
    np.testing.assert_array_equal(found.balls, (between <= wide[:, None]).sum(0))
    distances, which = nearest(x.astype(dtype), y.astype(dtype))
    np.testing.assert_array_equal(which, between.argmin(1))
    np.testing.assert_array_equal(distances, np.sqrt(between.min(1)))


def test_copies_are_at_distance_0_of_the_first_of_them(rng):
    x = 1000 + rng.normal(size=(50, 32)).astype(np.float32)
    y = np.concatenate([x + np.float32(1e-3), x[::-1], x])
    distances, which = nearest(x, y)
    assert (distances == 0).all()
    np.testing.assert_array_equal(which, 50 + np.arange(50)[::-1])


def test_generated_images_that_are_the_test_images_are_as_far_as_these(rng):
    """All ties, each counted as half: exactly 1/2."""
    train, test = rng.normal(size=(2, 200, 16)).astype(np.float32)
    assert memorisation(train, test, test[::-1]).copied == 0.5


def test_many_equal_rows_are_settled_in_a_table(rng, monkeypatch):
    """Two kinds of rows: all pairs tie, and few are taken apart; also a few rows at a time."""
    kinds = rng.normal(size=(2, 16))
    x, y = kinds[rng.integers(2, size=300)], kinds[rng.integers(2, size=200)]
    taken = []
    apart = Distances._apart
    monkeypatch.setattr(Distances, "_apart", lambda self, i, j: taken.append(len(i)) or apart(self, i, j))
    monkeypatch.setattr("jaxgan.scoring.formulas.distances.PAIRS", 200 * 16)
    assert manifold(x, y)[:4] == (1, 1, pytest.approx(((x[:, None] == y).all(2).sum() / 5) / 200), 1)
    assert sum(taken) < (300**2 + 200**2 + 300 * 200) / 8
    distances, which = nearest(x, y)
    assert (distances == 0).all()
    np.testing.assert_array_equal(which, (x[:, None] == y).all(2).argmax(1))


def test_blocks_are_settled_alike(rng, monkeypatch):
    x, y = rng.integers(0, 3, (40, 4)) / 3, rng.integers(0, 3, (35, 4)) / 3
    whole = manifold(x, y)
    monkeypatch.setattr("jaxgan.scoring.formulas.distances.BYTES", 8 * 35 * 7)
    monkeypatch.setattr("jaxgan.scoring.formulas.distances.PAIRS", 60)
    parts = manifold(x, y)
    assert parts[:4] == whole[:4]
    np.testing.assert_array_equal(parts.balls, whole.balls)
