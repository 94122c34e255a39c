"""Three players on the embedded images: a generator answers to a discriminator and to a classifier, so it obeys labels.

Lee and Seok, Controllable Generative Adversarial Network, 2019; here the weight of the classifier is fixed, and the
discriminator pays R1 of Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018.

    python examples/three_players.py [STEPS]

It writes runs/three-players, whose samples have a class in each column, and boots.png there. After two minutes of
processor time another network, that of `jaxgan evaluate`, finds the class that was asked for in 76% of samples.
"""

import sys

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from optax import softmax_cross_entropy_with_integer_labels as entropy

import jaxgan
from jaxgan import Aux, Built, Game, Player
from jaxgan.objectives.penalties import r1

SETTINGS = {"width": 256, "latent": 32, "rate": 4e-4, "r1": 1.0, "classifier": 0.2}
RUN = {"steps": 4_000, "batch_size": 64, "sample_every": 500, "samples": 100, "checkpoint_every": 1_000}


class MLP(nn.Module):  # three hidden layers
    out: int
    width: int

    @nn.compact
    def __call__(self, x):
        x = x.reshape(len(x), -1)
        for _ in range(3):
            x = nn.leaky_relu(nn.Dense(self.width)(x), 0.2)
        return nn.Dense(self.out)(x)


def game(settings):
    """The game. Samples are made of labels, as `sample` reads them."""
    G, D, C = (MLP(out, settings["width"]) for out in (784, 1, 10))
    judge = lambda state, x: D.apply(state.variables("D"), x)[:, 0]
    classify = lambda state, x: C.apply(state.variables("C"), x)
    errs = lambda state, x, label: entropy(classify(state, x), label).mean()

    def init(key, batch):
        (g, d, c), x = jax.random.split(key, 3), batch["real"]
        z = jnp.zeros((1, settings["latent"] + 10))
        return {"G": G.init(g, z), "D": D.init(d, x), "C": C.init(c, x)}

    def sample(state, keys, batch):
        z = jnp.concatenate([keys.normal((settings["latent"],)), nn.one_hot(batch["label"], 10)], 1)
        return jnp.tanh(G.apply(state.variables("G"), z)).reshape(-1, 28, 28, 1)

    def d_loss(state, batch, keys):
        real, fake = judge(state, batch["real"]), judge(state, sample(state, keys, batch))
        penalty = settings["r1"] * r1(lambda x: judge(state, x), batch["real"])
        metrics = {"real": nn.sigmoid(real).mean(), "fake": nn.sigmoid(fake).mean()}
        return jnp.mean(nn.softplus(-real) + nn.softplus(fake)) + penalty, Aux(metrics=metrics)

    def g_loss(state, batch, keys):
        fake = sample(state, keys, batch)
        disobeys = settings["classifier"] * errs(state, fake, batch["label"])
        return nn.softplus(-judge(state, fake)).mean() + disobeys, Aux()

    c_loss = lambda state, batch, keys: (errs(state, batch["real"], batch["label"]), Aux())
    adam = optax.adam(settings["rate"], b1=0.5)
    losses = {"discriminator": d_loss, "classifier": c_loss, "generator": g_loss}
    players = {name: Player((name[0].upper(),), loss, adam) for name, loss in losses.items()}
    return Built(Game(init, players, sample, ema={"G": 0.999}), classify=classify)


if __name__ == "__main__":
    RUN["steps"] = int(sys.argv[1]) if sys.argv[1:] else RUN["steps"]
    run = jaxgan.train(game, "embedded", "runs/three-players", settings=SETTINGS, **RUN)
    run.sample(label="Ankle boot", out=run.path / "boots.png")
    (score,) = run.evaluate(["gan_test"], num=2_000)
    print(f"the class that was asked for is found in {score['value']:.0%} of samples")
