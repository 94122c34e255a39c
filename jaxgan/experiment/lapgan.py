"""Noise to image from coarse to fine, from settings."""

from jaxgan import config, games, networks
from jaxgan.errors import InputError
from jaxgan.experiment.facts import Built, Facts
from jaxgan.experiment.networks import DTYPES, Shape, demand, module
from jaxgan.experiment.rules import adversary, optimizer
from jaxgan.games import Latents
from jaxgan.games.lapgan import latent_size
from jaxgan.networks.lapgan import LAPGANDiscriminator, LAPGANGenerator


def build(settings: config.Experiment, facts: Facts) -> Built:
    """The game of `jaxgan.games.lapgan`: the networks of LAPGAN, fully connected ones at the coarsest level.

    Raises:
      InputError: If rules, networks and data do not fit each other.
    """
    rules, made_by, judged_by = settings.game, settings.generator, settings.discriminator
    assert isinstance(rules, config.LAPGAN)
    demand(settings, generator="lapgan", discriminator="lapgan")
    assert isinstance(made_by, LAPGANGenerator)
    assert isinstance(judged_by, LAPGANDiscriminator)
    resolution, _, channels = facts.fields["image"].shape
    halvings = rules.levels - 1
    if resolution % 2**halvings:
        raise InputError(
            f"game.levels is {rules.levels}, but {resolution}x{resolution} images cannot be halved {halvings} times; "
            "lower game.levels or choose another data.resolution"
        )
    if rules.conditional and not facts.classes:
        raise InputError(
            "game.conditional is true, but the data has no classes: give it labels or set it to false"
        )
    classes = len(facts.classes) if rules.conditional else 0
    fine = Shape(resolution, channels, classes, DTYPES[settings.compute_dtype])
    coarse = fine._replace(resolution=resolution >> halvings)
    game = games.lapgan(
        [
            *(module(made_by, fine, "generator") for _ in range(halvings)),
            networks.MLPGenerator(coarse.image, made_by.hidden, 2, classes, dtype=coarse.dtype),
        ],
        [
            *(module(judged_by, fine, "discriminator") for _ in range(halvings)),
            networks.MLPDiscriminator(
                *(judged_by.hidden, 2, classes, judged_by.dropout, coarse.dtype),
                minibatch_std=judged_by.minibatch_std,
            ),
        ],
        adversary(rules, judged_by, settings.batch_size),
        resolution=resolution,
        latent=rules.latent,
        latent_kind=rules.latent_kind,
        conditional=rules.conditional,
        generator_optimizer=optimizer(settings.generator_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        ema=rules.ema,
        shared_draws=rules.shared_draws,
    )
    size = latent_size(resolution, rules.levels, rules.latent)
    return Built(game, classes, Latents(size, rules.latent_kind))
