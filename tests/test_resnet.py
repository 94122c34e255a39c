"""SNGAN's ResNets: sizes as published, and one forward pass of each in plain NumPy, in the papers' order."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, slow

from jaxgan.networks import ResNetDiscriminator, ResNetGenerator
from jaxgan.networks.resnet import RESOLUTIONS, ConvPool, UpsampleConv

pytestmark = pytest.mark.usefixtures("quick_programs")

Z = 6


def shapes(module, *inputs):
    """The output and the variables, without computing either."""
    return jax.eval_shape(
        lambda key, *x: module.init_with_output(key, *x, train=True), jax.random.key(0), *inputs
    )


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def count(variables):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables["params"]))


def randomised(variables, rng):
    """Parameters and statistics far from their defaults, so that a term left out shows."""

    def draw(path, leaf):
        if leaf.ndim > 1:
            return rng.normal(size=leaf.shape) / np.sqrt(leaf.size / leaf.shape[0 if leaf.ndim == 4 else -1])
        low, high = (-1, 1) if path[-1].key in ("bias", "mean", "u") else (0.5, 1.5)
        return rng.uniform(low, high, leaf.shape)

    return jax.tree_util.tree_map_with_path(lambda p, x: jnp.asarray(draw(p, x), jnp.float32), variables)


@functools.partial(quick_jit, static_argnums=0, static_argnames=("train", "mutable"))
def apply(module, variables, *inputs, train=False, mutable=False):
    return module.apply(variables, *inputs, train=train, mutable=mutable)


# Sizes


@pytest.mark.parametrize("channels", [1, slow(3)])
@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_shapes(resolution, channels):
    image = (5, resolution, resolution, channels)
    made, _ = shapes(ResNetGenerator(resolution, channels, 2), array(5, Z))
    assert (made.shape, made.dtype) == (image, jnp.float32)
    logits, _ = shapes(ResNetDiscriminator(resolution, channels, 2), array(*image))
    assert (logits.shape, logits.dtype) == ((5,), jnp.float32)


def test_32_is_the_papers_network():
    """The table for CIFAR-10: three blocks of 256 up from 4x4; two of 128 down, two level, and a sum over 8x8."""
    _, g = shapes(ResNetGenerator(), array(2, 128))
    block = 2 * (9 * 256 * 256 + 256) + (256 * 256 + 256) + 2 * 2 * 256
    assert count(g) == (128 * 4096 + 4096) + 3 * block + 2 * 256 + (9 * 256 * 3 + 3)
    _, d = shapes(ResNetDiscriminator(), array(2, 32, 32, 3))
    wide, narrow = 9 * 128 * 128 + 128, 128 * 128 + 128
    first = (9 * 3 * 128 + 128) + wide + (3 * 128 + 128)
    assert count(d) == first + (2 * wide + narrow) + 2 * (2 * wide) + (128 + 1)
    assert count(shapes(ResNetDiscriminator(spectral=False), array(2, 32, 32, 3))[1]) == count(d)


@pytest.mark.parametrize(
    ("resolution", "generator", "discriminator"),
    [
        (16, [2, 2], [2, 2, 2, 2]),
        (28, [2, 2], [2, 2, 2, 2]),
        (32, [2, 2, 2], [2, 2, 2, 2]),
        (64, [16, 8, 4, 2], [2, 4, 8, 16, 16]),
        (128, [32, 16, 8, 4, 2], [2, 4, 8, 16, 32, 32]),
    ],
)
@pytest.mark.slow
def test_widths_of_the_blocks(resolution, generator, discriminator):
    """With width 64 in place of 2, 128x128 is the paper's 1024, 512, ... 64 up and 64, ... 1024, 1024 down."""
    _, g = shapes(ResNetGenerator(resolution, 3, 2), array(2, Z))
    _, d = shapes(ResNetDiscriminator(resolution, 3, 2), array(2, resolution, resolution, 3))
    first = 2 if resolution <= 32 else 32
    smallest = 7 if resolution == 28 else 4
    assert g["params"]["Dense_0"]["kernel"].shape == (Z, smallest**2 * first)
    for params, kind, expected in ((g, "UpBlock", generator), (d, "DownBlock", discriminator)):
        blocks = [name for name in params["params"] if name.startswith(kind)]
        assert len(blocks) == len(expected)
        for i, width in enumerate(expected):
            block = params["params"][f"{kind}_{i}"]
            # Up, the first convolution changes the width; down, the second, but for the block that reads the image.
            first, inner = (
                ("UpsampleConv_0", width) if kind == "UpBlock" else ("Conv_0", expected[max(i - 1, 0)])
            )
            assert block[first]["kernel"].shape[0] == inner
            last = block["Conv_0"] if kind == "UpBlock" else block.get("ConvPool_0") or block["Conv_1"]
            assert last["kernel"].shape[0] == width


