"""Adversarial autoencoders against updates written out with `module.apply`, and what their codes come to."""

import functools
import math
import pickle
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, quick_jit
from scipy.spatial.distance import cdist

from jaxgan import config, experiment, game, optimizers, report
from jaxgan.data.labelled import Labelled
from jaxgan.data.sources import Embedded
from jaxgan.errors import InputError
from jaxgan.families import AAE, Scatter, Sheet
from jaxgan.game import Keys
from jaxgan.layers import Norm
from jaxgan.networks import DCGANDiscriminator, DCGANEncoder, MLPDiscriminator, MLPEncoder, MLPGenerator
from jaxgan.objectives.latents import Latents
from jaxgan.optimizers import Adam, Optimizer
from jaxgan.sampling import sample
from jaxgan.scoring import classification

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")

N, Z, K, LR = 4, 3, 5, 0.1
KEY = jax.random.key(0)


class Encoder(nn.Module):
    """With batch norm, whose averages the test follows."""

    @nn.compact
    def __call__(self, image, *, train=False, keys=None):
        x = nn.relu(Norm("batch")(nn.Dense(8)(image), train=train))
        return nn.Dense(Z)(x), nn.Dense(K)(x)


class Decoder(nn.Module):
    """Likewise."""

    @nn.compact
    def __call__(self, latent, label=None, *, train=False, keys=None):
        return nn.tanh(nn.Dense(6)(nn.relu(Norm("batch")(nn.Dense(8)(latent), train=train))))


def data(rng, turns):
    batch = {name: rng.uniform(-1, 1, (turns, N, 6)) for name in ("real", "labelled_real")}
    labels = {name: rng.integers(0, K, (turns, N)) for name in ("label", "labelled_label")}
    floats = {name: jnp.asarray(x, jnp.float32) for name, x in batch.items()}
    return floats | {name: jnp.asarray(x, jnp.int32) for name, x in labels.items()}


def start(rules, batch):
    return quick_jit(lambda: game.init(rules, KEY, jax.tree.map(lambda x: x[0], batch)))()


def stepped(loss, params):
    """What SGD makes of the parameters, the loss, and what else it reports."""
    (value, more), grads = quick_jit(jax.value_and_grad(loss, has_aux=True))(params)
    return jax.tree.map(lambda p, x: p - LR * x, params, grads), value, more


def check(new, metrics, params, losses, rtol=1e-5, atol=2e-6):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), new.params, params)
    for name, value in losses.items():
        np.testing.assert_allclose(metrics[f"{name}/loss"], value, rtol=1e-5, err_msg=name)


SGD: dict[str, Any] = {
    **{f"{name}_optimizer": optax.sgd(LR) for name in ("generator", "discriminator")},
    "encoder_optimizer": Optimizer(sgd=optimizers.SGD(learning_rate=LR)),
}


