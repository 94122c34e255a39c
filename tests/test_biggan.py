"""BigGAN and SAGAN: sizes as published, and forward passes against PyTorch, layer by layer as in the papers."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peers import load
from quick import quick_jit, slow

from jaxgan.networks import BigGANDiscriminator, BigGANGenerator, SAGANDiscriminator, SAGANGenerator
from jaxgan.networks.biggan import RESOLUTIONS, plan
from jaxgan.networks.resnet import DownBlock

Z = 10
LABEL = np.array([0, 1, 2, 2], np.int32)


def shapes(module, *inputs):
    """The output and the variables, without computing either."""
    return jax.eval_shape(
        lambda key, *x: module.init_with_output(key, *x, train=True), jax.random.key(0), *inputs
    )


def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def count(variables):
    return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables["params"]))


@functools.partial(quick_jit, static_argnums=0, static_argnames=("train", "mutable"))
def apply(module, variables, *inputs, train=False, mutable=False):
    return module.apply(variables, *inputs, train=train, mutable=mutable)


# Sizes


@pytest.mark.slow
def test_parameters_at_128_are_the_published_70_and_88_million():
    """Width 96, latents of 120, 1,000 classes; the authors' PyTorch code counts the very same."""
    label = array(2, dtype=jnp.int32)
    made, g = shapes(BigGANGenerator(classes=1000, attention=64), array(2, 120), label)
    logits, d = shapes(BigGANDiscriminator(classes=1000, attention=64), array(2, 128, 128, 3), label)
    assert (made.shape, logits.shape) == ((2, 128, 128, 3), (2,))
    assert (count(g), count(d)) == (70_433_988, 87_982_370)


@pytest.mark.parametrize("resolution", [RESOLUTIONS[0], *map(slow, RESOLUTIONS[1:])])
def test_shapes_at_every_resolution_with_attention_wherever_it_can_be(resolution):
    for attention in plan(resolution).attention:
        made, g = shapes(BigGANGenerator(resolution, 1, 8, attention=attention), array(4, Z))
        assert (made.shape, made.dtype) == ((4, resolution, resolution, 1), jnp.float32)
        logits, d = shapes(BigGANDiscriminator(resolution, 1, 8, attention=attention), made)
        assert (logits.shape, logits.dtype) == ((4,), jnp.float32)
        assert all("SelfAttention_0" in variables["params"] for variables in (g, d))


@pytest.mark.slow
def test_attention_is_where_the_papers_have_it():
    """BigGAN's at 64x64, SAGAN's at 32x32: after the block that makes a map of this size, with its channels."""
    for make, attention, expected in ((BigGANGenerator, 64, 2 * 96), (SAGANGenerator, 32, 4 * 64)):
        _, g = shapes(make(attention=attention), array(2, 128))
        assert g["params"]["SelfAttention_0"]["out"]["kernel"].shape[0] == expected
    for judge, attention, expected in ((BigGANDiscriminator, 64, 96), (SAGANDiscriminator, 32, 2 * 64)):
        _, d = shapes(judge(attention=attention), array(2, 128, 128, 3))
        assert d["params"]["SelfAttention_0"]["out"]["kernel"].shape[0] == expected


def test_what_does_not_exist_is_refused():
    with pytest.raises(ValueError, match="no 48x48 network; supported are"):
        shapes(BigGANGenerator(48), array(2, Z))
    with pytest.raises(ValueError, match="attention at 28x28 can be on maps of size 14, not 64"):
        shapes(BigGANDiscriminator(28, 1, 8, attention=64), array(2, 28, 28, 1))
    with pytest.raises(ValueError, match="needs at least 3 latents, got 2"):
        shapes(BigGANGenerator(28), array(2, 2))
    with pytest.raises(ValueError, match="conditional on 3 classes: call it with a label"):
        shapes(SAGANGenerator(28, classes=3), array(2, Z))
    with pytest.raises(ValueError, match=r"reads images \(28, 28, 3\)"):
        shapes(SAGANDiscriminator(28), array(2, 28, 28, 1))


@pytest.mark.slow
def test_weights_start_orthogonal():
    module = BigGANDiscriminator(28, 1, 2, 3, 14)
    v: Any = quick_jit(lambda key: module.init(key, jnp.zeros((2, 28, 28, 1)), LABEL[:2], train=True))(
        jax.random.key(0)
    )
    kernel = np.asarray(v["params"]["DownBlock_1"]["Conv_0"]["kernel"]).reshape(8, -1)
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(8), atol=1e-5)
    kernel = np.asarray(v["params"]["Dense_1"]["kernel"])
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(3), atol=1e-5)


# Numbers


