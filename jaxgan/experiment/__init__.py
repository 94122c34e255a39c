"""A config made into a game and its data: one file for each family of games."""

from jaxgan.experiment.build import (
    Experiment,
    answered,
    build,
    examples,
    facts,
    held_out,
    initial,
    of_manifest,
    open_source,
    source_of,
)
from jaxgan.experiment.facts import Scatter, Sheet
from jaxgan.experiment.rules import optimizer

__all__ = [
    "Experiment",
    "Scatter",
    "Sheet",
    "answered",
    "build",
    "examples",
    "facts",
    "held_out",
    "initial",
    "of_manifest",
    "open_source",
    "optimizer",
    "source_of",
]
