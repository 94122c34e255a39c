"""Penalties on the slope of a critic: functions of the critic and of images, scalars out, float32.

A critic here is a function of images alone, `[N, ...]` to logits `[N]`, with parameters, labels and masks closed over;
a penalty is differentiated once more, with respect to those parameters.

The slopes of all examples come from one backward pass, as the gradient of the sum of the logits. That is each
example's own slope only while the logit of an example depends on no other example: batch norm that uses the batch's
statistics, or minibatch statistics, mix the examples, and such a critic must not be penalised.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

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
    squares = _squared_slopes(critic, mix * real + (1 - mix) * fake)
    some = squares > 0
    # The inner choice keeps the square root's infinite slope at 0 out of the gradient, where 0 * inf is NaN.
    norms = jnp.where(some, jnp.sqrt(jnp.where(some, squares, 1.0)), 0.0)
    return jnp.mean(jnp.square(norms - 1))


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
