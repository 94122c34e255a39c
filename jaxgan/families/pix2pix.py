"""Paired image translation: a conditional GAN with a term of pixels.

For example:

    >>> from jaxgan import game
    >>> from jaxgan.networks import PatchGAN, UNet
    >>> played = Pix2Pix(reconstruction=10.0).game(UNet(1, width=8, depth=3), PatchGAN(width=8, layers=1))
    >>> pairs = {"input": jnp.zeros((2, 16, 16, 3)), "real": jnp.zeros((2, 16, 16, 1))}
    >>> state = jax.eval_shape(lambda key: game.init(played, key, pairs), jax.random.key(0))
    >>> jax.eval_shape(played.sample, state, Keys.of(jax.random.key(1), 2), pairs).shape
    (2, 16, 16, 1)
"""

import flax.linen as nn
import jax.numpy as jnp
import optax

from jaxgan.families.base import Built, Facts, Family, Parts, family
from jaxgan.families.translation import shapes
from jaxgan.families.wiring import fakes, generated, initial, judged_by, trained
from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.settings import Factor, Fraction


@family("pix2pix")
class Pix2Pix(Family):
    """A translator of paired images against a discriminator that sees its input beside its output.

    References:
      Isola et al., Image-to-Image Translation with Conditional Adversarial Networks, 2017, equations 1 to 4.
    """

    reconstruction: Factor = 100.0
    """Factor of the mean absolute difference to the real image, lambda."""
    adversarial: Factor = 1.0
    """Factor of the generator's adversarial loss; 0 for the baseline of pixels alone."""
    ema: Fraction = 0.0
    """Decay of the generator's average, 0 for none."""
    shared_draws: bool = True
    """See `Game.shared_draws`."""

    def game(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of two networks.

        Batches hold "input" `[N, H, W, C]` and "real" `[N, H, W, D]`, what it should become. The generator is called
        as `generator(input, train=, keys=)`, the discriminator on both joined, `[N, H, W, C + D]`.

        Args:
          generator: Images to images of the same size.
          discriminator: Images to logits, of the whole or of patches.
          generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given, as in the paper.
          discriminator_optimizer: Likewise.

        Returns:
          The game. `sample` translates the batch's "input", with dropout as in training, which is the paper's noise.
        """

        def make(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            return generated(generator, state, keys, batch["input"])

        def beside(batch: Batch, image: Array) -> Array:
            return jnp.concatenate([batch["input"], image], -1)

        def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            fake, _ = fakes(make, state, batch, keys)
            judge = judged_by(discriminator, state, "discriminator")
            pair = beside(batch, batch["real"]), beside(batch, fake)
            seen = self.discriminate(judge, *pair, keys, state.step)
            return seen.value, Aux(stats={"discriminator": seen.stats}, metrics=seen.metrics)

        def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            fake, aux = fakes(make, state, batch, keys)
            difference = jnp.mean(jnp.abs(fake - batch["real"]))
            value, metrics = self.reconstruction * difference, {"reconstruction": difference}
            if self.adversarial:
                judge = judged_by(discriminator, state, "discriminator")
                real = beside(batch, batch["real"])
                fooled, _ = self.fool(judge, beside(batch, fake), keys, state.step, real)
                value, metrics["adversarial"] = value + self.adversarial * fooled, fooled
            return value, aux._replace(metrics=metrics)

        def init(key: Array, batch: Batch) -> Nets:
            seen = self.blank(beside(batch, batch["real"]))
            nets = initial(key, generator=(generator, batch["input"]), discriminator=(discriminator, seen))
            self.check_statistics(nets["discriminator"])
            return nets

        def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
            if not batch or "input" not in batch:
                raise ValueError('a translator needs "input"')
            masks = keys.fold("generator").example
            return trained(generator, state, "generator", batch["input"], keys=masks)

        return Game(
            init=init,
            players={
                "discriminator": self.discriminating(
                    ("discriminator",), discriminator_loss, discriminator_optimizer
                ),
                "generator": self.generating(("generator",), generator_loss, generator_optimizer),
            },
            sample=sample,
            ema={"generator": self.ema} if self.ema else {},
            shared_draws=self.shared_draws,
            fakes=Fakes(("generator",), make),
        )

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config; see `Family.build`."""
        image, given = shapes(self, parts, facts, "input", "pairs of images")
        seen = image.deeper((image.channels + given.channels) * self.packing)
        game = self.game(
            parts.module("generator", image), parts.module("discriminator", seen), **parts.optimizers
        )
        return Built(game, given=("input",), command="translate")
