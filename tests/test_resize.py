"""Resizing against Pillow and PyTorch, and by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import peers
import pytest
from PIL import Image

from jaxgan.layers import resize

pytestmark = pytest.mark.usefixtures("quick_programs")

SIZES = [
    (32, 32, 299),
    (61, 47, 24),
    (300, 299, 75),
    (75, 300, 299),
    (7, 11, 7),
    (2, 3, 5),
    (5, 4, 1),
    (1, 1, 3),
]
"""Height, width and the size wanted: up, down, both, odd and even."""
TOLERANCE = 5e-5  # of the range: positions are float32, and Pillow's float64
EVERY_SIZE = pytest.mark.parametrize("sizes", SIZES, ids=str)


@EVERY_SIZE
def test_antialiased_is_pillows_bicubic(rng, sizes):
    *shape, size = sizes
    images = rng.uniform(0, 255, (2, *shape, 3)).astype(np.float32)
    found = jax.jit(resize.antialiased, static_argnums=1)(images, size)
    assert (found.shape, found.dtype) == ((2, size, size, 3), jnp.float32)
    for n, c in np.ndindex(2, 3):
        channel = Image.fromarray(images[n, :, :, c])
        assert channel.mode == "F"
        expected = channel.resize((size, size), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(found[n, :, :, c], expected, rtol=0, atol=TOLERANCE * 255)


def row(*values):
    return jnp.asarray(values, jnp.float32)[None, None, :, None] * jnp.ones((1, len(values), 1, 1))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((0, 1), (0, 0.25, 0.75, 1)),
        ((0, 8, 0), (0, 2, 6, 6, 2, 0)),
        ((1, 2, 4), (1, 1.4, 2, 3.2, 4)),
        ((7, 1, 9, 9, 2, 5), (1, 2)),  # the second and the fifth alone, where antialiasing would mix all
        ((0, 8, 0, 0, 4), (6, 1)),
    ],
)
def test_bilinear_by_hand(before, after):
    found = resize.bilinear(row(*before), len(after))
    assert (found.shape, found.dtype) == ((1, len(after), len(after), 1), jnp.float32)
    np.testing.assert_allclose(found[0, :, :, 0], np.tile(after, (len(after), 1)), atol=1e-5)
    turned = resize.bilinear(row(*before).transpose(0, 2, 1, 3), len(after))
    np.testing.assert_allclose(turned[0, :, :, 0].T, found[0, :, :, 0], atol=1e-5)


@EVERY_SIZE
def test_bilinear_is_pytorchs(rng, sizes):
    torch = peers.load("torch")
    *shape, size = sizes
    images = rng.uniform(0, 255, (2, *shape, 3)).astype(np.float32)
    nchw = torch.from_numpy(images.transpose(0, 3, 1, 2))
    expected = torch.nn.functional.interpolate(nchw, (size, size), mode="bilinear", align_corners=False)
    found = jax.jit(resize.bilinear, static_argnums=1)(images, size)
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), rtol=0, atol=TOLERANCE * 255)
