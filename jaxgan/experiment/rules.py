"""What families share of their settings: optimizers, and the rules between a discriminator and those that it judges."""

from typing import Any

import optax

from jaxgan import config, losses
from jaxgan.errors import InputError
from jaxgan.games import Adversary, Weights
from jaxgan.layers.minibatch import GROUP

LOSSES = {
    "non_saturating": losses.non_saturating,
    "minimax": losses.minimax,
    "hinge": losses.hinge,
    "wasserstein": losses.wasserstein,
    "least_squares": losses.least_squares,
    "relativistic": losses.relativistic,
}


def adversary(rules: config.Adversarial, discriminator: Any, batch_size: int) -> Adversary:
    """The rules between a discriminator and those that it judges.

    Args:
      rules: Their settings.
      discriminator: The settings of the discriminator.
      batch_size: Examples in a turn.

    Raises:
      InputError: If a penalty meets batch norm, or packing or groups for minibatch deviation do not divide the batch.
    """
    given = {name: getattr(rules, name) for name in Adversary._fields}
    named = {"loss": LOSSES[rules.loss], "augment": tuple(rules.augment)}
    weights = {key: Weights(**dict(getattr(rules, key))) for key in ("weights", "discriminator_weights")}
    made = Adversary(**{**given, **named, **weights})
    if made.slopes and getattr(discriminator, "norm", None) == "batch":
        raise InputError(
            f"game.{made.slopes[0]} judges each image by itself, but discriminator.norm is 'batch', which mixes them; "
            "set it to 'layer' or 'none'"
        )
    if batch_size % rules.packing:
        raise InputError(f"game.packing is {rules.packing}, which does not divide batch_size {batch_size}")
    judged = batch_size // rules.packing
    if getattr(discriminator, "minibatch_std", False) and judged % min(GROUP, judged):
        over = f"over game.packing {rules.packing} " if rules.packing > 1 else ""
        raise InputError(
            f"discriminator.minibatch_std compares groups of {GROUP}, and {judged} are judged together; make "
            f"batch_size {over}a multiple of {GROUP}"
        )
    return made


def optimizer(settings: config.Optimizer) -> optax.GradientTransformation:
    """The optimizer that a configuration names."""
    chosen = settings.sgd or settings.adam or config.Adam()
    rate = learning_rate(chosen.learning_rate, settings.schedule)
    if isinstance(chosen, config.SGD):
        return optax.sgd(rate)
    return optax.adam(rate, b1=chosen.b1, b2=chosen.b2)


def learning_rate(peak: float, settings: config.Schedule | None) -> optax.ScalarOrSchedule:
    """A number where the rate stays, else a function of the count of updates."""
    if settings is None:
        return peak
    shapes = {
        "linear": lambda: optax.linear_schedule(peak, settings.end * peak, settings.decay),
        "cosine": lambda: optax.cosine_decay_schedule(peak, settings.decay, settings.end),
    }
    falling = shapes[settings.shape]() if settings.decay else optax.constant_schedule(peak)
    parts = [optax.linear_schedule(0.0, peak, settings.warmup)] if settings.warmup else []
    bounds = [settings.warmup] if settings.warmup else []
    if settings.hold:
        parts, bounds = [*parts, optax.constant_schedule(peak)], [*bounds, settings.warmup + settings.hold]
    return optax.join_schedules([*parts, falling], bounds)
