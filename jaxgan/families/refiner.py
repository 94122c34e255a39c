"""Synthetic images refined to look real, and to remain what they are: SimGAN.

For example:

    >>> from jaxgan import game
    >>> from jaxgan.networks import PatchGAN, Refiner
    >>> played = Refinement(generator_turns=2, history=64).game(Refiner(1, 8, 1), PatchGAN(8, 1))
    >>> played.turns  # of the refiner two, of the discriminator one
    3
    >>> batch = {"real": jnp.zeros((4, 16, 16, 1)), "other": jnp.zeros((4, 16, 16, 1))}
    >>> state = jax.eval_shape(lambda key: game.init(played, key, batch), jax.random.key(0))
    >>> state.memory["images"].shape
    (64, 16, 16, 1)
"""

import flax.linen as nn
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan.data.sources import Source
from jaxgan.errors import InputError
from jaxgan.families.base import Built, Facts, Family, Parts, family
from jaxgan.families.translation import shapes, unmatched
from jaxgan.families.wiring import generated, initial, judged_by, trained
from jaxgan.game import Array, Aux, Batch, Game, Keys, Nets, State
from jaxgan.objectives import pool as pools
from jaxgan.settings import Factor, Fraction, Turns, Whole


@family("refiner")
class Refinement(Family):
    """A refiner of synthetic images against a discriminator of refined and real ones.

    Its `discriminator_turns` are the paper's K_d; while the discriminator is pretrained, the refiner goes on to learn
    to leave images as they are (in the paper it rests).

    References:
      Shrivastava et al., Learning from Simulated and Unsupervised Images through Adversarial Training, 2017, equations
      2 to 4 and algorithm 1.
    """

    self_regularisation: Factor = 10.0
    """Factor of the mean absolute difference between refined and synthetic image, lambda with the identity as feature
    map. The paper sums over the pixels, and its factors are less."""
    history: Whole = 512
    """Refined images that are kept; half of what the discriminator sees as refined is of these
    (`jaxgan.objectives.pool.halves`). 0 for none."""
    generator_turns: Turns = 2
    """Updates of the refiner in each step, K_g."""
    generator_pretraining: Whole = 0
    """First steps, in which the refiner learns to leave images as they are, alone; then the discriminator starts."""
    ema: Fraction = 0.0
    """Decay of the refiner's average, 0 for none."""

    def game(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of two networks.

        Batches hold synthetic images "other" `[N, H, W, C]` and real ones "real" of the same shape, which are not
        pairs. The refiner is called as `generator(other, train=, keys=)`. In each step it takes its turns first, as in
        the paper, and all turns have batches of their own. A discriminator that gives logits of patches makes the loss
        local.

        Args:
          generator: Images to images of the same shape.
          discriminator: Images to logits, of patches or of the whole.
          generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given; in the paper it is SGD.
          discriminator_optimizer: Likewise.

        Returns:
          The game. `sample` refines the batch's "other". Its `init` raises ValueError if synthetic and real images
          differ in shape.
        """
        start = self.generator_pretraining + self.discriminator_pretraining

        def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            refined, aux = generated(generator, state, keys, batch["other"])
            difference = jnp.mean(jnp.abs(refined - batch["other"]))

            def fooled() -> Array:
                judge = judged_by(discriminator, state, "discriminator")
                return self.fool(judge, refined, keys, state.step, batch["real"])[0]

            value = lax.cond(state.step >= start, fooled, lambda: jnp.float32(0)) if start else fooled()
            metrics = {"difference": difference, "adversarial": value}
            return value + self.self_regularisation * difference, aux._replace(metrics=metrics)

        def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            refined, _ = generated(generator, state, keys, batch["other"])
            asked = pools.halves(state.memory, refined, keys)
            judge = judged_by(discriminator, state, "discriminator")
            seen = self.discriminate(judge, batch["real"], asked.seen, keys, state.step)
            return seen.value, Aux({"discriminator": seen.stats}, asked.candidates, seen.metrics)

        def init(key: Array, batch: Batch) -> Nets:
            if batch["real"].shape != batch["other"].shape:
                raise ValueError(
                    "a refined image takes the place of a real one, but synthetic images are "
                    f"{batch['other'].shape[1:]} and real ones {batch['real'].shape[1:]}"
                )
            seen = self.blank(batch["real"])
            nets = initial(key, generator=(generator, batch["other"]), discriminator=(discriminator, seen))
            self.check_statistics(nets["discriminator"])
            return nets

        def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
            if not batch or "other" not in batch:
                raise ValueError('a refiner needs "other"')
            masks = keys.fold("generator").example
            return trained(generator, state, "generator", batch["other"], keys=masks)

        return Game(
            init=init,
            players={
                "generator": self.generating(
                    ("generator",),
                    generator_loss,
                    generator_optimizer,
                    waits=False,
                    turns=self.generator_turns,
                ),
                "discriminator": self.discriminating(
                    ("discriminator",),
                    discriminator_loss,
                    discriminator_optimizer,
                    start=self.generator_pretraining,
                    remember=pools.remember if self.history else None,
                ),
            },
            sample=sample,
            memory=lambda batch: pools.empty(self.history, batch["other"]),
            ema={"generator": self.ema} if self.ema else {},
        )

    def examples(self, source: Source) -> Source:
        """The data with both kinds of images in orders of their own."""
        return unmatched(source)

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config; see `Family.build`."""
        image, other = shapes(self, parts, facts, "other", "real and synthetic images")
        if image != other:
            raise InputError(
                f"a refined image takes the place of a real one, but real images have {image.channels} channels and "
                f"synthetic ones {other.channels}; make them alike"
            )
        seen = image.deeper(image.channels * self.packing)
        game = self.game(
            parts.module("generator", image), parts.module("discriminator", seen), **parts.optimizers
        )
        return Built(game, given=("other",), command="translate")
