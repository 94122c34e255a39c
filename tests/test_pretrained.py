"""Folded convolutions and their loading, on a network small enough for loops in NumPy."""

import flax.linen as nn
import jax
import numpy as np
import pytest

from jaxgan.errors import InputError
from jaxgan.networks import pretrained
from jaxgan.networks.pretrained import FoldedConv, FoldedDepthwise

EPSILON = 0.25  # as large as the variances: it shows where it is added


class Small(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = FoldedConv(4, (3, 2), 2, name="first")(x)
        x = FoldedDepthwise(5, 2, name="second")(x)
        return nn.Dense(3, name="fc")(x.mean((1, 2)))


def batch_norm(rng, name, features):
    return {
        f"{name}.weight": rng.uniform(-2, 2, features),
        f"{name}.bias": rng.normal(size=features),
        f"{name}.running_mean": rng.normal(size=features),
        f"{name}.running_var": rng.uniform(0.1, 0.5, features),
        f"{name}.num_batches_tracked": np.int64(7),
    }


@pytest.fixture
def table(rng):
    return {
        "conv_first.weight": rng.normal(size=(4, 3, 3, 2)),
        **batch_norm(rng, "bn_first", 4),
        "conv_second.weight": rng.normal(size=(4, 1, 5, 5)),
        **batch_norm(rng, "bn_second", 4),
        "fc.weight": rng.normal(size=(3, 4)),
        "fc.bias": rng.normal(size=3),
    }


def load(path, size):
    return pretrained.load(
        path, Small(), (*size, 3), lambda layer: (f"conv_{layer}", f"bn_{layer}"), EPSILON, "small.pth"
    )


def convolved(x, kernel, grouped):
    """Stride 2 with TensorFlow's padding: outputs are half the size rounded up, and what is odd is added at the end."""
    (height, width), (kh, kw) = x.shape[1:3], kernel.shape[2:]
    rows, columns = -(-height // 2), -(-width // 2)
    down, across = max(2 * (rows - 1) + kh - height, 0), max(2 * (columns - 1) + kw - width, 0)
    x = np.pad(x, [(0, 0), (down // 2, down - down // 2), (across // 2, across - across // 2), (0, 0)])
    y = np.zeros((len(x), rows, columns, len(kernel)))
    for n, i, j, d in np.ndindex(y.shape):
        window = x[n, 2 * i : 2 * i + kh, 2 * j : 2 * j + kw]
        window = window[..., [d]] if grouped else window
        y[n, i, j, d] = (window * kernel[d].transpose(1, 2, 0)).sum()
    return y


def normalised(x, table, name):
    weight, bias, mean, variance = (table[f"{name}.{part}"] for part in pretrained.STATISTICS)
    return (x - mean) / np.sqrt(variance + EPSILON) * weight + bias


@pytest.mark.parametrize("size", [(9, 8), (12, 7)])
def test_a_loaded_network_computes_convolution_and_batch_norm(tmp_path, rng, table, size):
    np.savez(tmp_path / "w.npz", **table)
    variables = load(tmp_path / "w.npz", size)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float32"}
    x = rng.normal(size=(2, *size, 3))
    y = normalised(convolved(x, table["conv_first.weight"], False), table, "bn_first")
    y = normalised(convolved(y, table["conv_second.weight"], True), table, "bn_second")
    y = y.mean((1, 2)) @ table["fc.weight"].T + table["fc.bias"]
    found = jax.jit(Small().apply)(variables, x.astype(np.float32))
    np.testing.assert_allclose(found, y, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("fc.weight", np.zeros((4, 3)), r"fc.weight is \(4, 3\), not \(3, 4\)"),
        ("bn_first.running_var", None, r"bn_first.running_var \(4,\) is missing"),
        ("conv_second.weight", np.zeros((4, 4, 5, 5)), r"is \(4, 4, 5, 5\), not \(4, 1, 5, 5\)"),
        ("aux.weight", np.zeros(2), r"aux.weight \(2,\) is unknown"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, table, name, array, message):
    table[name] = array
    np.savez(tmp_path / "w.npz", **{k: v for k, v in table.items() if v is not None})
    with pytest.raises(InputError, match=message) as caught:
        load(tmp_path / "w.npz", (9, 8))
    assert "small.pth" in str(caught.value)
