"""Adversarial losses: logits in, scalars out.

A loss is a pair of functions of the logits that the discriminator gives real and generated images, `[N]` each, float32,
unbounded. Both return the mean over the batch, in nats. They are written with `softplus`, so they and their gradients
stay finite for logits of any size.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Loss(NamedTuple):
    """The two sides of an adversarial game, each to be minimised."""

    discriminator: Callable[[jax.Array, jax.Array], jax.Array]
    """(real logits, fake logits) to a scalar."""
    generator: Callable[[jax.Array], jax.Array]
    """Fake logits to a scalar."""


def cross_entropy(real: jax.Array, fake: jax.Array) -> jax.Array:
    """The discriminator's binary cross-entropy, -E[log D(x)] - E[log(1 - D(G(z)))].

    At the optimum of the game, D = 1/2 everywhere, it is 2 log 2.

    References:
      Goodfellow et al., Generative Adversarial Networks, 2014, equation 1.
    """
    return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))


def saturating(fake: jax.Array) -> jax.Array:
    """The generator's side of the minimax game, E[log(1 - D(G(z)))]. Vanishing gradient where D is sure of fakes.

    References:
      Goodfellow et al., Generative Adversarial Networks, 2014, equation 1.
    """
    return -jnp.mean(jax.nn.softplus(fake))


def heuristic(fake: jax.Array) -> jax.Array:
    """The non-saturating generator loss, -E[log D(G(z))].

    References:
      Goodfellow et al., Generative Adversarial Networks, 2014, end of section 3.
    """
    return jnp.mean(jax.nn.softplus(-fake))


minimax = Loss(cross_entropy, saturating)
"""The original zero-sum game: the generator's loss is the negative of the part of the discriminator's that it moves."""

non_saturating = Loss(cross_entropy, heuristic)
"""The same fixed point with gradients that do not vanish early in training."""
