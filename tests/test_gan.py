"""The GAN family against updates written out with `module.apply`, and what is compiled of it."""

import re
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, quick_jit, slow

from jaxgan import config, experiment, game
from jaxgan.errors import InputError
from jaxgan.families import GAN
from jaxgan.game import Keys
from jaxgan.layers import SpectralNorm
from jaxgan.networks import (
    DCGANDiscriminator,
    DCGANGenerator,
    MLPDiscriminator,
    MLPGenerator,
    ResNetDiscriminator,
    ResNetGenerator,
)

pytestmark = pytest.mark.usefixtures("quick_programs")

N, Z, LR = 4, 3, 0.1
KEY = jax.random.key(0)


def dcgan(classes=0, **settings):
    return play(
        GAN,
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
        "real": jnp.asarray(rng.uniform(-1, 1, (turns, N, 16, 16, 1)), jnp.float32),
        "label": jnp.asarray(rng.integers(0, 3, (turns, N)), jnp.int32),
    }


def start(rules, batch):
    """The state that begins a run; compiled, as operations compiled one by one take longer."""
    return quick_jit(lambda: game.init(rules, KEY, jax.tree.map(lambda x: x[0], batch)))()


@pytest.mark.parametrize(
    "beside", [{"dropout": 0.5}, {"minibatch_std": True}], ids=["dropout", "minibatch_std"]
)
@pytest.mark.slow
def test_points_are_judged_as_in_two_batches(beside, rng):
    """Dropout's masks are each example's own; a discriminator that compares its examples sees real ones alone."""
    n = 2  # two batches of two would make one group of four
    d, points = MLPDiscriminator(8, 2, **beside), jnp.asarray(rng.normal(size=(1, n, 2)), jnp.float32)
    rules = play(
        GAN,
        MLPGenerator((2,), 8, 2, tanh=False),
        d,
        latent=2,
        shared_draws=True,
        discriminator_optimizer=optax.sgd(LR),
    )
    state = game.init(rules, KEY, {"real": points[0]})
    keys = Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), 0), n)
    z = keys.fold("latent").normal((2,))
    fake = MLPGenerator((2,), 8, 2, tanh=False).apply({"params": state.params["generator"]}, z, train=True)

    def value(params):
        judge = lambda x, of: d.apply({"params": params}, x, train=True, keys=keys.fold(of).example)  # noqa: E731
        return jnp.mean(jax.nn.softplus(-judge(points[0], "real")) + jax.nn.softplus(judge(fake, "fake")))

    loss, grads = jax.value_and_grad(value)(state.params["discriminator"])
    expected = jax.tree.map(lambda p, g: p - LR * g, state.params["discriminator"], grads)
    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, {"real": points})
    np.testing.assert_allclose(metrics["discriminator/loss"], loss, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), new.params["discriminator"], expected
    )


class Recording(MLPDiscriminator):
    """Notes how many examples it is given."""

    def __call__(self, image, label=None, **settings):
        SEEN.append(len(image))
        return super().__call__(image, label, **settings)


SEEN: list[int] = []


@pytest.mark.parametrize(
    ("classes", "beside", "expected"),
    [(0, {}, {2 * N}), (0, {"minibatch_std": True}, {N}), (3, {}, {N})],
    ids=["per_example", "minibatch_std", "conditional"],
)
def test_who_judges_points_at_once(classes, beside, expected):
    d = Recording(8, 1, classes, **beside)
    rules = play(GAN, MLPGenerator((2,), 8, 1, classes), d, latent=Z, conditional=classes > 0)
    batch = {"real": jnp.zeros((N, 2)), "label": jnp.zeros(N, jnp.int32)}
    state = jax.eval_shape(lambda: game.init(rules, KEY, batch))
    SEEN.clear()
    jax.eval_shape(lambda s: rules.players["discriminator"].loss(s, batch, Keys.of(KEY, N)), state)
    assert set(SEEN) == expected


