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
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from jaxgan import reading
from jaxgan.config.settings import OwnSettings, RunSettings, Settings
from jaxgan.errors import InputError, Renamed
from jaxgan.saying import cut
from jaxgan.settings import Model, Registry

TAGS = {"data": "source", "generator": "network", "discriminator": "network", "game": "family"}
"""Sections that can be of several kinds, and the key that says of which."""

MOST = 10
"""Faults of one config that are told, at most."""

SECTIONS = ("run", "feed", "evaluation")
"""Sections of all runs."""

AnySettings = TypeVar("AnySettings", bound=RunSettings)

RENAMED = {"evaluation.metrics": "evaluation.scores"}
"""Keys of older versions, which are read all the same, and what they are called now."""


def differences(a: RunSettings, b: RunSettings) -> list[str]:
    """The dotted keys in which two runs' settings differ."""
    left, right = dict(leaves(a.model_dump())), dict(leaves(b.model_dump()))
    return [key for key in {**left, **right} if left.get(key) != right.get(key)]


def load(path: Path, overrides: Mapping[str, str] | None = None) -> Settings:
    """Reads a config.

    Args:
      path: A TOML file.
      overrides: Dotted keys to values, each read as TOML and, where that fails, as a string.

    Raises:
      InputError: If the file is missing or not TOML, anything in it or in the overrides is unknown or out of range, or
        it is of a run of a game that no config describes.
    """
    return parse(_table(path), overrides, str(path))


def load_any(path: Path, overrides: Mapping[str, str] | None = None) -> RunSettings:
    """Reads the settings of a run: `Settings`, or `OwnSettings` where somebody wrote its game in Python.

    Raises:
      InputError: As `load`.
    """
    table = _table(path)
    return _parse(table, overrides, str(path), OwnSettings if _own(table) else Settings)


def deterministic(path: Path, overrides: Mapping[str, str]) -> bool:
    """What a config, or that of a run's folder, says of `run.deterministic`, before anything of it is checked."""
    if "run.deterministic" in overrides:
        return _value(overrides["run.deterministic"]) is not False
    try:
        run = _table(path / "config.toml" if path.is_dir() else path).get("run")
    except InputError:
        return True
    return not isinstance(run, dict) or run.get("deterministic") is not False


def _table(path: Path) -> dict[str, Any]:
    try:
        text = reading.text_of(path)
    except FileNotFoundError:
        others = sorted(p.name for p in path.parent.glob("*.toml")) if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, others, 1)
        hint = f"did you mean {path.parent / near[0]}?" if near else "give the path of a .toml file"
        raise InputError(f"no such config: {path}; {hint}") from None
    except OSError as error:
        raise InputError(f"cannot read config {path}: {error.strerror or error}") from None
    except reading.Faulty as error:
        raise InputError(f"cannot read config {path}: {error}") from None
    try:
        return reading.parsed_toml(text)
    except reading.Faulty as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None


def _own(table: Mapping[str, Any]) -> bool:
    """Whether a table is of a run of a game that somebody wrote."""
    game = table.get("game")
    return isinstance(game, Mapping) and game.get("family") == "own"


def parse(
    table: dict[str, Any], overrides: Mapping[str, str] | None = None, where: str = "config"
) -> Settings:
    """Validates a table, with overrides merged in. Raises `InputError` as `load` does.

    Where an override names another kind of data, network or game, the file's keys for the old kind are left out. A game
    that does not say its family is a plain GAN.
    """
    if _own(table):
        raise InputError(
            f"{where} is of a run of somebody's own game, which is no config: go on with the run by jaxgan train RUN "
            "--import FILE.py, the file that has the game"
        )
    return _parse(table, overrides, where, Settings)


