"""Images: bytes as they are stored, numbers in [-1, 1] for networks, sheets of PNG for people.

For example:

    >>> Image().decode({"real": jnp.array([[[[0], [255]]]], jnp.uint8)})["real"].ravel().tolist()
    [-1.0, 1.0]
    >>> Image().write(Shown(np.zeros((64, 28, 28, 1), np.uint8)), Path("sheet.png"))
    >>> images.read_whole(Path("sheet.png"), 1).shape  # eight rows of eight, two pixels apart
    (238, 238, 1)
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image as Picture
from pydantic import SerializerFunctionWrapHandler, field_validator, model_serializer

from jaxgan.data import images
from jaxgan.data.sources import Field
from jaxgan.data.survey import survey
from jaxgan.domains.base import Batch, Domain, Reader, Shown, domain
from jaxgan.errors import InputError, replacing


@domain("image")
class Image(Domain):
    """Square images, uint8 `[R, R, C]`, grey or in colour."""

    ranges: dict[str, tuple[float, float]] = {}
    """The values that became 0 and 255, of each field whose images had more than 8 bits."""
    plural: ClassVar[str] = "images"
    sheets: ClassVar[tuple[str, ...]] = (".png",)
    reads: ClassVar[frozenset[str]] = images.SUFFIXES
    saves: ClassVar[str] = ".png"
    scores: ClassVar[tuple[str, ...]] = (
        *("frechet", "frechet_infinity", "kernel", "inception_score"),
        *("precision", "recall", "density", "coverage", "diversity", "memorisation", "gan_test", "accuracy"),
        *("psnr", "ssim", "l1"),
    )
    features: ClassVar[tuple[str, ...]] = ("fashion-cnn", "efficientnet-lite0", "inception")

    @field_validator("ranges", mode="before")
    @classmethod
    def _pairs(cls, given: Any) -> Any:
        """Ranges are lists in plain data."""
        return {name: tuple(x) for name, x in given.items()} if isinstance(given, Mapping) else given

    @model_serializer(mode="wrap")
    def _plain(self, found: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Plain data says nothing of ranges where there are none."""
        return {key: value for key, value in found(self).items() if key != "ranges" or value}

    def decode(self, batch: Batch) -> Batch:
        """Images uint8 to float32 in [-1, 1]; all else stays as it is."""

        def decoded(x: jax.Array) -> jax.Array:
            return x.astype(jnp.float32) / 127.5 - 1 if x.dtype == jnp.uint8 else x

        return {name: decoded(x) for name, x in batch.items()}

    def encode(self, made: np.ndarray) -> np.ndarray:
        """Images in [-1, 1] to uint8 in [0, 255], rounded; values outside are clipped."""
        return np.clip(np.rint((np.asarray(made, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)

    def facts(self, shape: tuple[int, ...]) -> dict[str, int]:
        """Pixels of a side, and channels."""
        return {"resolution": shape[0], "channels": shape[2]}

    def check(self, field: Field) -> None:
        """Refuses what is no image uint8 `[H, W, 1 or 3]`."""
        if len(field.shape) != 3 or field.shape[2] not in (1, 3) or field.dtype != "uint8":
            raise InputError(
                f"examples are {field.dtype} {list(field.shape)}, and images uint8 [H, W, 1 or 3]; a source of another "
                "kind names its `domain`"
            )

    def auto(self, shape: tuple[int, ...]) -> str:
        """The shipped network for images that are as large as its own, EfficientNet-Lite0 for all others."""
        return "fashion-cnn" if shape == (28, 28, 1) else "efficientnet-lite0"

    def write(self, shown: Shown, out: Path) -> None:
        """Writes a sheet as PNG; see `sheet`."""
        self._save(sheet(shown), out)

    def read(self, file: Path, field: Field) -> np.ndarray:
        """An image file as uint8 `[H, W, C]`, as large as it is."""
        return images.read_whole(file, field.shape[2])

    def reader(self, name: str, field: Field, files: Sequence[Path]) -> Reader:
        """Files of more than 8 bits have the range of the images that a run was trained on, or one of their own.

        Without it, those of whole numbers and those of floating-point ones have one each.
        """
        seen = survey(files, whole=False, span=self.ranges.get(name), apart=True)
        spans = {files[i]: span for i, span in seen.ranges.items()}
        converted = seen.converted("cropped")
        told = [f"of {seen.count} images {converted}"] if converted else []
        return Reader(lambda file: images.read_whole(file, field.shape[2], spans.get(file)), told)

    def save(self, example: np.ndarray, out: Path) -> None:
        """Writes an image uint8 `[H, W, C]` as PNG."""
        self._save(picture(example), out)

    def baseline(self, given: np.ndarray, real: np.ndarray) -> np.ndarray:
        """The image that another one is made from, as large and as coloured as that, by a bicubic filter."""
        return images.enlarged(given, *real.shape)

    def _save(self, image: Picture.Image, out: Path) -> None:
        with replacing(out) as partial:
            image.save(partial, format="PNG")


def picture(pixels: np.ndarray) -> Picture.Image:
    """An image uint8 `[H, W, 1 or 3]` as Pillow has it."""
    return Picture.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)


def grid(pixels: np.ndarray, columns: int | None = None, gap: int = 2) -> Picture.Image:
    """Images uint8 `[N, H, W, C]` side by side on white, in rows of `columns` (by default as square as possible)."""
    n, h, w, c = pixels.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    drawn = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, c), 255, np.uint8)
    for i, image in enumerate(pixels):
        y, x = (i // columns) * (h + gap), (i % columns) * (w + gap)
        drawn[y : y + h, x : x + w] = image
    return picture(drawn)


def sheet(shown: Shown) -> Picture.Image:
    """Samples as a grid: a column for each class; or beside each the images that it was made from, and the real one."""
    made = shown.made
    if shown.real is None:
        return grid(made, shown.columns or shown.classes or None)
    beside = [x for x in shown.given.values() if x.ndim == 4]
    parts = [_fitted(x, made.shape[1:3]) for x in (*beside, made, shown.real)]
    rows = np.stack(parts, 1).reshape(-1, *parts[0].shape[1:])
    columns = shown.columns or max(1, round(math.sqrt(len(made) / len(parts))))
    return grid(rows, columns * len(parts))


def _fitted(pixels: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Images in colour, and enlarged by whole pixels or shrunken to a size."""
    x = np.repeat(pixels, 3, 3) if pixels.shape[3] == 1 else pixels
    if x.shape[1:3] == size:
        return x
    height, width = size
    near = Picture.Resampling.NEAREST
    return np.stack([np.asarray(Picture.fromarray(image).resize((width, height), near)) for image in x])
