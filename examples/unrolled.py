"""An unrolled GAN: the generator looks ahead at what K steps of the discriminator would make of its move.

Metz et al., Unrolled Generative Adversarial Networks, 2017, section 3.1: eight Gaussians on a circle, whose modes a
plain GAN (K = 0) reaches by turns, and this one all at once.

    python examples/unrolled.py [STEPS]

It writes runs/unrolled-0, which reaches 4 modes, and runs/unrolled-5, with all 8, in two minutes of processor time.
"""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgan
from jaxgan import Aux, Game, Player
from jaxgan.axis import current  # the axis of the devices, over which gradients are averaged

SETTINGS = {"unroll": 5, "width": 128, "latent": 16, "d_rate": 1e-4, "g_rate": 1e-3, "points": 100_000}
RUN = {"steps": 4_000, "batch_size": 128, "sample_every": 500, "samples": 1_000, "checkpoint_every": 1_000}
SIGMA = 0.05
MODES = 2 * np.stack([f(np.arange(8) * np.pi / 4) for f in (np.cos, np.sin)], -1)


class MLP(nn.Module):
    """Two hidden layers; of tanh, as gradients are taken of gradients."""

    out: int
    width: int

    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.tanh(nn.Dense(self.width)(x))
        return nn.Dense(self.out)(x)


def source(settings):
    """Points of the mixture."""
    rng, n = np.random.default_rng(0), settings["points"]
    return {"real": MODES[rng.integers(8, size=n)] + SIGMA * rng.normal(size=(n, 2))}


def game(settings):
    """The game; the discriminator that the generator looks ahead with is the very player that it meets."""
    G, D, latent = MLP(2, settings["width"]), MLP(1, settings["width"]), settings["latent"]
    sample = lambda state, keys, batch=None: G.apply(state.variables("G"), keys.normal((latent,)))

    def init(key, batch):
        g, d = jax.random.split(key)
        return {"G": G.init(g, jnp.zeros((1, latent))), "D": D.init(d, batch["real"])}

    def d_loss(state, batch, keys):
        real, fake = (D.apply(state.variables("D"), x) for x in (batch["real"], sample(state, keys)))
        return jnp.mean(nn.softplus(-real) + nn.softplus(fake)), Aux()

    # Gradients go through Adam here, whose root has no slope at 0: hence eps_root.
    d = Player(("D",), d_loss, optax.adam(settings["d_rate"], b1=0.5, eps_root=1e-8))

    def g_loss(state, batch, keys):
        for k in range(settings["unroll"]):  # equation 7; nothing of it remains, but its gradient
            state, _ = jaxgan.update("D", d, state, batch, keys.fold(f"ahead {k}"), current())
        return jnp.mean(nn.softplus(-D.apply(state.variables("D"), sample(state, keys)))), Aux()

    g = Player(("G",), g_loss, optax.adam(settings["g_rate"], b1=0.5))
    return Game(init, {"D": d, "G": g}, sample)


if __name__ == "__main__":
    RUN["steps"] = int(sys.argv[1]) if sys.argv[1:] else RUN["steps"]
    for K in (0, SETTINGS["unroll"]):
        run = jaxgan.train(game, source, f"runs/unrolled-{K}", settings=SETTINGS | {"unroll": K}, **RUN)
        distance = np.linalg.norm(run.sample(2_500)[:, None] - MODES, axis=-1)
        near = distance.argmin(1)[distance.min(1) < 3 * SIGMA]
        print(f"K = {K}: {len(set(near))} of 8 modes, {len(near) / 2_500:.0%} of samples within 3 sigma")
