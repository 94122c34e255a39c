"""From a configuration to the objects that it describes.

For example:

    >>> mlp, data = {"network": "mlp"}, {"source": "embedded"}
    >>> table = {"name": "first", "steps": 20, "data": data, "generator": mlp, "discriminator": mlp}
    >>> settings = config.parse(table)
    >>> built = of_source(settings, source_of(settings))
    >>> list(built.game.players), built.rows
    (['discriminator', 'generator'], 128)
    >>> state = jax.eval_shape(lambda: initial(built))
    >>> state.params["generator"]["Dense_3"]["kernel"].shape  # from 64 features to 28x28 pixels
    (64, 784)
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import config, domains, game
from jaxgan.data.sources import Field, Source, derived, sides_of
from jaxgan.domains import Domain, Image, Shown
from jaxgan.errors import InputError
from jaxgan.experiment import provenance
from jaxgan.experiment.own import Own, build_own, open_own
from jaxgan.families.base import DTYPES, Built, Facts, Parts
from jaxgan.game import State
from jaxgan.networks.registry import FieldError

RENAMED: Mapping[str, str] = {"image": "real", "labelled_image": "labelled_real"}
"""Fields of manifests that have another name now."""


EXAMPLES = ("real", "input", "other", "labelled_real")
"""Fields that are each an example as its domain has it."""
AXES = {"label": 0, "text": 1, "embedding": 1}
"""The number of axes of other fields."""


def build(
    settings: config.Settings,
    classes: Sequence[str],
    examples: int,
    fields: Mapping[str, Field] | None = None,
    domain: Domain | None = None,
) -> Built:
    """Builds the game; writes nothing.

    Args:
      settings: The configuration.
      classes: The names of the data's classes, none if it has no labels.
      examples: How many examples the data has.
      fields: Of an example, as it is stored; as far as the configuration tells them if not given.
      domain: What examples are; images if not given.

    Raises:
      InputError: If network, data and batch do not fit each other.
    """
    fields, domain = fields or settings.data.fields, domain or Image()
    check_run(settings, examples, domain)
    given = {name: getattr(settings, name) for name in Parts._fields if name != "dtype"}
    parts = Parts(**given, dtype=DTYPES[settings.compute_dtype])
    try:
        built = settings.game.build(parts, Facts(domain.decoded(fields), classes, examples, domain))
    except FieldError as error:  # of a network that a family makes of another's settings
        raise InputError(
            f"game.family {settings.game.family} makes a network that cannot be: {error}"
        ) from None
    settings.game.check_domain(domain)
    settings.game.check_batches(settings.discriminator, settings.batch_size)
    if built.settings:
        settings = settings.model_copy(update={"game": built.settings})
    return built._replace(
        config=settings,
        fields=fields,
        domain=domain,
        open=partial(source_of, settings),
        origins=provenance.of_settings(settings, domain),
    )


def of_source(settings: config.RunSettings, source: Source, own: Own | None = None) -> Built:
    """The experiment of settings and their data.

    Args:
      settings: Of the run.
      source: Its data.
      own: The game, where somebody wrote it in Python.

    Raises:
      InputError: As `build`, or see `own.build`.
    """
    domain = domains.of(source)
    check(source, domain)
    check_run(settings, len(source), domain)
    if not isinstance(settings, config.Settings):
        return build_own(settings, own, source.classes, len(source), source.fields, domain)
    built = build(settings, source.classes, len(source), source.fields, domain)
    if built.poisson and len(sides_of(source)) > 1:
        raise InputError(
            f"family {settings.game.family!r} draws whole examples, and this data puts together what does not belong "
            "together; train it on one kind alone"
        )
    return built


def check_run(settings: config.RunSettings, examples: int, domain: Domain) -> None:
    """Refuses settings that do not fit the data.

    Raises:
      InputError: A batch is larger than the data, or the feature network does not take its examples.
    """
    if settings.batch_size > examples:
        raise InputError(
            f"batch_size is {settings.batch_size}, more than the {examples} examples of the data; use a smaller one"
        )
    if settings.evaluation.features not in ("auto", *domain.features):
        known = ", ".join(("auto", *domain.features))
        raise InputError(
            f"evaluation.features is {settings.evaluation.features!r}; of {domain.plural} there are {known}"
        )


def check(source: Source, domain: Domain) -> None:
    """Refuses a source that is not what `Source` says, before anything is made of it.

    Raises:
      InputError: Something is missing, or the first example is not as the fields say.
    """
    for name in ("fields", "classes", "fingerprint", "__len__", "__getitem__"):
        if not hasattr(source, name):
            raise InputError(
                f"{type(source).__name__} is no source: it has no {name}; see jaxgan.data.sources.Source"
            )
    lacking = [name for name in ("real", "label") if name not in source.fields]
    if lacking:
        raise InputError(f"the data has no field {lacking[0]!r}; its fields are {', '.join(source.fields)}")
    domain.check(source.fields["real"])
    first = source[0]
    for name, (shape, dtype) in source.fields.items():
        if name not in first:
            raise InputError(f"the first example of the data has no {name!r}, which is one of its fields")
        found = np.asarray(first[name])
        if found.shape != tuple(shape) or found.dtype != dtype:
            raise InputError(
                f"{name!r} of the first example is {found.dtype} {list(found.shape)}, and the fields say {dtype} "
                f"{list(shape)}"
            )
    if "real" not in domain.decoded(source.fields):
        raise InputError(f"domain {domain.domain} leaves no field 'real' of the data for networks to see")


def facts(source: Source) -> dict[str, Any]:
    """What a run's manifest says of its data, for `of_manifest`."""
    return {
        "data_fingerprint": source.fingerprint,
        "classes": list(source.classes),
        "examples": len(source),
        "domain": domains.of(source).model_dump(mode="json"),
        "fields": {name: [list(shape), dtype] for name, (shape, dtype) in source.fields.items()},
    }