@pytest.mark.slow
def test_classes_are_told_of_points_judged_at_once(rng):
    d, batch = MLPDiscriminator(8, 2, 3, conditioning="auxiliary"), data(rng, 1)
    points, label = jnp.asarray(rng.normal(size=(N, 2)), jnp.float32), batch["label"][0]
    g = MLPGenerator((2,), 8, 2)
    rules = play(GAN, g, d, latent=2)
    state = game.init(rules, KEY, {"real": points})
    keys = Keys.of(KEY, N)
    fake = g.apply({"params": state.params["generator"]}, keys.fold("latent").normal((2,)), train=True)
    (real, real_told), (fooled, fake_told) = (
        d.apply({"params": state.params["discriminator"]}, x, train=True) for x in (points, fake)
    )
    told = [optax.softmax_cross_entropy_with_integer_labels(x, label) for x in (real_told, fake_told)]
    expected = jnp.mean(jax.nn.softplus(-real) + jax.nn.softplus(fooled) + told[0] + told[1])
    loss, aux = rules.players["discriminator"].loss(state, {"real": points, "label": label}, keys)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["fake_class"], np.mean(np.argmax(fake_told, 1) == label))


@pytest.mark.parametrize(("classes", "loss"), [slow(0, "minimax"), (3, "non_saturating")])
def test_one_step_by_hand(classes, loss, rng):
    """Who sees which labels, noise and masks; whose statistics move when: D's by real then fake, G's in its turn."""
    rules, batch = dcgan(classes, loss=loss), data(rng, 2)
    state = start(rules, batch)
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
        real, stats = judge(params, state.stats["discriminator"], batch["real"][0], 0, "real")
        fake, stats = judge(params, stats, generate(state.params["generator"], 0)[0], 0, "fake")
        return -jnp.mean(jnp.log(jax.nn.sigmoid(real))) - jnp.mean(jnp.log(1 - jax.nn.sigmoid(fake))), stats

    gradient = quick_jit(jax.value_and_grad(d_value, has_aux=True))
    (d_loss, d_stats), grads = gradient(state.params["discriminator"])
    d_params = jax.tree.map(lambda p, x: p - LR * x, state.params["discriminator"], grads)

    def g_value(params):
        fake, stats = generate(params, 1)
        p = jax.nn.sigmoid(judge(d_params, state.stats["discriminator"], fake, 1, "fake")[0])
        return (-jnp.mean(jnp.log(p)) if loss == "non_saturating" else jnp.mean(jnp.log(1 - p))), stats

    gradient = quick_jit(jax.value_and_grad(g_value, has_aux=True))
    (g_loss, g_stats), grads = gradient(state.params["generator"])
    g_params = jax.tree.map(lambda p, x: p - LR * x, state.params["generator"], grads)

    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    expected = (
        {"generator": g_params, "discriminator": d_params},
        {"generator": g_stats, "discriminator": d_stats},
    )
    for got, want in zip((new.params, new.stats), expected, strict=True):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6), got, want)
    np.testing.assert_allclose(metrics["discriminator/loss"], d_loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["generator/loss"], g_loss, rtol=1e-5)


@pytest.mark.slow
def test_what_signs_of_collapse_are_read_from_by_hand(rng):
    rules, batch = dcgan(0), data(rng, 2)
    state = start(rules, batch)
    g, d = DCGANGenerator(16, 1, 2), DCGANDiscriminator(16, 1, 2, dropout=0.2)
    keys = Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), 0), N)
    z = keys.fold("latent").normal((Z,))
    generate = quick_jit(lambda v, z: g.apply(v, z, train=True, mutable=["batch_stats"]))
    fake, _ = generate(state.variables("generator"), z)

    @partial(quick_jit, static_argnums=1)
    def logits(x, purpose):
        masks = keys.fold(purpose).example
        return d.apply(state.variables("discriminator"), x, train=True, keys=masks, mutable=["batch_stats"])[
            0
        ]

    real, made = (np.asarray(logits(*x)) for x in ((batch["real"][0], "real"), (fake, "fake")))
    _, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    expected = {
        "real_accuracy": np.mean(real > 0),
        "fake_accuracy": np.mean(made < 0),
        "logit_gap": real.mean() - made.mean(),
        "real_variance": np.asarray(batch["real"][0]).reshape(N, 256)[:, ::4].var(0).mean(),
        "fake_variance": np.asarray(fake).reshape(N, 256)[:, ::4].var(0).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[f"discriminator/{name}"], value, rtol=1e-4, err_msg=name)


