"""What a family's builder is told of the data, and what it gives back."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxgan.data.sources import Field
from jaxgan.game import Game
from jaxgan.games import Latents


class Facts(NamedTuple):
    """What is known of a data set without its examples."""

    fields: Mapping[str, Field]
    classes: Sequence[str]
    examples: int


class Built(NamedTuple):
    """A family's game and how it is sampled."""

    game: Game
    classes: int = 0
    """Classes that samples are conditional on; 0 for none."""
    latents: Latents | None = None
    """What samples are made from; None where they are made from examples alone."""
    given: tuple[str, ...] = ()
    """Fields of an example that a sample is made from, such as "input"."""
