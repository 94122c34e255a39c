"""A GAN of your own on eight Gaussians around a circle, trained as a full run: the least that a game needs.

The points are those of Metz et al., Unrolled Generative Adversarial Networks, 2017, section 3.1, on a smaller
circle; the loss is the hinge of Lim and Ye, Geometric GAN, 2017.

    python examples/eight_gaussians.py [STEPS]

It writes runs/eight-gaussians, and reaches 8 of 8 modes in 40 seconds of processor time. The same command again goes on
after whatever stopped it, to the same bits; more STEPS train further.
"""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgan
from jaxgan import Aux, Game, Player

SETTINGS = {"width": 128, "rate": 5e-4, "points": 100_000}
RUN = {"steps": 4_000, "batch_size": 256, "sample_every": 500, "samples": 1_000, "checkpoint_every": 1_000}
SIGMA = 0.05
MODES = np.stack([f(np.arange(8) * np.pi / 4) for f in (np.cos, np.sin)], -1)


class MLP(nn.Module):
    """Three hidden layers."""

    out: int
    width: int

    @nn.compact
    def __call__(self, x):
        for _ in range(3):
            x = nn.leaky_relu(nn.Dense(self.width)(x), 0.2)
        return nn.Dense(self.out)(x)


def source(settings):
    """The data: an array for each field. What the game learns to make is called "real"."""
    rng, n = np.random.default_rng(0), settings["points"]
    return {"real": MODES[rng.integers(8, size=n)] + SIGMA * rng.normal(size=(n, 2))}


def game(settings):
    """The game: two networks, what each player wants, and how samples are made."""
    G, D = MLP(2, settings["width"]), MLP(1, settings["width"])

    def init(key, batch):
        return {"G": G.init(key, batch["real"]), "D": D.init(jax.random.fold_in(key, 1), batch["real"])}

    def fake(state, keys):
        return G.apply(state.variables("G"), keys.normal((2,)))  # [N, 2]: one draw for each example

    def d_loss(state, batch, keys):  # whatever a player does not move is a constant to it
        real, made = (D.apply(state.variables("D"), x) for x in (batch["real"], fake(state, keys)))
        metrics = {"real_logit": jnp.mean(real), "fake_logit": jnp.mean(made)}
        return jnp.mean(nn.relu(1 - real) + nn.relu(1 + made)), Aux(metrics=metrics)

    def g_loss(state, batch, keys):
        return -jnp.mean(D.apply(state.variables("D"), fake(state, keys))), Aux()

    adam = optax.adam(settings["rate"], b1=0.0)
    players = {"discriminator": Player(("D",), d_loss, adam), "generator": Player(("G",), g_loss, adam)}
    return Game(init, players, sample=lambda state, keys, batch: fake(state, keys), ema={"G": 0.999})


if __name__ == "__main__":
    RUN["steps"] = int(sys.argv[1]) if sys.argv[1:] else RUN["steps"]
    run = jaxgan.train(game, source, "runs/eight-gaussians", settings=SETTINGS, **RUN)
    distance = np.linalg.norm(run.sample(2_500)[:, None] - MODES, axis=-1)
    near = distance.min(1) < 3 * SIGMA
    found = len(set(distance.argmin(1)[near]))
    print(f"{found} of 8 modes, {near.mean():.0%} of samples within 3 sigma")
