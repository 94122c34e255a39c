"""Noise and codes to image, and the codes back from the image: what a code stands for is found, not told.

For example:

    >>> latents = InfoGAN(latent=3, categories=4, continuous=1).latents
    >>> latents.size
    8
    >>> noise, category, continuous = jnp.zeros((1, 3)), jnp.array([2]), jnp.array([[0.5]])
    >>> latents.join(noise, category, continuous).tolist()  # the category as a one-hot vector
    [[0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.5]]
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from pydantic import Field

from jaxgan.errors import InputError
from jaxgan.families.base import Built, Facts, Family, Parts, Picture, Sheet, family
from jaxgan.families.gan import class_loss
from jaxgan.families.wiring import generated, initial, trained
from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.objectives.adversary import apply
from jaxgan.objectives.latents import Latents, draw_classes
from jaxgan.settings import Factor, Fraction, Numbers

ROWS, STEPS, REACH = 8, 10, 2.0
"""Rows of a picture of codes, each of one draw of noise; steps of a continuous code along a row, and how far they go
to both sides, as in the paper."""


class Coded(Latents):
    """Latents that end in codes: noise, then the one-hot category, then continuous codes; see `InfoGAN.latents`."""

    noise: Latents
    categories: int
    continuous: int

    def codes(self, keys: Keys) -> tuple[Array, Array]:
        """Codes of each example: categories `[N]` int, each as likely, and uniform numbers `[N, continuous]`."""
        category = draw_classes(keys.fold("category"), self.categories)
        return category, 2 * keys.fold("continuous").uniform((self.continuous,)) - 1

    def join(self, noise: Array, category: Array, continuous: Array) -> Array:
        """What a generator takes, `[N, size]`."""
        return jnp.concatenate([noise, jax.nn.one_hot(category, self.categories), continuous], 1)

    def draw(self, keys: Keys, truncation: float | None = None, label: Array | None = None) -> Array:
        """Noise and codes `[N, size]`; see `Latents.draw`."""
        return self.join(self.noise.draw(keys, truncation), *self.codes(keys))


@family("infogan")
class InfoGAN(Family):
    """A GAN whose images must tell the codes that they were made of, so that codes come to stand for what differs.

    Q, which tells an image's codes, shares the body of the discriminator: the network has an output for each category
    and each continuous code besides the logit. Both players pay for what of the codes is lost on the way, as in the
    authors' code: the body and Q learn to read them, the generator to write them.

    References:
      Chen et al., InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial
      Nets, 2016, equations 3 to 6, section 6 and appendix C.
    """

    latent: Numbers = 62
    """Numbers of noise that an image is made from, besides its codes."""
    latent_kind: Literal["normal", "uniform"] = "normal"
    """How they are distributed, see `Latents`."""
    categories: Annotated[int, Field(ge=0, le=2**16)] = 10
    """Values of the categorical code; 0 for none."""
    continuous: Annotated[int, Field(ge=0, le=2**16)] = 2
    """Continuous codes, uniform in [-1, 1)."""
    information: Factor = 1.0
    """Factor of what is lost of the categorical code, its cross-entropy in nats: lambda."""
    continuous_information: Factor = 0.1
    """Factor of what is lost of the continuous codes: half the squared error, that of a Gaussian of variance 1."""
    ema: Fraction = 0.999
    """Decay of the generator's average, 0 for none."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse packing, and the lack of a code."""
        if self.packing > 1:
            raise ValueError("packs images of several codes; set packing to 1")
        if self.categories == 1 or self.categories + self.continuous == 0:
            raise ValueError("needs a code: at least two categories, or a continuous one")

    @property
    def latents(self) -> Coded:
        """What images are made from."""
        made = Coded(self.latent + self.categories + self.continuous, self.latent_kind)
        made.noise = Latents(self.latent, self.latent_kind)
        made.categories, made.continuous = self.categories, self.continuous
        return made

    def game(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of two networks.

        Batches hold "real" `[N, ...]`. The discriminator's metrics are those of `Adversary.discriminate`. Metrics of
        both players are "category", the share of categories that Q tells, and "continuous", the mean squared error of
        the continuous codes, whose variance is 1/3.

        Args:
          generator: Noise and codes, `[N, latents.size]`, to images.
          discriminator: Images to logits and what Q says, `[N, categories + continuous]`.
          generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given.
          discriminator_optimizer: Likewise.

        Returns:
          The game. `sample` takes an optional batch with "latent"; missing ones are drawn from the keys. Its `init`
          raises ValueError if a penalty on slopes meets a discriminator with batch norm.
        """
        latents = self.latents

        def make(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            return generated(generator, state, keys, latents.draw(keys))

        def judged_by(state: State) -> Any:
            def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
                said, stats = apply(discriminator, state, "discriminator", images, stats=stats, keys=masks)
                return *said, stats

            return judge

        def lost(told: Array, keys: Keys) -> tuple[Array, dict[str, Array]]:
            """What Q does not tell of the codes that these keys draw: -L_I without the entropy of the codes."""
            category, continuous = latents.codes(keys)
            value, metrics = jnp.float32(0), {}
            if self.categories:
                logits = told[:, : self.categories]
                value += self.information * class_loss(logits, category)
                metrics["category"] = jnp.mean(jnp.argmax(logits, 1) == category)
            if self.continuous:
                error = jnp.square(told[:, self.categories :] - continuous)
                value += self.continuous_information * jnp.mean(jnp.sum(error, 1)) / 2
                metrics["continuous"] = jnp.mean(error)
            return value, metrics

        def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            fake, _ = make(state, batch, keys)
            seen = self.discriminate(judged_by(state), batch["real"], fake, keys, state.step)
            value, metrics = lost(seen.fake, keys)
            return seen.value + value, Aux({"discriminator": seen.stats}, metrics=seen.metrics | metrics)

        def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            fake, aux = make(state, batch, keys)
            fooled, told = self.fool(judged_by(state), fake, keys, state.step, batch["real"])
            value, metrics = lost(told, keys)
            return fooled + value, aux._replace(metrics=metrics)

        def init(key: Array, batch: Batch) -> Nets:
            z = jnp.zeros((len(batch["real"]), latents.size))
            nets = initial(key, generator=(generator, z), discriminator=(discriminator, batch["real"]))
            self.check_statistics(nets["discriminator"])
            return nets

        def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
            z = batch["latent"] if batch and "latent" in batch else latents.draw(keys)
            return trained(generator, state, "generator", z)

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
            fakes=Fakes(("generator",), make),
        )

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config, and its codes as pictures; see `Family.build`."""
        parts.demand(self, generator="latent", discriminator="label")
        if getattr(parts.discriminator, "conditioning", None) != "auxiliary":
            raise InputError(
                "game.family infogan reads codes where others read classes: set discriminator.conditioning to "
                "'auxiliary', of a discriminator.network that knows it, such as dcgan"
            )
        shape = facts.shape()
        generator = parts.generator_of(shape, self.latents.size)
        told = shape._replace(classes=self.categories + self.continuous)
        game = self.game(generator, parts.module("discriminator", told), **parts.optimizers)
        return Built(game, latents=self.latents, pictures=pictures(generator, self.latents))


def pictures(generator: nn.Module, latents: Coded) -> Mapping[str, Callable[[State, Batch], Picture]]:
    """What each code changes, by captions: rows of one draw of noise and of the other codes."""
    key = jax.random.key(0)

    def rows(columns: int) -> tuple[Array, Array, Array]:
        keys = Keys.of(key, ROWS)
        drawn = latents.noise.draw(keys), *latents.codes(keys)
        noise, category, continuous = (jnp.repeat(x, columns, 0) for x in drawn)
        return noise, category, continuous

    def sheet(state: State, noise: Array, category: Array, continuous: Array, columns: int) -> Sheet:
        z = latents.join(noise, category, continuous)
        return Sheet(trained(generator, state, "generator", z), columns)

    def categories(state: State, batch: Batch) -> Sheet:
        noise, _, continuous = rows(latents.categories)
        each = jnp.tile(jnp.arange(latents.categories), ROWS)
        return sheet(state, noise, each, continuous, latents.categories)

    def code(i: int) -> Callable[[State, Batch], Sheet]:
        def walk(state: State, batch: Batch) -> Sheet:
            noise, category, continuous = rows(STEPS)
            values = jnp.tile(jnp.linspace(-REACH, REACH, STEPS), ROWS)
            return sheet(state, noise, category, continuous.at[:, i].set(values), STEPS)

        return walk

    shown: dict[str, Callable[[State, Batch], Picture]] = {}
    if latents.categories:
        shown["one draw of noise in each row, one category in each column"] = categories
    for i in range(latents.continuous):
        shown[f"continuous code {i + 1}, from -{REACH:g} to {REACH:g} along each row"] = code(i)
    return shown
