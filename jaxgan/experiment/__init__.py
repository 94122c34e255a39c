"""Settings made into a game and its data: those of a config, and those of a game that somebody wrote."""

from jaxgan.experiment.build import (
    answered,
    beginning,
    build,
    examples,
    facts,
    held_out,
    initial,
    of_manifest,
    of_source,
    shown,
    source_of,
)
from jaxgan.experiment.own import Own, made, read

__all__ = [
    "Own",
    "answered",
    "beginning",
    "build",
    "examples",
    "facts",
    "held_out",
    "initial",
    "made",
    "of_manifest",
    "of_source",
    "read",
    "shown",
    "source_of",
]
