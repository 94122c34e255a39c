"""Networks of your own on a folder of images: two Linen modules with batch norm, whose statistics the state keeps.

After Radford et al., Unsupervised Representation Learning with Deep Convolutional GANs, 2015, but small.

    python examples/own_networks.py FOLDER [STEPS]

Images are cropped and shrunken to 32x32. It takes 1.5 minutes of processor time, and writes runs/own-networks.
"""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

import jaxgan
from jaxgan import Aux, Game, Latents, Player
from jaxgan.layers import (
    Conv,
    ConvTranspose,
    Norm,
)  # Linen's are slower on CPUs, and know of one device alone

FOLDER = {"source": "folder", "resolution": 32, "channels": 3}  # as in a config's [data]
SETTINGS = {"width": 16, "latent": 64, "rate": 2e-4}
RUN = {"steps": 1_500, "batch_size": 32, "sample_every": 250}


class Generator(nn.Module):  # latents to images in -1 to 1
    width: int

    @nn.compact
    def __call__(self, z, train):
        x = nn.Dense(8 * 8 * 2 * self.width)(z).reshape(-1, 8, 8, 2 * self.width)
        x = ConvTranspose(self.width)(nn.relu(Norm()(x, train=train)))
        return nn.tanh(ConvTranspose(3)(nn.relu(Norm()(x, train=train))))


class Discriminator(nn.Module):  # images to logits
    width: int

    @nn.compact
    def __call__(self, x, train):
        x = nn.leaky_relu(Conv(self.width, 4, 2)(x), 0.2)
        x = nn.leaky_relu(Norm()(Conv(2 * self.width, 4, 2)(x), train=train), 0.2)
        return nn.Dense(1)(x.reshape(len(x), -1))


def game(settings):
    """The game. `jaxgan.apply` runs a network as in training: what it makes, and its new statistics."""
    width, latents = settings["width"], Latents(settings["latent"])
    G, D = Generator(width), Discriminator(width)

    def init(key, batch):
        g, d = jax.random.split(key)
        return {"G": G.init(g, jnp.zeros((1, latents.size)), True), "D": D.init(d, batch["real"], True)}

    def d_loss(state, batch, keys):
        fake, _ = jaxgan.apply(G, state, "G", latents.draw(keys))
        real, stats = jaxgan.apply(D, state, "D", batch["real"])
        made, stats = jaxgan.apply(D, state, "D", fake, stats=stats)
        return jnp.mean(nn.softplus(-real) + nn.softplus(made)), Aux({"D": stats})

    def g_loss(state, batch, keys):
        fake, stats = jaxgan.apply(G, state, "G", latents.draw(keys))
        made, _ = jaxgan.apply(D, state, "D", fake)
        return nn.softplus(-made).mean(), Aux({"G": stats})

    sample = lambda state, keys, batch: G.apply(state.variables("G"), latents.draw(keys), train=False)
    adam = optax.adam(settings["rate"], b1=0.5)
    players = {"discriminator": Player(("D",), d_loss, adam), "generator": Player(("G",), g_loss, adam)}
    return Game(init, players, sample, ema={"G": 0.99})


if __name__ == "__main__":
    RUN["steps"] = int(sys.argv[2]) if sys.argv[2:] else RUN["steps"]
    run = jaxgan.train(game, FOLDER | {"path": sys.argv[1]}, "runs/own-networks", settings=SETTINGS, **RUN)
    print(f"see {run.report()}")
