"""Adversarial losses: logits in, scalars out.

A loss is three functions of logits, float32 and unbounded, applied to each by itself: what the discriminator pays for
what it should call real, what it pays for what it should call generated, and what the generator pays. Cross-entropies
are in nats and are written with `softplus`, so they and their gradients stay finite for logits of any size; other
losses are in units of the logits, or of their squares.

For example:

    >>> undecided = jnp.zeros(4)
    >>> float(hinge.discriminator(undecided, undecided))
    2.0
    >>> round(float(non_saturating.generator(undecided)), 3)  # log 2
    0.693
    >>> LOSSES["absolute"] = Loss(lambda x: abs(x - 1), abs, lambda x: abs(x - 1), probabilities=False)
    >>> float(LOSSES["absolute"].generator(undecided))
    1.0
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

Side = Callable[[jax.Array], jax.Array]


class Loss(NamedTuple):
    """Both sides of an adversarial game, each to be minimised."""

    real: Side
    """The discriminator's loss of logits that should say "real"."""
    fake: Side
    """Its loss of logits that should say "generated"."""
    fool: Side
    """The generator's loss of the logits of what it generates."""
    probabilities: bool = True
    """Whether the sigmoid of a logit is the probability that the image is real; a critic's logits are scores."""
    relative: bool = False
    """Whether `real` and `fool` are of differences of logits, paired by position: how much more real one is."""

    def discriminator(
        self,
        real: jax.Array,
        fake: jax.Array,
        *,
        smoothing: float = 0.0,
        flipped: tuple[jax.Array, jax.Array] | None = None,
    ) -> jax.Array:
        """The discriminator's loss, a mean over the batch.

        Args:
          real: Logits of real images, `[N, ...]`.
          fake: Logits of generated ones, likewise.
          smoothing: Share of the loss of a real image that is paid for calling it real: its target is 1 minus this.
          flipped: Which real and which generated images are labelled as the other kind, `[N]` bool each. Of a relative
            loss, the first alone: which pairs.

        References:
          Salimans et al., Improved Techniques for Training GANs, 2016, section 3.4 (one-sided label smoothing).
        """

        def paid(
            logits: jax.Array, side: Side, other: Side, flips: jax.Array | None, share: float
        ) -> jax.Array:
            value = side(logits)
            if share:
                value = (1 - share) * value + share * other(logits)
            if flips is not None:
                value = jnp.where(flips.reshape(-1, *(1,) * (logits.ndim - 1)), other(logits), value)
            return jnp.mean(value)

        flips = flipped or (None, None)
        if self.relative:
            return paid(real - fake, self.real, self.fake, flips[0], smoothing)
        return paid(real, self.real, self.fake, flips[0], smoothing) + paid(
            fake, self.fake, self.real, flips[1], 0.0
        )

    def generator(
        self, fake: jax.Array, real: jax.Array | None = None, weights: jax.Array | None = None
    ) -> jax.Array:
        """The generator's loss, a mean over the batch.

        Args:
          fake: Logits of generated images, `[N, ...]`.
          real: Logits of real images, which a relative loss needs.
          weights: `[N]`, of the examples; 1 each if not given.

        Raises:
          ValueError: If a relative loss gets no real logits.
        """
        if self.relative:
            if real is None:
                raise ValueError("a relative loss needs the logits of real images")
            fake = fake - real
        value = self.fool(fake)
        return jnp.mean(value if weights is None else value * weights.reshape(-1, *(1,) * (value.ndim - 1)))


def _cross_entropy(logits: jax.Array) -> jax.Array:
    return jax.nn.softplus(-logits)


minimax: Loss = Loss(_cross_entropy, jax.nn.softplus, lambda x: -jax.nn.softplus(x))
"""The original zero-sum game: -E[log D(x)] - E[log(1 - D(G(z)))], and E[log(1 - D(G(z)))] for the generator.

At the optimum, D = 1/2 everywhere, the discriminator's loss is 2 log 2. The generator's gradient vanishes where D is
sure of fakes.

References:
  Goodfellow et al., Generative Adversarial Networks, 2014, equation 1.
"""

non_saturating: Loss = Loss(_cross_entropy, jax.nn.softplus, _cross_entropy)
"""The same fixed point with gradients that do not vanish early in training: the generator's loss is -E[log D(G(z))].

References:
  Goodfellow et al., Generative Adversarial Networks, 2014, end of section 3.
"""

hinge: Loss = Loss(
    lambda x: jax.nn.relu(1 - x), lambda x: jax.nn.relu(1 + x), jnp.negative, probabilities=False
)
"""The loss of SNGAN, SAGAN and BigGAN: E[max(0, 1 - D(x))] + E[max(0, 1 + D(G(z)))], and -E[D(G(z))].

The discriminator's is at least 0, and 2 for D = 0. Examples beyond their margin give it no gradient.

References:
  Lim and Ye, Geometric GAN, 2017.
  Miyato et al., Spectral Normalization for Generative Adversarial Networks, ICLR 2018, equation 16.
"""

wasserstein: Loss = Loss(jnp.negative, lambda x: x, jnp.negative, probabilities=False)
"""The loss of WGAN and, with `penalties.gradient_penalty`, of WGAN-GP: E[f(G(z))] - E[f(x)], and -E[f(G(z))].

The critic's is less the larger its estimate of the Wasserstein distance. It means something only for a critic held to
be Lipschitz, by weights or by a penalty.

References:
  Arjovsky et al., Wasserstein GAN, 2017, equation 2 and algorithm 1.
"""

least_squares: Loss = Loss(
    lambda x: jnp.square(x - 1) / 2,
    lambda x: jnp.square(x) / 2,
    lambda x: jnp.square(x - 1) / 2,
    probabilities=False,
)
"""The loss of LSGAN and CycleGAN, with targets 1 for real and 0 for generated images.

References:
  Mao et al., Least Squares Generative Adversarial Networks, 2017, equation 9.
"""

relativistic: Loss = Loss(_cross_entropy, jax.nn.softplus, _cross_entropy, probabilities=False, relative=True)
"""The relativistic pairing loss of R3GAN: E[log(1 + exp(D(G(z)) - D(x)))], and the same with signs changed.

References:
  Jolicoeur-Martineau, The relativistic discriminator, 2018, equations 9 and 10 (RpGAN).
  Huang et al., The GAN is dead; long live the GAN!, 2024, equation 2.
"""

LOSSES: dict[str, Loss] = {
    "non_saturating": non_saturating,
    "minimax": minimax,
    "hinge": hinge,
    "wasserstein": wasserstein,
    "least_squares": least_squares,
    "relativistic": relativistic,
}
"""The losses by the names that settings have for them. A loss of one's own joins by a line: `LOSSES["mine"] = mine`."""
