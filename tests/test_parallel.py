"""The same run on any number of devices, mapped or partitioned, in one process or two."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, slow

from jaxgan import game
from jaxgan.errors import InputError
from jaxgan.families import GAN
from jaxgan.layers import Conv, ConvTranspose, Dropout, Norm
from jaxgan.parallel import Spread

N, STEPS, POOL, LATENT = 16, 5, 6, 3


class Generator(nn.Module):
    @nn.compact
    def __call__(self, latent, label=None, *, train=False, keys=None):
        x = nn.Dense(32, use_bias=False)(latent).reshape(-1, 4, 4, 2)
        return jnp.tanh(ConvTranspose(1)(nn.relu(Norm("batch")(x, train=train))))


class Discriminator(nn.Module):
    @nn.compact
    def __call__(self, image, label=None, *, train=False, keys=None):
        x = nn.leaky_relu(Norm("batch")(Conv(4, use_bias=False)(image), train=train), 0.2)
        x = Dropout(0.3)(x, keys if train else None)
        return nn.Dense(1)(x.reshape(x.shape[0], -1))[:, 0]


def pooled_gan() -> game.Game:
    """A GAN with batch norm, dropout and an image pool; its memory also keeps the last latents and dropout's keys."""
    rules = play(
        GAN,
        Generator(),
        Discriminator(),
        latent=LATENT,
        generator_optimizer=optax.sgd(0.05),
        discriminator_optimizer=optax.sgd(0.05),
        ema=0.9,
    )
    player = rules.players["discriminator"]

    def loss(state, batch, keys):
        fresh, _ = rules.fakes.make(state, batch, keys)
        swap = keys.fold("swap").uniform() < 0.5
        place = (keys.fold("place").uniform() * POOL).astype(jnp.int32)
        seen = jnp.where(swap[:, None, None, None], state.memory["pool"][place], fresh)
        value, aux = player.loss(state, {**batch, "fakes": seen}, keys)
        latent = keys.fold("latent").normal((LATENT,))
        data = jax.random.key_data(keys.fold("real").example)
        new = {"images": fresh, "place": jnp.where(swap, place, POOL), "latent": latent, "keys": data}
        new["uniform"] = keys.fold("uniform").uniform((LATENT,))
        return value, aux._replace(memory=new)

    def remember(memory, new):
        last = jnp.stack([jnp.max(jnp.where(new["place"] == i, jnp.arange(N), -1)) for i in range(POOL)])
        pool = jnp.where((last >= 0)[:, None, None, None], new["images"][last], memory["pool"])
        return {"pool": pool, **{name: new[name] for name in ("latent", "uniform", "keys")}}

    def memory(batch):
        return {
            "pool": batch["real"][:POOL],
            "latent": jnp.zeros((N, LATENT)),
            "uniform": jnp.zeros((N, LATENT)),
            "keys": jnp.zeros((N, 2), jnp.uint32),
        }

    players = {**rules.players, "discriminator": player._replace(loss=loss, remember=remember)}
    return rules._replace(players=players, memory=memory)


@cache
def images() -> np.ndarray:
    shape = (STEPS, 2, N, 8, 8, 1)
    return np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)


def window(rules, axis):
    def run(state, whole, parts, count):
        return jax.lax.fori_loop(
            0, count, lambda i, s: game.step(rules, s, {"real": parts[i]}, axis)[0], state
        )

    return run


@cache
def initial():
    batch = {"real": jnp.asarray(images()[0, 0])}
    state = jax.jit(lambda: game.init(pooled_gan(), jax.random.key(3), batch))()
    return jax.tree.map(np.asarray, flat(state))


def flat(state):
    return state.replace(key=jax.random.key_data(state.key))


@cache
def one_device():
    """Five steps without any mapping, one jitted call a step."""
    rules = pooled_gan()
    state = initial().replace(key=jax.random.wrap_key_data(jnp.asarray(initial().key)))
    states = []
    step = jax.jit(lambda s, x: game.step(rules, s, {"real": x})[0])
    for x in images():
        state = step(state, x)
        states.append(flat(state))
    return states


