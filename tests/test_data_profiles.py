"""Colour profiles against the formulas of their colour spaces."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from jaxgan.data import ImageFolder, images, prepare, profiles
from jaxgan.data.sources import TFDS, digest_files


def profile(gamma: float, colorants: np.ndarray | None) -> bytes:
    """An ICC profile (version 2.4) of a display with a gamma: grey, or RGB with the colorants' XYZ (D50) as columns.

    ICC.1:2001-04, sections 6.1 (header), 6.2 (tags), 6.5.3 (curveType) and 6.5.25 (XYZType).
    """

    def fixed(x: float) -> bytes:
        return struct.pack(">i", round(x * 65536))

    def xyz(values) -> bytes:
        return b"XYZ \0\0\0\0" + b"".join(map(fixed, values))

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78) + b"\0"
    tags = {b"desc": text, b"wtpt": xyz((0.9642, 1.0, 0.8249)), b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    if colorants is None:
        tags[b"kTRC"] = curve
    else:
        tags |= {bytes([letter]) + b"XYZ": xyz(colorants[:, i]) for i, letter in enumerate(b"rgb")}
        tags |= {bytes([letter]) + b"TRC": curve for letter in b"rgb"}
    table, body, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    space = b"GRAY" if colorants is None else b"RGB "
    header = struct.pack(">I4sI4s4s4s", at + len(body), b"lcms", 0x02400000, b"mntr", space, b"XYZ ")
    header += struct.pack(">6H4s", 2020, 1, 1, 0, 0, 0, b"acsp") + bytes(28)
    header += b"".join(map(fixed, (0.9642, 1.0, 0.8249)))
    return header + bytes(128 - len(header)) + table + body


# The D50 colorants of Adobe RGB (1998), section 4.2 of its specification, and of sRGB, as in their ICC profiles.
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
WIDE = profile(2.19921875, ADOBE)


def to_bytes(linear: np.ndarray) -> np.ndarray:
    """IEC 61966-2-1: light to sRGB."""
    x = np.clip(linear, 0, 1)
    return 255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def srgb_of_adobe(pixels: np.ndarray) -> np.ndarray:
    light = (pixels / 255.0) ** 2.19921875
    return to_bytes(light @ (np.linalg.inv(SRGB) @ ADOBE).T)


def test_colours_become_srgb(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    (tmp_path / "set").mkdir()
    Image.fromarray(pixels).save(tmp_path / "set" / "a.png", icc_profile=WIDE)
    found = images.read(tmp_path / "set" / "a.png", 16, 3)
    assert np.abs(found - srgb_of_adobe(pixels)).max() < 2
    assert np.abs(found.astype(int) - pixels).max() > 20
    source = ImageFolder(tmp_path / "set", 16, 3)
    assert source.remarks[0].endswith("of 1 images 1 from another colour profile to sRGB")
    before = source.fingerprint  # the pixels of older versions were others
    assert before != digest_files([("a.png", tmp_path / "set" / "a.png")], ())
    report = prepare(str(tmp_path / "set"), tmp_path / "out", progress=False)
    assert report.remarks == source.remarks
    assert np.array_equal(TFDS(None, tmp_path / "out", "train", 16, 3)[0]["real"], found)


def test_greys_of_another_gamma() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None]
    image = Image.fromarray(np.tile(ramp, (256, 1)))
    image.info["icc_profile"] = profile(1.0, None)
    found = images.to_array(image, 256, 1)[0, :, 0]
    assert np.abs(found - to_bytes(ramp[0] / 255)).max() < 1.5


def test_transparency_stays_with_converted_colours() -> None:
    image = Image.new("RGBA", (1, 1), (200, 30, 60, 51))
    image.info["icc_profile"] = WIDE
    made = profiles.to_srgb(image)
    assert (made.mode, made.getpixel((0, 0))[3]) == ("RGBA", 51)
    want = srgb_of_adobe(np.array([200, 30, 60]))
    assert np.abs(np.array(made.getpixel((0, 0))[:3]) - want).max() < 2
    laid = images.to_array(image, 1, 3)[0, 0]  # 0.2 of it on 0.8 of white
    assert np.abs(laid - (0.2 * want + 204)).max() < 1.5


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_srgb_by_any_name_stays_to_the_bit(mode: str) -> None:
    """Pillow's, and one of our own whose curves are sRGB's but for rounding: no pixel moves."""
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    want = images.to_array(image, 8, 3)
    if mode != "L":
        image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
        assert profiles.state(image) == "sRGB"
    assert np.array_equal(images.to_array(image, 8, 3), want)


@pytest.mark.parametrize("damaged", [b"x", WIDE[:200], profile(2.2, None)], ids=["no profile", "cut", "grey"])
def test_profiles_that_cannot_be_used_change_nothing(damaged: bytes) -> None:
    image = Image.new("RGB", (2, 2), (10, 200, 30))
    image.info["icc_profile"] = damaged
    assert profiles.state(image) == "unusable"
    assert (images.to_array(image, 2, 3) == [10, 200, 30]).all()


def test_a_profile_of_cmyk_is_used(tmp_path: Path) -> None:
    """None can be written by hand in a few lines; without one, Pillow's simple formula counts."""
    file = io.BytesIO()
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(
        file, "TIFF", icc_profile=WIDE
    )  # of another kind of picture
    with Image.open(file) as image:
        assert profiles.state(image) == "unusable"
        assert (images.to_array(image, 4, 3) == [255, 0, 0]).all()


@pytest.mark.parametrize("mode", ["L", "LA", "I;16"])
def test_greys_may_have_the_usual_profile_of_colours(mode: str) -> None:
    """It says nothing else of them; another one of colours cannot be used."""
    image = Image.new(mode, (2, 2))
    image.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert profiles.state(image) == "sRGB"
    assert profiles.to_srgb(image) is image
    image.info["icc_profile"] = WIDE
    assert profiles.state(image) == "unusable"
