"""Self-attention against plain softmax attention in NumPy, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from jaxgan.layers import SelfAttention

pytestmark = pytest.mark.usefixtures("quick_programs")

N, H, W, C = 3, 4, 6, 16


def start(rng, channels=C, **settings):
    """A module, variables far from their defaults, and maps."""
    module = SelfAttention(**settings)
    x = rng.normal(size=(N, H, W, channels)).astype(np.float32)
    v = quick_jit(lambda x: module.init(jax.random.key(0), x, train=True))(x)
    fresh = v["params"]
    draw = lambda w: jnp.asarray(rng.normal(size=w.shape), jnp.float32) if w.ndim else jnp.float32(0.7)  # noqa: E731
    return module, {**v, "params": jax.tree.map(draw, fresh)}, x, fresh


@functools.partial(quick_jit, static_argnums=0, static_argnames=("train", "mutable"))
def apply(module, v, x, train=False, mutable=False):
    return module.apply(v, x, train=train, mutable=mutable)


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(params, x):
    """Query by query, key by key."""
    w = {
        name: np.asarray(params[name]["kernel"], np.float64)[:, 0, 0].T for name in params if name != "gamma"
    }
    y = np.empty(x.shape)
    for n, image in enumerate(x.astype(np.float64)):
        pooled = {}
        for name in ("key", "value"):
            mapped = image @ w[name]
            pooled[name] = np.stack(
                [mapped[i : i + 2, j : j + 2].max((0, 1)) for i in range(0, H, 2) for j in range(0, W, 2)]
            )
        for i in range(H):
            for j in range(W):
                weights = softmax(pooled["key"] @ (image[i, j] @ w["query"]))
                y[n, i, j] = image[i, j] + float(params["gamma"]) * (weights @ pooled["value"]) @ w["out"]
    return y


@pytest.mark.parametrize(("c", "narrow", "half"), [(16, 2, 8), (4, 1, 2), (1, 1, 1)])
def test_it_is_softmax_attention(c, narrow, half, rng):
    module, v, x, _ = start(rng, c, spectral=False)
    sizes = {name: v["params"][name]["kernel"].shape for name in ("query", "key", "value", "out")}
    assert sizes == {
        **{"query": (narrow, 1, 1, c), "key": (narrow, 1, 1, c)},
        **{"value": (half, 1, 1, c), "out": (c, 1, 1, half)},
    }
    y = apply(module, v, x, train=True)
    expected = attend(v["params"], x)
    assert np.abs(expected - x).max() > 0.5
    np.testing.assert_allclose(y, expected, atol=1e-4)


def test_it_starts_as_the_identity_and_looks_at_no_other_example(rng):
    module, v, x, fresh = start(rng)
    np.testing.assert_array_equal(apply(module, {**v, "params": fresh}, x), x)
    other = np.concatenate([x[:1], rng.normal(size=x[1:].shape).astype(np.float32)])
    first, again = (apply(module, v, x) for x in (x, other))
    np.testing.assert_allclose(first[0], again[0], rtol=1e-6, atol=1e-6)
    assert np.abs(first[1] - again[1]).max() > 0.1


def test_spectral_norm_divides_each_kernel_by_its_largest_singular_value(rng):
    module, v, x, _ = start(rng)
    for _ in range(50):
        _, moved = apply(module, v, x, train=True, mutable="spectral")
        v = {**v, **moved}
    scaled = {
        name: {"kernel": p["kernel"] / np.linalg.svd(p["kernel"][:, 0, 0])[1][0]} if name != "gamma" else p
        for name, p in v["params"].items()
    }
    np.testing.assert_allclose(apply(module, v, x), attend(scaled, x), atol=1e-4)


def test_bfloat16_softmax_is_float32(rng):
    module, v, x, _ = start(rng, spectral=False, dtype=jnp.bfloat16)
    half = jnp.asarray(x, jnp.bfloat16)
    assert jax.eval_shape(lambda x: module.apply(v, x, train=False), half).dtype == jnp.bfloat16
    program = str(jax.make_jaxpr(lambda x: module.apply(v, x, train=False))(half))
    assert [line for line in program.split("\n") if " exp " in line and f"f32[{N}," in line]
    assert not [line for line in program.split("\n") if " exp " in line and ":bf16" in line]


@pytest.mark.parametrize("shape", [(1, 7, 8, 8), (1, 8, 7, 8)])
def test_odd_maps_are_refused(shape):
    with pytest.raises(ValueError, match=r"even height and width, got (7x8|8x7)"):
        SelfAttention().init(jax.random.key(0), jnp.zeros(shape), train=True)
