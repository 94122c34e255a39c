"""A small classifier of small images: features for scores, and what the classification accuracy score trains.

For example:

    >>> trousers = jnp.full((1, 28, 28, 1), -1.0).at[:, 2:26, 8:20].set(0.5).at[:, 8:26, 13:15].set(-1.0)
    >>> features, logits = jax.jit(Classifier(10).apply)(load(), trousers)
    >>> features.shape, logits.shape
    ((1, 128), (1, 10))
    >>> int(logits.argmax())  # the class of trousers in Fashion-MNIST
    1
"""

import os
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict

from jaxgan import shipped
from jaxgan.layers import Conv, Dense, Norm
from jaxgan.networks import weights

FASHION = Path(__file__).parent / "fashion_cnn.safetensors"
"""Weights of a `Classifier` of Fashion-MNIST, made by benchmarks/classifier.py."""


class Classifier(nn.Module):
    """Images to features and logits: pairs of 3x3 convolutions with batch norm, each pair at half the size before."""

    classes: int
    width: int = 32
    pairs: int = 3
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array, *, train: bool = False) -> tuple[jax.Array, jax.Array]:
        """Features `[N, width * 2^(pairs - 1)]`, at least 0, and logits `[N, classes]`, both float32.

        Args:
          image: `[N, H, W, C]` in [-1, 1]; H and W at least `2^(pairs - 1)`.
          train: Whether batch norm sees the batch.

        Raises:
          ValueError: If the images are too small.
        """
        least = 2 ** (self.pairs - 1)
        if min(image.shape[1:3]) < least:
            raise ValueError(f"this classifier reads images from {least}x{least}, got {image.shape[1:3]}")
        x = image.astype(self.dtype)
        for pair in range(self.pairs):
            if pair:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for _ in range(2):
                x = Conv(self.width * 2**pair, 3, 1, use_bias=False, dtype=self.dtype)(x)
                x = nn.relu(Norm("batch", dtype=self.dtype)(x, train=train))
        features = x.astype(jnp.float32).mean((1, 2))
        return features, Dense(self.classes, dtype=jnp.float32)(features)


def load(path: str | os.PathLike[str] = FASHION) -> dict[str, Any]:
    """The variables of `Classifier(10)` for 28x28 grey images.

    Raises:
      InputError: naming the file, where it cannot be read or holds the weights of something else.
      RunError: the shipped file is damaged.
    """
    if Path(path) == FASHION:
        shipped.read("networks/fashion_cnn.safetensors")  # it is what was shipped, or this raises
    table, module = weights.read(path), Classifier(10)
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1))))
    leaves: dict[str, Any] = flatten_dict(shapes, sep="/")
    expected = {key: leaf.shape for key, leaf in leaves.items()}
    weights.fit(table, expected, path, FASHION.name)
    with jax.ensure_compile_time_eval():  # inside a trace these must be no tracers
        return unflatten_dict({key: jnp.asarray(table[key]) for key in expected}, sep="/")
