"""The Inception network whose features the Frechet inception distance compares.

That is Inception v3 (Szegedy et al., Rethinking the Inception Architecture for Computer Vision, 2015) as TensorFlow
published it on 2015-12-05, for 1008 classes; FID (Heusel et al., 2017) and its published numbers rest on these weights.
pytorch-fid carried them over to PyTorch as `pt_inception-2015-12-05-6726825d.pth`. The graph differs from today's
Inception v3 in three ways: average pooling leaves the padding out of its means, the pooling branch of the last block
takes maxima, and there are 1008 logits.

For example:

    >>> network, images = FIDInception(), jnp.zeros((2, 299, 299, 3))
    >>> (features, logits), variables = jax.eval_shape(network.init_with_output, jax.random.key(0), images)
    >>> features.shape, logits.shape
    ((2, 2048), (2, 1008))
    >>> variables["params"]["Mixed_7c.branch1x1"]["kernel"].shape
    (320, 1, 1, 2048)
"""

import os
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.networks import pretrained
from jaxgan.networks.pretrained import FoldedConv

SIZE = 299
"""Height and width of the images."""
SOURCE = "pt_inception-2015-12-05-6726825d.pth"
EPSILON = 0.001


def unit(
    x: jax.Array,
    name: str,
    features: int,
    kernel: int | tuple[int, int] = 1,
    stride: int = 1,
    padding: str = "SAME",
) -> jax.Array:
    """Convolution, batch norm and ReLU, with the name of PyTorch's module."""
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    return nn.relu(FoldedConv(features, kernel, stride, padding, name=name)(x))


def chain(x: jax.Array, name: str, *steps: tuple[Any, ...]) -> jax.Array:
    """Units `name_1`, `name_2`, ... one behind another, each given as its features, kernel, stride and padding."""
    for i, step in enumerate(steps, 1):
        x = unit(x, f"{name}_{i}", *step)
    return x


def average(x: jax.Array) -> jax.Array:
    """Each pixel's mean over those of its 3x3 neighbours that are inside of the image."""
    return nn.avg_pool(x, (3, 3), (1, 1), "SAME", count_include_pad=False)


def maximum(x: jax.Array) -> jax.Array:
    """Each pixel's maximum over its 3x3 neighbours."""
    return nn.max_pool(x, (3, 3), (1, 1), "SAME")


def halve(x: jax.Array) -> jax.Array:
    """Maxima of every second 3x3 window."""
    return nn.max_pool(x, (3, 3), (2, 2))


def block_a(x: jax.Array, name: str, pooled: int) -> jax.Array:
    """35x35 maps (figure 5 of the paper, with a 5x5 branch)."""
    branches = [
        unit(x, f"{name}.branch1x1", 64),
        chain(x, f"{name}.branch5x5", (48,), (64, 5)),
        chain(x, f"{name}.branch3x3dbl", (64,), (96, 3), (96, 3)),
        unit(average(x), f"{name}.branch_pool", pooled),
    ]
    return jnp.concatenate(branches, -1)


def block_b(x: jax.Array, name: str) -> jax.Array:
    """35x35 to 17x17 (figure 10)."""
    branches = [
        unit(x, f"{name}.branch3x3", 384, 3, 2, "VALID"),
        chain(x, f"{name}.branch3x3dbl", (64,), (96, 3), (96, 3, 2, "VALID")),
        halve(x),
    ]
    return jnp.concatenate(branches, -1)


def block_c(x: jax.Array, name: str, narrow: int) -> jax.Array:
    """17x17 maps, with 7x7 convolutions taken apart (figure 6)."""
    wide, tall = (1, 7), (7, 1)
    branches = [
        unit(x, f"{name}.branch1x1", 192),
        chain(x, f"{name}.branch7x7", (narrow,), (narrow, wide), (192, tall)),
        chain(
            x, f"{name}.branch7x7dbl", (narrow,), (narrow, tall), (narrow, wide), (narrow, tall), (192, wide)
        ),
        unit(average(x), f"{name}.branch_pool", 192),
    ]
    return jnp.concatenate(branches, -1)


