"""InfoGAN: one step by hand, codes that are drawn and read as said, and what does not fit."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, quick_jit
from scipy import stats

from jaxgan import config, experiment, game
from jaxgan.data.sources import Field
from jaxgan.errors import InputError
from jaxgan.families.infogan import REACH, ROWS, STEPS, InfoGAN
from jaxgan.game import Keys
from jaxgan.networks import MLPDiscriminator, MLPGenerator

pytestmark = pytest.mark.usefixtures("quick_programs")
KEY = jax.random.key(0)
N, Z, K, C, LR = 6, 3, 4, 2, 0.1
SETTINGS = {
    "name": "t",
    "steps": 1,
    "batch_size": 8,
    "data": {"source": "embedded"},
    "generator": {"network": "mlp", "width": 4, "depth": 1},
    "discriminator": {"network": "mlp", "width": 4, "depth": 1, "conditioning": "auxiliary"},
    "game": {"family": "infogan", "latent": Z, "categories": K, "continuous": C},
}


def networks() -> tuple[nn.Module, nn.Module]:
    return MLPGenerator((5,), 8, 1), MLPDiscriminator(8, 1, K + C, 0.2, conditioning="auxiliary")


def test_one_step_by_hand(rng: np.random.Generator) -> None:
    """Equations 5 and 6: both pay for the codes of what was generated, D's body and Q in D's turn, G in its own."""
    g, d = networks()
    rules = play(
        InfoGAN,
        *(g, d),
        **{"latent": Z, "categories": K, "continuous": C, "information": 0.7},
        **{"continuous_information": 0.3, "generator_optimizer": optax.sgd(LR)},
        discriminator_optimizer=optax.sgd(LR),
    )
    batch = {"real": jnp.asarray(rng.uniform(-1, 1, (2, N, 5)), jnp.float32)}
    state = quick_jit(lambda: game.init(rules, KEY, {"real": batch["real"][0]}))()
    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    keys = [Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), turn), N) for turn in (0, 1)]

    def drawn(turn: int) -> tuple[Any, Any, Any]:
        category = jnp.floor(keys[turn].fold("category").uniform() * K).astype(jnp.int32)
        continuous = 2 * keys[turn].fold("continuous").uniform((C,)) - 1
        noise = keys[turn].fold("latent").normal((Z,))
        return jnp.concatenate([noise, jnp.eye(K)[category], continuous], 1), category, continuous

    def judge(params: Any, x: Any, turn: int, of: str) -> Any:
        return d.apply({"params": params}, x, train=True, keys=keys[turn].fold(of).example)

    def lost(told: Any, category: Any, continuous: Any) -> Any:
        said = told[:, :K] - jax.scipy.special.logsumexp(told[:, :K], axis=1, keepdims=True)
        cross_entropy = -jnp.mean(said[jnp.arange(N), category])
        # Of a Gaussian of variance 1, without its constant.
        nats = jnp.mean(jnp.sum((told[:, K:] - continuous) ** 2 / 2, 1))
        return 0.7 * cross_entropy + 0.3 * nats

    def d_value(params: Any) -> Any:
        z, *codes = drawn(0)
        fake = g.apply({"params": state.params["generator"]}, z, train=True)
        real, _ = judge(params, batch["real"][0], 0, "real")
        logits, told = judge(params, fake, 0, "fake")
        plain = -jnp.mean(jnp.log(jax.nn.sigmoid(real))) - jnp.mean(jnp.log(1 - jax.nn.sigmoid(logits)))
        return plain + lost(told, *codes)

    value, grads = jax.value_and_grad(d_value)(state.params["discriminator"])
    after = jax.tree.map(lambda p, x: p - LR * x, state.params["discriminator"], grads)

    def g_value(params: Any) -> Any:
        z, *codes = drawn(1)
        logits, told = judge(after, g.apply({"params": params}, z, train=True), 1, "fake")
        return -jnp.mean(jnp.log(jax.nn.sigmoid(logits))) + lost(told, *codes)

    other, grads = jax.value_and_grad(g_value)(state.params["generator"])
    made = jax.tree.map(lambda p, x: p - LR * x, state.params["generator"], grads)
    expected = {"discriminator": after, "generator": made}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), new.params, expected)
    np.testing.assert_allclose(metrics["discriminator/loss"], value, rtol=1e-5)
    np.testing.assert_allclose(metrics["generator/loss"], other, rtol=1e-5)
    z, category, continuous = drawn(0)
    told = judge(
        state.params["discriminator"],
        g.apply({"params": state.params["generator"]}, z, train=True),
        0,
        "fake",
    )
    right = np.argmax(np.asarray(told[1])[:, :K], 1) == np.asarray(category)
    np.testing.assert_allclose(metrics["discriminator/category"], right.mean(), rtol=1e-6)
    error = np.asarray(told[1])[:, K:] - np.asarray(continuous)
    np.testing.assert_allclose(metrics["discriminator/continuous"], np.mean(error**2), rtol=1e-4)


def test_codes_are_drawn_evenly_and_stand_behind_the_noise() -> None:
    latents = InfoGAN(latent=Z, categories=K, continuous=C).latents
    keys = Keys.of(KEY, 4000)
    z = np.asarray(latents.draw(keys))
    assert z.shape == (4000, latents.size) == (4000, Z + K + C)
    noise, one_hot, continuous = z[:, :Z], z[:, Z : Z + K], z[:, Z + K :]
    assert stats.kstest(noise.ravel(), "norm").pvalue > 0.001
    assert set(np.unique(one_hot)) == {0.0, 1.0}
    assert (one_hot.sum(1) == 1).all()
    assert stats.chisquare(one_hot.sum(0)).pvalue > 0.001
    assert stats.kstest(continuous.ravel(), "uniform", (-1, 2)).pvalue > 0.001
    category, told = latents.codes(keys)
    np.testing.assert_array_equal(one_hot.argmax(1), category)
    np.testing.assert_array_equal(continuous, told)
    within = np.asarray(latents.draw(keys, truncation=0.5))
    assert 0.4 < np.abs(within[:, :Z]).max() <= 0.5
    np.testing.assert_array_equal(within[:, Z:], z[:, Z:])


@pytest.mark.parametrize("codes", [{"categories": 0, "continuous": 2}, {"categories": 3, "continuous": 0}])
def test_either_code_can_be_left_out(codes: dict[str, int], rng: np.random.Generator) -> None:
    total = sum(codes.values())
    pair = MLPGenerator((5,), 4, 1), MLPDiscriminator(4, 1, total, conditioning="auxiliary")
    rules = play(InfoGAN, *pair, latent=Z, **codes)
    batch = {"real": jnp.asarray(rng.uniform(-1, 1, (2, N, 5)), jnp.float32)}
    state = quick_jit(lambda: game.init(rules, KEY, {"real": batch["real"][0]}))()
    new, metrics = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    assert int(new.skipped) == 0
    told = {name.split("/")[1] for name in metrics} & {"category", "continuous"}
    assert told == {"category" if codes["categories"] else "continuous"}


def test_pictures_change_one_code_along_a_row() -> None:
    """And a sample is what the generator makes of noise and codes."""
    built = experiment.build(config.parse(SETTINGS), [], 100)
    state = quick_jit(lambda: experiment.initial(built))()
    assert list(built.pictures) == [
        "one draw of noise in each row, one category in each column",
        *(f"continuous code {i}, from -2 to 2 along each row" for i in (1, 2)),
    ]
    generator = MLPGenerator((28, 28, 1), 4, 1)
    latents = InfoGAN(latent=Z, categories=K, continuous=C).latents
    keys = Keys.of(jax.random.key(0), ROWS)
    plain = np.asarray(latents.draw(keys))
    for i, make in enumerate(built.pictures.values()):
        sheet: Any = make(state, {})
        assert sheet.columns == (K if i == 0 else STEPS)
        z = np.repeat(plain, sheet.columns, 0)
        if i == 0:
            z[:, Z : Z + K] = np.tile(np.eye(K), (ROWS, 1))
        else:
            z[:, Z + K + i - 1] = np.tile(np.linspace(-REACH, REACH, STEPS), ROWS)
        want = generator.apply(state.averaged().variables("generator"), jnp.asarray(z), train=False)
        np.testing.assert_allclose(sheet.examples, want, atol=1e-5)
    drawn = built.game.sample(state, keys, None)
    want = generator.apply(state.variables("generator"), jnp.asarray(plain), train=False)
    np.testing.assert_allclose(drawn, want, atol=1e-5)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"game.packing": "2"}, "set packing to 1"),
        ({"game.categories": "1"}, "needs a code: at least two categories, or a continuous one"),
        ({"game.categories": "0", "game.continuous": "0"}, "needs a code"),
        ({"game.latent": "0"}, "game.latent: Input should be greater than 0"),
        (
            {
                "generator.network": "biggan",
                "game.latent": "1",
                "game.categories": "0",
                "game.continuous": "1",
            },
            "cuts latents into 3 parts at 28x28; give it at least as many",
        ),
        ({"discriminator.conditioning": "projection"}, "set discriminator.conditioning to 'auxiliary'"),
        ({"discriminator.network": "sagan"}, "set discriminator.conditioning to 'auxiliary'"),
        ({"generator.network": "translator"}, "takes generator.network biggan or dcgan"),
        ({"discriminator.network": "patchgan"}, "takes discriminator.network biggan or dcgan"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(overrides: dict[str, str], message: str) -> None:
    fields = {"real": Field((28, 28, 1), "uint8"), "label": Field((), "int32")}
    with pytest.raises(InputError, match=message) as caught:
        experiment.build(config.parse(SETTINGS, overrides), [], 100, fields)
    assert "\n" not in str(caught.value)
