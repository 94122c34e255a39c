"""The adversarial losses against their definitions in float64, and where softplus must save them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.objectives import losses

LOSSES = [losses.minimax, losses.non_saturating]


def log_sigmoid(x):
    """log(1 / (1 + exp(-x))) in float64, by the branch that does not overflow."""
    x = np.asarray(x, np.float64)
    return np.where(x < 0, x - np.log1p(np.exp(-np.abs(x))), -np.log1p(np.exp(-np.abs(x))))


@pytest.fixture
def logits(rng):
    return (rng.normal(scale=5, size=(2, 64))).astype(np.float32)


@pytest.mark.parametrize("loss", LOSSES)
def test_discriminator_is_the_cross_entropy_of_equation_1(loss, logits):
    real, fake = logits
    # 1 - sigmoid(x) = sigmoid(-x)
    expected = -log_sigmoid(real).mean() - log_sigmoid(-fake.astype(np.float64)).mean()
    np.testing.assert_allclose(loss.discriminator(real, fake), expected, rtol=1e-6)


def test_generators_are_the_papers_two(logits):
    _, fake = logits
    np.testing.assert_allclose(
        losses.minimax.generator(fake), log_sigmoid(-fake.astype(np.float64)).mean(), rtol=1e-6
    )
    np.testing.assert_allclose(losses.non_saturating.generator(fake), -log_sigmoid(fake).mean(), rtol=1e-6)


def test_values_by_hand():
    """D = 3/4 on real, 1/4 on fake images: logits +-log 3."""
    real, fake = jnp.array([np.log(3.0)], jnp.float32), jnp.array([-np.log(3.0)], jnp.float32)
    np.testing.assert_allclose(losses.minimax.discriminator(real, fake), 2 * np.log(4 / 3), rtol=1e-6)
    np.testing.assert_allclose(losses.minimax.generator(fake), np.log(3 / 4), rtol=1e-6)
    np.testing.assert_allclose(losses.non_saturating.generator(fake), np.log(4), rtol=1e-6)


def test_the_optimum_is_two_log_two():
    """Where generated images are distributed as real ones D = 1/2 is best, and no logit near it does better."""
    np.testing.assert_allclose(
        losses.minimax.discriminator(jnp.zeros(4), jnp.zeros(4)), 2 * np.log(2), rtol=1e-6
    )
    same = jnp.array([0.3, -0.1, 0.0, 0.2])
    assert losses.minimax.discriminator(same, same) > 2 * np.log(2)
    np.testing.assert_allclose(
        jax.grad(lambda x: losses.minimax.discriminator(x, x))(jnp.zeros(4)), np.zeros(4), atol=1e-7
    )


def test_minimax_is_zero_sum_in_what_the_generator_moves(logits):
    real, fake = logits
    discriminator = jax.grad(losses.minimax.discriminator, 1)(real, fake)
    generator = jax.grad(losses.minimax.generator)(fake)
    np.testing.assert_array_equal(discriminator, -generator)
    # And the values differ by the real part alone, which the generator cannot move.
    total = losses.minimax.discriminator(real, fake) + losses.minimax.generator(fake)
    np.testing.assert_allclose(total, -log_sigmoid(real).mean(), rtol=1e-5)


def test_gradients_are_sigmoids(logits):
    real, fake = logits
    n = len(real)
    sigmoid = lambda x: 1 / (1 + np.exp(-x.astype(np.float64)))  # noqa: E731
    d_real, d_fake = jax.grad(losses.minimax.discriminator, (0, 1))(real, fake)
    np.testing.assert_allclose(d_real, (sigmoid(real) - 1) / n, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(d_fake, sigmoid(fake) / n, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(
        jax.grad(losses.non_saturating.generator)(fake), (sigmoid(fake) - 1) / n, rtol=1e-4, atol=1e-9
    )
    np.testing.assert_allclose(
        jax.grad(losses.minimax.generator)(fake), -sigmoid(fake) / n, rtol=1e-4, atol=1e-9
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_values_and_gradients_hold_at_logits_of_ten_thousand(sign):
    """Written with log(sigmoid(x)) these are inf and NaN: sigmoid(-1e4) is 0 in float32."""
    x = jnp.full(2, sign * 1e4)
    up, down = (1e4, 0.0) if sign > 0 else (0.0, 1e4)  # softplus(x), softplus(-x)
    half = 0.5  # a mean over two
    cases = [
        (
            lambda x: losses.minimax.discriminator(x, jnp.zeros(1)),
            down + np.log(2),
            -half if sign < 0 else 0.0,
        ),
        (lambda x: losses.minimax.discriminator(jnp.zeros(1), x), up + np.log(2), half if sign > 0 else 0.0),
        (losses.minimax.generator, -up, -half if sign > 0 else 0.0),
        (losses.non_saturating.generator, down, -half if sign < 0 else 0.0),
    ]
    for loss, value, slope in cases:
        found, gradient = jax.value_and_grad(loss)(x)
        np.testing.assert_allclose(found, value, rtol=1e-6)
        np.testing.assert_allclose(gradient, [slope, slope], atol=1e-7)


def test_the_saturating_gradient_vanishes_where_the_other_is_full():
    """D(G(z)) near 0, as early in training: the slopes are -D(G(z)) and D(G(z)) - 1."""
    fake = jnp.array([-20.0])
    d = np.exp(-20.0)
    np.testing.assert_allclose(jax.grad(losses.minimax.generator)(fake), [-d], rtol=1e-4)
    np.testing.assert_allclose(jax.grad(losses.non_saturating.generator)(fake), [-1.0], rtol=1e-6)


def test_hinge_against_its_definition(logits):
    """V = E[min(0, -1 + D(x))] + E[min(0, -1 - D(G(z)))] is what the paper's discriminator maximises."""
    real, fake = logits.astype(np.float64)
    expected = -(np.minimum(0, -1 + real).mean() + np.minimum(0, -1 - fake).mean())
    np.testing.assert_allclose(losses.hinge.discriminator(*logits), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.hinge.generator(logits[1]), -fake.mean(), rtol=1e-6)


