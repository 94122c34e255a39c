"""Pictures: every pixel where it belongs, and curves that outlive missing values."""

import numpy as np
import pytest
from PIL import Image
from quick import slow

from jaxgan import domains, plots
from jaxgan.domains.image import grid


def test_images_are_encoded_rounded_and_clipped():
    # 127.5 (x + 1): -1, 0 and 1 are 0, 127.5 (to the even 128) and 255.
    x = [-1, 1, 0, -0.5, 0.5, -1.2, 1.2, 1 / 255, -1 / 255, -1 + 0.9 / 127.5, 1 - 0.4 / 127.5]
    expected = [0, 255, 128, 64, 191, 0, 255, 128, 127, 1, 255]
    found = domains.Image().encode(np.array(x, np.float32))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, expected)


def test_encoding_inverts_the_decoding_of_every_byte():
    every = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(domains.Image().encode(every.astype(np.float32) / 127.5 - 1), every)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("n", "columns", "expected"),
    [(6, 3, (2, 3)), (7, 3, (3, 3)), (5, None, (2, 3)), (9, None, (3, 3)), (1, None, (1, 1)), (2, 4, (1, 4))],
)
def test_grid_places_every_pixel(n, columns, expected, channels, rng):
    images = rng.integers(0, 250, (n, 4, 5, channels), np.uint8)
    sheet = grid(images, columns)
    rows, columns = expected
    assert sheet.mode == ("L" if channels == 1 else "RGB")
    assert sheet.size == (columns * 5 + (columns - 1) * 2, rows * 4 + (rows - 1) * 2)
    pixels = np.asarray(sheet).reshape(sheet.size[1], sheet.size[0], channels)
    for y in range(sheet.size[1]):
        for x in range(sheet.size[0]):
            i = (y // 6) * columns + x // 7
            inside = y % 6 < 4 and x % 7 < 5 and i < n
            np.testing.assert_array_equal(pixels[y, x], images[i, y % 6, x % 7] if inside else 255)


def test_save_writes_a_png_at_once_whatever_its_ending(tmp_path, rng):
    pixels = rng.integers(0, 255, (4, 5, 3), np.uint8)
    path = tmp_path / "new" / "sheet"
    domains.Image().save(pixels, path)
    with Image.open(path) as found:
        assert found.format == "PNG"
        np.testing.assert_array_equal(np.asarray(found), pixels)
    assert [p.name for p in path.parent.iterdir()] == ["sheet"]


@pytest.mark.parametrize("width", [1, 2, 3, 4, 7])
def test_smooth_is_a_running_mean_without_missing_values(width, rng):
    values = rng.normal(size=20)
    values[[0, 5, 6, 7, 8, 9, 10, 11, 19]] = np.nan
    values[3] = np.inf
    expected = []
    for i in range(20):
        around = values[max(0, i - width // 2) : i + (width - 1) // 2 + 1]
        around = around[np.isfinite(around)]
        expected.append(around.mean() if len(around) else np.nan)
    np.testing.assert_allclose(plots.smooth(values, width), expected)
    assert np.isnan(expected).any() or width == 7


def lines(n, **changes):
    return [
        {
            "step": i + 1,
            "discriminator/loss": 1.3,
            "discriminator/real": 0.6,
            "discriminator/fake": 0.4,
            "discriminator/grad_norm": 0.1 * (i + 1),
            "generator/loss": 0.7,
            "generator/grad_norm": 2.0,
            "skipped": 0.0,
            **changes,
        }
        for i in range(n)
    ]


@pytest.mark.parametrize(
    "rows",
    [
        lines(300),
        slow(lines(1)),
        # A player that has not started, steps that were not finite, and gradients of zero on a logarithmic axis.
        [*lines(5, **{"generator/loss": None, "generator/grad_norm": None}), *lines(3)],
        slow(lines(5, **dict.fromkeys(list(lines(1)[0])[1:]))),
        slow(lines(5, **{"discriminator/grad_norm": 0.0, "generator/grad_norm": 0.0})),
        [{"step": 1, "critic/loss": -3.0}],
        [{"step": i, "discriminator/real_logit": 40.0, "discriminator/fake_logit": -9.0 * i} for i in (1, 2)],
    ],
    ids=["long", "one", "late", "null", "zero", "critic", "logits"],
)
def test_curves_are_a_picture_whatever_is_missing(rows, tmp_path):
    """Warnings are errors here: matplotlib must have nothing to complain of."""
    path = tmp_path / "curves.png"
    plots.curves(rows, path, "a title")
    with Image.open(path) as picture:
        picture.load()
        assert picture.format == "PNG"
        pixels = np.asarray(picture.convert("RGB"))
    panels = len({key.split("/")[1].replace("fake", "real") for key in rows[0] if "/" in key})
    assert pixels.shape[1] == pytest.approx(panels * 4.2 * 110, abs=2)
    assert [p.name for p in tmp_path.iterdir()] == ["curves.png"]
    drawn = (np.ptp(pixels.astype(int), axis=-1) > 40).sum()  # coloured, as lines are
    assert (drawn > 0) or rows[0]["step"] == 1


@pytest.mark.slow
def test_curves_show_the_numbers(tmp_path):
    """A loss that rises draws another picture than one that does not, and a null leaves the line out."""

    def picture(rows, name):
        plots.curves(rows, tmp_path / name, "t")
        return (tmp_path / name).read_bytes()

    flat = picture(lines(20), "a")
    assert picture(lines(20), "b") == flat
    rising = [{**row, "generator/loss": row["step"] / 10} for row in lines(20)]
    assert picture(rising, "c") != flat
    assert picture(lines(20, **{"generator/loss": None}), "d") != flat


def test_curves_of_nothing_are_no_picture(tmp_path):
    """Such a log is what a stranger or a disk has left."""
    plots.curves([{"step": 1}, {"step": 2}], tmp_path / "curves.png", "t")
    assert not list(tmp_path.iterdir())


def test_numbers_that_no_axis_can_hold_are_left_out(tmp_path, monkeypatch):
    """Warnings are errors here, numpy's and matplotlib's."""
    drawn, write = [], plots.write
    monkeypatch.setattr(plots, "write", lambda figure, path: (drawn.append(figure), write(figure, path)))
    huge = [1e308, -1e308, 3.0]
    plots.curves(
        [{"step": i, "D/loss": x, "D/grad_norm": 1e300} for i, x in enumerate(huge)], tmp_path / "a", "t"
    )
    found = [{"step": i, "value": x, "error": 1e308, "floor": -x} for i, x in enumerate(huge)]
    plots.scores({"kernel": found}, tmp_path / "b")
    for figure in drawn:
        np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [np.nan, np.nan, 3.0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]


def test_curves_of_any_player_say_what_is_judged(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(plots, "write", lambda figure, path: drawn.append(figure))
    rows = [{"step": 1, "D/loss": 1.0, "D/real": 0.6, "D/fake": 0.4, "discriminator/real": 0.5}]
    plots.curves(rows, tmp_path / "curves.png", "t")
    (legends,) = ([[text.get_text() for text in ax.get_legend().get_texts()] for ax in f.axes] for f in drawn)
    assert legends == [["D"], ["D(x) of D", "D(G(z)) of D", "D(x)"]]


def test_curves_leave_pyplot_alone(tmp_path):
    """A research script in a notebook keeps its backend and its open figures."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.use("svg")
    try:
        plots.curves(lines(3), tmp_path / "curves.png", "t")
        assert mpl.get_backend() == "svg"
        assert plt.get_fignums() == []
    finally:
        mpl.use("agg")


@pytest.mark.parametrize(("real", "limits"), [(0.9, (0, 1)), (3.0, None), (-0.1, None)])
def test_curves_of_a_game_of_ones_own_hide_nothing(real, limits, tmp_path, monkeypatch):
    """What is called "real" there may be no probability; what the bar shows has a panel where no other has it."""
    drawn = []
    monkeypatch.setattr(plots, "write", lambda figure, path: drawn.append(figure))
    rows = [{"step": step, "D/loss": 1.0, "D/real": real, "D/k": step / 2} for step in (1, 2)]
    shown = {"D loss": ("D/loss",), "k": ("D/k", "D/never"), "M": ("D/never",)}
    plots.curves(rows, tmp_path / "curves.png", "t", shown)
    loss, says, k = drawn[0].axes
    assert [loss.get_title(), k.get_title()] == ["loss (nats)" if limits else "loss", "k"]
    low, high = says.get_ylim()
    assert (low, high) == limits if limits else low < real < high
    assert k.lines[0].get_ydata().tolist() == [0.5, 1.0]
