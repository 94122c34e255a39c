"""Optimizers: their settings, and what Optax makes of them.

For example:

    >>> schedule = Schedule(decay=10_000)
    >>> optimizer = Optimizer(adam=Adam(learning_rate=1e-4), schedule=schedule).build()
    >>> weight = jnp.array(1.0)
    >>> update, state = optimizer.update(jnp.array(3.0), optimizer.init(weight))
    >>> f"{float(update):.4f}"  # Adam's first update is as large as the learning rate, whatever the gradient
    '-0.0001'
    >>> [f"{float(schedule.rate(1e-4)(count)):.5f}" for count in (0, 5_000, 10_000)]
    ['0.00010', '0.00005', '0.00000']
"""

from typing import Any, Literal

import optax
from pydantic import PositiveFloat as Positive

from jaxgan.settings import Fraction, Model, Whole


class Adam(Model):
    """Adam (Kingma and Ba, 2015), with DCGAN's defaults."""

    learning_rate: Positive = 2e-4
    b1: Fraction = 0.5
    b2: Fraction = 0.999


class SGD(Model):
    """Gradient descent without momentum."""

    learning_rate: Positive


class Schedule(Model):
    """How a learning rate changes. Updates are counted, so a player with several turns a step goes through it sooner.

    A schedule has a length of its own, so that a run may be given more steps later.
    """

    warmup: Whole = 0
    """Updates in which it rises from 0, along a line."""
    hold: Whole = 0
    """Updates at its full height after that."""
    decay: Whole = 0
    """Updates in which it then falls; 0 for a rate that stays."""
    shape: Literal["linear", "cosine"] = "linear"
    end: Fraction = 0.0
    """What is left in the end, as a share."""

    def rate(self, peak: float) -> optax.Schedule:
        """The learning rate as a function of the count of updates."""
        shapes = {
            "linear": lambda: optax.linear_schedule(peak, self.end * peak, self.decay),
            "cosine": lambda: optax.cosine_decay_schedule(peak, self.decay, self.end),
        }
        falling = shapes[self.shape]() if self.decay else optax.constant_schedule(peak)
        parts = [optax.linear_schedule(0.0, peak, self.warmup)] if self.warmup else []
        bounds = [self.warmup] if self.warmup else []
        if self.hold:
            parts, bounds = [*parts, optax.constant_schedule(peak)], [*bounds, self.warmup + self.hold]
        return optax.join_schedules([*parts, falling], bounds)


class Optimizer(Model):
    """Exactly one of the optimizers; Adam if none is named."""

    adam: Adam | None = None
    sgd: SGD | None = None
    schedule: Schedule | None = None
    """The course of the learning rate; None for one that stays."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse to name two optimizers."""
        if self.adam and self.sgd:
            raise ValueError("names two optimizers, adam and sgd; keep one")

    def build(self) -> optax.GradientTransformation:
        """The optimizer as Optax has it."""
        chosen = self.sgd or self.adam or Adam()
        rate = self.schedule.rate(chosen.learning_rate) if self.schedule else chosen.learning_rate
        if isinstance(chosen, SGD):
            return optax.sgd(rate)
        return optax.adam(rate, b1=chosen.b1, b2=chosen.b2)
