"""`Dense` against Flax's: the same layer, with derivatives in another order."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import quick_jit, slow

from jaxgan.layers import Dense

pytestmark = pytest.mark.usefixtures("strict_dtypes", "quick_programs")


@pytest.mark.parametrize("features", [1, 2, 16, 40])  # narrow and wide
@pytest.mark.parametrize("shape", [(6, 5), slow((2, 3, 5)), slow((5,))])
def test_layer_and_derivatives_are_flaxs(features, shape, rng):
    x = jnp.asarray(rng.normal(size=shape), jnp.float32)
    layer, flaxs = Dense(features), nn.Dense(features)
    params = layer.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, flaxs.init(jax.random.key(0), x))

    def derivatives(layer, params, x):
        def loss(params, x):
            return jnp.sum(jnp.tanh(layer.apply(params, x)) ** 2)

        def slope(params, x):  # as in gradient penalties
            return jnp.sum(jax.grad(loss, 1)(params, x) ** 2)

        return layer.apply(params, x), jax.grad(loss, (0, 1))(params, x), jax.grad(slope, (0, 1))(params, x)

    compute = quick_jit(derivatives, static_argnums=0)
    for a, b in zip(*(jax.tree.leaves(compute(made, params, x)) for made in (layer, flaxs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_batches_of_layers(rng):
    """Under `jax.vmap`, as when several seeds train together."""
    x, w = (jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((3, 4, 5), (3, 5, 7)))
    gradient = jax.vmap(
        jax.grad(lambda w, x: jnp.sum(Dense(7, False).apply({"params": {"kernel": w}}, x) ** 2))
    )
    np.testing.assert_allclose(gradient(w, x), 2 * np.einsum("bnk,bnd->bkd", x, x @ w), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", [None, "highest"])
def test_precision_is_heeded(precision):
    layer, x = Dense(3, precision=precision), jnp.ones((4, 5))
    params = layer.init(jax.random.key(0), x)
    assert ("HIGHEST" in str(jax.make_jaxpr(layer.apply)(params, x))) == (precision == "highest")
