"""The making of a prepared data set, whatever its source: examples to ArrayRecord, in place only when it is whole.

For example:

    >>> item = Item("a", lambda: {"image": np.zeros((2, 2, 1), np.uint8), "label": 1}, "the drawing a")
    >>> plan = Plan({"train": [item]}, classes=("boot", "coat"), pictures={"image": (2, 2, 1)})
    >>> report = make(plan, "garments", "drawings", Path("prepared"), progress=False)
    >>> report.counts, report.classes, report.unreadable
    ({'train': 1}, ('boot', 'coat'), ())
    >>> check_target(Path("prepared"))
    Traceback (most recent call last):
    jaxgan.errors.InputError: prepared: already holds a prepared data set; remove it ...
"""

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data import arrayrecord, files, images, text
from jaxgan.errors import InputError, placing, writing

if TYPE_CHECKING:
    from jaxgan.data.sentences import Encoder  # it imports JAX, which few preparations need


@dataclass(frozen=True)
class Report:
    """What `prepare` did.

    Attributes:
      directory: the prepared data set, to be named in a config.
      counts: examples written, by split.
      classes: class names in the order of the labels; empty when unlabelled.
      resolution, channels: of the stored images; None where TFDS prepared them in sizes of its own.
      unreadable: (file, reason) of each file that was left out since it cannot be read.
      remarks: what there is to say of what was left out, converted or cut, a line each.
      longest: bytes of the longest caption, 0 where there are none.
    """

    directory: Path
    counts: Mapping[str, int]
    classes: tuple[str, ...]
    resolution: int | None
    channels: int | None
    unreadable: tuple[tuple[str, str], ...]
    remarks: tuple[str, ...] = ()
    longest: int = 0


class Item(NamedTuple):
    """An example to be made."""

    key: str | bytes
    """Unique in its split; TFDS orders the examples by its hash, the same in every run."""
    make: Callable[[], Mapping[str, Any]]
    """Its features: images uint8 [R, R, C], and whatever else there is. InputError for what is unreadable."""
    name: str
    """For the report."""


class Plan(NamedTuple):
    """A data set to be made."""

    splits: Mapping[str, list[Item]]
    classes: tuple[str, ...]
    pictures: Mapping[str, tuple[int, int, int]]
    """The images of each example and their shapes, "image" among them."""
    text: bool = False
    """Whether there is a caption, "text"."""
    embed: "Encoder | None" = None
    """What makes the "embedding" of each caption; None for none."""
    description: str = "Images prepared by jaxgan."
    notes: Mapping[str, str] = {}
    """Texts to be laid beside the data, by file name: licences."""
    unreadable: tuple[tuple[str, str], ...] = ()
    """What cannot be read, as was known before: (file, reason)."""
    passed: Counter[str] = Counter()
    """How much else is left out of the source, by kinds (`files.Found`)."""
    converted: str = ""
    """How images are converted, for the user."""


def make(plan: Plan, name: str, where: str, target: Path, progress: bool) -> Report:
    """Writes a data set into the folder `target`, which `check_target` found free.

    Args:
      plan: what.
      name: of the data set.
      where: the source, for errors.
      target: becomes the folder, when all of it is there.
      progress: whether to draw a progress bar.

    Raises:
      InputError: where nothing of a split is readable, or nothing can be made at the place.
      RunError: where it cannot be written, as where the disk is full.
    """
    with building(target) as work:
        unreadable = list(plan.unreadable)
        captions: dict[str, list[str]] = {}
        counts = _write(plan, name, where, work, unreadable, captions, progress)
        said = {split: text.described(each) for split, each in captions.items()}
        notes = {**plan.notes, text.STORED: json.dumps(said, indent=1) + "\n"} if plan.text else plan.notes
        for note, content in notes.items():
            (work / name / "1.0.0" / note).write_text(content, encoding="utf-8")
        publish(work / name / "1.0.0", target)
    resolution, _, channels = plan.pictures["image"]
    remarks = files.lines(where, unreadable, plan.passed)
    remarks += [f"{where}: {plan.converted}"] if plan.converted else []
    if plan.embed and (cut := len(plan.embed.cut)):
        some = "caption has" if cut == 1 else "captions have"
        its = "its" if cut == 1 else "their"
        remarks.append(f"{cut:,} different {some} more words than are embedded, and lost {its} end")
    longest = max((len(each.encode()) for found in captions.values() for each in found), default=0)
    return Report(
        target, counts, plan.classes, resolution, channels, tuple(unreadable), tuple(remarks), longest
    )


