"""GAN training in JAX: pure update steps over one immutable state, fast, resumable, repeatable to the bit.

What stands in `__all__` is imported when it is first asked for: `import jaxgan` alone starts neither JAX nor Flax.

For example:

    >>> import jaxgan
    >>> run = jaxgan.train("mlp", run_dir="runs/tiny", steps=2, batch_size=8, samples=4, progress=False)
    >>> run.sample(3).shape
    (3, 28, 28, 1)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxgan.domains import Domain, domain
    from jaxgan.errors import InputError, RunError
    from jaxgan.families.base import Built, Family, Scatter, Sheet, family
    from jaxgan.game import Aux, Fakes, Game, Keys, Player, State, init, step, update
    from jaxgan.imports import bring
    from jaxgan.networks.registry import network
    from jaxgan.objectives.adversary import apply
    from jaxgan.objectives.latents import Latents
    from jaxgan.public import Run, Stopped, Terminated, load, train

__version__ = "0.1.0"

__all__ = [
    "Aux",
    "Built",
    "Domain",
    "Fakes",
    "Family",
    "Game",
    "InputError",
    "Keys",
    "Latents",
    "Player",
    "Run",
    "RunError",
    "Scatter",
    "Sheet",
    "State",
    "Stopped",
    "Terminated",
    "__version__",
    "apply",
    "bring",
    "domain",
    "family",
    "init",
    "load",
    "network",
    "step",
    "train",
    "update",
]

_HOMES = {
    "jaxgan.domains": ("Domain", "domain"),
    "jaxgan.errors": ("InputError", "RunError"),
    "jaxgan.families.base": ("Built", "Family", "Scatter", "Sheet", "family"),
    "jaxgan.game": ("Aux", "Fakes", "Game", "Keys", "Player", "State", "init", "step", "update"),
    "jaxgan.imports": ("bring",),
    "jaxgan.networks.registry": ("network",),
    "jaxgan.objectives.adversary": ("apply",),
    "jaxgan.objectives.latents": ("Latents",),
    "jaxgan.public": ("Run", "Stopped", "Terminated", "load", "train"),
}
"""Where each name is defined."""


def __getattr__(name: str) -> Any:
    """Imports a name when it is first asked for."""
    import importlib

    for module, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(module), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'jaxgan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
