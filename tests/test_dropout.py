"""Dropout: one mask for an example, whatever device it is on."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.layers import Dropout

pytestmark = pytest.mark.usefixtures("quick_programs")

SHAPE = (8, 5, 7, 3)


def keys(n=8, seed=0):
    return jax.random.split(jax.random.key(seed), n)


def drop(x, keys, rate=0.4):
    return Dropout(rate).apply({}, x, keys)


@pytest.mark.parametrize("devices", [1, 2, 4, 8])
def test_masks_do_not_depend_on_the_devices(devices, rng):
    x = rng.normal(size=SHAPE).astype(np.float32)
    whole = jax.jit(drop)(x, keys())
    split = lambda a: a.reshape(devices, -1, *a.shape[1:])  # noqa: E731
    parts = jax.pmap(drop, devices=jax.devices()[:devices])(split(x), split(keys()))
    np.testing.assert_array_equal(np.asarray(parts).reshape(SHAPE), whole)


def test_a_mask_belongs_to_the_examples_key(rng):
    """Another order of examples permutes the masks; the rest of the batch does not matter."""
    x = rng.normal(size=SHAPE).astype(np.float32)
    y = np.asarray(drop(x, keys()))
    order = np.array([3, 1, 7, 0])
    np.testing.assert_array_equal(drop(x[order], keys()[order]), y[order])
    assert len({(mask != 0).tobytes() for mask in y}) == 8


def test_kept_features_are_scaled_and_the_others_zero():
    y = np.asarray(drop(jnp.full((64, 1000), 3.0), keys(64), 0.2))
    kept = y != 0
    np.testing.assert_allclose(y[kept], 3 / 0.8, rtol=1e-6)
    # 64,000 draws: five standard deviations of the kept share are 0.008.
    assert abs(kept.mean() - 0.8) < 5 * np.sqrt(0.8 * 0.2 / kept.size)
    # No feature and no example is favoured.
    assert abs(kept.mean(0) - 0.8).max() < 6 * np.sqrt(0.8 * 0.2 / 64)
    assert abs(kept.mean(1) - 0.8).max() < 6 * np.sqrt(0.8 * 0.2 / 1000)


def test_layers_draw_different_masks():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, keys):
            return Dropout(0.5)(x, keys), Dropout(0.5)(x, keys)

    a, b = (np.asarray(y) != 0 for y in Two().apply({}, jnp.ones((4, 2000)), keys(4)))
    agreement = (a == b).mean()
    assert abs(agreement - 0.5) < 5 * 0.5 / np.sqrt(a.size)


def test_gradient_passes_where_the_value_did(rng):
    x = rng.normal(size=SHAPE).astype(np.float32)
    y, pullback = jax.vjp(lambda x: drop(x, keys()), x)
    (gradient,) = pullback(jnp.ones(SHAPE))
    np.testing.assert_allclose(gradient, np.where(np.asarray(y) != 0, 1 / 0.6, 0), rtol=1e-6)


@pytest.mark.parametrize(("rate", "given"), [(0.5, False), (0.0, True)])
def test_identity_without_keys_or_without_a_rate(rate, given, rng):
    x = rng.normal(size=SHAPE).astype(np.float32)
    np.testing.assert_array_equal(drop(x, keys() if given else None, rate), x)


def test_bfloat16_stays_bfloat16():
    assert drop(jnp.ones(SHAPE, jnp.bfloat16), keys()).dtype == jnp.bfloat16


@pytest.mark.parametrize("rate", [1.0, 1.5, -0.1, float("nan")])
def test_a_bad_rate_is_refused(rate):
    with pytest.raises(ValueError, match=r"rate is .*at least 0 and less than 1"):
        drop(jnp.ones(SHAPE), keys(), rate)
