"""The networks: shapes and sizes as published, and one forward pass of each in plain NumPy."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, slow

from jaxgan.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator
from jaxgan.networks.dcgan import RESOLUTIONS

pytestmark = pytest.mark.usefixtures("quick_programs")

Z = 10


def init(module, *inputs):
    return quick_jit(lambda key, *x: module.init(key, *x, train=True))(jax.random.key(0), *inputs)


def shapes(module, *inputs, train=True):
    """The output and the variables, without computing either."""
    return jax.eval_shape(
        lambda key, *x: module.init_with_output(key, *x, train=train), jax.random.key(0), *inputs
    )


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def count(variables):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables["params"]))


def randomised(variables, rng):
    """Parameters and statistics far from their defaults, so that a term left out shows."""

    def draw(path, leaf):
        if leaf.ndim > 1:
            return rng.normal(size=leaf.shape) / np.sqrt(leaf.size / leaf.shape[-1])
        low, high = (-1, 1) if path[-1].key in ("bias", "mean") else (0.5, 1.5)
        return rng.uniform(low, high, leaf.shape)

    return jax.tree_util.tree_map_with_path(lambda p, x: jnp.asarray(draw(p, x), jnp.float32), variables)


@functools.partial(quick_jit, static_argnums=0, static_argnames=("train", "mutable"))
def apply(module, variables, *inputs, train=False, mutable=False, keys=None):
    """`module.apply`, compiled as one program: much faster than one after another of its operations."""
    return module.apply(variables, *inputs, train=train, mutable=mutable, keys=keys)


# Every resolution


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_dcgan_shapes(resolution, channels):
    image = (5, resolution, resolution, channels)
    made, _ = shapes(DCGANGenerator(resolution, channels, width=4), array(5, Z))
    assert (made.shape, made.dtype) == (image, jnp.float32)
    logits, _ = shapes(DCGANDiscriminator(resolution, channels, width=4), array(*image))
    assert (logits.shape, logits.dtype) == ((5,), jnp.float32)


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_dcgan_maps_halve_down_to_4_or_7_with_doubling_width(resolution):
    _, made = shapes(DCGANDiscriminator(resolution, 3, width=4), array(5, resolution, resolution, 3))
    kernels = [
        made["params"][f"Conv_{i}"]["kernel"].shape
        for i in range(len(made["params"]))
        if f"Conv_{i}" in made["params"]
    ]
    doublings = {16: 2, 28: 2, 32: 3, 64: 4, 128: 5, 256: 6}[resolution]
    wide = [3, 4, 8, 16, 32, 32, 32][: doublings + 1]
    assert kernels == [(b, 4, 4, a) for a, b in itertools.pairwise(wide)]
    base = 7 if resolution == 28 else 4
    assert made["params"]["Dense_0"]["kernel"].shape == (base * base * wide[-1], 1)


@pytest.mark.parametrize("resolution", [0, 8, 24, 30, 48, 100, 512])
def test_dcgan_refuses_another_resolution(resolution):
    message = rf"no {resolution}x{resolution} network.*16, 28, 32, 64, 128, 256"
    with pytest.raises(ValueError, match=message):
        shapes(DCGANGenerator(resolution), array(2, Z))
    with pytest.raises(ValueError, match=message):
        shapes(DCGANDiscriminator(resolution), array(2, resolution, resolution, 3))


@pytest.mark.parametrize("shape", [(2, 32, 32, 3), (2, 28, 28, 3), (2, 28, 14, 1)])
def test_a_dcgan_discriminator_refuses_images_of_another_shape(shape):
    with pytest.raises(ValueError, match=r"reads images \(28, 28, 1\)"):
        shapes(DCGANDiscriminator(28, 1), array(*shape))


# As published


def test_dcgan_64_has_the_published_parameters():
    """Radford et al.'s architecture: 4x4 kernels, widths 64 to 512, batch norm but on the outer layers.

    PyTorch's DCGAN example counts 3,576,704 and 2,765,568 without any bias; here the layers without batch norm have
    one: 3 colours; 64 channels and a logit.
    """
    _, generator = shapes(DCGANGenerator(64, 3, 64), array(2, 100))
    kernels = 100 * 512 * 16 + 16 * (512 * 256 + 256 * 128 + 128 * 64 + 64 * 3)
    assert count(generator) == kernels + 2 * (512 + 256 + 128 + 64) + 3 == 3_576_704 + 3
    _, discriminator = shapes(DCGANDiscriminator(64, 3, 64), array(2, 64, 64, 3))
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512)
    assert count(discriminator) == kernels + 2 * (128 + 256 + 512) + 64 + 1 == 2_765_568 + 65


def test_dcgan_weights_start_as_published():
    """Kernels N(0, 0.02), scales N(1, 0.02), biases 0."""
    v = init(DCGANGenerator(64, 3, 32), jnp.zeros((2, 100)))["params"]
    for name in ("Dense_0", "ConvTranspose_0", "ConvTranspose_1"):
        kernel = np.asarray(v[name]["kernel"])
        assert abs(kernel.mean()) < 5 * 0.02 / np.sqrt(kernel.size)
        assert abs(kernel.std() / 0.02 - 1) < 5 / np.sqrt(2 * kernel.size)
    scale = np.asarray(v["Norm_0"]["BatchNorm_0"]["scale"])
    assert abs(scale.mean() - 1) < 5 * 0.02 / np.sqrt(scale.size)
    assert abs(scale.std() / 0.02 - 1) < 5 / np.sqrt(2 * scale.size)
    np.testing.assert_array_equal(v["ConvTranspose_3"]["bias"], np.zeros(3))


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_dcgan_norm_is_on_all_but_the_outer_layers(norm):
    _, g = shapes(DCGANGenerator(32, 3, 4, norm=norm), array(2, Z))
    _, d = shapes(DCGANDiscriminator(32, 3, 4, norm=norm), array(2, 32, 32, 3))
    inner = {"batch": "BatchNorm_0", "layer": "LayerNorm_0"}
    for v, normed in ((g, [0, 1, 2]), (d, [1, 2])):
        found = {name: list(sub) for name, sub in v["params"].items() if name.startswith("Norm")}
        assert found == ({f"Norm_{i}": [inner[norm]] for i in normed} if norm in inner else {})
        assert ("batch_stats" in v) is (norm == "batch")
        # A bias before a norm that subtracts the mean would do nothing: there is one exactly where there is no norm.
        biased = {name for name, sub in v["params"].items() if "bias" in sub}
        outer = {"ConvTranspose_2"} if v is g else {"Conv_0", "Dense_0"}
        every = {name for name in v["params"] if not name.startswith("Norm")}
        assert biased == (every if norm == "none" else outer)


# Numbers


def test_dcgan_range_and_dependence_on_every_part_of_the_latent(rng):
    module = DCGANGenerator(16, 3, 4)
    v = randomised(shapes(module, array(2, Z))[1], rng)
    z = jnp.asarray(rng.normal(size=(3, Z)) * 3, jnp.float32)
    y = np.asarray(apply(module, v, z))
    assert y.min() < -0.5
    assert y.max() > 0.5
    assert np.abs(y).max() <= 1
    gradient = quick_jit(jax.grad(lambda z: jnp.sum(module.apply(v, z) ** 2)))(z)
    assert (gradient != 0).all()


BOTH = [
    *((DCGANGenerator(16, 1, 4, norm=norm), (4, Z)) for norm in ("batch", "layer", "none")),
    *((DCGANDiscriminator(16, 1, 4, norm=norm), (4, 16, 16, 1)) for norm in ("batch", "layer", "none")),
    (MLPGenerator((16, 16, 1), 8), (4, Z)),
    (MLPDiscriminator(8), (4, 16, 16, 1)),
]


@pytest.mark.parametrize(
    ("module", "shape"),
    [BOTH[0], *(slow(*each) for each in BOTH[1:])],
    ids=lambda value: getattr(value, "norm", ""),
)
def test_bfloat16_computes_in_bfloat16_and_keeps_float32(module, shape, rng):
    """Parameters, statistics, images and logits are float32; the numbers are bfloat16's."""
    half = module.clone(dtype=jnp.bfloat16)
    y, v = shapes(half, array(*shape))
    assert {leaf.dtype for leaf in jax.tree.leaves((y, v))} == {jnp.dtype("float32")}
    v = randomised(v, rng)
    x = rng.uniform(-1, 1, shape).astype(np.float32)
    y, full = (apply(m, v, x) for m in (half, module))
    assert y.dtype == jnp.float32
    assert 1e-5 < float(jnp.abs(y - full).max()) < 0.05
    layers = [
        line
        for line in str(jax.make_jaxpr(half.apply)(v, x)).split("\n")
        if "dot_general" in line or "conv_gen" in line
    ]
    # All but the discriminators' last layer, which makes the logits.
    assert sum(":bf16" in line for line in layers) == len(layers) - (len(shape) == 4)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def normalise(x, params, stats, train):
    """Batch norm in float64: the result, and the new running averages."""
    p, s = params["BatchNorm_0"], stats["BatchNorm_0"]
    m, v = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else (s["mean"], s["var"])
    new = {"BatchNorm_0": {"mean": 0.9 * s["mean"] + 0.1 * m, "var": 0.9 * s["var"] + 0.1 * v}}
    return (x - m) / np.sqrt(v + 1e-5) * p["scale"] + p["bias"], new


