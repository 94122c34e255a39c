"""Text to image, from settings."""

from jaxgan import config, games
from jaxgan.errors import InputError
from jaxgan.experiment.facts import Built, Facts
from jaxgan.experiment.networks import DTYPES, Shape, demand, module
from jaxgan.experiment.rules import adversary, optimizer
from jaxgan.games import Latents
from jaxgan.networks.stackgan import StackGANGenerator, doublings

SOURCES = {
    "text": "captions; set data.task to 'captions', or choose a data.source that has some",
    "embedding": "embeddings of captions; make some by jaxgan prepare --embed",
}
"""What data lacks without the field, and what to do."""


def build(settings: config.Experiment, facts: Facts) -> Built:
    """The game of `jaxgan.games.stackgan`.

    Raises:
      InputError: If networks and data do not fit each other.
    """
    rules, net = settings.game, settings.generator
    assert isinstance(rules, config.StackGAN)
    demand(settings, generator="stackgan", discriminator="stackgan")
    assert isinstance(net, StackGANGenerator)
    if rules.given == "label" and not facts.classes:
        raise InputError(
            "game.given is label, but the data has no classes; set it to text or give the data labels"
        )
    if rules.given != "label" and rules.given not in facts.fields:
        raise InputError(f"game.given is {rules.given}, but the data has no {SOURCES[rules.given]}")
    resolution, _, channels = facts.fields["image"].shape
    small = resolution // rules.scale
    try:
        fits = resolution % rules.scale == 0 and small % 2**net.depth == 0
        doublings(small)
    except ValueError:
        fits = False
    if not fits:
        raise InputError(
            f"data.resolution {resolution} does not fit game.scale {rules.scale} and generator.depth {net.depth}: "
            "small images must have 4, 5, 6 or 7 times a power of 2 pixels, and 2^depth must divide that"
        )
    dtype = DTYPES[settings.compute_dtype]
    whole, reduced = (Shape(side, channels, dtype=dtype, scale=rules.scale) for side in (resolution, small))
    latents = Latents(rules.latent, rules.latent_kind)
    classes = len(facts.classes) if rules.given == "label" else 0
    judges = [module(settings.discriminator, of, "discriminator") for of in (reduced, whole)]
    game = games.stackgan(
        net.stage_one(resolution=small, channels=channels, dtype=dtype),
        module(net, whole, "generator"),
        judges[0],
        judges[1],
        module(rules.encoder, whole, "game.encoder") if rules.given == "text" else None,
        adversary(rules, settings.discriminator, settings.batch_size),
        stage_two=rules.stage_two,
        scale=rules.scale,
        given=rules.given,
        classes=classes,
        latent=latents,
        kl=rules.kl,
        mismatched=rules.mismatched,
        generator_optimizer=optimizer(settings.generator_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        ema=rules.ema,
        shared_draws=rules.shared_draws,
    )
    return Built(game, classes, latents, () if classes else (rules.given,))
