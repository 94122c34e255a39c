"""Translation, paired and unpaired: networks as published, losses by hand, the image pool as a plain program."""

import math
from typing import Any

import flax.linen as nn
import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st
from peers import load
from quick import play, quick_jit, slow

from jaxgan import config, experiment, game
from jaxgan.data.sources import Field
from jaxgan.errors import InputError
from jaxgan.families import CycleGAN, Pix2Pix
from jaxgan.game import Keys
from jaxgan.networks import PatchGAN, Translator, UNet
from jaxgan.networks.patchgan import receptive_field
from jaxgan.objectives import pool as pools

pytestmark = pytest.mark.usefixtures("quick_programs")

KEY, N, LR = jax.random.key(0), 4, 0.1


def shapes(module, *shape):
    return jax.eval_shape(lambda x: module.init_with_output(KEY, x, train=True), jnp.zeros(shape))


@pytest.mark.parametrize(
    ("module", "shape", "millions"),
    [
        (UNet(), (1, 256, 256, 3), 54.41),
        (PatchGAN(), (1, 256, 256, 6), 2.769),
        (Translator(), (1, 256, 256, 3), 11.378),
        (PatchGAN(norm="instance"), (1, 256, 256, 3), 2.765),
    ],
    ids=["U-Net", "PatchGAN of pairs", "ResNet of 9 blocks", "PatchGAN"],
)
def test_published_networks_have_the_published_number_of_parameters(module, shape, millions):
    """As pytorch-CycleGAN-and-pix2pix prints them: 54.414, 2.769, 11.378 and 2.765 million."""
    _, variables = shapes(module, *shape)
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"]))
    assert count / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("size", [(28, 28), (30, 41), (64, 16)])
def test_images_of_any_size_keep_it(size):
    for module in (UNet(1, 4, 3), Translator(1, 4, 1)):
        made, _ = shapes(module, 2, *size, 3)
        assert made.shape == (2, *size, 1)


@pytest.mark.parametrize("layers", [0, 1, 2])
@pytest.mark.slow
def test_a_patch_is_as_large_as_it_says(layers, rng):
    """A logit changes with the pixels of its patch, and with no other."""
    side = receptive_field(layers)
    assert side == {0: 1, 1: 16, 2: 34}[layers]
    size = side + 15
    module = PatchGAN(2, layers, norm="none")
    variables = module.init(KEY, jnp.zeros((1, size, size, 1)))
    x = jnp.asarray(rng.normal(size=(1, size, size, 1)), jnp.float32)
    middle = shapes(module, 1, size, size, 1)[0].shape[1] // 2
    slopes = quick_jit(jax.grad(lambda x: module.apply(variables, x)[0, middle, middle]))(x)[0, ..., 0]
    for seen in (np.flatnonzero(np.any(slopes != 0, 1)), np.flatnonzero(np.any(slopes != 0, 0))):
        assert seen[-1] - seen[0] + 1 == side


@pytest.mark.parametrize(
    ("layers", "norm", "train"),
    [(3, "batch", True), (3, "batch", False), (1, "instance", True), (0, "none", True)],
)
def test_patchgan_is_pytorchs(layers, norm, train, rng):
    """Appendix 6.1.2 of the paper, in float64: 4x4 convolutions, the last two of stride 1; leaky ReLU of 0.2."""
    torch = load("torch")
    f = torch.nn.functional
    module = PatchGAN(3, layers, norm)
    x = rng.uniform(-1, 1, (2, 40, 36, 2)).astype(np.float32)
    drawn: Any = jax.tree.map(
        lambda leaf: (
            rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32)
            * (rng.choice([-0.2, 0.2], leaf.shape) if len(leaf.shape) > 1 else 1)
        ),
        shapes(module, *x.shape)[1],
    )

    def tensor(values):
        return torch.tensor(np.asarray(values, np.float64))

    def conv(i, y, stride):
        layer = drawn["params"][f"Conv_{i}"]
        bias = tensor(layer["bias"]) if "bias" in layer else None
        kernel = tensor(layer["kernel"]).permute(0, 3, 1, 2)
        return f.conv2d(y, kernel, bias, stride, 1 if layers else 0)

    def normed(i, y):
        if norm == "none":
            return y
        if norm == "instance":
            return f.instance_norm(y, eps=1e-5)
        own, kept = (drawn[kind][f"Norm_{i}"]["BatchNorm_0"] for kind in ("params", "batch_stats"))
        moments = tensor(kept["mean"]), tensor(kept["var"])
        return f.batch_norm(y, *moments, tensor(own["scale"]), tensor(own["bias"]), train, 0.1, 1e-5)

    strides = [2] * layers + [1] if layers else [1, 1]
    y = f.leaky_relu(conv(0, tensor(x).permute(0, 3, 1, 2), strides[0]), 0.2)
    for i, stride in enumerate(strides[1:], 1):
        y = f.leaky_relu(normed(i, conv(i, y, stride)), 0.2)
    expected = conv(len(strides), y, 1)[:, 0].numpy()
    got, _ = quick_jit(lambda: module.apply(drawn, x, train=train, mutable=["batch_stats"]))()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


