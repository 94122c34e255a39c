"""Any picture to one square array of bytes: the only place where images are decoded, cropped and resized.

Bytes are the values 0..255 of 8-bit pictures. What deeper pictures hold becomes bytes by one range for all pictures
of a set (`jaxgan.data.survey`), never by what one picture holds.

For example:

    >>> Image.new("RGBA", (6, 4)).save("clear.png")  # transparent, so it is white on white
    >>> read("clear.png", resolution=2, channels=1).tolist()
    [[[255], [255]], [[255], [255]]]
    >>> read("coat.png", resolution=2, channels=1)
    Traceback (most recent call last):
    jaxgan.errors.InputError: coat.png: no such file; replace or remove the file
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps

from jaxgan.data import files, profiles
from jaxgan.errors import InputError
from jaxgan.settings import MOST_PIXELS

Range = tuple[float, float]
"""The values of deep pictures that become 0 and 255."""

SUFFIXES = frozenset(
    {
        *(".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".avif", ".gif", ".tif", ".tiff"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
    }
)
"""File name endings (lower case) that are taken for images."""
GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
"""Modes of Pillow whose pictures are grey."""
FULL: dict[str, Range] = {"whole": (0.0, 65535.0), "float": (0.0, 1.0)}
"""The ranges of deep pictures of which no set is known: of whole numbers and of floating-point ones."""
UNUSED_KEY = "transparency of 16 bits"
"""Where the `info` of pictures has a transparent colour that is not used, see `leave_key`."""

_ADVICE = "; replace or remove the file"


def is_grey(image: Image.Image) -> bool:
    """Whether an image that was opened is grey; tells it by the header."""
    return image.mode in GREY_MODES or raw_mode(image).startswith("LA;")  # which Pillow opens as RGBA


def raw_mode(image: Image.Image) -> str:
    """How a file that was opened holds its pixels, as Pillow calls it; nothing where that is not known."""
    tiles = getattr(image, "tile", None)
    found: Any = tiles[0].args if tiles else ""
    found = found[0] if isinstance(found, tuple) and found else found
    return found if isinstance(found, str) else ""


def depth(mode: str) -> Literal["whole", "float"] | None:
    """Whether pictures of a mode hold "whole" numbers of more than 8 bits or "float" ones; None for 8 bits."""
    if mode == "F":
        return "float"
    return "whole" if mode == "I" or mode.startswith("I;16") else None


def check_size(resolution: int, channels: int) -> None:
    """Raises InputError unless `resolution` is from 1 to `MOST_PIXELS` and `channels` is 1 or 3."""
    if isinstance(resolution, bool) or not isinstance(resolution, int) or not 1 <= resolution <= MOST_PIXELS:
        raise InputError(
            f"resolution is {resolution!r}: it must be a whole number of pixels, from 1 to {MOST_PIXELS}"
        )
    if channels not in (1, 3):
        raise InputError(f"channels is {channels!r}: it must be 1 (grey) or 3 (RGB)")


def to_array(image: Image.Image, resolution: int, channels: int, span: Range | None = None) -> np.ndarray:
    """A decoded or lazily opened image as uint8 [resolution, resolution, channels], values 0..255.

    In this order: EXIF orientation; 8 bits a channel (greys of more bits by their range, see `to_8_bits`); colours to
    sRGB, where there is a profile of others; transparency composited on white; grey (ITU-R 601 luma) or RGB; the
    largest centred square; an antialiased resize when the square has another size. Animated images give their first
    frame.

    The filter is Lanczos, scaled to the size ratio when shrinking: every source pixel counts, no aliasing, and sharper
    than a box; face and scene data sets for GANs are commonly prepared so.

    Args:
      image: The image.
      resolution: Pixels of a side.
      channels: 1 or 3.
      span: Of greys of more than 8 bits: the values that become 0 and 255, those outside are clipped; by default
        `FULL`, outside of which there must be none.

    Raises:
      InputError: for a bad `resolution` or `channels`, a mode that Pillow cannot convert, or values that are
        not finite or outside of `FULL`.
      OSError, SyntaxError and others of Pillow: for pixels that do not decode (see `read`).
    """
    check_size(resolution, channels)
    image = converted(image, channels, span)
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    # Not resize(box=...): its filter reaches across the edges of the box.
    image = image.crop((left, top, left + side, top + side))
    if side != resolution:
        image = image.resize((resolution, resolution), Image.Resampling.LANCZOS)
    return np.array(image, dtype=np.uint8).reshape(resolution, resolution, channels)


def converted(image: Image.Image, channels: int, span: Range | None = None) -> Image.Image:
    """The first steps of `to_array`, up to the right mode; raises what that raises."""
    image = ImageOps.exif_transpose(image)
    image = profiles.to_srgb(to_8_bits(image, span))
    mode = "L" if channels == 1 else "RGB"
    try:
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image.convert("RGBA"))
        if image.mode != mode:
            image = image.convert(mode)
    except ValueError as error:
        raise InputError(f"an image of mode {image.mode} has no conversion to {mode}") from error
    return image


def read_whole(path: str | os.PathLike[str], channels: int, span: Range | None = None) -> np.ndarray:
    """The image file at `path` as uint8 [H, W, channels], of its own size; else as `read`.

    Raises:
      InputError: As `read`.
    """
    check_size(1, channels)
    with opened(path) as image:
        image.load()
        image = converted(image, channels, span)
        return np.array(image, dtype=np.uint8).reshape(image.height, image.width, channels)


def enlarged(image: np.ndarray, height: int, width: int, channels: int) -> np.ndarray:
    """An image uint8 [h, w, 1 or 3] as uint8 [height, width, channels], by Pillow's bicubic filter."""
    picture = converted(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image), channels)
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BICUBIC)
    return np.array(picture, dtype=np.uint8).reshape(height, width, channels)


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    """An image file, opened lazily; it is named in whatever goes wrong while it is decoded.

    Raises:
      InputError: As `read`.
    """
    try:
        if kind := files.irregular(path):
            raise InputError(f"cannot be read as an image: it is {kind}")
        with Image.open(path) as image:
            leave_key(image)
            yield image
    except MemoryError:
        raise
    except InputError as error:
        raise InputError(f"{path}: {why(error, path)}{_ADVICE}") from error
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise InputError(f"{path}: {reason(error, path)}{_ADVICE}") from error


