"""What networks with published weights share: batch norm folded into convolutions, and variables from a file.

Outside of training batch norm is a scale and a shift of each channel, which the convolution before it can do itself.

For example:

    >>> one = np.ones(1)
    >>> norm = {"bn.weight": 2 * one, "bn.bias": one, "bn.running_mean": 4 * one, "bn.running_var": one}
    >>> np.savez("small.npz", **norm, **{"conv.weight": np.full((1, 1, 1, 1), 3.0)})
    >>> network = nn.Sequential([FoldedConv(1)])
    >>> variables = load("small.npz", network, (8, 8, 1), lambda _: ("conv", "bn"), 0.0, "small.npz")
    >>> network.apply(variables, jnp.full((1, 1, 1, 1), 5.0)).item()  # 2 * (3 * 5 - 4) + 1
    23.0
"""

import os
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax import lax

from jaxgan import backends
from jaxgan.layers import conv
from jaxgan.networks import weights

STATISTICS = ("weight", "bias", "running_mean", "running_var")
"""The arrays of a batch norm, as PyTorch calls them."""


class FoldedConv(nn.Module):
    """A convolution with the batch norm behind it: kernel `[D, kh, kw, C]` and bias `[D]`, zeros until loaded."""

    features: int
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, H, W, C]` to `[N, H', W', features]`."""
        kernel = self.param("kernel", nn.initializers.zeros, (self.features, *self.kernel, x.shape[-1]))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        return conv(x, kernel, self.stride, self.padding) + bias[None, None, None]


class FoldedDepthwise(nn.Module):
    """The same of one channel at a time, padded as by "SAME": kernel `[C, k, k, 1]` and bias `[C]`."""

    kernel: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, H, W, C]` to `[N, H', W', C]`."""
        channels, k, s = x.shape[-1], self.kernel, self.stride
        kernel = self.param("kernel", nn.initializers.zeros, (channels, k, k, 1))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        if not backends.choices().taps:
            kernels = kernel.transpose(1, 2, 3, 0)
            numbers = ("NHWC", "HWIO", "NHWC")
            y = lax.conv_general_dilated(
                x, kernels, (s, s), "SAME", dimension_numbers=numbers, feature_group_count=channels
            )
            return y + bias[None, None, None]
        rows, columns = (-(-n // s) for n in x.shape[1:3])
        x = jnp.pad(x, [(0, 0), *lax.padtype_to_pads(x.shape[1:3], (k, k), (s, s), "SAME"), (0, 0)])
        # A sum over taps, as `jaxgan.backends` says.
        y = bias[None, None, None]
        for i in range(k):
            for j in range(k):
                tap = x[:, i : i + s * (rows - 1) + 1 : s, j : j + s * (columns - 1) + 1 : s]
                y = y + tap * kernel[None, None, None, :, i, j, 0]
        return y


def load(
    path: str | os.PathLike[str],
    network: nn.Module,
    image: tuple[int, int, int],
    names: Callable[[str], tuple[str, str]],
    epsilon: float,
    source: str,
) -> dict[str, Any]:
    """The variables of a network of folded convolutions and dense layers, from a file of PyTorch's arrays.

    Args:
      path: The weights, see `jaxgan.networks.weights.read`.
      network: The module, called with one batch of images.
      image: Shape of an image that it reads.
      names: From a convolution of the module ("block_0/expand") to that of the file and its batch norm. Dense layers
        are called in the module as in the file.
      epsilon: What batch norm adds to variances.
      source: The right file's name, for errors.

    Returns:
      `{"params": ...}`, float32.

    Raises:
      InputError: naming the file, where it cannot be read or does not hold the network's arrays.
    """
    made = jax.eval_shape(network.init, jax.random.key(0), jax.ShapeDtypeStruct((1, *image), jnp.float32))
    leaves: dict[str, Any] = flatten_dict(made["params"], sep="/")
    shapes = {name: leaf.shape for name, leaf in leaves.items()}
    layers = {
        name.removesuffix("/kernel"): shape for name, shape in shapes.items() if name.endswith("/kernel")
    }
    expected: dict[str, tuple[int, ...]] = {}
    for layer, shape in layers.items():
        if len(shape) == 2:
            expected |= {f"{layer}.weight": shape[::-1], f"{layer}.bias": shape[1:]}
        else:
            features, height, width, channels = shape
            convolution, norm = names(layer)
            expected[f"{convolution}.weight"] = (features, channels, height, width)
            expected |= {f"{norm}.{name}": (features,) for name in STATISTICS}
    # How many batches the statistics are of is not needed, and older files have no such arrays.
    table = {k: v for k, v in weights.read(path).items() if not k.endswith(".num_batches_tracked")}
    weights.fit(table, expected, path, source)
    params: dict[str, np.ndarray] = {}
    for layer, shape in layers.items():
        if len(shape) == 2:
            kernel, bias = table[f"{layer}.weight"].T, table[f"{layer}.bias"]
        else:
            convolution, norm = names(layer)
            scale, shift, mean, variance = (table[f"{norm}.{name}"].astype(np.float64) for name in STATISTICS)
            scale = scale / np.sqrt(variance + epsilon)
            kernel = table[f"{convolution}.weight"].transpose(0, 2, 3, 1) * scale[:, None, None, None]
            bias = shift - mean * scale
        params |= {f"{layer}/kernel": kernel, f"{layer}/bias": bias}
    with jax.ensure_compile_time_eval():  # inside a trace these must be no tracers
        arrays = {k: jnp.asarray(v, jnp.float32) for k, v in params.items()}
    return {"params": unflatten_dict(arrays, sep="/")}
