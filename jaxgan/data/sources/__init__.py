"""Where examples come from: the embedded set, anything TFDS prepared as ArrayRecord, and folders of images."""

from jaxgan.data.sources.base import Example, Field, Source, digest_files, example_bytes, labelled
from jaxgan.data.sources.embedded import Embedded
from jaxgan.data.sources.folder import ImageFolder, scan
from jaxgan.data.sources.folders import Captions, Pairs, Unpaired
from jaxgan.data.sources.garments import Garments
from jaxgan.data.sources.glyphs import Glyphs
from jaxgan.data.sources.tfds import EMBEDDED_BY, TFDS, as_they_are

__all__ = [
    "EMBEDDED_BY",
    "TFDS",
    "Captions",
    "Embedded",
    "Example",
    "Field",
    "Garments",
    "Glyphs",
    "ImageFolder",
    "Pairs",
    "Source",
    "Unpaired",
    "as_they_are",
    "digest_files",
    "example_bytes",
    "labelled",
    "scan",
]
