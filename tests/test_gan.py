"""The GAN family against updates written out with `module.apply`, and what is compiled of it."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxgan import game, losses
from jaxgan.game import Keys
from jaxgan.games import gan
from jaxgan.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator

N, Z, LR = 4, 3, 0.1
KEY = jax.random.key(0)


def dcgan(classes=0, **settings):
    return gan(
        DCGANGenerator(16, 1, 2, classes),
        DCGANDiscriminator(16, 1, 2, classes, dropout=0.2),
        latent=Z,
        generator_optimizer=optax.sgd(LR),
        discriminator_optimizer=optax.sgd(LR),
        conditional=classes > 0,
        **settings,
    )


def data(rng, turns):
    return {
        "image": jnp.asarray(rng.uniform(-1, 1, (turns, N, 16, 16, 1)), jnp.float32),
        "label": jnp.asarray(rng.integers(0, 3, (turns, N)), jnp.int32),
    }


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("loss", ["minimax", "non_saturating"])
def test_one_step_by_hand(classes, loss, rng):
    """Who sees which labels, noise and masks; whose statistics move when: D's by real then fake, G's in its turn."""
    rules, batch = dcgan(classes, loss=getattr(losses, loss)), data(rng, 2)
    state = game.init(rules, KEY, jax.tree.map(lambda x: x[0], batch))
    g, d = DCGANGenerator(16, 1, 2, classes), DCGANDiscriminator(16, 1, 2, classes, dropout=0.2)
    label = lambda t: batch["label"][t] if classes else None  # noqa: E731
    keys = [Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), t), N) for t in (0, 1)]

    def generate(params, t):
        z = keys[t].fold("latent").normal((Z,))
        variables = {"params": params, **state.stats["generator"]}
        return g.apply(variables, z, label(t), train=True, mutable=["batch_stats"])

    def judge(params, stats, x, t, purpose):
        masks = keys[t].fold(purpose).example
        return d.apply(
            {"params": params, **stats}, x, label(t), train=True, keys=masks, mutable=["batch_stats"]
        )

    def d_value(params):
        real, stats = judge(params, state.stats["discriminator"], batch["image"][0], 0, "real")
        fake, stats = judge(params, stats, generate(state.params["generator"], 0)[0], 0, "fake")
        return -jnp.mean(jnp.log(jax.nn.sigmoid(real))) - jnp.mean(jnp.log(1 - jax.nn.sigmoid(fake))), stats

    (d_loss, d_stats), grads = jax.value_and_grad(d_value, has_aux=True)(state.params["discriminator"])
    d_params = jax.tree.map(lambda p, x: p - LR * x, state.params["discriminator"], grads)

    def g_value(params):
        fake, stats = generate(params, 1)
        p = jax.nn.sigmoid(judge(d_params, state.stats["discriminator"], fake, 1, "fake")[0])
        return (-jnp.mean(jnp.log(p)) if loss == "non_saturating" else jnp.mean(jnp.log(1 - p))), stats

    (g_loss, g_stats), grads = jax.value_and_grad(g_value, has_aux=True)(state.params["generator"])
    g_params = jax.tree.map(lambda p, x: p - LR * x, state.params["generator"], grads)

    new, metrics = jax.jit(lambda s, b: game.step(rules, s, b))(state, batch)
    expected = (
        {"generator": g_params, "discriminator": d_params},
        {"generator": g_stats, "discriminator": d_stats},
    )
    for got, want in zip((new.params, new.stats), expected, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6), got, want)
    np.testing.assert_allclose(metrics["discriminator/loss"], d_loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["generator/loss"], g_loss, rtol=1e-5)


def compiled(rules, batch):
    state = game.init(rules, KEY, jax.tree.map(lambda x: x[0], batch))
    return state, jax.jit(lambda s, b: game.step(rules, s, b)).lower(state, batch).compile()


def convolutions(program):
    return len(re.findall(r" = \S+ convolution\(", program.as_text()))


def test_with_shared_draws_the_generator_runs_once(rng):
    """The compiled step has one generator pass less, two convolutions at 16x16, and computes the same."""
    batch = data(rng, 1)
    state, shared = compiled(dcgan(shared_draws=True), batch)
    _, twice = compiled(dcgan(shared_draws=True)._replace(fakes=None), batch)
    assert convolutions(twice) - convolutions(shared) == 2
    for a, b in zip(jax.tree.leaves(shared(state, batch)), jax.tree.leaves(twice(state, batch)), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


def test_nothing_in_a_step_calls_the_host(rng):
    text = compiled(dcgan(), data(rng, 2))[1].as_text()
    assert "fusion" in text  # it is the text of a program
    assert not re.search(r"callback|infeed|outfeed|\bsend\(|\brecv\(", text)


def test_samples_come_from_running_statistics_and_given_latents(rng):
    rules, batch = dcgan(3), data(rng, 2)
    state = game.init(rules, KEY, jax.tree.map(lambda x: x[0], batch))
    state, _ = game.step(rules, state, batch)
    g = DCGANGenerator(16, 1, 2, 3)
    keys, label = Keys.of(KEY, 5), jnp.arange(5, dtype=jnp.int32) % 3
    z = keys.fold("latent").normal((Z,))
    expected = g.apply(state.variables("generator"), z, label, train=False)
    np.testing.assert_array_equal(rules.sample(state, keys, {"label": label}), expected)
    np.testing.assert_array_equal(
        rules.sample(state, Keys.of(KEY, 1), {"label": label, "latent": z}), expected
    )


def test_training_finds_a_gaussian():
    """A GAN on points from N((2, -1), 0.5^2) generates points with their mean and spread."""
    adam = optax.adam(1e-3, b1=0.0)
    rules = gan(
        MLPGenerator((2,), 64, 2, tanh=False),
        MLPDiscriminator(64, 2),
        latent=2,
        ema=0.999,
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    mean, spread = jnp.array([2.0, -1.0]), 0.5

    def draw(i):
        return mean[None, None] + spread * jax.random.normal(jax.random.fold_in(KEY, i), (2, 256, 2))

    state = game.init(rules, KEY, {"image": draw(0)[0]})
    body = lambda s, i: (game.step(rules, s, {"image": draw(i)})[0], None)  # noqa: E731
    state, _ = jax.jit(lambda s: jax.lax.scan(body, s, jnp.arange(3000)))(state)
    points = np.asarray(rules.sample(state.averaged(), Keys.of(jax.random.key(1), 4000), None))
    before = np.asarray(rules.sample(game.init(rules, KEY, {"image": draw(0)[0]}), Keys.of(KEY, 1000), None))
    assert np.abs(before.mean(0) - mean).max() > 0.5
    np.testing.assert_allclose(points.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(points.std(0), spread, atol=0.1)
    assert int(state.skipped) == 0
