"""Scores against other people's, of the same features. Those whose definitions differ say where."""

import warnings

import numpy as np
import peers
import pytest
from scipy.linalg import sqrtm

from jaxgan.scoring.formulas import (
    frechet_distance,
    inception_score,
    kernel_distance,
    manifold,
    moments,
    ms_ssim,
)
from jaxgan.scoring.formulas.kernel import subsets
from jaxgan.scoring.formulas.similarity import WEIGHTS, scales


@pytest.fixture
def pair(rng):
    """Real and generated features, correlated and at least 0 as those of networks are: float32 `[400, 32]`."""
    mix = rng.normal(size=(32, 32)) / 4
    real, fake = rng.normal(size=(400, 32)) @ mix, (0.8 * rng.normal(size=(400, 32)) + 0.2) @ mix
    return tuple(np.maximum(x, 0).astype(np.float32) for x in (real, fake))


def test_frechet_distance_of_scipys_root(pair):
    a, b = (np.cov(x.T.astype(np.float64)) for x in pair)
    apart = np.subtract(*(x.mean(0, dtype=np.float64) for x in pair))
    expected = apart @ apart + np.trace(a + b) - 2 * np.trace(sqrtm(a @ b)).real
    assert frechet_distance(*map(moments, pair)) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_pytorch_fid(pair):
    theirs = peers.load("pytorch_fid.fid_score")
    # In float64, as its mean of float32 features would be float32.
    given = [y for x in pair for y in (x.mean(0, dtype=np.float64), np.cov(x.T.astype(np.float64)))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            expected = theirs.calculate_frechet_distance(*given)
        except TypeError as error:
            if "disp" not in str(error):
                raise
            pytest.skip("pytorch-fid 0.3 asks sqrtm for what SciPy 1.18 has not any more")
    assert frechet_distance(*map(moments, pair)) == pytest.approx(expected, rel=1e-6)


def test_frechet_distance_of_torch_fidelity(pair):
    theirs = peers.load("torch_fidelity.metric_fid")
    torch = peers.load("torch")
    given = [theirs.fid_features_to_statistics(torch.from_numpy(x.astype(np.float64))) for x in pair]
    expected = theirs.fid_statistics_to_metric(*given, verbose=False)[theirs.KEY_METRIC_FID]
    assert frechet_distance(*map(moments, pair)) == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_of_torch_fidelity(pair):
    theirs = peers.load("torch_fidelity.metric_kid")
    x, y = (x.astype(np.float64) for x in pair)
    rows = zip(subsets(400, 100, 5, 1), subsets(400, 100, 5, 2), strict=True)
    expected = [theirs.kernel_mmd(x[i], y[j]) for i, j in rows]
    found = kernel_distance(*pair, number=5, size=100, seed=1)
    np.testing.assert_allclose(found.parts, expected, rtol=1e-6)
    # Their own loop, over subsets that are the whole sets. Its spread is that of the subsets, ours their mean's error.
    torch = peers.load("torch")
    options = {"kid_subsets": 1, "kid_subset_size": 400, "verbose": False}
    whole = theirs.kid_features_to_metric(torch.from_numpy(x), torch.from_numpy(y), **options)
    found = kernel_distance(*pair, number=1, size=400)
    assert found.value == pytest.approx(whole[theirs.KEY_METRIC_KID_MEAN], rel=1e-6)


def test_kernel_distance_of_torchmetrics(pair):
    theirs = peers.load("torchmetrics.image.kid")
    torch = peers.load("torch")
    x, y = (torch.from_numpy(x).double() for x in pair)
    rows = zip(subsets(400, 100, 5, 0), subsets(400, 100, 5, 1), strict=True)
    expected = [theirs.poly_mmd(x[i], y[j]) for i, j in rows]
    np.testing.assert_allclose(kernel_distance(*pair, number=5, size=100).parts, expected, rtol=1e-6)


def test_inception_score_of_torch_fidelity(rng):
    """It shuffles unless told not to; where the splits do not divide the rows, the longer ones are others than ours."""
    theirs = peers.load("torch_fidelity.metric_isc")
    torch = peers.load("torch")
    logits = (3 * rng.normal(size=(400, 10))).astype(np.float32)
    expected = theirs.isc_features_to_metric(torch.from_numpy(logits), splits=8, shuffle=False)
    found = inception_score(logits, splits=8)
    assert found.value == pytest.approx(expected[theirs.KEY_METRIC_ISC_MEAN], rel=1e-6)
    # The spread of the splits, where ours is the error of their mean.
    assert np.std(found.parts) == pytest.approx(expected[theirs.KEY_METRIC_ISC_STD], rel=1e-6)


def test_inception_score_of_torchmetrics(rng, monkeypatch):
    """It always shuffles, and its splits are all as long as the first: 400 rows in 8 are the same as ours."""
    theirs = peers.load("torchmetrics.image.inception")
    torch = peers.load("torch")
    logits = 3 * rng.normal(size=(400, 10))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps all features
        metric = theirs.InceptionScore(torch.nn.Identity(), splits=8)
    metric.update(torch.from_numpy(logits))
    monkeypatch.setattr(theirs.torch, "randperm", torch.arange)
    mean, spread = metric.compute()
    found = inception_score(logits, splits=8)
    assert found.value == pytest.approx(float(mean), rel=1e-6)
    assert np.std(found.parts, ddof=1) == pytest.approx(float(spread), rel=1e-6)


@pytest.mark.parametrize("save_cpu_ram", [False, True])
def test_precision_and_recall_of_torch_fidelity(pair, save_cpu_ram):
    theirs = peers.load("torch_fidelity.metric_prc")
    torch = peers.load("torch")
    real, fake = (torch.from_numpy(x).double() for x in pair)
    options = {"prc_neighborhood": 3, "save_cpu_ram": save_cpu_ram, "verbose": False}
    expected = theirs.prc_features_to_metric(fake, real, **options)
    found = manifold(*pair, k=3)
    for name, value in (("precision", found.precision), ("recall", found.recall)):
        assert 40 < 400 * value < 399  # not all or nothing
        assert round(400 * value) == round(400 * expected[name])


def test_precision_recall_density_and_coverage_of_prdc(pair, capsys):
    """It leaves out what lies on a ball's surface, which matters for copies alone."""
    theirs = peers.load("prdc")
    real, fake = (x.astype(np.float64) for x in pair)
    expected = theirs.compute_prdc(real, fake, 5)
    found = manifold(*pair, k=5, density_k=5)
    for name in ("precision", "recall", "coverage"):
        assert round(400 * getattr(found, name)) == round(400 * expected[name])
    assert round(5 * 400 * found.density) == round(5 * 400 * expected["density"])


@pytest.mark.parametrize("size", [45, 180])
def test_similarity_of_torchmetrics_scales(size, rng):
    """Put together by hand: its multiscale similarity takes mirrored edges into the coarsest scale, up to 1% apart."""
    theirs = peers.load("torchmetrics.functional.image.ssim").structural_similarity_index_measure
    torch = peers.load("torch")
    coarse = rng.uniform(size=(4, size // 5, size // 5, 3)).repeat(5, 1).repeat(5, 2)
    x, y = (np.clip(coarse + 0.3 * rng.normal(size=coarse.shape), 0, 1) for _ in range(2))
    weights = np.array(WEIGHTS[: scales(size, size)])
    expected, a, b = 1.0, *(torch.from_numpy(z.transpose(0, 3, 1, 2)) for z in (x, y))
    for i, weight in enumerate(weights / weights.sum()):
        if i < len(weights) - 1:
            _, found = theirs(a, b, reduction="none", data_range=1.0, return_contrast_sensitivity=True)
        else:
            _, full = theirs(a, b, reduction="none", data_range=1.0, return_full_image=True)
            found = full[..., 5:-5, 5:-5].mean((1, 2, 3))
        expected *= found**weight
        a, b = (torch.nn.functional.avg_pool2d(z, 2) for z in (a, b))
    np.testing.assert_allclose(ms_ssim(x, y, data_range=1), expected, rtol=1e-9)
