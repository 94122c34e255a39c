"""Spectral normalisation against NumPy's singular values and the paper's gradient."""

from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.errors import ModifyScopeVariableError
from quick import slow

from jaxgan.layers import Conv, ConvTranspose, SpectralNorm

pytestmark = pytest.mark.usefixtures("quick_programs")

KEY = jax.random.key(0)
LAYERS = {
    "Conv": (lambda: Conv(5, 3), (4, 6, 6, 3)),
    "Conv_1x1": (lambda: Conv(4, 1), (4, 6, 6, 8)),
    "ConvTranspose": (lambda: ConvTranspose(6), (4, 3, 3, 4)),
    "Dense": (lambda: nn.Dense(7), (4, 3)),
}
EVERY = pytest.mark.parametrize("name", LAYERS)


class Net(nn.Module):
    layer: str
    spectral: bool = True

    @nn.compact
    def __call__(self, x, *, train):
        layer = LAYERS[self.layer][0]()
        return SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)


def start(name, rng):
    """A network, its variables with u drawn anew, and an input."""
    x = rng.normal(size=LAYERS[name][1]).astype(np.float32)
    variables: Any = Net(name).init(KEY, x, train=True)
    u = variables["spectral"]["SpectralNorm_0"]["u"]
    u = rng.normal(size=u.shape)
    return with_u(variables, u / np.linalg.norm(u)), x


def with_u(variables, u):
    return {**variables, "spectral": {"SpectralNorm_0": {"u": jnp.float32(u)}}}


def kernel(variables):
    (layer,) = variables["params"].values()
    return np.asarray(layer["kernel"], np.float64)


def matrix(name, w):
    """Everything by outputs: a convolution's kernel is [out, kh, kw, in], the others' are [..., out]."""
    w = np.moveaxis(w, 0, -1) if name.startswith("Conv") and name != "ConvTranspose" else w
    return w.reshape(-1, w.shape[-1])


def u_of(variables):
    return np.asarray(variables["spectral"]["SpectralNorm_0"]["u"], np.float64)


def iterate(m, u):
    v = m @ u / np.linalg.norm(m @ u)
    return m.T @ v / np.linalg.norm(m.T @ v)


@partial(jax.jit, static_argnums=0)
def plain(name, variables, x) -> Any:
    """The layer without spectral norm."""
    return Net(name, spectral=False).apply({"params": variables["params"]}, x, train=True)


@partial(jax.jit, static_argnums=0)
def evaluate(name, variables, x) -> Any:
    return Net(name).apply(variables, x, train=False)


@partial(jax.jit, static_argnums=0)
def train(name, variables, x):
    y, new = Net(name).apply(variables, x, train=True, mutable=["spectral"])
    return y, {**variables, **new}


@pytest.mark.parametrize("name", [name if name in ("Dense", "Conv") else slow(name) for name in LAYERS])
def test_a_training_pass_iterates_once_and_divides_by_its_sigma(name, rng):
    variables, x = start(name, rng)
    m = matrix(name, kernel(variables))
    for _ in range(3):
        u = iterate(m, u_of(variables))
        y, variables = train(name, variables, x)
        np.testing.assert_allclose(u_of(variables), u, rtol=1e-5, atol=1e-6)
        expected = plain(name, variables, x) / np.linalg.norm(m @ u)
        np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@EVERY
def test_sigma_converges_to_the_largest_singular_value(name, rng):
    variables, x = start(name, rng)
    sigma = np.linalg.svd(matrix(name, kernel(variables)), compute_uv=False)[0]
    expected = plain(name, variables, x) / sigma
    first, _ = train(name, variables, x)
    assert np.abs(first - expected).max() > 1e-3  # from a random vector one iteration is not enough
    many = jax.jit(lambda v: jax.lax.fori_loop(0, 300, lambda _, v: train(name, v, x)[1], v))
    y = evaluate(name, many(variables), x)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@EVERY
def test_training_starts_near_the_largest_singular_value(name, rng):
    x = rng.normal(size=LAYERS[name][1]).astype(np.float32)
    for seed in range(3):
        variables = Net(name).init(jax.random.key(seed), x, train=True)
        m = matrix(name, kernel(variables))
        sigma = np.linalg.svd(m, compute_uv=False)[0]
        assert 0.95 * sigma < np.linalg.norm(m @ u_of(variables)) < 1.0001 * sigma


