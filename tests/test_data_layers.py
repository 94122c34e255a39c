"""Pictures with their 16 bits and their transparency, against what was put into them and Pillow's own reading."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from test_data_profiles import WIDE

from jaxgan.data import ImageFolder, layers
from jaxgan.data.layers import Layers
from jaxgan.data.survey import survey


def random(*shape: int, top: int = 65536, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(0).integers(0, top, shape, dtype)


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_what_is_written_is_there(tmp_path: Path, bands: int) -> None:
    """Pillow reads the upper bytes of pictures in colour, and all of greys."""
    values = random(5, 7, bands)
    layers.write_16_bits(tmp_path / "a.png", values)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        found = np.asarray(image)[..., [0, 3]] if bands == 2 else np.asarray(image).reshape(5, 7, bands)
    assert np.array_equal(found, values if bands == 1 else values >> 8)


def test_greys_with_transparency_are_grey(tmp_path: Path) -> None:
    """Pillow opens them as RGBA."""
    layers.write_16_bits(tmp_path / "a.png", random(5, 7, 2))
    assert survey([tmp_path / "a.png"]).grey


@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_all_16_bits_are_read_and_written_again(tmp_path: Path, bands: int) -> None:
    values = random(5, 7, bands)
    layers.write_16_bits(tmp_path / "a.png", values)
    channels = 1 if bands < 3 else 3
    found = layers.read(tmp_path / "a.png", channels, (0, 65535))
    assert found.pixels.dtype == np.float32
    np.testing.assert_allclose(found.pixels, values[..., :channels] / 32767.5 - 1, atol=1e-6)
    assert (found.alpha is None) if bands % 2 else np.array_equal(found.alpha, values[..., -1])
    layers.save(found, found.pixels, tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_colour_and_grey_meet(tmp_path: Path) -> None:
    values = random(5, 7, 3)
    layers.write_16_bits(tmp_path / "a.png", values)
    grey = layers.read(tmp_path / "a.png", 1, None).pixels[..., 0]
    want = (values / 32767.5 - 1) @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(grey, want, atol=1e-6)
    layers.write_16_bits(tmp_path / "b.png", values[..., :1])
    colour = layers.read(tmp_path / "b.png", 3, (0, 65535)).pixels
    assert colour.shape == (5, 7, 3)
    assert np.ptp(colour, axis=2).max() == 0


def test_units_stay(tmp_path: Path) -> None:
    """12 bits in a file of 16 give 12 bits; numbers that 16 bits cannot hold give all of them."""
    values = random(5, 7, top=4096)
    Image.fromarray(values).save(tmp_path / "a.png")
    found = layers.read(tmp_path / "a.png", 1, (0, 4095))
    layers.save(found, found.pixels, tmp_path / "b.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), values)
    Image.fromarray(np.array([[-2.0, 2.0]], np.float32)).save(tmp_path / "c.tif")
    found = layers.read(tmp_path / "c.tif", 1, (-2, 2))
    layers.save(found, found.pixels, tmp_path / "d.png")
    assert np.asarray(Image.open(tmp_path / "d.png")).tolist() == [[0, 65535]]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["I;16", "L", "LA"])
def test_pictures_are_turned_as_pillow_does_it(tmp_path: Path, orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    values = random(3, 5, top=256, dtype=np.uint8)
    image = (
        Image.fromarray(values.astype(np.uint16) * 257)
        if mode == "I;16"
        else Image.fromarray(values).convert(mode)
    )
    if mode == "LA":
        image.putalpha(Image.fromarray(values[::-1].copy()))
    image.save(tmp_path / "a.png", exif=exif)
    found = layers.read(tmp_path / "a.png", 1, (0, 65535))
    grey = np.rint((found.pixels + 1) * 127.5).astype(np.uint8) if mode == "I;16" else found.pixels
    turned = Image.fromarray(values)
    turned.getexif()[0x0112] = orientation
    assert np.array_equal(grey[..., 0], np.asarray(ImageOps.exif_transpose(turned)))
    if mode == "LA":
        alpha = Image.fromarray(values[::-1].copy())
        alpha.getexif()[0x0112] = orientation
        assert np.array_equal(found.alpha, np.asarray(ImageOps.exif_transpose(alpha)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_lies_beside(tmp_path: Path, mode: str) -> None:
    colours = random(4, 4, 4, top=256, dtype=np.uint8)
    image = Image.fromarray(colours).convert(mode)
    more = {"transparency": image.getpixel((0, 0))} if mode == "P" else {}
    image.save(tmp_path / "a.png", **more)
    with Image.open(tmp_path / "a.png") as opened:
        want = np.asarray(opened.convert("RGBA"))
    found = layers.read(tmp_path / "a.png", 3, None)
    assert np.array_equal(found.pixels, want[..., :3])
    assert np.array_equal(found.alpha, want[..., 3])
    layers.save(found, found.pixels, tmp_path / "b.png")
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), want)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparency_is_enlarged_without_the_network(tmp_path: Path, dtype: type) -> None:
    top = np.iinfo(dtype).max
    alpha = np.zeros((4, 8), dtype)
    alpha[:, 4:] = top
    made = np.zeros((8, 16, 1), np.uint8 if dtype is np.uint8 else np.float32)
    layers.save(Layers(made[::2, ::2], alpha), made, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        assert (image.mode, image.size) == ("LA" if dtype is np.uint8 else "RGBA", (16, 8))
        found = np.asarray(image.getchannel("A")).astype(int)
    assert (found[:, :5] == 0).all()
    assert (found[:, 11:] == 255).all()
    assert (np.diff(found[0]) >= 0).all()


def test_deep_pictures_of_other_colours_are_converted_with_8_bits(tmp_path: Path) -> None:
    values = random(4, 4, 3)
    layers.write_16_bits(tmp_path / "a.png", values)
    with Image.open(tmp_path / "a.png") as image:
        image.load()
        image.save(tmp_path / "b.png", icc_profile=WIDE)
    found = layers.read(tmp_path / "b.png", 3, None)
    assert found.pixels.dtype == np.uint8
    assert not np.array_equal(found.pixels, values >> 8)


@pytest.mark.parametrize("bands", [1, 3])
def test_a_transparent_colour_of_16_bits_is_not_used_and_said_so(tmp_path: Path, bands: int) -> None:
    """Its lower bytes are those of black pixels, which would become white."""
    values = np.zeros((4, 4, bands), np.uint16)
    values[0] = 0x1200
    layers.write_16_bits(tmp_path / "a.png", values)
    whole = (tmp_path / "a.png").read_bytes()
    body = b"tRNS" + struct.pack(f">{bands}H", *[0x1200] * bands)
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(whole[:33] + chunk + whole[33:])  # after IHDR
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["transparency"] == (0x1200 if bands == 1 else (0x1200,) * 3)
    found = layers.read(tmp_path / "a.png", bands, None)
    assert found.alpha is None
    np.testing.assert_array_equal(np.rint((found.pixels + 1) / 2 * 65535), values)
    source = ImageFolder(tmp_path, 4, bands, span=(0, 65535))
    assert source[0]["real"].reshape(16, bands)[:, 0].tolist() == [0x12] * 4 + [0] * 12
    assert "1 with a transparent colour of 16 bits, which is not used" in source.remarks[0]
    assert "laid on white" not in source.remarks[0]
