"""A config made into a game and its data: one file for each family of games."""

from jaxgan.experiment.build import Experiment, build, facts, initial, of_manifest, open_source, optimizer

__all__ = ["Experiment", "build", "facts", "initial", "of_manifest", "open_source", "optimizer"]
