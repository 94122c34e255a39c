"""Colour profiles of pictures, converted to sRGB, which is what networks and viewers take bytes for.

For example:

    >>> from PIL import ImageCms
    >>> file = io.BytesIO()
    >>> profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    >>> picture = Image.new("RGB", (1, 1), (10, 200, 30))
    >>> picture.info["icc_profile"] = profile
    >>> state(picture), to_srgb(picture) is picture  # it is sRGB, and stays as it is
    ('sRGB', True)
    >>> picture.info["icc_profile"] = b"damaged"
    >>> state(picture)
    'unusable'
"""

import functools
import io
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsTransform

State = Literal["none", "sRGB", "other", "unusable"]

SAME = 2
"""Profiles that move no colour by more than so many levels of 255 are sRGB, whatever they are called."""
_GREY = ("1", "L", "LA", "La")


def state(image: Image.Image) -> State:
    """Whether a picture has a profile of another colour space than sRGB; needs no pixels."""
    profile = image.info.get("icc_profile")
    return _transform(profile, _mode(image))[0] if profile else "none"


def to_srgb(image: Image.Image) -> Image.Image:
    """A picture of 8 bits a channel with its colours in sRGB, by its profile's perceptual intent.

    A picture without a profile, with one that is sRGB (`SAME`) or with one that is damaged or of another kind of
    picture stays as it is. Transparency stays.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    found, transform = _transform(profile, _mode(image))
    if found != "other" or transform is None:
        return image
    alpha = None
    if image.has_transparency_data:
        image = image.convert("LA" if image.mode in _GREY else "RGBA")
        alpha = image.getchannel("A")
    mode = _mode(image)
    made = transform.apply(image if image.mode == mode else image.convert(mode))
    assert isinstance(made, Image.Image)
    if mode == "L":
        made = made.convert("L")
    if alpha is not None:
        made.putalpha(alpha)
    return made


def _mode(image: Image.Image) -> str:
    """In which mode a picture meets its profile."""
    if image.mode in _GREY or image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return "L"
    return "CMYK" if image.mode == "CMYK" else "RGB"


@functools.lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> tuple[State, "ImageCmsTransform | None"]:
    from PIL import ImageCms

    try:
        given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        intent = ImageCms.Intent.PERCEPTUAL
        flags = ImageCms.Flags.NOCACHE  # threads share it, so it must not keep the last colour
        if mode == "L":
            flags |= ImageCms.Flags.NOOPTIMIZE  # which has too few steps for the curves of greys
        made = ImageCms.buildTransform(given, target, mode, "RGB", intent, flags)
        probe = _probe(mode)
        moved = np.asarray(made.apply(probe), np.int32) - np.asarray(probe.convert("RGB"), np.int32)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        # Programs give greys the profile of their colours, too, of which sRGB means nothing else.
        alike = mode == "L" and _transform(profile, "RGB")[0] == "sRGB"
        return "sRGB" if alike else "unusable", None
    return ("sRGB", None) if mode != "CMYK" and np.abs(moved).max() <= SAME else ("other", made)


def _probe(mode: str) -> Image.Image:
    """Colours from all over a mode's."""
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    steps = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(*[steps] * 3, indexing="ij"), -1).reshape(1, -1, 3)
    return Image.fromarray(grid).convert(mode)
