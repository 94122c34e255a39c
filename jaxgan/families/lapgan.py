"""LAPGAN: a pyramid of conditional GANs, each of which adds detail to the enlarged image of the one below.

For example:

    >>> latent_size(28, levels=3, latent=100)  # 100 + 28 * 28 + 14 * 14
    1080
    >>> from jaxgan import game
    >>> from jaxgan.networks import BandDiscriminator, BandGenerator
    >>> makers = BandGenerator(1, width=8), MLPGenerator((8, 8, 1), width=8)
    >>> judges = BandDiscriminator(width=8), MLPDiscriminator(width=8)
    >>> played = LAPGAN(levels=2).game(makers, judges, resolution=16)
    >>> batch = {"real": jnp.zeros((4, 16, 16, 1))}
    >>> state = jax.eval_shape(lambda key: game.init(played, key, batch), jax.random.key(0))
    >>> jax.eval_shape(played.sample, state, Keys.of(jax.random.key(1), 4), None).shape
    (4, 16, 16, 1)
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from pydantic import Field

from jaxgan.errors import InputError
from jaxgan.families.base import Built, Facts, Family, Parts, family
from jaxgan.families.wiring import fakes, judged_by, trained
from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.layers.pyramid import pyramid, up
from jaxgan.networks import MLPDiscriminator, MLPGenerator
from jaxgan.networks.lapgan import LAPGANDiscriminator, LAPGANGenerator
from jaxgan.objectives.adversary import apply, variance
from jaxgan.objectives.latents import Latents
from jaxgan.settings import Fraction, Numbers


def latent_size(resolution: int, levels: int, latent: int) -> int:
    """Numbers that an image is made from: `latent` of its coarsest level, and a plane of each finer one."""
    return latent + sum((resolution >> level) ** 2 for level in range(levels - 1))


@family("lapgan")
class LAPGAN(Family):
    """One generator against one discriminator at each level of a Laplacian pyramid.

    References:
      Denton et al., Deep Generative Image Models using a Laplacian Pyramid of Adversarial Networks, 2015, equations 3
      to 6. The paper's discriminators see the sum alone.
    """

    levels: Annotated[int, Field(gt=0, le=12)] = 3
    """Sizes of the image, each half the one before."""
    latent: Numbers = 100
    """Numbers that the coarsest image is made from; each other level has a plane of noise."""
    latent_kind: Literal["normal", "uniform"] = "uniform"
    """How they are distributed, see `Latents`."""
    conditional: bool = False
    """Whether all networks take labels."""
    ema: Fraction = 0.999
    """Decay of the generators' averages, 0 for none."""
    shared_draws: bool = True
    """See `Game.shared_draws`."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse packing with classes."""
        if self.packing > 1 and self.conditional:
            raise ValueError("packs images of several classes; set packing to 1 or conditional to false")

    def game(
        self,
        generators: Sequence[nn.Module],
        discriminators: Sequence[nn.Module],
        resolution: int,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of two networks for each level.

        Batches hold "real" `[N, R, R, C]` in [-1, 1] and, for a conditional game, "label" `[N]` int. Level 0 is the
        finest. The networks are "generator_0", "discriminator_0" and so on. At the last level the generator is called
        as `generator(latent, label, train=, keys=)` and makes images, which the discriminator judges: a plain GAN. At
        every other level k it is called as `generator(low, noise, label, train=, keys=)`, with the next smaller real
        image enlarged, `[N, R / 2^k, R / 2^k, C]`, and one plane of noise; it makes what that image lacks. The
        discriminator gets their sum, and beside it, as more channels, the enlarged image.

        The player "generator" moves the generators of all levels, "discriminator" all discriminators. No level's loss
        depends on another's networks, and the noise of each is its own. A player's loss is the sum over the levels; the
        metrics of `Adversary.discriminate` are means over them, and those of each level are there too, with "_0" and so
        on behind their names, as is its "loss_0". Variances are of what the generators make, which is bands, and the
        ones without a level are the last level's: the others are given images that differ.

        Args:
          generators: The finest level first, as many as `levels`.
          discriminators: Likewise.
          resolution: R.
          generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given.
          discriminator_optimizer: Likewise.

        Returns:
          The game. `sample` goes from the coarsest level to the finest, each on what the one below made. It takes an
          optional batch with "label" and "latent" `[N, latent_size(...)]`: the coarsest image's numbers, then the
          planes of noise, the finest first; missing ones are drawn from the keys. Its `init` raises ValueError if
          images are of another resolution, or as that of `GAN.game`.

        Raises:
          ValueError: Levels and networks do not fit each other, or the resolution cannot be halved so often.
        """
        levels = self.levels
        if not len(generators) == len(discriminators) == levels:
            raise ValueError(
                f"a pyramid of {levels} levels needs as many generators and discriminators, not {len(generators)} and "
                f"{len(discriminators)}"
            )
        if resolution % 2 ** (levels - 1):
            raise ValueError(f"{resolution} pixels cannot be halved {levels - 1} times, for {levels} levels")
        last = levels - 1
        sizes = [resolution >> level for level in range(levels)]
        latents = Latents(latent_size(resolution, levels, self.latent), self.latent_kind)
        makers, judges = (
            tuple(f"{name}_{level}" for level in range(levels)) for name in ("generator", "discriminator")
        )

        def label(batch: Batch) -> Array | None:
            return batch["label"] if self.conditional else None

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
            for level, (low, _) in enumerate(cut(batch["real"])):
                own = keys.fold(makers[level])
                numbers = Latents(self.latent if low is None else sizes[level] ** 2, self.latent_kind).draw(
                    own
                )
                args = (*given(level, low, numbers), label(batch))
                name = makers[level]
                band, stats[name] = apply(generators[level], state, name, *args, keys=own.example)
                made.append(band)
            return made, Aux(stats=stats)

        def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            made, _ = fakes(make, state, batch, keys)
            value, stats, metrics, each = jnp.float32(0), {}, {}, []
            for level, (low, band) in enumerate(cut(batch["real"])):
                pair, own = (shown(low, band), shown(low, made[level])), keys.fold(judges[level])
                judge = judged_by(discriminators[level], state, judges[level], label(batch))
                seen = self.discriminate(judge, *pair, own, state.step)
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
            made, aux = fakes(make, state, batch, keys)
            value, metrics = jnp.float32(0), {}
            for level, (low, band) in enumerate(cut(batch["real"])):
                fake, real, own = shown(low, made[level]), shown(low, band), keys.fold(judges[level])
                judge = judged_by(discriminators[level], state, judges[level], label(batch))
                metrics[f"loss_{level}"], _ = self.fool(judge, fake, own, state.step, real)
                value += metrics[f"loss_{level}"]
            return value, aux._replace(metrics=metrics)

        def init(key: Array, batch: Batch) -> Nets:
            n, *image = batch["real"].shape
            if image[:2] != [resolution, resolution]:
                raise ValueError(f"this pyramid is of {resolution}x{resolution} images, got {image}")
            nets = {}
            for level, size in enumerate(sizes):
                keys = (jax.random.fold_in(key, 2 * level), jax.random.fold_in(key, 2 * level + 1))
                low = None if level == last else jnp.zeros((n, size, size, image[2]))
                numbers = jnp.zeros((n, self.latent if low is None else size**2))
                args = (*given(level, low, numbers), label(batch))
                nets[makers[level]] = generators[level].init(keys[0], *args, train=True)
                channels = image[2] if low is None else 2 * image[2]
                seen = self.blank(jnp.zeros((n, size, size, channels)))
                nets[judges[level]] = discriminators[level].init(keys[1], seen, label(batch), train=True)
                self.check_statistics(nets[judges[level]])
            return nets

        def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
            batch = batch or {}
            z = batch["latent"] if "latent" in batch else latents.draw(keys)
            coarsest, planes = z[:, : self.latent], z[:, self.latent :]
            ends = [sum(size**2 for size in sizes[: level + 1]) for level in range(last)]
            noise = [*jnp.split(planes, ends[:-1], 1), coarsest] if last else [coarsest]
            image = None
            for level in reversed(range(levels)):
                low = None if image is None else up(image)
                args = (*given(level, low, noise[level]), label(batch))
                band = trained(generators[level], state, makers[level], *args)
                image = band if low is None else low + band
            assert image is not None
            return image

        return Game(
            init=init,
            players={
                "discriminator": self.discriminating(judges, discriminator_loss, discriminator_optimizer),
                "generator": self.generating(makers, generator_loss, generator_optimizer),
            },
            sample=sample,
            ema=dict.fromkeys(makers, self.ema) if self.ema else {},
            shared_draws=self.shared_draws,
            fakes=Fakes(makers, make),
        )

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config, with fully connected networks at the coarsest level; see `Family.build`."""
        parts.demand(self, generator="lapgan", discriminator="lapgan")
        made_by, judged_by = parts.generator, parts.discriminator
        assert isinstance(made_by, LAPGANGenerator)
        assert isinstance(judged_by, LAPGANDiscriminator)
        classes = facts.conditional(self.conditional)
        fine = facts.image(self, classes=classes)
        resolution = fine.resolution
        halvings = self.levels - 1
        if resolution % 2**halvings:
            raise InputError(
                f"game.levels is {self.levels}, but {resolution}x{resolution} images cannot be halved {halvings} "
                "times; lower game.levels or choose another data.resolution"
            )
        coarse = fine.sized(resolution >> halvings).example
        game = self.game(
            [
                *(parts.module("generator", fine) for _ in range(halvings)),
                MLPGenerator(coarse, made_by.hidden, 2, classes, dtype=parts.dtype),
            ],
            [
                *(parts.module("discriminator", fine) for _ in range(halvings)),
                MLPDiscriminator(
                    *(judged_by.hidden, 2, classes, judged_by.dropout, parts.dtype),
                    minibatch_std=judged_by.minibatch_std,
                ),
            ],
            resolution,
            **parts.optimizers,
        )
        size = latent_size(resolution, self.levels, self.latent)
        return Built(game, classes, Latents(size, self.latent_kind))
