"""Text to image: encoder, conditions and mismatches against plain programs, both stages by hand, pictures of a text."""

import captions
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image
from quick import play, quick_jit

from jaxgan import config, experiment, game
from jaxgan.cli import main
from jaxgan.data.sources import Field
from jaxgan.data.sources.garments import Attributes, Garments
from jaxgan.errors import InputError
from jaxgan.families import StackGAN
from jaxgan.families.stackgan import mismatches
from jaxgan.game import Keys
from jaxgan.networks import CharacterEncoder, MatchingDiscriminator, StageOne, StageTwo
from jaxgan.networks.stackgan import Augmentation, Gaussian
from jaxgan.runs.directory import RunDirectory
from jaxgan.sampling import sample
from jaxgan.training.recorder import Recorder

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")

KEY, N, LR = jax.random.key(0), 4, 0.1
CAPTIONS = ["dark", "a light bag", "dark", "a dark boot"]


def coded(captions, length=16):
    out = np.zeros((len(captions), length), np.int32)
    for row, caption in zip(out, captions, strict=True):
        row[: len(caption)] = list(caption.encode())
    return jnp.asarray(out)


# The encoder


def test_the_encoder_is_a_plain_program(rng):
    """Character by character in NumPy: windows of three, halved between two layers, the maximum in the end."""
    module = CharacterEncoder(3, 2, layers=2, window=3)
    text = coded(["dark", "a light"], 9)
    variables = module.init(KEY, text)
    p = jax.tree.map(lambda x: rng.normal(size=x.shape), variables["params"])

    def encode(word):
        x = [p["Dense_0"]["kernel"][c] for c in word.encode()]
        for i in (1, 2):
            if i == 2:
                x = [np.maximum(x[j], x[j + 1]) if j + 1 < len(x) else x[j] for j in range(0, len(x), 2)]
            none = np.zeros_like(x[0])
            padded = [none, *x, none]
            windows = [np.concatenate(padded[j : j + 3]) for j in range(len(x))]
            x = [np.maximum(w @ p[f"Dense_{i}"]["kernel"] + p[f"Dense_{i}"]["bias"], 0) for w in windows]
        return np.max(x, 0) @ p["Dense_3"]["kernel"] + p["Dense_3"]["bias"]

    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), p)
    found = quick_jit(module.apply)({"params": params}, text)
    np.testing.assert_allclose(found, [encode("dark"), encode("a light")], rtol=1e-4, atol=1e-5)


