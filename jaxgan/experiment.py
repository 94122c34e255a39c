"""From a configuration to the objects that it describes."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgan import config, game, games, losses, networks
from jaxgan.data import sources
from jaxgan.errors import InputError
from jaxgan.game import Game, State
from jaxgan.networks.dcgan import RESOLUTIONS

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}
LOSSES = {"non_saturating": losses.non_saturating, "minimax": losses.minimax}


class Experiment(NamedTuple):
    """A configuration, and what it describes."""

    config: config.Experiment
    source: sources.Source
    game: Game
    classes: int
    """Classes that the game is conditional on; 0 for none."""


def build(experiment: config.Experiment) -> Experiment:
    """Opens the data and builds the game; writes nothing.

    Raises:
      InputError: If the data cannot be read, or network, data and batch do not fit each other.
    """
    data = open_source(experiment.data)
    classes = 0
    if experiment.game.conditional:
        classes = len(data.classes)
        if not classes:
            raise InputError(
                "game.conditional is true, but the data has no classes: give it labels or set it to false"
            )
    if experiment.batch_size > len(data):
        raise InputError(
            f"batch_size is {experiment.batch_size}, more than the {len(data)} examples of the data; use a smaller one"
        )
    for name in ("generator", "discriminator"):
        network = getattr(experiment, name)
        if network.network == "dcgan" and data.resolution not in RESOLUTIONS:
            raise InputError(
                f"data.resolution is {data.resolution}, but {name}.network dcgan supports only "
                f"{', '.join(map(str, RESOLUTIONS))}"
            )
    settings = experiment.game.model_dump(exclude={"loss"})
    rules = games.gan(
        _generator(experiment.generator, data, classes),
        _discriminator(experiment.discriminator, data, classes),
        loss=LOSSES[experiment.game.loss],
        generator_optimizer=optimizer(experiment.generator_optimizer),
        discriminator_optimizer=optimizer(experiment.discriminator_optimizer),
        **settings,
    )
    return Experiment(experiment, data, rules, classes)


def initial(built: Experiment) -> State:
    """The state before the first step."""
    size = (built.source.resolution, built.source.resolution, built.source.channels)
    batch = {"image": jnp.zeros((2, *size)), "label": jnp.zeros(2, jnp.int32)}
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


def _generator(
    net: config.DCGANGenerator | config.MLPGenerator, data: sources.Source, classes: int
) -> networks.DCGANGenerator | networks.MLPGenerator:
    dtype = DTYPES[net.dtype]
    if isinstance(net, config.DCGANGenerator):
        return networks.DCGANGenerator(data.resolution, data.channels, net.width, classes, net.norm, dtype)
    shape = (data.resolution, data.resolution, data.channels)
    return networks.MLPGenerator(shape, net.width, net.depth, classes, dtype=dtype)


def _discriminator(
    net: config.DCGANDiscriminator | config.MLPDiscriminator, data: sources.Source, classes: int
) -> networks.DCGANDiscriminator | networks.MLPDiscriminator:
    dtype = DTYPES[net.dtype]
    if isinstance(net, config.DCGANDiscriminator):
        return networks.DCGANDiscriminator(
            data.resolution, data.channels, net.width, classes, net.norm, net.dropout, dtype
        )
    return networks.MLPDiscriminator(net.width, net.depth, classes, net.dropout, dtype)
