"""Noise to image with differential privacy, from settings."""

from jaxgan import config, games, privacy
from jaxgan.data.order import OVERFLOW, Poisson
from jaxgan.errors import InputError
from jaxgan.experiment.facts import Built, Facts
from jaxgan.experiment.networks import DTYPES, Shape, demand, module
from jaxgan.experiment.rules import adversary, optimizer
from jaxgan.games import Latents


def build(settings: config.Experiment, facts: Facts) -> Built:
    """The game of `jaxgan.games.private`, its draws of examples and its ledger.

    A noise multiplier that is left out is found, and stands in the configuration that comes back.

    Raises:
      InputError: If rules, networks and data do not fit each other, or no noise keeps the budget.
    """
    rules = settings.game
    assert isinstance(rules, config.Private)
    demand(settings, generator="latent", discriminator="label")
    if rules.conditional and not facts.classes:
        raise InputError(
            "game.conditional is true, but the data has no classes: give it labels or set it to false"
        )
    if rules.delta * facts.examples >= 1:
        raise InputError(
            f"game.delta is {rules.delta:g}; with {facts.examples} examples it must be less than "
            f"{1 / facts.examples:.2g}, or it allows to publish one of them"
        )
    for network in ("discriminator", "generator"):
        if getattr(getattr(settings, network), "norm", None) == "batch":
            raise InputError(
                f"{network}.norm is 'batch', which mixes the examples whose gradients are clipped one by one; "
                "set it to 'layer' or 'none'"
            )
    if getattr(settings.discriminator, "minibatch_std", False):
        raise InputError(
            "discriminator.minibatch_std compares examples whose gradients are clipped one by one; set it to false"
        )
    classes = len(facts.classes) if rules.conditional else 0
    image = facts.fields["image"].shape
    shape = Shape(image[0], image[2], classes, DTYPES[settings.compute_dtype])
    poisson = Poisson.of(facts.examples, settings.batch_size)
    noise, turns = rules.noise_multiplier or 0.0, rules.discriminator_turns
    ledger = privacy.Ledger(noise, poisson.rate, turns, rules.delta, rules.epsilon, OVERFLOW)
    if not noise:
        noise = privacy.noise(settings.steps, ledger)
        ledger = ledger._replace(noise_multiplier=noise)
        settings = settings.model_copy(update={"game": rules.model_copy(update={"noise_multiplier": noise})})
    latents = Latents(rules.latent, rules.latent_kind)
    keys = ("clip", "chunk", "ema")
    game = games.private(
        module(settings.generator, shape, "generator"),
        module(settings.discriminator, shape, "discriminator"),
        adversary(rules, settings.discriminator, settings.batch_size),
        expected=settings.batch_size,
        noise_multiplier=noise,
        latent=latents,
        classes=classes,
        generator_optimizer=optimizer(settings.generator_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        **{key: getattr(rules, key) for key in keys},
    )
    return Built(game, classes, latents, settings=settings, poisson=poisson, ledger=ledger)
