"""LAPGAN: a pyramid of conditional GANs, each of which adds detail to the enlarged image of the one below."""

from collections.abc import Sequence
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.games.adversary import Adversary, apply, variance
from jaxgan.games.gan import Latents
from jaxgan.layers.pyramid import pyramid, up


def latent_size(resolution: int, levels: int, latent: int) -> int:
    """Numbers that an image is made from: `latent` of its coarsest level, and a plane of each finer one."""
    return latent + sum((resolution >> level) ** 2 for level in range(levels - 1))


def lapgan(
    generators: Sequence[nn.Module],
    discriminators: Sequence[nn.Module],
    adversary: Adversary | None = None,
    *,
    resolution: int,
    latent: int = 100,
    latent_kind: Literal["normal", "uniform"] = "uniform",
    conditional: bool = False,
    generator_optimizer: optax.GradientTransformation | None = None,
    discriminator_optimizer: optax.GradientTransformation | None = None,
    ema: float = 0.0,
    shared_draws: bool = True,
) -> Game:
    """A game of one generator against one discriminator at each level of a Laplacian pyramid.

    Batches hold "image" `[N, R, R, C]` in [-1, 1] and, for a conditional game, "label" `[N]` int. Level 0 is the
    finest. The networks are "generator_0", "discriminator_0" and so on. At the last level the generator is called as
    `generator(latent, label, train=, keys=)` and makes images, which the discriminator judges: a plain GAN. At every
    other level k it is called as `generator(low, noise, label, train=, keys=)`, with the next smaller real image
    enlarged, `[N, R / 2^k, R / 2^k, C]`, and one plane of noise; it makes what that image lacks. The discriminator gets
    their sum, and beside it, as more channels, the enlarged image.

    The player "generator" moves the generators of all levels, "discriminator" all discriminators. No level's loss
    depends on another's networks, and the noise of each is its own. A player's loss is the sum over the levels; the
    metrics of `Adversary.discriminate` are means over them, and those of each level are there too, with "_0" and so on
    behind their names, as is its "loss_0". Variances are of what the generators make, which is bands, and the ones
    without a level are the last level's: the others are given images that differ.

    Args:
      generators: The finest level first.
      discriminators: Likewise.
      adversary: The rules between them.
      resolution: R.
      latent: Numbers that the coarsest image is made from.
      latent_kind: See `Latents`.
      conditional: Whether all networks take labels.
      generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given.
      discriminator_optimizer: Likewise.
      ema: Decay of the generators' averages, 0 for none.
      shared_draws: See `Game.shared_draws`.

    Returns:
      The game. `sample` goes from the coarsest level to the finest, each on what the one below made. It takes an
      optional batch with "label" and "latent" `[N, latent_size(...)]`: the coarsest image's numbers, then the planes of
      noise, the finest first; missing ones are drawn from the keys. Its `init` raises ValueError if images are of
      another resolution, or as that of `jaxgan.games.gan`.

    Raises:
      ValueError: As `Adversary.check`, if levels and networks do not fit each other or the resolution cannot be halved
        so often, or if images are packed in a conditional game.

    References:
      Denton et al., Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks, 2015, equations 3
      to 6. The paper's discriminators see the sum alone.
    """
    rules = adversary or Adversary()
    rules.check()
    levels = len(generators)
    if not levels or len(discriminators) != levels:
        raise ValueError(f"{levels} generators and {len(discriminators)} discriminators are no pyramid")
    if resolution % 2 ** (levels - 1):
        raise ValueError(f"{resolution} pixels cannot be halved {levels - 1} times, for {levels} levels")
    if conditional and rules.packing > 1:
        raise ValueError("packing joins images of several classes; it needs a game that is not conditional")
    last = levels - 1
    sizes = [resolution >> level for level in range(levels)]
    latents = Latents(latent_size(resolution, levels, latent), latent_kind)
    makers, judges = (
        tuple(f"{name}_{level}" for level in range(levels)) for name in ("generator", "discriminator")
    )

    def label(batch: Batch) -> Array | None:
        return batch["label"] if conditional else None

    def given(level: int, low: Array | None, numbers: Array) -> tuple[Array, ...]:
        """What a level's generator makes its band from."""
        return (numbers,) if low is None else (low, numbers.reshape(-1, sizes[level], sizes[level], 1))

    def cut(images: Array) -> list[tuple[Array | None, Array]]:
        """For each level the next smaller image, enlarged, and the band that it lacks."""
        *bands, image = pyramid(images, levels)
        found: list[tuple[Array | None, Array]] = [(None, image)]
        for band in reversed(bands):
            low = up(image)
            found, image = [(low, band), *found], low + band
        return found

    def shown(low: Array | None, band: Array) -> Array:
        return band if low is None else jnp.concatenate([low + band, low], -1)

    def make(state: State, batch: Batch, keys: Keys) -> tuple[list[Array], Aux]:
        made, stats = [], {}
        for level, (low, _) in enumerate(cut(batch["image"])):
            own = keys.fold(makers[level])
            numbers = Latents(latent if low is None else sizes[level] ** 2, latent_kind).draw(own)
            args = (*given(level, low, numbers), label(batch))
            name = makers[level]
            band, stats[name] = apply(generators[level], state, name, *args, keys=own.example)
            made.append(band)
        return made, Aux(stats=stats)

    def fakes(state: State, batch: Batch, keys: Keys) -> tuple[list[Array], Aux]:
        return (batch["fakes"], Aux()) if "fakes" in batch else make(state, batch, keys)

    def judged_by(state: State, batch: Batch, level: int) -> Any:
        def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
            name, options = judges[level], {"stats": stats, "keys": masks}
            logits, stats = apply(discriminators[level], state, name, images, label(batch), **options)
            return logits, None, stats

        return judge

    def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        made, _ = fakes(state, batch, keys)
        value, stats, metrics, each = jnp.float32(0), {}, {}, []
        for level, (low, band) in enumerate(cut(batch["image"])):
            pair, own = (shown(low, band), shown(low, made[level])), keys.fold(judges[level])
            seen = rules.discriminate(judged_by(state, batch, level), *pair, own, state.step)
            stats[judges[level]] = seen.stats
            value += seen.value
            spread = {"real_variance": variance(band), "fake_variance": variance(made[level])}
            each.append({**seen.metrics, **spread})
            metrics |= {f"{name}_{level}": x for name, x in {**each[level], "loss": seen.value}.items()}
        for name in each[0]:
            of_all = jnp.stack([found[name] for found in each])
            metrics[name] = of_all[last] if name.endswith("_variance") else jnp.mean(of_all)
        return value, Aux(stats=stats, metrics=metrics)

    def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        made, aux = fakes(state, batch, keys)
        value, metrics = jnp.float32(0), {}
        for level, (low, band) in enumerate(cut(batch["image"])):
            fake, real, own = shown(low, made[level]), shown(low, band), keys.fold(judges[level])
            judge = judged_by(state, batch, level)
            metrics[f"loss_{level}"], _ = rules.fool(judge, fake, own, state.step, real)
            value += metrics[f"loss_{level}"]
        return value, aux._replace(metrics=metrics)

    def init(key: Array, batch: Batch) -> Nets:
        n, *image = batch["image"].shape
        if image[:2] != [resolution, resolution]:
            raise ValueError(f"this pyramid is of {resolution}x{resolution} images, got {image}")
        nets = {}
        for level, size in enumerate(sizes):
            keys = (jax.random.fold_in(key, 2 * level), jax.random.fold_in(key, 2 * level + 1))
            low = None if level == last else jnp.zeros((n, size, size, image[2]))
            numbers = jnp.zeros((n, latent if low is None else size**2))
            args = (*given(level, low, numbers), label(batch))
            nets[makers[level]] = generators[level].init(keys[0], *args, train=True)
            channels = image[2] if low is None else 2 * image[2]
            seen = rules.blank(jnp.zeros((n, size, size, channels)))
            nets[judges[level]] = discriminators[level].init(keys[1], seen, label(batch), train=True)
            rules.check_statistics(nets[judges[level]])
        return nets

    def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
        batch = batch or {}
        z = batch["latent"] if "latent" in batch else latents.draw(keys)
        coarsest, planes = z[:, :latent], z[:, latent:]
        ends = [sum(size**2 for size in sizes[: level + 1]) for level in range(last)]
        noise = [*jnp.split(planes, ends[:-1], 1), coarsest] if last else [coarsest]
        image = None
        for level in reversed(range(levels)):
            low = None if image is None else up(image)
            args = (*given(level, low, noise[level]), label(batch))
            band: Any = generators[level].apply(state.variables(makers[level]), *args, train=False)
            image = band if low is None else low + band
        assert image is not None
        return image

    return Game(
        init=init,
        players={
            "discriminator": rules.discriminating(judges, discriminator_loss, discriminator_optimizer),
            "generator": rules.generating(makers, generator_loss, generator_optimizer),
        },
        sample=sample,
        ema=dict.fromkeys(makers, ema) if ema else {},
        shared_draws=shared_draws,
        fakes=Fakes(makers, make),
    )
