"""The refiner: its network, turns and pretraining by hand, its history as a plain program."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import strategies as st
from PIL import Image
from quick import play, quick_jit

from jaxgan import axis, cli, config, experiment, game
from jaxgan.data.sources import Field
from jaxgan.errors import InputError
from jaxgan.families import Refinement
from jaxgan.game import Keys
from jaxgan.networks import PatchGAN, Refiner
from jaxgan.objectives import pool as pools
from jaxgan.training import train

pytestmark = pytest.mark.usefixtures("quick_programs")

KEY, N, LR, SIZE = jax.random.key(0), 4, 0.1, 3
G, D = Refiner(1, 2, 1), PatchGAN(2, 0, "none")


def rules(**settings):
    sgd = {f"{name}_optimizer": optax.sgd(LR) for name in ("generator", "discriminator")}
    given = {"self_regularisation": 3.0, "history": 0, "generator_turns": 1} | settings
    return play(Refinement, G, D, loss="minimax", **sgd, **given)


def data(rng, turns):
    draw = lambda: jnp.asarray(rng.uniform(-1, 1, (turns, N, SIZE, SIZE, 1)), jnp.float32)  # noqa: E731
    return {"real": draw(), "other": draw()}


def start(made, batch):
    return quick_jit(lambda: game.init(made, KEY, jax.tree.map(lambda x: x[0], batch)))()


def run(module, params, *args):
    return module.apply({"params": params}, *args)


def moved(params, grads):
    return jax.tree.map(lambda p, g: p - LR * g, params, grads)


def close(got, want):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), got, want)


@quick_jit
@jax.value_and_grad
def g_value(g, d, x, share):
    """Equation 4, in two parts: local logits of pixels, and the distance to the synthetic image."""
    refined = run(G, g, x)
    fooled = jnp.mean(jnp.log(1 - jax.nn.sigmoid(run(D, d, refined))))
    return share * fooled + 3 * jnp.mean(jnp.abs(refined - x))


@quick_jit
@jax.value_and_grad
def d_value(d, g, x, y):
    """Equation 2."""
    real, fake = (jax.nn.sigmoid(run(D, d, image)) for image in (y, run(G, g, x)))
    return -jnp.mean(jnp.log(real)) - jnp.mean(jnp.log(1 - fake))


def test_the_published_refiner_keeps_the_size():
    """64 features, four blocks: 640 + 8 x 36,928 + 65 parameters for grey images."""
    x = jnp.zeros((1, 35, 55, 1))
    made, variables = jax.eval_shape(lambda x: Refiner(1).init_with_output(KEY, x), x)
    assert made.shape == x.shape
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 640 + 8 * 36_928 + 65


@pytest.mark.slow
def test_turns_of_a_step_by_hand(rng):
    """Algorithm 1: the refiner twice, then the discriminator once, each on a batch of its own."""
    made, batch = rules(generator_turns=2), data(rng, 3)
    state = start(made, batch)
    new, metrics = quick_jit(lambda s, b: game.step(made, s, b))(state, batch)
    g, d = state.params["generator"], state.params["discriminator"]
    for turn in (0, 1):
        g = moved(g, g_value(g, d, batch["other"][turn], 1.0)[1])
    loss, grads = d_value(d, g, batch["other"][2], batch["real"][2])
    close(new.params, {"generator": g, "discriminator": moved(d, grads)})
    np.testing.assert_allclose(metrics["discriminator/loss"], loss, rtol=1e-5)
    x = batch["other"][0]
    close(made.sample(new, Keys.of(KEY, N), {"other": x}), run(G, g, x))


@pytest.mark.slow
def test_pretraining_by_hand(rng):
    """A step of the refiner alone, one more with the discriminator, which it does not yet learn from, and both."""
    made = rules(generator_pretraining=1, discriminator_pretraining=1)
    batch = data(rng, 2)
    state = start(made, batch)
    step = quick_jit(lambda s, b: game.step(made, s, b))
    g, d = state.params["generator"], state.params["discriminator"]
    for number, (share, plays) in enumerate(((0.0, False), (0.0, True), (1.0, True))):
        state, metrics = step(state, batch)
        loss, grads = g_value(g, d, batch["other"][0], share)
        g = moved(g, grads)
        if plays:
            d = moved(d, d_value(d, g, batch["other"][1], batch["real"][1])[1])
        close(state.params, {"generator": g, "discriminator": d})
        np.testing.assert_allclose(metrics["generator/loss"], loss, rtol=1e-5, err_msg=str(number))
        assert np.isnan(metrics["discriminator/loss"]) == (not plays)


def play_history(size: int, n: int, devices: int, seed: int) -> int:
    """Twelve batches in a history, image by image in Python; how many older images were shown."""
    part = n // devices

    def turn(pool, fresh, key, first):
        seen, candidates = pools.halves(pool, fresh, Keys.of(key, part, first))
        return seen, pools.remember(pool, axis.gather(candidates, game.AXIS))

    play = jax.pmap(
        turn,
        axis_name=game.AXIS,
        in_axes=(None, 0, None, 0),
        out_axes=(0, None),
        devices=jax.devices()[:devices],
    )
    pool, held = pools.empty(size, jnp.zeros((1, 1, 1, 1))), []
    shown = 0
    for step in range(12):
        fresh = np.arange(n * step + 1, n * (step + 1) + 1, dtype=np.float32)
        key = jax.random.fold_in(jax.random.key(seed), step)
        places = np.asarray(Keys.of(key, n).fold("place").uniform() * size).astype(int)
        seen, pool = play(pool, fresh.reshape(devices, part, 1, 1, 1), key, part * np.arange(devices))
        before, expected = list(held), list(fresh)
        for i in range(n):
            if len(before) < size:
                held += [fresh[i]] if len(held) < size else []
            elif i % 2:
                expected[i] = before[places[i]]
                shown += 1
            else:
                held[places[i]] = fresh[i]
        np.testing.assert_array_equal(np.ravel(seen), expected)
        np.testing.assert_array_equal(np.ravel(pool["images"])[: len(held)], held)
        assert int(pool["filled"]) == len(held)
    return shown


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.slow
def test_every_second_image_is_an_older_one(devices):
    assert play_history(5, 4, devices, 0) == 20  # two of four, once five are held: from the third batch on


@hypothesis.settings(max_examples=5, deadline=None, derandomize=True)
@hypothesis.given(size=st.integers(1, 7), n=st.integers(1, 4), seed=st.integers(0, 2**32 - 1))
@pytest.mark.slow
def test_the_history_is_a_plain_program(size, n, seed):
    play_history(size, n, 1, seed)


@pytest.mark.slow
def test_the_discriminator_sees_half_of_what_was(rng):
    """With a full history, as a step of the game goes."""
    made, batch = rules(history=N), data(rng, 2)
    state = start(made, batch)
    old = jnp.asarray(rng.uniform(-1, 1, (N, SIZE, SIZE, 1)), jnp.float32)
    state = state.replace(memory={"images": old, "filled": jnp.int32(N)})
    new, _ = quick_jit(lambda s, b: game.step(made, s, b))(state, batch)
    g, d = new.params["generator"], state.params["discriminator"]
    keys = Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), 1), N)
    places = np.asarray(keys.fold("place").uniform() * N).astype(int)
    refined = run(G, g, batch["other"][1])
    seen = jnp.stack([old[places[i]] if i % 2 else refined[i] for i in range(N)])

    def value(d):
        real, fake = (jax.nn.sigmoid(run(D, d, image)) for image in (batch["real"][1], seen))
        return -jnp.mean(jnp.log(real)) - jnp.mean(jnp.log(1 - fake))

    close(new.params["discriminator"], moved(d, quick_jit(jax.grad(value))(d)))
    kept = np.array(old)
    for i in (0, 2):
        kept[places[i]] = refined[i]
    np.testing.assert_allclose(new.memory["images"], kept, rtol=1e-5, atol=1e-6)


SETTINGS = {
    "name": "t",
    "steps": 1,
    "batch_size": 4,
    "data": {"source": "embedded"},
    "generator": {"network": "refiner", "width": 4},
    "discriminator": {"network": "patchgan", "layers": 1, "width": 4, "norm": "none"},
    "game": {"family": "refiner"},
}
IMAGE, COLOUR = Field((28, 28, 1), "uint8"), Field((28, 28, 3), "uint8")


@pytest.mark.parametrize(
    ("overrides", "fields", "message"),
    [
        ({}, {"real": IMAGE}, "needs real and synthetic images"),
        ({}, {"real": IMAGE, "other": COLOUR}, "real images have 1 channels and synthetic ones 3"),
        ({"generator.network": "dcgan"}, {"real": IMAGE, "other": IMAGE}, "refiner or translator or unet"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(overrides, fields, message):
    with pytest.raises(InputError, match=message):
        experiment.build(config.parse(SETTINGS, overrides), [], 100, fields)


def test_settings_become_a_game():
    built = experiment.build(config.parse(SETTINGS), [], 100, {"real": IMAGE, "other": IMAGE})
    state = jax.eval_shape(lambda: experiment.initial(built))
    assert built.given == ("other",)
    assert built.game.turns == 3
    assert state.memory["images"].shape == (512, 28, 28, 1)
    with pytest.raises(ValueError, match=r"history\n.*greater than or equal to 0"):
        rules(history=-1)


@pytest.mark.slow
def test_a_run_refines_image_files_and_packs(tmp_path):
    """By `jaxgan translate`, as of any family that makes images of images; a discriminator of packs sees as many."""
    run, inputs = tmp_path / "run", tmp_path / "in"
    inputs.mkdir()
    Image.fromarray(np.full((28, 28), 200, np.uint8)).save(inputs / "a.png")
    settings = config.parse(
        {**SETTINGS, "discriminator": {"network": "dcgan", "width": 4, "norm": "none"}},
        {
            **{"data.task": "unpaired-edges", "data.split": "test", "batch_size": "4", "run.samples": "4"},
            **{"game.packing": "2", "game.history": "4"},
        },
    )
    assert train.train(settings, run, print, progress=False, devices=jax.devices()[:1]) == 0
    assert cli.main(["translate", str(run), str(inputs), "--out", str(tmp_path / "out"), "--quiet"]) == 0
    with Image.open(tmp_path / "out" / "a.png") as made:
        assert made.size == (28, 28)
