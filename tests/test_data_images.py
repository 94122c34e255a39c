"""Images of every mode against pixels worked out by hand."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import images
from jaxgan.errors import InputError

Pixels = list[list[int]]


def grey(pixels: Pixels, dtype: type = np.uint8) -> Image.Image:
    return Image.fromarray(np.array(pixels, dtype))


def values(
    image: Image.Image, resolution: int = 2, channels: int = 1, span: images.Range | None = None
) -> list:
    found = images.to_array(image, resolution, channels, span)
    assert found.dtype == np.uint8
    assert found.shape == (resolution, resolution, channels)
    assert found.flags.c_contiguous
    return (found[..., 0] if channels == 1 else found).tolist()


def test_grey_and_colour_pass_unchanged() -> None:
    assert values(grey([[0, 1], [128, 255]])) == [[0, 1], [128, 255]]
    colour = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert values(Image.fromarray(colour), 2, 3) == colour.tolist()


def test_grey_to_colour_and_back() -> None:
    assert values(grey([[7, 8], [9, 10]]), 2, 3)[1][0] == [9, 9, 9]
    colour = Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8))
    assert values(colour) == [[76, 150], [29, 255]]  # ITU-R 601: 0.299, 0.587, 0.114


def test_one_bit() -> None:
    assert values(grey([[0, 255], [255, 0]]).convert("1")) == [[0, 255], [255, 0]]


def test_palette_gives_its_colours_not_its_indices() -> None:
    image = Image.new("P", (2, 2))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1, 1, 0])
    assert values(image, 2, 3) == [[[10, 20, 30], [200, 100, 50]], [[200, 100, 50], [10, 20, 30]]]


def test_palette_transparency_is_white() -> None:
    image = Image.new("P", (2, 2), 0)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((1, 0), 1)
    file = io.BytesIO()
    image.save(file, "PNG", transparency=1)
    with Image.open(file) as opened:
        assert values(opened, 2, 3)[0] == [[10, 20, 30], [255, 255, 255]]


def test_grey_png_with_a_transparent_value() -> None:
    file = io.BytesIO()
    grey([[5, 6], [7, 8]]).save(file, "PNG", transparency=6)
    with Image.open(file) as opened:
        assert values(opened) == [[5, 255], [7, 8]]


def test_alpha_is_composited_on_white() -> None:
    rgba = np.array([[[0, 0, 0, 0], [0, 0, 0, 255]], [[100, 200, 0, 51], [255, 255, 255, 128]]], np.uint8)
    # 51 / 255 = 0.2: 0.2 * 100 + 0.8 * 255 = 224, 0.2 * 200 + 204 = 244, 204
    want = [[[255] * 3, [0] * 3], [[224, 244, 204], [255] * 3]]
    assert values(Image.fromarray(rgba), 2, 3) == want
    with_grey = Image.merge("LA", [grey([[0, 100], [0, 0]]), grey([[0, 51], [255, 255]])])
    assert values(with_grey) == [[255, 224], [0, 0]]


def test_transparent_colours_do_not_bleed_when_shrunk() -> None:
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[..., 0] = 255  # red all over, and nowhere visible
    assert values(Image.fromarray(rgba), 2, 3) == [[[255] * 3] * 2] * 2


def test_cmyk() -> None:
    image = Image.new("CMYK", (2, 2), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 255, 255, 0))
    image.putpixel((0, 1), (0, 0, 0, 255))
    assert values(image, 2, 3) == [[[255] * 3, [255, 0, 0]], [[0] * 3, [255] * 3]]


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I"])
def test_sixteen_bits_scale_and_do_not_clip(mode: str) -> None:
    numbers = [[0, 257, 32896], [65535, 128, 129], [255, 256, 65406]]
    if mode == "I":
        image = grey(numbers, np.int32)
    else:
        image = Image.frombytes(mode, (3, 3), np.array(numbers, "<u2" if mode == "I;16" else ">u2").tobytes())
    assert image.mode == mode
    # v / 257, rounded: 128 / 257 = 0.498, 129 / 257 = 0.502, 65406 / 257 = 254.498
    assert values(image, 3) == [[0, 1, 128], [255, 0, 1], [1, 1, 254]]


def test_sixteen_bits_through_files(tmp_path: Path) -> None:
    image = grey([[0, 65535], [32896, 257]], np.uint16)
    for ending in ("png", "tif", "pgm"):
        path = tmp_path / f"image.{ending}"
        image.save(path)
        assert images.read(path, 2, 1)[..., 0].tolist() == [[0, 255], [128, 1]]


def test_wider_integers_and_floats_have_the_range_of_their_set() -> None:
    assert values(grey([[0, 200_000], [100_000, 50_000]], np.int32), span=(0, 200_000)) == [
        [0, 255],
        [128, 64],
    ]
    assert values(grey([[-100, 100], [0, 50]], np.int32), span=(-100, 100)) == [[0, 255], [128, 191]]
    assert values(grey([[-100, 100], [0, 50]], np.int32), span=(0, 50)) == [[0, 255], [0, 255]]  # clipped
    assert values(grey([[0, 1], [0, 0]], np.float32)) == [[0, 255], [0, 0]]
    assert values(Image.fromarray(np.array([[0.5, 0.25], [0.0, 0.75]], np.float32))) == [[128, 64], [0, 191]]
    assert values(grey([[0, 255], [2, 254]], np.float32), span=(0, 255)) == [[0, 255], [2, 254]]
    assert values(grey([[7, 7], [7, 7]], np.float32), span=(0, 255)) == [[7, 7], [7, 7]]
    for picture in (grey([[0, 2], [0, 0]], np.float32), grey([[-1, 2], [0, 0]], np.int32)):
        with pytest.raises(InputError, match=r"values from \S+ to 2, outside of 0 to \d+; say which"):
            images.to_array(picture, 2, 1)
    with pytest.raises(InputError, match="not finite"):
        images.to_array(Image.fromarray(np.full((2, 2), np.nan, np.float32)), 2, 1)


def test_the_centre_square_is_taken() -> None:
    wide = np.zeros((2, 6), np.uint8)
    wide[:, 2:4] = [[1, 2], [3, 4]]
    assert values(Image.fromarray(wide)) == [[1, 2], [3, 4]]
    assert values(Image.fromarray(wide.T.copy())) == [[1, 3], [2, 4]]


def test_pixels_outside_the_square_do_not_bleed_into_a_resize() -> None:
    wide = np.full((8, 24), 255, np.uint8)
    wide[:, 8:16] = 0
    assert values(Image.fromarray(wide)) == [[0, 0], [0, 0]]


@pytest.mark.parametrize(("size", "to"), [(64, 16), (64, 20), (65, 13)])
def test_a_fine_checkerboard_shrinks_to_mid_grey(size: int, to: int) -> None:
    board = (np.indices((size, size)).sum(0) % 2 * 255).astype(np.uint8)
    inner = images.to_array(Image.fromarray(board), to, 1)[1:-1, 1:-1]
    assert np.abs(inner.astype(int) - 127.5).max() < 4  # nearest-neighbour sampling gives 0 and 255


def test_a_constant_stays_constant_at_any_size() -> None:
    for to in (1, 3, 7, 31):
        assert (images.to_array(Image.new("RGB", (10, 12), (3, 99, 250)), to, 3) == [3, 99, 250]).all()


def test_enlarging_keeps_the_mean_of_a_ramp() -> None:
    ramp = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (16, 1))
    assert abs(images.to_array(Image.fromarray(ramp), 64, 1).mean() - ramp.mean()) < 0.5


@pytest.mark.parametrize(
    ("orientation", "want"),
    [(1, [[1, 2], [3, 4]]), (3, [[4, 3], [2, 1]]), (6, [[3, 1], [4, 2]]), (8, [[2, 4], [1, 3]])],
)
def test_exif_orientation(tmp_path: Path, orientation: int, want: Pixels) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    grey([[1, 2], [3, 4]]).save(tmp_path / "image.png", exif=exif)
    assert images.read(tmp_path / "image.png", 2, 1)[..., 0].tolist() == want


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    assert (images.read(tmp_path / "two.gif", 4, 1) == 10).all()


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "tif", "gif"])
def test_truncated_files_are_named(tmp_path: Path, ending: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"cut.{ending}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"cut\.{ending}: .*replace or remove") as caught:
        images.read(path, 8, 3)
    assert "\n" not in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not an image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    for name, why in [
        ("text.png", "not an image"),
        ("empty.png", "empty"),
        ("missing.png", "no such file"),
        ("folder.png", "cannot be read"),
    ]:
        with pytest.raises(InputError, match=rf"{name}: .*{why}"):
            images.read(tmp_path / name, 8, 3)


def test_a_png_bomb_is_refused(tmp_path: Path) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IEND", b""))
    with pytest.raises(InputError, match=r"bomb\.png"):
        images.read(tmp_path / "bomb.png", 8, 3)


@pytest.mark.parametrize(
    ("resolution", "channels"), [(0, 1), (-4, 3), (8, 2), (8, 4), (8, 0), (2.5, 3), (True, 3)]
)
def test_bad_sizes(resolution: int, channels: int) -> None:
    with pytest.raises(InputError, match=r"resolution is|channels is"):
        images.to_array(Image.new("L", (8, 8)), resolution, channels)


def test_a_mode_without_conversion_says_so() -> None:
    with pytest.raises(InputError, match="mode La has no conversion to RGB"):
        images.to_array(Image.new("La", (4, 4)), 4, 3)
