"""What a discriminator and those that it judges play for, in any family: the loss, penalties, the usual tricks.

For example:

    >>> rules, keys, step = Adversary(loss="hinge", r1=10.0), Keys.of(jax.random.key(0), 4), jnp.int32(0)
    >>> def judge(images, keys, stats=None):  # the logit of an image is its sum: its slope at one pixel is 1
    ...     return images.sum((1, 2, 3)), None, stats
    >>> real, fake = jnp.ones((4, 1, 1, 1)), -jnp.ones((4, 1, 1, 1))
    >>> verdict = rules.discriminate(judge, real, fake, keys, step)
    >>> float(verdict.value), float(verdict.metrics["r1"])  # beyond both margins, and 10 times half of 1
    (5.0, 0.5)
    >>> float(rules.fool(judge, fake, keys, step)[0])
    1.0
"""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError

from jaxgan import axis, backends
from jaxgan.errors import InputError
from jaxgan.game import Array, Aux, Batch, Keys, Loss, Player, State
from jaxgan.objectives import losses, penalties
from jaxgan.objectives.augment import Kind, augment
from jaxgan.optimizers import Optimizer
from jaxgan.settings import Count, Factor, Model, Probability, Turns, Whole

VALUES = 64
"""Values of an example whose variance is looked at: all of them would take up to a tenth of a small GAN's step."""


def apply(
    module: nn.Module, state: State, name: str, *args: Any, stats: Any = None, **kwargs: Any
) -> tuple[Any, Any]:
    """Runs a network in training mode: its output and its new statistics."""
    stats = state.stats[name] if stats is None else stats
    variables = {"params": state.params[name], **stats}
    return module.apply(variables, *args, train=True, mutable=list(stats), **kwargs)  # pyright: ignore[reportReturnType]


def pack(examples: Array, size: int) -> Array:
    """Joins each `size` consecutive examples along their channels: `[N, H, W, C]` to `[N / size, H, W, size * C]`.

    Raises:
      InputError: If the batch is no multiple of `size`.

    References:
      Lin et al., PacGAN: The power of two samples in generative adversarial networks, 2018, section 2.
    """
    if size == 1:
        return examples
    if len(examples) % size:
        raise InputError(f"packing {size} examples does not divide a device's batch of {len(examples)}")
    x = examples.reshape(-1, size, *examples.shape[1:])
    return jnp.concatenate([x[:, i] for i in range(size)], -1)


