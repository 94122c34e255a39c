"""Saving and restoring states, so that a damaged or unfinished save is never mistaken for a good one.

A save counts once its folder has the name of its step, with `sha256.json` in it: the SHA-256 of every other file there
but hidden ones such as .DS_Store, which systems leave in any folder and which go with it.
Orbax by itself restores a flipped byte without a word. The folder of the saves may be shared with other things: only
saves are replaced or removed. States are saved as flat tables of host arrays by path, so they can be
inspected without the program that made them.

For example:

    >>> saves = Checkpoints(Path("checkpoints"))
    >>> saves.save(5, {"params": {"bias": np.ones(3)}}, note={"epsilon": 1.5})
    >>> saves.wait()
    >>> step, table = saves.newest(print)
    >>> step, table["params/bias"].tolist(), saves.note(step)
    (5, [1.0, 1.0, 1.0], {'epsilon': 1.5})
    >>> unflatten({"params": {"bias": np.zeros(2)}}, table)
    Traceback (most recent call last):
    jaxgan.errors.InputError: the checkpoint is of another state: params/bias is float64[3], not float64[2]
"""

import errno
import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.errors import InputError, RunError, replacing
from jaxgan.reading import Faulty
from jaxgan.runs import stored

Table = dict[str, np.ndarray]
T = TypeVar("T")
DIGESTS = "sha256.json"
NOTE = "note.json"
"""What is said of a state, where there is something to say."""
SAVING = ".saving"
"""The folder in which a save is made ready, and how those begin that are being removed."""
MARK = "made-by-jaxgan"
"""A file in `SAVING`, the first there and the last to go, by which it is told from a user's folder of that name."""
ORBAX = "_CHECKPOINT_METADATA"
"""A file in all that Orbax writes: older versions of jaxgan left that without digests where a save was cut off."""
OVERHEAD = 64 * 2**10
"""Bytes of metadata beside the arrays, at most about this many."""