def test_a_step_of_an_auxiliary_classifier_by_hand(rng):
    """Both players pay for the class of what they show; the discriminator sees no label."""
    weight, classes = 0.7, 3
    g = MLPGenerator((16, 16, 1), 4, 1, classes)
    d = MLPDiscriminator(4, 1, classes, conditioning="auxiliary")
    sgd = optax.sgd(LR)
    rules = play(
        GAN,
        g,
        d,
        latent=Z,
        conditional=True,
        auxiliary=weight,
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
    )
    batch = data(rng, 2)
    state = start(rules, batch)
    keys = [Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), t), N) for t in (0, 1)]
    image, label = batch["real"][0], batch["label"]

    def generate(params, t):
        return g.apply({"params": params}, keys[t].fold("latent").normal((Z,)), label[t], train=True)

    def judge(params, x, t) -> Any:
        """The logit, and the cross-entropy of the class in nats."""
        logits, said = d.apply({"params": params}, x, train=True)  # pyright: ignore[reportGeneralTypeIssues]
        chances = jnp.exp(said) / jnp.sum(jnp.exp(said), 1, keepdims=True)
        return logits, -jnp.mean(jnp.log(chances[jnp.arange(N), label[t]])), said

    def d_value(params):
        real, real_class, said = judge(params, image, 0)
        fake, fake_class, _ = judge(params, generate(state.params["generator"], 0), 0)
        value = -jnp.mean(jnp.log(jax.nn.sigmoid(real))) - jnp.mean(jnp.log(1 - jax.nn.sigmoid(fake)))
        return value + weight * (real_class + fake_class), jnp.mean(jnp.argmax(said, 1) == label[0])

    (d_loss, right), grads = quick_jit(jax.value_and_grad(d_value, has_aux=True))(
        state.params["discriminator"]
    )
    d_params = jax.tree.map(lambda p, x: p - LR * x, state.params["discriminator"], grads)

    def g_value(params):
        logits, told, _ = judge(d_params, generate(params, 1), 1)
        return -jnp.mean(jnp.log(jax.nn.sigmoid(logits))) + weight * told

    g_loss, grads = quick_jit(jax.value_and_grad(g_value))(state.params["generator"])
    g_params = jax.tree.map(lambda p, x: p - LR * x, state.params["generator"], grads)
    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    expected = {"generator": g_params, "discriminator": d_params}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6), new.params, expected)
    np.testing.assert_allclose(metrics["discriminator/loss"], d_loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["generator/loss"], g_loss, rtol=1e-5)
    np.testing.assert_allclose(metrics["discriminator/real_class"], right)


