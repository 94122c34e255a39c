"""Paired image translation: a conditional GAN with a term of pixels."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.games.adversary import Adversary, apply


def pix2pix(
    generator: nn.Module,
    discriminator: nn.Module,
    adversary: Adversary | None = None,
    *,
    reconstruction: float = 100.0,
    adversarial: float = 1.0,
    generator_optimizer: optax.GradientTransformation | None = None,
    discriminator_optimizer: optax.GradientTransformation | None = None,
    ema: float = 0.0,
    shared_draws: bool = True,
) -> Game:
    """A game of a translator against a discriminator that sees its input beside its output.

    Batches hold "input" `[N, H, W, C]` and "image" `[N, H, W, D]`, what it should become. The generator is called as
    `generator(input, train=, keys=)`, the discriminator on both joined, `[N, H, W, C + D]`.

    Args:
      generator: Images to images of the same size.
      discriminator: Images to logits, of the whole or of patches.
      adversary: The rules between the two.
      reconstruction: Weight of the mean absolute difference to the real image, lambda.
      adversarial: Weight of the generator's adversarial loss; 0 for the baseline of pixels alone.
      generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given, as in the paper.
      discriminator_optimizer: Likewise.
      ema: Decay of the generator's average, 0 for none.
      shared_draws: See `Game.shared_draws`.

    Returns:
      The game. `sample` translates the batch's "input", with dropout as in training, which is the paper's noise.

    Raises:
      ValueError: As `Adversary.check`.

    References:
      Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, equations 1 to 4.
    """
    rules = adversary or Adversary()
    rules.check()

    def make(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        masks = keys.fold("generator").example
        fake, stats = apply(generator, state, "generator", batch["input"], keys=masks)
        return fake, Aux(stats={"generator": stats})

    def fakes(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        return (batch["fakes"], Aux()) if "fakes" in batch else make(state, batch, keys)

    def judged_by(state: State) -> Any:
        def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
            logits, stats = apply(discriminator, state, "discriminator", images, stats=stats, keys=masks)
            return logits, None, stats

        return judge

    def beside(batch: Batch, image: Array) -> Array:
        return jnp.concatenate([batch["input"], image], -1)

    def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        fake, _ = fakes(state, batch, keys)
        pair = beside(batch, batch["image"]), beside(batch, fake)
        seen = rules.discriminate(judged_by(state), *pair, keys, state.step)
        return seen.value, Aux(stats={"discriminator": seen.stats}, metrics=seen.metrics)

    def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        fake, aux = fakes(state, batch, keys)
        difference = jnp.mean(jnp.abs(fake - batch["image"]))
        value, metrics = reconstruction * difference, {"reconstruction": difference}
        if adversarial:
            real = beside(batch, batch["image"])
            fooled, _ = rules.fool(judged_by(state), beside(batch, fake), keys, state.step, real)
            value, metrics["adversarial"] = value + adversarial * fooled, fooled
        return value, aux._replace(metrics=metrics)

    def init(key: Array, batch: Batch) -> Nets:
        g_key, d_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        nets = {
            "generator": generator.init(g_key, batch["input"], train=True),
            "discriminator": discriminator.init(
                d_key, rules.blank(beside(batch, batch["image"])), train=True
            ),
        }
        rules.check_statistics(nets["discriminator"])
        return nets

    def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
        if not batch or "input" not in batch:
            raise ValueError('a translator needs "input"')
        masks = keys.fold("generator").example
        return generator.apply(state.variables("generator"), batch["input"], train=False, keys=masks)  # pyright: ignore[reportReturnType]

    return Game(
        init=init,
        players={
            "discriminator": rules.discriminating(
                ("discriminator",), discriminator_loss, discriminator_optimizer
            ),
            "generator": rules.generating(("generator",), generator_loss, generator_optimizer),
        },
        sample=sample,
        ema={"generator": ema} if ema else {},
        shared_draws=shared_draws,
        fakes=Fakes(("generator",), make),
    )