class Affine(nn.Module):
    """A translator small enough to write down: every channel mixed, then tanh."""

    channels: int = 1

    @nn.compact
    def __call__(self, image, *, train=False, keys=None):
        return jnp.tanh(nn.Dense(self.channels)(image))


class Patches(nn.Module):
    """A discriminator of single pixels."""

    @nn.compact
    def __call__(self, image, label=None, *, train=False, keys=None):
        return nn.Dense(1)(nn.leaky_relu(nn.Dense(3)(image)))[..., 0]


def run(module, params, *args):
    return module.apply({"params": params}, *args)


def batches(rng, *names, turns=1):
    draw = lambda: jnp.asarray(rng.uniform(-1, 1, (turns, N, 6, 6, 1)), jnp.float32)  # noqa: E731
    return {name: draw() for name in names}


def sgd(**settings):
    return {f"{name}_optimizer": optax.sgd(LR) for name in ("generator", "discriminator")} | settings


def moved(params, grads):
    return jax.tree.map(lambda p, g: p - LR * g, params, grads)


def close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got, want)


@pytest.mark.slow
def test_pix2pix_by_hand(rng):
    """Equations 1 to 4: D sees the input beside the image, G pays for every pixel."""
    rules = play(Pix2Pix, Affine(), Patches(), **sgd(reconstruction=7.0))
    batch = batches(rng, "input", "real")
    x, y = batch["input"][0], batch["real"][0]
    state = game.init(rules, KEY, {"input": x, "real": y})
    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    g, d = state.params["generator"], state.params["discriminator"]

    def judge(d, image):
        return jax.nn.sigmoid(run(Patches(), d, jnp.concatenate([x, image], 3)))

    def d_value(d):
        return -jnp.mean(jnp.log(judge(d, y))) - jnp.mean(jnp.log(1 - judge(d, run(Affine(), g, x))))

    after = moved(d, jax.grad(d_value)(d))

    def g_value(g):
        fake = run(Affine(), g, x)
        return -jnp.mean(jnp.log(judge(after, fake))) + 7 * jnp.mean(jnp.abs(y - fake))

    close(new.params, {"discriminator": after, "generator": moved(g, jax.grad(g_value)(g))})
    np.testing.assert_allclose(metrics["generator/loss"], g_value(g), rtol=1e-5)
    made = rules.sample(state, Keys.of(KEY, N), {"input": x})
    np.testing.assert_allclose(made, run(Affine(), g, x), rtol=1e-6)


@pytest.mark.slow
def test_pixels_alone_leave_the_discriminator_out(rng):
    rules = play(Pix2Pix, Affine(), Patches(), **sgd(reconstruction=1.0, adversarial=0.0))
    batch = batches(rng, "input", "real")
    x, y = batch["input"][0], batch["real"][0]
    state = game.init(rules, KEY, {"input": x, "real": y})
    new, _ = game.step(rules, state, batch)
    grads = jax.grad(lambda g: jnp.mean(jnp.abs(y - run(Affine(), g, x))))(state.params["generator"])
    close(new.params["generator"], moved(state.params["generator"], grads))