def test_what_fills_a_caption_is_not_seen():
    module = CharacterEncoder(4, 4)
    captions = [*CAPTIONS, ""]
    encode = quick_jit(lambda text: module.init_with_output(KEY, text)[0])
    short, long = (np.asarray(encode(coded(captions, length))) for length in (11, 24))
    np.testing.assert_allclose(short, long, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(short[0], short[2])
    assert np.abs(short[0] - short[3]).max() > 1e-3
    assert np.isfinite(short).all()


# Conditions


@pytest.mark.parametrize(
    ("mean", "deviation", "nats"),
    [(0.0, 1.0, 0.0), (1.0, 1.0, 0.5), (0.0, np.e, (np.e**2 - 1) / 2 - 1), (0.0, 0.5, np.log(2) - 0.375)],
)
def test_divergence_in_closed_form(mean, deviation, nats):
    """Of the numbers of one Gaussian; two of them in three dimensions, of which one is standard."""
    gaussian = Gaussian(jnp.full((2, 3), mean), jnp.full((2, 3), 2 * np.log(deviation), jnp.float32))
    standard = Gaussian(*(x.at[:, 0].set(0.0) for x in gaussian))
    np.testing.assert_allclose(standard.divergence(), [2 * nats] * 2, rtol=1e-5, atol=1e-6)


def test_divergence_is_what_it_is_the_mean_of(rng):
    """log p - log q on average over draws from p, with densities written down."""
    mean, deviation = np.array([0.3, -1.0]), np.array([0.5, 1.5])
    x = mean + deviation * rng.normal(size=(200_000, 2))
    log_p = -np.square((x - mean) / deviation) / 2 - np.log(deviation)
    expected = np.mean(np.sum(log_p + np.square(x) / 2, 1))
    gaussian = Gaussian(jnp.float32(mean)[None], jnp.float32(2 * np.log(deviation))[None])
    np.testing.assert_allclose(gaussian.divergence(), [expected], rtol=0.01)


def test_conditions_have_the_moments_that_the_embedding_asks_for(rng):
    module = Augmentation(3)
    embedding = jnp.asarray(rng.normal(size=(1, 5)), jnp.float32)
    variables = module.init(KEY, embedding)
    kernel, bias = (np.asarray(variables["params"]["Dense_0"][name]) for name in ("kernel", "bias"))
    mean, log_variance = np.split(np.asarray(embedding[0]) @ kernel + bias, 2)
    noise = Keys.of(KEY, 20_000).normal((3,))
    gaussian = module.apply(variables, jnp.repeat(embedding, len(noise), 0))
    draws = np.asarray(gaussian.draw(noise))
    np.testing.assert_allclose(
        draws.mean(0), mean, atol=5 * np.exp(log_variance / 2).max() / np.sqrt(len(noise))
    )
    np.testing.assert_allclose(draws.std(0), np.exp(log_variance / 2), rtol=0.03)


# Mismatches


@pytest.mark.parametrize("kind", ["text", "label", "embedding"])
def test_a_mismatch_is_the_next_of_another_text_on_any_number_of_devices(kind, rng):
    """Among few different captions, so that neighbours are often the same; found one by one in Python."""
    numbers = np.array([0, 0, 1, 1, 1, 2, 0, 2])
    made = {
        "text": coded(["dark", "light", "dark boot"])[numbers],
        "label": jnp.asarray(numbers),
        "embedding": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)[numbers],
    }[kind]
    expected = [
        next((i + k) % 8 for k in range(1, 8) if numbers[(i + k) % 8] != numbers[i]) for i in range(8)
    ]
    at, there = jax.jit(mismatches)(made)
    np.testing.assert_array_equal(at, expected)
    assert there.all()
    split = made.reshape(4, 2, *made.shape[1:])
    together = jax.pmap(mismatches, axis_name=game.AXIS, devices=jax.devices()[:4])(split)
    np.testing.assert_array_equal(np.ravel(together[0]), expected)


def test_where_all_texts_are_one_there_is_no_mismatch():
    at, there = mismatches(coded(["dark"] * 3))
    assert not there.any()
    assert ((at >= 0) & (at < 3)).all()


# The game


class First(nn.Module):
    """A first stage small enough to write down."""

    condition: int = 2

    @nn.compact
    def __call__(self, embedding, latent, noise, *, train=False, keys=None):
        gaussian = Augmentation(self.condition)(embedding)
        x = nn.Dense(4)(jnp.concatenate([gaussian.draw(noise), latent], 1))
        return jnp.tanh(x).reshape(-1, 2, 2, 1), gaussian


class Second(nn.Module):
    """A second stage likewise."""

    condition: int = 2

    @nn.compact
    def __call__(self, embedding, image, noise, *, train=False, keys=None):
        gaussian = Augmentation(self.condition)(embedding)
        x = nn.Dense(16)(jnp.concatenate([gaussian.draw(noise), image.reshape(len(image), -1)], 1))
        return jnp.tanh(x).reshape(-1, 4, 4, 1), gaussian


class Matcher(nn.Module):
    """A discriminator of any size."""

    @nn.compact
    def __call__(self, image, embedding, *, train=False, keys=None):
        x = jnp.concatenate([image.reshape(len(image), -1), embedding], 1)
        return nn.Dense(1)(nn.tanh(nn.Dense(3)(x)))[:, 0]


class Linear(nn.Module):
    """An encoder of text."""

    @nn.compact
    def __call__(self, text, *, train=False, keys=None):
        return nn.Dense(3)(text.astype(jnp.float32) / 128)


PARTS = (First(), Second(), Matcher(), Matcher(), Linear())