def randomised(variables, rng):
    """Parameters and statistics far from their defaults, so that a term left out shows."""

    def draw(path, leaf):
        if leaf.ndim > 1:
            return rng.normal(size=leaf.shape)
        low, high = (0.5, 1.5) if path[-1].key in ("scale", "var", "gamma") else (-1, 1)
        return rng.uniform(low, high, leaf.shape)

    return jax.tree_util.tree_map_with_path(lambda p, x: jnp.asarray(draw(p, x), jnp.float32), variables)


class Peer:
    """Layers in PyTorch, in float64, `[N, C, H, W]`, with the parameters of one of our modules."""

    def __init__(self, params, spectral, stats):
        self.torch = load("torch")
        self.f = self.torch.nn.functional
        self.params, self.spectral, self.stats = params, spectral, stats
        self.calls = 0

    def of(self, name):
        """The same of a submodule."""
        return Peer(self.params[name], (self.spectral or {}).get(name), self.stats.get(name, {}))

    def tensor(self, x):
        return self.torch.tensor(np.asarray(x, np.float64))

    def kernel(self, name):
        """As PyTorch lays it out, `[out, in, h, w]` or `[out, in]`, over its sigma = |W u| if there is a u."""
        w = np.asarray(self.params[name]["kernel"], np.float64)
        w = w.transpose(0, 3, 1, 2) if w.ndim == 4 else w.T
        if self.spectral is not None:
            # The columns of our matrix of [kh, kw, in] by outputs are in another order, which no length depends on.
            u = np.asarray(self.spectral[f"SpectralNorm_{self.calls}"]["u"], np.float64)
            w = w / np.linalg.norm(u @ w.reshape(len(w), -1))
            self.calls += 1
        return self.tensor(w)

    def bias(self, name):
        bias = self.params[name].get("bias")
        return None if bias is None else self.tensor(bias)

    def conv(self, name, x):
        w = self.kernel(name)
        return self.f.conv2d(x, w, self.bias(name), padding=w.shape[2] // 2)

    def dense(self, name, x):
        return self.f.linear(x, self.kernel(name), self.bias(name))

    def norm(self, name, x, condition, train):
        own = self.of(name)
        inner = own.stats["Norm_0"]["BatchNorm_0"] if condition is not None else own.stats["BatchNorm_0"]
        mean, var = (self.tensor(inner[k]).clone() for k in ("mean", "var"))
        if condition is None:
            p = own.params["BatchNorm_0"]
            affine = (self.tensor(p["scale"]), self.tensor(p["bias"]))
            return self.f.batch_norm(x, mean, var, *affine, train, 0.1, 1e-5)
        y = self.f.batch_norm(x, mean, var, None, None, train, 0.1, 1e-5)
        scale, bias = (own.dense(k, condition)[:, :, None, None] for k in ("scale", "bias"))
        return y * (1 + scale) + bias

    def up(self, x, condition, train):
        norm = "Norm" if condition is None else "ConditionalNorm"
        double = lambda x: self.f.interpolate(x, scale_factor=2, mode="nearest")  # noqa: E731
        y = double(self.f.relu(self.norm(f"{norm}_0", x, condition, train)))
        y = self.f.relu(self.norm(f"{norm}_1", self.conv("UpsampleConv_0", y), condition, train))
        y = self.conv("Conv_0", y)
        return y + self.conv("Conv_1", double(x))

    def down(self, x, first):
        down = "ConvPool_0" in self.params
        pool = (lambda x: self.f.avg_pool2d(x, 2)) if down else lambda x: x
        y = self.conv("Conv_0", x if first else self.f.relu(x))
        y = pool(self.conv("ConvPool_0" if down else "Conv_1", self.f.relu(y)))
        last = "Conv_1" if down else "Conv_2"
        return y + (pool(self.conv(last, x)) if last in self.params else x)

    def attend(self, x):
        n, _, h, w = x.shape
        query = self.conv("query", x).reshape(n, -1, h * w)
        key, value = (
            self.f.max_pool2d(self.conv(k, x), 2).reshape(n, -1, h * w // 4) for k in ("key", "value")
        )
        beta = self.f.softmax(self.torch.bmm(query.transpose(1, 2), key), -1)
        out = self.torch.bmm(value, beta.transpose(1, 2)).reshape(n, -1, h, w)
        return x + float(self.params["gamma"]) * self.conv("out", out)

    def generate(self, first, conditions, attention, train):
        x = self.dense("Dense_0", first)
        x = x.reshape(len(x), 7, 7, -1).permute(0, 3, 1, 2)
        for i, condition in enumerate(conditions):
            x = self.of(f"UpBlock_{i}").up(x, condition, train)
            if x.shape[2] == attention:
                x = self.of("SelfAttention_0").attend(x)
        x = self.conv("Conv_0", self.f.relu(self.norm("Norm_0", x, None, train)))
        return self.torch.tanh(x).permute(0, 2, 3, 1).numpy()

    def judge(self, x, label, attention):
        x = x.permute(0, 3, 1, 2)
        for i in range(4):
            x = self.of(f"DownBlock_{i}").down(x, i == 0)
            if i == 0 and x.shape[2] == attention:
                x = self.of("SelfAttention_0").attend(x)
        features = self.f.relu(x).sum((2, 3))
        logits = self.dense("Dense_0", features)[:, 0]
        if label is not None:
            rows = self.torch.nn.functional.one_hot(self.torch.tensor(label).long(), 3).double()
            logits = logits + (self.dense("Dense_1", rows) * features).sum(1)
        return logits.numpy()


def peer(v, moved=None):
    v = {**v, **(moved or {})}
    return Peer(v["params"], v.get("spectral"), v.get("batch_stats", {}))


@pytest.mark.parametrize("train", [True, slow(False)])
@pytest.mark.parametrize("classes", [slow(0), 3])
def test_biggans_generator_is_pytorchs(classes, train, rng):
    module = BigGANGenerator(28, 1, 4, classes, 14, 5)
    z, label = rng.normal(size=(4, Z)).astype(np.float32), (LABEL,) * bool(classes)
    v = randomised(shapes(module, z, *label)[1], rng)
    y, moved = apply(module, v, z, *label, train=train, mutable=("batch_stats", "spectral"))
    theirs = peer(v, {"spectral": moved["spectral"]})
    parts = [z[:, :4], z[:, 4:7], z[:, 7:]]
    if classes:
        shared = np.asarray(v["params"]["class_embedding"])[LABEL]
        parts[1:] = [np.concatenate([shared, part], 1) for part in parts[1:]]
    first, *conditions = map(theirs.tensor, parts)
    np.testing.assert_allclose(y, theirs.generate(first, conditions, 14, train), atol=1e-4)


@pytest.mark.parametrize(("classes", "spectral"), [(0, True), (3, True), (3, False)])
@pytest.mark.slow
def test_sagans_generator_is_pytorchs(classes, spectral, rng):
    module = SAGANGenerator(28, 1, 4, classes, 14, spectral)
    z, label = rng.normal(size=(4, Z)).astype(np.float32), (LABEL,) * bool(classes)
    v = randomised(shapes(module, z, *label)[1], rng)
    if not spectral:  # kernels as large as spectral norm would have them
        v["params"] = jax.tree.map(lambda w: w / 8 if w.ndim > 1 else w, v["params"])
    y = apply(module, v, z, *label)
    theirs = peer(v)
    if classes and spectral:  # its table of scales and biases has no spectral norm
        assert set(v["spectral"]["UpBlock_0"]) == {f"SpectralNorm_{i}" for i in range(3)}
    condition = theirs.tensor(np.eye(3)[LABEL]) if classes else None
    expected = theirs.generate(theirs.tensor(z), [condition] * 2, 14, False)
    np.testing.assert_allclose(y, expected, atol=1e-4)


@pytest.mark.parametrize(
    ("module", "label"),
    [
        (BigGANDiscriminator(28, 1, 4, 3, 14), LABEL),
        (BigGANDiscriminator(28, 1, 4, 0, 0), None),
        (SAGANDiscriminator(28, 1, 4, 3, 14), LABEL),
    ],
    ids=["biggan", "plain", "sagan"],
)
def test_discriminators_are_pytorchs(module, label, rng):
    x = rng.uniform(-1, 1, (4, 28, 28, 1)).astype(np.float32)
    given = () if label is None else (label,)
    v = randomised(shapes(module, x, *given)[1], rng)
    theirs = peer(v)
    expected = theirs.judge(theirs.tensor(x), label, module.attention)
    np.testing.assert_allclose(apply(module, v, x, *given), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("wide", [True, False])
def test_blocks_of_the_discriminator_widen_in_the_first_or_the_second_convolution(wide, rng):
    """BigGAN's and SNGAN's, which halve the map and change the width."""
    module = DownBlock(6, wide=wide)
    x = rng.normal(size=(2, 6, 6, 4)).astype(np.float32)
    v = randomised(shapes(module, x)[1], rng)
    assert v["params"]["Conv_0"]["kernel"].shape[0] == (6 if wide else 4)
    theirs = peer(v)
    expected = theirs.down(theirs.tensor(x).permute(0, 3, 1, 2), False).permute(0, 2, 3, 1).numpy()
    np.testing.assert_allclose(apply(module, v, x), expected, rtol=1e-4, atol=1e-4)