def block_d(x: jax.Array, name: str) -> jax.Array:
    """17x17 to 8x8."""
    branches = [
        chain(x, f"{name}.branch3x3", (192,), (320, 3, 2, "VALID")),
        chain(x, f"{name}.branch7x7x3", (192,), (192, (1, 7)), (192, (7, 1)), (192, 3, 2, "VALID")),
        halve(x),
    ]
    return jnp.concatenate(branches, -1)


def block_e(x: jax.Array, name: str, pool: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """8x8 maps, with branches that fork (figure 7)."""
    single = unit(x, f"{name}.branch3x3_1", 384)
    double = chain(x, f"{name}.branch3x3dbl", (448,), (384, 3))
    branches = [
        unit(x, f"{name}.branch1x1", 320),
        unit(single, f"{name}.branch3x3_2a", 384, (1, 3)),
        unit(single, f"{name}.branch3x3_2b", 384, (3, 1)),
        unit(double, f"{name}.branch3x3dbl_3a", 384, (1, 3)),
        unit(double, f"{name}.branch3x3dbl_3b", 384, (3, 1)),
        unit(pool(x), f"{name}.branch_pool", 192),
    ]
    return jnp.concatenate(branches, -1)


class FIDInception(nn.Module):
    """Images to 2048 features and the logits of 1008 classes, in inference: batch norm is folded (see `load`)."""

    @nn.compact
    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Computes in float32 at full precision, on accelerators too.

        Args:
          images: `[N, 299, 299, 3]` in [-1, 1].

        Returns:
          The means of the last maps, `[N, 2048]`, from which FID is computed, and the logits `[N, 1008]`.

        Raises:
          ValueError: If the images are of another size.
        """
        if images.shape[1:] != (SIZE, SIZE, 3):
            raise ValueError(
                f"Inception reads images {(SIZE, SIZE, 3)}, got {images.shape[1:]}; resize them first"
            )
        with jax.default_matmul_precision("highest"):
            x = images.astype(jnp.float32)
            x = unit(x, "Conv2d_1a_3x3", 32, 3, 2, "VALID")
            x = unit(x, "Conv2d_2a_3x3", 32, 3, 1, "VALID")
            x = halve(unit(x, "Conv2d_2b_3x3", 64, 3))
            x = unit(x, "Conv2d_3b_1x1", 80)
            x = halve(unit(x, "Conv2d_4a_3x3", 192, 3, 1, "VALID"))
            x = block_a(x, "Mixed_5b", 32)
            x = block_a(x, "Mixed_5c", 64)
            x = block_a(x, "Mixed_5d", 64)
            x = block_b(x, "Mixed_6a")
            x = block_c(x, "Mixed_6b", 128)
            x = block_c(x, "Mixed_6c", 160)
            x = block_c(x, "Mixed_6d", 160)
            x = block_c(x, "Mixed_6e", 192)
            x = block_d(x, "Mixed_7a")
            x = block_e(x, "Mixed_7b", average)
            x = block_e(x, "Mixed_7c", maximum)
            features = x.mean((1, 2))
            return features, nn.Dense(1008, name="fc")(features)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The variables of `FIDInception`, from pytorch-fid's weights or a file of the same arrays.

    Args:
      path: `pt_inception-2015-12-05-6726825d.pth`, or its arrays as `.safetensors` or `.npz`.

    Returns:
      What `FIDInception().apply` takes, float32.

    Raises:
      InputError: naming the file, where it cannot be read or holds the weights of something else.
    """
    return pretrained.load(
        path, FIDInception(), (SIZE, SIZE, 3), lambda layer: (f"{layer}.conv", f"{layer}.bn"), EPSILON, SOURCE
    )
