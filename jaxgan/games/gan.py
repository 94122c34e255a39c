"""Noise to image: the plain and the class-conditional GAN, with any networks and any adversarial loss."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan import axis, losses, penalties
from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, Player, State

VALUES = 64
"""Values of an image whose variance is looked at: all of them would take up to a tenth of a small GAN's step."""


def apply(
    module: nn.Module, state: State, name: str, *args: Any, stats: Any = None, **kwargs: Any
) -> tuple[Array, Any]:
    """Runs a network in training mode: its output and its new statistics."""
    stats = state.stats[name] if stats is None else stats
    variables = {"params": state.params[name], **stats}
    return module.apply(variables, *args, train=True, mutable=list(stats), **kwargs)  # pyright: ignore[reportReturnType]


def _variance(images: Array) -> Array:
    """The variance of a value over the whole batch, on average over some of the values, spread over the image."""
    values, name = lax.stop_gradient(images).reshape(len(images), -1), axis.AXIS if axis.bound() else None
    values = values[:, :: -(-values.shape[1] // VALUES)]
    center = axis.mean(jnp.mean(values, 0), name)
    return jnp.mean(jnp.square(values - center[None]))


def gan(
    generator: nn.Module,
    discriminator: nn.Module,
    *,
    latent: int = 100,
    loss: losses.Loss = losses.non_saturating,
    gradient_penalty: float = 0.0,
    r1: float = 0.0,
    generator_optimizer: optax.GradientTransformation | None = None,
    discriminator_optimizer: optax.GradientTransformation | None = None,
    conditional: bool = False,
    discriminator_turns: int = 1,
    discriminator_start: int = 0,
    generator_start: int = 0,
    ema: float = 0.0,
    schedule: Literal["alternating", "simultaneous"] = "alternating",
    shared_draws: bool = False,
) -> Game:
    """A game of a generator against a discriminator.

    Batches hold "image" `[N, ...]` and, for a conditional game, "label" `[N]` int. Latents are standard Gaussian.
    Networks are called as `jaxgan.networks` describes.

    The discriminator's metrics hold what it thinks of the images: the mean probability that they are real, "real" and
    "fake", the shares of them that it judges rightly, "real_accuracy" and "fake_accuracy", and the difference of the
    mean logits, "logit_gap"; or for a loss without probabilities the mean logits, "real_logit" and "fake_logit".
    "real_variance" and "fake_variance" say how much images of a batch differ from each other: the variance of a value
    over the batch, on average over some of the values.

    Penalties are on the discriminator as it judges the real images of the turn: labels, spectral-norm vectors and, for
    R1, dropout's masks are the same, and what statistics the penalised pass would leave is dropped. The player's
    metrics hold them unweighted, as "gradient_penalty" and "r1".

    Args:
      generator: Latents to images.
      discriminator: Images to logits.
      latent: Size of the latent vector.
      loss: The adversarial loss.
      gradient_penalty: Weight of `penalties.gradient_penalty` between real and generated images, paired by position;
        10 in WGAN-GP, 0 for none.
      r1: Weight of `penalties.r1`, gamma, 0 for none.
      generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given, as in DCGAN.
      discriminator_optimizer: Likewise.
      conditional: Whether both networks take labels.
      discriminator_turns: Updates of the discriminator in each step.
      discriminator_start: First step in which the discriminator plays.
      generator_start: First step in which the generator plays; before, only the discriminator is trained.
      ema: Decay of the generator's average, 0 for none.
      schedule: See `Game.schedule`.
      shared_draws: See `Game.shared_draws`.

    Returns:
      The game. `sample` takes an optional batch with "label" and "latent"; missing latents are drawn from the keys.
      Its `init` raises ValueError if a penalty meets a discriminator with batch norm: the slopes of the examples of a
      batch would run into each other.

    Raises:
      ValueError: If the weight of a penalty is negative.

    References:
      Goodfellow et al., Generative Adversarial Networks, 2014, algorithm 1.
      Mirza and Osindero, Conditional Generative Adversarial Nets, 2014.
      Gulrajani et al., Improved Training of Wasserstein GANs, 2017, algorithm 1.
      Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018, equation 9.
    """
    if min(gradient_penalty, r1) < 0:
        raise ValueError(f"gradient_penalty is {gradient_penalty} and r1 {r1}; weights must be at least 0")

    def label(batch: Batch) -> Array | None:
        return batch["label"] if conditional else None

    def make(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        z = keys.fold("latent").normal((latent,))
        fake, stats = apply(
            generator, state, "generator", z, label(batch), keys=keys.fold("generator").example
        )
        return fake, Aux(stats={"generator": stats})

    def fakes(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        return (batch["fakes"], Aux()) if "fakes" in batch else make(state, batch, keys)

    def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        fake, _ = fakes(state, batch, keys)
        real_keys, fake_keys = keys.fold("real").example, keys.fold("fake").example
        real_logits, stats = apply(
            discriminator, state, "discriminator", batch["image"], label(batch), keys=real_keys
        )
        fake_logits, stats = apply(
            discriminator, state, "discriminator", fake, label(batch), stats=stats, keys=fake_keys
        )
        if loss.probabilities:
            shown = {
                "real": jax.nn.sigmoid(real_logits),
                "fake": jax.nn.sigmoid(fake_logits),
                "real_accuracy": real_logits > 0,
                "fake_accuracy": fake_logits < 0,
                "logit_gap": real_logits - fake_logits,
            }
        else:
            shown = {"real_logit": real_logits, "fake_logit": fake_logits}
        # One sum for all: each by itself costs as much where the networks are small.
        means = jnp.mean(jnp.stack([x.astype(jnp.float32) for x in shown.values()]), 1)
        metrics = dict(zip(shown, means, strict=True))
        metrics["real_variance"], metrics["fake_variance"] = _variance(batch["image"]), _variance(fake)
        value = loss.discriminator(real_logits, fake_logits)

        def critic(masks: Array) -> penalties.Critic:
            return lambda x: apply(discriminator, state, "discriminator", x, label(batch), keys=masks)[0]

        if gradient_penalty:
            between, mix = critic(keys.fold("between").example), keys.fold("mix").uniform()
            penalty = penalties.gradient_penalty(between, batch["image"], fake, mix)
            value, metrics["gradient_penalty"] = value + gradient_penalty * penalty, penalty
        if r1:
            penalty = penalties.r1(critic(real_keys), batch["image"])
            value, metrics["r1"] = value + r1 * penalty, penalty
        return value, Aux(stats={"discriminator": stats}, metrics=metrics)

    def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        fake, aux = fakes(state, batch, keys)
        logits, _ = apply(
            discriminator, state, "discriminator", fake, label(batch), keys=keys.fold("fake").example
        )
        return loss.generator(logits), aux

    def init(key: Array, batch: Batch) -> Nets:
        z = jnp.zeros((len(batch["image"]), latent))
        g_key, d_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        nets = {
            "generator": generator.init(g_key, z, label(batch), train=True),
            "discriminator": discriminator.init(d_key, batch["image"], label(batch), train=True),
        }
        if (gradient_penalty or r1) and "batch_stats" in nets["discriminator"]:
            raise ValueError(
                "gradient_penalty and r1 need a discriminator that judges each image by itself: leave out batch norm"
            )
        return nets

    def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
        batch = batch or {}
        z = batch["latent"] if "latent" in batch else keys.fold("latent").normal((latent,))
        return generator.apply(state.variables("generator"), z, label(batch), train=False)  # pyright: ignore[reportReturnType]

    def adam() -> optax.GradientTransformation:
        return optax.adam(2e-4, b1=0.5, b2=0.999)

    return Game(
        init=init,
        players={
            "discriminator": Player(
                ("discriminator",),
                discriminator_loss,
                discriminator_optimizer or adam(),
                discriminator_turns,
                discriminator_start,
            ),
            "generator": Player(
                ("generator",), generator_loss, generator_optimizer or adam(), start=generator_start
            ),
        },
        sample=sample,
        ema={"generator": ema} if ema else {},
        schedule=schedule,
        shared_draws=shared_draws,
        fakes=Fakes(("generator",), make),
    )
