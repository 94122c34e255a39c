"""Unpaired image translation: two translators, each the other's way back.

For example:

    >>> from jaxgan import game
    >>> from jaxgan.networks import PatchGAN, Translator
    >>> networks = Translator(1, 8, 1), Translator(3, 8, 1), PatchGAN(8, 1), PatchGAN(8, 1)
    >>> played = CycleGAN(identity=0).game(*networks)
    >>> batch = {"real": jnp.zeros((2, 16, 16, 1)), "other": jnp.zeros((2, 16, 16, 3))}
    >>> state = jax.eval_shape(lambda key: game.init(played, key, batch), jax.random.key(0))
    >>> keys = Keys.of(jax.random.key(1), 2)
    >>> [jax.eval_shape(played.sample, state, keys, {name: batch[name]}).shape for name in ("other", "real")]
    [(2, 16, 16, 1), (2, 16, 16, 3)]
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.data.sources import Source
from jaxgan.errors import InputError
from jaxgan.families.base import Built, Facts, Family, Parts, family
from jaxgan.families.translation import shapes, unmatched
from jaxgan.families.wiring import fakes, judged_by, trained
from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.objectives import pool as pools
from jaxgan.objectives.adversary import apply
from jaxgan.settings import Factor, Fraction, Whole

SIDES = {
    "image": ("real", "generator", "discriminator"),
    "other": ("other", "inverse", "inverse_discriminator"),
}
"""The two kinds of images by their names in draws, memory and metrics: the field, the network that makes them, and the
one that judges them."""
BACK = {"image": "other", "other": "image"}
"""What each is made from."""


@family("cyclegan")
class CycleGAN(Family):
    """Two translators against two discriminators; in a config both ways have networks of one kind.

    References:
      Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, 2017, equations 1 to
      3 and section 5.2 (identity).
    """

    cycle: Factor = 10.0
    """Factor of the mean absolute difference after a way forth and back."""
    identity: Factor = 5.0
    """Factor of the mean absolute difference that a translator makes to images that need none; only where both kinds
    have as many channels."""
    pool: Whole = 50
    """Generated images of each kind that discriminators are shown later, see `jaxgan.objectives.pool`; 0 for none."""
    ema: Fraction = 0.0
    """Decay of both translators' averages, 0 for none."""
    shared_draws: bool = True
    """See `Game.shared_draws`."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse a pool that would give the same images in several turns."""
        if self.pool and self.shared_draws and self.discriminator_turns > 1:
            raise ValueError(
                "asks its pool for the same images in each of discriminator_turns; set shared_draws to false or pool "
                "to 0"
            )

    def game(
        self,
        generator: nn.Module,
        inverse: nn.Module,
        discriminator: nn.Module,
        inverse_discriminator: nn.Module,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of four networks.

        Batches hold "other" `[N, H, W, C]` and "real" `[N, H, W, D]`, which are not pairs. "generator" makes images of
        others, "inverse" the way back; "discriminator" judges images, "inverse_discriminator" others. The
        discriminator's metrics are those of `Adversary.discriminate` for images, and with "other_" before them for
        others.

        Args:
          generator: Others to images of the same size.
          inverse: Images to others.
          discriminator: Images to logits, of the whole or of patches.
          inverse_discriminator: Others to logits.
          generator_optimizer: Of both translators; Adam(2e-4, 0.5, 0.999) if not given, as in the paper.
          discriminator_optimizer: Of both discriminators, likewise.

        Returns:
          The game. `sample` translates the batch's "other" to images, or where there is none its "real" back. Its
          `init` raises ValueError if identity is asked of kinds that differ in channels.
        """
        modules = {
            "generator": generator,
            "inverse": inverse,
            "discriminator": discriminator,
            "inverse_discriminator": inverse_discriminator,
        }

        def seen_of(batch: Batch, side: str) -> Array:
            return batch[SIDES[side][0]]

        def run(state: State, name: str, x: Array, keys: Keys, stats: Any = None) -> tuple[Array, Any]:
            return apply(modules[name], state, name, x, stats=stats, keys=keys.fold(name).example)

        def make(state: State, batch: Batch, keys: Keys) -> tuple[dict[str, Array], Aux]:
            made, stats = {}, {}
            for side, (_, maker, _) in SIDES.items():
                made[side], stats[maker] = run(state, maker, seen_of(batch, BACK[side]), keys)
            return made, Aux(stats=stats)

        def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            made, _ = fakes(make, state, batch, keys)
            value, stats, metrics, candidates = jnp.float32(0), {}, {}, {}
            for side, (_, _, name) in SIDES.items():
                judge, own = judged_by(modules[name], state, name), keys.fold(side)
                asked = pools.query(state.memory.get(side, {}), made[side], own)
                seen = self.discriminate(judge, seen_of(batch, side), asked.seen, own, state.step)
                value, stats[name], candidates[side] = value + seen.value, seen.stats, asked.candidates
                before = "" if side == "image" else "other_"
                metrics |= {before + metric: x for metric, x in seen.metrics.items()}
            return value, Aux(stats, candidates if self.pool else None, metrics)

        def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            made, aux = fakes(make, state, batch, keys)
            stats, metrics = dict(aux.stats), {}
            value = jnp.float32(0)
            for side, (_, maker, name) in SIDES.items():
                judge, own, real = (
                    judged_by(modules[name], state, name),
                    keys.fold(side),
                    seen_of(batch, side),
                )
                fooled, _ = self.fool(judge, made[side], own, state.step, real)
                value += fooled
                # The way back of what was made of this kind ends where it began; statistics go on from the way forth.
                returned, stats[maker] = run(
                    state, maker, made[BACK[side]], keys.fold("back"), stats.get(maker)
                )
                metrics[f"{side}_adversarial"] = fooled
                metrics[f"{side}_cycle"] = jnp.mean(jnp.abs(returned - real))
                value += self.cycle * metrics[f"{side}_cycle"]
                if self.identity:
                    same, stats[maker] = run(state, maker, real, keys.fold("same"), stats[maker])
                    metrics[f"{side}_identity"] = jnp.mean(jnp.abs(same - real))
                    value += self.identity * metrics[f"{side}_identity"]
            return value, aux._replace(stats=stats, metrics=metrics)

        def init(key: Array, batch: Batch) -> Nets:
            if self.identity and batch["real"].shape != batch["other"].shape:
                raise ValueError(
                    f"identity needs both kinds of images to be alike; images are {batch['real'].shape[1:]}, others "
                    f"{batch['other'].shape[1:]}; set it to 0"
                )
            nets = {}
            for i, (side, (_, maker, judge)) in enumerate(SIDES.items()):
                keys = (jax.random.fold_in(key, 2 * i), jax.random.fold_in(key, 2 * i + 1))
                nets[maker] = modules[maker].init(keys[0], seen_of(batch, BACK[side]), train=True)
                nets[judge] = modules[judge].init(keys[1], self.blank(seen_of(batch, side)), train=True)
                self.check_statistics(nets[judge])
            return nets

        def memory(batch: Batch) -> Any:
            return {side: pools.empty(self.pool, seen_of(batch, side)) for side in SIDES} if self.pool else {}

        def remember(memory: Any, candidates: Any) -> Any:
            return {side: pools.remember(memory[side], candidates[side]) for side in SIDES}

        def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
            given = next((side for side in ("other", "image") if SIDES[side][0] in (batch or {})), None)
            if batch is None or given is None:
                raise ValueError('a translator needs "other", or "real" for the way back')
            maker = SIDES[BACK[given]][1]
            masks = keys.fold(maker).example
            return trained(modules[maker], state, maker, seen_of(batch, given), keys=masks)

        makers, judges = (tuple(names[i] for names in SIDES.values()) for i in (1, 2))
        return Game(
            init=init,
            players={
                "discriminator": self.discriminating(
                    judges,
                    discriminator_loss,
                    discriminator_optimizer,
                    remember=remember if self.pool else None,
                ),
                "generator": self.generating(makers, generator_loss, generator_optimizer),
            },
            sample=sample,
            memory=memory,
            ema=dict.fromkeys(makers, self.ema) if self.ema else {},
            shared_draws=self.shared_draws,
            fakes=Fakes(makers, make),
        )

    def examples(self, source: Source) -> Source:
        """The data with both kinds of images in orders of their own."""
        return unmatched(source)

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config; see `Family.build`."""
        image, other = shapes(self, parts, facts, "other", "images of two kinds")
        if self.identity and image != other:
            raise InputError(
                f"game.identity needs two kinds of images with as many channels, and these have {image.channels} and "
                f"{other.channels}; set it to 0"
            )
        judged = (x.deeper(x.channels * self.packing) for x in (image, other))
        game = self.game(
            parts.module("generator", image),
            parts.module("generator", other),
            *(parts.module("discriminator", x) for x in judged),
            **parts.optimizers,
        )
        return Built(game, given=("other",), command="translate", back="real")
