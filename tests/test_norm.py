"""Normalisation against NumPy, and batch statistics over several devices against one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit

from jaxgan.axis import AXIS
from jaxgan.layers import ConditionalNorm, Norm

pytestmark = pytest.mark.usefixtures("quick_programs")

DEVICES = 4


@pytest.fixture
def x(rng):
    return (rng.normal(size=(8, 3, 5, 6)) * np.arange(1, 7) + np.arange(6)).astype(np.float32)


def variables(rng, kind="batch", features=6):
    """Scales, biases and running statistics that are nobody's defaults."""
    numbers = lambda low: jnp.asarray(rng.uniform(low, 2, features), jnp.float32)  # noqa: E731
    if kind == "batch":
        return {
            "params": {"BatchNorm_0": {"scale": numbers(0.5), "bias": numbers(-2)}},
            "batch_stats": {"BatchNorm_0": {"mean": numbers(-2), "var": numbers(0.5)}},
        }
    return {"params": {"LayerNorm_0": {"scale": numbers(0.5), "bias": numbers(-2)}}}


def leaves(v, layer="BatchNorm_0"):
    p, s = v["params"][layer], v.get("batch_stats", {}).get(layer, {})
    return (np.asarray(a, np.float64) for a in (p["scale"], p["bias"], *s.values()))


def test_batch_in_training_is_numpys_batch_statistics(x, rng):
    v = variables(rng)
    scale, bias, mean, var = leaves(v)
    y, new = Norm("batch").apply(v, x, train=True, mutable=["batch_stats"])
    x64 = x.astype(np.float64)
    m, s2 = x64.mean((0, 1, 2)), x64.var((0, 1, 2))
    np.testing.assert_allclose(y, (x64 - m) / np.sqrt(s2 + 1e-5) * scale + bias, rtol=1e-4, atol=1e-4)
    new = new["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(new["mean"], 0.9 * mean + 0.1 * m, rtol=1e-5)
    np.testing.assert_allclose(new["var"], 0.9 * var + 0.1 * s2, rtol=1e-5)


def test_batch_in_evaluation_is_the_running_averages(x, rng):
    v = variables(rng)
    scale, bias, mean, var = leaves(v)
    y = Norm("batch").apply(v, x, train=False)
    np.testing.assert_allclose(y, (x - mean) / np.sqrt(var + 1e-5) * scale + bias, rtol=1e-5, atol=1e-5)


def test_layer_normalises_each_example_by_itself(x, rng):
    v = variables(rng, "layer")
    scale, bias = leaves(v, "LayerNorm_0")
    y = Norm("layer").apply(v, x, train=True)
    x64 = x.astype(np.float64)
    m, s2 = x64.mean((1, 2, 3), keepdims=True), x64.var((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(y, (x64 - m) / np.sqrt(s2 + 1e-5) * scale + bias, rtol=1e-4, atol=1e-4)
    alone = Norm("layer").apply(v, x[:1], train=False)
    np.testing.assert_allclose(alone, y[:1], rtol=1e-5, atol=1e-5)


def test_instance_norm_is_of_each_channel_of_each_example(rng):
    x = rng.normal(2, 3, (3, 5, 4, 2)).astype(np.float32)
    y, made = Norm("instance").init_with_output(jax.random.key(0), x, train=True)
    assert made == {}
    m, s2 = x.astype(np.float64).mean((1, 2), keepdims=True), x.astype(np.float64).var((1, 2), keepdims=True)
    np.testing.assert_allclose(y, (x - m) / np.sqrt(s2 + 1e-5), rtol=1e-4, atol=1e-4)


def test_none_is_the_identity_without_variables(x):
    y, made = Norm("none").init_with_output(jax.random.key(0), x, train=True)
    np.testing.assert_array_equal(y, x)
    assert made == {}


def test_an_unknown_kind_is_refused_by_name(x):
    with pytest.raises(ValueError, match=r"'group'.*'batch', 'layer', 'instance' and 'none'"):
        Norm("group").init(jax.random.key(0), x, train=True)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("kind", ["batch", "layer"])
def test_bfloat16_keeps_parameters_and_statistics_in_float32(kind, x):
    norm = Norm(kind, dtype=jnp.bfloat16)
    y, made = norm.init_with_output(jax.random.key(0), x.astype(jnp.bfloat16), train=True)
    assert y.dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(made)} == {jnp.dtype("float32")}
    full, _ = Norm(kind).apply(made, x, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y.astype(jnp.float32), full, atol=0.05)


@pytest.mark.device
def test_gradients_of_every_order_are_those_of_the_formula(x, rng):
    """Against what JAX derives from the textbook's formula, to the second order, as a gradient penalty needs."""
    v = variables(rng)

    def ours(x, scale, bias):
        made = {"params": {"BatchNorm_0": {"scale": scale, "bias": bias}}, "batch_stats": v["batch_stats"]}
        return Norm("batch").apply(made, x, train=True, mutable=["batch_stats"])[0]

    def formula(x, scale, bias):
        m, s2 = jnp.mean(x, (0, 1, 2), keepdims=True), jnp.var(x, (0, 1, 2), keepdims=True)
        wide = lambda p: p.reshape(1, 1, 1, -1)  # noqa: E731
        return (x - m) / jnp.sqrt(s2 + 1e-5) * wide(scale) + wide(bias)

    first = lambda f: jax.grad(lambda *a: jnp.sum(jnp.sin(f(*a))), (0, 1, 2))  # noqa: E731
    second = lambda f: jax.grad(lambda *a: jnp.sum(jnp.square(first(f)(*a)[0])), (0, 1, 2))  # noqa: E731
    arguments = (x, *v["params"]["BatchNorm_0"].values())
    for order in (first, second):
        for a, b in zip(order(ours)(*arguments), order(formula)(*arguments), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * float(jnp.max(jnp.abs(b))))


def test_several_devices_normalise_over_the_whole_batch(x, rng):
    """Output, running statistics and gradients; each device's part has statistics of its own, far from the others'."""
    x = x + np.repeat(10.0 * np.arange(DEVICES), 2).astype(np.float32)[:, None, None, None]
    target = rng.normal(size=x.shape).astype(np.float32)
    v = variables(rng)

    def loss(params, x, target):
        y, new = Norm("batch").apply({**v, "params": params}, x, train=True, mutable=["batch_stats"])
        return jnp.mean((y - target) ** 2), (y, new["batch_stats"])

    def both(params, x, target):
        (_, (y, stats)), grads = jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x, target)
        return y, stats, grads

    y, stats, (params_grad, x_grad) = quick_jit(both)(v["params"], x, target)

    def mapped(params, x, target):
        y, stats, (params_grad, x_grad) = both(params, x, target)
        return y, stats, (jax.lax.pmean(params_grad, AXIS), x_grad)

    split = lambda a: a.reshape(DEVICES, -1, *a.shape[1:])  # noqa: E731
    join = lambda a: np.asarray(a).reshape(-1, *a.shape[2:])  # noqa: E731
    py, pstats, (pparams_grad, px_grad) = jax.pmap(
        mapped, axis_name=AXIS, in_axes=(None, 0, 0), devices=jax.devices()[:DEVICES]
    )(v["params"], split(x), split(target))

    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)  # noqa: E731
    close(join(py), y)
    for device in range(DEVICES):
        jax.tree.map(lambda a, b, device=device: close(a[device], b), pstats, stats)
        jax.tree.map(lambda a, b, device=device: close(a[device], b), pparams_grad, params_grad)
    # A device's loss is the mean over its quarter, and all of them count: d(mean loss)/dx is a quarter of their sum.
    close(join(px_grad) / DEVICES, x_grad)


