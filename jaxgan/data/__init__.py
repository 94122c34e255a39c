"""Data: sources of images, their preparation, the order of examples, and the stream of batches.

Importing this package is quick: TFDS and grain are imported by the functions that need them.
"""

from jaxgan.data.building import Report
from jaxgan.data.derived import Degraded, Edges, HiddenPairs
from jaxgan.data.folders import Captions, Pairs, Unpaired
from jaxgan.data.garments import Garments
from jaxgan.data.order import indices
from jaxgan.data.prepare import prepare
from jaxgan.data.sources import TFDS, Embedded, Example, Field, ImageFolder, Source
from jaxgan.data.stream import Batch, batches, load

__all__ = [
    "TFDS",
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
    "Pairs",
    "Report",
    "Source",
    "Unpaired",
    "batches",
    "indices",
    "load",
    "prepare",
]
