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
from jaxgan.data.sources.base import Example, Field, Side, Source, domain_of, remarks_of, sides_of
from jaxgan.errors import InputError

EDGE = 0.25
"""Difference of two neighbouring pixels, as a share of the image's range, above which `edges` draws a line."""
SCALES = (2, 4)
"""How many times `Degraded` can shrink."""


class Derived:
    """A source over another one, alike in all that is not overridden; `changed` says what it makes of an example."""

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
    def labels(self) -> np.ndarray | None:
        """The labels of all examples, `[N]`; None where only reading them would tell."""
        return getattr(self.source, "labels", None)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the source's and what is made of it."""
        return hashlib.sha256(f"{type(self).__name__} {self.source.fingerprint}".encode()).hexdigest()

    @property
    def remarks(self) -> tuple[str, ...]:
        """Those of the source."""
        return remarks_of(self.source)

    @property
    def sides(self) -> tuple[Side, ...]:
        """Those of the source, the first of them changed."""
        first, *others = sides_of(self.source)
        kept = {name for side in others for name in side.fields}
        own = {name: field for name, field in self.fields.items() if name not in kept}
        return first._replace(fields=own, read=self._first if others else self.__getitem__), *others

    def changed(self, example: Example, index: int) -> Example:
        """What is made of the source's example of a number, or of its first side."""
        del index
        return example

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int, /) -> Example:
        return self.changed(self.source[index], index)

    def _first(self, index: int) -> Example:
        return self.changed(sides_of(self.source)[0].read(index), index)


class FirstSide(Derived):
    """The first side of a source alone, which holds what games learn to make: each of its items once.

    A source of one side is shown as it is.
    """

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._side = sides_of(source)[0]

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        return self._side.fields

    @property
    def fingerprint(self) -> str:
        """The source's."""
        return self.source.fingerprint

    @property
    def sides(self) -> tuple[Side, ...]:
        """The one."""
        return (self._side,)

    def __len__(self) -> int:
        return self._side.length

    def __getitem__(self, index: int, /) -> Example:
        return self._side.read(index)


class Edges(Derived):
    """Adds "input", the line drawing of each "real" (`edges`)."""

    @property
    def fields(self) -> Mapping[str, Field]:
        """The fields of each example, by name."""
        return {**self.source.fields, "input": self.source.fields["real"]}

    def changed(self, example: Example, index: int) -> Example:
        """The example with its drawing."""
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
    once, and none beside its own image. In training the circle is another one in each epoch; that of `source[i]` is
    always the same, and its pairs remain known to `truth`, so that a translation can be scored.

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
    def domain(self) -> Mapping[str, Any]:
        """The domain of the examples, in which "other" is what "input" was."""
        said = domain_of(self.source)
        if not isinstance(ranges := said.get("ranges"), Mapping):
            return said
        renamed = {"other" if name == "input" else name: span for name, span in ranges.items()}
        return {**said, "ranges": renamed}

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of each example, by name."""
        return {"other" if name == "input" else name: field for name, field in self.source.fields.items()}

    @property
    def sides(self) -> tuple[Side, Side]:
        """What each example has but for its input, and the inputs."""
        own, other = self.fields, {"other": self.fields["other"]}
        del own["other"]
        return (
            Side(own, len(self), self._without_input),
            Side(other, len(self), self._other, apart=True),
        )

    def __getitem__(self, index: int, /) -> Example:
        return {**self._without_input(index), **self._other(self.partner(index))}

    def _without_input(self, index: int) -> Example:
        return {name: value for name, value in self.source[index].items() if name != "input"}

    def _other(self, index: int) -> Example:
        return {"other": self.source[index]["input"]}

    def partner(self, index: int) -> int:
        """The example whose input is the "other" of example `index`."""
        return int(order.neighbours(0, len(self), 0)[index])

    def truth(self, index: int) -> Example:
        """The pair that the "other" of example `index` belongs to: that as "input", and its true "real"."""
        return self.source[self.partner(index)]


class Apart(Derived):
    """A source whose "other" is in training of another order than the rest, so that it meets others in each epoch.

    For data that came with an "other" in each example, which does not belong there. A source of several sides is left
    as it is.
    """

    @property
    def fingerprint(self) -> str:
        """The source's: the data are the same."""
        return self.source.fingerprint

    @property
    def sides(self) -> tuple[Side, ...]:
        """The other fields, and those of which the names begin with "other"."""
        sides = sides_of(self.source)
        others = [name for name in self.fields if name.startswith("other")]
        if len(sides) > 1 or not others:
            return sides
        own = {name: field for name, field in self.fields.items() if name not in others}
        away = {name: self.fields[name] for name in others}
        return Side(own, len(self), self._own), Side(away, len(self), self._away)

    def _own(self, index: int) -> Example:
        return {name: x for name, x in self.source[index].items() if not name.startswith("other")}

    def _away(self, index: int) -> Example:
        return {name: x for name, x in self.source[index].items() if name.startswith("other")}


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

    def changed(self, example: Example, index: int) -> Example:
        """The example with its image shrunken."""
        image = example["real"]
        picture = Image.fromarray(image[..., 0] if self.channels == 1 else image)
        return {**example, "input": images.to_array(picture, self.side, self.channels)}