def test_hinge_by_hand_and_beyond_its_margins():
    real, fake = jnp.array([3.0, 0.5, -2.0, 1e4]), jnp.array([-3.0, -0.5, 2.0, -1e4])
    np.testing.assert_allclose(losses.hinge.discriminator(real, fake), 2 * (0.5 + 3) / 4)
    np.testing.assert_allclose(losses.hinge.discriminator(jnp.zeros(3), jnp.zeros(3)), 2)
    slopes = jax.grad(losses.hinge.discriminator, (0, 1))(real, fake)
    np.testing.assert_array_equal(slopes[0], [0, -0.25, -0.25, 0])
    np.testing.assert_array_equal(slopes[1], [0, 0.25, 0.25, 0])


def test_wasserstein_is_the_difference_of_means_and_zero_sum_in_what_the_generator_moves(logits):
    real, fake = logits
    expected = fake.astype(np.float64).mean() - real.astype(np.float64).mean()
    np.testing.assert_allclose(losses.wasserstein.discriminator(real, fake), expected, rtol=1e-5)
    total = losses.wasserstein.discriminator(real, fake) + losses.wasserstein.generator(fake)
    np.testing.assert_allclose(total, -real.astype(np.float64).mean(), rtol=1e-5)
    slopes = jax.grad(losses.wasserstein.discriminator, (0, 1))(real, fake)
    for slope, sign in zip(slopes, (-1, 1), strict=True):
        np.testing.assert_allclose(slope, np.full(64, sign / 64))
    np.testing.assert_allclose(jax.grad(losses.wasserstein.generator)(fake), np.full(64, -1 / 64))


def test_wasserstein_finds_the_distance_of_shifted_points():
    """Among the 1-Lipschitz linear critics w x, |w| <= 1, the least loss is minus the distance of the two: 3."""
    x = jnp.linspace(-1, 1, 5)
    found = [losses.wasserstein.discriminator(w * (x + 3), w * x) for w in np.linspace(-1, 1, 21)]
    np.testing.assert_allclose(min(found), -3, rtol=1e-6)
