"""From a configuration to the objects that it describes."""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from jaxgan import config, game, games, losses, networks
from jaxgan.data import sources
from jaxgan.errors import InputError
from jaxgan.game import Game, State
from jaxgan.networks import dcgan, resnet

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
LOSSES = {
    "non_saturating": losses.non_saturating,
    "minimax": losses.minimax,
    "hinge": losses.hinge,
    "wasserstein": losses.wasserstein,
}
RESOLUTIONS = {"dcgan": dcgan.RESOLUTIONS, "resnet": resnet.RESOLUTIONS}


class Experiment(NamedTuple):
    """A configuration and its game."""

    config: config.Experiment
    game: Game
    classes: int
    """Classes that the game is conditional on; 0 for none."""


def build(settings: config.Experiment, classes: Sequence[str], examples: int) -> Experiment:
    """Builds the game; writes nothing.

    Args:
      settings: The configuration.
      classes: The names of the data's classes, none if it has no labels.
      examples: How many examples the data has.

    Raises:
      InputError: If network, data and batch do not fit each other.
    """
    if settings.game.conditional and not classes:
        raise InputError(
            "game.conditional is true, but the data has no classes: give it labels or set it to false"
        )
    if settings.batch_size > examples:
        raise InputError(
            f"batch_size is {settings.batch_size}, more than the {examples} examples of the data; use a smaller one"
        )
    for name in ("generator", "discriminator"):
        network, resolution = getattr(settings, name).network, settings.data.resolution
        supported = RESOLUTIONS.get(network, (resolution,))
        if resolution not in supported:
            raise InputError(
                f"data.resolution is {resolution}, but {name}.network {network} supports only "
                f"{', '.join(map(str, supported))}"
            )
    penalty = next((key for key in ("gradient_penalty", "r1") if getattr(settings.game, key)), None)
    if penalty and getattr(settings.discriminator, "norm", None) == "batch":
        raise InputError(
            f"game.{penalty} judges each image by itself, but discriminator.norm is 'batch', which mixes them; "
            "set it to 'layer' or 'none'"
        )
    conditions = len(classes) if settings.game.conditional else 0
    rules = games.gan(
        _generator(settings, conditions),
        _discriminator(settings, conditions),
        loss=LOSSES[settings.game.loss],
        generator_optimizer=optimizer(settings.generator_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        **settings.game.model_dump(exclude={"loss"}),
    )
    return Experiment(settings, rules, conditions)


def initial(built: Experiment) -> State:
    """The state before the first step."""
    data = built.config.data
    batch = {
        "image": jnp.zeros((2, data.resolution, data.resolution, data.channels)),
        "label": jnp.zeros(2, jnp.int32),
    }
    return game.init(built.game, jax.random.key(built.config.seed), batch)


def open_source(data: config.Embedded | config.ImageFolder | config.TFDS) -> sources.Source:
    """The source that a configuration names."""
    if isinstance(data, config.Embedded):
        return sources.Embedded(data.split, data.resolution, data.channels)
    if isinstance(data, config.ImageFolder):
        return sources.ImageFolder(data.path, data.resolution, data.channels)
    return sources.TFDS(data.name, data.directory, data.split, data.resolution, data.channels)


def optimizer(settings: config.Optimizer) -> optax.GradientTransformation:
    """The optimizer that a configuration names."""
    if settings.sgd:
        return optax.sgd(settings.sgd.learning_rate)
    adam = settings.adam or config.Adam()
    return optax.adam(adam.learning_rate, b1=adam.b1, b2=adam.b2)


def _generator(settings: config.Experiment, classes: int) -> nn.Module:
    net, data, dtype = settings.generator, settings.data, DTYPES[settings.compute_dtype]
    size = (data.resolution, data.channels, net.width)
    if isinstance(net, config.DCGANGenerator):
        return networks.DCGANGenerator(*size, classes, net.norm, dtype)
    if isinstance(net, config.ResNetGenerator):
        return networks.ResNetGenerator(*size, classes, net.norm, dtype)
    shape = (data.resolution, data.resolution, data.channels)
    return networks.MLPGenerator(shape, net.width, net.depth, classes, dtype=dtype)


def _discriminator(settings: config.Experiment, classes: int) -> nn.Module:
    net, data, dtype = settings.discriminator, settings.data, DTYPES[settings.compute_dtype]
    size = (data.resolution, data.channels, net.width)
    if isinstance(net, config.DCGANDiscriminator):
        return networks.DCGANDiscriminator(*size, classes, net.norm, net.dropout, dtype)
    if isinstance(net, config.ResNetDiscriminator):
        return networks.ResNetDiscriminator(*size, classes, net.spectral, dtype)
    return networks.MLPDiscriminator(net.width, net.depth, classes, net.dropout, dtype)