@pytest.mark.slow
def test_one_step_of_the_style_class_split_by_hand(rng):
    """Fresh draws in each of four turns; batch norm's averages are those of the first."""
    e, g, d = Encoder(), Decoder(), MLPDiscriminator(8, 1, dropout=0.2)
    rules = play(AAE, e, g, d, d, K, latent=Z, labels=K, reconstruction=2.0, shared_draws=False, **SGD)
    assert rules.turns == 4
    batch = data(rng, 4)
    state = start(rules, batch)
    keys = [Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), t), N) for t in range(4)]

    def encode(params, x):
        variables = {"params": params, **state.stats["encoder"]}
        (z, logits), stats = e.apply(variables, x, train=True, mutable=["batch_stats"])
        return z, jnp.exp(logits) / jnp.exp(logits).sum(1, keepdims=True), stats

    def judge(params, x, masks):
        return jax.nn.sigmoid(d.apply({"params": params}, x, train=True, keys=masks.example))

    def reconstruct(params):
        z, y, e_stats = encode(params["encoder"], batch["real"][0])
        variables = {"params": params["generator"], **state.stats["generator"]}
        both = jnp.concatenate([z, y], 1)
        made, g_stats = g.apply(variables, both, train=True, mutable=["batch_stats"])
        wrong = (y.argmax(1) != batch["label"][0]).mean()
        return 2 * ((made - batch["real"][0]) ** 2).mean(), (
            {"encoder": e_stats, "generator": g_stats},
            wrong,
        )

    params, losses = dict(state.params), {}
    both = {name: params[name] for name in ("encoder", "generator")}
    moved, losses["autoencoder"], (stats, wrong) = stepped(reconstruct, both)
    params |= moved

    def discriminate(moved):
        z, y, _ = encode(params["encoder"], batch["real"][1])
        drawn = keys[1].fold("latent").normal((Z,))
        even = jnp.eye(K)[jnp.floor(keys[1].fold("class").uniform() * K).astype(int)]
        value = 0.0
        for name, real, fake, k in (
            ("discriminator", drawn, z, keys[1]),
            ("class_discriminator", even, y, keys[1].fold("classes")),
        ):
            value -= jnp.log(judge(moved[name], real, k.fold("real"))).mean()
            value -= jnp.log(1 - judge(moved[name], fake, k.fold("fake"))).mean()
        return value, None

    both = {name: params[name] for name in ("discriminator", "class_discriminator")}
    moved, losses["discriminator"], _ = stepped(discriminate, both)
    params |= moved

    def fool(moved):
        z, y, _ = encode(moved, batch["real"][2])
        value = -jnp.log(judge(params["discriminator"], z, keys[2].fold("fake"))).mean()
        masks = keys[2].fold("classes").fold("fake")
        return value - jnp.log(judge(params["class_discriminator"], y, masks)).mean(), None

    params["encoder"], losses["encoder"], _ = stepped(fool, params["encoder"])

    def classify(moved):
        _, y, _ = encode(moved, batch["labelled_real"][3])
        return -jnp.log(y[jnp.arange(N), batch["labelled_label"][3]]).mean(), None

    params["encoder"], losses["classifier"], _ = stepped(classify, params["encoder"])

    new, shown = quick_jit(lambda s, b: game.step(rules, s, b))(state, batch)
    check(new, shown, params, losses)
    for name, want in stats.items():
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), new.stats[name], want
        )
    assert float(shown["autoencoder/error"]) == float(wrong)


@pytest.mark.slow
def test_one_step_of_classes_matched_to_modes_by_hand(rng):
    """One batch for all; labelled codes are told apart from their mode, others from any, under a label of their own."""
    e, g, d = MLPEncoder(2, 8, 1), MLPGenerator((6,), 8, 1), MLPDiscriminator(8, 1, K + 1, dropout=0.2)
    rules = play(AAE, e, g, d, prior="mixture", labels=K, classes=K, **SGD)
    assert rules.turns == 1
    batch = data(rng, 1)
    state = start(rules, batch)
    image, known, label = (batch[name][0] for name in ("real", "labelled_real", "labelled_label"))
    once = Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), 0), N)
    keys = Keys(once.shared, jnp.concatenate([once.example, once.fold("labelled").example]))
    told = jnp.concatenate([jnp.full(N, K), label])
    images = jnp.concatenate([image, known])

    mode = np.concatenate([np.floor(keys.fold("unknown").uniform() * K)[:N], label])
    a, b = np.moveaxis(np.asarray(keys.fold("latent").normal((2, 1)))[..., 0], 1, 0)
    along, across = 2 + 0.5 * a, 2 * 2 * math.sin(math.pi / K) / 8 * b
    angle = 2 * math.pi * mode / K
    drawn = np.stack(
        [along * np.cos(angle) - across * np.sin(angle), along * np.sin(angle) + across * np.cos(angle)], 1
    )

    def codes(params, x):
        return e.apply({"params": params}, x, train=True)[0]

    def judge(params, x, masks):
        return jax.nn.sigmoid(d.apply({"params": params}, x, told, train=True, keys=keys.fold(masks).example))

    def reconstruct(moved):
        made = g.apply({"params": moved["generator"]}, codes(moved["encoder"], image), train=True)
        return ((made - image) ** 2).mean(), None

    params, losses = dict(state.params), {}
    both = {name: params[name] for name in ("encoder", "generator")}
    moved, losses["autoencoder"], _ = stepped(reconstruct, both)
    params |= moved

    def discriminate(moved):
        real, fake = jnp.asarray(drawn, jnp.float32), codes(params["encoder"], images)
        value = -jnp.log(judge(moved, real, "real")).mean()
        return value - jnp.log(1 - judge(moved, fake, "fake")).mean(), None

    params["discriminator"], losses["discriminator"], _ = stepped(discriminate, params["discriminator"])

    def fool(moved):
        return -jnp.log(judge(params["discriminator"], codes(moved, images), "fake")).mean(), None

    params["encoder"], losses["encoder"], _ = stepped(fool, params["encoder"])
    check(*quick_jit(lambda s, b: game.step(rules, s, b))(state, batch), params, losses)


