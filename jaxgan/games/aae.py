"""Images to codes and back: autoencoders whose codes are taught, by a GAN among codes, to be distributed as told."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan.game import Array, Aux, Batch, Game, Keys, Nets, Player, State
from jaxgan.games.adversary import Adversary, adam, apply
from jaxgan.games.gan import class_loss
from jaxgan.games.latents import Latents, draw_classes


def joined(codes: Array, logits: Array | None) -> Array:
    """What a decoder takes: codes `[N, Z]`, and beside them the probabilities of classes, if the encoder tells them."""
    return codes if logits is None else jnp.concatenate([codes, jax.nn.softmax(logits)], 1)


def encode(encoder: nn.Module, state: State, images: Array) -> tuple[Array, Array | None]:
    """Codes `[N, Z]` of images and, in the style/class split, the logits of classes `[N, K]`, as trained."""
    return encoder.apply(state.variables("encoder"), images, train=False)  # pyright: ignore[reportReturnType]


def decode(generator: nn.Module, state: State, latent: Array) -> Array:
    """Images `[N, ...]` of what `joined` gives, as trained."""
    return generator.apply(state.variables("generator"), latent, train=False)  # pyright: ignore[reportReturnType]


def aae(
    encoder: nn.Module,
    generator: nn.Module,
    discriminator: nn.Module,
    adversary: Adversary | None = None,
    *,
    latent: int | Latents = 2,
    classes: int = 0,
    class_discriminator: nn.Module | None = None,
    reconstruction: float = 1.0,
    generator_optimizer: optax.GradientTransformation | None = None,
    encoder_optimizer: optax.GradientTransformation | None = None,
    discriminator_optimizer: optax.GradientTransformation | None = None,
    ema: float = 0.0,
    shared_draws: bool = True,
) -> Game:
    """An adversarial autoencoder, of one of three kinds.

    - Without classes, codes are matched to the latents' distribution.
    - With `classes` and a mixture of as many modes, each class is matched to its mode. The discriminator takes labels,
      among them one more, for examples whose class is not known: those are matched to the whole mixture.
    - With `classes` and a `class_discriminator`, codes are split into style and class: the encoder tells classes too,
      whose probabilities are matched to evenly spread one-hot vectors, and learns them from the labelled examples. The
      generator, which takes no labels, gets the probabilities behind the style.

    Batches hold "image" `[N, ...]` and, with classes, a labelled example to each: "labelled_image" `[N, ...]` and
    "labelled_label" `[N]` int. Players, in order: "autoencoder" reconstructs images; "discriminator" tells draws from
    codes, with the metrics of `Adversary.discriminate` (those of the class discriminator begin with "class_");
    "encoder" fools it; "classifier", in the style/class split, learns labels. If a batch of that split holds "label"
    `[N]` too, "autoencoder/error" is the share of images whose class the encoder tells wrong. Running averages of batch
    statistics are those of the autoencoder's turn, which sees all images alike.

    Args:
      encoder: Images to codes and, in the style/class split, logits of classes.
      generator: Codes to images: the decoder.
      discriminator: Codes to logits.
      adversary: The rules between discriminators and encoder; its "images" are codes here. Its `weights` are of the
        encoder and the generator, as they learn to reconstruct.
      latent: The latents, or the size of Gaussian ones.
      classes: Of labelled examples; 0 for training without labels.
      class_discriminator: Probabilities of classes to logits.
      reconstruction: Weight of the mean squared error of the reconstruction, of values in [-1, 1]. Under Adam, which
        divides scales away, the learning rates say how much it counts instead.
      generator_optimizer: Of encoder and generator as they learn to reconstruct; Adam(2e-4, 0.5, 0.999) if not given.
      encoder_optimizer: Of the encoder as it learns to fool and to classify, each by itself; likewise.
      discriminator_optimizer: Likewise.
      ema: Decay of the averages of encoder and generator, 0 for none.
      shared_draws: See `Game.shared_draws`; in the paper, all phases see the same minibatch.

    Returns:
      The game. `sample` takes an optional batch with "label" (if there are classes) and "latent"; what is missing is
      drawn from the keys. `encode`, `joined` and `decode` make codes and reconstructions.

    Raises:
      ValueError: As `Adversary.check` and `Latents.check`, or where classes and networks do not fit.

    References:
      Makhzani et al., Adversarial Autoencoders, 2015: section 2; with labels, section 2.3; the split, section 5.
    """
    rules = adversary or Adversary()
    rules.check()
    latents = Latents(latent) if isinstance(latent, int) else latent
    latents.check()
    divided = class_discriminator is not None
    placed = classes > 0 and not divided
    if divided and classes < 2:
        raise ValueError(f"a class_discriminator needs at least 2 classes, got {classes}")
    if placed and (latents.kind, latents.modes) != ("mixture", classes):
        raise ValueError(f"{classes} classes need a class_discriminator, or a mixture of as many modes")

    if placed and getattr(discriminator, "minibatch_std", False):
        raise ValueError("minibatch_std would compare codes with labels and codes without")

    def encoded(state: State, images: Array, keys: Keys) -> tuple[Array, Any, Any]:
        (codes, logits), stats = apply(encoder, state, "encoder", images, keys=keys.fold("encoder").example)
        return codes, logits, stats

    def autoencoder_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        codes, logits, e_stats = encoded(state, batch["image"], keys)
        masks = keys.fold("generator").example
        made, g_stats = apply(generator, state, "generator", joined(codes, logits), keys=masks)
        error = jnp.mean(jnp.square(made - batch["image"]))
        metrics = {"reconstruction": error}
        if logits is not None and "label" in batch:
            metrics["error"] = jnp.mean(jnp.argmax(logits, 1) != batch["label"])
        return reconstruction * error, Aux({"encoder": e_stats, "generator": g_stats}, metrics=metrics)

    def matched(state: State, batch: Batch, keys: Keys) -> tuple[Array, Array, Any, Any, Keys]:
        """Draws and codes to be told apart, logits and labels that go with them, and their keys."""
        images, label, modes = batch["image"], None, None
        if placed:
            n = len(images)
            images = jnp.concatenate([images, batch["labelled_image"]])
            keys = Keys(keys.shared, jnp.concatenate([keys.example, keys.fold("labelled").example]))
            label = jnp.concatenate([jnp.full((n,), classes, jnp.int32), batch["labelled_label"]])
            modes = jnp.where(label == classes, draw_classes(keys.fold("unknown"), classes), label)
        codes, logits, _ = encoded(state, images, keys)
        return latents.draw(keys, label=modes), codes, logits, label, keys

    def judged_by(state: State, module: nn.Module, name: str, label: Array | None = None) -> Any:
        def judge(x: Array, masks: Array, stats: Any = None) -> tuple[Array, Any, Any]:
            logits, stats = apply(module, state, name, x, label, stats=stats, keys=masks)
            return logits, None, stats

        return judge

    def even(keys: Keys) -> Array:
        return jax.nn.one_hot(draw_classes(keys.fold("class"), classes), classes)

    def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        real, fake, logits, label, keys = matched(state, batch, keys)
        judge = judged_by(state, discriminator, "discriminator", label)
        seen = rules.discriminate(judge, real, fake, keys, state.step)
        value, metrics, stats = seen.value, dict(seen.metrics), {"discriminator": seen.stats}
        if class_discriminator is not None:
            judge = judged_by(state, class_discriminator, "class_discriminator")
            fake, others = jax.nn.softmax(logits), keys.fold("classes")
            seen = rules.discriminate(judge, even(keys), fake, others, state.step)
            value, stats["class_discriminator"] = value + seen.value, seen.stats
            metrics |= {f"class_{name}": shown for name, shown in seen.metrics.items()}
        return value, Aux(stats, metrics=metrics)

    def encoder_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        real, fake, logits, label, keys = matched(state, batch, keys)
        judge = judged_by(state, discriminator, "discriminator", label)
        value, _ = rules.fool(judge, fake, keys, state.step, real)
        if class_discriminator is not None:
            judge = judged_by(state, class_discriminator, "class_discriminator")
            fake, others = jax.nn.softmax(logits), keys.fold("classes")
            value += rules.fool(judge, fake, others, state.step, even(keys))[0]
        return value, Aux()

    def classifier_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
        _, logits, _ = encoded(state, batch["labelled_image"], keys)
        return class_loss(logits, batch["labelled_label"]), Aux()

    def init(key: Array, batch: Batch) -> Nets:
        image = jnp.zeros_like(batch["image"])
        n = len(image)
        code, label = jnp.zeros((n, latents.size)), jnp.zeros(n, jnp.int32) if placed else None
        both = jnp.zeros((n, latents.size + (classes if divided else 0)))
        made: dict[str, Callable[[Array], Any]] = {
            "encoder": lambda key: encoder.init(key, image, train=True),
            "generator": lambda key: generator.init(key, both, train=True),
            "discriminator": lambda key: discriminator.init(key, code, label, train=True),
        }
        if class_discriminator is not None:
            other, spread = class_discriminator, jnp.zeros((n, classes))
            made["class_discriminator"] = lambda key: other.init(key, spread, train=True)
        return {name: make(jax.random.fold_in(key, i)) for i, (name, make) in enumerate(made.items())}

    def sample(state: State, keys: Keys, batch: Batch | None = None) -> Array:
        batch = batch or {}
        label = batch.get("label")
        z = batch["latent"] if "latent" in batch else latents.draw(keys, label=label if placed else None)
        if divided:
            one_hot = even(keys) if label is None else jax.nn.one_hot(label, classes)
            z = jnp.concatenate([z, one_hot], 1)
        return decode(generator, state, z)

    coders: tuple[str, ...] = ("encoder", "generator")
    judges = ("discriminator", "class_discriminator") if divided else ("discriminator",)
    players = {
        "autoencoder": rules.generating(coders, autoencoder_loss, generator_optimizer, waits=False),
        "discriminator": rules.discriminating(judges, discriminator_loss, discriminator_optimizer),
        "encoder": Player(
            ("encoder",), encoder_loss, encoder_optimizer or adam(), start=rules.discriminator_pretraining
        ),
    }
    if divided:
        players["classifier"] = Player(("encoder",), classifier_loss, encoder_optimizer or adam())
    averages: dict[str, float] = dict.fromkeys(coders, ema) if ema else {}
    return Game(init, players, sample, ema=averages, shared_draws=shared_draws)