@pytest.mark.parametrize(
    ("kind", "shared", "classes"),
    [("gradient_penalty", False, 3), ("r1", True, 0)],
)
@pytest.mark.slow
def test_turns_of_a_penalised_critic_by_hand(kind, shared, classes, rng):
    """WGAN-GP's algorithm 1, and R1, one example's slope at a time: which images, labels, masks and mixes."""
    weight, turns, rate = 3.0, 2, 0.01
    g = DCGANGenerator(16, 1, 2, classes, norm="layer")
    d = DCGANDiscriminator(16, 1, 2, classes, norm="layer", dropout=0.2)
    sgd = optax.sgd(rate)
    settings: dict[str, Any] = {
        "latent": Z,
        "conditional": classes > 0,
        "shared_draws": shared,
    }
    settings |= {"generator_optimizer": sgd, "discriminator_optimizer": sgd}
    settings |= {"loss": "wasserstein", "discriminator_turns": turns, kind: weight}
    rules = play(GAN, g, d, **settings)
    batch = data(rng, rules.turns)
    assert rules.turns == (1 if shared else turns + 1)
    state = start(rules, batch)

    def draws(t):
        t = 0 if shared else t
        keys = Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), t), N)
        return batch["real"][t], batch["label"][t] if classes else None, keys

    def judge(params, x, label, keys) -> Any:
        return d.apply({"params": params}, x, label, train=True, keys=keys)

    def slope(params, x, label, key):
        one = None if label is None else label[None]
        gradient = jax.grad(lambda x: judge(params, x[None], one, key[None])[0])(x)
        return jnp.linalg.norm(gradient)

    def generate(params, label, keys):
        return g.apply({"params": params}, keys.fold("latent").normal((Z,)), label, train=True)

    @quick_jit
    def turn(params, x, label, keys):
        fake = generate(state.params["generator"], label, keys)

        def value(params):
            real_keys, fake_keys = keys.fold("real").example, keys.fold("fake").example
            judged = judge(params, fake, label, fake_keys).mean() - judge(params, x, label, real_keys).mean()
            if kind == "r1":
                at, masks = x, real_keys
            else:
                mix = keys.fold("mix").uniform((1, 1, 1))
                at, masks = mix * x + (1 - mix) * fake, keys.fold("between").example
            label_axis = None if label is None else 0
            slopes = jax.vmap(slope, (None, 0, label_axis, 0))(params, at, label, masks)
            penalty = jnp.mean(slopes**2) / 2 if kind == "r1" else jnp.mean((slopes - 1) ** 2)
            return judged + weight * penalty, penalty

        (loss, penalty), grads = jax.value_and_grad(value, has_aux=True)(params)
        return jax.tree.map(lambda p, x: p - rate * x, params, grads), loss, penalty

    d_params, seen = state.params["discriminator"], []
    for t in range(turns):
        d_params, *report = turn(d_params, *draws(t))
        seen.append(report)

    @quick_jit
    def g_gradient(params, label, keys):
        masks = keys.fold("fake").example
        return jax.grad(lambda p: -judge(d_params, generate(p, label, keys), label, masks).mean())(params)

    _, label, keys = draws(turns)
    g_params = state.params["generator"]
    g_params = jax.tree.map(lambda p, x: p - rate * x, g_params, g_gradient(g_params, label, keys))

    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    expected = {"generator": g_params, "discriminator": d_params}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), new.params, expected)
    loss, penalty = np.mean(seen, axis=0)
    np.testing.assert_allclose(metrics["discriminator/loss"], loss, rtol=1e-4)
    np.testing.assert_allclose(metrics[f"discriminator/{kind}"], penalty, rtol=1e-4)
    assert {"discriminator/gradient_penalty", "discriminator/r1"} & set(metrics) == {f"discriminator/{kind}"}
    difference = metrics["discriminator/fake_logit"] - metrics["discriminator/real_logit"]
    np.testing.assert_allclose(difference + weight * penalty, loss, rtol=1e-3, atol=1e-5)
    assert not {"discriminator/real", "discriminator/fake"} & set(metrics)  # a critic gives no probabilities


@pytest.mark.slow
def test_a_turn_of_the_discriminator_moves_spectral_vectors_by_two_iterations(rng):
    """One for the real images and one for the generated; what penalties iterate is dropped."""
    networks = ResNetGenerator(16, 1, 2), ResNetDiscriminator(16, 1, 4)
    sgd = optax.sgd(LR)
    rules = play(
        GAN,
        *networks,
        **{"loss": "hinge", "gradient_penalty": 1.0, "r1": 1.0},
        latent=Z,
        discriminator_optimizer=sgd,
    )
    batch = {"real": data(rng, 1)["real"][0]}
    state = quick_jit(lambda: game.init(rules, KEY, batch))()
    blurred = jax.tree.map(
        lambda u: jnp.ones_like(u) / np.sqrt(u.size), state.stats["discriminator"]["spectral"]
    )
    state = state.replace(stats={**state.stats, "discriminator": {"spectral": blurred}})
    player = rules.players["discriminator"]
    update = quick_jit(lambda s, b: game.update("discriminator", player, s, b, Keys.of(KEY, N)))
    new, metrics = update(state, batch)
    assert {"gradient_penalty", "r1"} <= set(metrics)

    def follow(kernel):
        m = np.asarray(kernel, np.float64).reshape(len(kernel), -1).T  # a convolution's outputs are first
        u = np.ones(m.shape[1]) / np.sqrt(m.shape[1])
        for _ in range(2):
            u = m.T @ (m @ u)
            u /= np.linalg.norm(u)
        return u

    for block, layers in (
        ("DownBlock_0", ("Conv_0", "ConvPool_0", "Conv_1")),
        ("DownBlock_3", ("Conv_0", "Conv_1")),
    ):
        for i, layer in enumerate(layers):
            found = new.stats["discriminator"]["spectral"][block][f"SpectralNorm_{i}"]["u"]
            expected = follow(state.params["discriminator"][block][layer]["kernel"])
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


