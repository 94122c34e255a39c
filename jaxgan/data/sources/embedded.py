"""Settings of the embedded images, plain or with what a task adds to them.

For example:

    >>> EmbeddedData(split="test", task="edges").open().fields["input"]
    Field(shape=(28, 28, 1), dtype='uint8')
    >>> EmbeddedData(split="test", scale=2).open().fields["input"]
    Field(shape=(14, 14, 1), dtype='uint8')
    >>> EmbeddedData(task="captions", text_length=48).open().fields["text"]
    Field(shape=(48,), dtype='int32')
"""

from typing import Any, Literal

from jaxgan.data import text
from jaxgan.data.sources.base import ImageData, Scale, Source, source
from jaxgan.data.sources.derived import Degraded, Edges, HiddenPairs
from jaxgan.data.sources.fashion import Embedded
from jaxgan.data.sources.garments import Garments
from jaxgan.settings import Numbers, Pixels


@source("embedded")
class EmbeddedData(ImageData):
    """The images inside the package: 10,000 train and 2,000 test images of Fashion-MNIST, 28x28, grey."""

    split: Literal["train", "test"] = "train"
    resolution: Pixels = 28
    channels: Literal[1, 3] = 1
    task: Literal["none", "edges", "unpaired-edges", "captions"] = "none"
    """What each example has besides: its line drawing ("input"); that of another one ("other"); a caption ("text")."""
    text_length: Numbers = text.LENGTH
    """Bytes of a caption; longer ones are cut."""
    scale: Scale | None = None
    """Super-resolution: "input" is the image shrunken so many times."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse a scale beside a task."""
        if self.scale and self.task != "none":
            raise ValueError("has a scale and a task; leave out scale or set task to 'none'")

    def open(self) -> Source:
        """The images, and what the task adds to them."""
        if self.task == "captions":
            return Garments(self.split, *self.size, self.text_length)
        found = Embedded(self.split, *self.size)
        if self.task != "none":
            return HiddenPairs(Edges(found)) if self.task == "unpaired-edges" else Edges(found)
        return Degraded(found, self.scale) if self.scale else found
