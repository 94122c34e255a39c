"""Noise to image: the plain and the class-conditional GAN, with any networks and any rules between them.

For example:

    >>> from jaxgan import game
    >>> from jaxgan.networks import MLPDiscriminator, MLPGenerator
    >>> rules = GAN(latent=3, loss="hinge", discriminator_turns=2)
    >>> played = rules.game(MLPGenerator((8, 8, 1)), MLPDiscriminator())
    >>> played.turns  # of the discriminator two, of the generator one
    3
    >>> batch = {"real": jnp.zeros((4, 8, 8, 1))}
    >>> state = jax.eval_shape(lambda key: game.init(played, key, batch), jax.random.key(0))  # shapes alone
    >>> jax.eval_shape(played.sample, state, Keys.of(jax.random.key(1), 5), None).shape
    (5, 8, 8, 1)
"""

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp
import optax

from jaxgan.errors import InputError
from jaxgan.families.base import Built, Facts, Family, Parts, family
from jaxgan.families.wiring import fakes, generated, initial, trained
from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.objectives.adversary import Verdict, apply
from jaxgan.objectives.latents import Latents
from jaxgan.settings import Factor, Fraction, Numbers


def class_loss(logits: Array, label: Array) -> Array:
    """The mean cross-entropy of class logits `[N, K]`, nats."""
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits.astype(jnp.float32), label))


@family("gan")
class GAN(Family):
    """A generator against a discriminator.

    References:
      Goodfellow et al., Generative Adversarial Networks, 2014, algorithm 1.
      Mirza and Osindero, Conditional Generative Adversarial Nets, 2014.
      Odena et al., Conditional Image Synthesis with Auxiliary Classifier GANs, 2017, equations 2 and 3.
      Gulrajani et al., Improved Training of Wasserstein GANs, 2017, algorithm 1.
      Mescheder et al., Which Training Methods for GANs do actually Converge?, 2018, equation 9.
    """

    latent: Numbers = 100
    """Numbers that an image is made from."""
    latent_kind: Literal["normal", "uniform"] = "normal"
    """How they are distributed, see `Latents`."""
    conditional: bool = False
    """Whether both networks take labels."""
    auxiliary: Factor = 1.0
    """Factor of the cross-entropy of the classes, of real and of generated images, for both players, where the
    discriminator tells classes (AC-GAN)."""
    ema: Fraction = 0.999
    """Decay of the generator's average, 0 for none."""
    schedule: Literal["alternating", "simultaneous"] = "alternating"
    """See `Game.schedule`."""
    shared_draws: bool = False
    """See `Game.shared_draws`."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse packing with classes."""
        if self.packing > 1 and self.conditional:
            raise ValueError("packs images of several classes; set packing to 1 or conditional to false")

    @property
    def latents(self) -> Latents:
        """What images are made from."""
        return Latents(self.latent, self.latent_kind)

    def game(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of two networks.

        Batches hold "real" `[N, ...]` and, for a conditional game, "label" `[N]` int. Networks are called as
        `jaxgan.networks` describes. The discriminator's metrics are those of `Adversary.discriminate`.

        Args:
          generator: Latents to images.
          discriminator: Images to logits; or to logits and the logits of classes, as in AC-GAN.
          generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given, as in DCGAN.
          discriminator_optimizer: Likewise.

        Returns:
          The game. `sample` takes an optional batch with "label" and "latent"; missing latents are drawn from the keys.
          Its `init` raises ValueError if a penalty on slopes meets a discriminator with batch norm: the slopes of the
          examples of a batch would run into each other.
        """

        def label(batch: Batch) -> Array | None:
            return batch["label"] if self.conditional else None

        def make(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            return generated(generator, state, keys, self.latents.draw(keys), label(batch))

        def judged_by(state: State, batch: Batch) -> Any:
            def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
                said, stats = apply(
                    discriminator, state, "discriminator", images, label(batch), stats=stats, keys=masks
                )
                logits, classes = said if isinstance(said, tuple) else (said, None)
                return logits, classes, stats

            return judge

        def told(of: dict[str, Array | None], batch: Batch) -> tuple[Array | float, dict[str, Array]]:
            """The loss of the classes that the discriminator tells, and how often it is right."""
            said = {name: logits for name, logits in of.items() if logits is not None}
            right = {f"{n}_class": jnp.mean(jnp.argmax(x, 1) == batch["label"]) for n, x in said.items()}
            return self.auxiliary * sum(class_loss(x, batch["label"]) for x in said.values()), right

        def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            fake, _ = fakes(make, state, batch, keys)
            judge, stats = judged_by(state, batch), state.stats["discriminator"]
            one_by_one = not self.conditional and not stats and getattr(discriminator, "per_example", False)
            seen: Verdict = self.discriminate(
                judge, batch["real"], fake, keys, state.step, per_example=one_by_one
            )
            classes, right = told({"real": seen.real, "fake": seen.fake}, batch)
            return seen.value + classes, Aux({"discriminator": seen.stats}, metrics={**seen.metrics, **right})

        def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            fake, aux = fakes(make, state, batch, keys)
            value, more = self.fool(judged_by(state, batch), fake, keys, state.step, batch["real"])
            classes, _ = told({"fake": more}, batch)
            return value + classes, aux

        def init(key: Array, batch: Batch) -> Nets:
            z, seen = jnp.zeros((len(batch["real"]), self.latents.size)), self.blank(batch["real"])
            own = label(batch)
            nets = initial(key, generator=(generator, z, own), discriminator=(discriminator, seen, own))
            self.check_statistics(nets["discriminator"])
            return nets

        def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
            batch = batch or {}
            z = batch["latent"] if "latent" in batch else self.latents.draw(keys)
            return trained(generator, state, "generator", z, label(batch))

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
            schedule=self.schedule,
            shared_draws=self.shared_draws,
            fakes=Fakes(("generator",), make),
        )

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config; see `Family.build`."""
        parts.demand(self, generator="latent", discriminator="example")
        classes = facts.conditional(self.conditional)
        if classes and "label" not in parts.discriminator.roles:
            raise InputError(
                f"discriminator.network {parts.discriminator.network} takes no labels; set game.conditional to false"
            )
        shape = facts.shape(classes=classes)
        generator = parts.generator_of(shape, self.latent)
        seen = shape.deeper(shape.channels * self.packing)
        game = self.game(generator, parts.module("discriminator", seen), **parts.optimizers)
        return Built(game, classes, self.latents)
