"""Settings from TOML files and overrides, with errors that name the key.

For example:

    >>> mlp, data = {"network": "mlp"}, {"source": "embedded"}
    >>> table = {"name": "first", "steps": 20, "data": data, "generator": mlp, "discriminator": mlp}
    >>> settings = parse(table, {"game.r1": "0.1"})
    >>> settings.game.family, settings.game.r1, settings.batch_size
    ('gan', 0.1, 128)
    >>> differences(settings, parse(table, {"seed": "1"}))
    ['seed', 'game.r1']
    >>> parse(table, {"stepz": "100"})
    Traceback (most recent call last):
    jaxgan.errors.InputError: config: unknown key stepz; did you mean steps?
"""

import copy
import difflib
import tomllib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from jaxgan.config.settings import Settings
from jaxgan.errors import InputError, Renamed
from jaxgan.settings import Model, Registry

TAGS = {"data": "source", "generator": "network", "discriminator": "network", "game": "family"}
"""Sections that can be of several kinds, and the key that says of which."""

RENAMED = {"evaluation.metrics": "evaluation.scores"}
"""Keys of older versions, which are read all the same, and what they are called now."""


def differences(a: Settings, b: Settings) -> list[str]:
    """The dotted keys in which two runs' settings differ."""
    left, right = dict(_leaves(a.model_dump())), dict(_leaves(b.model_dump()))
    return [key for key in {**left, **right} if left.get(key) != right.get(key)]


def load(path: Path, overrides: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings of a run.

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
) -> Settings:
    """Validates a table, with overrides merged in. Raises `InputError` as `load` does.

    Where an override names another kind of data, network or game, the file's keys for the old kind are left out. A game
    that does not say its family is a plain GAN.
    """
    table = copy.deepcopy(table)
    overrides = dict(overrides or {})
    for old, new in RENAMED.items():
        _rename(table, old, new, where)
        if old in overrides:
            _note(f"--{old}", new)
            overrides.setdefault(new, overrides.pop(old))
    for name, tag in TAGS.items():
        kinds = {_kind(model, tag): model for model in _members(Settings.model_fields[name])}
        chosen = kinds.get(overrides.get(f"{name}.{tag}"))
        if chosen and isinstance(table.get(name), dict):
            table[name] = {key: value for key, value in table[name].items() if key in chosen.model_fields}
    if isinstance(table.setdefault("game", {}), dict):
        table["game"].setdefault("family", "gan")
    for key, text in overrides.items():
        *parents, last = key.split(".")
        at = table
        for parent in parents:
            at = at.setdefault(parent, {})
            if not isinstance(at, dict):
                raise InputError(f"--{key}: {parent} is a value, not a section")
        at[last] = _value(text)
    try:
        return Settings.model_validate(table)
    except ValidationError as error:
        raise InputError(f"{where}: " + "; ".join(_explain(e) for e in error.errors())) from None


def _rename(table: dict[str, Any], old: str, new: str, where: str) -> None:
    """Moves the value of an old key to the new one, with a warning; a table without it stays as it is."""
    (section, before), (other, after) = old.split("."), new.split(".")
    if not isinstance(table.get(section), dict) or before not in table[section]:
        return
    if after in table.setdefault(other, {}):
        raise InputError(f"{where}: {old} is called {new} now; leave out {old}")
    table[other][after] = table[section].pop(before)
    _note(f"{where}: {old}", new)


def _note(old: str, new: str) -> None:
    warnings.warn(f"{old} is called {new} now", Renamed, stacklevel=5)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text


def _kind(model: type[Model], tag: str) -> Any:
    return get_args(model.model_fields[tag].annotation)[0]


def _members(field: FieldInfo) -> list[type[Model]]:
    """The models that a field can hold."""
    for registry in field.metadata:
        if isinstance(registry, Registry):
            return list(registry.kinds.values())
    return _models(field.annotation)


def _models(annotation: Any) -> list[type[Model]]:
    found = [annotation] if isinstance(annotation, type) and issubclass(annotation, Model) else []
    return found + [model for inner in get_args(annotation) for model in _models(inner)]


def _place(loc: Sequence[int | str]) -> tuple[str, list[str]]:
    """Where an error is, as a dotted key of the file, and the keys known there.

    The locations of pydantic also name the chosen member of a union, which is no key of the file.
    """
    key, known, models = [], [], [Settings]
    for part in loc:
        fields = {name: field for model in models for name, field in model.model_fields.items()}
        tagged = [m for m in models if part in [_kind(m, tag) for tag in _tags(m)]]
        if tagged and len(models) > 1:
            models = tagged
            continue
        key.append(str(part))
        known, models = list(fields), _members(fields[part]) if part in fields else []
    return ".".join(key), known


def _tags(model: type[Model]) -> list[str]:
    return [tag for tag in set(TAGS.values()) if tag in model.model_fields]


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
    text = error["msg"].removeprefix("Value error, ").replace("a valid tuple", "a valid list")  # TOML's word
    return f"{key}: {text}, got {error['input']!r}"


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