@pytest.mark.parametrize(("kind", "devices"), [slow("pmap", 1), slow("pmap", 8), ("pmap", 2), slow("jit", 4)])
def test_devices_change_nothing_but_rounding(kind, devices):
    """Each shard equal, every draw to the bit, parameters within 1e-6 in five steps of SGD; one trace, all donated."""
    spread = Spread(kind, jax.devices()[:devices])
    run, traces = window(pooled_gan(), spread.axis), []
    run = spread.compile(lambda *args, inner=run: (traces.append(1), inner(*args))[1])
    state = initial().replace(key=jax.random.wrap_key_data(jnp.asarray(initial().key)))
    state = spread.replicate(state)
    for i, expected in enumerate(one_device()):
        state = run(state, (), spread.split(np.roll(images(), -i, 0)), np.int32(1))
        for leaf in jax.tree.leaves(flat(state)):
            shards = [np.asarray(shard.data) for shard in leaf.addressable_shards]
            assert len(shards) == devices
            for shard in shards:
                assert shard.shape == leaf.shape
                np.testing.assert_array_equal(shard, shards[0])
        np.testing.assert_array_equal(state.memory["latent"], expected.memory["latent"])
        np.testing.assert_array_equal(state.memory["uniform"], expected.memory["uniform"])
        np.testing.assert_array_equal(state.memory["keys"], expected.memory["keys"])
        for got, want in zip(jax.tree.leaves(flat(state)), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)
    assert not np.allclose(state.memory["pool"], initial().memory["pool"], atol=1e-3)
    moved = jax.tree.map(lambda a, b: np.abs(np.asarray(a) - b).max(), state.params, initial().params)
    assert min(jax.tree.leaves(moved)) > 1e-5  # every parameter has been trained: 1e-6 means something
    before = run(state, (), spread.split(images()), np.int32(2))
    run(before, (), spread.split(images()), np.int32(5))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(before))
    assert len(traces) == 1  # whatever the number of steps


def test_one_device_talks_to_nobody():
    """Not even through collectives of one device, which XLA keeps; batch norm, gradients and memory alike."""
    texts = []
    for devices in (1, 2):
        spread = Spread("pmap", jax.devices()[:devices])
        run = spread.compile(window(pooled_gan(), spread.axis))
        state = spread.replicate(initial().replace(key=jax.random.wrap_key_data(jnp.asarray(initial().key))))
        texts.append(run.lower(state, (), spread.split(images()), np.int32(1)).as_text())
    assert [bool(re.search("all_reduce|all_gather", text)) for text in texts] == [False, True]


def test_batches_that_devices_cannot_share_are_refused():
    with pytest.raises(InputError, match="multiple of 8"):
        Spread("pmap").rows(12)


PROCESS = """
import sys, hashlib
sys.path.insert(0, {tests!r})
processes, process, port = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
import jax, numpy as np, jax.numpy as jnp
jax.config.update("jax_num_cpu_devices", 2 // processes)
from jaxgan import parallel
if processes == 2:
    parallel.connect(f"127.0.0.1:{{port}}", 2, process)
import test_parallel as t
from jaxgan import game
from quick import quick_jit
batch = {{"real": jnp.asarray(t.images()[0, 0])}}
first = quick_jit(lambda: game.init(t.pooled_gan(), jax.random.key(3), batch))()
spread = parallel.Spread("jit")
assert spread.size == 2 and spread.processes == processes
run = spread.compile(t.window(t.pooled_gan(), spread.axis))
state = spread.replicate(first)
rows = spread.rows(t.N)
for i in range(0, t.STEPS, 2):
    chunk = np.resize(t.images()[i:i + 2], (2, *t.images().shape[1:]))[:, :, rows]
    state = run(state, (), spread.split(chunk), np.int32(min(2, t.STEPS - i)))
digest = hashlib.sha256()
for leaf in jax.tree.leaves(t.flat(spread.local(state))):
    digest.update(np.asarray(leaf).tobytes())
print("digest", digest.hexdigest())
"""


def free_port() -> str:
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


@pytest.mark.slow
def test_two_processes_make_the_bits_of_one():
    """Two processes of one device each, and one process of two devices, under jit; under pmap: tests/test_train.py."""
    code = PROCESS.format(tests=str(Path(__file__).parent))
    port = free_port()

    def start(processes, process):
        command = [sys.executable, "-c", code, str(processes), str(process), port]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    running = [start(2, 0), start(2, 1), start(1, 0)]
    digests = []
    for process in running:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        digests.append([line for line in out.splitlines() if line.startswith("digest")])
    assert len(digests[0]) == 1
    assert digests[0] == digests[1] == digests[2]
