"""Spectral normalisation: a layer whose weights are divided by their largest singular value.

Flax has `nn.SpectralNorm`. It stores kernels divided by a first guess of sigma when it initialises a network, takes the
wrong matrix of our convolutions (it sets the last dimension apart, where their outputs are the first), and goes on
iterating in evaluation.

For example:

    >>> kernel = jnp.array([[4.0, 0.0], [0.0, 1.0]])  # its largest singular value is 4
    >>> layer = SpectralNorm(nn.Dense(2, kernel_init=lambda *_: kernel))
    >>> y, variables = layer.init_with_output(jax.random.key(0), jnp.array([[8.0, 8.0]]), train=False)
    >>> print(y.round())
    [[8. 2.]]
    >>> variables["spectral"]["u"].shape
    (2,)
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.layers.conv import ConvTranspose

COLLECTION = "spectral"
"""The Linen collection of the vectors u."""
WARM_UP = 15
"""Iterations before training: sigma then is about 0.98 of the true one, where a single one finds about 0.82."""


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def _unit(x: jax.Array, otherwise: jax.Array, epsilon: float) -> jax.Array:
    norm = jnp.sqrt(jnp.sum(jnp.square(x)))
    return jnp.where(norm > epsilon, x / jnp.maximum(norm, epsilon), otherwise)


def iterate(matrix: jax.Array, u: jax.Array, epsilon: float = 1e-12) -> jax.Array:
    """One step of the power iteration for the largest singular value.

    Args:
      matrix: `[M, D]`.
      u: `[D]`, of length 1.
      epsilon: Products shorter than this leave `u` as it was.

    Returns:
      The new `u`, `[D]`.
    """
    v = _unit(_product(matrix, u), jnp.zeros_like(matrix[:, 0]), epsilon)
    return _unit(_product(v, matrix), u, epsilon)


class SpectralNorm(nn.Module):
    """Runs `layer`, a `Conv`, `ConvTranspose` or `Dense`, with its kernel divided by its largest singular value.

    The kernel is taken as a matrix of outputs by everything else. A vector u, in the collection "spectral", follows
    its leading singular vector by one step of power iteration in every training pass; as it depends on nothing but
    weights, it is the same on all devices. The gradient goes through the kernel in sigma = u' W v, not through u and v.
    Parameters and their names are those of the layer without spectral norm; the bias is not touched.

    References:
      Miyato et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018, algorithm 1, equation 8.
    """

    layer: nn.Module
    epsilon: float = 1e-12

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """What `layer` makes of `x`. Where `train` is false u stays as it is.

        Raises:
          ValueError: If the layer has no parameter "kernel".
          flax.errors.ModifyScopeVariableError: If `train` is true and the collection "spectral" is not mutable.
        """

        def normalised(variables: Any) -> Any:
            params = variables.get("params", {})
            if "kernel" not in params:
                raise ValueError(
                    f"SpectralNorm needs a layer with a kernel; {type(self.layer).__name__} has {sorted(params)}"
                )
            return {**variables, "params": {**params, "kernel": self._normalise(params["kernel"], train)}}

        if self.is_initializing():
            self.layer(
                x
            )  # makes the kernel; under `map_variables` the normalised one would be kept in its place
        return nn.map_variables(lambda layer: layer(x), "params", trans_in_fn=normalised)(self.layer)

    def _normalise(self, kernel: jax.Array, train: bool) -> jax.Array:
        # Outputs come first in the kernels of convolutions, last in those of transposed ones and of dense layers.
        outputs = 0 if kernel.ndim == 4 and not isinstance(self.layer, ConvTranspose) else -1
        matrix = jnp.moveaxis(kernel, outputs, -1)
        matrix = matrix.reshape(-1, matrix.shape[-1])
        fixed = lax.stop_gradient(matrix)

        def start() -> jax.Array:
            draw = jax.random.normal(self.make_rng("params"), (matrix.shape[1],))
            u = _unit(draw, draw, self.epsilon)
            return lax.fori_loop(0, WARM_UP, lambda _, u: iterate(fixed, u, self.epsilon), u)

        u = self.variable(COLLECTION, "u", start)
        if train and not self.is_initializing():
            u.value = iterate(fixed, u.value, self.epsilon)
        product = _product(matrix, lax.stop_gradient(u.value))
        v = lax.stop_gradient(_unit(product, jnp.zeros_like(product), self.epsilon))
        sigma = jnp.dot(v, product, precision=lax.Precision.HIGHEST)
        return kernel / jnp.where(sigma > self.epsilon, sigma, 1.0)
