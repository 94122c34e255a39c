"""Super-resolution: small images to large ones, for pixels first, then for features and a discriminator too."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

from jaxgan.game import Array, Aux, Batch, Fakes, Game, Keys, Nets, State
from jaxgan.games.adversary import Adversary, apply
from jaxgan.networks import perceptual as looks

PixelLoss = Literal["mse", "l1"]


def srgan(
    generator: nn.Module,
    discriminator: nn.Module,
    adversary: Adversary | None = None,
    *,
    maps: looks.Maps | None = None,
    pixel_loss: PixelLoss = "mse",
    pixel: float = 1.0,
    perceptual: float = 1.0,
    adversarial: float = 1e-3,
    warmup: int = 0,
    generator_optimizer: optax.GradientTransformation | None = None,
    discriminator_optimizer: optax.GradientTransformation | None = None,
    ema: float = 0.0,
    shared_draws: bool = True,
) -> Game:
    """A game of a network that enlarges images against a discriminator of the result.

    Batches hold "input" `[N, h, w, C]` and "image" `[N, s h, s w, D]`, what it should become. The generator is called
    as `generator(input, train=, keys=)`.

    Args:
      generator: Images to larger images.
      discriminator: Images to logits.
      adversary: The rules between the two.
      maps: Images to maps of a network of fixed weights, see `jaxgan.networks.perceptual`; None for no such loss.
      pixel_loss: Mean squared ("mse", equation 4 of the paper) or mean absolute difference ("l1") to the real image.
      pixel: Its weight.
      perceptual: Weight of the mean squared difference of the maps (equation 5).
      adversarial: Weight of the generator's adversarial loss; 0 leaves the discriminator without effect.
      warmup: Steps in which the generator plays for the pixels alone; the discriminator starts after them. With
        `Adversary.discriminator_pretraining` the generator goes on like this for so many steps more.
      generator_optimizer: Adam(1e-4, 0.9, 0.999) if not given, as in the paper.
      discriminator_optimizer: Likewise.
      ema: Decay of the generator's average, 0 for none.
      shared_draws: See `Game.shared_draws`.

    Returns:
      The game. `sample` enlarges the batch's "input"; where it has "inside" that goes to the generator too, as
      `SRResNet` has it. The generator's metrics "perceptual" and "adversarial" are NaN while it warms up.

    Raises:
      ValueError: As `Adversary.check`, or if a weight or the warm-up is negative or the loss of pixels unknown.

    References:
      Ledig et al., Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network, 2017,
      equations 3 to 6.
    """
    rules = adversary or Adversary()
    rules.check()
    if min(pixel, perceptual, adversarial, warmup) < 0 or pixel_loss not in ("mse", "l1"):
        raise ValueError(
            f"pixel is {pixel}, perceptual {perceptual}, adversarial {adversarial}, warmup {warmup}, which must be at "
            f"least 0; pixel_loss is {pixel_loss!r}, which must be 'mse' or 'l1'"
        )

    start = warmup + rules.discriminator_pretraining

    def make(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        masks = keys.fold("generator").example
        fake, stats = apply(generator, state, "generator", batch["input"], keys=masks)
        return fake, Aux(stats={"generator": stats})

    def fakes(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        return (batch["fakes"], Aux()) if "fakes" in batch else make(state, batch, keys)

    def judged_by(state: State) -> Any:
        def judge(images: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
            logits, stats = apply(discriminator, state, "discriminator", images, stats=stats, keys=masks)
            return logits, None, stats

        return judge

    def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        fake, _ = fakes(state, batch, keys)
        seen = rules.discriminate(judged_by(state), batch["image"], fake, keys, state.step)
        return seen.value, Aux(stats={"discriminator": seen.stats}, metrics=seen.metrics)

    def beyond_pixels(state: State, fake: Array, real: Array, keys: Keys) -> tuple[Array, dict[str, Array]]:
        """What counts once the generator is warm, and its parts."""
        value, found = jnp.float32(0), {}
        if maps is not None and perceptual:
            found["perceptual"] = looks.difference(maps, fake, real)
            value += perceptual * found["perceptual"]
        if adversarial:
            found["adversarial"], _ = rules.fool(judged_by(state), fake, keys, state.step, real)
            value += adversarial * found["adversarial"]
        return value, found

    def generator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        fake, aux = fakes(state, batch, keys)
        real = batch["image"]
        difference = jnp.mean(jnp.square(fake - real) if pixel_loss == "mse" else jnp.abs(fake - real))

        def warm() -> tuple[Array, dict[str, Array]]:
            return beyond_pixels(state, fake, real, keys)

        if start:
            waiting = jax.tree.map(lambda x: jnp.full(x.shape, jnp.nan, x.dtype), jax.eval_shape(warm)[1])
            more, found = lax.cond(state.step >= start, warm, lambda: (jnp.float32(0), waiting))
        else:
            more, found = warm()
        return pixel * difference + more, aux._replace(metrics={"pixel": difference, **found})

    def init(key: Array, batch: Batch) -> Nets:
        g_key, d_key = jax.random.fold_in(key, 0), jax.random.fold_in(key, 1)
        nets = {
            "generator": generator.init(g_key, batch["input"], train=True),
            "discriminator": discriminator.init(d_key, rules.blank(batch["image"]), train=True),
        }
        rules.check_statistics(nets["discriminator"])
        return nets

    def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
        if not batch or "input" not in batch:
            raise ValueError('super-resolution needs "input"')
        around = {"inside": batch["inside"]} if "inside" in batch else {}
        return generator.apply(state.variables("generator"), batch["input"], train=False, **around)  # pyright: ignore[reportReturnType]

    def adam() -> optax.GradientTransformation:
        return optax.adam(1e-4, b1=0.9, b2=0.999)

    return Game(
        init=init,
        players={
            "discriminator": rules.discriminating(
                ("discriminator",), discriminator_loss, discriminator_optimizer or adam(), start=warmup
            ),
            "generator": rules.generating(
                ("generator",), generator_loss, generator_optimizer or adam(), waits=False
            ),
        },
        sample=sample,
        ema={"generator": ema} if ema else {},
        shared_draws=shared_draws,
        fakes=Fakes(("generator",), make),
    )
