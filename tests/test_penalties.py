"""Penalties against closed forms in float64, and against one example's gradient at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.objectives import penalties

pytestmark = pytest.mark.usefixtures("quick_programs")

N, SHAPE = 5, (2, 3, 1)
SIZE = 6


@pytest.fixture
def images(rng):
    """Real images, generated ones, and how to mix them."""
    real, fake = rng.normal(size=(2, N, *SHAPE)).astype(np.float32)
    return real, fake, rng.uniform(size=N).astype(np.float32)


def rows(x):
    return x.reshape(len(x), -1)


def test_a_linear_critic_has_one_slope_everywhere(images, rng):
    """f(x) = a.x + 3."""
    real, fake, mix = images
    a = rng.normal(size=SIZE).astype(np.float32)
    critic = lambda x: rows(x) @ a + 3  # noqa: E731
    length = np.linalg.norm(a.astype(np.float64))
    np.testing.assert_allclose(
        penalties.gradient_penalty(critic, real, fake, mix), (length - 1) ** 2, rtol=1e-5
    )
    np.testing.assert_allclose(penalties.r1(critic, real), length**2 / 2, rtol=1e-6)
    np.testing.assert_allclose(penalties.r2(critic, fake), length**2 / 2, rtol=1e-6)
    # Two-sided: a slope of 1 is the only one that costs nothing, and flatter costs as much as steeper.
    for scale, value in ((1, 0), (0.5, 0.25), (1.5, 0.25)):
        found = penalties.gradient_penalty(
            lambda x, s=scale: s * critic(x) / np.float32(length), real, fake, mix
        )
        np.testing.assert_allclose(found, value, atol=1e-6)


def test_a_quadratic_critic_tells_where_it_was_asked(images, rng):
    """f(x) = x'Ax / 2 + b.x has the gradient Ax + b."""
    real, fake, mix = images
    a = rng.normal(size=(SIZE, SIZE))
    a, b = (a + a.T) / 2, rng.normal(size=SIZE)
    A, B = a.astype(np.float32), b.astype(np.float32)
    critic = lambda x: jnp.sum((rows(x) @ A) * rows(x), 1) / 2 + rows(x) @ B  # noqa: E731
    slopes = lambda x: np.linalg.norm(rows(x.astype(np.float64)) @ a + b, axis=1)  # noqa: E731
    between = np.stack([m * r + (1 - m) * f for m, r, f in zip(mix, real, fake, strict=True)])
    cases = {
        "between": (mix, between),
        "real": (np.ones(N, np.float32), real),
        "fake": (np.zeros(N, np.float32), fake),
    }
    for weights, where in cases.values():
        found = penalties.gradient_penalty(critic, real, fake, weights)
        np.testing.assert_allclose(found, np.mean((slopes(where) - 1) ** 2), rtol=1e-5)
    np.testing.assert_allclose(penalties.r1(critic, real), np.mean(slopes(real) ** 2) / 2, rtol=1e-5)
    np.testing.assert_allclose(penalties.r2(critic, fake), np.mean(slopes(fake) ** 2) / 2, rtol=1e-5)


def two_layers(x, w, v):
    """The squared slope of v.tanh(xW), W[j, k], is |W (v (1 - tanh^2))|^2: NumPy, in float64."""
    hidden = np.tanh(rows(x) @ w)
    return np.sum(((1 - hidden**2) * v @ w.T) ** 2, 1)


