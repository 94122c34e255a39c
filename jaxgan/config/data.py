"""Settings of data: where examples come from and how they reach the device."""

from typing import Annotated, Any, Literal

from pydantic import Field

from jaxgan.settings import Count, Model, Whole

Scale = Literal[2, 4]


class Embedded(Model):
    """The images inside the package: 10,000 train and 2,000 test images of Fashion-MNIST, 28x28, grey."""

    source: Literal["embedded"]
    split: Literal["train", "test"] = "train"
    resolution: Count = 28
    channels: Literal[1, 3] = 1
    task: Literal["none", "edges", "unpaired-edges", "captions"] = "none"
    """What each example has besides: its line drawing ("input"); that of another one ("other"); a caption ("text")."""
    text_length: Count = 64
    """Bytes of a caption; longer ones are cut."""
    scale: Scale | None = None
    """Super-resolution: "input" is the image shrunken so many times."""

    def model_post_init(self, context: Any) -> None:
        if self.scale and self.task != "none":
            raise ValueError("has a scale and a task; leave out scale or set task to 'none'")


class ImageFolder(Model):
    """A folder of images, whose subfolders are classes."""

    source: Literal["folder"]
    path: str
    resolution: Count
    channels: Literal[1, 3] = 3
    scale: Scale | None = None
    """Super-resolution: "input" is the image shrunken so many times."""


class Pairs(Model):
    """Images and what they are made from ("input"): in two folders, or side by side in one file each."""

    source: Literal["pairs"]
    path: str
    """Folder of the images, or of the files that hold both."""
    inputs: str | None = None
    """Folder of the inputs, named like their images."""
    layout: Literal["folders", "side-by-side"] = "folders"
    direction: Literal["left-to-right", "right-to-left"] = "left-to-right"
    """Side by side: from which half to which half."""
    resolution: Count
    channels: Literal[1, 3] = 3
    input_resolution: Count | None = None
    """As the images if not given."""
    input_channels: Literal[1, 3] | None = None
    unpaired: bool = False
    """Hides the pairs: "other", the input of another image, in the place of "input"."""

    def model_post_init(self, context: Any) -> None:
        if self.layout == "folders" and self.inputs is None:
            raise ValueError("lacks inputs, the second folder; name it, or set layout to 'side-by-side'")
        if self.layout == "side-by-side" and self.inputs is not None:
            raise ValueError("has inputs, but layout 'side-by-side' has one folder; leave out one of them")


class Unpaired(Model):
    """Images of two domains, in two folders, that do not belong together."""

    source: Literal["unpaired"]
    path: str
    other: str
    """Folder of the other domain."""
    resolution: Count
    channels: Literal[1, 3] = 3


class Captions(Model):
    """A folder of images with a caption each, in a .txt beside it or in metadata.jsonl."""

    source: Literal["captions"]
    path: str
    resolution: Count
    channels: Literal[1, 3] = 3
    text_length: Count = 64
    """Bytes of a caption; longer ones are cut."""


class TFDS(Model):
    """A dataset prepared as ArrayRecord, by `jaxgan prepare` or TFDS: by its folder, or by name (and TFDS's folder)."""

    source: Literal["tfds"]
    name: str | None = None
    directory: str | None = None
    split: str = "train"
    resolution: Count
    channels: Literal[1, 3] = 3
    image: str | None = None
    """The feature that is the image, by default the one named so, or the only one."""
    input: str | None = None
    """The feature that it is made from, by default the one named so."""
    input_resolution: Count | None = None
    """As the images if not given."""
    input_channels: Literal[1, 3] | None = None
    text_length: Count = 64
    """Bytes of a caption; longer ones are cut."""
    unpaired: bool = False
    """Hides the pairs: "other", the input of another image, in the place of "input"."""
    scale: Scale | None = None
    """Super-resolution: "input" is the image shrunken so many times."""

    def model_post_init(self, context: Any) -> None:
        if self.scale and (self.unpaired or self.input):
            raise ValueError("has a scale, which makes the input; leave out scale, or unpaired and input")


class Glyphs(Model):
    """Real digits, prepared as `TFDS` has them, and others drawn with fonts, which do not belong together."""

    source: Literal["glyphs"]
    name: str | None = None
    directory: str | None = None
    split: str = "train"
    resolution: Count = 28
    channels: Literal[1, 3] = 1


Data = Annotated[
    Embedded | ImageFolder | Pairs | Unpaired | Captions | Glyphs | TFDS,
    Field(discriminator="source"),
]
"""Where examples come from."""


class Feed(Model):
    """How examples reach the device. None of it changes their order."""

    resident: bool | None = None
    """Keep all of the data on the device; by default whenever it is smaller than `resident_megabytes`."""
    resident_megabytes: Count = 2048
    workers: Whole = 2
    """Processes that read data which is not resident; 0 reads in threads of the main process."""
