"""LAPGAN: the pyramid to the bit, a step written out with plain gradients, sampling as a plain loop."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, quick_jit, slow

from jaxgan import config, experiment, game
from jaxgan.errors import InputError
from jaxgan.families import LAPGAN
from jaxgan.game import Keys
from jaxgan.layers import pyramid as pyramids
from jaxgan.networks import BandGenerator, MLPDiscriminator, MLPGenerator

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")

KEY, N, LR, SIZE, Z = jax.random.key(0), 4, 0.1, 8, 3


def halving(size):
    """The filter 1, 3, 3, 1 over repeated borders, as a matrix `[size / 2, size]` in integers over 8."""
    matrix = np.zeros((size // 2, size))
    for i in range(size // 2):
        for offset, weight in zip((-1, 0, 1, 2), (1, 3, 3, 1), strict=True):
            matrix[i, np.clip(2 * i + offset, 0, size - 1)] += weight / 8
    return matrix


def doubling(size):
    """Linear interpolation at pixels half as large, as a matrix `[2 size, size]`."""
    matrix = np.zeros((2 * size, size))
    for i in range(2 * size):
        at = (i + 0.5) / 2 - 0.5
        low = int(np.floor(at))
        for j, weight in ((low, low + 1 - at), (low + 1, at - low)):
            matrix[i, np.clip(j, 0, size - 1)] += weight
    return matrix


def both(rows, columns, x):
    return np.einsum("ai,bj,nijc->nabc", rows, columns, np.asarray(x, np.float64))


def eighths(rng, *shape):
    """Images in [-1, 1] of whole numbers over 128: two halvings and doublings of them are exact in float32."""
    return jnp.asarray(rng.integers(-128, 129, shape) / 128, jnp.float32)


@pytest.mark.parametrize("size", [(28, 28), (2, 6)])
@pytest.mark.slow
def test_half_and_double_are_the_matrices(size, rng):
    x = eighths(rng, 2, *size, 3)
    np.testing.assert_array_equal(pyramids.down(x), both(halving(size[0]), halving(size[1]), x))
    np.testing.assert_array_equal(pyramids.up(x), both(doubling(size[0]), doubling(size[1]), x))


@pytest.mark.parametrize("size", [(28, 28), (64, 4)])
def test_a_pyramid_gives_back_its_image_to_the_bit(size, rng):
    """Where float32 holds all sums exactly; and to rounding of any image."""
    x = eighths(rng, 2, *size, 3)
    cut = quick_jit(lambda x: pyramids.pyramid(x, 3))
    bands = cut(x)
    assert [band.shape[1:3] for band in bands] == [(size[0] >> k, size[1] >> k) for k in range(3)]
    joined = quick_jit(pyramids.reconstruct)
    np.testing.assert_array_equal(joined(bands), x)
    assert float(jnp.abs(bands[0]).mean()) > 0.1  # noise is in the bands
    other = jnp.asarray(rng.uniform(-1, 1, (2, *size, 3)), jnp.float32)
    np.testing.assert_allclose(joined(cut(other)), other, atol=3e-7, rtol=0)
    np.testing.assert_array_equal(pyramids.pyramid(x, 1)[0], x)


def test_a_flat_image_is_in_the_smallest_copy_alone():
    *bands, coarsest = quick_jit(lambda x: pyramids.pyramid(x, 3))(jnp.full((1, 12, 12, 1), 0.3))
    np.testing.assert_allclose(coarsest, 0.3, rtol=1e-6)
    for band in bands:
        np.testing.assert_allclose(band, 0, atol=1e-6)


@pytest.mark.parametrize(("size", "levels"), [((14, 14), 3), ((5, 4), 2), ((4, 4), 0)])
def test_sides_that_cannot_be_halved_are_refused(size, levels):
    with pytest.raises(ValueError, match=r"even sides|at least one level"):
        pyramids.pyramid(jnp.zeros((1, *size, 1)), levels)


class Band(nn.Module):
    """A generator of bands small enough to write down."""

    @nn.compact
    def __call__(self, low, noise, label=None, *, train=False, keys=None):
        return nn.Dense(1)(jnp.tanh(nn.Dense(2)(jnp.concatenate([low, noise], -1))))


class Judge(nn.Module):
    @nn.compact
    def __call__(self, image, label=None, *, train=False, keys=None):
        return nn.Dense(1)(jnp.tanh(nn.Dense(2)(image)).reshape(len(image), -1))[:, 0]


def start(rules, **batch):
    return quick_jit(lambda: game.init(rules, KEY, {name: x[:N] for name, x in batch.items()}))()


def pair(levels=2, **settings):
    """Two levels, 8 and 4 pixels."""
    return play(
        LAPGAN,
        [Band()] * (levels - 1) + [MLPGenerator((SIZE >> levels - 1, SIZE >> levels - 1, 1), 4, 1)],
        [Judge()] * (levels - 1) + [MLPDiscriminator(4, 1)],
        resolution=SIZE,
        levels=levels,
        latent=Z,
        **{f"{name}_optimizer": optax.sgd(LR) for name in ("generator", "discriminator")},
        **settings,
    )


@pytest.mark.parametrize("shared", [slow(True), False])
@pytest.mark.slow
def test_one_step_by_hand(shared, rng):
    """Each level by itself: who is given which image and which noise, and sees what."""
    rules = pair(loss="minimax", shared_draws=shared, latent_kind="normal")
    turns = 1 if shared else 2
    batch = {"real": jnp.asarray(rng.uniform(-1, 1, (turns, N, SIZE, SIZE, 1)), jnp.float32)}
    state = start(rules, real=batch["real"][0])
    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)

    def cut(turn):
        keys = Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), turn), N)
        x = np.asarray(batch["real"][turn], np.float64)
        small = both(halving(8), halving(8), x)
        low = jnp.asarray(both(doubling(4), doubling(4), small), jnp.float32)
        return keys, jnp.asarray(small, jnp.float32), low, x - low

    draws = [cut(0), cut(0 if shared else 1)]

    def made(level, params, turn):
        keys, _, low, _ = draws[turn]
        own = keys.fold(f"generator_{level}").fold("latent")
        run = {"params": params}
        if level == 1:
            return MLPGenerator((4, 4, 1), 4, 1).apply(run, own.normal((Z,)))
        return Band().apply(run, low, own.normal((64,)).reshape(N, 8, 8, 1))

    def judged(level, params, band, turn):
        _, _, low, _ = draws[turn]
        if level == 1:
            return jax.nn.sigmoid(MLPDiscriminator(4, 1).apply({"params": params}, band))
        seen = jnp.concatenate([low + band, low], 3)
        return jax.nn.sigmoid(Judge().apply({"params": params}, seen))

    for level in (0, 1):
        g, d = (state.params[f"{name}_{level}"] for name in ("generator", "discriminator"))
        _, small, _, detail = draws[0]
        real = (jnp.asarray(detail, jnp.float32), small)[level]

        @quick_jit
        @jax.value_and_grad
        def d_value(d, level=level, g=g, real=real):
            fake = judged(level, d, made(level, g, 0), 0)
            return -jnp.mean(jnp.log(judged(level, d, real, 0))) - jnp.mean(jnp.log(1 - fake))

        d_loss, grads = d_value(d)
        after = jax.tree.map(lambda p, x: p - LR * x, d, grads)

        @quick_jit
        @jax.value_and_grad
        def g_value(g, level=level, after=after):
            return jnp.mean(jnp.log(1 - judged(level, after, made(level, g, 1), 1)))

        g_loss, grads = g_value(g)
        want = {f"discriminator_{level}": after}
        want[f"generator_{level}"] = jax.tree.map(lambda p, x: p - LR * x, g, grads)
        got = {name: new.params[name] for name in want}
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got, want)
        np.testing.assert_allclose(metrics[f"discriminator/loss_{level}"], d_loss, rtol=1e-5)
        np.testing.assert_allclose(metrics[f"generator/loss_{level}"], g_loss, rtol=1e-5)
    for name in ("discriminator", "generator"):
        total = metrics[f"{name}/loss_0"] + metrics[f"{name}/loss_1"]
        np.testing.assert_allclose(metrics[f"{name}/loss"], total, rtol=1e-6)
    middle = (metrics["discriminator/real_0"] + metrics["discriminator/real_1"]) / 2
    np.testing.assert_allclose(metrics["discriminator/real"], middle, rtol=1e-6)


@pytest.mark.slow
def test_sampling_is_a_loop_from_coarse_to_fine(rng):
    """Three levels with labels; the numbers of the latent go where they say."""
    classes, sizes = 3, (8, 4, 2)
    makers = [*[BandGenerator(1, 2, 1, classes)] * 2, MLPGenerator((2, 2, 1), 4, 2, classes)]
    judges = [Judge(), Judge(), MLPDiscriminator(4, 2, classes)]
    rules = play(LAPGAN, makers, judges, resolution=8, latent=Z, conditional=True, ema=0.9)
    label = jnp.asarray([0, 2, 1, 1], jnp.int32)
    state = start(rules, real=jnp.zeros((N, 8, 8, 1)), label=label)
    assert set(state.ema) == {"generator_0", "generator_1", "generator_2"}
    z = jnp.asarray(rng.normal(size=(N, Z + 64 + 16)), jnp.float32)
    noise = {0: z[:, Z : Z + 64], 1: z[:, Z + 64 :]}

    def run(level, *args):
        return quick_jit(lambda: makers[level].apply(state.variables(f"generator_{level}"), *args))()

    image = run(2, z[:, :Z], label)
    for level in (1, 0):
        low = jnp.asarray(both(doubling(image.shape[1]), doubling(image.shape[1]), image), jnp.float32)
        image = low + run(level, low, noise[level].reshape(N, sizes[level], sizes[level], 1), label)
    sample = quick_jit(lambda batch: rules.sample(state, Keys.of(KEY, N), batch))
    made = sample({"latent": z, "label": label})
    np.testing.assert_allclose(made, image, rtol=1e-4, atol=1e-6)
    given = 2 * Keys.of(KEY, N).fold("latent").uniform((Z + 80,)) - 1
    drawn, same = sample({"label": label}), sample({"latent": given, "label": label})
    np.testing.assert_allclose(drawn, same, rtol=1e-5, atol=1e-6)
    other = sample({"latent": z, "label": (label + 1) % 3})
    assert float(jnp.abs(other - made).max()) > 1e-3


def test_one_level_is_a_plain_gan(rng):
    rules = pair(1)
    state = start(rules, real=jnp.zeros((N, SIZE, SIZE, 1)))
    z = jnp.asarray(rng.normal(size=(N, Z)), jnp.float32)
    made = rules.sample(state, Keys.of(KEY, N), {"latent": z})
    np.testing.assert_allclose(
        made, MLPGenerator((8, 8, 1), 4, 1).apply(state.variables("generator_0"), z), rtol=1e-6
    )


@pytest.mark.slow
def test_every_level_plays_by_the_same_rules(rng):
    """Penalties and packs at each, and nothing is not a number."""
    rules = pair(loss="wasserstein", gradient_penalty=1.0, packing=2)
    batch = {"real": jnp.asarray(rng.uniform(-1, 1, (1, N, SIZE, SIZE, 1)), jnp.float32)}
    state = start(rules, real=batch["real"][0])
    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    assert int(new.skipped) == 0
    assert metrics["discriminator/gradient_penalty_0"] > 0
    assert metrics["discriminator/gradient_penalty_1"] > 0


def test_what_is_no_pyramid_is_refused():
    with pytest.raises(ValueError, match="needs as many generators and discriminators, not 3 and 2"):
        LAPGAN().game([Band()] * 3, [Judge()] * 2, resolution=8)
    with pytest.raises(ValueError, match="8 pixels cannot be halved 4 times"):
        LAPGAN(levels=5).game([Band()] * 5, [Judge()] * 5, resolution=8)
    with pytest.raises(ValueError, match="this pyramid is of 8x8 images"):
        game.init(pair(), KEY, {"real": jnp.zeros((N, 16, 16, 1))})
    with pytest.raises(ValueError, match="packing"):
        LAPGAN(conditional=True, packing=2)


SETTINGS = {
    "name": "t",
    "steps": 1,
    "batch_size": 4,
    "data": {"source": "embedded"},
    "generator": {"network": "lapgan", "width": 4},
    "discriminator": {"network": "lapgan", "width": 4},
    "game": {"family": "lapgan"},
}


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"game.levels": "4"}, r"^game.levels is 4, but 28x28 images cannot be halved 3 times"),
        ({"game.conditional": "true"}, "the data has no classes"),
        ({"generator.network": "dcgan"}, "takes generator.network lapgan, not dcgan"),
        ({"game.family": "gan"}, r"takes generator.network biggan or .*, not lapgan"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(overrides, message):
    with pytest.raises(InputError, match=message) as caught:
        experiment.build(config.parse(SETTINGS, overrides), [], 100)
    assert "\n" not in str(caught.value)


def test_settings_become_a_game():
    built = experiment.build(config.parse(SETTINGS, {"game.levels": "3"}), [], 100)
    state = jax.eval_shape(lambda: experiment.initial(built))
    assert built.latents is not None
    assert built.latents.size == 100 + 28 * 28 + 14 * 14
    assert set(state.ema) == {"generator_0", "generator_1", "generator_2"}
    assert state.params["generator_2"]["Dense_2"]["kernel"].shape == (1200, 49)
    assert state.params["discriminator_1"]["Conv_0"]["kernel"].shape == (4, 4, 4, 2)
