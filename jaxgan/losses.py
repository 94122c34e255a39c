"""Adversarial losses: logits in, scalars out.

A loss is a pair of functions of the logits that the discriminator gives real and generated images, `[N]` each, float32,
unbounded. Both return the mean over the batch. Cross-entropies are in nats and are written with `softplus`, so they
and their gradients stay finite for logits of any size; the hinge and Wasserstein losses are in units of the logits.
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
    probabilities: bool = True
    """Whether the sigmoid of a logit is the probability that the image is real; a critic's logits are scores."""


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


def margins(real: jax.Array, fake: jax.Array) -> jax.Array:
    """The discriminator's hinge loss, E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))]; at least 0, and 2 for D = 0.

    Examples beyond their margin give no gradient.

    References:
      Lim and Ye, Geometric GAN, 2017.
      Miyato et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018, equation 16.
    """
    return jnp.mean(jax.nn.relu(1 - real)) + jnp.mean(jax.nn.relu(1 + fake))


def distance(real: jax.Array, fake: jax.Array) -> jax.Array:
    """The critic's loss, E[f(G(z))] - E[f(x)]: less the larger its estimate of the Wasserstein distance.

    It means something only for a critic held to be Lipschitz, by weights or by a penalty.

    References:
      Arjovsky et al., Wasserstein GAN, 2017, equation 2 and algorithm 1.
    """
    return jnp.mean(fake) - jnp.mean(real)


def ascent(fake: jax.Array) -> jax.Array:
    """The generator's loss against a critic, -E[f(G(z))].

    References:
      Arjovsky et al., Wasserstein GAN, 2017, algorithm 1.
    """
    return -jnp.mean(fake)


hinge = Loss(margins, ascent, probabilities=False)
"""The loss of SNGAN, SAGAN and BigGAN."""

wasserstein = Loss(distance, ascent, probabilities=False)
"""The loss of WGAN and, with `jaxgan.penalties.gradient_penalty`, of WGAN-GP."""
