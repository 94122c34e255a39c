"""What all settings are made of: frozen typed models, kinds of numbers, and names that choose between models.

For example:

    >>> from typing import Literal
    >>> class Ring(Model):
    ...     shape: Literal["ring"] = "ring"
    ...     radius: Count = 1
    >>> SHAPES = Registry("shape")
    >>> SHAPES.add(Ring)
    >>> SHAPES.validate({"shape": "ring", "radius": 3})
    Ring(shape='ring', radius=3)
"""

import functools
import operator
from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    create_model,
)
from pydantic_core import CoreSchema, core_schema

from jaxgan import imports
from jaxgan.errors import InputError

Fraction = Annotated[float, Field(ge=0, lt=1)]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0, lt=2**31)]
Whole = Annotated[int, Field(ge=0, lt=2**31)]
Factor = Annotated[float, Field(ge=0)]
Width = Annotated[int, Field(gt=0, le=2**16)]
"""Features of a layer. Bounds of sizes are far above what anybody trains: what is beyond them would not fail, but
hang, as it is built or traced. Whether what is within them fits a machine, `jaxgan.memory` says."""
Depth = Annotated[int, Field(gt=0, le=256)]
"""Layers or blocks one after another."""
MOST_PIXELS = 2**12
Pixels = Annotated[int, Field(gt=0, le=MOST_PIXELS)]
"""Pixels of a side of an image."""
Turns = Annotated[int, Field(gt=0, le=2**10)]
"""Turns of a player in one step."""
MOST_NUMBERS = 2**20
Numbers = Annotated[int, Field(gt=0, le=MOST_NUMBERS)]
"""Numbers of a latent, a code or a caption, and samples of a sheet."""


def place(text: str) -> str:
    """The name of a file or folder as it is, where it can be one.

    Raises:
      ValueError: It is empty, which systems take for the current folder, or is no text that a config can hold.
    """
    if not text:
        raise ValueError("is empty; name a file or a folder, and . for the current one")
    if "\0" in text or any(0xD800 <= ord(letter) < 0xE000 for letter in text):
        raise ValueError("is no text, which a config cannot hold; rename it, or name a link to it")
    return text


Place = Annotated[str, AfterValidator(place)]
"""The name of a file or folder."""


def places(model: type[BaseModel]) -> list[str]:
    """The fields of settings that are a `Place`, or one or none."""
    marks = {
        name: (*field.metadata, *(mark for kind in get_args(field.annotation) for mark in get_args(kind)))
        for name, field in model.model_fields.items()
    }
    return [name for name, found in marks.items() if AfterValidator(place) in found]


Class = TypeVar("Class", bound=type)


class Model(BaseModel):
    """Settings: no unknown keys, no silent conversions, never changed."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def _is(kind: type[Model], found: Any) -> bool:
    """Whether a registered model is what code from outside calls it: itself, its module, or what it was made of."""
    return isinstance(found, type) and found in (kind, getattr(kind, "module", None), kind.__mro__[1])


def derived(cls: type, *bases: type, **fields: Any) -> Any:
    """A model with the name and documentation of a class, which extends others by fields as `create_model` takes them.

    Pydantic would look for strings below its fields in the source of all callers, which takes 20 ms each time.
    """
    how: dict[str, Any] = {"__base__": bases, "__module__": cls.__module__, "__doc__": cls.__doc__}
    made: Any = create_model(
        cls.__name__, **how, __cls_kwargs__={"use_attribute_docstrings": False}, **fields
    )
    made.model_config["use_attribute_docstrings"] = True  # of classes that extend it
    return made


class Registry:
    """Models that a section of a config can hold, each by the name that one key of it, the tag, gives.

    A field annotated with a registry takes what is registered when it is validated, so a model may join later.
    """

    def __init__(self, tag: str, group: str | None = None) -> None:
        """Begins with no model.

        Args:
          tag: The key that says which model it is.
          group: The group of entry points by which distributions offer more, see `jaxgan.imports`; None for none.
        """
        self.tag: str = tag
        self.group: str | None = group
        self._kinds: dict[str, type[Model]] = {}

    @property
    def kinds(self) -> Mapping[str, type[Model]]:
        """The models by their names, in the order of these."""
        return dict(sorted(self._kinds.items()))

    def add(self, kind: type[Model]) -> None:
        """Adds a model whose field `tag` is a `Literal` of its name.

        Raises:
          ValueError: The name is taken.
        """
        (name,) = get_args(kind.model_fields[self.tag].annotation)
        if name in self._kinds:
            raise ValueError(f"the {self.tag} {name!r} is registered already; choose another name")
        self._kinds[name] = kind
        self.__dict__.pop("_adapter", None)

    def named(self, name: str) -> Callable[[Class], Class]:
        """Registers a model under a name.

        Returns:
          A decorator that gives the model with the tag as one more field, of that name.

        Raises:
          ValueError: The name is taken.
        """

        def register(cls: Class) -> Class:
            kind = derived(cls, cls, **{self.tag: (Literal[name], name)})
            self.add(kind)
            return kind

        return register

    def find(self, name: Any) -> bool:
        """Whether a model has that name, also where it is code from outside that may be imported.

        Raises:
          InputError: What the name means is of another kind, or see `jaxgan.imports.find`.
        """
        if not isinstance(name, str):
            return False
        if name in self._kinds or self.group is None:
            return name in self._kinds
        found = imports.find(self.group, name)
        if found is None:
            return False
        if name not in self._kinds:  # else it was registered by that name as it was imported
            kind = next((kind for kind in self._kinds.values() if _is(kind, found)), None)
            if kind is None:
                what = (
                    f"a {type(found).__name__}"
                    if not isinstance(found, type)
                    else f"the class {found.__name__}"
                )
                raise InputError(f"{name} is {what}, and not registered as a {self.tag} of this section")
            tagged: Any = {self.tag: (Literal[name], name)}
            self.add(derived(kind, kind, **tagged))
        return True

    @functools.cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        annotated: Any = Annotated  # to type checkers these types are not known
        union: Any = functools.reduce(operator.or_, self.kinds.values())
        return TypeAdapter(annotated[union, Field(discriminator=self.tag)] if len(self._kinds) > 1 else union)

    def validate(self, value: Any) -> Any:
        """The model that a table is of, or an instance of one as it is; raises pydantic's ValidationError."""
        if isinstance(value, Mapping):
            self.find(value.get(self.tag))
        return self._adapter.validate_python(value)

    def validate_json(self, text: str) -> Any:
        """The model that JSON is of, where lists stand for tuples; raises pydantic's ValidationError."""
        return self._adapter.validate_json(text)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Lets `Annotated[Base, registry]` be a field's type, with the base that the models share."""
        return core_schema.no_info_wrap_validator_function(
            lambda value, _: self.validate(value), handler(source)
        )
