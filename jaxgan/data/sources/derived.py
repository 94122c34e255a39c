"""Sources made of other sources: line drawings, hidden pairs, and shrunken images for super-resolution.

For example:

    >>> edges(np.array([[[0], [0], [255]]] * 3, np.uint8))[0].ravel().tolist()  # a line beside the white
    [255, 0, 255]
    >>> from jaxgan.data.sources import Embedded
    >>> Degraded(Embedded("test"), scale=4)[0]["input"].shape
    (7, 7, 1)
    >>> hidden = HiddenPairs(Edges(Embedded("test")))
    >>> np.array_equal(hidden[0]["other"], hidden.truth(0)["input"]), hidden.partner(0) == 0
    (True, False)
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from jaxgan.data import images, order
from jaxgan.data.sources.base import Example, Field, Source, domain_of
from jaxgan.errors import InputError

EDGE = 0.25
"""Difference of two neighbouring pixels, as a share of the image's range, above which `edges` draws a line."""
SCALES = (2, 4)
"""How many times `Degraded` can shrink."""


class Derived:
    """A source over another one, alike in all that is not overridden."""

    def __init__(self, source: Source) -> None:
        self.source = source

    @property
    def domain(self) -> Mapping[str, Any]:
        """The domain of the examples, see `jaxgan.domains`."""
        return domain_of(self.source)

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        return self.source.fields

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels."""
        return self.source.classes

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the source's and what is made of it."""
        return hashlib.sha256(f"{type(self).__name__} {self.source.fingerprint}".encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.source)


class Edges(Derived):
    """Adds "input", the line drawing of each "real" (`edges`)."""

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        return {**self.source.fields, "input": self.source.fields["real"]}

    def __getitem__(self, index: int, /) -> Example:
        example = self.source[index]
        return {**example, "input": edges(example["real"])}


def edges(image: np.ndarray) -> np.ndarray:
    """Black lines on white, uint8 [R, R, C], where the brightness of an image uint8 [R, R, C] changes.

    A line is drawn at a pixel that differs by more than `EDGE` from the one to its right or below, R / 28 pixels on and
    at least one: the drawing of an image that was enlarged is the enlarged drawing, about.
    """
    grey = image.astype(np.int32).mean(-1)
    least = EDGE * np.ptp(grey)
    step = max(1, round(len(image) / 28))
    lines = np.zeros(grey.shape, bool)
    lines[:, :-step] |= np.abs(grey[:, step:] - grey[:, :-step]) > least
    lines[:-step] |= np.abs(grey[step:] - grey[:-step]) > least
    return np.repeat(np.where(lines, 0, 255).astype(np.uint8)[..., None], image.shape[-1], -1)


class HiddenPairs(Derived):
    """A paired source without its pairs: "other", the "input" of another example, in the place of "input".

    All examples stand on one circle, shuffled, and each has the input of the next: over an epoch every input is seen
    once, and none beside its own image. The pairs remain known to `truth`, so that a translation can be scored.

    Raises:
      InputError: where the source has no "input", or a single example.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        if "input" not in source.fields:
            raise InputError('the data has no "input" whose pairing could be hidden; leave out data.unpaired')
        if len(source) < 2:
            raise InputError("the data is a single pair, which cannot be hidden; leave out data.unpaired")

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        return {"other" if name == "input" else name: field for name, field in self.source.fields.items()}

    def __getitem__(self, index: int, /) -> Example:
        example = self.source[index]
        kept = {name: value for name, value in example.items() if name != "input"}
        return {**kept, "other": self.truth(index)["input"]}

    def partner(self, index: int) -> int:
        """The example whose input is the "other" of example `index`."""
        length = len(self)
        circle = order.permutation(0, length, 0)
        return int(circle[(order.inverse(0, length, 0)[index] + 1) % length])

    def truth(self, index: int) -> Example:
        """The pair that the "other" of example `index` belongs to: that as "input", and its true "real"."""
        return self.source[self.partner(index)]


class Degraded(Derived):
    """For super-resolution: "input" is each "real" shrunken `scale` times, antialiased (Lanczos, as `images` does it).

    It takes the place of any other "input".

    Raises:
      InputError: for another scale than 2 or 4, or a resolution that it does not divide.
    """

    def __init__(self, source: Source, scale: int) -> None:
        super().__init__(source)
        if scale not in SCALES:
            raise InputError(f"data.scale is {scale}; images can be shrunken 2 or 4 times")
        self.channels: int
        resolution, _, self.channels = source.fields["real"].shape
        if resolution % scale:
            raise InputError(
                f"data.scale is {scale}, which does not divide data.resolution {resolution}; change one of them"
            )
        self.side: int = resolution // scale
        self.scale = scale

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        return {**self.source.fields, "input": Field((self.side, self.side, self.channels), "uint8")}

    def __getitem__(self, index: int, /) -> Example:
        example = self.source[index]
        image = example["real"]
        picture = Image.fromarray(image[..., 0] if self.channels == 1 else image)
        return {**example, "input": images.to_array(picture, self.side, self.channels)}