def tiny(**settings):
    optimizers = {f"{name}_optimizer": optax.sgd(LR) for name in ("generator", "discriminator")}
    kl = {"kl": 1.0}  # as in the paper
    return play(StackGAN, *PARTS, **{**optimizers, **kl, "stage_two": 1, "scale": 2, "latent": 3, **settings})


def example(rng):
    return {
        "real": jnp.asarray(rng.uniform(-1, 1, (1, N, 4, 4, 1)), jnp.float32),
        "text": coded(CAPTIONS)[None],
    }


def moved(params, grads):
    return jax.tree.map(lambda p, g: p - LR * g, params, grads)


def close(got, want, **more):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6, **more), got, want)


@pytest.mark.slow
def test_both_stages_by_hand(rng):
    """Equations 3 to 6, one step of each stage with gradient descent; captions 0 and 2 are the same."""
    rules, batch = tiny(kl=0.5, mismatched=0.7), example(rng)
    state = game.init(rules, KEY, jax.tree.map(lambda x: x[0], batch))
    step = quick_jit(lambda s, b: game.step(rules, s, b))
    first, metrics = step(state, batch)
    second, later = step(first, batch)
    images, text = batch["real"][0], batch["text"][0]
    small = images.reshape(N, 2, 2, 2, 2, 1).mean((2, 4))
    other = text[jnp.array([1, 2, 3, 0])]

    def embedded(e, text):
        return Linear().apply({"params": e}, text)

    def made(g, e, keys, second=None):
        draw = lambda name: keys.fold(f"{name} condition").normal((2,))  # noqa: E731
        z = keys.fold("latent").normal((3,))
        image, gaussian = First().apply({"params": g}, embedded(e, text), z, draw("generator"))
        if second is not None:
            noise = draw("second_generator")
            image, gaussian = Second().apply({"params": second}, embedded(e, text), image, noise)
        mean, log_variance = gaussian
        kl = jnp.mean(jnp.sum(mean**2 + jnp.exp(log_variance) - 1 - log_variance, 1)) / 2
        return image, kl

    def judge(d, e, image, text):
        return jax.nn.sigmoid(Matcher().apply({"params": d}, image, embedded(e, text)))

    def d_value(d, e, real, fake):
        fit, unfit = judge(d, e, real, text), judge(d, e, real, other)
        made_up = jnp.log(1 - judge(d, e, fake, text))
        return -jnp.mean(jnp.log(fit) + 0.3 * made_up + 0.7 * jnp.log(1 - unfit))

    def draws(s):
        return Keys.of(jax.random.fold_in(jax.random.fold_in(state.key, s), 0), N)

    def stage_one(p):
        keys = draws(0)
        fake, _ = made(p["generator"], p["encoder"], keys)
        both = {"discriminator": p["discriminator"], "encoder": p["encoder"]}
        after = moved(both, jax.grad(lambda b: d_value(b["discriminator"], b["encoder"], small, fake))(both))

        def g_value(g):
            fake, kl = made(g, after["encoder"], keys)
            return -jnp.mean(jnp.log(judge(after["discriminator"], after["encoder"], fake, text))) + 0.5 * kl

        value, grads = jax.value_and_grad(g_value)(p["generator"])
        return {**p, **after, "generator": moved(p["generator"], grads)}, value

    expected, value = quick_jit(stage_one)(state.params)
    close(first.params, expected)
    np.testing.assert_allclose(metrics["generator/loss"], value, rtol=1e-5)
    assert np.isnan(metrics["second_generator/loss"])

    def stage_two(p):
        keys, d, g = draws(1), p["second_discriminator"], p["second_generator"]
        fake, _ = made(p["generator"], p["encoder"], keys, g)
        d = moved(d, jax.grad(lambda d: d_value(d, p["encoder"], images, fake))(d))

        def g_value(g):
            fake, kl = made(p["generator"], p["encoder"], keys, g)
            return -jnp.mean(jnp.log(judge(d, p["encoder"], fake, text))) + 0.5 * kl

        return {**p, "second_discriminator": d, "second_generator": moved(g, jax.grad(g_value)(g))}

    close(second.params, quick_jit(stage_two)(first.params))
    assert np.isnan(later["discriminator/loss"])


