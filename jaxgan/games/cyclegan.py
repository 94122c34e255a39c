"""Unpaired image translation: two translators, each the other's way back."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.games import pool as pools
from jaxgan.games.adversary import Adversary, apply

DOMAINS = {"image": ("generator", "discriminator"), "other": ("inverse", "inverse_discriminator")}
"""For the images of each domain, the network that makes them and the one that judges them."""


def cyclegan(
    generator: nn.Module,
    inverse: nn.Module,
    discriminator: nn.Module,
    inverse_discriminator: nn.Module,
    adversary: Adversary | None = None,
    *,
    cycle: float = 10.0,
    identity: float = 5.0,
    pool: int = 50,
    generator_optimizer: optax.GradientTransformation | None = None,
    discriminator_optimizer: optax.GradientTransformation | None = None,
    ema: float = 0.0,
    shared_draws: bool = True,
) -> Game:
    """A game of two translators against two discriminators.

    Batches hold "other" `[N, H, W, C]` and "image" `[N, H, W, D]`, which are not pairs. "generator" makes images of
    others, "inverse" the way back; "discriminator" judges images, "inverse_discriminator" others. The discriminator's
    metrics are those of `Adversary.discriminate` for images, and with "other_" before them for others.

    Args:
      generator: Others to images of the same size.
      inverse: Images to others.
      discriminator: Images to logits, of the whole or of patches.
      inverse_discriminator: Others to logits.
      adversary: The rules between them.
      cycle: Weight of the mean absolute difference after a way forth and back.
      identity: Weight of the mean absolute difference that a translator makes to images that need none; only where
        both domains have as many channels.
      pool: Images of each domain that are kept for the discriminators, see `jaxgan.games.pool`; 0 for none.
      generator_optimizer: Of both translators; Adam(2e-4, 0.5, 0.999) if not given, as in the paper.
      discriminator_optimizer: Of both discriminators, likewise.
      ema: Decay of both translators' averages, 0 for none.
      shared_draws: See `Game.shared_draws`.

    Returns:
      The game. `sample` translates the batch's "other" to images, or where there is none its "image" back.

    Raises:
      ValueError: As `Adversary.check`, if a weight is negative, or if the discriminator has several turns with a pool
        and shared draws, which would be the same in each. `init` does, if identity is asked of domains that differ in
        channels.

    References:
      Zhu et al., Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, 2017, equations 1 to
      3 and section 5.2 (identity).
    """
    rules = adversary or Adversary()
    rules.check()
    if min(cycle, identity, pool) < 0:
        raise ValueError(f"cycle is {cycle}, identity {identity}, pool {pool}; they must be at least 0")
    if pool and shared_draws and rules.discriminator_turns > 1:
        raise ValueError(
            "shared draws would ask the pool for the same images in every turn of the discriminator"
        )
    modules = {
        "generator": generator,
        "inverse": inverse,
        "discriminator": discriminator,
        "inverse_discriminator": inverse_discriminator,
    }
    back = {"image": "other", "other": "image"}

    def run(state: State, name: str, x: Array, keys: Keys, stats: Any = None) -> tuple[Array, Any]:
        return apply(modules[name], state, name, x, stats=stats, keys=keys.fold(name).example)

    def make(state: State, batch: Batch, keys: Keys) -> tuple[dict[str, Array], Aux]:
        made, stats = {}, {}
        for domain, (maker, _) in DOMAINS.items():
            made[domain], stats[maker] = run(state, maker, batch[back[domain]], keys)
        return made, Aux(stats=stats)

    def fakes(state: State, batch: Batch, keys: Keys) -> tuple[dict[str, Array], Aux]:
        return (batch["fakes"], Aux()) if "fakes" in batch else make(state, batch, keys)

    def judged_by(state: State, name: str) -> Any:
        def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
            logits, stats = apply(modules[name], state, name, images, stats=stats, keys=masks)
            return logits, None, stats

        return judge

    def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        made, _ = fakes(state, batch, keys)
        value, stats, metrics, candidates = jnp.float32(0), {}, {}, {}
        for domain, (_, judge) in DOMAINS.items():
            own = keys.fold(domain)
            asked = pools.query(state.memory.get(domain, {}), made[domain], own)
            seen = rules.discriminate(judged_by(state, judge), batch[domain], asked.seen, own, state.step)
            value, stats[judge], candidates[domain] = value + seen.value, seen.stats, asked.candidates
            before = "" if domain == "image" else "other_"
            metrics |= {before + name: x for name, x in seen.metrics.items()}
        return value, Aux(stats, candidates if pool else None, metrics)

    def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        made, aux = fakes(state, batch, keys)
        stats, metrics = dict(aux.stats), {}
        value = jnp.float32(0)
        for domain, (maker, judge) in DOMAINS.items():
            own = keys.fold(domain)
            fooled, _ = rules.fool(judged_by(state, judge), made[domain], own, state.step, batch[domain])
            value += fooled
            # The way back of what was made of this domain ends where it began; statistics go on from the way forth.
            returned, stats[maker] = run(
                state, maker, made[back[domain]], keys.fold("back"), stats.get(maker)
            )
            metrics[f"{domain}_adversarial"] = fooled
            metrics[f"{domain}_cycle"] = jnp.mean(jnp.abs(returned - batch[domain]))
            value += cycle * metrics[f"{domain}_cycle"]
            if identity:
                same, stats[maker] = run(state, maker, batch[domain], keys.fold("same"), stats[maker])
                metrics[f"{domain}_identity"] = jnp.mean(jnp.abs(same - batch[domain]))
                value += identity * metrics[f"{domain}_identity"]
        return value, aux._replace(stats=stats, metrics=metrics)

    def init(key: Array, batch: Batch) -> Nets:
        if identity and batch["image"].shape != batch["other"].shape:
            raise ValueError(
                f"identity needs both domains to be alike; images are {batch['image'].shape[1:]}, others "
                f"{batch['other'].shape[1:]}; set it to 0"
            )
        nets = {}
        for i, (domain, (maker, judge)) in enumerate(DOMAINS.items()):
            keys = (jax.random.fold_in(key, 2 * i), jax.random.fold_in(key, 2 * i + 1))
            nets[maker] = modules[maker].init(keys[0], batch[back[domain]], train=True)
            nets[judge] = modules[judge].init(keys[1], rules.blank(batch[domain]), train=True)
            rules.check_statistics(nets[judge])
        return nets

    def memory(batch: Batch) -> Any:
        return {domain: pools.empty(pool, batch[domain]) for domain in DOMAINS} if pool else {}

    def remember(memory: Any, candidates: Any) -> Any:
        return {domain: pools.remember(memory[domain], candidates[domain]) for domain in DOMAINS}

    def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
        given = next((name for name in ("other", "image") if name in (batch or {})), None)
        if batch is None or given is None:
            raise ValueError('a translator needs "other", or "image" for the way back')
        maker = DOMAINS[back[given]][0]
        masks = keys.fold(maker).example
        return modules[maker].apply(state.variables(maker), batch[given], train=False, keys=masks)  # pyright: ignore[reportReturnType]

    makers, judges = (tuple(names[i] for names in DOMAINS.values()) for i in (0, 1))
    return Game(
        init=init,
        players={
            "discriminator": rules.discriminating(
                judges,
                discriminator_loss,
                discriminator_optimizer,
                remember=remember if pool else None,
            ),
            "generator": rules.generating(makers, generator_loss, generator_optimizer),
        },
        sample=sample,
        memory=memory,
        ema=dict.fromkeys(makers, ema) if ema else {},
        shared_draws=shared_draws,
        fakes=Fakes(makers, make),
    )
