"""Pictures with all that they hold, their transparency and their 16 bits, read to be enlarged and written again.

For example:

    >>> grey = np.array([[0, 513], [65535, 7]], np.uint16)
    >>> write_16_bits(Path("deep.png"), grey[..., None])
    >>> found = read(Path("deep.png"), channels=1, span=(0, 65535))
    >>> found.pixels.dtype, found.pixels.shape, found.alpha
    (dtype('float32'), (2, 2, 1), None)
    >>> save(found, found.pixels, Path("again.png"))
    >>> np.array_equal(np.asarray(Image.open("again.png")), grey)
    True
"""

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from jaxgan.data import images, profiles
from jaxgan.data.images import Range
from jaxgan.errors import replacing

TOP = 65535
_LUMA = np.array([0.299, 0.587, 0.114])
# Pillow's unpackers of the upper bytes of PNG files; and those that give the lower bytes, or all as if they were four.
_LOW = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L", "LA;16B": "RGBA"}
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90,
}
"""What undoes each orientation of EXIF."""


class Layers(NamedTuple):
    """A picture with all that it holds."""

    pixels: np.ndarray
    """[H, W, C]: uint8, or of pictures of more than 8 bits float32 in [-1, 1]."""
    alpha: np.ndarray | None
    """[H, W]: uint8, or uint16 beside pixels that are float32; None where there is no transparency."""
    span: Range = (0.0, TOP)
    """The values that are -1 and 1, of pixels that are float32."""


def keeps_16_bits(image: Image.Image) -> bool:
    """Whether `read` keeps more than 8 bits of an opened picture; tells it by the header.

    Greys of all formats do, and PNG files in colour. Those with a profile of other colours than sRGB do not: these are
    converted with 8 bits.
    """
    if profiles.state(image) == "other":
        return False
    return images.depth(image.mode) is not None or (image.format == "PNG" and images.raw_mode(image) in _LOW)


def read(path: Path, channels: int, span: Range | None) -> Layers:
    """A picture as its file has it, upright and in sRGB, its transparency beside it and not laid on white.

    Args:
      path: The file.
      channels: Of its pixels, 1 or 3.
      span: Of greys of more than 8 bits: the values that become -1 and 1, those outside are clipped.

    Raises:
      InputError: As `images.read`.
    """
    images.check_size(1, channels)
    with images.opened(path) as image:
        if keeps_16_bits(image):
            return _deep(image, path, channels, span)
        image.load()
        image = ImageOps.exif_transpose(image)
        image = profiles.to_srgb(images.to_8_bits(image, span))
        alpha = None
        if image.has_transparency_data:
            image = image.convert("RGBA")
            alpha = np.array(image.getchannel("A"))
        image = image.convert("RGB") if image.mode not in ("L", "RGB") else image
        image = image.convert("L" if channels == 1 else "RGB")
        return Layers(np.array(image).reshape(image.height, image.width, channels), alpha)


def _deep(image: Image.Image, path: Path, channels: int, span: Range | None) -> Layers:
    """The same of a picture whose bits are kept."""
    upper = images.raw_mode(image)
    image.load()
    turned = _UPRIGHT.get(image.getexif().get(0x0112, 1), lambda x: x)
    alpha = None
    if kind := images.depth(image.mode):
        low, high = span or images.FULL[kind]
        values = images.deep_values(image)[..., None]
    else:
        low, high = 0.0, float(TOP)
        values = np.asarray(image).astype(np.uint16) * 256
        with images.opened(path) as again:
            again.tile = [tile._replace(args=_LOW[upper]) for tile in again.tile]  # pyright: ignore[reportAttributeAccessIssue]
            lower = np.asarray(again)
        if upper == "LA;16B":
            values = lower[..., 0::2].astype(np.uint16) * 256 + lower[..., 1::2]
        else:
            values += lower
        alpha = turned(values[..., -1]) if values.shape[2] in (2, 4) else None
        values = values if alpha is None else values[..., :-1]
    numbers = (np.clip(values, low, high) - low) * 2.0 / max(high - low, 1e-12) - 1
    if channels == 1 and numbers.shape[2] == 3:
        numbers = (numbers * _LUMA).sum(-1, keepdims=True)
    numbers = np.broadcast_to(numbers, (*numbers.shape[:2], channels))
    return Layers(np.ascontiguousarray(turned(numbers), np.float32), alpha, (low, high))


def save(given: Layers, made: np.ndarray, out: Path) -> None:
    """Writes as PNG what was made of a picture, at once.

    Transparency is that of the picture, enlarged by a bicubic filter. Pictures of more than 8 bits become 16 bits:
    in the units that they were in, if these are whole numbers below 65536; else -1 to 1 become 0 to 65535.

    Args:
      given: The picture.
      made: [H', W', 1 or 3], uint8 or float32 as its pixels.
      out: The file.

    Raises:
      RunError: It cannot be written.
    """
    height, width = made.shape[:2]
    alpha = None if given.alpha is None else _resized(given.alpha, width, height)
    if made.dtype == np.uint8:
        picture = Image.fromarray(made[..., 0] if made.shape[2] == 1 else made)
        if alpha is not None:
            picture.putalpha(Image.fromarray(alpha))
        with replacing(out) as partial:
            picture.save(partial, format="PNG")
        return
    low, high = given.span if given.span[0] >= 0 and 1 < given.span[1] <= TOP else (0.0, float(TOP))
    values = np.rint(low + (np.clip(made.astype(np.float64), -1, 1) + 1) / 2 * (high - low)).astype(np.uint16)
    write_16_bits(out, values if alpha is None else np.dstack([values, alpha]))


def _resized(alpha: np.ndarray, width: int, height: int) -> np.ndarray:
    given = alpha if alpha.dtype == np.uint8 else alpha.astype(np.float32)  # Pillow resizes no 16 bits
    found = Image.fromarray(given).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.rint(np.asarray(found)), 0, np.iinfo(alpha.dtype).max).astype(alpha.dtype)


def write_16_bits(out: Path, values: np.ndarray) -> None:
    """Writes uint16 [H, W, 1 to 4], grey or RGB with or without transparency, as PNG, which Pillow does of greys alone.

    See the PNG specification, https://www.w3.org/TR/png-3/, sections 5 and 11.

    Raises:
      RunError: It cannot be written.
    """
    height, width, bands = values.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[bands]

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = values.astype(">u2").reshape(height, -1).view(np.uint8)
    filtered = np.zeros((height, 1 + rows.shape[1]), np.uint8)  # each row begins with its filter: none
    filtered[:, 1:] = rows
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes())), (b"IEND", b"")
    with replacing(out) as partial:
        partial.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts))
