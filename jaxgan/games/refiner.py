"""Synthetic images refined to look real, and to remain what they are: SimGAN."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan.game import Array, Aux, Batch, Game, Keys, Nets, State
from jaxgan.games import pool as pools
from jaxgan.games.adversary import Adversary, apply


def refiner(
    generator: nn.Module,
    discriminator: nn.Module,
    adversary: Adversary | None = None,
    *,
    self_regularisation: float = 10.0,
    history: int = 512,
    generator_turns: int = 2,
    generator_pretraining: int = 0,
    generator_optimizer: optax.GradientTransformation | None = None,
    discriminator_optimizer: optax.GradientTransformation | None = None,
    ema: float = 0.0,
) -> Game:
    """A game of a refiner, "generator", against a discriminator of refined and real images.

    Batches hold synthetic images "other" `[N, H, W, C]` and real ones "image" of the same shape, which are not pairs.
    The refiner is called as `generator(other, train=, keys=)`. In each step it takes its turns first, as in the paper,
    and all turns have batches of their own. A discriminator that gives logits of patches makes the loss local.

    Args:
      generator: Images to images of the same shape.
      discriminator: Images to logits, of patches or of the whole.
      adversary: The rules between them. Its `discriminator_turns` are the paper's K_d; while the discriminator is
        pretrained, the refiner goes on to learn to leave images as they are (in the paper it rests).
      self_regularisation: Weight of the mean absolute difference between refined and synthetic image, lambda with the
        identity as feature map. The paper sums over the pixels, and its weights are less.
      history: Refined images that are kept; half of what the discriminator sees as refined is of these
        (`jaxgan.games.pool.halves`). 0 for none.
      generator_turns: Updates of the refiner in each step, K_g.
      generator_pretraining: First steps, in which the refiner learns to leave images as they are, alone.
      generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given; in the paper it is SGD.
      discriminator_optimizer: Likewise.
      ema: Decay of the refiner's average, 0 for none.

    Returns:
      The game. `sample` refines the batch's "other".

    Raises:
      ValueError: As `Adversary.check`, or if a number is negative. `init` does, if synthetic and real images differ in
        shape.

    References:
      Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, 2017, equations
      2 to 4 and algorithm 1.
    """
    rules = adversary or Adversary()
    rules.check()
    whole = {
        "self_regularisation": self_regularisation,
        "history": history,
        "generator_pretraining": generator_pretraining,
    }
    for name, value in whole.items():
        if value < 0:
            raise ValueError(f"{name} is {value}; it must be at least 0")
    start = generator_pretraining + rules.discriminator_pretraining

    def refine(state: State, batch: Batch, keys: Keys) -> tuple[Array, Any]:
        return apply(generator, state, "generator", batch["other"], keys=keys.fold("generator").example)

    def judged_by(state: State) -> Any:
        def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
            logits, stats = apply(discriminator, state, "discriminator", images, stats=stats, keys=masks)
            return logits, None, stats

        return judge

    def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        refined, stats = refine(state, batch, keys)
        difference = jnp.mean(jnp.abs(refined - batch["other"]))

        def fooled() -> Array:
            return rules.fool(judged_by(state), refined, keys, state.step, batch["image"])[0]

        value = lax.cond(state.step >= start, fooled, lambda: jnp.float32(0)) if start else fooled()
        metrics = {"difference": difference, "adversarial": value}
        return value + self_regularisation * difference, Aux(stats={"generator": stats}, metrics=metrics)

    def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        refined, _ = refine(state, batch, keys)
        asked = pools.halves(state.memory, refined, keys)
        seen = rules.discriminate(judged_by(state), batch["image"], asked.seen, keys, state.step)
        return seen.value, Aux({"discriminator": seen.stats}, asked.candidates, seen.metrics)

    def init(key: Array, batch: Batch) -> Nets:
        if batch["image"].shape != batch["other"].shape:
            raise ValueError(
                f"a refined image takes the place of a real one, but synthetic images are {batch['other'].shape[1:]} "
                f"and real ones {batch['image'].shape[1:]}"
            )
        g_key, d_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        nets = {
            "generator": generator.init(g_key, batch["other"], train=True),
            "discriminator": discriminator.init(d_key, batch["image"], train=True),
        }
        rules.check_statistics(nets["discriminator"])
        return nets

    def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
        if not batch or "other" not in batch:
            raise ValueError('a refiner needs "other"')
        masks = keys.fold("generator").example
        return generator.apply(state.variables("generator"), batch["other"], train=False, keys=masks)  # pyright: ignore[reportReturnType]

    return Game(
        init=init,
        players={
            "generator": rules.generating(
                ("generator",), generator_loss, generator_optimizer, waits=False, turns=generator_turns
            ),
            "discriminator": rules.discriminating(
                ("discriminator",),
                discriminator_loss,
                discriminator_optimizer,
                start=generator_pretraining,
                remember=pools.remember if history else None,
            ),
        },
        sample=sample,
        memory=lambda batch: pools.empty(history, batch["other"]),
        ema={"generator": ema} if ema else {},
    )