def test_instance_norm_needs_a_map():
    with pytest.raises(ValueError, match="of maps"):
        Norm("instance").init(jax.random.key(0), jnp.zeros((3, 4)), train=True)


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("spectral", [False, True])
def test_conditional_norm_by_hand(train, spectral, x, rng):
    """Batch norm without scale and bias, then a scale of 1 plus a projection of the condition and another as bias."""
    condition = rng.normal(size=(8, 3)).astype(np.float32)
    module = ConditionalNorm("batch", spectral, jax.nn.initializers.normal(1.0))
    v = module.init(jax.random.key(0), x, condition, train=True)
    stats = {"mean": rng.normal(size=6).astype(np.float32), "var": np.arange(1, 7, dtype=np.float32)}
    v = {**v, "batch_stats": {"Norm_0": {"BatchNorm_0": stats}}}
    assert set(v["params"]) == {"scale", "bias"}
    y, new = module.apply(v, x, condition, train=train, mutable=["batch_stats", "spectral"])
    x64 = x.astype(np.float64)
    mean, var = (x64.mean((0, 1, 2)), x64.var((0, 1, 2))) if train else (stats["mean"], stats["var"])
    kernels = {name: np.asarray(v["params"][name]["kernel"], np.float64) for name in ("scale", "bias")}
    if spectral:
        vectors = new["spectral"] if train else v["spectral"]
        for i, name in enumerate(kernels):  # in the order of their calls
            kernels[name] /= np.linalg.norm(kernels[name] @ np.asarray(vectors[f"SpectralNorm_{i}"]["u"]))
    scale, bias = ((condition @ k)[:, None, None] for k in kernels.values())
    np.testing.assert_allclose(
        y, (x64 - mean) / np.sqrt(var + 1e-5) * (1 + scale) + bias, rtol=1e-3, atol=1e-4
    )


def test_conditional_norm_starts_as_the_norm_of_any_class_and_gathers_statistics(x):
    condition = jnp.eye(4)[jnp.arange(8) % 4]
    module = ConditionalNorm()
    v = module.init(jax.random.key(0), x, condition, train=True)
    y, new = module.apply(v, x, condition, train=True, mutable=["batch_stats"])
    plain, same = Norm(affine=False).init_with_output(jax.random.key(0), x, train=True)
    assert set(same) == {"batch_stats"}
    np.testing.assert_allclose(y, plain, rtol=1e-6)
    split = lambda a: a.reshape(DEVICES, -1, *a.shape[1:])  # noqa: E731
    run = lambda x, c: module.apply(v, x, c, train=True, mutable=["batch_stats"])  # noqa: E731
    many, stats = jax.pmap(run, axis_name=AXIS, devices=jax.devices()[:DEVICES])(split(x), split(condition))
    np.testing.assert_allclose(many.reshape(x.shape), y, rtol=1e-4, atol=1e-4)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-5), stats, new)