class SpectralCritic(nn.Module):
    @nn.compact
    def __call__(self, image, label=None, *, train=False, keys=None):
        x = nn.tanh(SpectralNorm(nn.Dense(8))(image.reshape(image.shape[0], -1), train=train))
        return SpectralNorm(nn.Dense(1))(x, train=train)[:, 0]


class LoneSpectralCritic(SpectralCritic):
    per_example = True


@pytest.mark.slow
def test_spectral_vectors_move_twice_where_each_example_is_judged_alone(rng):
    batch = {"real": jnp.asarray(rng.normal(size=(1, N, 4)), jnp.float32)}
    stats = []
    for critic in (SpectralCritic(), LoneSpectralCritic()):
        rules = play(GAN, MLPGenerator((4,), 8, 1, tanh=False), critic, latent=Z, shared_draws=True)
        state = game.init(rules, KEY, {"real": batch["real"][0]})
        new, _ = quick_jit(lambda s, b, rules=rules: game.step(rules, s, b))(state, batch)
        stats.append(new.stats["discriminator"])
    jax.tree.map(np.testing.assert_array_equal, *stats)


@pytest.mark.slow
def test_penalties_and_spectral_vectors_do_not_depend_on_the_number_of_devices(rng):
    sgd: dict[str, Any] = {f"{name}_optimizer": optax.sgd(LR) for name in ("generator", "discriminator")}
    rules = play(
        GAN,
        MLPGenerator((4,), 8, 1, tanh=False),
        SpectralCritic(),
        **{"loss": "wasserstein", "gradient_penalty": 10.0, "r1": 1.0},
        latent=Z,
        **sgd,
    )
    batch = {"real": jnp.asarray(rng.normal(size=(2, 8, 4)), jnp.float32)}
    state = game.init(rules, KEY, {"real": batch["real"][0]})
    one, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    parts = {"real": batch["real"][:, :, None]}  # an image for each of eight devices
    step = jax.pmap(
        lambda s, b: game.step(rules, s, b, game.AXIS),
        axis_name=game.AXIS,
        in_axes=(None, 1),
        out_axes=None,
        devices=jax.devices()[:8],
    )
    many, report = step(state, parts)
    for got, want in ((many.params, one.params), (many.stats, one.stats), (report, metrics)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), got, want)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), one.stats, state.stats)
    assert max(jax.tree.leaves(moved)) > 1e-4


def test_penalties_refuse_batch_norm_and_negative_weights(rng):
    """In Python, where a batch is first at hand; from a configuration, before anything is built."""
    networks = DCGANGenerator(16, 1, 2), DCGANDiscriminator(16, 1, 2)
    example = jnp.zeros((2, 16, 16, 1))
    for key in ("gradient_penalty", "r1", "r2", "dragan"):
        with pytest.raises(ValueError, match="judges each example by itself: leave out batch norm"):
            start(play(GAN, *networks, **{key: 10.0}), {"real": example[None]})
        with pytest.raises(ValueError, match=rf"{key}\n.*greater than or equal to 0"):
            GAN(**{key: -1.0})
        with pytest.raises(
            InputError, match=rf"^game\.{key} judges each image by itself, but discriminator\.norm"
        ):
            experiment.build(tiny("dcgan", {f"game.{key}": "10", "discriminator.norm": "batch"}), [], 100)


