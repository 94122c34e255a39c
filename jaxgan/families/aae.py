"""Images to codes and back: autoencoders whose codes are taught, by a GAN among codes, to be distributed as told.

For example:

    >>> from jaxgan import game
    >>> from jaxgan.networks import MLPDiscriminator, MLPEncoder, MLPGenerator
    >>> encoder, generator = MLPEncoder(2, width=8), MLPGenerator((8, 8, 1), width=8)
    >>> played = AAE(prior="mixture").game(encoder, generator, MLPDiscriminator(width=8))
    >>> batch = {"real": jnp.zeros((4, 8, 8, 1))}
    >>> state = jax.eval_shape(lambda key: game.init(played, key, batch), jax.random.key(0))
    >>> codes, classes = jax.eval_shape(lambda state: encode(encoder, state, batch["real"]), state)
    >>> list(played.players), codes.shape
    (['autoencoder', 'discriminator', 'encoder'], (4, 2))
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax.scipy.special import ndtri
from pydantic import Field, SerializeAsAny

from jaxgan.data import labelled
from jaxgan.data.sources import Source
from jaxgan.errors import InputError
from jaxgan.families.base import Built, Facts, Family, Parts, Picture, Scatter, Sheet, family
from jaxgan.families.gan import class_loss
from jaxgan.families.wiring import initial, judged_by, trained
from jaxgan.game import Array, Aux, Batch, Game, Keys, Nets, Player, State
from jaxgan.networks.registry import NETWORKS, Network
from jaxgan.objectives.adversary import apply
from jaxgan.objectives.latents import LENGTH, RADIUS, Latents, draw_classes
from jaxgan.optimizers import Adam, Optimizer
from jaxgan.settings import Fraction, Numbers, Whole

SHOWN, WALK, STYLES = 32, 15, 8
"""Images that are shown beside their reconstructions, images along each side of a walk over the plane, and styles."""


def joined(codes: Array, logits: Array | None) -> Array:
    """What a decoder takes: codes `[N, Z]`, and beside them the probabilities of classes, if the encoder tells them."""
    return codes if logits is None else jnp.concatenate([codes, jax.nn.softmax(logits)], 1)


def encode(encoder: nn.Module, state: State, images: Array) -> tuple[Array, Array | None]:
    """Codes `[N, Z]` of images and, in the style/class split, the logits of classes `[N, K]`, as trained."""
    return trained(encoder, state, "encoder", images)


def decode(generator: nn.Module, state: State, latent: Array) -> Array:
    """Images `[N, ...]` of what `joined` gives, as trained."""
    return trained(generator, state, "generator", latent)


@family("aae")
class AAE(Family):
    """An adversarial autoencoder, of one of three kinds. The generator decodes; the discriminator judges codes.

    - Without labels, codes are matched to the prior.
    - With labels and a mixture, each class is matched to its mode. The discriminator takes labels, among them one more,
      for examples whose class is not known: those are matched to the whole mixture.
    - With labels and a Gaussian, codes are split into style and class: the encoder tells classes too, whose
      probabilities are matched to evenly spread one-hot vectors, and learns them from the labelled examples. The
      generator, which takes no labels, gets the probabilities behind the style.

    The rules are those between discriminators and encoder, whose "images" are codes here. `weights` are those of the
    encoder and the generator, as they learn to reconstruct.

    References:
      Makhzani et al., Adversarial Autoencoders, 2015: section 2; with labels, section 2.3; the split, section 5.
    """

    encoder: Annotated[SerializeAsAny[Network], NETWORKS["encoder"]] = NETWORKS["encoder"].validate(
        {"network": "mlp"}
    )
    """The network that makes codes of images."""
    latent: Numbers = 2
    """Size of the codes; of the style, where they are split into style and class."""
    prior: Literal["normal", "mixture"] = "normal"
    """What codes are matched to: a Gaussian, or in the plane a mixture of ten, with labels of one for each class."""
    labels: Whole = 0
    """How many labelled examples are used, as many of each class."""
    reconstruction: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the mean squared error of the reconstruction, of values in [-1, 1]. Under Adam, which divides scales
    away, the learning rates say how much it counts instead."""
    encoder_optimizer: Optimizer = Optimizer(adam=Adam())
    """The encoder's as it learns to fool and to classify, each by itself; as it encodes it has the generator's."""
    ema: Fraction = 0.0
    """Decay of the averages of encoder and generator, 0 for none."""
    shared_draws: bool = True
    """Whether all turns of a step see one batch, as in the paper."""

    def model_post_init(self, context: Any) -> None:
        """The settings refuse a mixture outside the plane, and what only images can have."""
        if self.prior == "mixture" and self.latent != 2:
            raise ValueError(
                f"has a mixture, which is in the plane; set latent to 2, not {self.latent}, or prior to normal"
            )
        if self.augment or self.packing > 1:
            raise ValueError("judges codes, not images; leave out augment and packing")

    def latents(self, classes: int) -> Latents:
        """What codes are matched to, with so many classes of labelled examples."""
        return (
            Latents(self.latent, "mixture", classes or 10)
            if self.prior == "mixture"
            else Latents(self.latent)
        )

    def game(
        self,
        encoder: nn.Module,
        generator: nn.Module,
        discriminator: nn.Module,
        class_discriminator: nn.Module | None = None,
        classes: int = 0,
        *,
        generator_optimizer: optax.GradientTransformation | None = None,
        discriminator_optimizer: optax.GradientTransformation | None = None,
    ) -> Game:
        """The game of three networks, or four.

        Batches hold "real" `[N, ...]` and, with classes, a labelled example to each: "labelled_real" `[N, ...]` and
        "labelled_label" `[N]` int. Players, in order: "autoencoder" reconstructs images; "discriminator" tells draws
        from codes, with the metrics of `Adversary.discriminate` (those of the class discriminator begin with "class_");
        "encoder" fools it; "classifier", in the style/class split, learns labels. If a batch of that split holds
        "label" `[N]` too, "autoencoder/error" is the share of images whose class the encoder tells wrong. Running
        averages of batch statistics are those of the autoencoder's turn, which sees all images alike.

        Args:
          encoder: Images to codes and, in the style/class split, logits of classes.
          generator: Codes to images: the decoder.
          discriminator: Codes to logits.
          class_discriminator: Probabilities of classes to logits, in the style/class split.
          classes: Of labelled examples; 0 for training without labels.
          generator_optimizer: Of encoder and generator as they learn to reconstruct; Adam(2e-4, 0.5, 0.999) if not
            given.
          discriminator_optimizer: Likewise.

        Returns:
          The game. `sample` takes an optional batch with "label" (if there are classes) and "latent"; what is missing
          is drawn from the keys. `encode`, `joined` and `decode` make codes and reconstructions.

        Raises:
          ValueError: Classes and networks do not fit.
        """
        latents = self.latents(classes)
        divided = class_discriminator is not None
        placed = classes > 0 and not divided
        if divided and classes < 2:
            raise ValueError(f"a class_discriminator needs at least 2 classes, got {classes}")
        if placed and (latents.kind, latents.modes) != ("mixture", classes):
            raise ValueError(f"{classes} classes need a class_discriminator, or a mixture of as many modes")

        if placed and getattr(discriminator, "minibatch_std", False):
            raise ValueError("minibatch_std would compare codes with labels and codes without")

        def encoded(state: State, images: Array, keys: Keys) -> tuple[Array, Any, Any]:
            (codes, logits), stats = apply(
                encoder, state, "encoder", images, keys=keys.fold("encoder").example
            )
            return codes, logits, stats

        def autoencoder_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            codes, logits, e_stats = encoded(state, batch["real"], keys)
            masks = keys.fold("generator").example
            made, g_stats = apply(generator, state, "generator", joined(codes, logits), keys=masks)
            error = jnp.mean(jnp.square(made - batch["real"]))
            metrics = {"reconstruction": error}
            if logits is not None and "label" in batch:
                metrics["error"] = jnp.mean(jnp.argmax(logits, 1) != batch["label"])
            return self.reconstruction * error, Aux(
                {"encoder": e_stats, "generator": g_stats}, metrics=metrics
            )

        def matched(state: State, batch: Batch, keys: Keys) -> tuple[Array, Array, Any, Any, Keys]:
            """Draws and codes to be told apart, logits and labels that go with them, and their keys."""
            images, label, modes = batch["real"], None, None
            if placed:
                n = len(images)
                images = jnp.concatenate([images, batch["labelled_real"]])
                keys = Keys(keys.shared, jnp.concatenate([keys.example, keys.fold("labelled").example]))
                label = jnp.concatenate([jnp.full((n,), classes, jnp.int32), batch["labelled_label"]])
                modes = jnp.where(label == classes, draw_classes(keys.fold("unknown"), classes), label)
            codes, logits, _ = encoded(state, images, keys)
            return latents.draw(keys, label=modes), codes, logits, label, keys

        def even(keys: Keys) -> Array:
            return jax.nn.one_hot(draw_classes(keys.fold("class"), classes), classes)

        def discriminator_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            real, fake, logits, label, keys = matched(state, batch, keys)
            judge = judged_by(discriminator, state, "discriminator", label)
            seen = self.discriminate(judge, real, fake, keys, state.step)
            value, metrics, stats = seen.value, dict(seen.metrics), {"discriminator": seen.stats}
            if class_discriminator is not None:
                judge = judged_by(class_discriminator, state, "class_discriminator")
                fake, others = jax.nn.softmax(logits), keys.fold("classes")
                seen = self.discriminate(judge, even(keys), fake, others, state.step)
                value, stats["class_discriminator"] = value + seen.value, seen.stats
                metrics |= {f"class_{name}": shown for name, shown in seen.metrics.items()}
            return value, Aux(stats, metrics=metrics)

        def encoder_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            real, fake, logits, label, keys = matched(state, batch, keys)
            judge = judged_by(discriminator, state, "discriminator", label)
            value, _ = self.fool(judge, fake, keys, state.step, real)
            if class_discriminator is not None:
                judge = judged_by(class_discriminator, state, "class_discriminator")
                fake, others = jax.nn.softmax(logits), keys.fold("classes")
                value += self.fool(judge, fake, others, state.step, even(keys))[0]
            return value, Aux()

        def classifier_loss(state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            _, logits, _ = encoded(state, batch["labelled_real"], keys)
            return class_loss(logits, batch["labelled_label"]), Aux()

        def init(key: Array, batch: Batch) -> Nets:
            image = jnp.zeros_like(batch["real"])
            n = len(image)
            code, label = jnp.zeros((n, latents.size)), jnp.zeros(n, jnp.int32) if placed else None
            both = jnp.zeros((n, latents.size + (classes if divided else 0)))
            networks: dict[str, tuple[Any, ...]] = {
                "encoder": (encoder, image),
                "generator": (generator, both),
                "discriminator": (discriminator, code, label),
            }
            if class_discriminator is not None:
                networks["class_discriminator"] = (class_discriminator, jnp.zeros((n, classes)))
            return initial(key, **networks)

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
            "autoencoder": self.generating(coders, autoencoder_loss, generator_optimizer, waits=False),
            "discriminator": self.discriminating(judges, discriminator_loss, discriminator_optimizer),
            "encoder": Player(
                ("encoder",),
                encoder_loss,
                self.encoder_optimizer.build(),
                start=self.discriminator_pretraining,
            ),
        }
        if divided:
            players["classifier"] = Player(("encoder",), classifier_loss, self.encoder_optimizer.build())
        averages: dict[str, float] = dict.fromkeys(coders, self.ema) if self.ema else {}
        return Game(init, players, sample, ema=averages, shared_draws=self.shared_draws)

    def examples(self, source: Source) -> Source:
        """The data with the labelled examples that the game asks for.

        Raises:
          InputError: As `jaxgan.data.labelled.Labelled`.
        """
        return labelled.Labelled(source, self.labels) if self.labels else source

    def build(self, parts: Parts, facts: Facts) -> Built:
        """The game of a config, and what there is to look at; see `Family.build`."""
        parts.demand(self, generator="decoder", discriminator="code")
        if getattr(parts.discriminator, "conditioning", None) == "auxiliary":
            raise InputError(
                "discriminator.conditioning auxiliary is of images; game.family aae takes concatenate or projection"
            )
        classes = len(facts.classes) if self.labels else 0
        if self.labels:
            labelled.check(self.labels, len(facts.classes), facts.examples)
        mixed = self.prior == "mixture"
        divided = classes > 0 and not mixed
        if classes and mixed and getattr(parts.discriminator, "minibatch_std", False):
            raise InputError(
                "discriminator.minibatch_std would compare codes with labels and codes without; set it to false, or "
                "game.labels to 0"
            )
        shape = facts.shape()
        told = shape._replace(classes=classes if divided else 0, latent=self.latent)
        # To a discriminator of labelled codes, "not known" is one more class.
        judged = shape._replace(classes=classes + 1 if classes and mixed else 0)
        encoder = parts.module("game.encoder", told, self.encoder)
        generator = parts.module("generator", shape)
        game = self.game(
            encoder,
            generator,
            parts.module("discriminator", judged),
            parts.module("discriminator", shape) if divided else None,
            classes,
            **parts.optimizers,
        )
        latents = self.latents(classes)
        shown = looks(encoder, generator, latents, classes if divided else 0)

        def classify(state: State, images: Array) -> Any:
            return encode(encoder, state, images)[1]

        return Built(game, classes, latents, pictures=shown, classify=classify if divided else None)