def convolve(x, w):
    """4x4, stride 2, one zero on each side: one output pixel at a time."""
    n, h, _, _ = x.shape
    x = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    y = np.empty((n, h // 2, h // 2, w.shape[0]))
    for i in range(h // 2):
        for j in range(h // 2):
            y[:, i, j] = np.einsum("nabc,dabc->nd", x[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4], w)
    return y


def spread(x, w):
    """Its transpose: each input pixel adds a 4x4 patch, then the border goes."""
    n, h, _, _ = x.shape
    y = np.zeros((n, 2 * h + 2, 2 * h + 2, w.shape[3]))
    for i in range(h):
        for j in range(h):
            y[:, 2 * i : 2 * i + 4, 2 * j : 2 * j + 4] += np.einsum("nd,dabc->nabc", x[:, i, j], w)
    return y[:, 1:-1, 1:-1]


def in_float64(variables):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)


@pytest.mark.parametrize("train", [True, False])
def test_dcgan_28_generator_in_numpy(train, rng):
    module = DCGANGenerator(28, 1, 4)
    z = rng.normal(size=(6, Z)).astype(np.float32)
    v = randomised(shapes(module, z)[1], rng)
    y, new = apply(module, v, z, train=train, mutable="batch_stats")
    v64 = in_float64(v)
    p, s = v64["params"], v64["batch_stats"]

    x = (z @ p["Dense_0"]["kernel"]).reshape(6, 7, 7, 8)
    x, new_0 = normalise(x, p["Norm_0"], s["Norm_0"], train)
    x = spread(np.maximum(x, 0), p["ConvTranspose_0"]["kernel"])
    assert x.shape == (6, 14, 14, 4)
    x, new_1 = normalise(x, p["Norm_1"], s["Norm_1"], train)
    x = spread(np.maximum(x, 0), p["ConvTranspose_1"]["kernel"]) + p["ConvTranspose_1"]["bias"]
    np.testing.assert_allclose(y, np.tanh(x), atol=2e-5)
    expected = {"Norm_0": new_0, "Norm_1": new_1} if train else s
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), new["batch_stats"], expected
    )


@pytest.mark.parametrize("train", [True, False])
def test_dcgan_28_discriminator_in_numpy(train, rng):
    module = DCGANDiscriminator(28, 1, 4)
    image = rng.uniform(-1, 1, (6, 28, 28, 1)).astype(np.float32)
    v = randomised(shapes(module, image)[1], rng)
    y, new = apply(module, v, image, train=train, mutable="batch_stats")
    v64 = in_float64(v)
    p, s = v64["params"], v64["batch_stats"]

    x = leaky(convolve(image.astype(np.float64), p["Conv_0"]["kernel"]) + p["Conv_0"]["bias"])
    x, new_1 = normalise(convolve(x, p["Conv_1"]["kernel"]), p["Norm_1"], s["Norm_1"], train)
    x = leaky(x)
    assert x.shape == (6, 7, 7, 8)
    logits = x.reshape(6, -1) @ p["Dense_0"]["kernel"][:, 0] + p["Dense_0"]["bias"]
    np.testing.assert_allclose(y, logits, rtol=1e-4, atol=1e-4)
    expected = {"Norm_1": new_1} if train else s
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), new["batch_stats"], expected
    )