@EVERY
def test_evaluation_uses_u_as_it_stands(name, rng):
    variables, x = start(name, rng)
    y, new = Net(name).apply(variables, x, train=False, mutable=["spectral"])
    np.testing.assert_array_equal(u_of(new), u_of(variables))
    sigma = np.linalg.norm(matrix(name, kernel(variables)) @ u_of(variables))
    np.testing.assert_allclose(y, plain(name, variables, x) / sigma, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(evaluate(name, variables, x), y)


@EVERY
def test_parameters_are_those_of_the_bare_layer(name, rng):
    """Names, values and scale: what is initialised is the kernel, not the normalised kernel."""
    x = rng.normal(size=LAYERS[name][1]).astype(np.float32)
    spectral, bare = (Net(name, s).init(KEY, x, train=True) for s in (True, False))
    assert jax.tree.structure(spectral["params"]) == jax.tree.structure(bare["params"])
    jax.tree.map(np.testing.assert_array_equal, spectral["params"], bare["params"])
    # And initialisation does not count as a pass: its output is that of an evaluation of what it made.
    y, made = Net(name).init_with_output(KEY, x, train=True)
    np.testing.assert_allclose(y, evaluate(name, made, x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["Dense", "ConvTranspose"])
def test_the_gradient_is_the_papers(name, training, rng):
    """Equation 10 for a loss <G, W / sigma>: (G - <G, W / sigma> v u') / sigma; u and v are constants."""
    variables, x = start(name, rng)
    pull = jnp.asarray(rng.normal(size=plain(name, variables, x).shape), jnp.float32)
    bare = jax.grad(lambda p: jnp.sum(plain(name, {"params": p}, x) * pull))(variables["params"])

    def loss(params):
        y, _ = Net(name).apply({**variables, "params": params}, x, train=training, mutable=["spectral"])
        return jnp.sum(y * pull)

    found = jax.grad(loss)(variables["params"])
    m, g = matrix(name, kernel(variables)), matrix(name, kernel({"params": bare}))
    u = iterate(m, u_of(variables)) if training else u_of(variables)
    sigma = np.linalg.norm(m @ u)
    expected = (g - np.sum(g * m / sigma) * np.outer(m @ u / sigma, u)) / sigma
    np.testing.assert_allclose(matrix(name, kernel({"params": found})), expected, rtol=1e-4, atol=1e-4)


def test_the_bias_is_not_touched(rng):
    variables, x = start("Dense", rng)
    variables["params"]["Dense_0"]["bias"] = jnp.arange(7.0)
    np.testing.assert_array_equal(evaluate("Dense", variables, 0 * x)[0], np.arange(7.0))


@pytest.mark.device
def test_a_kernel_of_zeros_stays_zero_and_keeps_u(rng):
    variables, x = start("Dense", rng)
    variables["params"]["Dense_0"]["kernel"] *= 0
    y, new = train("Dense", variables, x)
    np.testing.assert_array_equal(y, np.zeros((4, 7)))
    np.testing.assert_array_equal(u_of(new), u_of(variables))
    loss = lambda p: jnp.sum(train("Dense", {**variables, "params": p}, x)[0])  # noqa: E731
    grads = jax.grad(loss)(variables["params"])
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(grads))


def test_bfloat16_layers_are_normalised_in_float32(rng):
    """The power iteration is that of the float32 layer; only the layer's own product is bfloat16."""
    x = rng.normal(size=(4, 3)).astype(np.float32)
    module, half = SpectralNorm(nn.Dense(7)), SpectralNorm(nn.Dense(7, dtype=jnp.bfloat16))
    variables = half.init(KEY, x, train=True)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    y, new = half.apply(variables, x, train=True, mutable=["spectral"])
    full, expected = module.apply(variables, x, train=True, mutable=["spectral"])
    np.testing.assert_array_equal(new["spectral"]["u"], expected["spectral"]["u"])
    assert y.dtype == jnp.bfloat16
    assert 1e-5 < float(jnp.abs(y.astype(jnp.float32) - full).max()) < 0.03


def test_what_has_no_kernel_is_refused():
    with pytest.raises(ValueError, match=r"needs a layer with a kernel; LayerNorm has \['bias', 'scale'\]"):
        SpectralNorm(nn.LayerNorm()).init(KEY, jnp.zeros((2, 3)), train=True)


def test_training_without_a_place_for_u_is_refused(rng):
    variables, x = start("Dense", rng)
    with pytest.raises(ModifyScopeVariableError):
        Net("Dense").apply(variables, x, train=True)
