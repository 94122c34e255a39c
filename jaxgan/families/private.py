"""Noise to image, learnt with differential privacy: DP-SGD for the discriminator, whose generator sees no real image.

docs/private.md says what is guaranteed, and what for.

For example:

    >>> from jaxgan.networks import MLPDiscriminator, MLPGenerator
    >>> rules = Private(noise_multiplier=2.0, clip=1.0)
    >>> played = rules.game(MLPGenerator((8, 8, 1)), MLPDiscriminator(), expected=4)
    >>> keys = Keys.of(jax.random.key(0), 4)
    >>> noisy = played.players["discriminator"].after(jnp.zeros(10_000), keys)  # a gradient of zeros
    >>> round(float(jnp.std(noisy)), 1)  # noise_multiplier * clip / expected
    0.5
"""

from collections.abc import Callable
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax
from jax.flatten_util import ravel_pytree
from pydantic import Field
from pydantic import PositiveFloat as Positive

from jaxgan import axis
from jaxgan.data.order import OVERFLOW, Poisson
from jaxgan.errors import InputError
from jaxgan.families.base import Built, Facts, Family, Parts, family
from jaxgan.families.wiring import generated, initial, judged_by, trained
from jaxgan.game import Array, Aux, Batch, Game, Keys, Nets, PyTree, State
from jaxgan.objectives import privacy
from jaxgan.objectives.adversary import WeightPenalties
from jaxgan.objectives.latents import Latents
from jaxgan.settings import Count, Fraction, Numbers


