"""The settings of a run as plain data: typed, frozen, validated; TOML in, TOML out.

They hold nothing but numbers and names, so a run directory from a stranger is safe to read.

For example:

    settings = load(Path("configs/mlp.toml"), {"steps": "100", "game.r1": "0.1"})
    settings.game.r1  # 0.1
    print(settings.to_toml())  # the whole of it, defaults written out
"""

from jaxgan.config.read import differences, load, parse
from jaxgan.config.settings import Evaluation, Feed, Run, Settings

__all__ = [
    "Evaluation",
    "Feed",
    "Run",
    "Settings",
    "differences",
    "load",
    "parse",
]