def p_value(x, y, rng, times=999):
    """Of the hypothesis that both come from one distribution: the energy distance of two samples of one size, against
    that of random halves of both together (Szekely and Rizzo, Testing for equal distributions in high dimension, 2004).
    """
    both = np.concatenate([x, y]).astype(np.float64)
    apart, side = cdist(both, both), np.repeat([1.0, -1.0], len(x))
    sides = np.stack([side, *(rng.permutation(side) for _ in range(times))])
    distances = -np.einsum("pi,pi->p", sides @ apart, sides) / len(x) ** 2
    return np.mean(distances >= distances[0] - 1e-12)


@pytest.mark.slow
def test_codes_of_a_trained_encoder_are_distributed_like_the_prior(rng):
    """On images unseen in training: a two-sample test passes them at 1%, a Gaussian of their spread not even at 5%."""
    mixing = jnp.asarray(rng.normal(size=(2, 6)), jnp.float32)

    def images(key, shape):
        hidden = jax.random.uniform(key, (*shape, 2), minval=-1, maxval=1)
        return jnp.tanh(hidden @ mixing)

    encoder, generator = MLPEncoder(2, 32, 1), MLPGenerator((6,), 32, 1)
    fast: dict[str, Any] = {
        f"{n}_optimizer": optax.adam(2e-3, b1=0.5) for n in ("generator", "discriminator")
    }
    fast["encoder_optimizer"] = Optimizer(adam=Adam(learning_rate=2e-3))
    latents = Latents(2, "mixture")
    rules = play(AAE, encoder, generator, MLPDiscriminator(32, 2), prior="mixture", **fast)
    state = quick_jit(lambda: game.init(rules, KEY, {"real": images(KEY, (2,))}))()

    @quick_jit
    def advance(state):
        def step(i, state):
            return game.step(rules, state, {"real": images(jax.random.fold_in(KEY, i), (1, 64))})[0]

        return jax.lax.fori_loop(0, 700, step, state)

    trained = advance(state)
    assert int(trained.skipped) == 0
    test, prior = images(jax.random.key(1), (400,)), latents.draw(Keys.of(jax.random.key(2), 400))
    codes = [encoder.apply(s.variables("encoder"), test)[0] for s in (state, trained)]
    assert p_value(prior, codes[0], rng) == 0.001
    assert p_value(prior, rng.normal(size=(400, 2)) * np.asarray(prior).std(0), rng) < 0.05
    assert p_value(prior, codes[1], rng) > 0.01
    made = generator.apply(trained.variables("generator"), codes[1])
    assert jnp.mean((made - test) ** 2) < jnp.var(test) / 20


@pytest.mark.parametrize("modes", [3, 10])
def test_a_mixture_has_its_moments_and_evenly_many_draws_of_each_mode(modes):
    n = 1000 * modes
    x = np.asarray(quick_jit(lambda: Latents(2, "mixture", modes).draw(Keys.of(KEY, n)))(), np.float64)
    width = 4 * math.sin(math.pi / modes) / 8
    spread = (2**2 + 0.5**2 + width**2) / 2  # of x and of y alike, by symmetry
    np.testing.assert_allclose(x.mean(0), 0, atol=5 * math.sqrt(spread / n))
    np.testing.assert_allclose(np.cov(x.T), spread * np.eye(2), atol=5 * 2 * spread / math.sqrt(n))
    mode = np.rint(np.arctan2(x[:, 1], x[:, 0]) / (2 * math.pi / modes)).astype(int) % modes
    assert np.abs(np.bincount(mode, minlength=modes) - 1000).max() < 5 * math.sqrt(1000)


