"""Text to image in two stages: a small image of the text first, and a large one of that and the text then."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan import axis
from jaxgan.game import Array, Aux, Batch, Game, Keys, Nets, Player, State
from jaxgan.games.adversary import Adversary, Judge, apply
from jaxgan.games.latents import Latents
from jaxgan.networks.resnet import pool, upsample

_FACTOR = 0x01000193


def mismatches(given: Array) -> tuple[Array, Array]:
    """For each example another one of the whole batch that has something else: the next in the order of the batch.

    Rows are compared by a hash of 32 bits, so now and then another row passes for the same one, never the other way.

    Args:
      given: `[n, ...]`, int or float32, this device's part of what the batch is conditional on.

    Returns:
      The positions of the others in the global batch, int `[n]`, and where there is such another, bool `[n]`.
    """
    name = axis.AXIS if axis.bound() else None
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


def stackgan(
    first: nn.Module,
    second: nn.Module,
    discriminator: nn.Module,
    second_discriminator: nn.Module,
    encoder: nn.Module | None = None,
    adversary: Adversary | None = None,
    *,
    stage_two: int,
    scale: int = 4,
    given: str = "text",
    classes: int = 0,
    latent: int | Latents = 100,
    kl: float = 1.0,
    mismatched: float = 0.5,
    generator_optimizer: optax.GradientTransformation | None = None,
    discriminator_optimizer: optax.GradientTransformation | None = None,
    ema: float = 0.0,
    shared_draws: bool = True,
) -> Game:
    """A game of two stages, each of a generator and a discriminator that sees what the image should show.

    Batches hold "image" `[N, H, W, C]` and the field `given`. Up to the step `stage_two` the networks "generator" and
    "discriminator" play for images shrunken `scale` times; from then on these are fixed, and "second_generator" and
    "second_discriminator" play for whole ones. An "encoder" is moved with the first discriminator, whose loss of
    mismatches asks it to tell texts apart; a generator that moved it could blind its judge. It is fixed in the
    second stage, like the trained encoder of the paper. Discriminators' metrics are those of
    `Adversary.discriminate`, and "mismatch_accuracy", the share of mismatches that are told from real pairs.

    Args:
      first: As `jaxgan.networks.StageOne`.
      second: As `jaxgan.networks.StageTwo`.
      discriminator: As `jaxgan.networks.MatchingDiscriminator`, of small images.
      second_discriminator: Likewise of whole images.
      encoder: The field `given` to embeddings `[N, E]`; None where it holds embeddings, or labels.
      adversary: The rules of both stages; each begins with its own `discriminator_pretraining`. Penalties on the
        discriminator's weights are on the encoder's too.
      stage_two: The second stage's first step.
      scale: A power of 2.
      given: The field that images are made from: "text", "embedding" or "label".
      classes: The number of classes where that is "label"; 0 for all else.
      latent: The first stage's latents, or the size of Gaussian ones.
      kl: Weight of the divergence of conditions from standard Gaussians, lambda.
      mismatched: Share, in what the discriminators should not take for real, of real images with the text of another
        example; generated images have the rest.
      generator_optimizer: Of both generators; Adam(2e-4, 0.5, 0.999) if not given, as in the paper.
      discriminator_optimizer: Of both discriminators and the encoder, likewise.
      ema: Decay of both generators' averages, 0 for none.
      shared_draws: See `Game.shared_draws`.

    Returns:
      The game. `sample` needs the batch's field `given`, takes an optional "latent", and shows the first stage's
      images, enlarged, until the second generator has begun. Its `init` raises ValueError if a penalty on slopes
      meets a discriminator with batch norm.

    Raises:
      ValueError: As `Adversary.check`, if a number is out of range, images are packed or their labels flipped, the
        scale is no power of 2, or the second stage has no step of the first generator before it.

    References:
      Zhang et al., StackGAN: Text to Photo-realistic Image Synthesis with Stacked Generative Adversarial Networks,
        2017, equations 3 to 6.
      Reed et al., Generative Adversarial Text to Image Synthesis, 2016, algorithm 1 (matching-aware discriminator).
    """
    rules = adversary or Adversary()
    rules.check()
    if kl < 0 or not 0 <= mismatched <= 1:
        raise ValueError(f"kl is {kl}, mismatched {mismatched}; need at least 0, and from 0 to 1")
    if rules.packing > 1 or rules.flip:
        raise ValueError(
            "packing joins images of several texts and flip mixes up what fits: set them to 1 and 0"
        )
    if scale < 2 or scale & (scale - 1) or stage_two <= rules.discriminator_pretraining:
        raise ValueError(
            f"scale is {scale}, stage_two {stage_two}, discriminator_pretraining {rules.discriminator_pretraining}; "
            "need a power of 2 from 2 on, and a second stage that begins after the first generator"
        )
    latents = Latents(latent) if isinstance(latent, int) else latent
    modules = {
        "generator": first,
        "discriminator": discriminator,
        "second_generator": second,
        "second_discriminator": second_discriminator,
    }
    halvings = scale.bit_length() - 1

    def embed(state: State, batch: Batch) -> Array:
        x = batch[given]
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
            return apply(first, state, name, embedding, latents.draw(keys), drawn)
        variables = state.variables("generator")
        small: Any = first.apply(variables, embedding, latents.draw(keys), drawn, train=False)
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
        real = batch["image"] if name == "second_discriminator" else shrunken(batch["image"])
        seen = rules.discriminate(
            judged_by(name, state, embedding), real, lax.stop_gradient(fake), keys, state.step
        )
        at, there = mismatches(batch[given])
        wrong = axis.gather(embedding, axis.AXIS if axis.bound() else None)[at]
        asked = rules.see(real, keys.fold("mismatched"), state.step)
        logits, _, stats = judged_by(name, state, wrong)(*asked, seen.stats)
        # Generated images have the whole weight of what is not real: mismatches take a share of it.
        generated, others = (
            rules.loss.discriminator(seen.real, x, smoothing=rules.smoothing)
            for x in (seen.fake, jnp.where(there, logits, seen.fake))
        )
        value = seen.value + mismatched * (others - generated)
        told = (logits < 0) if rules.loss.probabilities else (logits < seen.real)
        return value, Aux(
            {name: stats}, metrics={**seen.metrics, "mismatch_accuracy": jnp.mean(told | ~there)}
        )

    def generator_loss(name: str, judge: str, state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        embedding = embed(state, batch)
        (fake, gaussian), stats = make(name, state, embedding, batch, keys)
        real = batch["image"] if name == "second_generator" else shrunken(batch["image"])
        fooled, _ = rules.fool(judged_by(judge, state, embedding), fake, keys, state.step, real)
        divergence = jnp.mean(gaussian.divergence())
        metrics = {"adversarial": fooled, "kl": divergence}
        return fooled + kl * divergence, Aux({name: stats}, metrics=metrics)

    def init(key: Array, batch: Batch) -> Nets:
        nets: Nets = {}
        keys = [jax.random.fold_in(key, i) for i in range(5)]
        x = batch[given]
        if encoder is not None:
            x, nets["encoder"] = encoder.init_with_output(keys[4], x, train=True)
        elif classes:
            x = jax.nn.one_hot(x, classes)
        count, image, small = len(x), batch["image"], shrunken(batch["image"])
        draws = [jnp.zeros((count, modules[name].condition)) for name in ("generator", "second_generator")]  # pyright: ignore[reportAttributeAccessIssue]
        z = jnp.zeros((count, latents.size))
        nets["generator"] = first.init(keys[0], x, z, draws[0], train=True)
        nets["discriminator"] = discriminator.init(keys[1], small, x, train=True)
        nets["second_generator"] = second.init(keys[2], x, small, draws[1], train=True)
        nets["second_discriminator"] = second_discriminator.init(keys[3], image, x, train=True)
        for name in ("discriminator", "second_discriminator"):
            rules.check_statistics(nets[name])
        return nets

    def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
        if not batch or given not in batch:
            raise ValueError(f'a sample is made from "{given}", which the batch lacks')
        z = batch["latent"] if "latent" in batch else latents.draw(keys)
        embedding = embed(state, batch)
        told = state.variables("generator"), state.variables("second_generator")
        small: Any = first.apply(told[0], embedding, z, noise("generator", keys), train=False)

        def whole() -> Array:
            drawn = noise("second_generator", keys)
            return second.apply(told[1], embedding, small[0], drawn, train=False)[0]  # pyright: ignore[reportReturnType]

        def enlarged() -> Array:
            x = small[0]
            for _ in range(halvings):
                x = upsample(x)
            return x

        return lax.cond(state.step > stage_two + rules.discriminator_pretraining, whole, enlarged)

    def player(judges: bool, name: str, other: str, also: tuple[str, ...] = ()) -> Player:
        play = discriminator_loss if judges else generator_loss

        def loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            return play(name, other, state, batch, keys)

        # The first stage ends where the second begins.
        when: dict[str, Any] = {"start": stage_two} if name.startswith("second") else {"stop": stage_two}
        if judges:
            return rules.discriminating((name, *also), loss, discriminator_optimizer, **when)
        return rules.generating((name,), loss, generator_optimizer, **when)

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
        ema={"generator": ema, "second_generator": ema} if ema else {},
        shared_draws=shared_draws,
    )
