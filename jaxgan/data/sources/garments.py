"""Captions of garments that are true to the pixel: the embedded images, changed as their captions say.

Each garment is cut out, scaled to `SIZE` of `SIDE` pixels, made dark or light, put at the top or at the bottom and, if
it is a shoe, turned to the left or to the right. `read` tells all of that from pixels alone, real or generated.

For example:

    >>> write("ankle boot", Attributes("dark", "top", "left"))
    'a dark ankle boot at the top, facing left'
    >>> name, wanted = parse("a light coat at the bottom")
    >>> drawn = render(np.full((20, 10), 255, np.uint8), wanted)
    >>> read(drawn[..., None], shoe=False) == wanted
    True
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data import images, text
from jaxgan.data.sources.base import Example, Field, labelled
from jaxgan.data.sources.fashion import Embedded

SIDE, SIZE = 28, 20
INK = 24
"""Brightness, of 255, from which a pixel belongs to a garment."""
PEAKS = {"dark": 112, "light": 255}
"""The brightest pixel of a garment."""
LONGEST = 47
"""Most bytes of a caption."""
SHOES = frozenset({"sandal", "sneaker", "ankle boot"})
"""Classes with a left and a right side that differ."""


class Attributes(NamedTuple):
    """What a caption says, besides the class."""

    brightness: Literal["dark", "light"]
    place: Literal["top", "bottom"]
    facing: Literal["left", "right"] | None
    """Where the toes of shoes point. None for all else."""


class Garments:
    """The embedded images with captions ("text"), such as "a dark ankle boot at the top, facing left".

    Args:
      split, resolution, channels: as of `sources.Embedded`.
      text_length: Length of "text"; captions have up to 47 bytes.
    """

    classes: tuple[str, ...] = tuple(name.lower() for name in Embedded.classes)

    def __init__(
        self,
        split: Literal["train", "test"] = "train",
        resolution: int = SIDE,
        channels: int = 1,
        text_length: int = text.LENGTH,
    ) -> None:
        self._source = Embedded(split)
        images.check_size(resolution, channels)
        self.resolution: int = resolution
        self.channels: int = channels
        self.text_length: int = text_length

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        return {**labelled(self.resolution, self.channels), "text": Field((self.text_length,), "int32")}

    @property
    def labels(self) -> np.ndarray:
        """The labels of all examples, `[N]`."""
        return self._source.labels

    @property
    def fingerprint(self) -> str:
        """SHA-256 over that of the embedded images."""
        return hashlib.sha256(f"Garments {self._source.fingerprint}".encode()).hexdigest()

    @property
    def remarks(self) -> tuple[str, ...]:
        """How many captions are cut."""
        if self.text_length >= LONGEST:
            return ()
        return text.remarks(map(self.caption, range(len(self))), self.text_length)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int, /) -> Example:
        pixels, labels = self._source.arrays()
        wanted = self.attributes(index)
        image = Image.fromarray(render(pixels[index], wanted))
        return {
            "real": images.to_array(image, self.resolution, self.channels),
            "label": np.int32(labels[index]),
            "text": text.encode(self.caption(index), self.text_length),
        }

    def attributes(self, index: int) -> Attributes:
        """What is true of example `index`: independent fair coins, the same in every run."""
        bits = int(np.random.Philox(key=np.array([0, range(len(self))[index]], np.uint64)).random_raw(1)[0])
        shoe = self.classes[self._source.arrays()[1][index]] in SHOES
        facing = ("left", "right")[bits >> 2 & 1] if shoe else None
        return Attributes(("dark", "light")[bits & 1], ("top", "bottom")[bits >> 1 & 1], facing)

    def caption(self, index: int) -> str:
        """The caption of example `index`."""
        return write(self.classes[self._source.arrays()[1][index]], self.attributes(index))


def write(name: str, attributes: Attributes) -> str:
    """The caption of a garment of the class `name`."""
    facing = f", facing {attributes.facing}" if attributes.facing else ""
    return f"a {attributes.brightness} {name} at the {attributes.place}{facing}"


def parse(caption: str) -> tuple[str, Attributes]:
    """The class name and the attributes of a caption that `write` made; ValueError for any other."""
    found = re.fullmatch(r"a (dark|light) (.+) at the (top|bottom)(?:, facing (left|right))?", caption)
    if not found:
        raise ValueError(f"{caption!r} is not a caption of a garment")
    brightness, name, place, facing = found.groups()
    return name, Attributes(brightness, place, facing)  # pyright: ignore[reportArgumentType]


def render(pixels: np.ndarray, wanted: Attributes) -> np.ndarray:
    """A garment uint8 [h, w] as `wanted`, uint8 [SIDE, SIDE]."""
    cut = _cut(pixels)
    scale = SIZE / max(cut.shape)
    size = [max(1, round(n * scale)) for n in reversed(cut.shape)]
    small = np.asarray(Image.fromarray(cut).resize((size[0], size[1]), Image.Resampling.LANCZOS))
    small = np.rint(small * (PEAKS[wanted.brightness] / max(int(small.max()), 1))).astype(np.uint8)
    if wanted.facing and _facing(small) != wanted.facing:
        small = small[:, ::-1]
    height, width = small.shape
    top = 0 if wanted.place == "top" else SIDE - height
    left = (SIDE - width) // 2
    out = np.zeros((SIDE, SIDE), np.uint8)
    out[top : top + height, left : left + width] = small
    return out


def read(image: np.ndarray, shoe: bool) -> Attributes:
    """The attributes of an image uint8 [R, R, C] by its pixels alone.

    Args:
      image: Of any resolution.
      shoe: Whether the garment is one, and so has a direction.
    """
    grey = image.mean(-1)
    threshold = (PEAKS["dark"] + PEAKS["light"]) / 2
    rows = np.flatnonzero((grey >= INK).any(1))
    middle = (rows[0] + rows[-1] + 1) / 2 if len(rows) else 0
    return Attributes(
        "dark" if grey.max() < threshold else "light",
        "top" if middle < len(grey) / 2 else "bottom",
        _facing(grey) if shoe else None,
    )


def _cut(grey: np.ndarray) -> np.ndarray:
    """What the ink of an image [h, w] spans."""
    spans = []
    for axis in (1, 0):
        found = np.flatnonzero((grey >= INK).any(axis))
        spans.append(slice(found[0], found[-1] + 1) if len(found) else slice(None))
    return grey[tuple(spans)]


def _facing(grey: np.ndarray) -> Literal["left", "right"]:
    """Where the toes of a shoe [h, w] point: away from the side on which it is higher."""
    ink = _cut(grey) >= INK
    height, width = ink.shape
    tall = ink.any(0) * (height - ink.argmax(0))  # from the top of the ink to the ground, in each column
    half = width // 2
    return "left" if tall[:half].sum() < tall[width - half :].sum() else "right"
