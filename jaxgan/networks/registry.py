"""Networks by the names that settings have for them. The fields of a Linen module are its settings, written once.

For example:

    >>> from jaxgan.settings import Count
    >>> @network("my-encoder", "encoder", "example")
    ... class SmallEncoder(nn.Module):
    ...     latent: Count = 2  # a fact: the game says how large codes are
    ...     width: Count = 64  # a setting
    ...     dtype: Any = jnp.float32
    >>> settings = NETWORKS["encoder"].validate({"network": "my-encoder", "width": 8})
    >>> module = settings.build(latent=3)
    >>> type(module).__name__, module.latent, module.width
    ('SmallEncoder', 3, 8)
"""

import ast
import dataclasses
import functools
import inspect
import textwrap
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, TypeVar, get_origin

import flax.linen as nn
import numpy as np
from pydantic import Field, ValidationError

from jaxgan.settings import Model, Registry, derived

EXAMPLE_FACTS = ("resolution", "channels", "length", "frames", "vocabulary")
"""Fields that a domain tells of its examples, where it has such a thing (`jaxgan.domains`)."""

FACTS = ("shape", *EXAMPLE_FACTS, "classes", "latent", "scale", "dtype")
"""Fields that come from the data and the game, by the same names in every module; all others are settings."""

NETWORKS = {
    section: Registry("network", "jaxgan.networks") for section in ("generator", "discriminator", "encoder")
}
"""What the sections of a config can name."""

Class = TypeVar("Class", bound=type)


class FieldError(ValueError):
    """A field of a network that does not fit its others: which, and why."""

    def __init__(self, network: str, field: str, reason: str) -> None:
        """`network` is the name of the module's class."""
        super().__init__(f"{network}.{field}: {reason}")
        self.field = field
        self.reason = reason


class Modules(Model):
    """Settings of a module, or of several that belong together."""

    module: ClassVar[type[nn.Module] | None] = None
    """The module whose fields these are; None for settings of several modules."""

    def build(self, **facts: Any) -> Any:
        """The module with these settings, and with those of `FACTS` that it has fields for.

        Raises:
          FieldError: A setting does not fit the facts.
        """
        assert self.module is not None
        names = [field.name for field in dataclasses.fields(self.module)]
        known = {name: getattr(self, name) for name in names if name in type(self).model_fields}
        return self.module(**known, **{name: value for name, value in facts.items() if name in names})


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass

    class _Unread(ModelMetaclass):
        """Keeps type checkers from reading which arguments a class takes off the fields that it lists."""

    class _SettingsOf(Modules, metaclass=_Unread):
        """What `settings_of` makes, as type checkers see it: which fields it has, only the module says."""

        def __init__(self, **settings: Any) -> None:
            """Takes settings of the module, and those of a class that adds some."""
            ...

        def __getattr__(self, name: str) -> Any:
            """A setting of the module."""
            ...


class Network(Modules):
    """Settings of a network that a config names."""

    network: str
    section: ClassVar[str] = ""
    """The key of `NETWORKS` that it is registered under."""
    roles: ClassVar[tuple[str, ...]] = ()
    """What it can be used as, which families ask for; see `network`."""

    def __reduce__(self) -> Any:
        """Pickles the values: the class has the name of the module, which is another one."""
        return _restored, (self.section, self.model_dump())


def _restored(section: str, values: dict[str, Any]) -> Network:
    return NETWORKS[section].validate(values)


def network(name: str, section: str, *roles: str) -> Callable[[Class], Class]:
    """Registers a module, or settings of several modules, under a name.

    Args:
      name: What `network = "..."` says in the section.
      section: A key of `NETWORKS`.
      roles: What it can be used as. Generators: "latent" makes examples from latents and takes labels;
        "decoder" makes them from codes of a few numbers; "example" makes examples from others of the same size.
        Discriminators: "example" judges examples, "label" those of given classes too, "code" vectors. A network that
        one family alone can use has the family's name for a role.

    Returns:
      A decorator that gives the class back; modules are `checked` from then on.

    Raises:
      ValueError: The name is taken.
    """

    def register(cls: Class) -> Class:
        base: Any = settings_of(checked(cls)) if issubclass(cls, nn.Module) else cls
        fields: Any = {"network": (Literal[name], name)}
        kind = derived(cls, base, Network, **fields)
        kind.section, kind.roles = section, roles
        NETWORKS[section].add(kind)
        return cls

    return register


def facts_of(module: type[nn.Module]) -> frozenset[str]:
    """The fields of a module that come from the data and the game."""
    return frozenset(field.name for field in dataclasses.fields(module)) & frozenset(FACTS)


def settings_of(module: type[nn.Module]) -> "type[_SettingsOf]":
    """The settings of a module: its fields but for `FACTS`, with their types, bounds, defaults and documentation."""
    fields = {name: field for name, field in _fields(module).items() if name not in FACTS}
    made = derived(module, Modules, **fields)
    made.module = module
    return made


def checked(module: Class) -> Class:
    """Lets a module refuse fields that are out of the bounds of their types, wherever it is made.

    A module for images of a few sizes lists these as `resolutions`, and functions of a module that raise `FieldError`
    where its fields do not fit each other as `checks`; both are attributes of the class, no fields.

    Raises:
      FieldError: From then on, as the module is made.
    """
    typed = derived(module, Model, **_fields(module))
    inherited = module.__post_init__

    def __post_init__(self: Any) -> None:
        supported = getattr(self, "resolutions", None)
        if supported and self.resolution not in supported:
            reason = f"there is no {self.resolution}x{self.resolution} network; supported are"
            raise FieldError(type(self).__name__, "resolution", f"{reason} {', '.join(map(str, supported))}")
        given = {name: getattr(self, name) for name in typed.model_fields}
        try:
            typed.model_validate({k: v.item() if isinstance(v, np.generic) else v for k, v in given.items()})
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{first['msg']}, got {first['input']!r}"
            raise FieldError(type(self).__name__, str(first["loc"][0]), reason) from None
        for check in getattr(self, "checks", ()):
            check(self)
        inherited(self)

    module.__post_init__ = __post_init__
    return module


def _fields(module: type) -> dict[str, Any]:
    """The fields of a module that have a type and so bounds, as `create_model` takes them."""
    hints: dict[str, Any] = {}
    docs: dict[str, str] = {}
    for cls in reversed(module.__mro__):
        if issubclass(cls, nn.Module) and cls is not nn.Module:
            hints |= inspect.get_annotations(cls, eval_str=True)
            docs |= _docs(cls)
    found = {}
    for field in dataclasses.fields(module):
        hint = hints.get(field.name, Any)
        if field.name in ("parent", "name") or hint is Any:
            continue
        if get_origin(hint) is tuple:
            hint = Annotated[hint, Field(strict=False)]  # TOML has lists alone
        default = ... if field.default is dataclasses.MISSING else field.default
        found[field.name] = (hint, Field(default, description=docs.get(field.name)))
    return found


@functools.cache
def _docs(cls: type) -> dict[str, str]:
    """The strings below the fields of a class, by the fields' names; none where there is no file."""
    try:
        tree, *more = ast.parse(textwrap.dedent(inspect.getsource(cls))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return {}
    if more or not isinstance(tree, ast.ClassDef) or tree.name != cls.__name__:
        return {}  # Python 3.13 gives the whole file for a class that was made by `exec`
    return {
        field.target.id: inspect.cleandoc(text.value.value)
        for field, text in pairwise(tree.body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    }