TINY = {
    "name": "tiny",
    "steps": 1,
    "batch_size": 4,
    "data": {"source": "embedded", "resolution": 16},
    "generator_optimizer": {"sgd": {"learning_rate": 1.0}},
    "discriminator_optimizer": {"sgd": {"learning_rate": 1.0}},
    "game": {"loss": "hinge", "latent": 3, "ema": 0.9, "schedule": "simultaneous"},
}


def tiny(network, overrides):
    nets = {name: {"network": network, "width": 8} for name in ("generator", "discriminator")}
    return config.parse(TINY | nets, overrides)


@pytest.mark.device
@pytest.mark.parametrize("network", ["mlp", "dcgan"])  # ResNets: tests/test_resnet.py
@pytest.mark.slow
def test_bfloat16_is_what_layers_compute_in_and_nothing_else(network, rng):
    """All numbers of the state stay float32, and the gradients, SGD's steps, are float32's to about two digits."""
    settings = {"game.gradient_penalty": "10", "discriminator.norm": "layer"} if network == "dcgan" else {}
    batch, state, moves = data(rng, 2), None, {}
    for dtype in ("bfloat16", "float32"):
        built = experiment.build(tiny(network, {"compute_dtype": dtype, **settings}), [], 100)
        state = state or quick_jit(lambda built=built: experiment.initial(built))()
        new, metrics = quick_jit(lambda s, b, built=built: game.step(built.game, s, b))(state, batch)
        for leaf in jax.tree.leaves((new, metrics)):
            assert leaf.dtype in (jnp.float32, jnp.int32) or jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        assert int(new.skipped) == 0
        moves[dtype] = jax.tree.map(jnp.subtract, new.params, state.params)
    for name in ("generator", "discriminator"):
        full, half = moves["float32"][name], moves["bfloat16"][name]
        error = optax.tree.norm(jax.tree.map(jnp.subtract, half, full)) / optax.tree.norm(full)
        assert 1e-4 < error < 0.1, name


def test_conditioning_that_does_not_fit_is_refused():
    with pytest.raises(
        InputError, match=r"discriminator\.conditioning is 'auxiliary', but there are no classes"
    ):
        experiment.build(tiny("mlp", {"discriminator.conditioning": "auxiliary"}), [], 100)
    overrides = {"data.resolution": "28", "generator.network": "biggan", "generator.attention": "64"}
    with pytest.raises(InputError, match=r"generator\.attention: attention at 28x28 .* size 14, not 64"):
        experiment.build(tiny("mlp", overrides), [], 100)
    with pytest.raises(InputError, match=r"game\.packing is 3, which does not divide batch_size \d"):
        experiment.build(tiny("mlp", {"game.packing": "3"}), [], 100)
    for packing in ("1", "2"):
        groups = {"discriminator.minibatch_std": "true", "batch_size": str(6 * int(packing))}
        groups |= {"game.packing": packing}
        with pytest.raises(
            InputError, match=r"minibatch_std compares groups of 4, and 6 are judged together"
        ):
            experiment.build(tiny("mlp", groups), [], 100)
    overrides |= {"generator.attention": "14", "game.latent": "2"}
    with pytest.raises(
        InputError, match=r"game\.latent is 2, but generator\.network biggan .* 3 parts at 28x28"
    ):
        experiment.build(tiny("mlp", overrides), [], 100)


