"""Preparation: a folder of images, idx files or a TFDS data set into ArrayRecord, once, for fast random access.

What comes out is an ordinary TFDS data set of PNG images (lossless), made by a builder of ours that needs no
TensorFlow. It is built in a hidden folder beside its place and renamed into it when it is whole.
"""

import contextlib
import io
import os
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data import arrayrecord, idx, images, sources
from jaxgan.errors import InputError

_GREY_MODES = frozenset({"1", "L", "LA", "La", "I", "F", "I;16", "I;16L", "I;16B", "I;16N"})
_SPLITS = {
    "train": "train",
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}


@dataclass(frozen=True)
class Report:
    """What `prepare` did.

    Attributes:
      directory: the prepared data set, to be named in a config.
      counts: examples written, by split.
      classes: class names in the order of the labels; empty when unlabelled.
      resolution, channels: of the stored images; None where TFDS prepared them in sizes of its own.
      unreadable: (file, reason) of each file that was left out.
    """

    directory: Path
    counts: Mapping[str, int]
    classes: tuple[str, ...]
    resolution: int | None
    channels: int | None
    unreadable: tuple[tuple[str, str], ...]


class _Item(NamedTuple):
    key: str | bytes  # unique in its split; TFDS orders the examples by its hash, the same in every run
    pixels: Callable[[], np.ndarray]  # uint8 [R, R, C]; raises InputError for an unreadable file
    label: int
    name: str  # for the report


class _Plan(NamedTuple):
    splits: Mapping[str, list[_Item]]
    classes: tuple[str, ...]
    resolution: int
    channels: int


def prepare(
    source: str,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    resolution: int | None = None,
    channels: int | None = None,
    progress: bool = True,
) -> Report:
    """Writes a data set as ArrayRecord into the folder `out`, which must not hold one yet.

    Args:
      source: a folder of images, whose subfolders are classes (`sources.ImageFolder`), or of such folders named train,
        test and validation; or a folder of idx files as MNIST has them; or "tfds:NAME", prepared by TFDS itself.
      out: the folder to make; the result is there only when all of it is.
      name: of the data set, letters, digits and underscores; by default made from the source's.
      resolution: pixels a side; by default the images' own, if they all agree.
      channels: 1 or 3; by default 1 if all images are grey.
      progress: whether to draw a progress bar with the time left on stderr, where that is a terminal.

    Returns:
      The report. Files that do not decode are left out and named in it.

    Raises:
      InputError: for a bad argument, a source that is missing or holds nothing readable, an `out` that is taken or
        cannot be written, images of mixed sizes without `resolution`, and where TFDS's own preparation fails.
    """
    target = Path(out).expanduser().absolute()
    if resolution is not None or channels is not None:
        images.check_size(1 if resolution is None else resolution, 1 if channels is None else channels)
    _check_target(target)
    if source.startswith("tfds:"):
        if resolution is not None or channels is not None:
            raise InputError(
                f"{source}: TFDS keeps its own sizes; leave out resolution and channels here, set them in the config"
            )
        with _building(target) as work:
            return _prepare_tfds(source.removeprefix("tfds:"), target, work, progress)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; name a folder of images or of idx files, or tfds:NAME")
    name = _name(name, folder)
    plan = _plan_idx(folder, resolution, channels) or _plan_folder(folder, resolution, channels, progress)
    with _building(target) as work:
        unreadable: list[tuple[str, str]] = []
        counts = _write(plan, name, folder, work, unreadable, progress)
        _publish(work / name / "1.0.0", target)
    return Report(target, counts, plan.classes, plan.resolution, plan.channels, tuple(unreadable))


def _check_target(target: Path) -> None:
    if (target / "dataset_info.json").exists():
        raise InputError(
            f"{target}: already holds a prepared data set; remove it first or name another folder"
        )
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file; name a folder to make")
    if target.exists() and any(target.iterdir()):
        raise InputError(f"{target}: is not empty; name a new folder")


