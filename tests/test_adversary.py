"""The rules between discriminator and generator, each alone, against values worked out by hand."""

from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import slow

from jaxgan.axis import AXIS
from jaxgan.errors import InputError
from jaxgan.game import Aux, Keys
from jaxgan.objectives.adversary import Adversary, WeightPenalties, pack

pytestmark = pytest.mark.usefixtures("quick_programs")

N = 8
STEP = jnp.int32(0)
KEYS = Keys.of(jax.random.key(3), N)


def mean_of_values(images, keys, stats=None):
    """A judge whose logit is the mean of the image's values."""
    return images.reshape(len(images), -1).mean(1), None, stats


@pytest.fixture
def images(rng):
    real, fake = rng.normal(size=(2, N, 2, 2, 1)).astype(np.float32)
    return real, fake


def logits(x):
    return x.astype(np.float64).reshape(N, -1).mean(1)


def softplus(x):
    return np.log1p(np.exp(x))


def discriminate(adversary, images, step=STEP, judge=mean_of_values, keys=KEYS):
    return adversary.discriminate(judge, *images, keys, step)


def test_smoothing_by_hand(images):
    """A real image is called real with weight 0.9 and generated with 0.1; generated ones are not smoothed."""
    real, fake = map(logits, images)
    expected = (0.9 * softplus(-real) + 0.1 * softplus(real)).mean() + softplus(fake).mean()
    np.testing.assert_allclose(discriminate(Adversary(smoothing=0.1), images).value, expected, rtol=1e-5)
    pairs = real - fake
    expected = (0.9 * softplus(-pairs) + 0.1 * softplus(pairs)).mean()
    found = discriminate(Adversary(loss="relativistic", smoothing=0.1), images).value
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_flips_by_hand(images):
    real, fake = map(logits, images)
    flips = [np.asarray(KEYS.fold(kind).fold("flip").uniform()) < 0.35 for kind in ("real", "fake")]
    assert all(0 < flip.sum() < N for flip in flips)
    signs = [np.where(flip, -1, 1) for flip in flips]
    expected = softplus(-signs[0] * real).mean() + softplus(signs[1] * fake).mean()
    np.testing.assert_allclose(discriminate(Adversary(flip=0.35), images).value, expected, rtol=1e-5)
    everything = discriminate(Adversary(flip=1.0), images).value
    np.testing.assert_allclose(everything, softplus(real).mean() + softplus(-fake).mean(), rtol=1e-5)


def test_noise_falls_along_a_line(images):
    for step, left in ((0, 1), (5, 0.5), (10, 0), (20, 0)):
        seen, _ = Adversary(noise=0.3, noise_steps=10).see(images[0], KEYS, jnp.int32(step))
        expected = images[0] + 0.3 * left * np.asarray(KEYS.fold("noise").normal((2, 2, 1)))
        np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-6)
    seen, _ = Adversary(noise=0.3).see(images[0], KEYS, jnp.int32(1000))
    assert abs(float(jnp.std(seen - images[0])) - 0.3) < 0.1


def test_packing_joins_consecutive_images_along_channels():
    x = jnp.arange(4.0).reshape(4, 1, 1, 1) + jnp.array([0.0, 0.5])[None, None, None]
    packed = pack(jnp.broadcast_to(x, (4, 3, 3, 2)), 2)
    assert packed.shape == (2, 3, 3, 4)
    np.testing.assert_array_equal(packed[:, 1, 2], [[0, 0.5, 1, 1.5], [2, 2.5, 3, 3.5]])
    with pytest.raises(InputError, match="packing 3 examples does not divide"):
        pack(x, 3)


