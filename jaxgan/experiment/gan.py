"""Noise to image, from settings."""

from jaxgan import config, games
from jaxgan.errors import InputError
from jaxgan.experiment.facts import Built, Facts
from jaxgan.experiment.networks import DTYPES, Shape, demand, module
from jaxgan.experiment.rules import adversary, optimizer
from jaxgan.games import Latents
from jaxgan.networks import BigGANGenerator


def build(settings: config.Experiment, facts: Facts) -> Built:
    """The game of `jaxgan.games.gan`.

    Raises:
      InputError: If rules, networks and data do not fit each other.
    """
    rules = settings.game
    assert isinstance(rules, config.GAN)
    demand(settings, generator="latent", discriminator="image")
    if rules.conditional and not facts.classes:
        raise InputError(
            "game.conditional is true, but the data has no classes: give it labels or set it to false"
        )
    if rules.conditional and "label" not in settings.discriminator.roles:
        raise InputError(
            f"discriminator.network {settings.discriminator.network} takes no labels; set game.conditional to false"
        )
    classes = len(facts.classes) if rules.conditional else 0
    image = facts.fields["image"].shape
    shape = Shape(image[0], image[2], classes, DTYPES[settings.compute_dtype])
    seen = shape._replace(channels=shape.channels * rules.packing)
    latents = Latents(rules.latent, rules.latent_kind)
    generator = module(settings.generator, shape, "generator")
    if isinstance(generator, BigGANGenerator) and rules.latent < generator.parts:
        raise InputError(
            f"game.latent is {rules.latent}, but generator.network biggan cuts latents into {generator.parts} parts at "
            f"{image[0]}x{image[0]}; give it at least as many"
        )
    game = games.gan(
        generator,
        module(settings.discriminator, seen, "discriminator"),
        adversary(rules, settings.discriminator, settings.batch_size),
        latent=latents,
        conditional=rules.conditional,
        auxiliary=rules.auxiliary,
        generator_optimizer=optimizer(settings.generator_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        ema=rules.ema,
        schedule=rules.schedule,
        shared_draws=rules.shared_draws,
    )
    return Built(game, classes, latents)
