"""Scores of neighbours against loops over all pairs."""

import numpy as np
import pytest

from jaxgan.scoring.formulas import manifold, memorisation, nearest


def loops(x, y, k, density_k):
    def radius(of, i, k):
        return sorted(np.linalg.norm(of[i] - other) for j, other in enumerate(of) if j != i)[k - 1]

    def near(a, b):
        return np.linalg.norm(a - b)

    precision = np.mean([any(near(b, a) <= radius(x, i, k) for i, a in enumerate(x)) for b in y])
    recall = np.mean([any(near(a, b) <= radius(y, j, k) for j, b in enumerate(y)) for a in x])
    inside = np.array([[near(a, b) <= radius(x, i, density_k) for b in y] for i, a in enumerate(x)])
    return precision, recall, inside.sum() / (density_k * len(y)), inside.any(1).mean()


@pytest.mark.parametrize(("n", "m", "k", "density_k"), [(20, 25, 3, 5), (12, 9, 1, 2), (30, 30, 4, 3)])
def test_manifold_is_the_definition(n, m, k, density_k, rng):
    x, y = rng.normal(size=(n, 3)), rng.normal(size=(m, 3)) * 0.7 + 0.4
    found = manifold(x, y, k=k, density_k=density_k)
    np.testing.assert_allclose(found[:4], loops(x, y, k, density_k), rtol=1e-12)
    assert found.balls.sum() == pytest.approx(found.density * density_k * m)


def test_of_equal_and_of_distant_sets(rng):
    x = rng.normal(size=(50, 4))
    assert manifold(x, x)[:4] == (1, 1, pytest.approx(6 / 5), 1)  # five others and itself
    assert manifold(x, x + 100)[:4] == (0, 0, 0, 0)


def test_blocks_far_from_the_origin_change_nothing(rng, monkeypatch):
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(35, 3))
    whole, distances = manifold(x, y), nearest(x, y)
    monkeypatch.setattr("jaxgan.scoring.formulas.distances.BYTES", 8 * 35 * 7)
    assert manifold(x + 1e5, y + 1e5)[:4] == whole[:4]
    found = nearest(x, y)
    np.testing.assert_allclose(found[0], distances[0], rtol=1e-9)
    np.testing.assert_array_equal(found[1], distances[1])


def test_coverage_and_recall_miss_a_dropped_mode_and_precision_bad_samples(rng):
    centers = np.array([[0.0, 0], [10, 0]])
    x = np.concatenate([rng.normal(size=(100, 2)) + c for c in centers])
    dropped = manifold(x, rng.normal(size=(200, 2)))
    assert dropped.recall < 0.6
    assert dropped.coverage < 0.6
    assert dropped.precision > 0.9
    noisy = manifold(x, x + 30 * rng.normal(size=x.shape))
    assert noisy.precision < 0.3


def test_nearest_is_the_nearest(rng):
    x, y = rng.normal(size=(10, 3)), rng.normal(size=(12, 3))
    distances = np.linalg.norm(x[:, None] - y, axis=2)
    found, which = nearest(x, y)
    np.testing.assert_allclose(found, distances.min(1), rtol=1e-9)
    np.testing.assert_array_equal(which, distances.argmin(1))


def test_memorisation_of_copies_and_of_fresh_samples(rng):
    train, test, fresh = rng.normal(size=(300, 3)), rng.normal(size=(200, 3)), rng.normal(size=(250, 3))
    copies = memorisation(train, test, train[:100] + 1e-6)
    assert copies.copied == 1
    assert copies.p_value < 1e-6
    honest = memorisation(train, test, fresh)
    assert 0.4 < honest.copied < 0.6
    assert honest.p_value > 0.01
    far, near = nearest(test, train)[0], nearest(fresh, train)[0]
    assert honest.copied == pytest.approx(np.mean([a > b for a in far for b in near]))
    again = [memorisation(train, *rng.normal(size=(2, 200, 3))).copied for _ in range(40)]
    assert 0.7 < honest.error / np.std(again) < 1.4
    ties = memorisation(np.zeros((1, 1)), [[1.0], [2]], [[1.0], [3]])
    assert ties.copied == (0.5 + 1) / 4


def test_bad_input_is_refused(rng):
    x = rng.normal(size=(6, 3))
    with pytest.raises(ValueError, match="real features holds 5 rows; this needs at least 6"):
        manifold(x[:5], x)
    with pytest.raises(ValueError, match="generated features holds 3 rows"):
        manifold(x, x[:3])
    with pytest.raises(ValueError, match="k is 0"):
        manifold(x, x, k=0)
    with pytest.raises(ValueError, match="2 wide"):
        nearest(x[:, :2], x)
