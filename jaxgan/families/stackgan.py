"""Text to image in two stages: a small image of the text first, and a large one of that and the text then.

For example:

    >>> from jaxgan.networks import MatchingDiscriminator, StageOne, StageTwo
    >>> stages = StageOne(8, 1, width=4), StageTwo(2, 1, width=4, depth=1)
    >>> judges = MatchingDiscriminator(8, 1, width=4), MatchingDiscriminator(16, 1, width=4)
    >>> played = StackGAN(stage_two=1000, given="label", scale=2).game(*stages, *judges, classes=10)
    >>> for name, player in played.players.items():
    ...     print(name, player.start, player.stop)
    discriminator 0 1000
    generator 0 1000
    second_discriminator 1000 None
    second_generator 1000 None
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan import axis
from jaxgan.errors import InputError
from jaxgan.families.base import SHOWN, Built, Facts, Family, Parts, family
from jaxgan.families.wiring import trained
from jaxgan.game import Array, Aux, Batch, Game, Keys, Nets, Player, State
from jaxgan.networks.registry import settings_of
from jaxgan.networks.resnet import pool, upsample
from jaxgan.networks.stackgan import StackGANGenerator, doublings
from jaxgan.networks.text import CharacterEncoder
from jaxgan.objectives.adversary import Judge, apply
from jaxgan.objectives.latents import Latents
from jaxgan.settings import Count, Factor, Fraction, Numbers, Probability

SOURCES = {
    "text": "captions; set data.task to 'captions', or choose a data.source that has some",
    "embedding": "embeddings of captions; make some by jaxgan prepare --embed",
}
"""What data lacks without the field, and what to do."""

_FACTOR = 0x01000193


def mismatches(given: Array) -> tuple[Array, Array]:
    """For each example another one of the whole batch that has something else: the next in the order of the batch.

    Rows are compared by a hash of 32 bits, so now and then another row passes for the same one, never the other way.

    Args:
      given: `[n, ...]`, int or float32, this device's part of what the batch is conditional on.

    Returns:
      The positions of the others in the global batch, int `[n]`, and where there is such another, bool `[n]`.
    """
    name = axis.current()
    bits = given if jnp.issubdtype(given.dtype, jnp.integer) else lax.bitcast_convert_type(given, jnp.uint32)
    bits = bits.reshape(len(given), -1).astype(jnp.uint32)
    factors = jnp.cumprod(jnp.full(bits.shape[1], _FACTOR, jnp.uint32))
    own = jnp.sum(bits * factors[None], 1, dtype=jnp.uint32)
    everyone = axis.gather(own, name)
    here, total = axis.index(name) * len(given) + jnp.arange(len(given)), len(everyone)
    order = (here[:, None] + 1 + jnp.arange(total)[None]) % total  # the last is the example itself
    other = everyone[order] != own[:, None]
    first = jnp.argmax(other, 1)
    return jnp.take_along_axis(order, first[:, None], 1)[:, 0], jnp.any(other, 1)


class TextEncoder(settings_of(CharacterEncoder)):
    """Settings of `jaxgan.networks.CharacterEncoder`."""


@family("stackgan")
class StackGAN(Family):
    """Two stages, each of a generator and a discriminator that sees what the image should show.

    Each stage begins with its own `discriminator_pretraining`, and penalties on the discriminator's weights are on the
    encoder's too.

    References:
      Zhang et al., StackGAN: Text to Photo-realistic Image Synthesis with Stacked Generative Adversarial Networks,
        2017, equations 3 to 6.
      Reed et al., Generative Adversarial Text to Image Synthesis, 2016, algorithm 1 (matching-aware discriminator).
    """

    stage_two: Count
    """The first step of the second stage, in which the first is fixed."""
    given: Literal["text", "embedding", "label"] = "text"
    """What images are made from: captions, by an encoder that is trained; embeddings of captions; or classes."""
    scale: Literal[2, 4, 8] = 4
    """How many times smaller the first stage's images are."""
    encoder: TextEncoder = TextEncoder()
    """The encoder of captions."""
    latent: Numbers = 100
    """Numbers that an image is made from."""
    latent_kind: Literal["normal", "uniform"] = "normal"
    """How they are distributed, see `Latents`."""
    kl: Factor = 0.016
    """Factor of the divergence of conditions from standard Gaussians. The paper says 1; its code, which takes the mean
    over 128 numbers and doubles it, comes to this."""
    mismatched: Probability = 0.5
    """Share, in what the discriminators should not take for real, of real images with the text of another example;
    generated images have the rest."""
    ema: Fraction = 0.999
    """Decay of both generators' averages, 0 for none."""
    shared_draws: bool = True
    """See `Game.shared_draws`."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse what does not go with captions, and a second stage that begins too early."""
        if self.packing > 1:
            raise ValueError("packs images of several texts; set packing to 1")
        if self.flip:
            raise ValueError("has mismatched captions, on which flip has no effect; set flip to 0")
        if self.stage_two <= self.discriminator_pretraining:
            raise ValueError(
                f"begins its second stage at step {self.stage_two}, before its first generator plays; set stage_two "
                f"above discriminator_pretraining, {self.discriminator_pretraining}"
            )

    @property
    def latents(self) -> Latents:
        """What the first stage's images are made from."""
        return Latents(self.latent, self.latent_kind)

    def game(
        self,
        first: nn.Module,
        second: nn.Module,
        discriminator: nn.Module,
        second_discriminator: nn.Module,
        encoder: nn.Module | None = None,
        classes: int = 0,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of five networks.

        Batches hold "real" `[N, H, W, C]` and the field `given`. Up to the step `stage_two` the networks "generator"
        and "discriminator" play for images shrunken `scale` times; from then on these are fixed, and "second_generator"
        and "second_discriminator" play for whole ones. An "encoder" is moved with the first discriminator, whose loss
        of mismatches asks it to tell texts apart; a generator that moved it could blind its judge. It is fixed in the
        second stage, like the trained encoder of the paper. Discriminators' metrics are those of
        `Adversary.discriminate`, and "mismatch_accuracy", the share of mismatches that are told from real pairs.

        Args:
          first: As `jaxgan.networks.StageOne`.
          second: As `jaxgan.networks.StageTwo`.
          discriminator: As `jaxgan.networks.MatchingDiscriminator`, of small images.
          second_discriminator: Likewise of whole images.
          encoder: The field `given` to embeddings `[N, E]`; None where it holds embeddings, or labels.
          classes: The number of classes where it holds labels; 0 for all else.
          generator_optimizer: Of both generators; Adam(2e-4, 0.5, 0.999) if not given, as in the paper.
          discriminator_optimizer: Of both discriminators and the encoder, likewise.

        Returns:
          The game. `sample` needs the batch's field `given`, takes an optional "latent", and shows the first stage's
          images, enlarged, until the second generator has begun. Its `init` raises ValueError if a penalty on slopes
          meets a discriminator with batch norm.
        """
        modules = {
            "generator": first,
            "discriminator": discriminator,
            "second_generator": second,
            "second_discriminator": second_discriminator,
        }
        halvings = self.scale.bit_length() - 1

        def embed(state: State, batch: Batch) -> Array:
            x = batch[self.given]
            if encoder is not None:
                return apply(encoder, state, "encoder", x)[0]
            return jax.nn.one_hot(x, classes) if classes else x

        def shrunken(images: Array) -> Array:
            for _ in range(halvings):
                images = pool(images)
            return images

        def noise(name: str, keys: Keys) -> Array:
            return keys.fold(f"{name} condition").normal((modules[name].condition,))  # pyright: ignore[reportAttributeAccessIssue]

        def make(name: str, state: State, embedding: Array, batch: Batch, keys: Keys) -> tuple[Any, Any]:
            """Images and the Gaussian of their conditions, and new statistics."""
            drawn = noise("generator", keys)
            if name == "generator":
                return apply(first, state, name, embedding, self.latents.draw(keys), drawn)
            small = trained(first, state, "generator", embedding, self.latents.draw(keys), drawn)
            return apply(second, state, name, embedding, lax.stop_gradient(small[0]), noise(name, keys))

        def judged_by(name: str, state: State, embedding: Array) -> Judge:
            def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
                logits, stats = apply(modules[name], state, name, images, embedding, stats=stats, keys=masks)
                return logits, logits, stats

            return judge

        def discriminator_loss(
            name: str, maker: str, state: State, batch: Batch, keys: Keys
        ) -> tuple[Array, Aux]:
            embedding = embed(state, batch)
            (fake, _), _ = make(maker, state, embedding, batch, keys)
            real = batch["real"] if name == "second_discriminator" else shrunken(batch["real"])
            seen = self.discriminate(
                judged_by(name, state, embedding), real, lax.stop_gradient(fake), keys, state.step
            )
            at, there = mismatches(batch[self.given])
            wrong = axis.gather(embedding, axis.current())[at]
            asked = self.see(real, keys.fold("mismatched"), state.step)
            logits, _, stats = judged_by(name, state, wrong)(*asked, seen.stats)
            # Generated images have the whole weight of what is not real: mismatches take a share of it.
            generated, others = (
                self.adversarial_loss.discriminator(seen.real, x, smoothing=self.smoothing)
                for x in (seen.fake, jnp.where(there, logits, seen.fake))
            )
            value = seen.value + self.mismatched * (others - generated)
            told = (logits < 0) if self.adversarial_loss.probabilities else (logits < seen.real)
            return value, Aux(
                {name: stats}, metrics={**seen.metrics, "mismatch_accuracy": jnp.mean(told | ~there)}
            )

        def generator_loss(
            name: str, judge: str, state: State, batch: Batch, keys: Keys
        ) -> tuple[Array, Aux]:
            embedding = embed(state, batch)
            (fake, gaussian), stats = make(name, state, embedding, batch, keys)
            real = batch["real"] if name == "second_generator" else shrunken(batch["real"])
            fooled, _ = self.fool(judged_by(judge, state, embedding), fake, keys, state.step, real)
            divergence = jnp.mean(gaussian.divergence())
            metrics = {"adversarial": fooled, "kl": divergence}
            return fooled + self.kl * divergence, Aux({name: stats}, metrics=metrics)

        def init(key: Array, batch: Batch) -> Nets:
            nets: Nets = {}
            keys = [jax.random.fold_in(key, i) for i in range(5)]
            x = batch[self.given]
            if encoder is not None:
                x, nets["encoder"] = encoder.init_with_output(keys[4], x, train=True)
            elif classes:
                x = jax.nn.one_hot(x, classes)
            count, image, small = len(x), batch["real"], shrunken(batch["real"])
            draws = [
                jnp.zeros((count, modules[name].condition)) for name in ("generator", "second_generator")
            ]  # pyright: ignore[reportAttributeAccessIssue]
            z = jnp.zeros((count, self.latents.size))
            nets["generator"] = first.init(keys[0], x, z, draws[0], train=True)
            nets["discriminator"] = discriminator.init(keys[1], small, x, train=True)
            nets["second_generator"] = second.init(keys[2], x, small, draws[1], train=True)
            nets["second_discriminator"] = second_discriminator.init(keys[3], image, x, train=True)
            for name in ("discriminator", "second_discriminator"):
                self.check_statistics(nets[name])
            return nets

        def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
            if not batch or self.given not in batch:
                raise ValueError(f'a sample is made from "{self.given}", which the batch lacks')
            z = batch["latent"] if "latent" in batch else self.latents.draw(keys)
            embedding = embed(state, batch)
            small = trained(first, state, "generator", embedding, z, noise("generator", keys))

            def whole() -> Array:
                drawn = noise("second_generator", keys)
                return trained(second, state, "second_generator", embedding, small[0], drawn)[0]

            def enlarged() -> Array:
                x = small[0]
                for _ in range(halvings):
                    x = upsample(x)
                return x

            return lax.cond(state.step > self.stage_two + self.discriminator_pretraining, whole, enlarged)

        def player(judges: bool, name: str, other: str, also: tuple[str, ...] = ()) -> Player:
            play = discriminator_loss if judges else generator_loss

            def loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
                return play(name, other, state, batch, keys)

            # The first stage ends where the second begins.
            when: dict[str, Any] = (
                {"start": self.stage_two} if name.startswith("second") else {"stop": self.stage_two}
            )
            if judges:
                return self.discriminating((name, *also), loss, discriminator_optimizer, **when)
            return self.generating((name,), loss, generator_optimizer, **when)

        encoders = () if encoder is None else ("encoder",)
        return Game(
            init=init,
            players={
                "discriminator": player(True, "discriminator", "generator", encoders),
                "generator": player(False, "generator", "discriminator"),
                "second_discriminator": player(True, "second_discriminator", "second_generator"),
                "second_generator": player(False, "second_generator", "second_discriminator"),
            },
            sample=sample,
            ema={"generator": self.ema, "second_generator": self.ema} if self.ema else {},
            shared_draws=self.shared_draws,
        )

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config; see `Family.build`."""
        parts.demand(self, generator="stackgan", discriminator="stackgan")
        net = parts.generator
        assert isinstance(net, StackGANGenerator)
        if self.given == "label" and not facts.classes:
            raise InputError(
                "game.given is label, but the data has no classes; set it to text or give the data labels"
            )
        if self.given != "label" and self.given not in facts.fields:
            raise InputError(f"game.given is {self.given}, but the data has no {SOURCES[self.given]}")
        whole = facts.image(self, scale=self.scale)
        resolution = whole.resolution
        small = resolution // self.scale
        try:
            fits = resolution % self.scale == 0 and small % 2**net.depth == 0
            doublings(small)
        except ValueError:
            fits = False
        if not fits:
            raise InputError(
                f"data.resolution {resolution} does not fit game.scale {self.scale} and generator.depth {net.depth}: "
                "small images must have 4, 5, 6 or 7 times a power of 2 pixels, and 2^depth must divide that"
            )
        reduced = whole.sized(small)
        classes = len(facts.classes) if self.given == "label" else 0
        game = self.game(
            net.stage_one(resolution=small, channels=whole.channels, dtype=parts.dtype),
            parts.module("generator", whole),
            parts.module("discriminator", reduced),
            parts.module("discriminator", whole),
            parts.module("game.encoder", whole, self.encoder) if self.given == "text" else None,
            classes,
            **parts.optimizers,
        )
        shown = {
            label: (*metrics, *(f"second_{metric}" for metric in metrics)) for label, metrics in SHOWN.items()
        }
        return Built(game, classes, self.latents, () if classes else (self.given,), shown=shown)