def check_target(target: Path) -> None:
    """Raises InputError where `target` is taken."""
    if (target / "dataset_info.json").exists():
        raise InputError(
            f"{target}: already holds a prepared data set; remove it first or name another folder"
        )
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: is a file; name a folder to make")
    if target.exists() and any(target.iterdir()):
        raise InputError(f"{target}: is not empty; name a new folder")


@contextlib.contextmanager
def building(target: Path) -> Iterator[Path]:
    """A hidden folder beside `target`, removed at the end whatever happens; a killed process leaves only that.

    Raises:
      InputError: Nothing can be made there.
      RunError: It cannot be written, as where the disk is full.
    """
    with placing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{target.name}.preparing-", dir=target.parent))
    try:
        with writing(target):
            yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def publish(built: Path, target: Path) -> None:
    """Moves what is built into its place."""
    if target.is_dir():
        target.rmdir()  # it is empty, or this raises: another process was faster
    os.rename(built, target)


def bar(items: Any, total: int, what: str, progress: bool) -> Any:
    """A progress bar on stderr, where that is a terminal."""
    from tqdm import tqdm

    return tqdm(items, total=total, desc=what, unit="img", leave=False, disable=None if progress else True)


def _write(
    plan: Plan,
    name: str,
    where: str,
    work: Path,
    unreadable: list[tuple[str, str]],
    captions: dict[str, list[str]],
    progress: bool,
) -> dict[str, int]:
    """Builds the data set in `work`/name/1.0.0; returns the examples by split.

    Appends to `unreadable`, and puts the captions of each split into `captions`.
    """
    counts: dict[str, int] = {}
    total = sum(len(items) for items in plan.splits.values())
    with bar(None, total, "Preparing", progress) as drawn:

        def examples(split: str, items: list[Item]) -> Iterator[tuple[str | bytes, dict[str, Any]]]:
            counts[split] = 0
            for item, result in _parallel(items, plan.embed):
                drawn.update()
                if isinstance(result, InputError):
                    unreadable.append((_printable(item.name), images.why(result, item.name)))
                    continue
                counts[split] += 1
                if plan.text:
                    captions.setdefault(split, []).append(result["text"])
                yield item.key, result
            if not counts[split]:
                why = f"none of its {len(items)} {split} images can be read ({unreadable[-1][0]}: {unreadable[-1][1]})"
                raise InputError(f"{where}: {why}; nothing was written")

        generators = {s: (lambda s=s, items=items: examples(s, items)) for s, items in plan.splits.items()}
        with arrayrecord.silence():
            width = plan.embed.width if plan.embed else 0
            shape = (plan.pictures, plan.classes, plan.text, width, plan.description)
            arrayrecord.write(name, work, generators, *shape)
    return counts


def _encode(item: Item, embed: "Encoder | None") -> dict[str, Any] | InputError:
    """An item's features, images as PNG bytes and the embedding of its caption, or why there are none."""
    try:
        example = item.make()
    except InputError as error:
        return error
    stored: dict[str, Any] = {
        name: _png(x) if isinstance(x, np.ndarray) else x for name, x in example.items()
    }
    return {**stored, "embedding": embed(stored["text"])} if embed else stored


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _parallel(
    items: list[Item], embed: "Encoder | None"
) -> Iterator[tuple[Item, dict[str, Any] | InputError]]:
    """(item, _encode(item, embed)) in order, computed by a few threads that keep at most a window ahead."""
    threads = min(8, os.cpu_count() or 1)
    waiting: deque[tuple[Item, Future[dict[str, Any] | InputError]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(_encode, item, embed)))
                if len(waiting) > 4 * threads:
                    done, future = waiting.popleft()
                    yield done, future.result()
            for done, future in waiting:
                yield done, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()  # file names need not be valid text