@family("private")
class Private(Family):
    """A generator against a discriminator that learns no single example by heart.

    The gradient of each real image, together with the generated one that it is paired with and with all penalties on
    both, is clipped as a whole: to the norm `clip` over all of the discriminator's parameters. Gaussian noise of
    standard deviation `noise_multiplier * clip` is added once to the sum over the batch, on all devices together, and
    the result is divided by the number of examples that is expected. A gradient that is not finite counts as 0. The
    generator learns from the discriminator alone, with labels drawn uniformly.

    References:
      Abadi et al., Deep Learning with Differential Privacy, 2016, algorithm 1.
      Bie et al., Private GANs, Revisited, 2023, algorithm 1; there real and generated images are clipped apart.
    """

    latent: Numbers = 100
    """Numbers that an image is made from."""
    latent_kind: Literal["normal", "uniform"] = "normal"
    """How they are distributed, see `Latents`."""
    conditional: bool = False
    """Whether both networks take labels."""
    epsilon: Annotated[float, Field(gt=0, le=30)] | None = None
    """The budget: training ends before a step that would exceed it."""
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    """Less than one over the number of examples."""
    noise_multiplier: Positive | None = None
    """Standard deviation of the noise over `clip`; `jaxgan.objectives.privacy` tells what it is worth. Left out of a
    config, the least with which `steps` keep the budget."""
    clip: Positive = 1.0
    """Norm to which the discriminator's gradient of each example is clipped."""
    chunk: Count = 16
    """Examples on a device whose gradients are held at once, at most."""
    ema: Fraction = 0.0
    """Decay of the generator's average, 0 for none."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse the lack of a budget, and what would mix or reveal real images."""
        if self.epsilon is None and self.noise_multiplier is None:
            raise ValueError("needs a budget, epsilon, or a noise_multiplier, or both")
        for name, mixes in (
            ("packing", self.packing > 1),
            ("dragan", self.dragan > 0),
            ("loss", self.adversarial_loss.relative),
        ):
            if mixes:
                raise ValueError(f"cannot be private with this {name}, which mixes real images; leave it out")
        if self.discriminator_weights != WeightPenalties():
            raise ValueError(
                "would clip penalties on discriminator_weights with the slopes of each image, and hide these; leave "
                "them out"
            )

    @property
    def latents(self) -> Latents:
        """What images are made from."""
        return Latents(self.latent, self.latent_kind)

    def game(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        expected: int,
        classes: int = 0,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of two networks.

        Batches hold "real" `[N, ...]`, for a conditional game "label" `[N]` int, and "included" `[N]` bool: which rows
        take part. Without it all of them do. Metrics are those of `Adversary.discriminate`, means over the examples
        that take part and none of them private, but for the variances; "examples" is their number, and "clipped" the
        share of them whose gradient was longer than `clip`.

        Args:
          generator: Latents to images.
          discriminator: Images to logits, each by itself.
          expected: Examples that take part in a turn on average, over all devices.
          classes: That both networks are conditional on, 0 for none.
          generator_optimizer: Adam(2e-4, 0.5, 0.999) if not given.
          discriminator_optimizer: Likewise.

        Returns:
          The game. `sample` is as that of `GAN.game`. Its `init` raises ValueError where a network has batch norm.

        Raises:
          ValueError: The discriminator compares real images, no example is expected, or the noise multiplier is open.
        """
        if getattr(discriminator, "minibatch_std", False):
            raise ValueError(
                "minibatch_std compares real images, so that none of them can be clipped by itself"
            )
        if self.noise_multiplier is None or expected < 1:
            raise ValueError(
                f"noise_multiplier is {self.noise_multiplier} and expected {expected}; a game needs both"
            )
        noise = self.noise_multiplier

        def make(state: State, keys: Keys, label: Array | None) -> tuple[Array, Aux]:
            return generated(generator, state, keys, self.latents.draw(keys), label)

        def own(batch: Batch) -> Array | None:
            return batch["label"] if classes else None

        def drawn(keys: Keys) -> Array | None:
            u = keys.fold("label").uniform()
            return jnp.minimum((u * classes).astype(jnp.int32), classes - 1) if classes else None

        def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            judge = judged_by(discriminator, state, "discriminator", own(batch))
            said = self.discriminate(judge, batch["real"], batch["fakes"], keys, state.step, whole=False)
            return said.value, Aux(stats={"discriminator": said.stats}, metrics=said.metrics)

        def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            label = drawn(keys)  # the labels of the batch are private too
            fake, aux = make(state, keys, label)
            judge = judged_by(discriminator, state, "discriminator", label)
            return self.fool(judge, fake, keys, state.step)[0], aux

        def with_fakes(state: State, batch: Batch, keys: Keys) -> Batch:
            return {**batch, "fakes": make(state, keys, own(batch))[0]}

        def noisy(gradients: PyTree, keys: Keys) -> PyTree:
            flat, restore = ravel_pytree(gradients)
            key = Keys(keys.shared, keys.fold("privacy").shared[None])
            return restore(flat + noise * self.clip / expected * key.normal(flat.shape)[0])

        def init(key: Array, batch: Batch) -> Nets:
            z, label = jnp.zeros((len(batch["real"]), self.latents.size)), own(batch)
            seen = jnp.zeros_like(batch["real"])
            nets = initial(key, generator=(generator, z, label), discriminator=(discriminator, seen, label))
            for name, variables in nets.items():
                if "batch_stats" in variables:
                    raise ValueError(f"a private game's {name} must not mix examples: leave out batch norm")
            return nets

        def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
            batch = batch or {}
            z = batch["latent"] if "latent" in batch else self.latents.draw(keys)
            return trained(generator, state, "generator", z, own(batch))

        return Game(
            init=init,
            players={
                "discriminator": self.discriminating(
                    ("discriminator",),
                    discriminator_loss,
                    discriminator_optimizer,
                    value_and_grad=clipped(self.clip, expected, self.chunk, with_fakes),
                    after=noisy,
                ),
                "generator": self.generating(("generator",), generator_loss, generator_optimizer),
            },
            sample=sample,
            ema={"generator": self.ema} if self.ema else {},
        )

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config, its draws of examples and its ledger; see `Family.build`.

        A noise multiplier that is left out is found, and stands in the settings that come back.

        Raises:
          InputError: As `Family.build`, or no noise keeps the budget.
        """
        parts.demand(self, generator="latent", discriminator="label")
        classes = facts.conditional(self.conditional)
        if self.delta * facts.examples >= 1:
            raise InputError(
                f"game.delta is {self.delta:g}; with {facts.examples} examples it must be less than "
                f"{1 / facts.examples:.2g}, or it allows to publish one of them"
            )
        for network in ("discriminator", "generator"):
            if getattr(getattr(parts, network), "norm", None) == "batch":
                raise InputError(
                    f"{network}.norm is 'batch', which mixes the examples whose gradients are clipped one by one; "
                    "set it to 'layer' or 'none'"
                )
        if getattr(parts.discriminator, "conditioning", None) == "auxiliary":
            raise InputError(
                "discriminator.conditioning is 'auxiliary', whose loss of classes game.family private does not have; "
                "set it to 'concatenate' or 'projection'"
            )
        if getattr(parts.discriminator, "minibatch_std", False):
            raise InputError(
                "discriminator.minibatch_std compares examples whose gradients are clipped one by one; set it to false"
            )
        shape = facts.shape(classes=classes)
        poisson = Poisson.of(facts.examples, parts.batch_size)
        ledger = privacy.Ledger(
            *(self.noise_multiplier or 0.0, poisson.rate, self.discriminator_turns, self.delta),
            *(self.epsilon, OVERFLOW),
        )
        found = self
        if self.noise_multiplier is None:
            ledger = ledger._replace(noise_multiplier=privacy.noise(parts.steps, ledger))
            found = self.model_copy(update={"noise_multiplier": ledger.noise_multiplier})
        game = found.game(
            parts.generator_of(shape, self.latent),
            parts.module("discriminator", shape),
            parts.batch_size,
            classes,
            **parts.optimizers,
        )
        return Built(game, classes, self.latents, settings=found, poisson=poisson, ledger=ledger)


def clipped(
    clip: float, expected: int, chunk: int, complete: Callable[[State, Batch, Keys], Batch]
) -> Callable[..., Any]:
    """A `Player.value_and_grad` that clips the gradient of each example.

    Args:
      clip: The norm to clip to.
      expected: What the sum of the clipped gradients over all devices is divided by.
      chunk: Examples on a device whose gradients are held at once, at most.
      complete: Adds something to each example of a batch, by itself, that does not depend on what is moved.

    Returns:
      A transformation of `objective(moved, state, batch, keys)` like `jax.value_and_grad` with `has_aux`. Its value,
      metrics and gradient are such that their means over the devices are those of all examples.
    """

    def transform(objective: Callable[..., Any], has_aux: bool = True) -> Callable[..., Any]:
        def value_and_grad(moved: PyTree, state: State, batch: Batch, keys: Keys) -> Any:
            n = len(keys.example)
            size = max(d for d in range(1, min(chunk, n) + 1) if n % d == 0)
            included = batch.get("included", jnp.ones(n, bool))
            gradient = jax.value_and_grad(objective, has_aux=has_aux)

            def one(example: Batch, key: Array, counts: Array) -> Any:
                alone = jax.tree.map(lambda x: x[None], example)
                (value, aux), found = gradient(moved, state, alone, Keys(keys.shared, key[None]))
                norm = optax.tree.norm(found)
                # What stands in an empty row is some example, and no example may break the sum.
                counts &= jnp.isfinite(norm)
                scale = jnp.minimum(1.0, clip / jnp.maximum(norm, 1e-30))
                told = {"loss": value, **aux.metrics, "clipped": norm > clip, "count": jnp.ones(())}
                sums = (
                    jax.tree.map(lambda g: g * scale, found),
                    jax.tree.map(lambda x: x.astype(jnp.float32), told),
                )
                return jax.tree.map(lambda x: jnp.where(counts, x, 0.0), sums), aux.stats

            def some(i: Array | int) -> Any:
                part = jax.tree.map(
                    lambda x: x.reshape(n // size, size, *x.shape[1:])[i],
                    (dict(batch), keys.example, included),
                )
                examples = complete(state, part[0], Keys(keys.shared, part[1]))
                each, stats = jax.vmap(one)(examples, *part[1:])
                # New statistics (spectral norm's) depend on weights alone: those of every example are the same.
                return jax.tree.map(lambda x: jnp.sum(x, 0), each), jax.tree.map(lambda x: x[0], stats)

            def more(i: Array, sums: Any) -> Any:
                return jax.tree.map(jnp.add, sums, some(i)[0])

            last = jnp.max(jnp.where(included, jnp.arange(n), 0))
            first, stats = some(
                0
            )  # also where a device has nothing to learn from: its statistics move with the others'
            grads, told = lax.fori_loop(1, last // size + 1, more, first)

            name = axis.current()
            devices = axis.size(name)
            count = told.pop("count")
            whole = jnp.maximum(axis.mean(count, name), 1 / devices)
            metrics = {k: v / whole for k, v in told.items()} | {"examples": count * devices}
            grads = jax.tree.map(lambda g: g * (devices / expected), grads)
            return (metrics.pop("loss"), Aux(stats=stats, metrics=metrics)), grads

        return value_and_grad

    return transform
