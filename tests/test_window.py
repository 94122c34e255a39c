"""Windows of steps: the same bits however long they are, and a step that is not finite is refused by itself."""

from functools import cache, partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, slow

from jaxgan import config, domains, experiment, game
from jaxgan.data import stream
from jaxgan.data.feed import Resident, Streaming
from jaxgan.data.sources import Embedded
from jaxgan.families import GAN
from jaxgan.networks import MLPDiscriminator, MLPGenerator
from jaxgan.parallel import Spread
from jaxgan.runs.checkpoint import flatten, sha256
from jaxgan.training.window import program

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")
ROOT = Path(__file__).parents[1]


@pytest.mark.device
@pytest.mark.parametrize("resident", [True, slow(False)])
def test_windows_of_any_length_make_the_same_bits(resident):
    source = Embedded("test")
    settings = config.load(
        ROOT / "configs" / "mlp.toml",
        {"generator.width": "8", "generator.depth": "1", "discriminator.dropout": "0.1"},
    )
    setup = experiment.build(settings, source.classes, len(source))
    found, window, spread = [], None, Spread(devices=jax.devices()[:2])
    for length in (1, 4, 10):
        shape = (0, setup.game.turns, 8, 10, spread)
        if resident:
            feed = Resident(stream.load(source, progress=False), *shape)
        else:
            feed = Streaming(source, *shape, stop=20, workers=0)
        window = window or program(setup.game, domains.Image(), feed, spread, 8, 100)
        state = spread.replicate(experiment.initial(setup))
        logs = []
        for start in range(0, 20, length):
            state, log = window(state, feed.whole, feed.parts(start, length), np.int32(length))
            logs.append({k: np.asarray(v)[:length] for k, v in log.items()})
        joined = {k: np.concatenate([log[k] for log in logs]) for k in logs[0]}
        found.append((sha256(flatten(spread.local(state))), {k: v.tobytes() for k, v in joined.items()}))
    assert found[0] == found[1] == found[2]


@cache
def fragile():
    """A GAN whose generator's loss is not finite at the steps that its memory, `[12]`, marks."""
    sgd = {f"{name}_optimizer": optax.sgd(0.01) for name in ("generator", "discriminator")}
    rules = play(GAN, MLPGenerator((28, 28, 1), 8, 1), MLPDiscriminator(8, 1), latent=4, **sgd)
    player = rules.players["generator"]

    def loss(state, batch, keys):
        value, aux = player.loss(state, batch, keys)
        return jnp.where(state.memory[state.step], jnp.nan, value), aux

    players = {**rules.players, "generator": player._replace(loss=loss)}
    return rules._replace(players=players, memory=lambda batch: jnp.zeros(12, bool))


@cache
def started():
    return game.init(fragile(), jax.random.key(0), {"real": jnp.zeros((1, 28, 28, 1))})


@jax.jit
def one_step(state, batch):
    return game.step(fragile(), state, batch)


@cache
def window_of(length, give_up_after):
    feed = Resident(stream.load(Embedded("test"), progress=False), 0, fragile().turns, 8, length, Spread())
    return feed, program(fragile(), domains.Image(), feed, Spread(), 8, give_up_after)


@pytest.mark.parametrize(
    ("bad", "give_up_after", "taken"),
    [
        ((0, 3, 4, 9), 3, 12),
        slow((11,), 3, 12),
        ((2, 3, 4, 5), 3, 5),
        slow((0, 1, 2), 3, 3),
        (tuple(range(12)), 100, 12),
    ],
)
def test_steps_that_are_not_finite_are_refused_one_by_one(bad, give_up_after, taken):
    """In one window, in windows of five, and by `game.step`, which refuses at once."""
    rules, spread, data = fragile(), Spread(), stream.load(Embedded("test"), progress=False)
    # The memory says which steps are bad, so that one program serves all cases.
    memory = np.isin(np.arange(12), bad)
    begin = lambda: started().replace(memory=jnp.asarray(memory))  # noqa: E731
    states, logs = [], []
    for length in (12, 5):
        feed, window = window_of(length, give_up_after)
        state, log = spread.replicate(begin()), []
        for start in range(0, 12, length):
            count = min(length, 12 - start)
            state, new = window(state, feed.whole, feed.parts(start, length), np.int32(count))
            log.append({k: np.asarray(v)[:count] for k, v in new.items()})
        states.append(spread.local(state))
        logs.append({k: np.concatenate([part[k] for part in log]) for k in log[0]})
    assert sha256(flatten(states[0])) == sha256(flatten(states[1]))
    state, one = begin(), Resident(data, 0, rules.turns, 8, taken, spread)
    in_a_row = []
    for rows in one.host(0, taken):
        batch = {name: jnp.asarray(values[rows]) for name, values in data.items()}
        state, _ = one_step(state, domains.Image().decode(batch))
        in_a_row.append(int(state.skipped_in_a_row))
    for found, log in zip(states, logs, strict=True):
        assert int(found.step) == taken
        assert (int(found.skipped), int(found.skipped_in_a_row)) == (int(state.skipped), in_a_row[-1])
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), found.params, state.params)
        assert log["played"].tolist() == [1] * taken + [0] * (12 - taken)
        assert log["skipped_in_a_row"][:taken].tolist() == in_a_row
        assert log["skipped"][:taken].tolist() == [float(n > 0) for n in in_a_row]
        assert np.isnan(log["generator/loss"][:taken]).tolist() == [n > 0 for n in in_a_row]