def test_labels_choose_the_modes_of_a_mixture():
    label = jnp.arange(4000, dtype=jnp.int32) % 4
    x = np.asarray(
        quick_jit(lambda: Latents(2, "mixture", 4).draw(Keys.of(KEY, 4000), label=label))(), np.float64
    )
    for mode, (center, deviation) in enumerate(
        [((2, 0), (0.5, 0.3536)), ((0, 2), (0.3536, 0.5)), ((-2, 0), (0.5, 0.3536)), ((0, -2), (0.3536, 0.5))]
    ):
        np.testing.assert_allclose(x[mode::4].mean(0), center, atol=0.08)
        np.testing.assert_allclose(x[mode::4].std(0), deviation, rtol=0.12)


def test_the_encoder_is_the_discriminator_but_for_its_last_layer():
    x = jnp.zeros((2, 28, 28, 3))
    shapes = [
        jax.eval_shape(lambda net=net: net.init(KEY, x, train=True))
        for net in (DCGANEncoder(28, 3, 4, 8, 2), DCGANDiscriminator(28, 3, 8))
    ]
    last = [each["params"].pop("Dense_0")["kernel"].shape for each in shapes]
    assert last == [(7 * 7 * 16, 6), (7 * 7 * 16, 1)]
    assert jax.tree.map(lambda x: x.shape, shapes[0]) == jax.tree.map(lambda x: x.shape, shapes[1])
    for net in (DCGANEncoder(28, 3, 4, 8, 2), MLPEncoder(4, 8, 1, 2)):
        codes, logits = jax.eval_shape(lambda net=net: net.init_with_output(KEY, x)[0])
        assert (codes.shape, logits.shape) == ((2, 4), (2, 2))
    with pytest.raises(ValueError, match="this encoder reads images"):
        DCGANEncoder(16, 3).init(KEY, x)


# Labelled examples


def test_labelled_examples_are_balanced_the_same_every_time_and_shown_equally_often():
    source = Embedded("test")
    known = Labelled(source, 50)
    _, labels = source.arrays()
    assert len(set(known.indices)) == 50
    np.testing.assert_array_equal(np.bincount(labels[known.indices]), [5] * 10)
    again = pickle.loads(pickle.dumps(Labelled(Embedded("test"), 50)))
    np.testing.assert_array_equal(again.indices, known.indices)
    assert set(Labelled(source, 20).indices) < set(known.indices)
    np.testing.assert_array_equal(np.sort(Labelled(source, 2000).indices), np.arange(2000))
    assert (len(known), known.fingerprint, known.classes) == (2000, source.fingerprint, source.classes)
    for i in (0, 49, 50, 1999):
        example, of = known[i], known.indices[i % 50]
        assert set(example) == set(known.fields)
        np.testing.assert_array_equal(example["real"], source[i]["real"])
        np.testing.assert_array_equal(example["labelled_real"], source[of]["real"])
        assert example["labelled_label"] == labels[of]


class Uneven(Embedded):
    """Most examples are of one class."""

    def __getitem__(self, index):
        return {**super().__getitem__(index), "label": np.int32(index % 300 == 0)}


def test_a_class_with_too_few_examples_is_named():
    with pytest.raises(InputError, match=r"2 of each class, but 'Pullover' has only 0"):
        Labelled(Uneven("test"), 20)


# From a configuration


SEMI = Path(__file__).parents[1] / "configs" / "aae_semi.toml"
SMALL = {
    **{f"{name}.width": "8" for name in ("generator", "discriminator", "game.encoder")},
    **{
        "data.split": "test",
        "batch_size": "20",
        "game.latent": "2",
        "game.labels": "20",
        "run.samples": "20",
    },
}


