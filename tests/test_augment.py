"""Augmentations against NumPy, image by image, with the draws that the keys give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.objectives.augment import augment

pytestmark = pytest.mark.usefixtures("quick_programs")

N = 24


@pytest.fixture
def images(rng):
    return rng.uniform(-1, 1, (N, 9, 12, 3)).astype(np.float32)


def draws(purpose, count):
    """`[N, count]`: each image's own key, with the purpose folded in."""
    keys = [jax.random.fold_in(jax.random.fold_in(jax.random.key(5), i), purpose) for i in range(N)]
    return np.asarray(jax.vmap(lambda k: jax.random.uniform(k, (count,)))(jnp.stack(keys)), np.float64)


def run(images, kind):
    keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(5), jnp.arange(N))
    return np.asarray(augment(images, keys, [kind]))


def test_color(images):
    for x, y, (b, s, c) in zip(images.astype(np.float64), run(images, "color"), draws(0, 3), strict=True):
        x = x + b - 0.5
        grey = x.mean(2, keepdims=True)
        x = grey + 2 * s * (x - grey)
        np.testing.assert_allclose(y, x.mean() + (0.5 + c) * (x - x.mean()), atol=1e-5)


def test_translation(images):
    """Up to 1 of 9 pixels (9 / 8 rounds to 1) and 2 of 12 (1.5 rounds up), each as likely, zeros behind."""
    seen = []
    for x, y, (u, v) in zip(images, run(images, "translation"), draws(1, 2), strict=True):
        down, right = int(u * 3) - 1, int(v * 5) - 2
        seen.append((down, right))
        expected = np.zeros_like(x)
        for i in range(9):
            for j in range(12):
                if 0 <= i - down < 9 and 0 <= j - right < 12:
                    expected[i, j] = x[i - down, j - right]
        np.testing.assert_array_equal(y, expected)
    assert {d for d, _ in seen} == {-1, 0, 1}
    assert {r for _, r in seen} == {-2, -1, 0, 1, 2}


def test_cutout(images):
    """A hole of 5x6 (9 / 2 rounds up), whose middle is anywhere."""
    for x, y, (u, v) in zip(images, run(images, "cutout"), draws(2, 2), strict=True):
        top, left = int(u * 9) - 2, int(v * 13) - 3
        expected = x.copy()
        expected[max(top, 0) : top + 5, max(left, 0) : left + 6] = 0
        np.testing.assert_array_equal(y, expected)


def test_kinds_follow_each_other_and_gradients_pass(images):
    keys = jax.random.split(jax.random.key(1), N)
    both = augment(images, keys, ["color", "cutout"])
    np.testing.assert_array_equal(both, augment(augment(images, keys, ["color"]), keys, ["cutout"]))
    slope = jax.grad(lambda x: jnp.sum(augment(x, keys, ["cutout"])))(jnp.asarray(images))
    np.testing.assert_array_equal(slope, (augment(jnp.ones_like(images), keys, ["cutout"])))
    with pytest.raises(ValueError, match="augmentation is 'blur'; known are color, translation, cutout"):
        augment(images, keys, ["blur"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"of images \[N, H, W, C\]"):
        augment(images[0], keys, ["color"])
