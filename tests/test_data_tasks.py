"""Tasks on the embedded images: drawings, captions that are true to the pixel, and shrunken images."""

import collections
import itertools
import re

import numpy as np
import pytest
from PIL import Image

from jaxgan.data import Degraded, Edges, Embedded, Garments, HiddenPairs, Source, load, text
from jaxgan.data.sources import EmbeddedData, garments
from jaxgan.data.sources.derived import edges
from jaxgan.errors import InputError


def drawn(rows: list[list[int]]) -> list[list[int]]:
    return (edges(np.array(rows, np.uint8)[..., None])[..., 0] == 0).astype(int).tolist()


def test_edges_by_hand() -> None:
    square = [[0, 0, 0, 0], [0, 200, 200, 0], [0, 200, 200, 0], [0, 0, 0, 0]]
    # Black where the pixel to the right or below differs by more than a quarter of 200.
    assert drawn(square) == [[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0]]
    faint = [[0, 0, 0, 0], [0, 40, 40, 0], [0, 40, 40, 0], [0, 0, 0, 0]]
    assert drawn(faint) == drawn(square)
    assert drawn([[50, 50], [50, 50]]) == [[0, 0], [0, 0]]
    assert drawn([[0, 25, 50, 100]] * 4) == [[0, 0, 1, 0]] * 4  # 25 of 100 is not more than a quarter


def test_edges_of_an_enlarged_image_are_the_enlarged_edges() -> None:
    small = np.zeros((28, 28, 1), np.uint8)
    small[9:20, 5:22] = 255
    large = small.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(edges(large), edges(small).repeat(2, 0).repeat(2, 1))


def test_the_task_edges() -> None:
    source = Edges(Embedded("test", 28, 3))
    assert isinstance(source, Source)
    assert source.fields["input"] == ((28, 28, 3), "uint8")
    assert source.fingerprint not in (Embedded("test").fingerprint, Edges(Embedded("train")).fingerprint)
    for i in (0, 5, 1999):
        example = source[i]
        assert np.array_equal(example["real"], Embedded("test", 28, 3)[i]["real"])
        assert set(np.unique(example["input"])) == {0, 255}
        assert 0.02 < (example["input"] == 0).mean() < 0.6
        assert np.array_equal(example["input"], source[i]["input"])


def test_unpaired_edges_have_a_truth() -> None:
    source = EmbeddedData(split="test", task="unpaired-edges").open()
    assert isinstance(source, HiddenPairs)
    assert source.fields.keys() == {"real", "label", "other"}
    assert sorted(map(source.partner, range(2000))) == list(range(2000))
    assert all(source.partner(i) != i for i in range(2000))
    for i in (0, 1234, 1999):
        truth = source.truth(i)
        assert np.array_equal(truth["input"], source[i]["other"])
        assert np.array_equal(edges(truth["real"]), source[i]["other"])
        assert not np.array_equal(edges(source[i]["real"]), source[i]["other"])


def test_captions_are_true() -> None:
    """Over 99% of what captions say is what can be read from the pixels, at the originals' size and others."""
    for resolution, channels in ((28, 1), (64, 3)):
        source = Garments("test", resolution, channels)
        wrong = 0
        for i in range(0, 2000, 4):
            example = source[i]
            name, said = garments.parse(text.decode(example["text"]))
            assert name == source.classes[example["label"]] == Embedded.classes[example["label"]].lower()
            assert said == source.attributes(i)
            assert (said.facing is None) == (name not in {"sandal", "sneaker", "ankle boot"})
            wrong += garments.read(example["real"], said.facing is not None) != said
        assert wrong <= 500 * 0.01


