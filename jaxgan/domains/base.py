"""What all domains share: how settings and manifests name them, and what each says of its examples.

A domain is one file. A source says of which domain its examples are by plain data,
`{"domain": "my-sound", "rate": 8000}`, which its runs keep.

For example:

    >>> from jaxgan.settings import Count
    >>> @domain("my-sound")
    ... class Sound(Domain):  # waveforms
    ...     rate: Count = 16_000
    ...     plural: ClassVar[str] = "sounds"
    ...     sheets: ClassVar[tuple[str, ...]] = (".wav",)
    ...
    ...     def decode(self, batch: Batch) -> Batch:  # int16 as stored, numbers in [-1, 1) for networks
    ...         return {name: x / 32768 if x.dtype == jnp.int16 else x for name, x in batch.items()}
    ...
    ...     def encode(self, made: np.ndarray) -> np.ndarray:
    ...         return np.clip(np.rint(made * 32768), -32768, 32767).astype(np.int16)
    ...
    ...     def facts(self, shape: tuple[int, ...]) -> dict[str, int]:  # what modules may ask for
    ...         return {"length": shape[0], "channels": shape[1]}
    ...
    ...     def write(self, shown: Shown, out: Path) -> None:
    ...         ...  # all of them in a row, as a file that plays
    >>> described({"domain": "my-sound", "rate": 8000})
    Sound(domain='my-sound', rate=8000)
    >>> Sound().decoded({"real": Field((4000, 1), "int16")})
    {'real': Field(shape=(4000, 1), dtype='float32')}
"""

import json
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np
from pydantic import ValidationError

from jaxgan.data.sources import Field, Source, domain_of
from jaxgan.errors import InputError
from jaxgan.settings import Class, Model, Registry

DOMAINS = Registry("domain", "jaxgan.domains")
"""The domains by their names."""
REAL = ("real", "labelled_real")
"""Fields that hold real examples: those that a game learns to make, and others of the kind whose labels are known."""
ARRAYS = ".npz"
"""The ending of files that hold samples as arrays, of any domain."""

Batch = dict[str, jax.Array]


class Shown(NamedTuple):
    """Samples, and what is to be seen with them; all as it is stored, `[N, ...]`."""

    made: np.ndarray
    classes: int = 0
    """That they are conditional on, each in turn; 0 for none."""
    given: Mapping[str, np.ndarray] = {}
    """What each was made from, by fields."""
    real: np.ndarray | None = None
    """The real example that each should be like, where there is one."""
    columns: int | None = None
    """How many stand in a row, each with what is beside it; as the domain likes if not given."""


class Reader(NamedTuple):
    """How files are read."""

    read: Callable[[Path], np.ndarray]
    """The example in a file, as `Domain.read`."""
    remarks: Sequence[str] = ()
    """What users are to be told of how they are converted, a line each."""


