"""An experiment as plain data: typed, frozen, validated; TOML in, TOML out.

A configuration holds nothing but numbers and names, so a run directory from a stranger is safe to read.
"""

import copy
import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic import PositiveFloat as Positive

from jaxgan.errors import InputError

Fraction = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(gt=0, lt=2**31)]
Whole = Annotated[int, Field(ge=0, lt=2**31)]
Weight = Annotated[float, Field(ge=0)]


class _Model(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Embedded(_Model):
    """The images inside the package: 10,000 train and 2,000 test images of Fashion-MNIST, 28x28, grey."""

    source: Literal["embedded"]
    split: Literal["train", "test"] = "train"
    resolution: Count = 28
    channels: Literal[1, 3] = 1


class ImageFolder(_Model):
    """A folder of images, whose subfolders are classes."""

    source: Literal["folder"]
    path: str
    resolution: Count
    channels: Literal[1, 3] = 3


class TFDS(_Model):
    """A dataset prepared as ArrayRecord, by `jaxgan prepare` or TFDS: by its folder, or by name (and TFDS's folder)."""

    source: Literal["tfds"]
    name: str | None = None
    directory: str | None = None
    split: str = "train"
    resolution: Count
    channels: Literal[1, 3] = 3


class Feed(_Model):
    """How examples reach the device. None of it changes their order."""

    resident: bool | None = None
    """Keep all of the data on the device; by default whenever it is smaller than `resident_megabytes`."""
    resident_megabytes: Count = 2048
    workers: Whole = 2
    """Processes that read data which is not resident; 0 reads in threads of the main process."""


class _Network(_Model):
    width: Count = 64
    """Channels of the largest map; features of a hidden layer in an MLP."""


class _DCGAN(_Network):
    network: Literal["dcgan"]
    norm: Literal["batch", "layer", "none"] = "batch"


class _MLP(_Network):
    network: Literal["mlp"]
    depth: Count = 3
    """Hidden layers."""


class DCGANGenerator(_DCGAN):
    """`jaxgan.networks.DCGANGenerator`."""


class DCGANDiscriminator(_DCGAN):
    """`jaxgan.networks.DCGANDiscriminator`."""

    dropout: Fraction = 0.0


class MLPGenerator(_MLP):
    """`jaxgan.networks.MLPGenerator`."""


class MLPDiscriminator(_MLP):
    """`jaxgan.networks.MLPDiscriminator`."""

    dropout: Fraction = 0.0


class ResNetGenerator(_Network):
    """`jaxgan.networks.ResNetGenerator`, as wide as published for 32x32."""

    network: Literal["resnet"]
    width: Count = 256
    norm: Literal["batch", "layer", "none"] = "batch"


class ResNetDiscriminator(_Network):
    """`jaxgan.networks.ResNetDiscriminator`, as wide as published for 32x32."""

    network: Literal["resnet"]
    width: Count = 128
    spectral: bool = True
    """Whether weights are spectrally normalised."""


class Adam(_Model):
    """Adam (Kingma and Ba, 2015), with DCGAN's defaults."""

    learning_rate: Positive = 2e-4
    b1: Fraction = 0.5
    b2: Fraction = 0.999


class SGD(_Model):
    """Gradient descent without momentum."""

    learning_rate: Positive


class Optimizer(_Model):
    """Exactly one of the optimizers; Adam if none is named."""

    adam: Adam | None = None
    sgd: SGD | None = None

    def model_post_init(self, context: Any) -> None:
        if self.adam and self.sgd:
            raise ValueError("names two optimizers, adam and sgd; keep one")


class Game(_Model):
    """The rules: `jaxgan.games.gan`."""

    loss: Literal["non_saturating", "minimax", "hinge", "wasserstein"] = "non_saturating"
    gradient_penalty: Weight = 0.0
    """Of WGAN-GP, on the discriminator; 10 in the paper."""
    r1: Weight = 0.0
    """Of the discriminator's slope at real images: gamma, 10 in the paper."""
    latent: Count = 100
    conditional: bool = False
    discriminator_turns: Count = 1
    discriminator_start: Whole = 0
    generator_start: Whole = 0
    ema: Fraction = 0.999
    schedule: Literal["alternating", "simultaneous"] = "alternating"
    shared_draws: bool = False


class Run(_Model):
    """What a run writes, when, and when it gives up."""

    sample_every: Count = 100
    samples: Count = 64
    checkpoint_every: Count = 500
    keep: Count = 3
    """Newest checkpoints to keep."""
    keep_every: Whole = 0
    """Also keep each checkpoint whose step is a multiple of this; 0 for none."""
    window: Count = 100
    """Most steps that are compiled into one call. Does not change results."""
    give_up_after: Count = 100
    """Steps in a row refused as not finite after which the run stops."""
    spread: Literal["pmap", "jit"] = "pmap"
    """How steps are spread over devices, see `jaxgan.parallel`."""
    seeds_by: Literal["auto", "map", "vmap"] = "auto"
    """How runs that train together share a device, see `jaxgan.parallel.Seeds`; may change on resume."""


class Evaluation(_Model):
    """Scores while training, by one protocol, into evaluation.jsonl; it changes nothing of the training."""

    every: Whole = 0
    """Steps between scores; 0 for none. The checkpoint that scores best is kept in `best/`."""
    metrics: list[str] = ["frechet"]
    """Names as of `jaxgan evaluate`; the first that has a better and a worse decides which checkpoint is best."""
    num: Count = 2000
    """Images to generate, and most real ones to compare them with."""
    features: Literal["auto", "fashion-cnn", "efficientnet-lite0", "inception"] = "auto"
    weights: str | None = None
    """A file, which the features may need."""


class Experiment(_Model):
    """Everything that decides a run besides the software and the machine."""

    name: str = Field(pattern=r"^[\w.-]+$")
    seed: int = Field(0, ge=0, lt=2**32)
    steps: Count
    batch_size: Count = 128
    """Examples in each player's turn, over all devices."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """What layers compute in; parameters, optimizers, averages, statistics, logits and losses are float32."""
    data: Annotated[Embedded | ImageFolder | TFDS, Field(discriminator="source")]
    feed: Feed = Feed()
    generator: Annotated[DCGANGenerator | MLPGenerator | ResNetGenerator, Field(discriminator="network")]
    discriminator: Annotated[
        DCGANDiscriminator | MLPDiscriminator | ResNetDiscriminator, Field(discriminator="network")
    ]
    generator_optimizer: Optimizer = Optimizer(adam=Adam())
    discriminator_optimizer: Optimizer = Optimizer(adam=Adam())
    game: Game = Game()
    run: Run = Run()
    evaluation: Evaluation = Evaluation()

    def to_toml(self) -> str:
        """The whole configuration, defaults written out."""
        return tomli_w.dumps(self.model_dump(exclude_none=True))


def differences(a: Experiment, b: Experiment) -> list[str]:
    """The dotted keys in which two experiments differ."""
    left, right = dict(_leaves(a.model_dump())), dict(_leaves(b.model_dump()))
    return [key for key in {**left, **right} if left.get(key) != right.get(key)]


def load(path: Path, overrides: Mapping[str, str] | None = None) -> Experiment:
    """Reads an experiment.

    Args:
      path: A TOML file.
      overrides: Dotted keys to values, each read as TOML and, where that fails, as a string.

    Raises:
      InputError: If the file is missing or not TOML, or anything in it or in the overrides is unknown or out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        others = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, others, 1)
        hint = f"did you mean {path.parent / near[0]}?" if near else "give the path of a .toml file"
        raise InputError(f"no such config: {path}; {hint}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read config {path}: {error}") from None
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    return parse(table, overrides, str(path))