def of_manifest(settings: config.RunSettings, manifest: Mapping[str, Any], own: Own | None = None) -> Built:
    """The experiment of a run, built from its folder without its data.

    Args:
      settings: Of the run.
      manifest: The run's.
      own: The game, where somebody wrote it in Python.

    Raises:
      InputError: As `of_source`.
    """
    fields = {
        RENAMED.get(name, name): Field(tuple(shape), dtype)
        for name, (shape, dtype) in manifest.get("fields", {}).items()
    }
    domain = domains.described(manifest["domain"]) if "domain" in manifest else None
    if lacking := [name for name in ("classes", "examples") if name not in manifest]:
        raise InputError(f"its manifest.json says nothing of {lacking[0]}; restore it")
    known = manifest["classes"], manifest["examples"], fields
    if isinstance(settings, config.Settings):
        _check_fields(fields, domain or Image())
        return build(settings, *known, domain)
    return build_own(settings, own, *known, domain or Image())


def _check_fields(fields: Mapping[str, Field], domain: Domain) -> None:
    """Refuses fields of a manifest that no source has, before families look into their shapes."""
    try:
        for name, field in fields.items():
            if name in EXAMPLES:
                domain.check(field)
            elif len(field.shape) != AXES.get(name, len(field.shape)):
                raise InputError(f"{name!r} is {field.dtype} {list(field.shape)}")
    except InputError as error:
        raise InputError(f"its manifest.json says what no data is: {error}; restore it") from None
    if lacking := [name for name in ("real", "label") if fields and name not in fields]:
        raise InputError(f"its manifest.json says nothing of the field {lacking[0]!r}; restore it")


def initial(built: Built) -> State:
    """The state before the first step."""
    seen = built.domain.decoded(built.fields)
    batch = {name: jnp.zeros((2, *field.shape), field.dtype) for name, field in seen.items()}
    return game.init(built.game, jax.random.key(built.config.seed), batch)


def beginning(built: Built) -> Callable[[Any], State]:
    """The state before the first step as a compiled function of the seed, traced once for its shapes and its making."""

    @jax.jit
    def initial_of(seed: Any) -> State:
        return initial(built._replace(config=built.config.model_copy(update={"seed": seed})))

    return initial_of


def source_of(settings: config.RunSettings, split: str | None = None, own: Own | None = None) -> Source:
    """The data that a run is trained on, or another split of it.

    Raises:
      InputError: If it cannot be opened, or has no such split.
    """
    if isinstance(settings, config.OwnSettings):
        return open_own(settings, own, split)
    assert isinstance(settings, config.Settings)
    data = settings.data
    if split is not None and split != getattr(data, "split", None):
        return data.of_split(split).open()
    return settings.game.examples(data.open())


def held_out(built: Built) -> Source | None:
    """The split "test" of an experiment's data, if it is trained on another and there is one."""
    if getattr(built.config.data, "split", "test") == "test":
        return None
    try:
        return built.open("test")
    except InputError:
        return None


def examples(built: Built, most: int | None = None) -> dict[str, np.ndarray] | None:
    """What samples are made from and should be like: held-out examples, or if there are none the data's own.

    Args:
      built: The experiment.
      most: How many, from all over the data; all of them if not given.

    Returns:
      The fields of `Built.given`, "real" and, of conditional games, "label", `[n, ...]` each, the true ones where the
      data hides its pairs; None where samples are not made from examples.

    Raises:
      InputError: If the data cannot be read.
    """
    if not built.given:
        return None
    source = held_out(built) or built.open(None)
    count = len(source) if most is None else min(most, len(source))
    places = [i * len(source) // count for i in range(count)]
    chosen = [source[i] for i in places]
    if isinstance(source, derived.HiddenPairs):
        truths = map(source.truth, places)
        chosen = [
            {**x, "real": truth["real"], "label": truth["label"]}
            for x, truth in zip(chosen, truths, strict=True)
        ]
    names = (*built.given, "real", *(["label"] if built.classes else []))
    return {name: np.stack([x[name] for x in chosen]) for name in dict.fromkeys(names)}


def shown(
    built: Built,
    made: np.ndarray,
    examples: Mapping[str, np.ndarray] | None = None,
    columns: int | None = None,
) -> Shown:
    """Samples with what is to be seen with them.

    Args:
      built: The experiment.
      made: The samples, as they are stored, `[N, ...]`.
      examples: Those that samples are made from, as of `examples`: sample i is of example i, counted around.
      columns: See `Shown`.
    """
    if examples is None:
        return Shown(made, built.classes, columns=columns)
    at = np.arange(len(made)) % len(examples["real"])
    given = {name: examples[name][at] for name in built.given}
    return Shown(made, built.classes, given, examples["real"][at], columns)


def answered(built: Built) -> bool:
    """Whether what samples are made from is one image, and has a true answer: the "real" of `examples`."""
    data = built.config.data
    hidden = getattr(data, "unpaired", False) or getattr(data, "task", None) == "unpaired-edges"
    return built.given == ("input",) or (built.given == ("other",) and hidden)
