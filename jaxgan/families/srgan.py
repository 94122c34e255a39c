"""Super-resolution: small images to large ones, for pixels first, then for features and a discriminator too.

For example:

    >>> from jaxgan import game
    >>> from jaxgan.networks import SRResNet, VGGDiscriminator
    >>> played = SRGAN(adversarial=1e-3).game(SRResNet(2, 1, width=8, blocks=1), VGGDiscriminator(8, pairs=2))
    >>> batch = {"input": jnp.zeros((2, 14, 14, 1)), "real": jnp.zeros((2, 28, 28, 1))}
    >>> state = jax.eval_shape(lambda key: game.init(played, key, batch), jax.random.key(0))
    >>> jax.eval_shape(played.sample, state, Keys.of(jax.random.key(1), 2), {"input": batch["input"]}).shape
    (2, 28, 28, 1)
"""

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan.errors import InputError
from jaxgan.families.base import Built, Facts, Family, Parts, family
from jaxgan.families.wiring import fakes, generated, initial, judged_by, trained
from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.networks import perceptual as looks
from jaxgan.networks.srresnet import SCALES
from jaxgan.settings import Factor, Fraction, Whole


@family("srgan")
class SRGAN(Family):
    """A network that enlarges images ("input") against a discriminator of the result. See data.scale.

    References:
      Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, 2017,
      equations 3 to 6.
    """

    pixel_loss: Literal["mse", "l1"] = "mse"
    """Mean squared ("mse", equation 4 of the paper) or mean absolute difference ("l1") to the real image."""
    pixel: Factor = 1.0
    """Its factor."""
    perceptual: Factor = 1.0
    """Factor of the mean squared difference of maps inside the network `features` (equation 5)."""
    adversarial: Factor = 1e-3
    """Factor of the generator's adversarial loss; 0 for pixels and features alone."""
    features: Literal["auto", "fashion-cnn", "efficientnet-lite0", "none"] = "auto"
    """A network of `jaxgan.networks.perceptual`; its weights are fixed."""
    warmup: Whole = 0
    """Steps in which the generator plays for the pixels alone; the discriminator starts after them. With
    `discriminator_pretraining` the generator goes on like this for so many steps more."""
    ema: Fraction = 0.0
    """Decay of the generator's average, 0 for none."""
    shared_draws: bool = True
    """See `Game.shared_draws`."""

    def game(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        maps: looks.Maps | None = None,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of two networks.

        Batches hold "input" `[N, h, w, C]` and "real" `[N, s h, s w, D]`, what it should become. The generator is
        called as `generator(input, train=, keys=)`.

        Args:
          generator: Images to larger images.
          discriminator: Images to logits.
          maps: Images to maps of a network of fixed weights, see `jaxgan.networks.perceptual`; None for no such loss.
          generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given; in the paper Adam(1e-4, 0.9, 0.999).
          discriminator_optimizer: Likewise.

        Returns:
          The game. `sample` enlarges the batch's "input"; where it has "inside" that goes to the generator too, as
          `SRResNet` has it. The generator's metrics "perceptual" and "adversarial" are NaN while it warms up.
        """
        start = self.warmup + self.discriminator_pretraining

        def make(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            return generated(generator, state, keys, batch["input"])

        def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            fake, _ = fakes(make, state, batch, keys)
            judge = judged_by(discriminator, state, "discriminator")
            seen = self.discriminate(judge, batch["real"], fake, keys, state.step)
            return seen.value, Aux(stats={"discriminator": seen.stats}, metrics=seen.metrics)

        def beyond_pixels(
            state: State, fake: Array, real: Array, keys: Keys
        ) -> tuple[Array, dict[str, Array]]:
            """What counts once the generator is warm, and its parts."""
            value, found = jnp.float32(0), {}
            if maps is not None and self.perceptual:
                found["perceptual"] = looks.difference(maps, fake, real)
                value += self.perceptual * found["perceptual"]
            if self.adversarial:
                judge = judged_by(discriminator, state, "discriminator")
                found["adversarial"], _ = self.fool(judge, fake, keys, state.step, real)
                value += self.adversarial * found["adversarial"]
            return value, found

        def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            fake, aux = fakes(make, state, batch, keys)
            real = batch["real"]
            difference = jnp.mean(
                jnp.square(fake - real) if self.pixel_loss == "mse" else jnp.abs(fake - real)
            )

            def warm() -> tuple[Array, dict[str, Array]]:
                return beyond_pixels(state, fake, real, keys)

            if start:
                waiting = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(warm)[1])
                more, found = lax.cond(state.step >= start, warm, lambda: (jnp.float32(0), waiting))
            else:
                more, found = warm()
            return self.pixel * difference + more, aux._replace(metrics={"pixel": difference, **found})

        def init(key: Array, batch: Batch) -> Nets:
            seen = self.blank(batch["real"])
            nets = initial(key, generator=(generator, batch["input"]), discriminator=(discriminator, seen))
            self.check_statistics(nets["discriminator"])
            return nets

        def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
            if not batch or "input" not in batch:
                raise ValueError('super-resolution needs "input"')
            around = {"inside": batch["inside"]} if "inside" in batch else {}
            return trained(generator, state, "generator", batch["input"], **around)

        return Game(
            init=init,
            players={
                "discriminator": self.discriminating(
                    ("discriminator",), discriminator_loss, discriminator_optimizer, start=self.warmup
                ),
                "generator": self.generating(
                    ("generator",), generator_loss, generator_optimizer, waits=False
                ),
            },
            sample=sample,
            ema={"generator": self.ema} if self.ema else {},
            shared_draws=self.shared_draws,
            fakes=Fakes(("generator",), make),
        )

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config; see `Family.build`."""
        parts.demand(self, generator="srgan", discriminator="example")
        if "input" not in facts.fields:
            raise InputError(
                f"game.family srgan needs small images, and the data's fields are {', '.join(facts.fields)}; set "
                "data.scale to 2 or 4"
            )
        shape = facts.image(self)
        image, small = shape.example, facts.fields["input"].shape
        scale = image[0] // small[0]
        if scale not in SCALES or tuple(scale * side for side in small[:2]) != image[:2]:
            raise InputError(
                f"images are {image[0]}x{image[1]} and what they are made from {small[0]}x{small[1]}; game.family "
                "srgan takes images 2 or 4 times as large"
            )
        shape = shape._replace(scale=scale)
        seen = shape.deeper(shape.channels * self.packing)

        @functools.cache
        def features() -> looks.Perceptual:
            assert self.features != "none"
            return looks.load(self.features, image[0], image[2])

        def maps(images: Array) -> tuple[Array, ...]:
            return features().maps(images)

        generator = parts.module("generator", shape)
        used = self.features != "none" and self.perceptual > 0
        game = self.game(
            generator,
            parts.module("discriminator", seen),
            maps if used else None,
            **parts.optimizers,
        )
        # Loaded when they are first looked through: to sample a run takes no weights but its own.
        fixed = (lambda: {features().name: features().sha256}) if used else dict
        return Built(game, given=("input",), fixed=fixed, command="upscale", reach=generator.reach)