@pytest.mark.slow
def test_samples_are_of_the_stage_that_was_trained_last(rng):
    rules, batch = tiny(), {"text": coded(CAPTIONS)}
    state = game.init(rules, KEY, {"real": jnp.zeros((N, 4, 4, 1)), **batch})
    keys = Keys.of(KEY, N)
    p, embedding = state.params, Linear().apply({"params": state.params["encoder"]}, batch["text"])
    noise = [keys.fold(f"{name} condition").normal((2,)) for name in ("generator", "second_generator")]
    small, _ = First().apply(
        {"params": p["generator"]}, embedding, keys.fold("latent").normal((3,)), noise[0]
    )
    large, _ = Second().apply({"params": p["second_generator"]}, embedding, small, noise[1])
    close(rules.sample(state.replace(step=jnp.int32(1)), keys, batch), np.kron(small, np.ones((1, 2, 2, 1))))
    close(rules.sample(state.replace(step=jnp.int32(2)), keys, batch), large)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mismatched": 1.5}, "mismatched"),
        ({"scale": 3}, "scale"),
        ({"stage_two": 0}, "stage_two"),
        ({"discriminator_pretraining": 1}, "set stage_two above discriminator_pretraining, 1"),
    ],
)
def test_games_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        tiny(**change)


# The networks


def shape_of(module, *args):
    (out, _) = jax.eval_shape(lambda: module.init_with_output(KEY, *args, train=True))
    return jax.tree.map(lambda x: x.shape, out)


def test_published_networks_have_the_published_shapes():
    """The maps of section 4.2: a latent of 100, a condition of 128, 64x64 and 256x256 in colour."""
    embedding, latent, noise = (jnp.zeros((2, n)) for n in (1024, 100, 128))
    variables = jax.eval_shape(lambda: StageOne().init(KEY, embedding, latent, noise, train=True))["params"]
    assert variables["Dense_0"]["kernel"].shape == (228, 16 * 1536)
    assert shape_of(StageOne(), embedding, latent, noise)[0] == (2, 64, 64, 3)
    image = jnp.zeros((2, 64, 64, 3))
    assert shape_of(StageTwo(), embedding, image, noise)[0] == (2, 256, 256, 3)
    variables = jax.eval_shape(lambda: StageTwo().init(KEY, embedding, image, noise, train=True))["params"]
    assert variables["Conv_3"]["kernel"].shape == (768, 3, 3, 768 + 128)
    assert shape_of(MatchingDiscriminator(), image, embedding) == (2,)


SETTINGS = {
    "name": "t",
    "steps": 2,
    "batch_size": 4,
    "data": {"source": "embedded"},
    "generator": {"network": "stackgan", "width": 2, "condition": 3, "blocks": 1, "depth": 1},
    "discriminator": {"network": "matching", "width": 2, "condition": 3, "norm": "layer"},
    "game": {
        "family": "stackgan",
        "stage_two": 1,
        "scale": 2,
        "latent": 3,
        "encoder": {"width": 2, "features": 3},
    },
}
IMAGE, TEXT, LABEL = Field((28, 28, 1), "uint8"), Field((16,), "int32"), Field((), "int32")