def read(
    path: str | os.PathLike[str], resolution: int, channels: int, span: Range | None = None
) -> np.ndarray:
    """The image file at `path` as uint8 [resolution, resolution, channels], decoded in full (see `to_array`).

    Raises:
      InputError: naming the file, where it is missing, is no image, is truncated or otherwise does not decode; and for
        a bad `resolution` or `channels`.
    """
    check_size(resolution, channels)
    with opened(path) as image:
        image.load()
        return to_array(image, resolution, channels, span)


def read_pair(
    first: str | os.PathLike[str],
    second: str | os.PathLike[str] | None,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    spans: tuple[Range | None, Range | None] = (None, None),
) -> tuple[np.ndarray, np.ndarray]:
    """Two pictures of one size as uint8 [resolution, resolution, channels] each, decoded in full (see `to_array`).

    Args:
      first: a file.
      second: another one; None where both are the left and the right half of the first.
      sizes: resolution and channels of both.
      spans: of both, see `to_array`.

    Raises:
      InputError: as `read`; for two files that do not have one size, or where the resolutions differ, one shape; and
        for a picture that has no two halves.
    """
    for size in sizes:
        check_size(*size)
    if second is None:
        whole = _decoded(first)
        width, height = whole.size
        if width % 2:
            raise InputError(
                f"{first}: is {width}x{height} pixels, which has no two halves; mend or remove it"
            )
        both = whole.crop((0, 0, width // 2, height)), whole.crop((width // 2, 0, width, height))
    else:
        both = _decoded(first), _decoded(second)
        (width, height), (other_width, other_height) = both[0].size, both[1].size
        alike = both[0].size == both[1].size
        if sizes[0][0] != sizes[1][0]:
            alike = width * other_height == height * other_width
        if not alike:
            raise InputError(
                f"{second}: is {other_width}x{other_height} pixels, but its partner {first} {width}x{height}; "
                "make both alike"
            )
    made = []
    for image, size, span, path in zip(both, sizes, spans, (first, second or first), strict=True):
        try:
            made.append(to_array(image, *size, span))
        except InputError as error:
            raise InputError(f"{path}: {error}; replace or remove the file") from error
    return made[0], made[1]


def _decoded(path: str | os.PathLike[str]) -> Image.Image:
    """The upright picture of a file; InputError as `read`."""
    with opened(path) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def leave_key(image: Image.Image) -> None:
    """Has the one transparent colour of a picture of 16 bits a channel, just opened, mean nothing.

    Pillow compares 8 of its bits with the pixels', so that other colours become transparent. `UNUSED_KEY` in the
    picture's `info` tells of it.
    """
    if "transparency" in image.info and (depth(image.mode) or ";16" in raw_mode(image)):
        image.info[UNUSED_KEY] = image.info.pop("transparency")


def why(error: InputError, path: str | os.PathLike[str]) -> str:
    """What an error of `read` says, but for the name of the file and the advice."""
    return str(error).removeprefix(f"{path}: ").removesuffix(_ADVICE)


def reason(error: Exception, path: str | os.PathLike[str]) -> str:
    """Why an image file could not be read, in a few words on one line."""
    if isinstance(error, FileNotFoundError):
        return "no such file"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image that Pillow can read" if Path(path).stat().st_size else "the file is empty"
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return "cannot be read as an image: " + " ".join(str(error).split() or [type(error).__name__])


def to_8_bits(image: Image.Image, span: Range | None = None) -> Image.Image:
    """Greys of more than 8 bits, as "L"; other modes unchanged.

    Args:
      image: The image.
      span: The values that become 0 and 255, those outside are clipped; by default those of `FULL`.

    Raises:
      InputError: An image has values that are not finite, or without a span values outside of `FULL`.
    """
    kind = depth(image.mode)
    if kind is None:
        return image
    values = deep_values(image)
    bottom, top = span or FULL[kind]
    if span is None and (values.min() < bottom or values.max() > top):
        raise InputError(
            f"an image holds values from {values.min():g} to {values.max():g}, outside of {bottom:g} to {top:g}; say "
            "which become black and white (range)"
        )
    scaled = (np.clip(values, bottom, top) - bottom) * 255.0 / max(top - bottom, 1e-12)
    return _like(image, Image.fromarray(np.rint(scaled).astype(np.uint8)))


def deep_values(image: Image.Image) -> np.ndarray:
    """The values of a deep image (`depth`), float64 [H, W].

    Raises:
      InputError: They are not finite.
    """
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError("an image holds values that are not finite")
    return values


def _like(image: Image.Image, made: Image.Image) -> Image.Image:
    """A picture with another one's colour profile."""
    made.info = {key: image.info[key] for key in ("icc_profile",) if key in image.info}
    return made