def own(table: Mapping[str, Any]) -> OwnSettings:
    """Validates settings of a run of a game that somebody wrote. Raises `InputError` as `load` does."""
    return _validated(table, "settings", OwnSettings)


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The caller's settings of a game as they are stored: plain data, lists in the place of tuples.

    Raises:
      InputError: Something is no plain data.
    """
    return own({"name": "plain", "steps": 1, "game": {"settings": dict(settings)}}).game.settings


def changed(settings: AnySettings, keys: Mapping[str, Any]) -> AnySettings:
    """Settings with other values for some keys, validated.

    Args:
      settings: The settings.
      keys: Values for keys of all runs: those of the top, and those of `[run]`, `[feed]` and `[evaluation]` by their
        bare names, no two of which are alike.

    Raises:
      InputError: A key is unknown, or its value out of range.
    """
    table = dict(settings)
    for name, value in keys.items():
        section = next((each for each in SECTIONS if name in type(table[each]).model_fields), None)
        if section is None and name not in table:
            known = [*table, *(name for each in SECTIONS for name in type(table[each]).model_fields)]
            near = difflib.get_close_matches(name, known, 1)
            raise InputError(f"unknown key {name}" + (f"; did you mean {near[0]}?" if near else ""))
        if section is None:
            table[name] = value
        else:
            fields = {**dict(table[section]), name: value}
            made = _validated({**dict(settings), section: fields}, "settings", type(settings))
            table[section] = getattr(made, section)
    return _validated(table, "settings", type(settings))


def shipped(name: str) -> Path:
    """The file of a config that comes with jaxgan, in a checkout or in the installed package.

    Raises:
      InputError: There is none of that name.
    """
    package = Path(__file__).parents[1]
    places = [package.parent / "configs", package / "configs"]
    folder = next((place for place in places if (place / "default.toml").is_file()), places[0])
    path = folder / f"{name}.toml"
    if not path.is_file():
        known = sorted(each.stem for each in folder.glob("*.toml"))
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise InputError(f"no config is called {name!r}; {hint}")
    return path


def _validated(table: Mapping[str, Any], where: str, model: type[AnySettings]) -> AnySettings:
    try:
        return model.model_validate(table)
    except ValidationError as error:
        faults = error.errors()
        more = f"; and {len(faults) - MOST:,} more" if len(faults) > MOST else ""
        told = "; ".join(_explain(fault, model) for fault in faults[:MOST])
        raise InputError(f"{where}: {told}{more}") from None


def _parse(
    table: dict[str, Any], overrides: Mapping[str, str] | None, where: str, model: type[AnySettings]
) -> AnySettings:
    table = copy.deepcopy(table)
    overrides = dict(overrides or {})
    for old, new in RENAMED.items():
        _rename(table, old, new, where)
        if old in overrides:
            _note(f"--{old}", new)
            overrides.setdefault(new, overrides.pop(old))
    for name, tag in TAGS.items() if model is Settings else ():
        kinds = _registry(Settings.model_fields[name])
        kinds.find(overrides.get(f"{name}.{tag}"))
        chosen = kinds.kinds.get(overrides.get(f"{name}.{tag}", ""))
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
    return _validated(table, where, model)


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
    """What an override's text is as one TOML value; the text itself where it is not exactly that."""
    try:
        # What ends the line, such as a comment or another key, fits into no array, and what goes on behind a comma
        # stands in none.
        reading.parsed_toml(f"v = [{text}]")
        return reading.parsed_toml(f"v = {text}")["v"]
    except reading.Faulty:
        return text


def _kind(model: type[Model], tag: str) -> Any:
    return get_args(model.model_fields[tag].annotation)[0]


def _registry(field: FieldInfo) -> Registry:
    """The registry of a field that has one."""
    return next(each for each in field.metadata if isinstance(each, Registry))


def _members(field: FieldInfo) -> list[type[Model]]:
    """The models that a field can hold."""
    for registry in field.metadata:
        if isinstance(registry, Registry):
            return list(registry.kinds.values())
    return _models(field.annotation)


def _models(annotation: Any) -> list[type[Model]]:
    found = [annotation] if isinstance(annotation, type) and issubclass(annotation, Model) else []
    return found + [model for inner in get_args(annotation) for model in _models(inner)]


def _place(loc: Sequence[int | str], model: type[RunSettings]) -> tuple[str, list[str]]:
    """Where an error is, as a dotted key of the file, and the keys known there.

    The locations of pydantic also name the chosen member of a union, which is no key of the file.
    """
    key, known, models = [], [], [model]
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


def _explain(error: Any, model: type[RunSettings]) -> str:
    """One validation error as "key: what is wrong"."""
    key, known = _place(error["loc"], model)
    if isinstance(said := error.get("ctx", {}).get("error"), InputError):
        return f"{key}: {said}"
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
        named = error["ctx"]["tag"]
        expected = error["ctx"]["expected_tags"]
        near = difflib.get_close_matches(named, [each.strip("' ") for each in expected.split(",")], 1)
        top, dot, _ = named.partition(".")
        own = f"--import {top}" if dot else "--import FILE.py or PACKAGE"
        hint = (
            f"did you mean {near[0]}?" if near else f"for your own pass {own}, as no config imports anything"
        )
        return f"{key}.{tag}: Input should be one of {expected}, got {named!r}; {hint}"
    text = error["msg"].removeprefix("Value error, ").replace("a valid tuple", "a valid list")  # TOML's word
    return f"{key}: {text}, got {cut(repr(error['input']), 200)}"


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested tables, by their dotted keys."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value