def flatten(tree: Any) -> Table:
    """Every leaf as a host array of its own, by path such as "params/generator/Dense_0/kernel".

    Random keys are stored as their data; leaves of size zero, which hold nothing and which Orbax refuses, are left out.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {_name(path): np.array(_data(leaf)) for path, leaf in leaves if leaf.size}


def unflatten(template: T, table: Mapping[str, np.ndarray]) -> T:
    """The tree of `template`, arrays or `jax.ShapeDtypeStruct`s, with the leaves of `table`.

    Raises:
      InputError: If paths, shapes or dtypes differ.
    """
    leaves, treedef = jax.tree_util.tree_flatten_with_path(template)
    names = [_name(path) for path, _ in leaves]
    table = {
        **{
            name: np.zeros(x.shape, x.dtype) for name, (_, x) in zip(names, leaves, strict=True) if not x.size
        },
        **table,
    }
    if missing := set(names) ^ set(table):
        raise InputError(f"the checkpoint is of another state: {sorted(missing)[0]} is on one side only")
    found = []
    for name, (_, leaf) in zip(names, leaves, strict=True):
        value = table[name]
        typed_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        expected = jax.eval_shape(jax.random.key_data, leaf) if typed_key else leaf
        if value.shape != expected.shape or value.dtype != expected.dtype:
            raise InputError(
                f"the checkpoint is of another state: {name} is {value.dtype}{list(value.shape)}, "
                f"not {expected.dtype}{list(expected.shape)}"
            )
        found.append(jax.random.wrap_key_data(jnp.asarray(value)) if typed_key else value)
    return jax.tree_util.tree_unflatten(treedef, found)


def _name(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _data(leaf: Any) -> Any:
    return jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf


def sha256(table: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over path, dtype, shape and bytes of every leaf, in path order: equal only for equal states."""
    digest = hashlib.sha256()
    for name in sorted(table):
        value = np.ascontiguousarray(table[name])
        digest.update(f"{name}\n{value.dtype}\n{list(table[name].shape)}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


class Damaged(Exception):
    """Why a checkpoint cannot be used."""


class Checkpoints:
    """The checkpoints of one run, in `directory/<step>/`."""

    def __init__(self, directory: Path, keep: int = 3, keep_every: int = 0) -> None:
        """Keeps the newest `keep`, and every one whose step is a multiple of `keep_every` (0 for none)."""
        self.directory: Path = directory.absolute()
        self.keep: int = keep
        self.keep_every: int = keep_every
        self._writer = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def steps(self) -> list[int]:
        """Steps of the finished saves, ascending. They may still be damaged."""
        return sorted(step for step, folder in self._folders() if (folder / DIGESTS).is_file())

    def _folders(self) -> list[tuple[int, Path]]:
        """All that is called as a step is."""
        if not self.directory.is_dir():
            return []
        return [(int(p.name), p) for p in self.directory.iterdir() if _STEP.fullmatch(p.name)]

    def _ours(self, folder: Path) -> bool:
        """Whether a folder called as a step is a save, whole or not: nothing else is ever removed or replaced.

        Where `directory` is a link, to a disk with more room, anything may lie beside the saves, also what Orbax wrote
        for others.
        """
        marks = (DIGESTS,) if self.directory.is_symlink() else (DIGESTS, ORBAX)
        return not folder.is_symlink() and any((folder / mark).is_file() for mark in marks)

    def _remove(self, folder: Path) -> None:
        if not self._ours(folder):
            return
        gone = self.directory / f"{SAVING}-{folder.name}"
        with suppress(OSError):  # at once: what is half removed has perhaps lost its marks
            folder = folder.rename(gone)
        _discard(folder, DIGESTS)

    def refuse_strange(self) -> None:
        """Refuses a folder to which no save can be written for what a user has there.

        Raises:
          InputError: It is no folder, or a link to one that holds something else by a name that saves need.
        """
        place = self.directory / SAVING
        if self.directory.exists() and not self.directory.is_dir():
            raise InputError(f"{self.directory} is no folder, so nothing can be saved there; move it")
        if self.directory.is_symlink() and not _made_here(place):
            raise InputError(f"{place} was not made by jaxgan, which needs that name to save; move it")

    def save(self, step: int, tree: Any, note: Mapping[str, Any] | None = None) -> None:
        """Copies the tree to the host and writes it in the background, with a note; one save at a time.

        Raises:
          RunError: If the save before this one failed.
        """
        self.wait()
        self._pending = self._writer.submit(self._write, step, flatten(tree), note)

    def wait(self) -> None:
        """Waits for the save under way.

        Raises:
          RunError: If it failed, naming its path.
        """
        pending, self._pending = self._pending, None
        if pending:
            pending.result()

    def _write(self, step: int, table: Table, note: Mapping[str, Any] | None) -> None:
        folder, place = self.directory / str(step), self.directory / SAVING
        saving = place / str(step)
        try:
            self.refuse_strange()
        except InputError as error:
            raise RunError(f"cannot save a checkpoint to {folder}: {error}") from None
        try:
            self._clear(place)
            self._reserve(sum(x.nbytes for x in table.values()) + OVERHEAD, place)
            with _one:
                _checkpointer().save(saving, table, force=True)
            if note:
                (saving / NOTE).write_text(json.dumps(note, indent=1), encoding="utf-8")
            files = {
                p.relative_to(saving).as_posix(): _file_sha256(p) for p in _files(saving) if not _hidden(p)
            }
            with replacing(saving / DIGESTS) as partial:
                partial.write_text(json.dumps(files, indent=1), encoding="utf-8")
            self._remove(folder)
            saving.rename(folder)
        except Exception as error:  # Orbax and TensorStore raise many kinds, all of them a save that failed
            _discard(place, MARK)
            raise RunError(
                f"cannot save a checkpoint to {folder}: {_reason(error)}; {self._hint(folder)} and run again"
            ) from error
        _discard(place, MARK)
        for old in self.steps()[: -self.keep]:
            if not self.keep_every or old % self.keep_every:
                self._remove(self.directory / str(old))

    def _hint(self, folder: Path) -> str:
        in_the_way = folder.exists() and not self._ours(folder)
        return "what is there is no checkpoint, so move it" if in_the_way else "free space there"

    def _clear(self, place: Path) -> None:
        """Makes the folder of saves that are under way, empty; a link of that name goes, and not what it leads to."""
        self.directory.mkdir(parents=True, exist_ok=True)
        shared = self.directory.is_symlink()
        if place.is_symlink() or place.is_file():
            place.unlink()
        _discard(place, MARK)
        for rest in self.directory.glob(f"{SAVING}-*"):
            if not shared or (_STEP.fullmatch(rest.name[len(SAVING) + 1 :]) and self._ours(rest)):
                _discard(rest, DIGESTS)
        for rest in self.directory.glob("*.orbax-checkpoint-tmp*") if not shared else ():  # of older versions
            shutil.rmtree(rest, ignore_errors=True)
        place.mkdir()
        (place / MARK).touch()

    def _reserve(self, size: int, place: Path) -> None:
        """Fails where the disk has no room for `size` bytes, with one reason, unlike Orbax's writers."""
        probe = place / "room"
        try:
            with probe.open("xb") as file:
                if hasattr(os, "posix_fallocate"):
                    os.posix_fallocate(file.fileno(), 0, size)
                elif shutil.disk_usage(place).free < size:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            probe.unlink(missing_ok=True)

    def read(self, step: int) -> Table:
        """The table saved at `step`.

        Raises:
          Damaged: If a file is missing, truncated, changed, or none of those that were saved, or if the state is of
            another step.
        """
        folder = self.directory / str(step)
        try:
            listed = stored.digests_of(folder / DIGESTS)
        except Faulty as error:
            raise Damaged(str(error)) from None
        files = _files(folder)
        there = {p.relative_to(folder).as_posix() for p in files} - {DIGESTS}
        seen = {p.relative_to(folder).as_posix() for p in files if not _hidden(p)}
        if other := sorted(seen - {DIGESTS, *listed}):
            raise Damaged(f"{other[0]} is not listed in {DIGESTS}")
        for name, digest in listed.items():
            if name not in there or not (folder / name).is_file():
                raise Damaged(f"{name} is missing")
            if _file_sha256(folder / name) != digest:
                raise Damaged(f"{name} has changed since it was written")
        try:
            table = dict(_checkpointer().restore(folder))
        except Exception as error:  # whatever Orbax makes of files that are not a checkpoint
            raise Damaged(_reason(error)) from error
        if strange := [
            name for name, value in table.items() if not isinstance(value, np.ndarray | np.generic)
        ]:
            raise Damaged(f"{strange[0]} is no array")
        if "step" in table and not np.array_equal(table["step"], step):
            raise Damaged("its state is of another step than its name says")
        return table

    def note(self, step: int) -> dict[str, Any]:
        """What was noted with the save at `step`, which `read` found good; empty for nothing."""
        return stored.note_of(self.directory / str(step) / NOTE)

    def newest(self, warn: Callable[[str], None]) -> tuple[int, Table] | None:
        """The newest good save with a warning for each newer one that is damaged or unfinished.

        Raises:
          InputError: If there are finished saves, and all are damaged.
        """
        for step, folder in sorted(self._folders(), reverse=True):
            if self.directory.is_symlink() and not self._ours(folder):
                continue
            try:
                return step, self.read(step)
            except Damaged as error:
                warn(f"checkpoint {self.directory / str(step)} is left out: {error}")
        if self.steps():
            raise InputError(
                f"every checkpoint in {self.directory} is damaged; restore one, or remove that folder to start over"
            )
        return None

    def forget_others(self, step: int) -> None:
        """Removes the saves of all other steps."""
        for other, folder in self._folders():
            if other != step:
                self._remove(folder)

    def forget_after(self, step: int) -> None:
        """Removes the saves of later steps, which `newest` left out, once the run goes on from `step`."""
        for other, folder in self._folders():
            if other > step:
                self._remove(folder)


_STEP = re.compile(r"0|[1-9][0-9]{0,9}")
"""How a save's folder is called."""


def _made_here(place: Path) -> bool:
    """Whether nothing is lost with a folder of saves under way: it has the mark, or is empty, or is not there."""
    if place.is_symlink() or not place.is_dir():
        return not (place.is_symlink() or place.exists())
    return (place / MARK).is_file() or not any(place.iterdir())


def _discard(folder: Path, mark: str) -> None:
    """Removes a folder, and its mark last: what is half removed is still known for what it was."""
    if folder.is_symlink() or not folder.is_dir():
        return
    with suppress(OSError):
        for each in folder.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each, ignore_errors=True)
            elif each.name != mark:
                each.unlink()
    shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> list[Path]:
    """All that is in a folder and below but folders, links to these included."""
    return [p for p in sorted(folder.rglob("*")) if p.is_symlink() or not p.is_dir()]


def _hidden(path: Path) -> bool:
    """Whether a file is one that systems leave in any folder, such as .DS_Store: no part of a save is called so."""
    return path.name.startswith(".")


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _reason(error: BaseException) -> str:
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}"[:300]


_one = threading.Lock()
"""Runs that train together save one after another: nothing says that Orbax's checkpointer may be shared by threads."""
_lock = threading.Lock()
_shared: list[Any] = []


def _checkpointer() -> Any:
    """One synchronous Orbax checkpointer that takes this process for the only one, as each holds all of the state."""
    with _lock:
        if not _shared:
            import logging

            import orbax.checkpoint as ocp

            # A failed save is reported once, by `_write`.
            logging.getLogger("absl").setLevel(logging.CRITICAL)
            here = jax.process_index()
            alone = ocp.options.MultiprocessingOptions(
                primary_host=here, active_processes={here}, barrier_sync_key_prefix=f"process{here}"
            )
            handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
            _shared.append(ocp.Checkpointer(handler, multiprocessing_options=alone))
    return _shared[0]
