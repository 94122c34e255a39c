"""What most families wire their players with; what players play for stands in the families."""

from typing import Any

import flax.linen as nn

from jaxgan.game import Array, State
from jaxgan.objectives.adversary import Judge, apply


def judged_by(discriminator: nn.Module, state: State, name: str, *given: Any) -> Judge:
    """The judge for `Adversary.discriminate` and `fool` of a discriminator that says logits alone.

    Args:
      discriminator: Called as `discriminator(images, *given, train=, keys=)`.
      state: The state, for its parameters and statistics.
      name: The discriminator's name there.
      given: What it sees beside all images, such as their labels.
    """

    def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
        logits, stats = apply(discriminator, state, name, images, *given, stats=stats, keys=masks)
        return logits, None, stats

    return judge