@pytest.mark.parametrize("tanh", [True, False])
def test_mlp_generator_in_numpy(tanh, rng):
    module = MLPGenerator((3, 2), width=8, depth=2, tanh=tanh)
    z = rng.normal(size=(5, Z)).astype(np.float32)
    v = randomised(shapes(module, z)[1], rng)
    p = in_float64(v)["params"]
    x = z.astype(np.float64)
    for i in range(2):
        x = np.maximum(x @ p[f"Dense_{i}"]["kernel"] + p[f"Dense_{i}"]["bias"], 0)
    x = x @ p["Dense_2"]["kernel"] + p["Dense_2"]["bias"]
    expected = (np.tanh(x) if tanh else x).reshape(5, 3, 2)
    np.testing.assert_allclose(apply(module, v, z), expected, rtol=1e-4, atol=1e-5)
    assert sorted(p) == ["Dense_0", "Dense_1", "Dense_2"]


def test_mlp_discriminator_in_numpy(rng):
    module = MLPDiscriminator(width=8, depth=2, classes=3)
    x = rng.normal(size=(5, 2, 2, 1)).astype(np.float32)
    label = np.array([0, 1, 2, 2, 1], np.int32)
    v = randomised(shapes(module, x, label)[1], rng)
    p = in_float64(v)["params"]
    y = np.concatenate([x.reshape(5, 4), np.eye(3)[label]], 1)
    for i in range(2):
        y = leaky(y @ p[f"Dense_{i}"]["kernel"] + p[f"Dense_{i}"]["bias"])
    y = (y @ p["Dense_2"]["kernel"] + p["Dense_2"]["bias"])[:, 0]
    np.testing.assert_allclose(apply(module, v, x, label), y, rtol=1e-4, atol=1e-5)