@pytest.mark.parametrize("shared", [slow(True), False])
def test_cyclegan_by_hand(shared, rng):
    """Equations 1 to 3 and the identity term, with a pool that is not full yet: it returns what it is given."""
    rules = play(
        CycleGAN,
        Affine(),
        Affine(),
        Patches(),
        Patches(),
        **sgd(cycle=3.0, identity=2.0, shared_draws=shared, loss="least_squares"),
    )
    batch = batches(rng, "real", "other", turns=rules.turns)
    state = game.init(rules, KEY, jax.tree.map(lambda x: x[0], batch))
    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    p = state.params

    def square(x):
        return jnp.mean(jnp.square(x)) / 2

    def d_value(judges):
        b, a = batch["real"][0], batch["other"][0]
        total = 0
        for name, maker, real, given in (
            ("discriminator", "generator", b, a),
            ("inverse_discriminator", "inverse", a, b),
        ):
            fake = run(Affine(), p[maker], given)
            total += square(run(Patches(), judges[name], real) - 1) + square(
                run(Patches(), judges[name], fake)
            )
        return total

    judges = {name: p[name] for name in ("discriminator", "inverse_discriminator")}
    judges = moved(judges, jax.grad(d_value)(judges))

    def g_value(makers):
        b, a = batch["real"][-1], batch["other"][-1]
        forth = lambda x: run(Affine(), makers["generator"], x)  # noqa: E731
        back = lambda x: run(Affine(), makers["inverse"], x)  # noqa: E731
        fooled = square(run(Patches(), judges["discriminator"], forth(a)) - 1)
        fooled += square(run(Patches(), judges["inverse_discriminator"], back(b)) - 1)
        cycles = jnp.mean(jnp.abs(back(forth(a)) - a)) + jnp.mean(jnp.abs(forth(back(b)) - b))
        same = jnp.mean(jnp.abs(forth(b) - b)) + jnp.mean(jnp.abs(back(a) - a))
        return fooled + 3 * cycles + 2 * same

    makers = {name: p[name] for name in ("generator", "inverse")}
    close(new.params, {**judges, **moved(makers, jax.grad(g_value)(makers))})
    np.testing.assert_allclose(metrics["generator/loss"], g_value(makers), rtol=1e-5)
    assert int(new.memory["image"]["filled"]) == N
    kept = new.memory["other"]["images"][:N]
    np.testing.assert_allclose(kept, run(Affine(), p["inverse"], batch["real"][0]), rtol=1e-5, atol=1e-6)
    x = batch["real"][0]
    back = rules.sample(state, Keys.of(KEY, N), {"real": x})
    np.testing.assert_allclose(back, run(Affine(), p["inverse"], x), rtol=1e-6)


def play_pool(size: int, n: int, seed: int) -> int:
    """Twenty batches in a pool, image by image in Python, from the same coins and places; how many were exchanged."""
    shape = (1, 1, 1)
    pool, held, filled = pools.empty(size, jnp.zeros((1, *shape))), [0.0] * size, 0
    turn = quick_jit(
        lambda pool, fresh, keys: (q := pools.query(pool, fresh, keys), pools.remember(pool, q[1]))
    )
    exchanged = 0
    for step in range(20):
        fresh = np.arange(n * step + 1, n * (step + 1) + 1, dtype=np.float32)
        keys = Keys.of(jax.random.fold_in(jax.random.key(seed), step), n)
        (seen, _), pool = turn(pool, fresh.reshape(n, *shape), keys)
        coins = np.asarray(keys.fold("swap").uniform()) < 0.5
        places = (np.asarray(keys.fold("place").uniform()) * size).astype(int)
        before, expected, full = list(held), [], filled == size
        for image, coin, place in zip(fresh, coins, places, strict=True):
            if not full:
                if filled < size:
                    held[filled], filled = image, filled + 1
                expected.append(image)
            elif coin:
                expected.append(before[place])
                held[place] = image
                exchanged += 1
            else:
                expected.append(image)
        np.testing.assert_array_equal(np.ravel(seen), expected)
        np.testing.assert_array_equal(np.ravel(pool["images"]), held)
        assert int(pool["filled"]) == filled
    return exchanged


@pytest.mark.slow
def test_half_of_the_images_are_exchanged():
    assert 20 < play_pool(5, 3, 0) < 40  # of 54, once the pool is full


