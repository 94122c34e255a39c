"""Mode coverage of samples whose modes are known by construction."""

import numpy as np
import pytest

from jaxgan.scoring.formulas import GRID, RING, class_modes, gaussian_modes


def test_ring_and_grid_are_the_papers():
    np.testing.assert_allclose(np.linalg.norm(RING, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(RING - np.roll(RING, 1, 0), axis=1), 2 * np.sin(np.pi / 8))
    assert sorted(map(tuple, GRID)) == sorted(
        (float(x), float(y)) for x in range(-4, 5, 2) for y in range(-4, 5, 2)
    )


def test_of_known_samples():
    """Three of eight modes in shares of 1/2, 1/4, 1/4, and one sample in four too far away."""
    samples = np.concatenate([RING[[0, 0, 1]] + [0.02, 0], RING[[2]] * 1.5])
    found = gaussian_modes(samples, RING, 0.01)
    assert (found.modes, found.high_quality) == (2, 0.75)
    expected = 0.5 * np.log(0.5 * 8) + 2 * 0.25 * np.log(0.25 * 8)
    assert found.reverse_kl == pytest.approx(expected)
    assert gaussian_modes(RING[[0]] + [0.0301, 0], RING, 0.01).high_quality == 0
    assert gaussian_modes(RING[[0]] + [0.0299, 0], RING, 0.01).high_quality == 1


@pytest.mark.parametrize(("means", "deviation"), [(RING, 0.01), (GRID, 0.05)])
def test_of_real_and_of_collapsed_samples(means, deviation, rng):
    real = means[rng.integers(len(means), size=2500)] + deviation * rng.normal(size=(2500, 2))
    found = gaussian_modes(real, means, deviation)
    assert found.modes == len(means)
    assert found.high_quality == pytest.approx(
        1 - np.exp(-4.5), abs=0.006
    )  # within three deviations in the plane
    assert found.reverse_kl < 0.02
    assert gaussian_modes(means[[3] * 10], means, deviation) == (1, 1, pytest.approx(np.log(len(means))))


def test_of_classes(rng):
    everything = np.stack(np.meshgrid(*[np.arange(10)] * 3), -1).reshape(-1, 3)
    assert class_modes(everything, 10) == (1000, 1, pytest.approx(0))
    assert class_modes(everything[:100], 10).modes == 100
    assert class_modes([[1, 2, 3], [1, 2, 3], [3, 2, 1], [0, 0, 0]], 10) == (
        3,
        1,
        pytest.approx(0.5 * np.log(500) + 2 * 0.25 * np.log(250)),
    )


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="deviation is 0"):
        gaussian_modes(RING, RING, 0)
    with pytest.raises(ValueError, match="3 wide"):
        gaussian_modes(np.zeros((4, 3)), RING, 0.01)
    with pytest.raises(ValueError, match="run from 0 to 10"):
        class_modes([[0, 10]], 10)
    with pytest.raises(ValueError, match="must be integers"):
        class_modes(np.zeros((2, 3)), 10)