@pytest.mark.parametrize(
    "adversary",
    [
        slow(Adversary(packing=2, flip=0.5)),
        slow(Adversary(packing=2, gradient_penalty=1.0, dragan=1.0)),
        Adversary(loss="wasserstein", top_k=0.4),
        slow(Adversary(noise=0.5, augment=("translation",))),
        Adversary(loss="relativistic", r1=1.0, r2=1.0, packing=2),
    ],
    ids=["flips", "penalties", "top_k", "noise", "relative"],
)
@pytest.mark.parametrize("devices", [4])
def test_the_number_of_devices_changes_nothing(devices, adversary, images):
    """Both turns. The judge uses the keys that it gets, as dropout does, and is curved, so that slopes differ."""

    def judge(x, keys, stats=None):
        draws = jax.vmap(lambda key: jax.random.uniform(key))(keys)
        return jnp.sum(jnp.sin(2 * x.reshape(len(x), -1)), 1) * (1 + draws), None, stats

    def both(real, fake, first):
        keys = Keys.of(jax.random.key(3), len(real), first)
        seen = adversary.discriminate(judge, real, fake, keys, STEP)
        fooled, _ = adversary.fool(judge, fake, keys, STEP, real)
        return seen.value, fooled, seen.metrics

    split = lambda x: x.reshape(devices, -1, *x.shape[1:])  # noqa: E731
    whole = jax.jit(both)(*images, 0)
    parts = jax.pmap(both, axis_name=AXIS, devices=jax.devices()[:devices])(
        *map(split, images), jnp.arange(devices) * (N // devices)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a.mean(), b, rtol=1e-4, atol=1e-5), parts, whole)


@pytest.mark.parametrize(
    "adversary", [Adversary(), Adversary(packing=2, flip=0.5, noise=0.1, gradient_penalty=1.0)]
)
@pytest.mark.slow
def test_small_examples_are_judged_at_once_with_the_same_verdict(adversary, images):
    seen = []

    def judge(x, keys, stats=None):
        seen.append(len(x))
        draws = jax.vmap(lambda key: jax.random.uniform(key))(keys)
        return jnp.sum(jnp.sin(2 * x.reshape(len(x), -1)), 1) * (1 + draws), None, stats

    apart, together = (
        adversary.discriminate(judge, *images, KEYS, STEP, per_example=asked) for asked in (False, True)
    )
    assert {N // adversary.packing, 2 * N // adversary.packing} == set(seen)
    np.testing.assert_allclose(together.value, apart.value, rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), together.metrics, apart.metrics)
    seen.clear()
    large = (np.tile(x, (1, 8, 8, 1)) for x in images)  # not worth joining
    Adversary().discriminate(judge, *large, KEYS, STEP, per_example=True)
    assert seen == [N, N]


def test_top_k_learns_from_the_most_real_looking(images):
    """A quarter of 8: the two best, each weighing 4 times as much; on the way there 5 of 8."""
    fake = logits(images[1])
    best = np.sort(fake)[::-1]
    for step, steps, kept in ((0, 0, 2), (0, 10, 8), (5, 10, 5), (30, 10, 2)):
        rules = Adversary(loss="wasserstein", top_k=0.25, top_k_steps=steps)
        value, _ = rules.fool(mean_of_values, images[1], KEYS, jnp.int32(step))
        np.testing.assert_allclose(value, -best[:kept].mean(), rtol=1e-4)
    slopes = jax.grad(
        lambda x: Adversary(loss="wasserstein", top_k=0.25).fool(mean_of_values, x, KEYS, STEP)[0]
    )
    moved = np.abs(np.asarray(slopes(images[1]))).sum((1, 2, 3)) > 0
    np.testing.assert_array_equal(moved, fake >= best[1])


def test_a_relative_loss_pairs_images_and_needs_real_ones(images):
    real, fake = map(logits, images)
    rules = Adversary(loss="relativistic")
    np.testing.assert_allclose(discriminate(rules, images).value, softplus(fake - real).mean(), rtol=1e-5)
    value, _ = rules.fool(mean_of_values, images[1], KEYS, STEP, images[0])
    np.testing.assert_allclose(value, softplus(real - fake).mean(), rtol=1e-5)
    with pytest.raises(ValueError, match="needs real examples"):
        rules.fool(mean_of_values, images[1], KEYS, STEP)


@pytest.mark.slow
def test_a_lazy_penalty_costs_as_much_on_average(images):
    """A judge of slope 1/4 for each of 4 values: its square is 1/4, half of it 1/8."""
    base = float(discriminate(Adversary(), images).value)
    every = [
        float(discriminate(Adversary(r1=2.0, r2=3.0, penalty_every=4), images, jnp.int32(step)).value) - base
        for step in range(8)
    ]
    np.testing.assert_allclose(every, [4 * 5 / 8, 0, 0, 0] * 2, atol=1e-5)
    np.testing.assert_allclose(np.mean(every), 5 / 8, rtol=1e-4)
    always = discriminate(Adversary(r1=2.0, r2=3.0), images)
    np.testing.assert_allclose(always.value - base, 5 / 8, rtol=1e-4)
    np.testing.assert_allclose([always.metrics[name] for name in ("r1", "r2")], 1 / 8, rtol=1e-5)


def test_patches_count_as_their_mean_in_penalties(images):
    """Two patches of slopes a and 3 a: the mean's is 2 a, whatever the number of patches."""

    def patches(x, keys, stats=None):
        of = x.reshape(len(x), -1).sum(1, keepdims=True)
        return jnp.concatenate([of, 3 * of], 1), None, stats

    found = discriminate(Adversary(r1=1.0), images, judge=patches)
    np.testing.assert_allclose(found.metrics["r1"], 4 * 2**2 / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"smoothing": 0.6}, "smoothing\n.*less than or equal to 0.5"),
        ({"flip": -0.1}, "flip\n.*greater than or equal to 0"),
        ({"noise": -1.0}, "noise\n.*greater than or equal to 0"),
        ({"top_k": 0.0}, "top_k\n.*greater than 0"),
        ({"packing": 0}, "packing\n.*greater than 0"),
        ({"penalty_every": 0}, "penalty_every\n.*greater than 0"),
        ({"discriminator_turns": 0}, "discriminator_turns\n.*greater than 0"),
        ({"discriminator_pretraining": -1}, "discriminator_pretraining\n.*greater than or equal to 0"),
        ({"loss": "hing"}, "loss\n.*'hinge'"),
        ({"augment": ("colour",)}, "augment.0\n.*'color'"),
    ],
)
def test_what_is_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Adversary(**settings)


