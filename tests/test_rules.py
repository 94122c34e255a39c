"""All rules with each other: every loss and penalty, conditional or not, and every trick takes a finite step."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, quick_jit

from jaxgan import game
from jaxgan.families import GAN
from jaxgan.networks import MLPDiscriminator, MLPGenerator
from jaxgan.objectives import losses
from jaxgan.objectives.adversary import WeightPenalties
from jaxgan.objectives.losses import LOSSES
from jaxgan.optimizers import Schedule

KEY = jax.random.key(0)
N = 4
PLAIN = tuple(name for name, loss in LOSSES.items() if not loss.relative)
PENALTIES = ("gradient_penalty", "r1", "r2", "dragan")
TRICKS = {
    "smoothing": {"smoothing": 0.1},
    "flip": {"flip": 0.5},
    "noise": {"noise": 0.5},
    "noise_steps": {"noise": 0.5, "noise_steps": 4},
    "augment": {"augment": ("color", "translation", "cutout")},
    "packing": {"packing": 2},
    "top_k": {"top_k": 0.5, "top_k_steps": 2},
    "penalty_every": {"r1": 1.0, "penalty_every": 2},
    "uniform": {"latent_kind": "uniform"},
}


def toy(classes=0, **settings):
    return play(
        GAN,
        MLPGenerator((2, 2, 1), 4, 1, classes),
        MLPDiscriminator(4, 1, classes, conditioning="projection"),
        conditional=classes > 0,
        **{"latent": 2, **settings},
        generator_optimizer=optax.sgd(0.1),
        discriminator_optimizer=optax.sgd(0.1),
    )


@pytest.fixture(scope="module")
def batch():
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (2, N, 2, 2, 1)).astype(np.float32)
    return {"real": jnp.asarray(images), "label": jnp.asarray(rng.integers(0, 3, (2, N)), jnp.int32)}


def begin(rules, batch):
    first = jax.tree.map(lambda x: x[0], batch)
    return quick_jit(lambda: game.init(rules, KEY, first))()


def assert_played(name, before, state, metrics):
    """A finite step that moved both networks."""
    assert int(state.skipped) == 0, name
    assert all(bool(jnp.isfinite(value)) for value in metrics.values()), name
    for network in ("generator", "discriminator"):
        pairs = zip(*(jax.tree.leaves(x.params[network]) for x in (state, before)), strict=True)
        assert any(bool((a != b).any()) for a, b in pairs), (name, network)


def every_game(loss):
    """A game for each penalty, conditional or not."""
    for classes in (0, 3):
        for penalty in PENALTIES:
            yield (penalty, classes), toy(classes, loss=loss, **{penalty: 0.5})
        yield ("orthogonal", classes), toy(classes, loss=loss, weights=WeightPenalties(orthogonal=0.5))


def chosen(index):
    """One of the losses that are not relative, by a number that is known only as the program runs."""

    def side(name):
        return lambda x: jax.lax.switch(index, [getattr(LOSSES[loss], name) for loss in PLAIN], x)

    return losses.Loss(side("real"), side("fake"), side("fool"))


@pytest.mark.slow
def test_every_loss_with_every_penalty_conditional_or_not(batch, monkeypatch):
    names = set(LOSSES)
    states = {classes: begin(toy(classes), batch) for classes in (0, 3)}

    def stepped(loss, states, batch):
        return {str(name): game.step(rules, states[name[1]], batch) for name, rules in every_game(loss)}

    def plain_ones(index, states, batch):
        monkeypatch.setitem(LOSSES, "chosen", chosen(index))
        return stepped("chosen", states, batch)

    plain = quick_jit(plain_ones)
    relative = quick_jit(lambda *given: stepped("relativistic", *given))
    played = {loss: plain(i, states, batch) for i, loss in enumerate(PLAIN)}
    played["relativistic"] = relative(states, batch)
    assert set(played) == names
    for loss, found in played.items():
        for penalty, classes in itertools.product((*PENALTIES, "orthogonal"), states):
            state, metrics = found[str((penalty, classes))]
            assert_played((loss, penalty, classes), states[classes], state, metrics)
            player = "generator" if penalty == "orthogonal" else "discriminator"
            assert float(metrics[f"{player}/{penalty}"]) > 0
    values = {
        tuple(float(metrics[f"{player}/loss"]) for player in ("discriminator", "generator"))
        for found in played.values()
        for _, metrics in found.values()
    }
    assert len(values) == 60  # each plays by its own rules


@pytest.mark.slow
def test_every_trick_alone(batch):
    rules = {name: toy(0, **trick) for name, trick in TRICKS.items()}
    states = {packed: begin(rules["packing" if packed else "flip"], batch) for packed in (True, False)}
    every = quick_jit(lambda s, b: {name: game.step(r, s[name == "packing"], b) for name, r in rules.items()})
    for name, (state, metrics) in every(states, batch).items():
        assert_played(name, states[name == "packing"], state, metrics)


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
    rate: Any = Schedule(warmup=4, hold=2, decay=8, shape=shape, end=0.1).rate(2.0)
    found = [float(rate(count)) for count in range(17)]
    down = {"linear": lambda t: 1 - t, "cosine": lambda t: (1 + np.cos(np.pi * t)) / 2}[shape]
    falling = [2 * (0.1 + 0.9 * down(k / 8)) for k in range(9)]
    expected = [0, 0.5, 1, 1.5, 2, 2, *falling, 0.2, 0.2]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_parts_of_a_schedule_can_be_left_out():
    def rates(**settings):
        rate: Any = Schedule(**settings).rate(1.0)
        return [float(rate(count)) for count in range(5)]

    np.testing.assert_allclose(rates(), np.ones(5))
    np.testing.assert_allclose(rates(warmup=2), [0, 0.5, 1, 1, 1])
    np.testing.assert_allclose(rates(hold=2, decay=2), [1, 1, 1, 0.5, 0])
    np.testing.assert_allclose(rates(decay=4), [1, 0.75, 0.5, 0.25, 0])
