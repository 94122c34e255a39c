"""Settings of the rules: optimizers, and a class for each family of games."""

from typing import Any, Literal

from pydantic import PositiveFloat as Positive

from jaxgan.config.base import Count, Fraction, Model, Weight, Whole


class Adam(Model):
    """Adam (Kingma and Ba, 2015), with DCGAN's defaults."""

    learning_rate: Positive = 2e-4
    b1: Fraction = 0.5
    b2: Fraction = 0.999


class SGD(Model):
    """Gradient descent without momentum."""

    learning_rate: Positive


class Optimizer(Model):
    """Exactly one of the optimizers; Adam if none is named."""

    adam: Adam | None = None
    sgd: SGD | None = None

    def model_post_init(self, context: Any) -> None:
        if self.adam and self.sgd:
            raise ValueError("names two optimizers, adam and sgd; keep one")


class Game(Model):
    """The rules: `jaxgan.games.gan`."""

    loss: Literal["non_saturating", "minimax", "hinge", "wasserstein"] = "non_saturating"
    gradient_penalty: Weight = 0.0
    """Of WGAN-GP, on the discriminator; 10 in the paper."""
    r1: Weight = 0.0
    """Of the discriminator's slope at real images: gamma, 10 in the paper."""
    latent: Count = 100
    conditional: bool = False
    discriminator_turns: Count = 1
    discriminator_start: Whole = 0
    generator_start: Whole = 0
    ema: Fraction = 0.999
    schedule: Literal["alternating", "simultaneous"] = "alternating"
    shared_draws: bool = False
