"""The classification accuracy score on images whose classes are plain to see."""

import jax
import numpy as np
import pytest

from jaxgan.networks.classifier import Classifier
from jaxgan.scoring.formulas.accuracy import Training, accuracy, train_classifier

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")

QUICK = Training(epochs=6, batch_size=16, shift=1)


def bars(rng, n, classes=3):
    """A bright bar in the row that is the class, in noise."""
    labels = rng.integers(classes, size=n)
    images = rng.integers(0, 60, size=(n, 8, 8, 1))
    images[np.arange(n), 2 * labels + 1] += 150
    return images.astype(np.uint8), labels


@pytest.mark.slow
def test_a_classifier_of_good_fakes_knows_real_images_and_one_of_wrong_labels_does_not(rng):
    classifier = Classifier(3, width=8, pairs=2)
    images, labels = bars(rng, 160)
    test_images, test_labels = bars(rng, 90)
    good = train_classifier(classifier, images, labels, QUICK._replace(shift=0))
    assert accuracy(classifier, good, test_images, test_labels) > 0.95
    assert accuracy(classifier, good, test_images, (test_labels + 1) % 3) < 0.05
    shuffled = train_classifier(classifier, images, rng.permutation(labels), QUICK._replace(shift=0))
    assert accuracy(classifier, shuffled, test_images, test_labels) < 0.7


@pytest.mark.slow
def test_training_repeats_and_depends_on_its_seed(rng):
    classifier = Classifier(3, width=4, pairs=1)
    images, labels = bars(rng, 40)
    how = QUICK._replace(epochs=1)
    same, again, other = (
        train_classifier(classifier, images, labels, how, seed=seed)["params"]["Dense_0"]["kernel"]
        for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(same, again)
    assert not np.allclose(same, other)


def test_accuracy_counts(rng):
    classifier = Classifier(2, width=4, pairs=1)
    images = rng.integers(0, 256, size=(450, 4, 4, 3)).astype(np.uint8)
    variables = classifier.init(jax.random.key(0), np.zeros((1, 4, 4, 3), np.float32))
    _, logits = classifier.apply(variables, images.astype(np.float32) / 127.5 - 1)
    labels = rng.integers(2, size=450)
    assert accuracy(classifier, variables, images, labels) == np.mean(np.argmax(logits, 1) == labels)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((20, 8, 8, 1)), np.zeros(20, int), "uint8"),
        (np.zeros((20, 8, 8), np.uint8), np.zeros(20, int), r"\[N, H, W, C\]"),
        (np.zeros((20, 8, 8, 1), np.uint8), np.zeros(19, int), r"integers \[20\]"),
        (np.zeros((20, 8, 8, 1), np.uint8), np.full(20, 3), "from 3 to 3; there are 3 classes"),
        (np.zeros((5, 8, 8, 1), np.uint8), np.zeros(5, int), "batches of 16, and there are 5"),
    ],
)
def test_bad_input_is_refused(images, labels, message):
    with pytest.raises(ValueError, match=message):
        train_classifier(Classifier(3, width=4, pairs=1), images, labels, QUICK)
