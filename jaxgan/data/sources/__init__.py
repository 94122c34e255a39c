"""Where examples come from: the embedded set, anything TFDS prepared as ArrayRecord, and folders of images.

A source that settings can name is registered by its own file, see `jaxgan.data.sources.base`; every file of this folder
is imported.
"""

import importlib
import pkgutil

from jaxgan.data.sources.base import (
    DATA,
    Data,
    Example,
    Field,
    ImageData,
    Side,
    Source,
    digest_files,
    domain_of,
    example_bytes,
    labelled,
    remarks_of,
    sides_of,
    source,
    source_bytes,
)
from jaxgan.data.sources.captions import Captions, CaptionsData
from jaxgan.data.sources.embedded import EmbeddedData
from jaxgan.data.sources.fashion import Embedded
from jaxgan.data.sources.folder import FolderData, ImageFolder, Scan, scan
from jaxgan.data.sources.folders import Pairs, PairsData, Unpaired, UnpairedData
from jaxgan.data.sources.garments import Garments
from jaxgan.data.sources.glyphs import Glyphs, GlyphsData
from jaxgan.data.sources.tfds import CONVERTED_BY, EMBEDDED_BY, TFDS, TFDSData, as_they_are

__all__ = [
    "CONVERTED_BY",
    "DATA",
    "EMBEDDED_BY",
    "TFDS",
    "Captions",
    "CaptionsData",
    "Data",
    "Embedded",
    "EmbeddedData",
    "Example",
    "Field",
    "FolderData",
    "Garments",
    "Glyphs",
    "GlyphsData",
    "ImageData",
    "ImageFolder",
    "Pairs",
    "PairsData",
    "Scan",
    "Side",
    "Source",
    "TFDSData",
    "Unpaired",
    "UnpairedData",
    "as_they_are",
    "digest_files",
    "domain_of",
    "example_bytes",
    "labelled",
    "remarks_of",
    "scan",
    "sides_of",
    "source",
    "source_bytes",
]

for _file in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_file.name}")
