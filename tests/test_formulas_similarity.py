"""Structural similarity of images for which it is known."""

import numpy as np
import pytest

from jaxgan.scoring.formulas import absolute, diversity, ms_ssim, psnr, ssim
from jaxgan.scoring.formulas.similarity import WEIGHTS, scales


def test_of_equal_images_and_of_order(rng):
    x, y = rng.uniform(size=(2, 3, 28, 30, 2))
    np.testing.assert_allclose(ms_ssim(x, x, data_range=1), 1)
    np.testing.assert_allclose(ms_ssim(x, y, data_range=1), ms_ssim(y, x, data_range=1))
    assert ms_ssim(x, y, data_range=1).max() < 0.3


@pytest.mark.parametrize("size", [16, 28, 64, 180])
def test_of_flat_images(size):
    """Only the luminance of the coarsest scale is left."""
    a, b, n = 0.2, 0.7, scales(size, size)
    weight = WEIGHTS[n - 1] / sum(WEIGHTS[:n])
    expected = ((2 * a * b + 1e-4) / (a * a + b * b + 1e-4)) ** weight
    x, y = (np.full((1, size, size, 1), value) for value in (a, b))
    np.testing.assert_allclose(ms_ssim(x, y, data_range=1), expected, rtol=1e-9)
    np.testing.assert_allclose(ms_ssim(255 * x, 255 * y, data_range=255), expected, rtol=1e-9)


def test_one_scale_by_hand(rng):
    """An image of one window: means under a Gaussian of 11 by 11 pixels."""
    x, y = rng.uniform(size=(2, 11, 11))
    line = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window = np.outer(line, line) / line.sum() ** 2
    mx, my = (window * x).sum(), (window * y).sum()
    vx, vy = (window * (x - mx) ** 2).sum(), (window * (y - my) ** 2).sum()
    vxy = (window * (x - mx) * (y - my)).sum()
    c1, c2 = 1e-4, 9e-4
    expected = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    found = ms_ssim(x[None, ..., None], y[None, ..., None], data_range=1)
    np.testing.assert_allclose(found, max(expected, 0), rtol=1e-9)


def test_structural_similarity_by_its_definition(rng):
    """Window by window in plain loops, each with its Gaussian means, variances and covariance."""
    x = rng.uniform(0, 255, size=(2, 13, 15, 2))
    y = np.clip(x + rng.normal(0, 40, x.shape), 0, 255)
    line = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window = np.outer(line, line) / line.sum() ** 2
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    for image, found in enumerate(ssim(x, y, data_range=255)):
        values = []
        for top, left, channel in np.ndindex(3, 5, 2):
            a, b = (z[image, top : top + 11, left : left + 11, channel] for z in (x, y))
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb = (window * (a - ma) ** 2).sum(), (window * (b - mb) ** 2).sum()
            vab = (window * (a - ma) * (b - mb)).sum()
            values.append((2 * ma * mb + c1) * (2 * vab + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
        assert found == pytest.approx(np.mean(values), rel=1e-9)


def test_signal_to_noise_and_absolute_difference_by_hand():
    """Off by 1 and by 10 everywhere: 20 log10(255) and 20 dB less."""
    truth = np.full((2, 3, 4, 1), 100, np.uint8)
    off = truth + np.array([1, 10], np.uint8)[:, None, None, None]
    np.testing.assert_allclose(psnr(off, truth, data_range=255), [48.1308, 28.1308], atol=1e-4)
    np.testing.assert_allclose(absolute(truth, off), [1, 10])
    assert np.isinf(psnr(truth, truth, data_range=255)).all()


def test_scales_are_those_that_hold_a_window():
    assert [scales(n, 200) for n in (11, 21, 22, 44, 88, 176, 1000)] == [1, 1, 2, 3, 4, 5, 5]


def test_diversity_falls_with_copies(rng):
    x = rng.uniform(size=(20, 16, 16, 1))
    various, same = diversity(x, data_range=1), diversity(np.repeat(x[:1], 20, 0), data_range=1)
    assert same.value == pytest.approx(1)
    assert various.value < 0.3
    assert len(various.parts) == 10
    half = diversity(np.concatenate([x[:10], np.repeat(x[:1], 10, 0)]), data_range=1)
    assert various.value < half.value < same.value


def test_blocks_change_nothing(rng, monkeypatch):
    x = rng.integers(0, 256, size=(21, 16, 16, 1)).astype(np.uint8)
    whole = diversity(x, data_range=255)
    monkeypatch.setattr("jaxgan.scoring.formulas.similarity.BYTES", 3 * 8 * 256)
    np.testing.assert_array_equal(diversity(x, data_range=255).parts, whole.parts)


def test_bad_input_is_refused(rng):
    x = rng.uniform(size=(2, 16, 16, 1))
    with pytest.raises(ValueError, match="at least 11x11"):
        ms_ssim(x[:, :10], x[:, :10], data_range=1)
    with pytest.raises(ValueError, match="shapes"):
        ms_ssim(x, x[:1], data_range=1)
    with pytest.raises(ValueError, match="data_range is 0"):
        ms_ssim(x, x, data_range=0)
    with pytest.raises(ValueError, match=r"images \[N, H, W, C\]"):
        diversity(x[0], data_range=1)
    with pytest.raises(ValueError, match="at least 2 images"):
        diversity(x[:1], data_range=1)