@pytest.mark.parametrize("resolution", [0, 8, 48, 256])
def test_another_resolution_is_refused(resolution):
    message = rf"no {resolution}x{resolution} network.*16, 28, 32, 64, 128"
    with pytest.raises(ValueError, match=message):
        shapes(ResNetGenerator(resolution), array(2, Z))
    with pytest.raises(ValueError, match=message):
        shapes(ResNetDiscriminator(resolution), array(2, resolution, resolution, 3))


def test_images_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"reads images \(32, 32, 3\), got \(32, 32, 1\)"):
        shapes(ResNetDiscriminator(), array(2, 32, 32, 1))


def test_weights_start_as_in_the_authors_code():
    """Glorot's uniform limits, times the square root of 2 on the residual way; biases 0."""
    module, x = ResNetDiscriminator(16, 3, 32), jnp.zeros((2, 16, 16, 3))
    v: Any = quick_jit(lambda key: module.init(key, x, train=True)["params"])(jax.random.key(0))
    block = v["DownBlock_1"]
    for name, limit in {
        "Conv_0": np.sqrt(2) * np.sqrt(6 / (9 * 64)),
        "ConvPool_0": np.sqrt(2) * np.sqrt(6 / (9 * 64)),
        "Conv_1": np.sqrt(6 / 64),
    }.items():
        kernel = np.abs(np.asarray(block[name]["kernel"]))
        assert 0.97 * limit < kernel.max() <= limit * 1.0001
        assert abs(kernel.mean() - limit / 2) < 0.1 * limit / 2
        np.testing.assert_array_equal(block[name]["bias"], np.zeros(32))


# Numbers