@pytest.mark.parametrize(
    ("overrides", "classes", "fields", "message"),
    [
        ({}, [], {"real": IMAGE}, "has no captions"),
        ({"game.given": "embedding"}, [], {"real": IMAGE, "text": TEXT}, "has no embeddings"),
        ({"game.given": "label"}, [], {"real": IMAGE, "label": LABEL}, "has no classes"),
        ({"game.scale": "8"}, [], {"real": IMAGE, "text": TEXT}, "does not fit game.scale 8"),
        ({"generator.depth": "2"}, [], {"real": IMAGE, "text": TEXT}, "generator.depth 2"),
        ({"generator.network": "dcgan"}, [], {"real": IMAGE, "text": TEXT}, "network stackgan, not dcgan"),
        ({"game.packing": "2"}, [], {"real": IMAGE, "text": TEXT}, "set packing to 1"),
        ({"game.flip": "0.1"}, [], {"real": IMAGE, "text": TEXT}, "set flip to 0"),
        (
            {"game.discriminator_pretraining": "9"},
            [],
            {"real": IMAGE, "text": TEXT},
            "above discriminator_pretraining, 9",
        ),
        (
            {"game.r1": "1.0", "discriminator.norm": "batch"},
            [],
            {"real": IMAGE, "text": TEXT},
            "discriminator.norm",
        ),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(overrides, classes, fields, message):
    with pytest.raises(InputError, match=message):
        experiment.build(config.parse(SETTINGS, overrides), classes, 100, fields)


# Pictures of a text


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that was saved before it was trained, as if it were in the second stage."""
    small = {"data.resolution": "8", "generator.depth": "0", "generator.blocks": "0"}
    settings = config.parse(SETTINGS, {"data.task": "captions", "data.split": "test", **small})
    source = experiment.source_of(settings)
    built = experiment.build(settings, source.classes, len(source), source.fields)
    folder = RunDirectory(tmp_path_factory.mktemp("stackgan"))
    recorder = Recorder(built, folder, print, True)
    recorder.begin(experiment.facts(source))
    recorder.step = 2
    recorder.save(lambda: quick_jit(lambda: experiment.initial(built))().replace(step=jnp.int32(2)))
    recorder.checkpoints.wait()
    return folder.path


@pytest.mark.slow
def test_samples_of_a_text_are_of_that_text(run, tmp_path):
    def made(name, *options):
        assert main(["sample", str(run), "--out", str(tmp_path / name), *options]) == 0
        return tmp_path / name

    dark = ("--text", "a dark bag", "--num", "3")
    with (
        np.load(made("a.npz", *dark)) as arrays,
        np.load(made("b.npz", "--text", "a bag", "--num", "3")) as others,
    ):
        assert arrays["text"] == "a dark bag"
        trained = sample.load(run, pytest.fail)
        keys, text = Keys.of(jax.random.key(0), 3), coded(["a dark bag"] * 3, 64)
        image = quick_jit(trained.built.game.sample)(trained.state.averaged(), keys, {"text": text})
        assert np.abs(arrays["image"] - (np.asarray(image) + 1) * 127.5).max() < 0.51
        assert not np.array_equal(arrays["image"], others["image"])
    with Image.open(made("a.png", *dark)) as sheet:
        assert sheet.size == (2 * 10 - 2, 2 * 10 - 2)


@pytest.mark.parametrize(
    ("caption", "message"),
    [("", "is empty"), (" ", "is empty"), ("é" * 33, "66 bytes"), ("x" * 65, "at most 64")],
)
@pytest.mark.slow
def test_a_text_that_cannot_be_drawn_is_refused(run, caption, message, capsys):
    assert main(["sample", str(run), "--out", "x.png", "--text", caption]) == 2
    assert message in capsys.readouterr().err


def test_a_run_of_another_family_draws_no_text():
    plain = {"generator": {"network": "mlp"}, "discriminator": {"network": "mlp"}, "game": {"family": "gan"}}
    built = experiment.build(config.parse({**SETTINGS, **plain}), [], 100)
    with pytest.raises(InputError, match="leave out --text"):
        sample.of_text(built, "a bag")


def test_real_images_are_as_their_captions_say_and_as_no_other():
    source = Garments("test")
    images = np.stack([source[i]["real"] for i in range(40)])
    asked = [source.attributes(i) for i in range(40)]
    assert captions.shares(images, asked) == dict.fromkeys((*captions.ASKED, "attributes"), 1.0)
    turn = {
        "dark": "light",
        "light": "dark",
        "top": "bottom",
        "bottom": "top",
        "left": "right",
        "right": "left",
    }
    other = [Attributes(*(turn.get(x) for x in wanted)) for wanted in asked]
    assert captions.shares(images, other) == dict.fromkeys((*captions.ASKED, "attributes"), 0.0)