@pytest.mark.parametrize(
    ("overrides", "classes", "examples", "line"),
    [
        ({}, [], 100, r"^20 labelled examples are asked for, but the data has no classes; give it labels"),
        ({"game.labels": "101"}, "ab", 100, "^101 labelled examples are asked for, more than the 100"),
        ({"game.labels": "7"}, "ab", 100, "^7 labelled examples cannot be spread evenly over 2 classes"),
        (
            {"game.prior": "mixture", "game.latent": "3"},
            "ab",
            100,
            "set latent to 2, not 3, or prior to normal",
        ),
        ({"game.packing": "2"}, "ab", 100, "judges codes, not images; leave out augment and packing"),
        ({"game.augment": '["color"]'}, "ab", 100, "judges codes, not images; leave out augment and packing"),
        ({"discriminator.network": "dcgan"}, "ab", 100, "takes discriminator.network mlp, not dcgan"),
        (
            {"game.prior": "mixture", "game.latent": "2", "discriminator.minibatch_std": "true"},
            "ab",
            100,
            "minibatch_std would compare codes with labels and codes without",
        ),
        ({"discriminator.conditioning": "auxiliary"}, "ab", 100, "takes concatenate or projection"),
        (
            {"generator.network": "biggan"},
            "ab",
            100,
            "takes generator.network dcgan or mlp or resnet, not biggan",
        ),
        (
            {"game.encoder.network": "resnet"},
            "ab",
            100,
            r"game.encoder.network: Input should be one of 'dcgan', 'mlp'",
        ),
        ({"game.encoder.widht": "3"}, "ab", 100, r"unknown key game.encoder.widht; did you mean width"),
    ],
)
def test_mistakes_end_in_one_line(overrides, classes, examples, line):
    with pytest.raises(InputError, match=line) as caught:
        experiment.build(config.load(SEMI, SMALL | overrides), classes, examples)
    assert "\n" not in str(caught.value)


def test_networks_and_classes_that_do_not_fit_are_refused_in_python():
    networks = MLPEncoder(), MLPGenerator((4,)), MLPDiscriminator()
    with pytest.raises(
        ValueError, match="3 classes need a class_discriminator, or a mixture of as many modes"
    ):
        AAE().game(*networks, classes=3)
    pair, comparing = networks[:2], MLPDiscriminator(minibatch_std=True)
    with pytest.raises(ValueError, match="minibatch_std would compare codes"):
        AAE(prior="mixture").game(*pair, comparing, classes=3)
    with pytest.raises(ValueError, match="needs at least 2 classes"):
        AAE().game(*networks, class_discriminator=MLPDiscriminator())
    with pytest.raises(ValueError, match="a mixture, which is in the plane; set latent to 2, not 3"):
        AAE(prior="mixture", latent=3)


def test_truncation_of_a_mixture_is_refused():
    overrides = {"game.prior": "mixture", "game.labels": "0"}
    built = experiment.build(config.load(SEMI, SMALL | overrides), "ab", 100)
    with pytest.raises(InputError, match="of kind 'mixture'; leave it out"):
        sample.maker(built, truncation=0.5)


@functools.cache
def initial(prior):
    """As read back from a run of no steps: of style and class, or of classes matched to modes."""
    settings = config.load(SEMI, SMALL | {"game.prior": prior})
    source = experiment.source_of(settings)
    built = experiment.build(settings, source.classes, len(source), source.fields)
    return sample.Trained(built, quick_jit(lambda: experiment.initial(built))(), 0, "")


def held(count):
    pixels, labels = Embedded("test").arrays()
    return {
        "real": jnp.asarray(pixels[:count, ..., None] / 127.5 - 1, jnp.float32),
        "label": jnp.asarray(labels[:count]),
    }


