"""Digits drawn with fonts: synthetic images whose labels are known, beside real ones of a data set.

For example:

    >>> from jaxgan.data.sources import Embedded
    >>> source = Glyphs(Embedded("test"))
    >>> [(name, array.shape) for name, array in source[0].items()]
    [('real', (28, 28, 1)), ('label', ()), ('other', (28, 28, 1)), ('other_label', ())]
    >>> image, digit = glyph(28, seed=(1, 2))
    >>> image.shape, int(digit) in range(DIGITS)
    ((28, 28), True)
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from jaxgan.data.sources.base import Example, Field, ImageData, Side, Source, source
from jaxgan.data.sources.derived import Derived
from jaxgan.data.sources.tfds import TFDS
from jaxgan.settings import Pixels, Place

FONTS = ("DejaVuSans", "DejaVuSans-Oblique", "DejaVuSerif", "DejaVuSerif-Italic", "DejaVuSansMono")
"""Some of the fonts that come with matplotlib."""
DIGITS = 10
FINER = 4
"""Pixels that are drawn for each pixel of the image, in each direction."""


class Glyphs(Derived):
    """Adds drawn digits, "other", and the digit, "other_label" int32, to each example of a source of real images.

    The two do not belong together, and in training each come in an order of their own. There are as many drawn digits
    as real ones. A digit is white on black, in a random font, size, thickness, place and rotation, all of which depend
    on its number and the split alone.

    Args:
      source: Of real images; square, grey or in colour.
      split: Digits of another split are other ones.
    """

    def __init__(self, source: Source, split: str = "train") -> None:
        super().__init__(source)
        self.split = split

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        drawn = {"other": self.source.fields["real"], "other_label": Field((), "int32")}
        return {**self.source.fields, **drawn}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the source's, the split, the fonts and the version of what draws them."""
        digest = hashlib.sha256(f"{self.source.fingerprint} {self.split}".encode())
        digest.update(str(features.version("freetype2")).encode())
        for name in FONTS:
            digest.update(_file(name).read_bytes())
        return digest.hexdigest()

    def __getitem__(self, index: int, /) -> Example:
        return {**self.source[index], **self._drawn(index)}

    @property
    def sides(self) -> tuple[Side, ...]:
        """Those of the real images, and the drawn digits."""
        drawn = {name: self.fields[name] for name in ("other", "other_label")}
        return *super().sides, Side(drawn, len(self), self._drawn)

    def _drawn(self, index: int) -> Example:
        resolution, _, channels = self.fields["real"].shape
        image, digit = glyph(resolution, (*self.split.encode(), int(index) % len(self)))
        return {"other": np.repeat(image[..., None], channels, -1), "other_label": digit}


def glyph(resolution: int, seed: tuple[int, ...]) -> tuple[np.ndarray, np.int32]:
    """A drawn digit, uint8 `[R, R]`, and which one it is.

    Args:
      resolution: R.
      seed: What all that is random about it depends on.
    """
    rng = np.random.default_rng(seed)
    digit, name = int(rng.integers(DIGITS)), FONTS[rng.integers(len(FONTS))]
    side = FINER * resolution
    font = _font(name, round(side * rng.uniform(0.7, 1.0)))
    stroke = round(side * rng.uniform(0.0, 0.025))
    middle = tuple(side * (0.5 + rng.uniform(-0.08, 0.08)) for _ in range(2))
    canvas = Image.new("L", (side, side))
    draw = ImageDraw.Draw(canvas)
    left, top, right, bottom = draw.textbbox((0, 0), str(digit), font=font, stroke_width=stroke)
    at = (middle[0] - (left + right) / 2, middle[1] - (top + bottom) / 2)
    draw.text(at, str(digit), fill=255, font=font, stroke_width=stroke)
    canvas = canvas.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR)
    return np.asarray(canvas.reduce(FINER)), np.int32(digit)


def _file(name: str) -> Path:
    import matplotlib

    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_file(name), size, layout_engine=ImageFont.Layout.BASIC)


@source("glyphs")
class GlyphsData(ImageData):
    """Real digits, prepared as `TFDS` has them, and others drawn with fonts, which do not belong together."""

    name: str | None = None
    directory: Place | None = None
    split: str = "train"
    resolution: Pixels = 28
    channels: Literal[1, 3] = 1

    def open(self) -> Source:
        """The digits of both kinds."""
        return Glyphs(TFDS(self.name, self.directory, self.split, *self.size), self.split)
