"""The networks that scores look through: their batches, their errors, and the accuracy of the one that is shipped."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxgan import parallel
from jaxgan.data.sources import Embedded
from jaxgan.errors import InputError
from jaxgan.scoring import features
from jaxgan.scoring.formulas import frechet_distance, moments

pytestmark = pytest.mark.usefixtures("quick_programs")


@pytest.fixture(scope="module")
def network():
    return features.load("auto", (28, 28, 1))


@pytest.fixture(scope="module")
def test_set():
    images, labels = Embedded("test").arrays()
    return images[..., None], labels


@pytest.fixture(scope="module")
def extracted(network, test_set):
    return network.extract([test_set[0]])


def test_the_shipped_classifier_knows_its_classes(extracted, test_set):
    """At least 92% of the 2,000 embedded test images, which it was not trained on."""
    assert np.mean(extracted.logits.argmax(1) == test_set[1]) >= 0.92
    assert features.FASHION.stat().st_size < 3_000_000
    assert extracted.features.shape == (2000, 128)
    assert extracted.features.dtype == np.float32


def test_batches_order_and_devices_change_nothing_but_rounding(
    network, test_set, extracted, monkeypatch, rng
):
    images = test_set[0][:230]
    order = rng.permutation(230)
    seen = []
    batches = np.array_split(images[order], [1, 8, 150])
    shuffled = network.extract(batches, seen.append)
    assert sum(seen) == 230
    devices = parallel.jax.local_devices()
    assert len(devices) > 1
    monkeypatch.setattr(parallel.jax, "local_devices", lambda: devices[:1])
    single = features.load("auto", (28, 28, 1))
    assert single.batch < network.batch
    alone = single.extract([images])
    for found in (shuffled.features[np.argsort(order)], alone.features):
        np.testing.assert_allclose(found, extracted.features[:230], rtol=1e-5, atol=1e-6)
    real, score = moments(extracted.features[230:]), frechet_distance
    whole = score(real, moments(extracted.features[:230]))
    for found in (shuffled, alone):
        np.testing.assert_allclose(score(real, moments(found.features)), whole, rtol=1e-6)


def test_what_a_network_does_not_take_is_refused(tmp_path):
    with pytest.raises(InputError, match="28x28 grey images, these are 32x32 colour"):
        features.load("fashion-cnn", (32, 32, 3))
    with pytest.raises(InputError, match="leave out --resize"):
        features.load("fashion-cnn", (28, 28, 1), how="clean")
    with pytest.raises(InputError, match="--features inception needs --weights"):
        features.load("inception", (32, 32, 3))
    with pytest.raises(InputError, match="no features of images are called vgg"):
        features.load("vgg", (32, 32, 3))
    with pytest.raises(InputError, match=r"nothing\.npz: no such file"):
        features.load("inception", (32, 32, 3), tmp_path / "nothing.npz")


def test_wrong_weights_are_refused_with_their_hash_and_shapes(tmp_path):
    table = load_file(features.FASHION)
    table["params/Dense_0/kernel"] = np.zeros((128, 9), np.float32)
    save_file(table, tmp_path / "other.safetensors")
    with pytest.raises(
        InputError, match=r"SHA-256 [0-9a-f]{64}.*Dense_0/kernel is \(128, 9\), not \(128, 10\)"
    ):
        features.load("fashion-cnn", (28, 28, 1), tmp_path / "other.safetensors")


def test_features_that_are_not_finite_are_refused(tmp_path):
    table = load_file(features.FASHION)
    table["params/Dense_0/bias"] = np.full(10, np.nan, np.float32)
    save_file(table, tmp_path / "nan.safetensors")
    network = features.load("fashion-cnn", (28, 28, 1), tmp_path / "nan.safetensors")
    with pytest.raises(InputError, match="not finite"):
        network.extract([np.zeros((3, 28, 28, 1), np.uint8)])
    with pytest.raises(InputError, match="nothing to look at"):
        network.extract([])
