"""A sweep in one program: learning rates and seeds by `jax.vmap`, then the best rate as a full run.

A game is pure functions: its rate may be a traced number, and its first state and its step may be mapped. This one is
of a family that comes with jaxgan, whose `game` wires two networks. The points are those of eight_gaussians.py.

    python examples/sweep.py [STEPS]

It prints what each rate comes to with three seeds in half as many steps: 5, 45, 88 and 96% of samples within 3 sigma.
It writes runs/sweep. All of it takes a minute of processor time.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgan
from jaxgan import Keys
from jaxgan.families import GAN
from jaxgan.networks import MLPDiscriminator, MLPGenerator

SETTINGS = {"width": 64, "rate": 1e-3, "points": 50_000}
RUN = {"steps": 3_000, "batch_size": 128, "sample_every": 500, "samples": 1_000, "checkpoint_every": 1_000}
RATES, SEEDS, SIGMA = [1e-4, 3e-4, 1e-3, 3e-3], [0, 1, 2], 0.05
MODES = np.stack([f(np.arange(8) * np.pi / 4) for f in (np.cos, np.sin)], -1)


def source(settings):
    """Points of the mixture."""
    rng, n = np.random.default_rng(0), settings["points"]
    return {"real": MODES[rng.integers(8, size=n)] + SIGMA * rng.normal(size=(n, 2))}


def game(settings):
    """A GAN of the hinge loss."""
    generator = MLPGenerator((2,), settings["width"], tanh=False)
    discriminator, adam = MLPDiscriminator(settings["width"]), optax.adam(settings["rate"], b1=0.0)
    family = GAN(loss="hinge", latent=2, ema=0.999)
    return family.game(generator, discriminator, generator_optimizer=adam, discriminator_optimizer=adam)


def swept(rate, seed, points, steps):
    """The share of samples within 3 sigma of a mode, and how many modes have any, of a run made by hand."""
    gan, key, size = game(SETTINGS | {"rate": rate}), jax.random.key(seed), RUN["batch_size"]

    def step(i, state):  # a batch for each turn
        rows = jax.random.randint(jax.random.fold_in(key, i), (gan.turns, size), 0, len(points))
        return jaxgan.step(gan, state, {"real": points[rows]})[0]

    state = jax.lax.fori_loop(0, steps, step, jaxgan.init(gan, key, {"real": points[:1]}))
    made = gan.sample(state.averaged(), Keys.of(key, 1_000), None)
    near = jnp.linalg.norm(made[:, None] - jnp.asarray(MODES)[None], axis=-1) < 3 * SIGMA
    return near.any(1).mean(), near.any(0).sum()


if __name__ == "__main__":
    RUN["steps"] = int(sys.argv[1]) if sys.argv[1:] else RUN["steps"]
    points = jnp.asarray(source(SETTINGS)["real"], jnp.float32)  # on the device, once
    over = jax.vmap(jax.vmap(swept, (None, 0, None, None)), (0, None, None, None))  # [rates, seeds]
    shares, modes = jax.jit(over)(jnp.float32(RATES), jnp.int32(SEEDS), points, RUN["steps"] // 2)
    for rate, share, found in zip(RATES, shares, modes, strict=True):
        print(f"rate {rate:7}: {share.mean():4.0%} of samples within 3 sigma; modes {found.tolist()}")
    best = RATES[int(shares.mean(1).argmax())]
    run = jaxgan.train(game, source, "runs/sweep", settings=SETTINGS | {"rate": best}, **RUN)
    print(f"trained with {best}: {run.path}")