@contextlib.contextmanager
def _building(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`, removed at the end whatever happens; a killed process leaves only that."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.preparing-", dir=target.parent))
    except OSError as error:
        raise InputError(
            f"{target.parent}: cannot be written ({error.strerror}); name another place"
        ) from error
    try:
        yield work
    except OSError as error:
        if isinstance(error, FileExistsError) or error.errno is None:
            raise
        raise InputError(
            f"{target}: could not be written ({error.strerror}); free the disk or name another place"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _publish(built: Path, target: Path) -> None:
    if target.is_dir():
        target.rmdir()  # it is empty, or this raises: another process was faster
    os.rename(built, target)


def _name(name: str | None, folder: Path) -> str:
    if name is None:
        name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_") or "images"
        return name if name[0].isalpha() else f"images_{name}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"name {name!r}: small letters, digits and underscores only, a letter first")
    return name


def _plan_idx(folder: Path, resolution: int | None, channels: int | None) -> _Plan | None:
    arrays = {split: idx.read(*files) for split, files in idx.find(folder).items()}
    if not arrays:
        return None
    side = resolution or min(min(pixels.shape[1:]) for pixels, _ in arrays.values())
    depth = channels or 1

    def item(split: str, i: int, pixels: np.ndarray, label: int) -> _Item:
        def get() -> np.ndarray:
            return images.to_array(Image.fromarray(pixels), side, depth)

        return _Item(f"{i:08d}", get, label, f"{split} image {i}")

    splits = {
        split: [item(split, i, pixels[i], int(labels[i])) for i in range(len(pixels))]
        for split, (pixels, labels) in arrays.items()
    }
    top = max(int(labels.max()) for _, labels in arrays.values())
    return _Plan(splits, tuple(str(c) for c in range(top + 1)), side, depth)


def _plan_folder(folder: Path, resolution: int | None, channels: int | None, progress: bool) -> _Plan:
    below = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    is_split = "train" in below and set(below) <= set(_SPLITS)
    roots = {_SPLITS[b]: folder / b for b in below} if is_split else {"train": folder}
    scans = {split: sources.scan(root) for split, root in roots.items()}
    if any(bool(scan[0]) != bool(scans["train"][0]) for scan in scans.values()):
        raise InputError(f"{folder}: some splits have class folders and some have none; make them alike")
    classes = tuple(sorted(set().union(*(scan[0] for scan in scans.values()))))
    for text in classes:
        if not text.isprintable():
            raise InputError(f"{folder}: class folder {text!r} has a name that cannot be stored; rename it")
    side, depth = resolution, channels
    if side is None or depth is None:
        files = [roots[split] / file for split, scan in scans.items() for file in scan[1]]
        common, grey = _survey(folder, files, side is None, progress)
        side = side or common
        depth = depth or (1 if grey else 3)

    def item(path: Path, key: str, label: int, side: int = side, depth: int = depth) -> _Item:
        return _Item(os.fsencode(key), lambda: images.read(path, side, depth), label, str(path))

    splits = {}
    for split, (names, files, labels) in scans.items():
        label_of = [classes.index(n) for n in names] or [0]
        splits[split] = [item(roots[split] / f, f, label_of[c]) for f, c in zip(files, labels, strict=True)]
    return _Plan(splits, classes, side, depth)


def _survey(folder: Path, files: list[Path], one_size: bool, progress: bool) -> tuple[int, bool]:
    """The images' common shorter side (0 if none opens) and whether all are grey, from their headers alone."""
    sides: dict[int, Path] = {}
    grey = True
    for file in _bar(files, len(files), "Looking at sizes", progress):
        try:
            with Image.open(file) as image:
                sides.setdefault(min(image.size), file)
                grey = grey and image.mode in _GREY_MODES
        except Exception:  # unreadable: reported when it is read in full
            continue
        if one_size and len(sides) > 1:
            (a, first), (b, second) = sides.items()
            raise InputError(
                f"{folder}: images of mixed sizes ({first.name} has {a} pixels a side, {second.name} {b}); "
                "give one with --resolution"
            )
    if not sides:
        raise InputError(f"{folder}: none of its {len(files)} images can be read; nothing was written")
    return next(iter(sides)), grey


def _write(
    plan: _Plan, name: str, folder: Path, work: Path, unreadable: list[tuple[str, str]], progress: bool
) -> dict[str, int]:
    """Builds the data set in `work`/name/1.0.0; returns the examples by split, and appends to `unreadable`."""
    counts: dict[str, int] = {}
    total = sum(len(items) for items in plan.splits.values())
    with _bar(None, total, "Preparing", progress) as bar:

        def examples(split: str, items: list[_Item]) -> Iterator[tuple[str | bytes, dict[str, Any]]]:
            counts[split] = 0
            for item, result in _parallel(_encode, items):
                bar.update()
                if isinstance(result, InputError):
                    unreadable.append((_printable(item.name), _reason(result, item.name)))
                    continue
                counts[split] += 1
                yield item.key, {"image": result} | ({"label": item.label} if plan.classes else {})
            if not counts[split]:
                why = f"none of its {len(items)} {split} images can be read ({unreadable[-1][0]}: {unreadable[-1][1]})"
                raise InputError(f"{folder}: {why}; nothing was written")

        generators = {s: (lambda s=s, items=items: examples(s, items)) for s, items in plan.splits.items()}
        with arrayrecord.silence():
            arrayrecord.write(name, work, generators, plan.resolution, plan.channels, plan.classes)
    return counts


def _encode(item: _Item) -> bytes | InputError:
    """An item's PNG bytes, or why there are none."""
    try:
        pixels = item.pixels()
    except InputError as error:
        return error
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _parallel(
    function: Callable[[_Item], bytes | InputError], items: list[_Item]
) -> Iterator[tuple[_Item, bytes | InputError]]:
    """(item, function(item)) in order, computed by a few threads that keep at most a window ahead."""
    threads = min(8, os.cpu_count() or 1)
    waiting: deque[tuple[_Item, Future[bytes | InputError]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(function, item)))
                if len(waiting) > 4 * threads:
                    done, future = waiting.popleft()
                    yield done, future.result()
            for done, future in waiting:
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()  # file names need not be valid text


def _reason(error: InputError, name: str) -> str:
    return str(error).removeprefix(f"{name}: ").removesuffix("; replace or remove the file")


def _bar(items: Any, total: int, what: str, progress: bool) -> Any:
    from tqdm import tqdm

    return tqdm(items, total=total, desc=what, unit="img", leave=False, disable=None if progress else True)


def _prepare_tfds(name: str, target: Path, work: Path, progress: bool) -> Report:
    built = arrayrecord.prepare(name, work, progress)
    counts, classes = arrayrecord.summary(built)
    _publish(built, target)
    return Report(target, counts, classes, None, None, ())