def looks(
    encoder: nn.Module, generator: nn.Module, latents: Latents, divided: int
) -> Mapping[str, Callable[[State, Batch], Picture]]:
    """The pictures of an autoencoder, by their captions.

    Args:
      encoder: Images to codes.
      generator: Codes to images.
      latents: What codes are matched to.
      divided: Classes of a style/class split, 0 where there is none.
    """

    def reconstructions(state: State, batch: Batch) -> Sheet:
        images = batch["real"][:SHOWN]
        made = decode(generator, state, joined(*encode(encoder, state, images)))
        return Sheet(jnp.stack([images, made], 1).reshape(-1, *images.shape[1:]), 8)

    def styles(state: State, batch: Batch) -> Sheet:
        z = jnp.repeat(latents.draw(Keys.of(jax.random.key(0), STYLES)), divided, 0)
        one_hot = jnp.tile(jnp.eye(divided), (STYLES, 1))
        return Sheet(decode(generator, state, jnp.concatenate([z, one_hot], 1)), divided)

    def walk(state: State, batch: Batch) -> Sheet:
        return Sheet(decode(generator, state, plane(latents)), WALK)

    def codes(state: State, batch: Batch) -> Scatter:
        behind = latents.draw(Keys.of(jax.random.key(0), len(batch["real"])))
        return Scatter(encode(encoder, state, batch["real"])[0], batch["label"], behind)

    shown: dict[str, Callable[[State, Batch], Picture]] = {
        "images, each with its reconstruction to the right": reconstructions
    }
    if latents.size == 2:
        shown["codes by class; grey: what they are matched to"] = codes
    if divided:
        shown["one style in each row, one class in each column"] = styles
    elif latents.size == 2:
        shown["the plane of codes, decoded on a grid"] = walk
    return shown


def plane(latents: Latents) -> Array:
    """A grid over latents in the plane, as one reads: from the upper left, row by row, `[WALK * WALK, 2]`.

    Of a Gaussian the grid is even in probability (Kingma and Welling, Auto-Encoding Variational Bayes, 2014, appendix
    A), of a mixture even in space, to two standard deviations outside of its centers.
    """
    at = (jnp.arange(WALK) + 0.5) / WALK
    at = ndtri(at) if latents.kind == "normal" else (2 * at - 1) * (RADIUS + 2 * LENGTH)
    x, y = jnp.meshgrid(at, -at)
    return jnp.stack([x.ravel(), y.ravel()], -1)
