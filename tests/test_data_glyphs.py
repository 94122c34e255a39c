"""Drawn digits: the same whenever and wherever they are drawn, centred, varied, and what they are called."""

import pickle

import numpy as np

from jaxgan.data import sources
from jaxgan.data.sources.glyphs import Glyphs, glyph


def test_an_example_gains_a_digit_and_its_label():
    real = sources.Embedded("test", 20, 3)
    drawn = Glyphs(real, "test")
    assert drawn.fields["other"] == real.fields["real"]
    assert (len(drawn), drawn.classes, drawn.fields["real"].shape) == (2000, real.classes, (20, 20, 3))
    example = drawn[7]
    np.testing.assert_array_equal(example["real"], real[7]["real"])
    assert set(example) == set(drawn.fields)
    for name, (shape, dtype) in drawn.fields.items():
        assert (np.shape(example[name]), np.asarray(example[name]).dtype) == (shape, dtype)
    np.testing.assert_array_equal(example["other"][..., 0], example["other"][..., 2])


def test_a_digit_depends_on_its_index_and_split_alone():
    real = sources.Embedded("test")
    drawn, other = Glyphs(real, "test"), Glyphs(real, "train")
    again = pickle.loads(pickle.dumps(Glyphs(real, "test")))
    backwards = [again[i] for i in reversed(range(20))][::-1]
    for i in range(20):
        np.testing.assert_array_equal(drawn[i]["other"], backwards[i]["other"])
        assert drawn[i]["other_label"] == backwards[i]["other_label"]
    assert any(np.any(drawn[i]["other"] != other[i]["other"]) for i in range(3))
    assert drawn.fingerprint == again.fingerprint != other.fingerprint != real.fingerprint
    np.testing.assert_array_equal(drawn[-1]["other"], drawn[1999]["other"])


def test_digits_are_all_there_whole_and_varied():
    made = [glyph(28, (i,)) for i in range(400)]
    images, labels = np.stack([image for image, _ in made]), np.array([label for _, label in made])
    assert sorted(set(labels)) == list(range(10))
    ink = images.mean((1, 2)) / 255
    assert 0.02 < ink.min() < ink.max() < 0.45
    border = np.concatenate([images[:, [0, -1]].ravel(), images[:, :, [0, -1]].ravel()])
    assert np.mean(border > 128) < 0.01  # nothing of a digit is cut off, or hardly
    # A digit is like others of its kind: the nearest mean of the first half tells the second.
    means = np.stack([images[:200][labels[:200] == digit].mean(0) for digit in range(10)])
    distance = np.square(images[200:, None] - means[None].astype(float)).sum((2, 3))
    assert np.mean(distance.argmin(1) == labels[200:]) > 0.6
