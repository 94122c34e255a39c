"""The deviation within groups of a batch, by hand and over devices, and pixel shuffle."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peers import load
from quick import quick_jit, slow

from jaxgan.axis import AXIS
from jaxgan.errors import InputError
from jaxgan.layers import minibatch_std, pixel_shuffle
from jaxgan.networks import (
    BandDiscriminator,
    BigGANDiscriminator,
    DCGANDiscriminator,
    MatchingDiscriminator,
    MLPDiscriminator,
    PatchGAN,
    ResNetDiscriminator,
    VGGDiscriminator,
)
from jaxgan.networks.registry import NETWORKS

pytestmark = pytest.mark.usefixtures("quick_programs")


def test_two_groups_by_hand():
    """Values 1 and 3 deviate by 1, 0 and 8 by 4: the mean of 1 and 4. The second group's examples are the same."""
    x = jnp.array([[1.0, 0], [3, 8], [5, 5], [5, 5]])
    np.testing.assert_allclose(minibatch_std(x, 2)[:, 2], [2.5, 2.5, 1e-4, 1e-4], rtol=1e-5)
    np.testing.assert_array_equal(minibatch_std(x, 2)[:, :2], x)
    assert jnp.isfinite(jax.grad(lambda x: jnp.sum(minibatch_std(x, 2)))(x)).all()


def test_a_map_gets_one_channel_with_its_groups_number(rng):
    x = rng.normal(size=(8, 3, 2, 5)).astype(np.float32)
    y = np.asarray(minibatch_std(x))
    assert y.shape == (8, 3, 2, 6)
    for group in (slice(0, 4), slice(4, 8)):
        np.testing.assert_allclose(y[group, :, :, 5], x[group].astype(np.float64).std(0).mean(), rtol=1e-5)
    np.testing.assert_allclose(minibatch_std(x[:2])[..., 5], x[:2].std(0).mean(), rtol=1e-5)
    with pytest.raises(InputError, match="groups of 4 do not divide a batch of 6"):
        minibatch_std(x[:6])


@pytest.mark.parametrize("devices", [2, 4, 8])
def test_the_number_of_devices_changes_nothing(devices, rng):
    """Groups that lie on one device and groups that lie on several: values, and the gradient of a mean of them."""
    x, w = (rng.normal(size=(8, 3)).astype(np.float32) for _ in range(2))

    def loss(x, w):
        y = minibatch_std(x)
        return jnp.mean(y[:, 3] * w[:, 0] + jnp.sum(jnp.square(y[:, :3]), 1)), y

    whole, expected = jax.grad(loss, has_aux=True)(x, w)
    split = lambda a: a.reshape(devices, -1, 3)  # noqa: E731
    each, y = jax.pmap(jax.grad(loss, has_aux=True), axis_name=AXIS, devices=jax.devices()[:devices])(
        split(x), split(w)
    )
    np.testing.assert_allclose(np.asarray(y).reshape(8, 4), expected, rtol=1e-6)
    # Losses are means over a device's part, and their mean over the devices is what is minimised.
    np.testing.assert_allclose(np.asarray(each).reshape(8, 3) / devices, whole, rtol=1e-5, atol=1e-7)


STD, PLAIN = {"minibatch_std": True}, {"minibatch_std": True, "norm": "none"}
JUDGES = {
    "dcgan": DCGANDiscriminator(16, 1, 2, **PLAIN),
    "mlp": MLPDiscriminator(4, 1, **STD),
    "resnet": ResNetDiscriminator(16, 1, 2, **STD),
    "biggan": BigGANDiscriminator(28, 1, 2, attention=0, **STD),  # and SAGAN's, which is the same
    "vgg": VGGDiscriminator(2, 1, **PLAIN),
    "patchgan": PatchGAN(2, 1, **PLAIN),
    "lapgan": BandDiscriminator(2, **STD),
    "matching": MatchingDiscriminator(16, 1, 2, 2, **PLAIN),
}
"""Every discriminator that may see groups."""


@pytest.mark.parametrize("name", [name if name in ("mlp", "dcgan") else slow(name) for name in JUDGES])
def test_every_discriminator_can_see_how_its_group_differs(name, rng):
    """Another first image changes the logits of its group of four, and of no other."""
    module: Any = JUDGES[name]
    side = getattr(module, "resolution", 16)
    x = rng.uniform(-1, 1, (8, side, side, 1)).astype(np.float32)
    other = np.concatenate([rng.uniform(-1, 1, (1, side, side, 1)).astype(np.float32), x[1:]])
    given = (jnp.ones((8, 3)),) if name == "matching" else ()

    @quick_jit
    def logits(both):
        before, variables = module.init_with_output(jax.random.key(0), both[0], *given)
        return before, module.apply(variables, both[1], *given)

    before, after = logits(np.stack([x, other]))
    apart = np.abs(np.asarray(after) - np.asarray(before)).reshape(8, -1).max(1)
    assert (apart > 1e-5 * apart.max()).tolist() == [True] * 4 + [False] * 4


def test_every_discriminators_settings_reach_its_module():
    kinds: Any = NETWORKS["discriminator"].kinds
    assert len(kinds) == 9
    for name, kind in kinds.items():
        for wanted in (True, False):
            module = kind(minibatch_std=wanted).build(resolution=28, channels=1)
            assert module.minibatch_std is wanted, name


def test_pixel_shuffle_by_hand(rng):
    """One pixel of 4 * 2 channels: 2x2 pixels of two channels, row by row; and index by index."""
    y = pixel_shuffle(jnp.arange(8.0).reshape(1, 1, 1, 8))
    np.testing.assert_array_equal(y[0, :, :, 0], [[0, 2], [4, 6]])
    np.testing.assert_array_equal(y[0, :, :, 1], [[1, 3], [5, 7]])
    x = rng.normal(size=(2, 3, 2, 18)).astype(np.float32)
    found = np.asarray(pixel_shuffle(jnp.asarray(x), 3))
    assert found.shape == (2, 9, 6, 2)
    for n, i, j, c in np.ndindex(*found.shape):
        assert found[n, i, j, c] == x[n, i // 3, j // 3, (3 * (i % 3) + j % 3) * 2 + c]
    with pytest.raises(ValueError, match="multiple of 9 channels, got 8"):
        pixel_shuffle(jnp.zeros((1, 1, 1, 8)), 3)


def test_pixel_shuffle_is_pytorchs_with_channels_in_another_order(rng):
    torch = load("torch")
    x = rng.normal(size=(2, 3, 4, 18)).astype(np.float32)
    theirs_in = x.reshape(2, 3, 4, 9, 2).transpose(0, 4, 3, 1, 2).reshape(2, 18, 3, 4)
    theirs = torch.nn.functional.pixel_shuffle(torch.from_numpy(theirs_in), 3)
    np.testing.assert_array_equal(pixel_shuffle(jnp.asarray(x), 3), theirs.numpy().transpose(0, 2, 3, 1))
