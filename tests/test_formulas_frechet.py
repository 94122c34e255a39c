"""The Frechet distance against closed forms, scipy's matrix root and nuclear norms."""

import numpy as np
import pytest
from scipy.linalg import sqrtm

from jaxgan.scoring.formulas import frechet_distance, frechet_error, frechet_infinity, moments


def with_moments(rng, n, mean, covariance):
    """Rows whose sample mean and covariance are exactly these."""
    x = rng.normal(size=(n, len(mean)))
    q, _ = np.linalg.qr(x - x.mean(0))
    return mean + np.sqrt(n - 1) * q @ np.linalg.cholesky(covariance).T


def by_definition(x, y):
    a, b = np.cov(x.T), np.cov(y.T)
    apart = x.mean(0) - y.mean(0)
    return apart @ apart + np.trace(a + b) - 2 * np.trace(sqrtm(a @ b)).real


def test_of_two_gaussians(rng):
    """Of covariances that commute: the means apart, and the deviations apart, squared."""
    deviations, others = np.array([1.0, 2, 0.5]), np.array([3.0, 1, 0.5])
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    x = with_moments(rng, 50, np.zeros(3), turn @ np.diag(deviations**2) @ turn.T)
    y = with_moments(rng, 70, np.array([1.0, -2, 0]), turn @ np.diag(others**2) @ turn.T)
    distance = frechet_distance(moments(x), moments(y))
    np.testing.assert_allclose(distance, 5 + np.sum((deviations - others) ** 2), rtol=1e-10)


def test_is_scipys(rng):
    x = rng.normal(size=(500, 64)) @ rng.normal(size=(64, 64))
    y = rng.normal(size=(400, 64)) @ rng.normal(size=(64, 64)) + 1
    np.testing.assert_allclose(frechet_distance(moments(x), moments(y)), by_definition(x, y), rtol=1e-8)


def test_of_fewer_rows_than_features(rng):
    """tr sqrt(A B) is the nuclear norm of one set's rows times the other's."""
    x, y = rng.normal(size=(7, 40)) + 1, 2 * rng.normal(size=(5, 40))
    a, b = x - x.mean(0), y - y.mean(0)
    nuclear = np.linalg.svd(a @ b.T, compute_uv=False).sum() / np.sqrt(6 * 4)
    apart = x.mean(0) - y.mean(0)
    expected = apart @ apart + np.sum(a**2) / 6 + np.sum(b**2) / 4 - 2 * nuclear
    np.testing.assert_allclose(frechet_distance(moments(x), moments(y)), expected, rtol=1e-8)
    np.testing.assert_allclose(frechet_distance(moments(y), moments(x)), expected, rtol=1e-8)


def test_of_deviations_over_six_decades(rng):
    """As of networks' features; the roots of products of small variances lose most digits first."""
    mix = np.logspace(0, -6, 100)[:, None] * rng.normal(size=(100, 100))
    x, y = (rng.normal(size=(400, 100)) @ mix for _ in range(2))
    a, b = x - x.mean(0), y - y.mean(0)
    nuclear = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    expected = np.sum((x.mean(0) - y.mean(0)) ** 2) + (np.sum(a**2) + np.sum(b**2) - 2 * nuclear) / 399
    np.testing.assert_allclose(frechet_distance(moments(x), moments(y)), expected, rtol=1e-11)


def test_of_equal_and_of_constant_features(rng):
    x = rng.normal(size=(100, 10))
    assert 0 <= frechet_distance(moments(x), moments(x)) < 1e-10
    black = np.zeros((20, 10))
    assert frechet_distance(moments(black), moments(black)) == 0
    np.testing.assert_allclose(
        frechet_distance(moments(black), moments(x)),
        np.sum(x.mean(0) ** 2) + np.trace(np.cov(x.T)),
        rtol=1e-12,
    )


@pytest.mark.parametrize("far", [0.0, 1e6])
def test_parts_and_order_change_nothing(rng, far, monkeypatch):
    """Also far from the origin, where products of raw features would lose all digits of the variance."""
    x, y = rng.normal(size=(1000, 8)), 2 * rng.normal(size=(900, 8))
    whole = frechet_distance(moments(x), moments(y))
    parts = None
    monkeypatch.setattr("jaxgan.scoring.formulas.frechet.BLOCK", 64)
    for part in np.array_split(x[rng.permutation(1000)], [1, 8, 400]):
        parts = moments(part + far, parts)
    assert parts.rows == 1000
    np.testing.assert_allclose(frechet_distance(parts, moments(y + far)), whole, rtol=1e-6)


def test_infinity_takes_the_bias_away(rng):
    d, n = 32, 1500
    real = moments(with_moments(rng, 4000, np.zeros(d), np.eye(d)))
    fake = 1.2 * rng.normal(size=(n, d))
    true = d * 0.2**2
    biased, found = frechet_distance(real, moments(fake)), frechet_infinity(real, fake, seed=1)
    assert biased - true > 0.2
    assert abs(found.value - true) < 0.3 * (biased - true)
    assert found.distances[-1] == pytest.approx(biased)
    assert found == frechet_infinity(real, fake, seed=1)


def test_the_error_is_that_of_leaving_one_out_and_the_spread_of_scores(rng):
    real = moments(rng.normal(size=(2000, 4)))
    draws = [1.3 * rng.normal(size=(300, 4)) for _ in range(60)]
    left_out = [frechet_distance(real, moments(np.delete(draws[0], i, 0))) for i in range(300)]
    by_hand = np.sqrt(299 / 300 * np.sum((left_out - np.mean(left_out)) ** 2))
    assert frechet_error(real, draws[0]) == pytest.approx(by_hand, rel=0.05)  # alike to first order
    spread = np.std([frechet_distance(real, moments(x)) for x in draws], ddof=1)
    assert 0.7 < np.mean([frechet_error(real, x) for x in draws]) / spread < 1.5


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.zeros((0, 3)), "at least 1"),
        (np.zeros(3), r"real numbers \[N, d\]"),
        (np.array([["a"]]), "real numbers"),
        (np.array([[1j]]), "real numbers"),
        (np.array([[0.0, 1], [np.nan, 1]]), "not finite .first in row 1"),
    ],
)
def test_bad_features_are_refused(features, message):
    with pytest.raises(ValueError, match=message):
        moments(features)


def test_what_does_not_fit_is_refused(rng):
    x = moments(rng.normal(size=(5, 3)))
    with pytest.raises(ValueError, match="4 wide"):
        moments(np.zeros((2, 4)), x)
    with pytest.raises(ValueError, match="3 and 4 wide"):
        frechet_distance(x, moments(np.zeros((2, 4))))
    with pytest.raises(ValueError, match="at least 2 rows"):
        frechet_distance(x, moments(np.zeros((1, 3))))
    with pytest.raises(ValueError, match="at least 2"):
        frechet_error(x, np.zeros((1, 3)))
    with pytest.raises(ValueError, match="sizes must be"):
        frechet_infinity(x, np.zeros((5, 3)), sizes=[5, 6])
