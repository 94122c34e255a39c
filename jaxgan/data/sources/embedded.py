"""The part of Fashion-MNIST that is shipped with jaxgan.

For example:

    >>> len(Embedded("train")), len(Embedded("test"))
    (10000, 2000)
    >>> source = EmbeddedData(split="test", scale=2).open()
    >>> [(name, field.shape) for name, field in source.fields.items()]
    [('real', (28, 28, 1)), ('label', ()), ('input', (14, 14, 1))]
    >>> source.classes[8:]
    ('Bag', 'Ankle boot')
"""

import functools
import hashlib
import lzma
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from jaxgan.data import images
from jaxgan.data.sources.base import Example, Field, ImageData, Scale, Source, labelled, source
from jaxgan.data.sources.derived import Degraded, Edges, HiddenPairs
from jaxgan.errors import InputError
from jaxgan.settings import Count


class Embedded:
    """The part of Fashion-MNIST shipped with jaxgan: 10,000 train (1,000 a class) or 2,000 test images.

    The originals are 28x28 grey. At 28 and one channel the pixels are the originals'.

    Args:
      split: "train" or "test".
      resolution, channels: what `source[i]["real"]` is resized and converted to.

    Raises:
      InputError: for another split, or a bad resolution or channels.
    """

    classes: tuple[str, ...] = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )

    def __init__(
        self, split: Literal["train", "test"] = "train", resolution: int = 28, channels: int = 1
    ) -> None:
        images.check_size(resolution, channels)
        if split not in ("train", "test"):
            raise InputError(f"the embedded data set has no split {split!r}: take 'train' or 'test'")
        self.split = split
        self.resolution = resolution
        self.channels = channels

    @property
    def fields(self) -> dict[str, Field]:
        """The fields of each example, by name."""
        return labelled(self.resolution, self.channels)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over the split's pixels and labels."""
        digest = hashlib.sha256(self.split.encode())
        for array in _embedded()[self.split]:
            digest.update(array.tobytes())
        return digest.hexdigest()

    def __len__(self) -> int:
        return len(_embedded()[self.split][1])

    def __getitem__(self, index: int, /) -> Example:
        pixels, labels = _embedded()[self.split]
        image = pixels[index]
        if (self.resolution, self.channels) == (28, 1):
            image = image[..., None].copy()
        else:
            image = images.to_array(Image.fromarray(image), self.resolution, self.channels)
        return {"real": image, "label": np.int32(labels[index])}

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The originals, read-only, whatever `resolution`: pixels uint8 [n, 28, 28], labels uint8 [n]."""
        return _embedded()[self.split]


@source("embedded")
class EmbeddedData(ImageData):
    """The images inside the package: 10,000 train and 2,000 test images of Fashion-MNIST, 28x28, grey."""

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

    def open(self) -> Source:
        """The images, and what the task adds to them."""
        if self.task == "captions":
            from jaxgan.data.sources.garments import Garments  # which changes these images

            return Garments(self.split, *self.size, self.text_length)
        found = Embedded(self.split, *self.size)
        if self.task != "none":
            return HiddenPairs(Edges(found)) if self.task == "unpaired-edges" else Edges(found)
        return Degraded(found, self.scale) if self.scale else found


@functools.cache
def _embedded() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both splits as (pixels uint8 [n, 28, 28], labels uint8 [n]), read-only; unpacked once a process."""
    with lzma.open(Path(__file__).parents[1] / "fashion_mnist" / "data.npy.xz") as file:
        arrays = [np.load(file, allow_pickle=False) for _ in range(4)]
    for array in arrays:
        array.flags.writeable = False
    return {"train": (arrays[0], arrays[1]), "test": (arrays[2], arrays[3])}
