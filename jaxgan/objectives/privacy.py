"""What private training costs: epsilon after so many steps, the noise that a budget asks for, the steps that it buys.

The accountant is that of Google's `dp-accounting` (the extra `private`). Its Renyi accountant takes milliseconds for
any noise and number of steps; its bound is what most papers report, and 7 to 10% above the tightest that is known.

References:
  Abadi et al., Deep Learning with Differential Privacy, 2016.
  Mironov et al., Renyi Differential Privacy of the Sampled Gaussian Mechanism, 2019, section 3.3.

For example:

    >>> ledger = Ledger(noise_multiplier=1.1, rate=256 / 60_000, turns=1, delta=1e-5)
    >>> ledger.epsilon(0), ledger.note(0)["neighbours"]
    (0.0, 'one example more or less')
    >>> not available() or 2 < ledger.epsilon(14_062) < 3  # sixty epochs, where dp-accounting is installed
    True
"""

import importlib
import importlib.util
import math
from typing import Any, NamedTuple

from jaxgan.errors import InputError

RESERVE = 0.01
"""Share of delta that is set aside for draws of more examples than a batch has room for."""
FINEST = 1000
"""Noise multipliers are looked for in steps of one part in so many of 1."""
MOST_NOISE = 1000


class Ledger(NamedTuple):
    """The guarantee of a run: for every example of its data, present or not, by what it draws and adds in each step.

    What it covers and what it takes for granted is said in docs/private.md.
    """

    noise_multiplier: float
    """Standard deviation of the noise on a sum of gradients, over the norm that each of them is clipped to."""
    rate: float
    """Probability with which each example takes part in a turn, independently of all others."""
    turns: int
    """Noisy updates in a step."""
    delta: float
    budget: float | None = None
    """The epsilon that may not be exceeded."""
    overflow: float = 0.0
    """Probability that a turn draws more examples than it has room for, and leaves some out."""

    def epsilon(self, step: int) -> float:
        """The epsilon of the states of the first `step` steps together; infinite where nothing can be said.

        Raises:
          InputError: If `dp-accounting` is not installed.
        """
        if step == 0:
            return 0.0
        dp = _accounting()
        turn = dp.PoissonSampledDpEvent(self.rate, dp.GaussianDpEvent(self.noise_multiplier))
        accountant = dp.rdp.RdpAccountant()
        accountant.compose(turn, step * self.turns)
        found = float(accountant.get_epsilon((1 - RESERVE) * self.delta))
        # A run that differs from one with room for all with probability p is as private, but for (1 + e^epsilon) p.
        missed = step * self.turns * self.overflow
        enough = missed == 0 or found + math.log(2 * missed) <= math.log(RESERVE * self.delta)
        return found if enough else math.inf

    def steps(self, most: int) -> int:
        """How many steps the budget allows, at most `most`.

        Raises:
          InputError: If it allows none, or `dp-accounting` is not installed.
        """
        if self.budget is None or self.epsilon(most) <= self.budget:
            return most
        low, high = 0, most
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.epsilon(middle) <= self.budget else (low, middle)
        if low == 0:
            raise InputError(
                f"one step costs an epsilon of {self.epsilon(1):.3g}, more than game.epsilon {self.budget:g}; "
                "raise game.noise_multiplier, or lower batch_size or game.discriminator_turns"
            )
        return low

    def note(self, step: int) -> dict[str, Any]:
        """What is saved with the state of a step."""
        epsilon = self.epsilon(step)
        return {
            "epsilon": epsilon if math.isfinite(epsilon) else None,
            "delta": self.delta,
            "noise_multiplier": self.noise_multiplier,
            "sampling_rate": self.rate,
            "noisy_updates": step * self.turns,
            "neighbours": "one example more or less",
            "accountant": "dp-accounting, RDP",
        }


def noise(steps: int, ledger: Ledger) -> float:
    """The least noise multiplier, in thousandths, with which `ledger` keeps its budget over so many steps.

    Raises:
      InputError: If there is none below 1000, or `dp-accounting` is not installed.
    """
    assert ledger.budget is not None
    budget = ledger.budget

    def kept(units: int) -> bool:
        return ledger._replace(noise_multiplier=units / FINEST).epsilon(steps) <= budget

    low, high = FINEST // 10, FINEST
    while not kept(high):
        low, high = high, 2 * high
        if high > MOST_NOISE * FINEST:
            raise InputError(
                f"no noise keeps {steps} steps within game.epsilon {budget:g} at delta {ledger.delta:g}; "
                "take fewer steps or a smaller batch_size"
            )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if kept(middle) else (middle, high)
    return high / FINEST


def available() -> bool:
    """Whether `dp-accounting` is installed."""
    return importlib.util.find_spec("dp_accounting") is not None


def _accounting() -> Any:
    try:
        importlib.import_module(
            "dp_accounting.rdp"
        )  # a package of its own, which the one above does not import
        return importlib.import_module("dp_accounting")
    except ImportError:
        raise InputError(
            "private training needs dp-accounting for its epsilon: pip install 'jaxgan[private]'"
        ) from None
