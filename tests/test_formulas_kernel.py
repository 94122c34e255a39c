"""Kernel distance and Inception score against sums written out."""

import numpy as np
import pytest

from jaxgan.scoring.formulas import inception_score, kernel_distance
from jaxgan.scoring.formulas.kernel import subsets


def unbiased_mmd(x, y):
    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    n, m = len(x), len(y)
    within_x = sum(k(x[i], x[j]) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    within_y = sum(k(y[i], y[j]) for i in range(m) for j in range(m) if i != j) / (m * (m - 1))
    return within_x + within_y - 2 * sum(k(a, b) for a in x for b in y) / (n * m)


def test_kernel_distance_is_the_mean_over_its_subsets(rng):
    x, y = rng.normal(size=(30, 5)), rng.normal(size=(20, 5)) + 0.5
    found = kernel_distance(x, y, number=4, size=7, seed=3)
    rows = zip(subsets(30, 7, 4, 3), subsets(20, 7, 4, 4), strict=True)
    parts = [unbiased_mmd(x[i], y[j]) for i, j in rows]
    np.testing.assert_allclose(found.parts, parts, rtol=1e-10)
    assert found.value == pytest.approx(np.mean(parts))


def test_the_error_of_the_kernel_distance_is_a_u_statistics(rng):
    """Twice the deviation of what each image adds, over the root of how many there are; each term summed up alone."""

    def k(a, b):
        return (a @ b / len(a) + 1) ** 3

    x, y = rng.normal(size=(9, 3)), rng.normal(size=(9, 3)) + 0.5
    alike = [np.mean([k(a, y[j]) for j in range(9) if j != i]) for i, a in enumerate(y)]
    each = [own - np.mean([k(a, b) for b in x]) for a, own in zip(y, alike, strict=True)]
    found = kernel_distance(x, y, number=3, size=9)
    assert found.error == pytest.approx(2 * np.std(each, ddof=1) / 3)


def test_kernel_distance_is_unbiased(rng):
    """Of sets of one distribution it is 0 on average, however few they are."""
    found = [kernel_distance(*rng.normal(size=(2, 10, 4)), number=1).value for _ in range(2000)]
    assert abs(np.mean(found)) < 4 * np.std(found) / np.sqrt(len(found))


def test_subsets_are_whole_sets_at_most(rng):
    x, y = rng.normal(size=(6, 3)), rng.normal(size=(9, 3))
    assert len(set(np.round(kernel_distance(x, y[:6], number=3, size=100).parts, 12))) == 1
    assert sorted(subsets(6, 6, 1, 0)[0]) == list(range(6))


def test_inception_score_of_known_predictions(rng):
    certain = 50 * np.eye(4)[np.arange(40) % 4]
    assert inception_score(certain, splits=1).value == pytest.approx(4)
    assert inception_score(np.zeros((40, 4)), splits=5).value == pytest.approx(1)
    collapsed = 50 * np.eye(4)[np.zeros(40, int)]
    assert inception_score(collapsed).value == pytest.approx(1)
    logits = rng.normal(size=(9, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    parts = []
    for rows in (p[:5], p[5:]):
        kl = [sum(q * np.log(q / rows.mean(0)[c]) for c, q in enumerate(row)) for row in rows]
        parts.append(np.exp(np.mean(kl)))
    found = inception_score(logits, splits=2)
    np.testing.assert_allclose(found.parts, parts, rtol=1e-12)
    only = inception_score(logits, splits=1)
    p_of_all = p.mean(0)
    kl = np.array([sum(q * np.log(q / p_of_all[c]) for c, q in enumerate(row)) for row in p])
    assert only.error == pytest.approx(
        only.value * kl.std(ddof=1) / 3
    )  # the exponential's slope times the mean's error


def test_bad_input_is_refused(rng):
    x = rng.normal(size=(5, 3))
    with pytest.raises(ValueError, match="2 wide"):
        kernel_distance(x, x[:, :2])
    with pytest.raises(ValueError, match="at least 2"):
        kernel_distance(x, x[:1])
    with pytest.raises(ValueError, match="number is 0"):
        kernel_distance(x, x, number=0)
    with pytest.raises(ValueError, match="at least 6"):
        inception_score(x, splits=6)
    with pytest.raises(ValueError, match="splits is 0"):
        inception_score(x, splits=0)
