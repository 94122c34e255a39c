"""Signs that training goes wrong, read from the metrics that the step computes anyway.

For example:

    >>> watch, window = Watch(), {"generator/grad_norm": np.full(300, 1e-9)}
    >>> watch.see(window)
    []
    >>> print(*watch.see(window))
    for 600 steps the generator's gradient has vanished (its norm is 1.0e-09); the discriminator is too sure,
    or too large in its weights: add game.r1 or another loss
    >>> watch.see(window)  # it is said once
    []
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

PATIENCE = 500
"""Steps that a sign must stay before it is worth a line."""

Window = Mapping[str, np.ndarray]
"""Metrics of consecutive steps, `[steps]` each."""


class Sign(NamedTuple):
    """Something that should not last."""

    needs: tuple[str, ...]
    """Metrics that it is read from; where they are missing it is not looked for."""
    value: Callable[..., float]
    """The means of these metrics over a window to one number."""
    bad: Callable[[float], bool]
    text: str
    """For the user, with the number as {value}."""


def _ratio(fake: float, real: float) -> float:
    return float(np.sqrt(fake / real)) if real > 0 else float("nan")


SIGNS = (
    Sign(
        ("discriminator/real_accuracy", "discriminator/fake_accuracy"),
        min,
        lambda x: x > 0.995,
        "the discriminator tells {value:.1%} of all examples apart, so the generator learns little from it; lower "
        "discriminator_optimizer's learning rate, or add game.r1 or dropout",
    ),
    Sign(
        ("discriminator/fake_variance", "discriminator/real_variance"),
        _ratio,
        lambda x: x < 0.35,
        "generated examples differ from each other by {value:.0%} of what real ones do: the generator collapses to few "
        "of them; go back to an earlier checkpoint, lower the learning rates, or add game.r1",
    ),
    Sign(
        ("discriminator/fake_variance", "discriminator/real_variance"),
        _ratio,
        lambda x: x > 2,
        "generated examples differ from each other by {value:.0%} of what real ones do: they are likely to be noise; "
        "lower the learning rates",
    ),
    Sign(
        ("generator/grad_norm",),
        float,
        lambda x: x < 1e-6,
        "the generator's gradient has vanished (its norm is {value:.1e}); the discriminator is too sure, or too large "
        "in its weights: add game.r1 or another loss",
    ),
    Sign(
        ("generator/grad_norm",),
        float,
        lambda x: x > 1e4,
        "the generator's gradient explodes (its norm is {value:.1e}); lower the learning rates, or add game.r1",
    ),
)


class Watch:
    """Counts how long each sign has stayed; it speaks once until the sign goes away."""

    def __init__(self) -> None:
        """Has seen nothing yet."""
        self._stayed = [0] * len(SIGNS)

    def see(self, window: Window) -> list[str]:
        """What to tell the user after these steps.

        A sign stays where the means over the window are past its limit; windows are a few seconds long at most.
        """
        said = []
        for i, sign in enumerate(SIGNS):
            if not all(name in window and len(window[name]) for name in sign.needs):
                continue
            value = sign.value(*(float(np.mean(window[name])) for name in sign.needs))
            before = self._stayed[i]
            self._stayed[i] = before + len(window[sign.needs[0]]) if sign.bad(value) else 0
            if before < PATIENCE <= self._stayed[i]:
                said.append(f"for {self._stayed[i]} steps {sign.text.format(value=value)}")
        return said