def test_what_captions_say_is_what_the_image_shows() -> None:
    """By measures other than those that make and read them."""
    source, shoes = Garments("test"), 0
    original = Embedded("test")
    for i in range(300):
        image, said = source[i]["real"][..., 0].astype(float), source.attributes(i)
        assert image.max() == {"dark": 112, "light": 255}[said.brightness]
        assert (
            image[-4:].sum() > image[:4].sum()
            if said.place == "bottom"
            else image[:4].sum() > image[-4:].sum()
        )
        if source.classes[source[i]["label"]] == "ankle boot":  # they all look to the left in the originals
            columns, before = image.sum(0), original[i]["real"][..., 0].astype(float).sum(0)
            lean = (columns @ np.arange(28)) / columns.sum() - 13.5
            towards = (before @ np.arange(28)) / before.sum() - 13.5
            if min(abs(lean), abs(towards)) > 1:
                shoes += 1
                assert (lean * towards > 0) == (said.facing == "left")
    assert shoes > 5


def test_a_reader_can_tell_each_attribute_apart() -> None:
    """An image made to other attributes reads as those, so the reader reads the image."""
    pixels, labels = Embedded("test").arrays()
    boot = pixels[np.flatnonzero(labels == 9)[0]]
    for values in itertools.product(("dark", "light"), ("top", "bottom"), ("left", "right")):
        wanted = garments.Attributes(*values)
        assert garments.read(garments.render(boot, wanted)[..., None], True) == wanted
    garments.read(np.zeros((28, 28, 1), np.uint8), True)  # generated images may show nothing


def test_captions_are_balanced_and_the_same_in_every_run() -> None:
    source = Garments("train")
    said = [source.attributes(i) for i in range(0, 10_000, 5)]
    for values in zip(*said, strict=True):
        counts = collections.Counter(value for value in values if value)
        assert len(counts) == 2
        assert min(counts.values()) > 0.44 * sum(counts.values())
    assert [source.caption(i) for i in range(3)] == [
        "a light ankle boot at the bottom, facing left",
        "a dark t-shirt/top at the bottom",
        "a dark t-shirt/top at the top",
    ]
    assert max(len(source.caption(i)) for i in range(10_000)) <= 47
    with pytest.raises(ValueError, match="not a caption"):
        garments.parse("a blue bag at the top")
    with pytest.raises(IndexError):
        source[10_000]


@pytest.mark.parametrize(("scale", "resolution", "channels"), [(2, 28, 1), (4, 32, 3)])
def test_degraded_is_pillows_antialiased_resize(scale: int, resolution: int, channels: int) -> None:
    source = Degraded(Embedded("test", resolution, channels), scale)
    assert isinstance(source, Source)
    side = resolution // scale
    assert source.fields["input"] == ((side, side, channels), "uint8")
    for i in (0, 77):
        example = source[i]
        picture = Image.fromarray(example["real"][..., 0] if channels == 1 else example["real"])
        small = np.asarray(picture.resize((side, side), Image.Resampling.LANCZOS)).reshape(
            side, side, channels
        )
        assert np.array_equal(example["input"], small)
        assert np.array_equal(example["real"], source.source[i]["real"])


def test_degraded_refuses() -> None:
    with pytest.raises(InputError, match="scale is 3"):
        Degraded(Embedded(resolution=30), 3)
    with pytest.raises(InputError, match=r"scale is 4, which does not divide data\.resolution 30"):
        Degraded(Embedded(resolution=30), 4)


def test_configurations_open_every_task() -> None:
    for task, scale, fields in [
        ("none", None, set()),
        ("none", 2, {"input"}),
        ("edges", None, {"input"}),
        ("unpaired-edges", None, {"other"}),
        ("captions", None, {"text"}),
    ]:
        data = EmbeddedData(split="test", task=task, scale=scale, text_length=48)
        source = data.open()
        assert source.fields.keys() == {"real", "label"} | fields
        assert source[0].keys() == source.fields.keys()
        assert source.fields["real"].shape == (28, 28, 1)
        assert re.fullmatch("[0-9a-f]{64}", source.fingerprint)
    whole = load(source, progress=False)
    assert whole["text"].shape == (2000, 48)
    assert np.array_equal(whole["text"][9], source[9]["text"])
