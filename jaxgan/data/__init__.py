"""Data: sources of images, their preparation, the order of examples, and the stream of batches.

Importing this package is quick: TFDS and grain are imported by the functions that need them.
"""

from jaxgan.data.order import indices
from jaxgan.data.prepare import Report, prepare
from jaxgan.data.sources import TFDS, Embedded, Example, Field, ImageFolder, Source
from jaxgan.data.stream import Batch, batches, load

__all__ = [
    "TFDS",
    "Batch",
    "Embedded",
    "Example",
    "Field",
    "ImageFolder",
    "Report",
    "Source",
    "batches",
    "indices",
    "load",
    "prepare",
]
