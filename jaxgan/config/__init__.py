"""The settings of a run as plain data: typed, frozen, validated; TOML in, TOML out.

They hold nothing but numbers and names, so a run directory from a stranger is safe to read.

For example:

    >>> table = {"name": "small", "steps": 100, "data": {"source": "embedded"}}
    >>> table |= {"generator": {"network": "mlp"}, "discriminator": {"network": "mlp"}}
    >>> settings = parse(table, {"game.r1": "0.1"})
    >>> settings.game.r1, settings.generator.width
    (0.1, 64)
    >>> parse(table, {"game.pakking": "2"})
    Traceback (most recent call last):
    jaxgan.errors.InputError: config: unknown key game.pakking; did you mean packing?
"""

from jaxgan.config.read import (
    changed,
    deterministic,
    differences,
    leaves,
    load,
    load_any,
    own,
    parse,
    plain,
    shipped,
)
from jaxgan.config.settings import Evaluation, Feed, OwnGame, OwnSettings, Run, RunSettings, Settings

__all__ = [
    "Evaluation",
    "Feed",
    "OwnGame",
    "OwnSettings",
    "Run",
    "RunSettings",
    "Settings",
    "changed",
    "deterministic",
    "differences",
    "leaves",
    "load",
    "load_any",
    "own",
    "parse",
    "plain",
    "shipped",
]
