"""Images to images, from settings: pix2pix, CycleGAN and the refiner."""

from jaxgan import config, games
from jaxgan.errors import InputError
from jaxgan.experiment.facts import Built, Facts
from jaxgan.experiment.networks import DTYPES, Shape, demand, module
from jaxgan.experiment.rules import adversary, optimizer


def _shapes(settings: config.Experiment, facts: Facts, field: str, kind: str) -> tuple[Shape, Shape]:
    """Of the image and of what it is made from."""
    demand(settings, generator="image", discriminator="image")
    if field not in facts.fields:
        raise InputError(
            f"game.family {settings.game.family} needs {kind}, and the data has only "  # pyright: ignore[reportAttributeAccessIssue]
            f"{', '.join(facts.fields)}; choose another data.source or data.task"
        )
    image, given = (facts.fields[name].shape for name in ("image", field))
    if image[:2] != given[:2]:
        raise InputError(
            f"images are {image[0]}x{image[1]} and what they are made from {given[0]}x{given[1]}; make them one size"
        )
    dtype = DTYPES[settings.compute_dtype]
    return Shape(image[0], image[2], dtype=dtype), Shape(given[0], given[2], dtype=dtype)


def pix2pix(settings: config.Experiment, facts: Facts) -> Built:
    """The game of `jaxgan.games.pix2pix`.

    Raises:
      InputError: If networks and data do not fit each other.
    """
    rules = settings.game
    assert isinstance(rules, config.Pix2Pix)
    image, given = _shapes(settings, facts, "input", "pairs of images")
    game = games.pix2pix(
        module(settings.generator, image, "generator"),
        module(
            settings.discriminator,
            image._replace(channels=(image.channels + given.channels) * rules.packing),
            "discriminator",
        ),
        adversary(rules, settings.discriminator, settings.batch_size),
        reconstruction=rules.reconstruction,
        adversarial=rules.adversarial,
        generator_optimizer=optimizer(settings.generator_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        ema=rules.ema,
        shared_draws=rules.shared_draws,
    )
    return Built(game, given=("input",))


def cyclegan(settings: config.Experiment, facts: Facts) -> Built:
    """The game of `jaxgan.games.cyclegan`, both ways with networks of the same settings.

    Raises:
      InputError: If networks and data do not fit each other.
    """
    rules = settings.game
    assert isinstance(rules, config.CycleGAN)
    image, other = _shapes(settings, facts, "other", "images of two domains")
    if rules.identity and image != other:
        raise InputError(
            f"game.identity needs two domains with as many channels, and these have {image.channels} and "
            f"{other.channels}; set it to 0"
        )
    judged = (x._replace(channels=x.channels * rules.packing) for x in (image, other))
    game = games.cyclegan(
        module(settings.generator, image, "generator"),
        module(settings.generator, other, "generator"),
        *(module(settings.discriminator, x, "discriminator") for x in judged),
        adversary=adversary(rules, settings.discriminator, settings.batch_size),
        cycle=rules.cycle,
        identity=rules.identity,
        pool=rules.pool,
        generator_optimizer=optimizer(settings.generator_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        ema=rules.ema,
        shared_draws=rules.shared_draws,
    )
    return Built(game, given=("other",))


def refiner(settings: config.Experiment, facts: Facts) -> Built:
    """The game of `jaxgan.games.refiner`.

    Raises:
      InputError: If networks and data do not fit each other.
    """
    rules = settings.game
    assert isinstance(rules, config.Refinement)
    image, other = _shapes(settings, facts, "other", "real and synthetic images")
    if image != other:
        raise InputError(
            f"a refined image takes the place of a real one, but real images have {image.channels} channels and "
            f"synthetic ones {other.channels}; make them alike"
        )
    keys = ("self_regularisation", "history", "generator_turns", "generator_pretraining", "ema")
    judged = image._replace(channels=image.channels * rules.packing)
    game = games.refiner(
        module(settings.generator, image, "generator"),
        module(settings.discriminator, judged, "discriminator"),
        adversary(rules, settings.discriminator, settings.batch_size),
        generator_optimizer=optimizer(settings.generator_optimizer),
        discriminator_optimizer=optimizer(settings.discriminator_optimizer),
        **{key: getattr(rules, key) for key in keys},
    )
    return Built(game, given=("other",))