def variance(examples: Array) -> Array:
    """The variance of a value over the whole batch, on average over some of the values, spread over the example."""
    values, name = lax.stop_gradient(examples).reshape(len(examples), -1), axis.current()
    values = values[:, :: -(-values.shape[1] // VALUES)]
    center = axis.mean(jnp.mean(values, 0), name)
    return jnp.mean(jnp.square(values - center[None]))


class WeightPenalties(Model):
    """Penalties on the weights of a network, each with its factor; see `jaxgan.objectives.penalties`."""

    orthogonal: Factor = 0.0
    """1e-4 in BigGAN."""
    l1: Factor = 0.0
    l2: Factor = 0.0

    def penalty(self, params: Any) -> tuple[Array | float, dict[str, Array]]:
        """The weighted sum for parameters, and each penalty by its name without its factor."""
        names: dict[str, Callable[[Any], Array]] = {
            "orthogonal": penalties.orthogonal,
            "l1": penalties.l1,
            "l2": penalties.l2,
        }
        found = {name: f(params) for name, f in names.items() if getattr(self, name)}
        return sum(getattr(self, name) * value for name, value in found.items()), found

    def on(self, networks: Sequence[str], loss: Loss) -> Loss:
        """A player's loss and the penalties on these networks, which are among its metrics, by their names."""
        if self == WeightPenalties():
            return loss

        def penalised(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            value, aux = loss(state, batch, keys)
            penalty, found = self.penalty({name: state.params[name] for name in networks})
            return value + penalty, aux._replace(metrics={**aux.metrics, **found})

        return penalised


class Judge(Protocol):
    """A discriminator with all but the examples given: `(examples, example keys, statistics)`.

    Statistics of None stand for those of the state. Returns the logits `[N, ...]`, what else the network says (such as
    the logits of classes) or None, and new statistics.
    """

    def __call__(self, examples: Array, keys: Array, stats: Any = None, /) -> tuple[Array, Any, Any]: ...


class Verdict(NamedTuple):
    """What a discriminator's turn comes to."""

    value: Array
    """Its loss, penalties included."""
    stats: Any
    metrics: dict[str, Array]
    real: Any
    """What else it says of real examples."""
    fake: Any


def _known(name: Any) -> Any:
    if not isinstance(name, str) or name not in losses.LOSSES:
        *most, last = map(repr, losses.LOSSES)
        raise PydanticCustomError(
            "loss", "Input should be {known}", {"known": f"{', '.join(most)} or {last}"}
        )
    return name


class Adversary(Model):
    """The rules between a discriminator and those that it judges, in any family.

    All of it is about a discriminator as a function of examples alone, so every family plays by it. Penalties are on
    what the discriminator sees: augmented, noisy and packed, as the case may be; labels, spectral-norm vectors and
    dropout's masks are those of the turn, and what statistics the penalised pass would leave is dropped.
    """

    loss: Annotated[str, BeforeValidator(_known)] = "non_saturating"
    """A name of `jaxgan.objectives.losses.LOSSES`."""
    gradient_penalty: Factor = 0.0
    """Factor of `penalties.gradient_penalty` between real and generated examples, paired by position; 10 in WGAN-GP."""
    r1: Factor = 0.0
    """Factor of `penalties.r1`, on the discriminator's slope at real examples: gamma, 10 in the paper."""
    r2: Factor = 0.0
    """Factor of `penalties.r2`, on its slope at generated examples."""
    dragan: Factor = 0.0
    """Factor of `penalties.dragan`, on its slope around real examples; 10 in the paper."""
    penalty_every: Count = 1
    """Steps from one penalty on slopes to the next, which then weighs so many times as much (Karras et al., Analyzing
    and Improving the Image Quality of StyleGAN, 2020, section 2.2: lazy regularisation)."""
    smoothing: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """What the discriminator's target for real examples lacks to 1, see `losses.Loss.discriminator`."""
    flip: Probability = 0.0
    """Probability that the discriminator learns from an example with the wrong label, real or not, such as 0.35."""
    noise: Factor = 0.0
    """Standard deviation of Gaussian noise on all examples that are judged (Sonderby et al., Amortised MAP Inference
    for Image Super-resolution, 2017, section 3.2.1: instance noise)."""
    noise_steps: Whole = 0
    """Steps in which the noise falls to 0, along a line; 0 for noise that stays."""
    augment: Annotated[tuple[Kind, ...], Field(strict=False)] = ()
    """Augmentation of what the discriminator sees, see `jaxgan.objectives.augment`."""
    packing: Count = 1
    """Images that the discriminator judges together, see `pack` (PacGAN)."""
    top_k: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Share of the generated examples from which the generator learns in the end: those that look most real (Sinha et
    al., Top-k Training of GANs, 2020)."""
    top_k_steps: Whole = 0
    """Steps in which that share falls from 1, along a line."""
    discriminator_turns: Turns = 1
    """Updates of the discriminator in each step: n_critic, K_d."""
    discriminator_pretraining: Whole = 0
    """Steps in which the discriminator plays before those that it judges learn from it."""
    weights: WeightPenalties = WeightPenalties()
    """Penalties on the weights of those that are judged."""
    discriminator_weights: WeightPenalties = WeightPenalties()
    """Penalties on the discriminator's weights."""

    @property
    def adversarial_loss(self) -> losses.Loss:
        """The loss that `loss` names."""
        return losses.LOSSES[self.loss]

    @property
    def slopes(self) -> tuple[str, ...]:
        """The penalties on slopes that are in use; a discriminator with batch norm must have none."""
        return tuple(name for name in ("gradient_penalty", "r1", "r2", "dragan") if getattr(self, name))

    def discriminating(
        self,
        networks: tuple[str, ...],
        loss: Loss,
        optimizer: optax.GradientTransformation | None,
        **more: Any,
    ) -> Player:
        """The player of discriminators: its turns, and penalties on what it moves; `more` as in `Player`."""
        penalised = self.discriminator_weights.on(networks, loss)
        return Player(networks, penalised, optimizer or Optimizer().build(), self.discriminator_turns, **more)

    def generating(
        self,
        networks: tuple[str, ...],
        loss: Loss,
        optimizer: optax.GradientTransformation | None,
        *,
        start: int = 0,
        waits: bool = True,
        **more: Any,
    ) -> Player:
        """The player of those that are judged, with penalties on what it moves; `more` as in `Player`.

        It waits while the discriminator is pretrained, unless there is something else that it learns.
        """
        begin = start + (self.discriminator_pretraining if waits else 0)
        return Player(
            networks, self.weights.on(networks, loss), optimizer or Optimizer().build(), start=begin, **more
        )

    def blank(self, examples: Array) -> Array:
        """Zeros like what the discriminator sees of such examples `[N, ...]`, to make its variables for."""
        count = -(-len(examples) // self.packing) * self.packing
        return pack(jnp.zeros((count, *examples.shape[1:])), self.packing)

    def check_statistics(self, discriminator: Any) -> None:
        """Raises ValueError where the slopes of examples are penalised that batch norm mixes.

        Args:
          discriminator: Its Linen variables.
        """
        if self.slopes and "batch_stats" in discriminator:
            raise ValueError(
                f"{self.slopes[0]} needs a discriminator that judges each example by itself: leave out batch norm"
            )

    def see(self, examples: Array, keys: Keys, step: Array) -> tuple[Array, Array]:
        """Images as the discriminator gets them, and one key for each."""
        x = augment(examples, keys.fold("augment").example, self.augment) if self.augment else examples
        if self.noise:
            left = jnp.clip(1 - step / self.noise_steps, 0, 1) if self.noise_steps else 1.0
            x = x + self.noise * left * keys.fold("noise").normal(x.shape[1:])
        return pack(x, self.packing), self._first(keys.example)

    def _first(self, draws: Array) -> Array:
        """The draws of the first example of each pack, whatever device it is on, from those of each example."""
        return draws if self.packing == 1 else draws[:: self.packing]

    def discriminate(
        self,
        judge: Judge,
        real: Array,
        fake: Array,
        keys: Keys,
        step: Array,
        *,
        whole: bool = True,
        per_example: bool = False,
    ) -> Verdict:
        """The discriminator's turn.

        Its metrics hold what it thinks of the examples: the mean probability that they are real, "real" and "fake", the
        shares of them that it judges rightly, "real_accuracy" and "fake_accuracy", and the difference of the mean
        logits, "logit_gap"; or for a loss without probabilities the mean logits, "real_logit" and "fake_logit".
        "real_variance" and "fake_variance" say how much examples of a batch differ from each other, and penalties are
        there unweighted, by their names.

        Args:
          judge: The discriminator.
          real: Real examples.
          fake: Generated examples.
          keys: The turn's keys.
          step: The run's step.
          whole: Whether the examples are those of a batch; else nothing is said of how they differ from each other.
          per_example: Whether the judge says the same of an example whatever is beside it, keeps no statistics and
            takes any number of examples. Such a judge may see all of them at once.
        """
        real_keys, fake_keys = keys.fold("real"), keys.fold("fake")
        seen_real, real_masks = self.see(real, real_keys, step)
        seen_fake, fake_masks = self.see(fake, fake_keys, step)
        if per_example and seen_real.size <= backends.choices().judged_together:
            masks = jnp.concatenate([real_masks, fake_masks])
            *said, stats = judge(jnp.concatenate([seen_real, seen_fake]), masks)
            real_logits, real_more = jax.tree.map(lambda x: x[: len(seen_real)], said)
            fake_logits, fake_more = jax.tree.map(lambda x: x[len(seen_real) :], said)
        else:
            real_logits, real_more, stats = judge(seen_real, real_masks)
            fake_logits, fake_more, stats = judge(seen_fake, fake_masks, stats)
        flipped = None
        if self.flip:
            drawn = [self._first(key.fold("flip").uniform()) for key in (real_keys, fake_keys)]
            flipped = drawn[0] < self.flip, drawn[1] < self.flip
        value = self.adversarial_loss.discriminator(
            real_logits, fake_logits, smoothing=self.smoothing, flipped=flipped
        )
        metrics = self._shown(real_logits, fake_logits)
        if whole:
            metrics["real_variance"], metrics["fake_variance"] = variance(real), variance(fake)
        if self.slopes:
            seen = (seen_real, seen_fake, real_masks, fake_masks)
            penalty, found = self._penalties(judge, *seen, keys, step)
            value, metrics = value + penalty, metrics | found
        return Verdict(value, stats, metrics, real_more, fake_more)

    def _shown(self, real: Array, fake: Array) -> dict[str, Array]:
        if self.adversarial_loss.probabilities:
            shown = {
                "real": jax.nn.sigmoid(real),
                "fake": jax.nn.sigmoid(fake),
                "real_accuracy": real > 0,
                "fake_accuracy": fake < 0,
                "logit_gap": real - fake,
            }
        else:
            shown = {"real_logit": real, "fake_logit": fake}
        # One sum for all: each by itself costs as much where the networks are small.
        means = jnp.mean(jnp.stack([x.astype(jnp.float32).ravel() for x in shown.values()]), 1)
        return dict(zip(shown, means, strict=True))

    def _penalties(
        self,
        judge: Judge,
        real: Array,
        fake: Array,
        real_masks: Array,
        fake_masks: Array,
        keys: Keys,
        step: Array,
    ) -> tuple[Array, dict[str, Array]]:
        """The weighted sum of the penalties on slopes, and each of them."""

        def critic(masks: Array) -> penalties.Critic:
            # A patch discriminator's logits count as one, their mean.
            return lambda x: jnp.mean(judge(x, masks)[0].reshape(len(x), -1), 1)

        def compute() -> tuple[Array, dict[str, Array]]:
            found = {}
            if self.gradient_penalty:
                mix = self._first(keys.fold("mix").uniform())
                masks = self._first(keys.fold("between").example)
                found["gradient_penalty"] = penalties.gradient_penalty(critic(masks), real, fake, mix)
            if self.r1:
                found["r1"] = penalties.r1(critic(real_masks), real)
            if self.r2:
                found["r2"] = penalties.r2(critic(fake_masks), fake)
            if self.dragan:
                noise = self._first(keys.fold("dragan").uniform(real.shape[1:]))
                found["dragan"] = penalties.dragan(critic(real_masks), real, noise)
            total = jnp.float32(0)
            for name, value in found.items():
                total = total + getattr(self, name) * value
            return total * self.penalty_every, found

        if self.penalty_every == 1:
            return compute()
        none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(compute))
        return lax.cond(step % self.penalty_every == 0, compute, lambda: none)

    def fool(
        self, judge: Judge, fake: Array, keys: Keys, step: Array, real: Array | None = None
    ) -> tuple[Array, Any]:
        """The turn of those that are judged: their loss, and what else the discriminator says of the examples.

        Args:
          judge: The discriminator.
          fake: Generated examples.
          keys: The turn's keys.
          step: The run's step.
          real: Real examples, which a relative loss needs.
        """
        fake_keys = keys.fold("fake")
        logits, more, stats = judge(*self.see(fake, fake_keys, step))
        others = None
        if self.adversarial_loss.relative:
            if real is None:
                raise ValueError("a relative loss needs real examples")
            others = judge(*self.see(real, keys.fold("real"), step), stats)[0]
        return self.adversarial_loss.generator(logits, others, self._weights(logits, step)), more

    def _weights(self, logits: Array, step: Array) -> Array | None:
        """0 for the examples that look least real, and more than 1 for the others, `[N]`; see `top_k`."""
        if self.top_k == 1:
            return None
        scores = lax.stop_gradient(jnp.mean(logits.reshape(len(logits), -1), 1))
        everyone = jnp.sort(axis.gather(scores, axis.current()))
        done = jnp.clip(step / self.top_k_steps, 0, 1) if self.top_k_steps else 1.0
        share = 1 - (1 - self.top_k) * done
        kept = jnp.clip(jnp.round(share * len(everyone)), 1, len(everyone)).astype(jnp.int32)
        return jnp.where(scores >= everyone[len(everyone) - kept], len(everyone) / kept, 0.0)
