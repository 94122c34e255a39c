"""What families are wired with, by a network that can be worked out by hand."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import game
from jaxgan.families.wiring import fakes, generated, initial, judged_by, trained
from jaxgan.game import Aux, Game, Keys
from jaxgan.networks import MLPDiscriminator

pytestmark = pytest.mark.usefixtures("quick_programs")
KEY = jax.random.key(0)
X = jnp.asarray([1.0, 3.0])


class Line(nn.Module):
    """2 x + more, and 10 more with keys that are those of the network "generator"; counts its turns."""

    @nn.compact
    def __call__(self, x, more=0.0, *, train, keys=None):
        slope = self.param("slope", lambda key: jnp.float32(2))
        turns = self.variable("turns", "count", lambda: jnp.float32(0))
        if train and not self.is_initializing():
            turns.value += 1
        if keys is not None:
            more += 10 * (keys == Keys.of(KEY, 2).fold("generator").example)
        return slope * x + more


def state_of(name):
    rules = Game(lambda key, batch: {name: Line().init(key, X, train=True)}, {}, lambda *of: X)
    return game.init(rules, KEY, {"real": X})


def test_a_judge_goes_on_from_the_statistics_that_it_is_given():
    judge = judged_by(Line(), state_of("judge"), "judge", 5.0)
    logits, more, stats = judge(X, Keys.of(KEY, 2).example)
    np.testing.assert_array_equal(logits, [7, 11])
    assert more is None
    assert stats == {"turns": {"count": 1}}
    assert judge(X, Keys.of(KEY, 2).example, stats)[2] == {"turns": {"count": 2}}


def test_fakes_are_made_in_training_and_samples_as_trained():
    state, keys = state_of("generator"), Keys.of(KEY, 2)

    def make(state, batch, keys):
        return generated(Line(), state, keys, X, batch["more"])

    made, aux = fakes(make, state, {"more": 5.0}, keys)
    np.testing.assert_array_equal(made, [17, 21])
    assert aux == Aux({"generator": {"turns": {"count": 1}}})
    assert fakes(make, state, {"fakes": made}, keys) == (made, Aux())
    np.testing.assert_array_equal(trained(Line(), state, "generator", X, more=5.0), [7, 11])


def test_each_network_begins_with_the_key_of_its_place():
    points = MLPDiscriminator(4, 1)
    nets = initial(KEY, one=(Line(), X), other=(points, X[None]))
    alone = points.init(jax.random.fold_in(KEY, 1), X[None], train=True)
    assert list(nets) == ["one", "other"]
    jax.tree.map(np.testing.assert_array_equal, nets["other"], alone)
