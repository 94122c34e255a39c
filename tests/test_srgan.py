"""Super-resolution: networks as published and as far-sighted as they say, losses by hand, fixed weights."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, quick_jit, slow

from jaxgan import config, experiment, game
from jaxgan.data.sources import Embedded, Field
from jaxgan.data.sources.derived import Degraded
from jaxgan.errors import InputError
from jaxgan.families import SRGAN
from jaxgan.game import Keys
from jaxgan.networks import SRResNet, VGGDiscriminator, classifier, efficientnet, perceptual, weights
from jaxgan.runs.directory import check_manifest

pytestmark = pytest.mark.usefixtures("quick_programs")

KEY, N, LR = jax.random.key(0), 4, 0.1


def shapes(module, *shape):
    return jax.eval_shape(lambda x: module.init_with_output(KEY, x, train=True), jnp.zeros(shape))


def conv(kernel, *channels, bias=True, norm=False):
    """Parameters of a convolution by hand."""
    d, c = channels[1], channels[0]
    return kernel**2 * c * d + bias * d + 2 * norm * d


@pytest.mark.parametrize(
    ("module", "shape", "out", "count"),
    [
        (
            SRResNet(4),
            (2, 24, 24, 3),
            (2, 96, 96, 3),
            conv(9, 3, 64)
            + 33 * conv(3, 64, 64, bias=False, norm=True)
            + 2 * conv(3, 64, 256)
            + conv(9, 64, 3)
            + (1 + 16 + 2),  # a slope for each PReLU
        ),
        (
            VGGDiscriminator(),
            (2, 96, 96, 3),
            (2,),
            conv(3, 3, 64)
            + sum(conv(3, a, b, bias=False, norm=True) for a, b in ((64, 64), (64, 128), (128, 128)))
            + sum(conv(3, a, b, bias=False, norm=True) for a, b in ((128, 256), (256, 256)))
            + sum(conv(3, a, b, bias=False, norm=True) for a, b in ((256, 512), (512, 512)))
            + (6 * 6 * 512 + 1) * 1024
            + 1025,
        ),
    ],
    ids=["SRResNet", "discriminator"],
)
def test_published_networks_have_the_parameters_of_figure_4(module, shape, out, count):
    made, variables = shapes(module, *shape)
    assert made.shape == out
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])) == count


@pytest.mark.parametrize(("scale", "blocks"), [(2, 1), (4, 1), (4, 2)])
@pytest.mark.slow
def test_a_pixel_depends_on_all_within_the_radius_and_on_none_beyond(scale, blocks, rng):
    far = SRResNet(scale, blocks=blocks).reach
    assert far == 8 + 2 * blocks
    size, middle = 2 * far + 7, far + 3
    module = SRResNet(scale, 1, 4, blocks, "none")
    variables = module.init(KEY, jnp.zeros((1, size, size, 1)))

    def row(x):
        out = module.apply(variables, x)[0, :, :, 0]
        return jnp.sum(out[scale * middle : scale * (middle + 1), scale * middle : scale * (middle + 1)])

    x = jnp.asarray(rng.normal(size=(1, size, size, 1)), jnp.float32)
    slopes = np.asarray(quick_jit(jax.grad(row))(x))[0, ..., 0]
    for seen in (np.flatnonzero(np.any(slopes != 0, 1)), np.flatnonzero(np.any(slopes != 0, 0))):
        assert (seen[0], seen[-1]) == (middle - far, middle + far)


class Enlarge(nn.Module):
    """A super-resolver small enough to write down: every pixel four times, times a number, and another."""

    @nn.compact
    def __call__(self, image, *, train=False, keys=None):
        return nn.Dense(1)(image).repeat(2, 1).repeat(2, 2)


class Judge(nn.Module):
    """A discriminator of images of 4x4."""

    @nn.compact
    def __call__(self, image, label=None, *, train=False, keys=None):
        return nn.Dense(1)(nn.tanh(nn.Dense(3)(image.reshape(len(image), -1))))[:, 0]


def run(module, params, *args):
    return module.apply({"params": params}, *args)


def maps(images):
    """Two layers of a network that needs no weights."""
    return images**2, 3 * images[:, ::2, ::2]


@pytest.mark.parametrize(("loss", "pretraining"), [slow("mse", 0), ("l1", 1)])
@pytest.mark.slow
def test_a_warm_up_for_pixels_and_then_the_whole_loss(loss, pretraining, rng):
    """Two steps of pixels alone, perhaps one more beside the discriminator's, then one of all, by hand.

    Equations 4 to 6 and the loss of equation 2.
    """
    optimizers = {f"{name}_optimizer": optax.sgd(LR) for name in ("generator", "discriminator")}
    weighted = {"pixel": 2.0, "perceptual": 0.5, "adversarial": 0.25}
    weighted["discriminator_pretraining"] = pretraining
    given = {"maps": maps, "pixel_loss": loss, "warmup": 2, "ema": 0.5, **weighted, **optimizers}
    rules = play(SRGAN, Enlarge(), Judge(), **given)
    draw = lambda side: jnp.asarray(rng.uniform(-1, 1, (1, N, side, side, 1)), jnp.float32)  # noqa: E731
    batch = {"input": draw(2), "real": draw(4)}
    x, y = batch["input"][0], batch["real"][0]
    state = game.init(rules, KEY, {"input": x, "real": y})
    assert set(state.params) == {"generator", "discriminator"}
    step = quick_jit(lambda s: game.step(rules, s, batch))

    def pixels(g):
        off = run(Enlarge(), g, x) - y
        return 2.0 * jnp.mean(off * off if loss == "mse" else jnp.abs(off))

    def moved(params, value):
        return jax.tree.map(lambda p, grad: p - LR * grad, params, jax.grad(value)(params))

    def d_value(d):
        judge = lambda images: jax.nn.sigmoid(run(Judge(), d, images))  # noqa: E731
        return -jnp.mean(jnp.log(judge(y))) - jnp.mean(jnp.log(1 - judge(run(Enlarge(), g, x))))

    g, d = state.params["generator"], state.params["discriminator"]
    for number in range(2 + pretraining):
        state, metrics = step(state)
        assert math.isnan(metrics["generator/adversarial"])
        assert math.isnan(metrics["discriminator/loss"]) == (number < 2)
        d = moved(d, d_value) if number == 2 else d
        g = moved(g, pixels)
        for got, want in zip(
            jax.tree.leaves((state.params["generator"], state.params["discriminator"])),
            jax.tree.leaves((g, d)),
            strict=True,
        ):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)

    after = moved(d, d_value)

    def g_value(g):
        fake = run(Enlarge(), g, x)
        apart = [jnp.mean((a - b) ** 2) for a, b in zip(maps(fake), maps(y), strict=True)]
        fooled = -jnp.mean(jnp.log(jax.nn.sigmoid(run(Judge(), after, fake))))
        return pixels(g) + 0.5 * sum(apart) / 2 + 0.25 * fooled

    state, metrics = step(state)
    np.testing.assert_allclose(metrics["generator/loss"], g_value(g), rtol=1e-5)
    expected = {"generator": moved(g, g_value), "discriminator": after}
    for got, want in zip(jax.tree.leaves(state.params), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-6)
    made = rules.sample(state, Keys.of(KEY, N), {"input": x})
    np.testing.assert_allclose(made, run(Enlarge(), state.params["generator"], x), rtol=1e-6)


@pytest.mark.slow
def test_the_last_maps_of_the_classifier_are_its_features():
    """Their means are what scores look through."""
    images = np.stack([Embedded("test")[i]["real"] for i in range(3)])
    looks, x = perceptual.load("auto", 28, 1), jnp.asarray(images, jnp.float32) / 127.5 - 1
    found = quick_jit(looks.maps)(x)
    assert [y.shape[1:] for y in found] == [(28, 28, 32), (14, 14, 64), (7, 7, 128)]
    pooled = quick_jit(lambda x: classifier.Classifier(10).apply(classifier.load(), x)[0])(x)
    np.testing.assert_allclose(found[-1].mean((1, 2)), pooled, rtol=1e-4, atol=1e-5)
    assert min(float(y.min()) for y in found) == 0


@pytest.mark.slow
def test_maps_of_efficientnet_are_of_three_sizes_and_differentiable(monkeypatch, rng):
    """With weights drawn here in place of the package's."""
    net = efficientnet.EfficientNetLite0()
    made = jax.eval_shape(net.init, KEY, jnp.zeros((1, 32, 32, 3)))
    drawn = jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32) / 10, made)
    monkeypatch.setattr(efficientnet, "package_weights", lambda: classifier.FASHION)
    monkeypatch.setattr(efficientnet, "load", lambda path: drawn)
    looks = perceptual.load("auto", 32, 1)
    assert looks.name == "efficientnet-lite0"
    x = jnp.asarray(rng.uniform(-1, 1, (1, 32, 32, 1)), jnp.float32)
    found = jax.eval_shape(looks.maps, x)
    assert [y.shape for y in found] == [(1, 16, 16, 16), (1, 8, 8, 24), (1, 4, 4, 40)]
    slope = quick_jit(jax.grad(lambda x: perceptual.difference(looks.maps, x, jnp.zeros_like(x))))(x)
    assert float(jnp.abs(slope).min()) > 0