@pytest.mark.parametrize("name", ["gradient_penalty", "r1"])
def test_gradients_in_the_critics_parameters_are_finite_differences_of_the_closed_form(name, images, rng):
    real, fake, mix = images
    w, v = rng.normal(size=(SIZE, 4)) / 2, rng.normal(size=4)

    def closed(w, v):
        if name == "r1":
            return np.mean(two_layers(real.astype(np.float64), w, v)) / 2
        m = mix[:, None, None, None].astype(np.float64)
        return np.mean((np.sqrt(two_layers(m * real + (1 - m) * fake, w, v)) - 1) ** 2)

    def ours(params):
        critic = lambda x: jnp.tanh(rows(x) @ params[0]) @ params[1]  # noqa: E731
        if name == "r1":
            return penalties.r1(critic, real)
        return penalties.gradient_penalty(critic, real, fake, mix)

    value, grads = jax.value_and_grad(ours)((jnp.float32(w), jnp.float32(v)))
    np.testing.assert_allclose(value, closed(w, v), rtol=1e-5)
    step = 1e-6
    for parameter, grad in zip((w, v), grads, strict=True):
        slopes = np.empty_like(parameter)
        for i in np.ndindex(parameter.shape):
            at = parameter[i]
            parameter[i] = at + step
            above = closed(w, v)
            parameter[i] = at - step
            slopes[i] = (above - closed(w, v)) / (2 * step)
            parameter[i] = at
        np.testing.assert_allclose(grad, slopes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("flat", [slice(0, N), slice(0, 2)], ids=["all", "some"])
def test_a_flat_critic_costs_one_and_has_finite_gradients(flat, images):
    """The square root has no slope at 0; examples beside a flat one keep theirs."""
    real, fake, mix = images
    here = np.ones(N, np.float32)
    here[flat] = 0

    def value(scale):
        critic = lambda x: scale * here * jnp.sum(rows(x), 1)  # noqa: E731
        return penalties.gradient_penalty(critic, real, fake, mix)

    found, slope = jax.value_and_grad(value)(1.0)
    steep = here.mean()
    np.testing.assert_allclose(found, (1 - steep) + steep * (np.sqrt(SIZE) - 1) ** 2, rtol=1e-6)
    np.testing.assert_allclose(slope, steep * 2 * (np.sqrt(SIZE) - 1) * np.sqrt(SIZE), rtol=1e-5)


def test_a_bfloat16_critic_is_penalised_in_float32(images):
    real, fake, mix = images
    critic = lambda x: jnp.sum(jnp.square(rows(x.astype(jnp.bfloat16))), 1).astype(jnp.float32)  # noqa: E731
    for found in (penalties.gradient_penalty(critic, real, fake, mix), penalties.r1(critic, real)):
        assert found.dtype == jnp.float32
    expected = np.mean(np.sum((2 * rows(real)) ** 2, 1)) / 2
    np.testing.assert_allclose(penalties.r1(critic, real), expected, rtol=0.01)


@pytest.mark.parametrize(
    ("fake", "mix"), [((N, 2, 3, 3), (N,)), ((1, *SHAPE), (N,)), ((N, *SHAPE), (N, 1)), ((N, *SHAPE), (1,))]
)
def test_shapes_that_would_broadcast_are_refused(fake, mix):
    with pytest.raises(ValueError, match=r"one shape \[N, ...\] and mix \[N\], got \(5, 2, 3, 1\)"):
        penalties.gradient_penalty(
            lambda x: x[:, 0, 0, 0], jnp.zeros((N, *SHAPE)), jnp.zeros(fake), jnp.zeros(mix)
        )


def test_dragan_of_a_linear_critic_has_one_slope_and_of_a_quadratic_one_tells_where(images, rng):
    """Slope |a| everywhere; and x itself for |x|^2 / 2, at real + deviation / 2 * noise."""
    real, noise = images[0], rng.uniform(size=images[0].shape).astype(np.float32)
    a = rng.normal(size=SIZE).astype(np.float32)
    found = penalties.dragan(lambda x: rows(x) @ a, real, noise)
    np.testing.assert_allclose(found, (np.linalg.norm(a.astype(np.float64)) - 1) ** 2, rtol=1e-5)
    found = penalties.dragan(lambda x: jnp.sum(jnp.square(rows(x)), 1) / 2, real, noise)
    at = real.astype(np.float64) + 0.5 * real.astype(np.float64).std() * noise
    np.testing.assert_allclose(found, np.mean((np.linalg.norm(rows(at), axis=1) - 1) ** 2), rtol=1e-5)
    with pytest.raises(ValueError, match="dragan needs noise of the images' shape"):
        penalties.dragan(lambda x: x[:, 0, 0, 0], real, noise[:1])