@pytest.mark.slow
def test_pictures_show_what_the_networks_make():
    trained = initial("normal")
    state, shown, batch = trained.state, trained.built.pictures, held(40)
    encoder, generator = MLPEncoder(2, 8, 2, 10), MLPGenerator((28, 28, 1), 8, 2)
    z, logits = encoder.apply(state.variables("encoder"), batch["real"])
    both = jnp.concatenate([z, jax.nn.softmax(logits)], 1)
    made = generator.apply(state.variables("generator"), both)
    reconstructions, codes, styles = (make(state, batch) for make in shown.values())
    assert isinstance(reconstructions, Sheet)
    np.testing.assert_array_equal(reconstructions.examples[::2], batch["real"][:32])
    np.testing.assert_allclose(reconstructions.examples[1::2], made[:32], atol=1e-5)
    assert isinstance(codes, Scatter)
    np.testing.assert_allclose(codes.points, z, atol=1e-5)
    np.testing.assert_array_equal(codes.label, batch["label"])
    assert isinstance(styles, Sheet)
    assert (styles.examples.shape, styles.columns) == ((80, 28, 28, 1), 10)
    # One style in each row: all of its images are of the same latent, which has the class's one-hot behind it.
    style = Latents(2).draw(Keys.of(jax.random.key(0), 8))[5]
    wanted = generator.apply(state.variables("generator"), jnp.concatenate([style, jnp.eye(10)[3]])[None])
    np.testing.assert_allclose(styles.examples[53], wanted[0], atol=1e-5)


@pytest.mark.slow
def test_a_walk_over_the_plane_reads_from_the_upper_left():
    trained = initial("mixture")
    *_, walk = (make(trained.state, held(4)) for make in trained.built.pictures.values())
    assert isinstance(walk, Sheet)
    assert (walk.examples.shape, walk.columns) == ((225, 28, 28, 1), 15)
    at = jnp.asarray([[-2.8, 2.8], [2.8, 2.8], [0, 0], [-2.8, -2.8]])  # 14/15 of 3, where the petals end
    made = MLPGenerator((28, 28, 1), 8, 2).apply(trained.state.variables("generator"), at)
    np.testing.assert_allclose(walk.examples[jnp.array([0, 14, 112, 210])], made, atol=1e-5)


@pytest.mark.slow
def test_samples_of_classes_are_of_their_modes():
    """Walks too: each of one class, from one draw of its mode to the next."""
    trained = initial("mixture")
    assert trained.built.classes == 10
    made = sample.images(trained, 20, 3)
    latents, index = Latents(2, "mixture"), jnp.arange(20)
    z = latents.draw(Keys.of(jax.random.key(3), 20), label=index % 10)
    want = MLPGenerator((28, 28, 1), 8, 2).apply(trained.state.variables("generator"), z)
    assert np.abs(made - (np.asarray(want) + 1) * 127.5).max() < 0.51
    walks = sample.images(trained, 8, 3, walk=4)
    keys = Keys(jax.random.key(3), jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(3), jnp.array([1])))
    want = MLPGenerator((28, 28, 1), 8, 2).apply(
        trained.state.variables("generator"), latents.draw(keys, label=jnp.array([1]))
    )
    assert np.abs(walks[4] - (np.asarray(want[0]) + 1) * 127.5).max() < 0.51


@pytest.mark.slow
def test_the_error_of_a_run_is_the_share_of_wrong_classes():
    trained, source = initial("normal"), Embedded("test")
    batch = held(2000)
    _, logits = MLPEncoder(2, 8, 2, 10).apply(trained.state.variables("encoder"), batch["real"])
    share = float(np.mean(np.argmax(logits, 1) != np.asarray(batch["label"])))
    found, deviation = classification.error(trained, source)
    assert found == pytest.approx(share, abs=2 / 2000)  # two ways of computing may break a tie otherwise
    assert deviation == pytest.approx(math.sqrt(found * (1 - found) / 2000))
    with pytest.raises(InputError, match="learns no classes"):
        classification.error(initial("mixture"), source)


@pytest.mark.slow
def test_a_report_holds_the_pictures_and_the_error():
    trained = initial("normal")
    text = "".join(report._pictures(trained))
    for caption in trained.built.pictures:
        assert f"<figcaption>{caption}</figcaption>" in text
    error, _ = classification.error(trained, Embedded("test"))
    assert (
        f"of 2,000 training images are told with an error of {error:.1%}" in text
    )  # its data are the test images
