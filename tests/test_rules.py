"""All rules with each other: every loss and penalty, conditional or not, and every trick takes a finite step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import quick_jit

from jaxgan import config, game, losses
from jaxgan.experiment.rules import LOSSES, learning_rate
from jaxgan.games import Adversary, Latents, Weights, gan
from jaxgan.networks import MLPDiscriminator, MLPGenerator

KEY = jax.random.key(0)
N = 4
PENALTIES = ("gradient_penalty", "r1", "r2", "dragan")
TRICKS = {
    "smoothing": Adversary(smoothing=0.1),
    "flip": Adversary(flip=0.5),
    "noise": Adversary(noise=0.5),
    "noise_steps": Adversary(noise=0.5, noise_steps=4),
    "augment": Adversary(augment=("color", "translation", "cutout")),
    "packing": Adversary(packing=2),
    "top_k": Adversary(top_k=0.5, top_k_steps=2),
    "penalty_every": Adversary(r1=1.0, penalty_every=2),
    "uniform": Adversary(),
}


def toy(classes=0, adversary=None, **settings):
    return gan(
        MLPGenerator((2, 2, 1), 4, 1, classes),
        MLPDiscriminator(4, 1, classes, conditioning="projection"),
        adversary,
        conditional=classes > 0,
        **{"latent": 2, **settings},
        generator_optimizer=optax.sgd(0.1),
        discriminator_optimizer=optax.sgd(0.1),
    )


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (2, N, 2, 2, 1)).astype(np.float32)
    return {"image": jnp.asarray(images), "label": jnp.asarray(rng.integers(0, 3, (2, N)), jnp.int32)}


def assert_all_play(games, batch):
    """A finite step in each game, that moves both networks: their metrics. One program for all compiles sooner."""
    kinds: dict[bool, Any] = {}
    for name, rules in games.items():
        kinds.setdefault("conditional" in name, rules)
    first = jax.tree.map(lambda x: x[0], batch)
    begun = quick_jit(lambda: {kind: game.init(rules, KEY, first) for kind, rules in kinds.items()})()
    states = {name: begun["conditional" in name] for name in games}
    played = quick_jit(lambda s, b: {name: game.step(rules, s[name], b) for name, rules in games.items()})(
        states, batch
    )
    for name, (state, metrics) in played.items():
        assert int(state.skipped) == 0, name
        assert all(bool(jnp.isfinite(value)) for value in metrics.values()), name
        for network in ("generator", "discriminator"):
            pairs = zip(
                *map(jax.tree.leaves, (state.params[network], states[name].params[network])), strict=True
            )
            assert any(bool((a != b).any()) for a, b in pairs), (name, network)
    return {name: metrics for name, (_, metrics) in played.items()}


@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_with_every_penalty_conditional_or_not(loss, batch):
    games = {}
    for classes, kind in ((0, "plain"), (3, "conditional")):
        for penalty in PENALTIES:
            rules = Adversary(LOSSES[loss])._replace(**{penalty: 0.5})
            games[f"{kind} {penalty}"] = toy(classes, rules)
        games[f"{kind} orthogonal"] = toy(classes, Adversary(LOSSES[loss]), weights=Weights(orthogonal=0.5))
    reports = assert_all_play(games, batch)
    for name, metrics in reports.items():
        penalty = name.split()[1]
        player = "generator" if penalty == "orthogonal" else "discriminator"
        assert float(metrics[f"{player}/{penalty}"]) > 0
    losses = {float(metrics["discriminator/loss"]) for metrics in reports.values()}
    assert len(losses) == len(games)  # each plays by its own rules


def test_every_trick_alone(batch):
    """Packing has a discriminator of its own shape, and so its own program."""
    for names in (["packing"], [name for name in TRICKS if name != "packing"]):
        latents = {name: Latents(2, "uniform") if name == "uniform" else 2 for name in names}
        assert_all_play({name: toy(0, TRICKS[name], latent=latents[name]) for name in names}, batch)


def test_least_squares_by_hand():
    """Half the squares of the distances to 1 for real, 0 for generated images, and 1 for the generator."""
    real, fake = jnp.array([1.0, 3.0]), jnp.array([0.0, -2.0])
    np.testing.assert_allclose(losses.least_squares.discriminator(real, fake), (4 / 2) / 2 + (4 / 2) / 2)
    np.testing.assert_allclose(losses.least_squares.generator(fake), (1 / 2 + 9 / 2) / 2)


def test_relativistic_by_hand():
    """A real image of 2 against a generated one of 1: log(1 + 1/e) for the discriminator, log(1 + e) for the other."""
    real, fake = jnp.array([2.0]), jnp.array([1.0])
    np.testing.assert_allclose(losses.relativistic.discriminator(real, fake), np.log1p(np.exp(-1)), rtol=1e-6)
    np.testing.assert_allclose(losses.relativistic.generator(fake, real), np.log1p(np.e), rtol=1e-6)
    with pytest.raises(ValueError, match="needs the logits of real images"):
        losses.relativistic.generator(fake)


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_a_rate_rises_stays_and_falls(shape):
    """Up in 4 updates, 2 at the top, down in 8 to a tenth, and there it stays."""
    rate: Any = learning_rate(2.0, config.Schedule(warmup=4, hold=2, decay=8, shape=shape, end=0.1))
    found = [float(rate(count)) for count in range(17)]
    down = {"linear": lambda t: 1 - t, "cosine": lambda t: (1 + np.cos(np.pi * t)) / 2}[shape]
    falling = [2 * (0.1 + 0.9 * down(k / 8)) for k in range(9)]
    expected = [0, 0.5, 1, 1.5, 2, 2, *falling, 0.2, 0.2]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_parts_of_a_schedule_can_be_left_out():
    def rates(**settings):
        rate: Any = learning_rate(1.0, config.Schedule(**settings))
        return [float(rate(count)) for count in range(5)]

    assert learning_rate(3.0, None) == 3.0
    np.testing.assert_allclose(rates(), np.ones(5))
    np.testing.assert_allclose(rates(warmup=2), [0, 0.5, 1, 1, 1])
    np.testing.assert_allclose(rates(hold=2, decay=2), [1, 1, 1, 0.5, 0])
    np.testing.assert_allclose(rates(decay=4), [1, 0.75, 0.5, 0.25, 0])