def convolve(x, params):
    """A 3x3 convolution with zeros around, or a 1x1 one, in float64."""
    w = params["kernel"].transpose(1, 2, 3, 0)
    k, (_, h, _, _) = w.shape[0], x.shape
    x = np.pad(x, ((0, 0), (k // 2, k // 2), (k // 2, k // 2), (0, 0)))
    taps = [x[:, i : i + h, j : j + h] @ w[i, j] for i in range(k) for j in range(k)]
    return sum(taps) + params["bias"]


def doubled(x):
    return x.repeat(2, 1).repeat(2, 2)


def pooled(x):
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def relu(x):
    return np.maximum(x, 0)


def in_float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


@pytest.mark.parametrize(
    ("module", "naive", "shape"),
    [
        (UpsampleConv(5), lambda x, p: convolve(doubled(x), p), (2, 3, 3, 4)),
        (ConvPool(5), lambda x, p: pooled(convolve(x, p)), (2, 6, 6, 4)),
    ],
)
def test_resampling_and_convolution_in_one(module, naive, shape, rng):
    """The same numbers as one after the other, at borders too, and the same gradient in input and parameters."""
    x = rng.normal(size=shape).astype(np.float32)
    v = randomised(module.init(jax.random.key(0), x), rng)
    g = rng.normal(size=jax.eval_shape(module.apply, v, x).shape)

    @quick_jit
    def both(v, x, g):
        y, pull = jax.vjp(module.apply, v, x)
        return y, pull(g)

    y, (dv, dx) = both(v, x, jnp.float32(g))
    np.testing.assert_allclose(y, naive(x, in_float64(v["params"])), atol=1e-5)
    # The map is linear in x and in the kernel: <pull(g), d> = <g, f(d)>.
    d, still = rng.normal(size=shape), {**in_float64(v["params"]), "bias": np.zeros(5)}
    np.testing.assert_allclose(np.sum(dx * d), np.sum(g * naive(d, still)), rtol=1e-4)
    d = rng.normal(size=v["params"]["kernel"].shape)
    np.testing.assert_allclose(
        np.sum(dv["params"]["kernel"] * d), np.sum(g * naive(x, {**still, "kernel": d})), rtol=1e-4
    )
    np.testing.assert_allclose(dv["params"]["bias"], g.sum((0, 1, 2)), rtol=1e-4)


def normalise(x, p, s, train):
    p, s = p["BatchNorm_0"], s["BatchNorm_0"]
    m, v = (x.mean((0, 1, 2)), x.var((0, 1, 2))) if train else (s["mean"], s["var"])
    return (x - m) / np.sqrt(v + 1e-5) * p["scale"] + p["bias"]


@pytest.mark.parametrize("train", [True, False])
def test_generator_in_numpy(train, rng):
    module = ResNetGenerator(16, 3, 4, classes=3)
    z, label = rng.normal(size=(6, Z)).astype(np.float32), np.array([0, 1, 2, 2, 1, 0], np.int32)
    v = randomised(shapes(module, z, label)[1], rng)
    y, _ = apply(module, v, z, label, train=train, mutable="batch_stats")
    v64 = in_float64(v)
    p, s = v64["params"], v64["batch_stats"]
    x = np.concatenate([z, np.eye(3)[label]], 1) @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"]
    x = x.reshape(6, 4, 4, 4)
    for i in range(2):
        q, t = p[f"UpBlock_{i}"], s[f"UpBlock_{i}"]
        h = convolve(doubled(relu(normalise(x, q["Norm_0"], t["Norm_0"], train))), q["UpsampleConv_0"])
        h = convolve(relu(normalise(h, q["Norm_1"], t["Norm_1"], train)), q["Conv_0"])
        x = h + convolve(doubled(x), q["Conv_1"])
    x = convolve(relu(normalise(x, p["Norm_0"], s["Norm_0"], train)), p["Conv_0"])
    assert x.shape == (6, 16, 16, 3)
    np.testing.assert_allclose(y, np.tanh(x), atol=1e-4)


def by_outputs(kernel):
    """A matrix of everything by outputs: kernels are [out, 3, 3, in], or [in, out]."""
    return kernel.reshape(len(kernel), -1).T if kernel.ndim == 4 else kernel


def divided(params, vectors):
    """Every kernel over its sigma = |W u|, as spectral norm has it in evaluation."""
    names = iter(f"SpectralNorm_{i}" for i in range(len(params)))

    def scale(layer):
        return {
            **layer,
            "kernel": layer["kernel"]
            / np.linalg.norm(by_outputs(layer["kernel"]) @ vectors[next(names)]["u"]),
        }

    return {name: scale(layer) for name, layer in params.items()}


@pytest.mark.parametrize("spectral", [True, False])
def test_discriminator_in_numpy(spectral, rng):
    module = ResNetDiscriminator(16, 3, 4, classes=3, spectral=spectral)
    x, label = rng.uniform(-1, 1, (5, 16, 16, 3)).astype(np.float32), np.array([0, 1, 2, 2, 1], np.int32)
    v = randomised(shapes(module, x, label)[1], rng)
    y = apply(module, v, x, label)
    p = dict(in_float64(v["params"]))
    if spectral:
        u = in_float64(v["spectral"])
        # Layers in the order of their calls, which is that of the vectors.
        order = {0: ("Conv_0", "ConvPool_0", "Conv_1"), 2: ("Conv_0", "Conv_1")}
        for i in range(4):
            block = p[f"DownBlock_{i}"]
            block = {name: block[name] for name in order[2 * (i >= 2)]}
            p[f"DownBlock_{i}"] = divided(block, u[f"DownBlock_{i}"])
        p |= divided({name: p[name] for name in ("Dense_0", "Dense_1")}, u)
    x = x.astype(np.float64)
    for i in range(2):
        q = p[f"DownBlock_{i}"]
        h = convolve(relu(convolve(x if i == 0 else relu(x), q["Conv_0"])), q["ConvPool_0"])
        x = pooled(h) + pooled(convolve(x, q["Conv_1"]))
    for i in (2, 3):
        q = p[f"DownBlock_{i}"]
        assert sorted(q) == ["Conv_0", "Conv_1"]
        x = x + convolve(relu(convolve(relu(x), q["Conv_0"])), q["Conv_1"])
    assert x.shape == (5, 4, 4, 4)
    features = relu(x).sum((1, 2))
    logits = features @ p["Dense_0"]["kernel"][:, 0] + p["Dense_0"]["bias"]
    logits = logits + np.sum(features * p["Dense_1"]["kernel"][label], 1)
    np.testing.assert_allclose(y, logits, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_every_weight_of_a_spectral_discriminator_has_a_vector_and_only_training_moves_them(rng):
    x = rng.uniform(-1, 1, (2, 16, 16, 1)).astype(np.float32)
    module = ResNetDiscriminator(16, 1, 4, classes=2)
    label = np.array([0, 1], np.int32)
    v: Any = quick_jit(lambda key: module.init(key, x, label, train=True))(jax.random.key(0))
    v = {**v, "spectral": jax.tree.map(lambda u: jnp.ones_like(u) / np.sqrt(u.size), v["spectral"])}
    kernels = [leaf for leaf in jax.tree.leaves(v["params"]) if leaf.ndim > 1]
    outputs = sorted(by_outputs(w).shape[1] for w in kernels)
    assert sorted(u.shape[0] for u in jax.tree.leaves(v["spectral"])) == outputs
    _, same = apply(module, v, x, label, train=False, mutable="spectral")
    jax.tree.map(np.testing.assert_array_equal, same["spectral"], v["spectral"])
    _, new = apply(module, v, x, label, train=True, mutable="spectral")
    moved = [
        not np.array_equal(a, b)
        for a, b in zip(jax.tree.leaves(new["spectral"]), jax.tree.leaves(v["spectral"]), strict=True)
    ]
    # A matrix with one output, the layer of the logit, has nothing to find.
    assert moved.count(False) == outputs.count(1) == 1
    assert set(shapes(ResNetDiscriminator(16, 1, 4, spectral=False), x)[1]) == {"params"}


BOTH = pytest.mark.parametrize(
    ("module", "shape"),
    [(ResNetGenerator(16, 1, 4), (4, Z)), (ResNetDiscriminator(16, 1, 4), (4, 16, 16, 1))],
    ids=["generator", "discriminator"],
)


@BOTH
@pytest.mark.slow
def test_bfloat16_computes_in_bfloat16_and_keeps_float32(module, shape, rng):
    half = module.clone(dtype=jnp.bfloat16)
    y, v = shapes(half, array(*shape))
    assert {leaf.dtype for leaf in jax.tree.leaves((y, v))} == {jnp.dtype("float32")}
    v: Any = quick_jit(lambda key: half.init(key, jnp.zeros(shape), train=True))(jax.random.key(0))
    x = rng.uniform(-1, 1, shape).astype(np.float32)
    y, full = (apply(m, v, x) for m in (half, module))
    assert y.dtype == jnp.float32
    assert 1e-6 < float(jnp.abs(y - full).max()) < 0.05
    bare = half if isinstance(half, ResNetGenerator) else half.clone(spectral=False)
    program = str(jax.make_jaxpr(lambda v, x: bare.apply(v, x, train=False))(v, x))
    layers = [
        line for line in program.split("\n") if "conv_general_dilated[" in line or "dot_general[" in line
    ]
    # Two blocks of three and a layer at either end; or ten convolutions and the logit's, which is float32.
    assert len(layers) == (8 if isinstance(half, ResNetGenerator) else 11)
    assert sum(":bf16" not in line for line in layers) == isinstance(half, ResNetDiscriminator)


@BOTH
@pytest.mark.slow
def test_labels(module, shape, rng):
    """An example depends on its own label; without classes, on none; a conditional network wants one."""
    conditional = module.clone(classes=3)
    x = np.broadcast_to(rng.normal(size=shape[1:]), shape).astype(np.float32)
    label = np.array([0, 1, 2, 0], np.int32)
    v = randomised(shapes(conditional, x, label)[1], rng)
    y = np.asarray(apply(conditional, v, x, label))
    np.testing.assert_allclose(y[0], y[3], rtol=1e-5, atol=1e-6)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(y[a] - y[b]).max() > 1e-3
    v = randomised(shapes(module, x)[1], rng)
    np.testing.assert_array_equal(apply(module, v, x, label), apply(module, v, x))
    with pytest.raises(ValueError, match="conditional on 3 classes: call it with a label"):
        shapes(conditional, array(*shape))
