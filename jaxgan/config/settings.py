"""The settings of a run: data, networks, optimizers, the game, and what is written when.

For example:

    >>> mlp, data = {"network": "mlp"}, {"source": "embedded"}
    >>> table = {"name": "first", "steps": 20, "data": data, "generator": mlp, "discriminator": mlp}
    >>> settings = Settings.model_validate(table)
    >>> settings.batch_size, settings.data.resolution, settings.run.checkpoint_every
    (128, 28, 500)
    >>> settings.to_toml().splitlines()[:3]
    ['name = "first"', 'seed = 0', 'steps = 20']
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import tomli_w
from pydantic import Field, SerializeAsAny, field_validator

from jaxgan.data.sources import DATA, Data
from jaxgan.families import FAMILIES, GAN, Family
from jaxgan.networks.registry import NETWORKS, Network
from jaxgan.optimizers import Adam, Optimizer
from jaxgan.settings import Count, Model, Numbers, Place, Whole


class Feed(Model):
    """How examples reach the device. None of it changes their order."""

    resident: bool | None = None
    """Keep all of the data on the device; by default whenever it is smaller than `resident_megabytes`."""
    resident_megabytes: Count = 2048
    workers: Annotated[int, Field(ge=0, le=256)] = 2
    """Processes that read data which is not resident; 0 reads in threads of the main process."""


class Run(Model):
    """What a run writes, when, and when it gives up."""

    sample_every: Count = 100
    samples: Numbers = 64
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
    deterministic: bool = True
    """On a GPU, whether only operations are compiled that repeat their bits, see `jaxgan.backends`; elsewhere they
    always do. May change on resume."""
    seeds_by: Literal["auto", "map", "vmap"] = "auto"
    """How runs that train together share a device, see `jaxgan.parallel.Seeds`; may change on resume."""


class Evaluation(Model):
    """Scores while training, by one protocol, into evaluation.jsonl; it changes nothing of the training."""

    every: Whole = 0
    """Steps between scores; 0 for none. The checkpoint that scores best is kept in `best/`."""
    scores: list[str] = ["frechet"]
    """Names as of `jaxgan evaluate`; the first that has a better and a worse decides which checkpoint is best."""
    num: Count = 2000
    """Images to generate, and most real ones to compare them with."""
    features: str = "auto"
    """As of `jaxgan evaluate`."""
    weights: Place | None = None
    """A file, which the features may need."""


class RunSettings(Model):
    """What decides a run of any game."""

    name: str = Field(pattern=r"^[\w.-]+$")
    seed: int = Field(0, ge=0, lt=2**32)
    steps: Count
    batch_size: Count = 128
    """Examples in each player's turn, over all devices."""
    feed: Feed = Feed()
    run: Run = Run()
    evaluation: Evaluation = Evaluation()

    def to_toml(self) -> str:
        """The whole configuration, defaults written out; what is of all runs comes last."""
        told = self.model_dump(exclude_none=True)
        last = {name: told.pop(name) for name in ("feed", "run", "evaluation")}
        return tomli_w.dumps(told | last)


class OwnGame(Model):
    """What is to be known, as plain data, of a game that somebody wrote in Python."""

    family: Literal["own"] = "own"
    conditional: bool = False
    """Whether samples are made of labels."""
    given: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Fields of an example that samples are made from."""
    latent: Whole = 0
    """Numbers of the field "latent" that samples can be made from, 0 where that cannot be given."""
    latent_kind: Literal["normal", "uniform", "mixture"] = "normal"
    latent_modes: Count = 10
    """See `jaxgan.objectives.latents.Latents`."""
    shown: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] = {}
    """What the progress bar shows, see `jaxgan.families.Built.shown`."""
    settings: dict[str, Any] = {}
    """The caller's own settings, which make the game."""

    @field_validator("settings")
    @classmethod
    def _plain(cls, settings: dict[str, Any]) -> dict[str, Any]:
        return {name: _plain(value, f"settings[{name!r}]") for name, value in settings.items()}


def _plain(value: Any, where: str) -> Any:
    """A value of TOML: with lists in the place of tuples; raises ValueError for anything else."""
    if isinstance(value, bool | int | float | str):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{where} is {value}; it must be finite")
        return value
    if isinstance(value, list | tuple):
        return [_plain(each, f"{where}[{i}]") for i, each in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return {name: _plain(each, f"{where}[{name!r}]") for name, each in value.items()}
    raise ValueError(
        f"{where} is of type {type(value).__name__}, and not plain data: text, numbers, truth values, lists and tables"
    )


class OwnSettings(RunSettings):
    """Settings of a run of a game that somebody wrote in Python; the game itself is not among them."""

    data: Annotated[SerializeAsAny[Data], DATA] | None = None
    """None where the examples came from Python."""
    game: OwnGame = OwnGame()


class Settings(RunSettings):
    """Everything that decides a run of a config besides the software and the machine."""

    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """What layers compute in; parameters, optimizers, averages, statistics, logits and losses are float32."""
    data: Annotated[SerializeAsAny[Data], DATA]
    generator: Annotated[SerializeAsAny[Network], NETWORKS["generator"]]
    discriminator: Annotated[SerializeAsAny[Network], NETWORKS["discriminator"]]
    generator_optimizer: Optimizer = Optimizer(adam=Adam())
    discriminator_optimizer: Optimizer = Optimizer(adam=Adam())
    game: Annotated[SerializeAsAny[Family], FAMILIES] = GAN()
