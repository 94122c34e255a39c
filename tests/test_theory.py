"""The GAN on the line: densities against closed forms, and a short run that ends where theory says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from quick import quickly
from scipy import integrate, stats

from jaxgan import theory
from jaxgan.cli import main
from jaxgan.theory import Mixture

EDGES = np.linspace(-6, 6, 241)
ONE = Mixture((0.5,), (1.0,), (1.0,))


def density(x, mixture):
    parts = zip(mixture.means, mixture.deviations, mixture.shares, strict=True)
    return sum(share * stats.norm.pdf(x, mean, deviation) for mean, deviation, share in parts)


def test_mixture_is_drawn_from_its_density():
    mixture = Mixture()
    cumulated = integrate.cumulative_simpson(density(EDGES, mixture), x=EDGES, initial=0)
    np.testing.assert_allclose(mixture.below(EDGES), cumulated, atol=1e-5)
    drawn = np.asarray(mixture.draw(jax.random.key(0), 20_000))
    assert drawn.shape == (20_000, 1)
    assert stats.kstest(drawn[:, 0], mixture.below).pvalue > 0.01
    low, high = mixture.range
    assert low < drawn.min() < drawn.max() < high


def test_generated_density_is_that_of_the_map():
    """An affine map of a Gaussian is a Gaussian."""
    now = theory.measure(7, lambda z: 0.7 * z - 1, lambda x: 0 * x[:, 0], ONE, EDGES)
    exact = np.diff(stats.norm.cdf(EDGES, -1, 0.7)) / np.diff(EDGES)
    assert now.step == 7
    np.testing.assert_allclose(now.generated, exact, atol=1e-3)
    np.testing.assert_allclose(now.data, np.diff(stats.norm.cdf(EDGES, 0.5)) / np.diff(EDGES), atol=1e-12)


def test_noise_widens_both_densities():
    """The variances of independent Gaussians add up."""
    now = theory.measure(0, lambda z: 0.7 * z - 1, lambda x: 0 * x[:, 0], ONE, EDGES, noise=0.3)
    for found, mean, deviation in ((now.generated, -1, 0.7), (now.data, 0.5, 1)):
        exact = np.diff(stats.norm.cdf(EDGES, mean, np.hypot(deviation, 0.3))) / np.diff(EDGES)
        np.testing.assert_allclose(found, exact, atol=1e-3)


def test_best_discriminator_and_its_value():
    """Theorem 1: against the best discriminator the game is worth 2 JSD(p_data, p_g) - log 4."""
    data, made = Mixture((0.0,), (1.0,), (1.0,)), stats.norm(0.5, 1.2)
    logits = lambda x: jnp.asarray(stats.norm.logpdf(x) - made.logpdf(x))[:, 0]  # noqa: E731
    now = theory.measure(0, lambda z: 1.2 * z + 0.5, logits, data, EDGES)

    def divergence(x):
        p, q = stats.norm.pdf(x), made.pdf(x)
        return (p * np.log(2 * p / (p + q)) + q * np.log(2 * q / (p + q))) / 2

    assert now.value == pytest.approx(2 * integrate.quad(divergence, -9, 9)[0] - np.log(4), abs=1e-3)
    assert now.error < 5e-3
    p = lambda x: abs(stats.norm.pdf(x) - made.pdf(x)) / 2  # noqa: E731
    assert now.distance == pytest.approx(integrate.quad(p, -9, 9, limit=200)[0], abs=1e-3)


def test_discriminator_is_judged_where_the_data_lives():
    """99% of a Gaussian lie within 2.576 deviations; an error of D beyond is no error."""
    wrong = lambda x: jnp.where(jnp.abs(x[:, 0]) > 2.7, 5.0, jnp.where(x[:, 0] > 2, 0.4, 0.0))  # noqa: E731
    now = theory.measure(0, lambda z: z, wrong, Mixture((0.0,), (1.0,), (1.0,)), EDGES)
    assert np.abs(now.centers[now.lives]).max() == pytest.approx(2.576, abs=0.05)
    assert now.error == pytest.approx(1 / (1 + np.exp(-0.4)) - 0.5, abs=0.02)


def test_generator_that_is_lost():
    """What lies outside counts as at the end: D can be sure of everything, and the value is 0."""
    sure = lambda x: jnp.where(x[:, 0] > 5.9, -40.0, 40.0)  # noqa: E731
    now = theory.measure(0, lambda z: 0 * z + 100, sure, ONE, EDGES)
    assert now.distance == pytest.approx(1, abs=1e-4)
    assert now.error == pytest.approx(0, abs=1e-6)
    assert now.value == pytest.approx(0, abs=1e-4)
    wrong = theory.measure(0, lambda z: 0 * z + 100, lambda x: -20 * sure(x), ONE, EDGES)
    assert wrong.value == pytest.approx(-1600, rel=1e-3)  # both sides pay their logit, 800


@pytest.mark.slow
def test_short_run_ends_near_theory(monkeypatch):
    """Of two Gaussians: with four seeds D came within 0.028 to 0.036 of the best."""
    monkeypatch.setattr(theory, "MOMENTS", 6)
    two = Mixture((-1.0, 1.0), (0.5, 0.5), (0.5, 0.5))
    first, *_, last = theory.train(1000, data=two, batch_size=512)
    assert abs(first.value - theory.END) > 0.2
    assert first.distance > 0.5
    assert last.value == pytest.approx(theory.END, abs=0.05)
    assert last.error < 0.05
    assert last.distance < 0.05


@pytest.mark.slow
def test_run_repeats_and_depends_on_its_seed():
    with quickly():
        runs = [list(theory.train(9, seed, width=8, batch_size=16)) for seed in (0, 0, 1)]
    for a, b, c in zip(*runs, strict=True):
        assert a.judged.tobytes() == b.judged.tobytes()
        assert a.generated.tobytes() == b.generated.tobytes()
        assert a.judged.tobytes() != c.judged.tobytes()
    steps = [now.step for now in runs[0]]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, 9)


@pytest.mark.slow
def test_pictures(tmp_path, capsys):
    out = tmp_path / "new" / "theory"
    with quickly():
        assert main(["theory", "--out", str(out), "--steps", "4", "--quiet"]) == 0
    said = capsys.readouterr().err
    assert "-1.3863" in said
    with Image.open(out / "theory.png") as sheet:
        assert min(sheet.size) > 500
    with Image.open(out / "theory.gif") as moving:
        assert moving.n_frames == len(theory.moments(4))
        assert moving.info["loop"] == 0


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--steps", "0"], "--steps is 0"),
        (["--seed", "-1"], "--seed is -1"),
        (["--out", "{file}"], "name another place"),
        (["--out", "{file}/below"], "name another place"),
        (["--out", "x" * 300], "name another place"),
    ],
)
def test_mistakes(given, named, tmp_path, capsys):
    (tmp_path / "file").touch()
    given = [part.format(file=tmp_path / "file") for part in given]
    assert main(["theory", *given]) == 2
    assert named in capsys.readouterr().err
