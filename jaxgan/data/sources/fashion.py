"""The part of Fashion-MNIST that is shipped with jaxgan.

For example:

    >>> len(Embedded("train")), len(Embedded("test"))
    (10000, 2000)
    >>> [(name, array.shape, array.dtype) for name, array in Embedded()[0].items()]
    [('real', (28, 28, 1), dtype('uint8')), ('label', (), dtype('int32'))]
    >>> Embedded.classes[8:]
    ('Bag', 'Ankle boot')
"""

import functools
import hashlib
import io
import lzma
from typing import Literal

import numpy as np
from PIL import Image

from jaxgan import shipped
from jaxgan.data import images
from jaxgan.data.sources.base import Example, Field, labelled
from jaxgan.errors import InputError


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

    @property
    def labels(self) -> np.ndarray:
        """The labels of all examples, `[N]`."""
        return _embedded()[self.split][1]

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


@functools.cache
def _embedded() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Both splits as (pixels uint8 [n, 28, 28], labels uint8 [n]), read-only; unpacked once a process."""
    with lzma.open(io.BytesIO(shipped.read("data/fashion_mnist/data.npy.xz"))) as file:
        arrays = [np.load(file, allow_pickle=False) for _ in range(4)]
    for array in arrays:
        array.flags.writeable = False
    return {"train": (arrays[0], arrays[1]), "test": (arrays[2], arrays[3])}
