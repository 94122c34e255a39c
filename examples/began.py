"""BEGAN on the embedded images: an autoencoder is the discriminator, and a number in memory balances the two players.

Berthelot et al., BEGAN: Boundary Equilibrium Generative Adversarial Networks, 2017; its networks were convolutional.

    python examples/began.py [STEPS]

It writes runs/began and its report.html, with images beside their reconstructions. In two minutes of processor time
the measure of convergence, M, falls from 0.60 to 0.17; of ten classes it makes tops and dresses alone.
"""

import math
import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import jaxgan
from jaxgan import Aux, Built, Game, Keys, Latents, Player, Sheet

SETTINGS = {"width": 256, "code": 16, "rate": 5e-4, "gamma": 0.8, "k_rate": 0.05}
RUN = {"steps": 4_000, "batch_size": 64, "sample_every": 500, "checkpoint_every": 1_000}
SHOWN = {"k": ["discriminator/k"], "M": ["discriminator/M"], "L(x)": ["discriminator/real_error"]}


class MLP(nn.Module):  # hidden layers of ELUs, then numbers of some shape
    shape: tuple[int, ...]
    width: int

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = nn.elu(nn.Dense(self.width)(x))
        return nn.Dense(math.prod(self.shape))(x).reshape(-1, *self.shape)


def game(settings):
    """The game, and a picture for its report."""
    latents, gamma = Latents(settings["code"], "uniform"), settings["gamma"]
    G, encoder = MLP((28, 28, 1), settings["width"]), MLP((settings["code"],), settings["width"])
    D = nn.Sequential([encoder, G])  # decodes as the generator does, by parameters of its own

    error = lambda state, x: jnp.abs(x - D.apply(state.variables("D"), x)).mean((1, 2, 3))  # L, `[N]`

    def sample(state, keys, batch=None):
        z = batch["latent"] if batch and "latent" in batch else latents.draw(keys)
        return G.apply(state.variables("G"), z)

    def d_loss(state, batch, keys):
        real, fake, k = error(state, batch["real"]), error(state, sample(state, keys)), state.memory
        balance = gamma * real - fake
        metrics = {"k": k, "M": real.mean() + jnp.abs(balance.mean()), "real_error": real.mean()}
        return real.mean() - k * fake.mean(), Aux(memory=balance, metrics=metrics)

    def init(key, batch):
        g, d = jax.random.split(key)
        return {"G": G.init(g, latents.draw(Keys.of(key, 1))), "D": D.init(d, batch["real"])}

    def reconstructions(state, batch):
        x = jnp.concatenate([batch["real"][:32], sample(state, Keys.of(jax.random.key(0), 32))])
        return Sheet(jnp.stack([x, D.apply(state.variables("D"), x)], 1).reshape(-1, *x.shape[1:]), 16)

    # The balance comes from the examples of all devices, so that k is the same on each.
    remember = lambda k, balance: jnp.clip(k + settings["k_rate"] * balance.mean(), 0, 1)
    g_loss = lambda state, batch, keys: (error(state, sample(state, keys)).mean(), Aux())
    adam, memory = optax.adam(settings["rate"], b1=0.5), lambda batch: jnp.float32(0)
    d, g = Player(("D",), d_loss, adam, remember=remember), Player(("G",), g_loss, adam)
    pictures = {"real images, then generated ones, each with its reconstruction": reconstructions}
    made = Game(init, {"discriminator": d, "generator": g}, sample, memory, ema={"G": 0.999})
    return Built(made, latents=latents, pictures=pictures)


if __name__ == "__main__":
    RUN["steps"] = int(sys.argv[1]) if sys.argv[1:] else RUN["steps"]
    run = jaxgan.train(game, "embedded", "runs/began", settings=SETTINGS, shown=SHOWN, **RUN)
    M = run.log["discriminator/M"]
    print(f"M {M[:100].mean():.3f} at first, {M[-100:].mean():.3f} at last; see {run.report()}")