@hypothesis.settings(max_examples=5, deadline=None, derandomize=True)
@hypothesis.given(size=st.integers(1, 7), n=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
@pytest.mark.slow
def test_the_pool_is_a_plain_program(size, n, seed):
    play_pool(size, n, seed)


def test_a_pool_of_none_changes_nothing(rng):
    fresh = jnp.ones((2, 3))
    assert pools.empty(0, fresh) == {}
    seen, candidates = pools.query({}, fresh, Keys.of(KEY, 2))
    assert candidates is None
    np.testing.assert_array_equal(seen, fresh)


SETTINGS = {
    "name": "t",
    "steps": 1,
    "batch_size": 4,
    "data": {"source": "embedded"},
    "generator": {"network": "unet", "depth": 2, "width": 4},
    "discriminator": {"network": "patchgan", "layers": 1, "width": 4},
}
IMAGE, OTHER = Field((28, 28, 1), "uint8"), Field((28, 28, 3), "uint8")


@pytest.mark.parametrize(
    ("overrides", "fields", "message"),
    [
        ({"game.family": "pix2pix"}, {"real": IMAGE}, "needs pairs of images"),
        ({"game.family": "cyclegan"}, {"real": IMAGE}, "needs images of two kinds"),
        ({"game.family": "cyclegan"}, {"real": IMAGE, "other": OTHER}, "game.identity needs"),
        (
            {"game.family": "pix2pix"},
            {"real": IMAGE, "input": Field((14, 14, 1), "uint8")},
            "28x28 and what they are made from 14x14",
        ),
        (
            {"game.family": "pix2pix", "generator.network": "dcgan"},
            {"real": IMAGE},
            "refiner or translator or unet",
        ),
        (
            {"generator.network": "unet"},
            {"real": IMAGE},
            "biggan or dcgan or mlp or resnet or sagan, not unet",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(overrides, fields, message):
    settings = config.parse(SETTINGS, overrides)
    with pytest.raises(InputError, match=message):
        experiment.build(settings, [], 100, fields)


def test_a_pool_and_several_turns_with_shared_draws_are_refused():
    """Every turn would ask for the same images, and store its own again."""
    turns = {"game.family": "cyclegan", "game.discriminator_turns": "2"}
    with pytest.raises(InputError, match="set shared_draws to false or pool to 0"):
        config.parse(SETTINGS, turns)
    for more in ({"game.pool": "0"}, {"game.shared_draws": "false"}):
        config.parse(SETTINGS, {**turns, **more})
    with pytest.raises(ValueError, match="set shared_draws to false or pool to 0"):
        CycleGAN(discriminator_turns=2)


def test_settings_become_games():
    built = experiment.build(
        config.parse(SETTINGS, {"game.family": "cyclegan", "game.identity": "0"}),
        [],
        100,
        {"real": IMAGE, "other": OTHER},
    )
    state = jax.eval_shape(lambda: experiment.initial(built))
    assert built.given == ("other",)
    assert state.memory["image"]["images"].shape == (50, 28, 28, 1)
    assert state.memory["other"]["images"].shape == (50, 28, 28, 3)


@pytest.mark.parametrize("family", ["pix2pix", "cyclegan"])
@pytest.mark.slow
def test_packed_images_are_judged_together(family, rng):
    """The discriminator of two images together has twice the channels, and takes finite turns."""
    keys = {"game.family": family, "game.packing": "2", "discriminator.norm": "none"}
    given = {"pix2pix": "input", "cyclegan": "other"}[family]
    built = experiment.build(config.parse(SETTINGS, keys), [], 100, {"real": IMAGE, given: IMAGE})
    state = quick_jit(lambda: experiment.initial(built))()
    seen = {"pix2pix": 2 * (1 + 1), "cyclegan": 2 * 1}[family]
    assert state.params["discriminator"]["Conv_0"]["kernel"].shape[-1] == seen
    batch = {
        name: jnp.asarray(rng.uniform(-1, 1, (1, N, 28, 28, 1)), jnp.float32) for name in ("real", given)
    }
    new, _ = quick_jit(lambda s, b: game.step(built.game, s, b))(state, batch)
    assert int(new.skipped) == 0
