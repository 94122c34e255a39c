"""Super-resolution, from settings."""

import functools

from jaxgan import config, games
from jaxgan.errors import InputError
from jaxgan.experiment.facts import Built, Facts
from jaxgan.experiment.networks import DTYPES, Shape, demand, module
from jaxgan.experiment.rules import adversary, optimizer
from jaxgan.game import Array
from jaxgan.networks import perceptual
from jaxgan.networks.perceptual import Perceptual
from jaxgan.networks.srresnet import SCALES


def build(settings: config.Experiment, facts: Facts) -> Built:
    """The game of `jaxgan.games.srgan`.

    Raises:
      InputError: If networks and data do not fit each other.
    """
    rules = settings.game
    assert isinstance(rules, config.SRGAN)
    demand(settings, generator="srgan", discriminator="image")
    if "input" not in facts.fields:
        raise InputError(
            f"game.family srgan needs small images, and the data has only {', '.join(facts.fields)}; set data.scale to "
            "2 or 4"
        )
    image, small = (facts.fields[name].shape for name in ("image", "input"))
    scale = image[0] // small[0]
    if scale not in SCALES or tuple(scale * side for side in small[:2]) != image[:2]:
        raise InputError(
            f"images are {image[0]}x{image[1]} and what they are made from {small[0]}x{small[1]}; game.family srgan "
            "takes images 2 or 4 times as large"
        )
    shape = Shape(image[0], image[2], dtype=DTYPES[settings.compute_dtype], scale=scale)

    @functools.cache
    def features() -> Perceptual:
        assert rules.features != "none"
        return perceptual.load(rules.features, image[0], image[2])

    def maps(images: Array) -> tuple[Array, ...]:
        return features().maps(images)

    looks = rules.features != "none" and rules.perceptual > 0
    game = games.srgan(
        module(settings.generator, shape, "generator"),
        module(
            settings.discriminator, shape._replace(channels=shape.channels * rules.packing), "discriminator"
        ),
        adversary(rules, settings.discriminator, settings.batch_size),
        maps=maps if looks else None,
        pixel_loss=rules.pixel_loss,
        pixel=rules.pixel,
        perceptual=rules.perceptual,
        adversarial=rules.adversarial,
        warmup=rules.warmup,
        generator_optimizer=optimizer(settings.generator_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        ema=rules.ema,
        shared_draws=rules.shared_draws,
    )
    # Loaded when they are first looked through: to sample a run takes no weights but its own.
    fixed = (lambda: {features().name: features().sha256}) if looks else dict
    return Built(game, given=("input",), fixed=fixed)
