"""A config made into a game and its data."""

from jaxgan.experiment.build import (
    answered,
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

__all__ = [
    "answered",
    "build",
    "examples",
    "facts",
    "held_out",
    "initial",
    "of_manifest",
    "of_source",
    "shown",
    "source_of",
]
