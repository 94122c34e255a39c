"""Penalties: on the slope of a critic, functions of it and of images; on weights; scalars out, float32.

A critic here is a function of images alone, `[N, ...]` to logits `[N]`, with parameters, labels and masks closed
over; a penalty is differentiated once more, with respect to those parameters.

The slopes of all examples come from one backward pass, as the gradient of the sum of the logits. That is each
example's own slope only while the logit of an example depends on no other example: batch norm that uses the batch's
statistics, or minibatch statistics, mix the examples. With batch norm a critic must not be penalised; with minibatch
statistics published code does so.

For example:

    >>> slope = jnp.array([3.0, 4.0])  # as long as 5
    >>> def critic(x):
    ...     return x @ slope
    >>> real, fake = jnp.ones((8, 2)), jnp.zeros((8, 2))
    >>> float(gradient_penalty(critic, real, fake, mix=jnp.full(8, 0.5))), float(r1(critic, real))
    (16.0, 12.5)
    >>> float(l1({"Dense_0": {"kernel": slope[None], "bias": jnp.ones(2)}}))
    7.0
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan import axis

Critic = Callable[[jax.Array], jax.Array]


def _squared_slopes(critic: Critic, images: jax.Array) -> jax.Array:
    """The squared norm of the gradient at each image, `[N]` float32."""
    slopes = jax.grad(lambda x: jnp.sum(critic(x)))(images)
    return jnp.sum(jnp.square(slopes.astype(jnp.float32)).reshape(images.shape[0], -1), 1)


def gradient_penalty(critic: Critic, real: jax.Array, fake: jax.Array, mix: jax.Array) -> jax.Array:
    """E[(||grad f(x)|| - 1)^2] at x = mix * real + (1 - mix) * fake; the paper weighs it by 10.

    Where a gradient is zero, as the norm is not differentiable there, it takes 0 as the norm's own gradient.

    Args:
      critic: Images `[N, ...]` to logits `[N]`, each of its own image alone.
      real: Real images `[N, ...]`.
      fake: Generated images `[N, ...]`, paired with the real ones by position.
      mix: `[N]` uniform in [0, 1), one draw for each pair.

    Raises:
      ValueError: If the shapes do not fit.

    References:
      Gulrajani et al., Improved Training of Wasserstein GANs, 2017, equation 3 and algorithm 1.
    """
    if real.shape != fake.shape or mix.shape != real.shape[:1]:
        raise ValueError(
            "gradient_penalty needs real and fake images of one shape [N, ...] and mix [N], "
            f"got {real.shape}, {fake.shape} and {mix.shape}"
        )
    mix = mix.reshape(-1, *(1,) * (real.ndim - 1))
    return _from_one(critic, mix * real + (1 - mix) * fake)


def _from_one(critic: Critic, images: jax.Array) -> jax.Array:
    """E[(||grad f(x)|| - 1)^2]."""
    squares = _squared_slopes(critic, images)
    some = squares > 0
    # The inner choice keeps the square root's infinite slope at 0 out of the gradient, where 0 * inf is NaN.
    norms = jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1.0)), 0.0)
    return jnp.mean(jnp.square(norms - 1))


def dragan(critic: Critic, real: jax.Array, noise: jax.Array) -> jax.Array:
    """E[(||grad f(x)|| - 1)^2] around real images, at x = real + noise / 2 times the deviation of the batch's values.

    The deviation is that of all values of the batch, over all devices. The paper weighs the penalty by 10.

    Args:
      critic: Images `[N, ...]` to logits `[N]`, each of its own image alone.
      real: Real images `[N, ...]`.
      noise: Of the same shape, uniform in [0, 1).

    Raises:
      ValueError: If the shapes do not fit.

    References:
      Kodali et al., On Convergence and Stability of GANs, 2017, section 2.3 and algorithm 1.
    """
    if real.shape != noise.shape:
        raise ValueError(f"dragan needs noise of the images' shape {real.shape}, got {noise.shape}")
    over = axis.current()
    middle = axis.mean(jnp.mean(real), over)
    deviation = jnp.sqrt(axis.mean(jnp.mean(jnp.square(real - middle)), over))
    return _from_one(critic, real + 0.5 * deviation * noise)


def r1(critic: Critic, real: jax.Array) -> jax.Array:
    """E[||grad D(x)||^2] / 2 at real images; weighed by gamma, 10 in the paper.

    Args:
      critic: Images `[N, ...]` to logits `[N]`, each of its own image alone.
      real: Real images `[N, ...]`.

    References:
      Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018, equation 9.
    """
    return jnp.mean(_squared_slopes(critic, real)) / 2


def r2(critic: Critic, fake: jax.Array) -> jax.Array:
    """E[||grad D(x)||^2] / 2 at generated images `[N, ...]`; otherwise as `r1`.

    References:
      Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018, equation 10.
    """
    return jnp.mean(_squared_slopes(critic, fake)) / 2


def _kernels(params: Any) -> list[jax.Array]:
    """The weights of all layers as matrices of outputs by inputs; biases, scales and embeddings are left out."""
    found = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(params)[0]:
        names = [str(getattr(part, "key", part)) for part in path]
        if names[-1] != "kernel":
            continue
        # Outputs come first in the kernels of convolutions, last in those of transposed ones and of dense layers.
        first = leaf.ndim == 4 and not any("Transpose" in name for name in names)
        found.append(jnp.moveaxis(leaf, 0 if first else -1, 0).reshape(leaf.shape[0 if first else -1], -1))
    return found


def orthogonal(params: Any) -> jax.Array:
    """The sum over all kernels of ||W W^T * (1 - I)||^2: outputs of a layer should differ; 1e-4 in the paper.

    Args:
      params: Parameters of a network; kernels are taken as matrices of outputs by everything else.

    References:
      Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2018, equation 3.
    """
    total = jnp.float32(0)
    for w in _kernels(params):
        # ||W W^T|| = ||W^T W||: of the two the smaller. Its diagonal are the squared lengths of the rows of W.
        products = jnp.matmul(w, w.T) if w.shape[0] <= w.shape[1] else jnp.matmul(w.T, w)
        lengths = jnp.sum(jnp.square(w), 1)
        total += jnp.sum(jnp.square(products)) - jnp.sum(jnp.square(lengths))
    return total


def l1(params: Any) -> jax.Array:
    """The sum of the absolute values of all kernels of a network."""
    return sum((jnp.sum(jnp.abs(w)) for w in _kernels(params)), jnp.float32(0))


def l2(params: Any) -> jax.Array:
    """Half the sum of the squares of all kernels of a network."""
    return sum((jnp.sum(jnp.square(w)) for w in _kernels(params)), jnp.float32(0)) / 2
