"""Settings of data: where examples come from and how they reach the device."""

from typing import Literal

from jaxgan.config.base import Count, Model, Whole


class Embedded(Model):
    """The images inside the package: 10,000 train and 2,000 test images of Fashion-MNIST, 28x28, grey."""

    source: Literal["embedded"]
    split: Literal["train", "test"] = "train"
    resolution: Count = 28
    channels: Literal[1, 3] = 1


class ImageFolder(Model):
    """A folder of images, whose subfolders are classes."""

    source: Literal["folder"]
    path: str
    resolution: Count
    channels: Literal[1, 3] = 3


class TFDS(Model):
    """A dataset prepared as ArrayRecord, by `jaxgan prepare` or TFDS: by its folder, or by name (and TFDS's folder)."""

    source: Literal["tfds"]
    name: str | None = None
    directory: str | None = None
    split: str = "train"
    resolution: Count
    channels: Literal[1, 3] = 3


class Feed(Model):
    """How examples reach the device. None of it changes their order."""

    resident: bool | None = None
    """Keep all of the data on the device; by default whenever it is smaller than `resident_megabytes`."""
    resident_megabytes: Count = 2048
    workers: Whole = 2
    """Processes that read data which is not resident; 0 reads in threads of the main process."""