def parse(
    table: dict[str, Any], overrides: Mapping[str, str] | None = None, where: str = "config"
) -> Experiment:
    """Validates a table, with overrides merged in. Raises `InputError` as `load` does.

    Where an override names another kind of data or network, the file's keys for the old kind are left out.
    """
    table = copy.deepcopy(table)
    for name, tag in (("data", "source"), ("generator", "network"), ("discriminator", "network")):
        kinds = {_kind(model, tag): model for model in _members(Experiment.model_fields[name].annotation)}
        chosen = kinds.get((overrides or {}).get(f"{name}.{tag}"))
        if chosen and isinstance(table.get(name), dict):
            table[name] = {key: value for key, value in table[name].items() if key in chosen.model_fields}
    for key, text in (overrides or {}).items():
        *parents, last = key.split(".")
        at = table
        for parent in parents:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                raise InputError(f"--{key}: {parent} is a value, not a section")
        at[last] = _value(text)
    try:
        return Experiment.model_validate(table)
    except ValidationError as error:
        raise InputError(f"{where}: " + "; ".join(_explain(e) for e in error.errors())) from None


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _kind(model: type[_Model], tag: str) -> Any:
    return get_args(model.model_fields[tag].annotation)[0]


def _members(annotation: Any) -> list[type[_Model]]:
    """The models that a field's type can hold."""
    found = [annotation] if isinstance(annotation, type) and issubclass(annotation, _Model) else []
    return found + [model for inner in get_args(annotation) for model in _members(inner)]


def _place(loc: Sequence[int | str]) -> tuple[str, list[str]]:
    """Where an error is, as a dotted key of the file, and the keys known there.

    The locations of pydantic also name the chosen member of a union, which is no key of the file.
    """
    key, known, models = [], [], [Experiment]
    for part in loc:
        fields = {name: field for model in models for name, field in model.model_fields.items()}
        tagged = [
            m
            for m in models
            if part in [get_args(f.annotation)[0] for f in m.model_fields.values() if _tag(f)]
        ]
        if tagged and len(models) > 1:
            models = tagged
            continue
        key.append(str(part))
        known, models = list(fields), _members(fields[part].annotation) if part in fields else []
    return ".".join(key), known


def _tag(field: Any) -> bool:
    return field.is_required() and get_origin(field.annotation) is Literal


def _explain(error: Any) -> str:
    """One validation error as "key: what is wrong"."""
    key, known = _place(error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(key.split(".")[-1], known, 1)
        return f"unknown key {key}; " + (
            f"did you mean {near[0]}?" if near else f"known here are {', '.join(known)}"
        )
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        tag = error["ctx"]["discriminator"].strip("'")
        if error["type"] == "union_tag_not_found":
            return f"{key}.{tag} is missing"
        return f"{key}.{tag}: Input should be one of {error['ctx']['expected_tags']}, got {error['ctx']['tag']!r}"
    return f"{key}: {error['msg'].removeprefix('Value error, ')}, got {error['input']!r}"


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