class Domain(Model):
    """What an example is: what networks and people see of it, and which files and scores it has."""

    domain: str = ""
    """The name that the domain is registered by."""
    plural: ClassVar[str] = "examples"
    """What messages call several of them."""
    sheets: ClassVar[tuple[str, ...]] = ()
    """Endings of the files that show samples, each of them written while a run is trained."""
    reads: ClassVar[frozenset[str]] = frozenset()
    """Endings, in lower case, of files that `read` takes for examples."""
    saves: ClassVar[str] = ""
    """The ending of a file that holds one example, of `save`."""
    scores: ClassVar[tuple[str, ...]] = (
        *("frechet", "frechet_infinity", "kernel", "precision", "recall", "density", "coverage"),
        "memorisation",
    )
    """Names of the scores that make sense (`jaxgan.scoring.scores`)."""
    features: ClassVar[tuple[str, ...]] = ("numbers",)
    """Names of the feature networks that take such examples (`jaxgan.scoring.features`)."""

    def decode(self, batch: Batch) -> Batch:
        """Examples as networks see them.

        Each example is decoded by itself: a row of the result depends on that row alone.

        Args:
          batch: Some of the fields, as they are stored, `[N, ...]` each; any may be missing. Traced.

        Returns:
          Floating-point numbers in the place of the fields of `REAL` and of whatever else is of this domain; all else
          as it is, and more fields where networks need them, such as a mask. The shape of an example may be another
          one.
        """
        return batch

    def encode(self, made: np.ndarray) -> np.ndarray:
        """What networks make, `[N, ...]`, as "real" is stored: the way back from `decode`, out of range is clipped."""
        return made

    def facts(self, shape: tuple[int, ...]) -> dict[str, int]:
        """What modules may be told of examples, by names of `jaxgan.networks.registry.EXAMPLE_FACTS`.

        Args:
          shape: The shape of one example as networks see it.
        """
        return {}

    def check(self, field: Field) -> None:
        """Refuses what is stored in another way than this domain has it.

        Args:
          field: "real", as it is stored.

        Raises:
          InputError: The shape or the dtype is another one.
        """

    def auto(self, shape: tuple[int, ...]) -> str:
        """The feature network of examples of a shape, as they are stored, where no other is asked for."""
        return self.features[0]

    @abstractmethod
    def write(self, shown: Shown, out: Path) -> None:
        """Writes samples for people as one file, at once, into a folder that is there.

        Args:
          shown: The samples.
          out: The file; its ending is one of `sheets`.
        """

    def read(self, file: Path, field: Field) -> np.ndarray:
        """The example in a file, as it is stored, of its own size.

        Args:
          file: Its ending is one of `reads`.
          field: What it is to be, sizes aside.

        Raises:
          InputError: The file cannot be read.
        """
        raise InputError(f"{file}: {self.plural} are not read from files")

    def reader(self, name: str, field: Field, files: Sequence[Path]) -> "Reader":
        """How files that belong together are read, once it is known what all of them are.

        Args:
          name: The field that they become.
          field: What that is, sizes aside.
          files: All of them; some may be unreadable.

        Raises:
          InputError: They cannot be read in one way.
        """
        return Reader(lambda file: self.read(file, field))

    def save(self, example: np.ndarray, out: Path) -> None:
        """Writes one example, as it is stored, as one file, at once."""
        raise InputError(f"{out}: {self.plural} are not saved one by one")

    def baseline(self, given: np.ndarray, real: np.ndarray) -> np.ndarray | None:
        """What a sample that was made from `given` has to beat: that itself, as alike to `real` as can be had for free.

        None where there is nothing of the kind.
        """
        return given if given.shape == real.shape else None

    def decoded(self, fields: Mapping[str, Field]) -> dict[str, Field]:
        """The fields of examples as `decode` gives them."""
        stored = {name: jax.ShapeDtypeStruct((1, *shape), dtype) for name, (shape, dtype) in fields.items()}
        seen = jax.eval_shape(self.decode, stored)  # sorted by names
        names = dict.fromkeys((*(name for name in fields if name in seen), *seen))
        return {name: Field(seen[name].shape[1:], str(seen[name].dtype)) for name in names}


def domain(name: str) -> Callable[[Class], Class]:
    """Registers a domain under a name.

    Returns:
      A decorator that gives the class with the field `domain` of that name.

    Raises:
      ValueError: The name is taken.
    """
    return DOMAINS.named(name)


def described(said: Mapping[str, Any] | Domain) -> Domain:
    """The domain that plain data describes.

    Raises:
      InputError: There is no such domain, or it has other fields.
    """
    if isinstance(said, Domain):
        return said
    if isinstance(said, Mapping):
        DOMAINS.find(said.get("domain"))
    try:
        return DOMAINS.validate_json(json.dumps(said))
    except TypeError as error:
        raise InputError(f"the data's domain must be plain data, and is {said!r}: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part not in DOMAINS.kinds)
        why = f"{where}: {first['msg']}" if where else first["msg"]
        raise InputError(
            f"the data is of a domain that cannot be made of {said!r} ({why}); there are {', '.join(DOMAINS.kinds)}"
        ) from None


def of(source: Source) -> Domain:
    """The domain of a source's examples.

    Raises:
      InputError: As `described`.
    """
    return described(domain_of(source))