# Labels and dropout

CONDITIONAL = [
    (DCGANGenerator(16, 1, 4, classes=3), (4, Z)),
    (DCGANDiscriminator(16, 1, 4, classes=3), (4, 16, 16, 1)),
    (MLPGenerator((16, 16, 1), 8, classes=3), (4, Z)),
    (MLPDiscriminator(8, classes=3), (4, 16, 16, 1)),
]


def name(value):
    return type(value).__name__ if not isinstance(value, tuple) else ""


@pytest.mark.parametrize(("module", "shape"), CONDITIONAL, ids=name)
def test_a_conditional_network_depends_on_its_own_label_alone(module, shape, rng):
    x = np.broadcast_to(rng.normal(size=shape[1:]), shape).astype(np.float32)
    v = randomised(shapes(module, x, np.zeros(4, np.int32))[1], rng)
    y = np.asarray(apply(module, v, x, np.array([0, 1, 2, 0], np.int32), train=False))
    np.testing.assert_allclose(y[0], y[3], rtol=1e-5, atol=1e-6)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(y[a] - y[b]).max() > 1e-3


@pytest.mark.parametrize(("module", "shape"), CONDITIONAL, ids=name)
def test_a_conditional_network_refuses_to_go_without_a_label(module, shape):
    with pytest.raises(ValueError, match="conditional on 3 classes: call it with a label"):
        shapes(module, array(*shape))


@pytest.mark.parametrize(("module", "shape"), CONDITIONAL, ids=name)
def test_an_unconditional_network_ignores_labels(module, shape, rng):
    module = module.clone(classes=0)
    x = rng.normal(size=shape).astype(np.float32)
    v = randomised(shapes(module, x)[1], rng)
    label = np.array([0, 1, 2, 0], np.int32)
    np.testing.assert_array_equal(apply(module, v, x, label), apply(module, v, x))


def test_the_label_reaches_a_dcgan_as_maps_and_latent_entries():
    """Mirza and Osindero's concatenation: as many more input channels as there are classes."""
    (g, z), (d, image) = CONDITIONAL[:2]
    label = array(4, dtype=jnp.int32)
    _, v = shapes(g, array(*z), label)
    assert v["params"]["Dense_0"]["kernel"].shape[0] == Z + 3
    _, v = shapes(d, array(*image), label)
    assert v["params"]["Conv_0"]["kernel"].shape[3] == 1 + 3


@pytest.mark.parametrize(
    "module",
    [DCGANDiscriminator(16, 1, 4, norm="none", dropout=0.5), MLPDiscriminator(8, dropout=0.5)],
    ids=name,
)
def test_dropout_acts_in_training_only_and_by_the_examples_keys(module, rng):
    image = rng.normal(size=(4, 16, 16, 1)).astype(np.float32)
    v = randomised(shapes(module, image)[1], rng)
    keys = jax.random.split(jax.random.key(1), 4)
    dropped = apply(module, v, image, train=True, keys=keys)
    assert np.abs(dropped - apply(module, v, image, train=False)).max() > 1e-4
    np.testing.assert_array_equal(
        apply(module, v, image, train=False, keys=keys), apply(module, v, image, train=False)
    )
    order = np.array([2, 0, 3, 1])
    np.testing.assert_allclose(
        apply(module, v, image[order], train=True, keys=keys[order]), dropped[order], rtol=1e-5, atol=1e-6
    )
    other = apply(module, v, image, train=True, keys=jax.random.split(jax.random.key(2), 4))
    assert np.abs(dropped - other).max() > 1e-4
