"""Proof that a peer computes what jaxgan computes, and the games that are compared.

From the same weights, images and latents one whole step is taken by each: `jaxgan.game.step` with gradient descent
that keeps its gradients, and the peer's own step with gradient descent. Losses and gradients of both players must
agree, in float64 (`harness.alone`): of the millions of activations of a batch some always lie within rounding of a kink
of a ReLU, where the true gradient jumps, so that in float32 two that compute the same may differ by a tenth.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgan import domains, families, game, networks
from jaxgan.game import Game, Keys, State

PLAYERS = ("discriminator", "generator")
TOLERANCE = 1e-9
"""A number that somewhere passes through float32 would be off by more."""
DRAWS = 3
RATE = 0.01
"""Of the gradient descent, so that the generator meets a discriminator that has moved."""

Pair = tuple[Any, Any]
"""A gradient of the peer and jaxgan's in the same layout."""


class Case(NamedTuple):
    """A game: which networks, of what size, and how it is played."""

    kind: str
    """mlp, dcgan, sngan or wgangp."""
    resolution: int
    channels: int
    batch_size: int = 64
    width: int = 64
    shared: bool = True
    turns: int = 1
    steps: int = 10
    """In a window."""
    latent: int = 100
    loss: str = "non_saturating"
    penalty: float = 0.0
    adam: tuple[float, float, float] = (2e-4, 0.5, 0.999)
    precision: str = "float32"
    """What layers compute in: float32; tf32, in which accelerators multiply float32; or bfloat16."""

    @property
    def examples(self) -> int:
        """In a batch of the proof; the ResNets have four times the activations of a DCGAN."""
        return 2 if self.kind == "sngan" else 8

    @property
    def rate(self) -> float:
        """Of the gradient descent of the proof."""
        # Peers follow singular vectors half an iteration apart: they must not move.
        return RATE * (1e-8 if self.kind == "sngan" else 1)


def rules(case: Case, optimizer: optax.GradientTransformation | None = None) -> Game:
    """The game in jaxgan."""
    size = (case.resolution, case.channels, case.width)
    dtype: Any = {"dtype": jnp.bfloat16 if case.precision == "bfloat16" else jnp.float32}
    if case.kind == "mlp":
        shape = (case.resolution, case.resolution, case.channels)
        pair = (
            networks.MLPGenerator(shape, case.width, **dtype),
            networks.MLPDiscriminator(case.width, **dtype),
        )
    elif case.kind == "sngan":
        pair = (
            networks.ResNetGenerator(*size[:2], 2 * case.width, **dtype),
            networks.ResNetDiscriminator(*size, **dtype),
        )
    else:
        norm = "none" if case.kind == "wgangp" else "batch"
        pair = (
            networks.DCGANGenerator(*size, **dtype),
            networks.DCGANDiscriminator(*size, norm=norm, **dtype),
        )
    optimizer = optimizer or optax.adam(*case.adam)
    family = families.GAN(
        loss=case.loss,
        gradient_penalty=case.penalty,
        discriminator_turns=case.turns,
        latent=case.latent,
        shared_draws=case.shared,
    )
    return family.game(*pair, generator_optimizer=optimizer, discriminator_optimizer=optimizer)


def keeping(rate: float) -> optax.GradientTransformation:
    """Gradient descent whose state is the last gradient."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return jax.tree.map(lambda g: -rate * g, updates), updates

    return optax.GradientTransformation(lambda params: jax.tree.map(jnp.zeros_like, params), update)


def settled(params: Any, spectral: Any) -> Any:
    """Spectral norm's vectors with each at its weight's singular vector, where all ways of iterating agree."""
    if "u" in spectral:
        outputs_last = params if params.ndim == 2 else params.reshape(len(params), -1).T
        return {"u": jnp.linalg.svd(outputs_last, full_matrices=False)[2][0]}
    # Wrappers are numbered in the order in which their layers are called.
    order = ("Conv_0", "ConvPool_0", "Conv_1", "Conv_2", "Dense_0")
    kernels = [params[name]["kernel"] for name in order if name in params]
    return {
        name: settled(kernels[int(name.rpartition("_")[2])], inner)
        if name.startswith("SpectralNorm")
        else settled(params[name], inner)
        for name, inner in spectral.items()
    }


class Draw(NamedTuple):
    """One step of jaxgan, and all that a peer needs to take the same one; lists have an entry for each turn."""

    before: State
    after: State
    metrics: Mapping[str, jax.Array]
    images: list[np.ndarray]
    """float32 `[N, H, W, C]`."""
    latents: list[np.ndarray]
    mixes: list[np.ndarray]
    """Of a gradient penalty, `[N]`."""

    def gradients(self, player: str) -> Any:
        """Of the player's last turn."""
        return self.after.opt[player][player]