@pytest.mark.parametrize("network", ["mlp", "dcgan", slow("resnet")])
def test_a_discriminator_conditions_in_three_ways(network):
    """Concatenated labels change a logit by the first layer, projected ones by the last; auxiliary ones not at all."""
    x = jnp.ones((4, 16, 16, 1))
    label = jnp.array([0, 1, 2, 0], jnp.int32)
    built = {
        how: tiny(
            network, {"discriminator.conditioning": how, "discriminator.minibatch_std": "true"}
        ).discriminator.build(resolution=16, channels=1, classes=3)
        for how in ("concatenate", "projection", "auxiliary")
    }

    @quick_jit
    def run():
        out = {}
        for how, module in built.items():
            said, v = module.init_with_output(KEY, x, label, train=True)
            out[how] = said, sum(leaf.size for leaf in jax.tree.leaves(v["params"]))
        return out

    said = run()
    for how in ("concatenate", "projection"):
        logits = said[how][0]
        np.testing.assert_allclose(logits[0], logits[3], rtol=1e-5)
        assert len({float(value) for value in logits[:3]}) == 3
    logits, classes = said["auxiliary"][0]
    np.testing.assert_allclose(logits, jnp.broadcast_to(logits[0], 4), rtol=1e-5)
    assert classes.shape == (4, 3)
    # An embedding of 3 classes, or as many outputs with their biases.
    assert said["auxiliary"][1] - said["projection"][1] == 3


def lowered(rules, batch):
    state = start(rules, batch)
    return state, quick_jit(lambda s, b: game.step(rules, s, b)).lower(state, batch)


def compiled(rules, batch):
    state, program = lowered(rules, batch)
    return state, program.compile()


def generator_passes(program):
    """The generator's output is the only tanh of a step; its gradient has none."""
    return len(re.findall(r"\btanh\(| stablehlo.tanh ", program.as_text()))


@pytest.mark.slow
def test_with_shared_draws_the_generator_runs_once(rng):
    """The step has one generator pass less, and computes the same."""
    batch = data(rng, 1)
    state, shared = lowered(dcgan(shared_draws=True), batch)
    _, twice = lowered(dcgan(shared_draws=True)._replace(fakes=None), batch)
    assert (generator_passes(shared), generator_passes(twice)) == (1, 2)
    shared, twice = shared.compile(), twice.compile()
    assert generator_passes(shared) == 1  # of the other, some compilers make one too
    for a, b in zip(jax.tree.leaves(shared(state, batch)), jax.tree.leaves(twice(state, batch)), strict=True):
        if not jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.slow
def test_nothing_in_a_step_calls_the_host(rng):
    text = compiled(dcgan(), data(rng, 2))[1].as_text()
    assert "fusion" in text  # it is the text of a program
    assert not re.search(r"callback|infeed|outfeed|\bsend\(|\brecv\(", text)


@pytest.mark.device
@pytest.mark.slow
def test_samples_come_from_running_statistics_and_given_latents(rng):
    rules, batch = dcgan(3), data(rng, 2)
    state = start(rules, batch)
    state, _ = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    g = DCGANGenerator(16, 1, 2, 3)
    keys, label = Keys.of(KEY, 5), jnp.arange(5, dtype=jnp.int32) % 3
    z = keys.fold("latent").normal((Z,))
    expected = g.apply(state.variables("generator"), z, label, train=False)
    np.testing.assert_array_equal(rules.sample(state, keys, {"label": label}), expected)
    np.testing.assert_array_equal(
        rules.sample(state, Keys.of(KEY, 1), {"label": label, "latent": z}), expected
    )


@pytest.mark.slow
def test_training_finds_a_gaussian():
    """A GAN on points from N((2, -1), 0.5^2) generates points with their mean and spread."""
    adam = optax.adam(1e-3, b1=0.0)
    rules = play(
        GAN,
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

    state = game.init(rules, KEY, {"real": draw(0)[0]})
    body = lambda s, i: (game.step(rules, s, {"real": draw(i)})[0], None)  # noqa: E731
    state, _ = jax.jit(lambda s: jax.lax.scan(body, s, jnp.arange(3000)))(state)
    points = np.asarray(rules.sample(state.averaged(), Keys.of(jax.random.key(1), 4000), None))
    before = np.asarray(rules.sample(game.init(rules, KEY, {"real": draw(0)[0]}), Keys.of(KEY, 1000), None))
    assert np.abs(before.mean(0) - mean).max() > 0.5
    np.testing.assert_allclose(points.mean(0), mean, atol=0.1)
    np.testing.assert_allclose(points.std(0), spread, atol=0.1)
    assert int(state.skipped) == 0
