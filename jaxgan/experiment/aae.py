"""Images to codes and back, from settings; and what there is to look at."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from jaxgan import config, games
from jaxgan.data import labelled
from jaxgan.data.sources import Source
from jaxgan.errors import InputError
from jaxgan.experiment.facts import Built, Facts, Picture, Scatter, Sheet
from jaxgan.experiment.networks import DTYPES, Shape, demand, module
from jaxgan.experiment.rules import adversary, optimizer
from jaxgan.game import Array, Batch, Keys, State
from jaxgan.games import Latents
from jaxgan.games.aae import decode, encode, joined
from jaxgan.games.latents import LENGTH, RADIUS

SHOWN, WALK, STYLES = 32, 15, 8
"""Images that are shown beside their reconstructions, images along each side of a walk over the plane, and styles."""


def examples(settings: config.Experiment, source: Source) -> Source:
    """The data with the labelled examples that the game asks for.

    Raises:
      InputError: As `jaxgan.data.labelled.Labelled`.
    """
    return labelled.Labelled(source, settings.game.labels) if settings.game.labels else source  # pyright: ignore[reportAttributeAccessIssue]


def build(settings: config.Experiment, facts: Facts) -> Built:
    """The game of `jaxgan.games.aae`.

    Raises:
      InputError: If rules, networks and data do not fit each other.
    """
    rules = settings.game
    assert isinstance(rules, config.AAE)
    demand(settings, generator="decoder", discriminator="code")
    if getattr(settings.discriminator, "conditioning", None) == "auxiliary":
        raise InputError(
            "discriminator.conditioning auxiliary is of images; game.family aae takes concatenate or projection"
        )
    classes = len(facts.classes) if rules.labels else 0
    if rules.labels:
        labelled.check(rules.labels, len(facts.classes), facts.examples)
    mixed = rules.prior == "mixture"
    divided = classes > 0 and not mixed
    if classes and mixed and getattr(settings.discriminator, "minibatch_std", False):
        raise InputError(
            "discriminator.minibatch_std would compare codes with labels and codes without; set it to false, or "
            "game.labels to 0"
        )
    image = facts.fields["image"].shape
    shape = Shape(image[0], image[2], dtype=DTYPES[settings.compute_dtype])
    told = shape._replace(classes=classes if divided else 0, latent=rules.latent)
    # To a discriminator of labelled codes, "not known" is one more class.
    judged = shape._replace(classes=classes + 1 if classes and mixed else 0)
    latents = Latents(rules.latent, rules.prior, classes or 10) if mixed else Latents(rules.latent)
    encoder = module(rules.encoder, told, "game.encoder")
    generator = module(settings.generator, shape, "generator")
    game = games.aae(
        encoder,
        generator,
        module(settings.discriminator, judged, "discriminator"),
        adversary(rules, settings.discriminator, settings.batch_size),
        latent=latents,
        classes=classes,
        class_discriminator=module(settings.discriminator, shape, "discriminator") if divided else None,
        reconstruction=rules.reconstruction,
        generator_optimizer=optimizer(settings.generator_optimizer),
        encoder_optimizer=optimizer(rules.encoder_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        ema=rules.ema,
        shared_draws=rules.shared_draws,
    )
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
        images = batch["image"][:SHOWN]
        made = decode(generator, state, joined(*encode(encoder, state, images)))
        return Sheet(jnp.stack([images, made], 1).reshape(-1, *images.shape[1:]), 8)

    def styles(state: State, batch: Batch) -> Sheet:
        z = jnp.repeat(latents.draw(Keys.of(jax.random.key(0), STYLES)), divided, 0)
        one_hot = jnp.tile(jnp.eye(divided), (STYLES, 1))
        return Sheet(decode(generator, state, jnp.concatenate([z, one_hot], 1)), divided)

    def walk(state: State, batch: Batch) -> Sheet:
        return Sheet(decode(generator, state, plane(latents)), WALK)

    def codes(state: State, batch: Batch) -> Scatter:
        behind = latents.draw(Keys.of(jax.random.key(0), len(batch["image"])))
        return Scatter(encode(encoder, state, batch["image"])[0], batch["label"], behind)

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
