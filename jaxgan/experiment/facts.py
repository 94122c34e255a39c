"""What a family's builder is told of the data, and what it gives back."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from jaxgan import config
from jaxgan.data.order import Poisson
from jaxgan.data.sources import Field
from jaxgan.game import Array, Batch, Game, State
from jaxgan.games import Latents
from jaxgan.privacy import Ledger


class Facts(NamedTuple):
    """What is known of a data set without its examples."""

    fields: Mapping[str, Field]
    classes: Sequence[str]
    examples: int


class Sheet(NamedTuple):
    """Images in rows."""

    images: Array
    """`[N, H, W, C]` in [-1, 1]."""
    columns: int


class Scatter(NamedTuple):
    """Points in the plane, coloured by class."""

    points: Array
    """`[N, 2]`."""
    label: Array
    """`[N]` int."""
    behind: Array
    """Points without classes, behind the others, `[M, 2]`."""


Picture = Sheet | Scatter


class Built(NamedTuple):
    """A family's game and how it is sampled."""

    game: Game
    classes: int = 0
    """Classes that samples are conditional on; 0 for none."""
    latents: Latents | None = None
    """What samples are made from; None where they are made from examples alone."""
    given: tuple[str, ...] = ()
    """Fields of an example that a sample is made from, such as "input"."""
    settings: config.Experiment | None = None
    """The settings with what was left open in them filled in; None where nothing was."""
    poisson: Poisson | None = None
    """How examples are drawn; None for epochs, each in an order of its own."""
    ledger: Ledger | None = None
    """What a private run costs."""
    pictures: Mapping[str, Callable[[State, Batch], Picture]] = {}
    """What else a report shows, by caption: of a state, and of held-out examples with images in [-1, 1]."""
    classify: Callable[[State, Array], Array] | None = None
    """The logits of classes `[N, K]` that a network gives to images in [-1, 1], where one learns classes."""
    fixed: Callable[[], dict[str, str]] = dict
    """Loads the networks that losses look through and nobody moves: the SHA-256 of each one's weights, by name."""