SETTINGS = {
    "name": "t",
    "steps": 1,
    "batch_size": 4,
    "data": {"source": "embedded", "scale": 2},
    "generator": {"network": "srresnet", "width": 4, "blocks": 1},
    "discriminator": {"network": "vgg", "width": 4, "pairs": 1},
    "game": {"family": "srgan"},
}


@pytest.mark.slow
def test_the_data_is_shrunken_for_the_family_and_fixed_weights_are_named():
    settings = config.parse(SETTINGS, {})
    source = experiment.source_of(settings, "test")
    assert isinstance(source, Degraded)
    assert source.fields["input"] == Field((14, 14, 1), "uint8")
    built = experiment.build(settings, source.classes, len(source), source.fields)
    assert built.given == ("input",)
    digest = weights.sha256(classifier.FASHION)
    assert built.fixed() == {"fashion-cnn": digest}
    state = jax.eval_shape(lambda: experiment.initial(built))
    assert set(state.params) == set(state.stats) == {"generator", "discriminator"}
    plain = experiment.build(
        config.parse(SETTINGS, {"game.features": "none"}), source.classes, len(source), source.fields
    )
    assert plain.fixed() == {}


def test_a_run_does_not_go_on_with_other_fixed_weights(tmp_path):
    same = {
        "data_fingerprint": "d",
        "versions": 1,
        "python": 1,
        "devices": 1,
        "threads": 1,
        "deterministic": True,
    }
    old = {**same, "fixed_weights": {"fashion-cnn": "a"}}
    check_manifest(old, dict(old), tmp_path, print)
    with pytest.raises(InputError, match="the weights of fashion-cnn are not those"):
        check_manifest(old, {**same, "fixed_weights": {"fashion-cnn": "b"}}, tmp_path, print)


IMAGE = Field((28, 28, 1), "uint8")


@pytest.mark.parametrize(
    ("overrides", "fields", "message"),
    [
        ({}, {"real": IMAGE}, "the data's fields are real; set data.scale"),
        ({}, {"real": IMAGE, "input": Field((9, 9, 1), "uint8")}, "28x28 and what they are made from 9x9"),
        ({"generator.network": "unet"}, {"real": IMAGE}, "takes generator.network srresnet"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(overrides, fields, message):
    with pytest.raises(InputError, match=message):
        experiment.build(config.parse(SETTINGS, overrides), [], 100, fields)


@pytest.mark.parametrize(
    ("name", "resolution", "message"),
    [("fashion-cnn", 32, "for 28x28 grey images"), ("efficientnet-lite0", 28, "for images from 32x32")],
)
def test_features_that_do_not_take_the_images_are_refused(name, resolution, message):
    with pytest.raises(InputError, match=message):
        perceptual.load(name, resolution, 1)