def test_penalties_on_weights_by_hand():
    """Rows (1, 2), (3, 0), (0, 1): products 3, 2 and 0 off the diagonal, each twice."""
    dense = np.array([[1, 3, 0], [2, 0, 1]], np.float32)
    conv = (
        np.array([1.0, -2]).reshape(1, 1, 2, 1).astype(np.float32)
    )  # one output: nothing to be orthogonal to
    params = {
        "Dense_0": {"kernel": jnp.asarray(dense), "bias": jnp.full(3, 9.0)},
        "Conv_0": {"kernel": jnp.asarray(conv)},
        "ConvTranspose_0": {"kernel": jnp.asarray(np.moveaxis(conv, 2, 3))},  # outputs last: two, of -2 * 1
        "class_embedding": jnp.full((3, 3), 9.0),
    }
    value, found = WeightPenalties(orthogonal=0.5, l1=2.0, l2=3.0).penalty(params)
    sums = {
        "orthogonal": 2 * (3**2 + 2**2 + 0) + 2 * 2**2,
        "l1": 7 + 3 + 3,
        "l2": (1 + 9 + 4 + 1 + 5 + 5) / 2,
    }
    for name, expected in sums.items():
        np.testing.assert_allclose(found[name], expected, rtol=1e-6, err_msg=name)
    expected = 0.5 * sums["orthogonal"] + 2 * sums["l1"] + 3 * sums["l2"]
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    assert WeightPenalties().penalty(params) == (0, {})


def test_penalised_losses_have_those_of_all_networks_named(rng):
    """Half the squares pull each kernel to zero by itself, and nothing else; no penalty leaves the loss as it is."""
    draw = {name: jnp.asarray(rng.normal(size=(2, 3)), jnp.float32) for name in "abc"}
    nets = {name: {"kernel": x, "bias": x[0]} for name, x in draw.items()}
    state = SimpleNamespace(params=nets)

    def loss(state, batch, keys):
        return jnp.float32(2.0), Aux(metrics={"own": jnp.float32(1.0)})

    assert WeightPenalties().on(("a", "b"), loss) is loss
    penalised: Any = WeightPenalties(l2=3.0).on(("a", "b"), loss)
    value, aux = penalised(state, {}, None)
    half = sum(float(np.sum(np.square(draw[name]))) / 2 for name in "ab")
    np.testing.assert_allclose([value, aux.metrics["l2"]], [2 + 3 * half, half], rtol=1e-6)
    assert aux.metrics["own"] == 1
    slopes = jax.grad(lambda nets: penalised(SimpleNamespace(params=nets), {}, None)[0])(nets)
    for name in "abc":
        np.testing.assert_allclose(slopes[name]["kernel"], (name != "c") * 3 * draw[name], rtol=1e-6)
        assert not slopes[name]["bias"].any()