def draws(case: Case) -> Iterator[Draw]:
    """Steps from several seeds, on small batches, in a process that computes in float64."""
    if not jax.config.jax_enable_x64:  # pyright: ignore[reportAttributeAccessIssue]
        raise SystemExit("a proof is in float64: see harness.alone")
    played = rules(case, keeping(case.rate))
    example = {"real": jnp.zeros((2, case.resolution, case.resolution, case.channels))}
    init, step = jax.jit(partial(game.init, played)), jax.jit(partial(game.step, played))
    for seed in range(DRAWS):
        shape = (played.turns, case.examples, *example["real"].shape[1:])
        images = jnp.asarray(np.random.default_rng(seed).integers(0, 256, shape, np.uint8))
        batch = domains.Image().decode({"real": images})
        before = init(jax.random.key(seed), example)
        # Flax names what parameters are made in before this process can say so.
        before = jax.tree.map(lambda x: x.astype(jnp.float64) if x.dtype == "float32" else x, before)
        critic = before.stats["discriminator"]
        if "spectral" in critic:
            found = settled(before.params["discriminator"], critic["spectral"])
            before = before.replace(stats={**before.stats, "discriminator": {**critic, "spectral": found}})
        after, metrics = step(before, batch)
        base = jax.random.fold_in(before.key, before.step)
        keys = [Keys.of(jax.random.fold_in(base, turn), case.examples) for turn in range(played.turns)]
        yield Draw(
            before,
            after,
            metrics,
            [np.asarray(part) for part in batch["real"]],
            [np.asarray(k.fold("latent").normal((case.latent,))) for k in keys],
            [np.asarray(k.fold("mix").uniform()) for k in keys],
        )


def errors(draw: Draw, values: Sequence[Any], pairs: Sequence[Sequence[Pair]]) -> dict[str, float]:
    """Relative errors of a peer's step: of the losses and of each player's gradient.

    Of a gradient it is the norm of the difference over the norm, for the whole and for the worst parameter; there
    over a thousandth of the whole's norm at least.

    Args:
      draw: jaxgan's step.
      values: The peer's loss of each of `PLAYERS`, a mean over its turns.
      pairs: The gradients of each of `PLAYERS` in its last turn.
    """
    found = {}
    for player, value, gradients in zip(PLAYERS, values, pairs, strict=True):
        mine = float(draw.metrics[f"{player}/loss"])
        found[f"{player} loss"] = abs(float(value) - mine) / abs(mine)
        both = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in gradients]
        apart = sum(np.sum((a - b) ** 2) for a, b in both)
        whole = sum(np.sum(b**2) for _, b in both) ** 0.5
        found[f"{player} gradient"] = float(apart**0.5 / whole)
        # Some are zero but for rounding: of a critic's last bias, of one before a batch norm.
        found[f"{player} worst parameter"] = max(
            float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-3 * whole)) for a, b in both
        )
    return found


def agree(peer: str, found: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    """The errors of all draws by name.

    Raises:
      SystemExit: If the peer computes something else.
    """
    collected = {what: [one[what] for one in found] for what in found[0]}
    if not worst(collected) < TOLERANCE:
        raise SystemExit(f"{peer} does not compute the same: relative errors {collected}")
    return collected


def worst(collected: Mapping[str, Sequence[float]]) -> float:
    """The largest of all relative errors."""
    return max(max(draws) for draws in collected.values())


def error(result: Mapping[str, Any], collected: Mapping[str, Sequence[float]]) -> float:
    """The largest relative error of a result's proof; where it is in float32, in the draw that has the smallest."""
    if "proof_in" in result:
        return worst(collected)
    return min(max(draw) for draw in zip(*collected.values(), strict=True))
