"""Data: sources of images, their preparation, the order of examples, and the stream of batches.

Importing this package is quick: TFDS and grain are imported by the functions that need them.
"""

from jaxgan.data.order import indices
from jaxgan.data.preparing.building import Report
from jaxgan.data.preparing.prepare import prepare
from jaxgan.data.sources import (
    TFDS,
    Captions,
    Embedded,
    Example,
    Field,
    Garments,
    ImageFolder,
    Pairs,
    Source,
    Unpaired,
)
from jaxgan.data.sources.derived import Degraded, Edges, HiddenPairs
from jaxgan.data.sources.given import Arrays, Indexed, given
from jaxgan.data.stream import Batch, batches, load

__all__ = [
    "TFDS",
    "Arrays",
    "Batch",
    "Captions",
    "Degraded",
    "Edges",
    "Embedded",
    "Example",
    "Field",
    "Garments",
    "HiddenPairs",
    "ImageFolder",
    "Indexed",
    "Pairs",
    "Report",
    "Source",
    "Unpaired",
    "batches",
    "given",
    "indices",
    "load",
    "prepare",
]
