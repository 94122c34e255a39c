"""The FID Inception network against pytorch-fid's, and what can be known of it without PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import peers
import pytest
from quick import quick_jit

from jaxgan.errors import InputError
from jaxgan.layers import resize
from jaxgan.networks import inception
from jaxgan.networks.inception import FIDInception


def array(*shape):
    return jax.ShapeDtypeStruct(shape, jnp.float32)


def test_shapes_and_parameters():
    outputs, variables = jax.eval_shape(
        FIDInception().init_with_output, jax.random.key(0), array(2, 299, 299, 3)
    )
    assert [(leaf.shape, leaf.dtype) for leaf in outputs] == [
        ((2, 2048), jnp.float32),
        ((2, 1008), jnp.float32),
    ]
    # Keras counts 23,817,352 trainable parameters in its Inception v3, whose batch norms have shifts and no scales, for
    # 1000 classes.
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert count == 23_817_352 + 8 * (2048 + 1)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="299"):
        jax.eval_shape(FIDInception().init, jax.random.key(0), array(2, 224, 224, 3))


def test_pooling_leaves_the_padding_out():
    ones = jnp.ones((1, 3, 4, 2))
    np.testing.assert_allclose(inception.average(ones), ones, rtol=1e-6)
    np.testing.assert_array_equal(inception.maximum(-ones), -ones)


def test_other_weights_are_refused(tmp_path):
    np.savez(tmp_path / "w.npz", **{"fc.weight": np.zeros((1000, 2048))})
    with pytest.raises(InputError, match=r"SHA-256 [0-9a-f]{64}.* is missing.*, and \d+ more") as caught:
        inception.load(tmp_path / "w.npz")
    assert inception.SOURCE in str(caught.value)


def randomised(torch, network):
    """Weights that keep the size of what flows, and statistics far from their defaults."""
    torch.manual_seed(0)
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            torch.nn.init.normal_(value, std=(2 / value[0].numel()) ** 0.5)
        elif name.endswith(("running_var", "bn.weight")):
            torch.nn.init.uniform_(value, 0.5, 1.5)
        elif value.ndim == 1:
            torch.nn.init.uniform_(value, -0.5, 0.5)


def test_features_and_logits_are_those_of_pytorch_fid(tmp_path, rng, monkeypatch):
    theirs = peers.load("pytorch_fid.inception")
    torch = peers.load("torch")
    # Their constructor downloads the weights: it gets its own back instead.
    made = []
    build = theirs._inception_v3
    monkeypatch.setattr(theirs, "_inception_v3", lambda *a, **k: made.append(build(*a, **k)) or made[0])
    monkeypatch.setattr(theirs, "load_state_dict_from_url", lambda *a, **k: made[0].state_dict())
    network = theirs.fid_inception_v3().eval()
    randomised(torch, network)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    monkeypatch.setattr(theirs, "fid_inception_v3", lambda: network)
    wrapped = theirs.InceptionV3().eval()  # resizes and normalises too

    images = rng.uniform(0, 1, (2, 61, 83, 3)).astype(np.float32)
    images[1] *= np.linspace(0, 1, 83, dtype=np.float32)[None, :, None]
    with torch.no_grad():
        (features,) = wrapped(torch.from_numpy(images.transpose(0, 3, 1, 2)))
        logits = network.fc(features[..., 0, 0]).numpy()
        features = features[..., 0, 0].numpy()

    @quick_jit
    def ours(variables, images):
        return FIDInception().apply(variables, resize.bilinear(images, inception.SIZE) * 2 - 1)

    found = ours(inception.load(tmp_path / "w.pth"), images)
    for mine, expected in zip(found, (features, logits), strict=True):
        scale = np.abs(expected).max()
        assert np.abs(expected[0] - expected[1]).max() > 0.05 * scale  # the images show
        np.testing.assert_allclose(mine, expected, rtol=0, atol=1e-4 * scale)
