"""Preparation: a folder of images, idx files or a TFDS data set into ArrayRecord, once, for fast random access.

What comes out is an ordinary TFDS data set of PNG images (lossless), made by a builder of ours that needs no
TensorFlow. It is built in a hidden folder beside its place and renamed into it when it is whole.

For example:

    >>> for name in ("boot", "coat"):
    ...     Path("garments", name).mkdir(parents=True)
    ...     Image.new("L", (4, 4)).save(f"garments/{name}/a.png")
    >>> report = prepare("garments", "prepared", progress=False)
    >>> report.counts, report.classes, report.resolution, report.channels
    ({'train': 2}, ('boot', 'coat'), 4, 1)
    >>> sources.TFDS(None, "prepared", resolution=2)[0]["real"].shape
    (2, 2, 1)
"""

import json
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from jaxgan.data import arrayrecord, files, images, sources
from jaxgan.data.images import Range
from jaxgan.data.preparing import earth, emoji, idx, openmoji
from jaxgan.data.preparing.building import Item, Plan, Report, building, check_target, make, publish
from jaxgan.data.sources.captions import CAPTION_FILES, captions, further
from jaxgan.data.survey import Survey, survey
from jaxgan.errors import InputError

if TYPE_CHECKING:
    from jaxgan.data import sentences

_SPLITS = {
    "train": "train",
    "test": "test",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
}


PUBLISHED = {
    "earth": earth.plan,
    "emoji": emoji.plan,
    "openmoji": openmoji.plan,
}
"""Data sets made of published packages, by name."""


def prepare(
    source: str,
    out: str | os.PathLike[str],
    *,
    name: str | None = None,
    resolution: int | None = None,
    channels: int | None = None,
    package: str | os.PathLike[str] | None = None,
    embed: bool = False,
    minilm: str | os.PathLike[str] | None = None,
    only: Sequence[str] | None = None,
    span: Range | None = None,
    progress: bool = True,
) -> Report:
    """Writes a data set as ArrayRecord into the folder `out`, which must not hold one yet.

    Args:
      source: a folder of images, whose subfolders are classes (`sources.ImageFolder`), or of such folders named train,
        test and validation; or a folder of idx files as MNIST has them; or "tfds:NAME", prepared by TFDS itself; or
        one of `PUBLISHED`, made of published packages (a folder of that name is "./NAME").
      out: the folder to make; the result is there only when all of it is.
      name: of the data set, letters, digits and underscores; by default made from the source's.
      resolution: pixels a side; by default the images' own, if they all agree.
      channels: 1 or 3; by default 1 if all images are grey.
      package: for one of `PUBLISHED`, where its packages are, see `packages.find`; by default they are downloaded.
      embed: whether to store embeddings of the captions, by MiniLM (`sentences`).
      minilm: where its package is, see `sentences.open_encoder`.
      only: for one of `PUBLISHED`, which of its images to keep, "image" among them; by default all.
      span: of a folder's images of more than 8 bits: the values of black and of white; by default one range is chosen
        for all (`jaxgan.data.survey`), and is stored with the data.
      progress: whether to draw a progress bar with the time left on stderr, where that is a terminal.

    Returns:
      The report. Files that do not decode are left out and named in it.

    Raises:
      InputError: for a bad argument, a source that is missing or holds nothing readable, an `out` that is taken or
        cannot be made, images of mixed sizes without `resolution`, and where TFDS's own preparation fails.
      RunError: where the data cannot be written, as where the disk is full.
    """
    files.named(source)
    target = files.named(out).absolute()
    if resolution is not None or channels is not None:
        images.check_size(1 if resolution is None else resolution, 1 if channels is None else channels)
    check_target(target)
    if package is not None and source not in PUBLISHED:
        raise InputError(f"--from goes with {', '.join(PUBLISHED)}, not with {source}; leave it out")
    if minilm is not None and not embed:
        raise InputError("--minilm goes with --embed; leave it out, or give both")
    if only is not None and source not in PUBLISHED:
        raise InputError(f"--only goes with {', '.join(PUBLISHED)}, not with {source}; leave it out")
    if span is not None and not span[0] < span[1]:
        raise InputError(
            f"the range is {span[0]:g} to {span[1]:g}; give the value of black, then that of white"
        )
    if source.startswith("tfds:"):
        if embed:
            raise InputError(f"{source}: TFDS prepares no embeddings; leave out --embed")
        if resolution is not None or channels is not None:
            raise InputError(
                f"{source}: TFDS keeps its own sizes; leave out resolution and channels here, set them in the config"
            )
        with building(target) as work:
            return _prepare_tfds(source.removeprefix("tfds:"), target, work, progress)
    if source in PUBLISHED:
        if channels is not None:
            raise InputError(f"{source}: has channels of its own; leave out channels, set them in the config")
        name = _name(name, Path(source))
        place = None if package is None else Path(package).expanduser()
        encoder = _encoder(minilm) if embed else None  # first: what is missing is said before all else
        plan = PUBLISHED[source](place, resolution or 64)
        if only is not None:
            plan = _kept(plan, source, only)
        if encoder:
            plan = _embedded(plan, source, encoder)
        return make(plan, name, source, target, progress)
    folder = Path(source).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder; name a folder of images or of idx files, tfds:NAME, or one of "
            f"{', '.join(PUBLISHED)}"
        )
    name = _name(name, folder)
    encoder = _encoder(minilm) if embed else None
    plan = _plan_idx(folder, resolution, channels) or _plan_folder(
        folder, resolution, channels, progress, embed, span
    )
    if encoder:
        plan = _embedded(plan, source, encoder)
    return make(plan, name, str(folder), target, progress)


def _kept(plan: Plan, source: str, only: Sequence[str]) -> Plan:
    """The plan with some of its images; labels and captions stay."""
    for name in only:
        if name not in plan.pictures:
            raise InputError(f"--only {name}: {source} has {', '.join(plan.pictures)}")
    if "image" not in only:
        raise InputError(f"--only {' '.join(only)}: image must be among them; it is what generators make")
    left_out = set(plan.pictures) - set(only)

    def item(whole: Item) -> Item:
        return whole._replace(
            make=lambda: {name: x for name, x in whole.make().items() if name not in left_out}
        )

    splits = {split: [item(whole) for whole in items] for split, items in plan.splits.items()}
    notes = dict(plan.notes)
    if left_out and "README.md" in notes:
        notes["README.md"] += f"\nOf its images only these are here: {', '.join(only)} (--only).\n"
    return plan._replace(splits=splits, pictures={name: plan.pictures[name] for name in only}, notes=notes)


def _encoder(place: str | os.PathLike[str] | None) -> "sentences.Encoder":
    from jaxgan.data import sentences  # it imports JAX, which few preparations need

    return sentences.open_encoder(None if place is None else Path(place).expanduser())


def _embedded(plan: Plan, source: str, encoder: "sentences.Encoder") -> Plan:
    if not plan.text:
        raise InputError(f"--embed needs captions, and {source} has none; leave it out")
    from jaxgan.data import sentences

    said = {"network": sentences.NAME, "weights_sha256": encoder.sha256}
    notes = {**plan.notes, sources.EMBEDDED_BY: json.dumps(said, indent=1) + "\n"}
    return plan._replace(embed=encoder, notes=notes)


def _name(name: str | None, folder: Path) -> str:
    if name is None:
        name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_") or "images"
        return name if name[0].isalpha() else f"images_{name}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise InputError(f"name {name!r}: small letters, digits and underscores only, a letter first")
    return name


def _plan_idx(folder: Path, resolution: int | None, channels: int | None) -> Plan | None:
    arrays = {split: idx.read(*files) for split, files in idx.find(folder).items()}
    if not arrays:
        return None
    side = resolution or min(min(pixels.shape[1:]) for pixels, _ in arrays.values())
    depth = channels or 1

    def item(split: str, i: int, pixels: np.ndarray, label: int) -> Item:
        def get() -> dict[str, np.ndarray | int]:
            return {"image": images.to_array(Image.fromarray(pixels), side, depth), "label": label}

        return Item(f"{i:08d}", get, f"{split} image {i}")

    splits = {
        split: [item(split, i, pixels[i], int(labels[i])) for i in range(len(pixels))]
        for split, (pixels, labels) in arrays.items()
    }
    top = max(int(labels.max()) for _, labels in arrays.values())
    return Plan(splits, tuple(str(c) for c in range(top + 1)), {"image": (side, side, depth)})


def _plan_folder(
    folder: Path,
    resolution: int | None,
    channels: int | None,
    progress: bool,
    captioned: bool,
    span: Range | None,
) -> Plan:
    below = files.folders(folder)
    is_split = "train" in below and set(below) <= set(_SPLITS)
    roots = {_SPLITS[b]: folder / b for b in below} if is_split else {"train": folder}
    beside = CAPTION_FILES if captioned else ()
    scans = {split: sources.scan(root, beside) for split, root in roots.items()}
    for scan in scans.values():
        if not scan.files:
            count, (path, why) = len(scan.found.unreadable), scan.found.unreadable[0]
            raise InputError(
                f"{scan.path}: none of its {count} images can be read ({path}: {why}); nothing was written"
            )
    if any(bool(scan.classes) != bool(scans["train"].classes) for scan in scans.values()):
        raise InputError(f"{folder}: some splits have class folders and some have none; make them alike")
    classes = tuple(sorted(set().union(*(scan.classes for scan in scans.values()))))
    for text in classes:
        if not text.isprintable():
            raise InputError(f"{folder}: class folder {text!r} has a name that cannot be stored; rename it")
    seen = survey(
        [scan.path / file for scan in scans.values() for file in scan.files],
        whole=False,
        span=span,
        progress=progress,
    )
    side = resolution or _common_side(folder, scans, seen)
    depth = channels or (1 if seen.grey else 3)

    def item(path: Path, key: str, label: int, text: str | None) -> Item:
        more = {"label": label} if classes else {}
        more |= {} if text is None else {"text": text}

        def get() -> dict[str, np.ndarray | int | str]:
            return {"image": images.read(path, side, depth, seen.span), **more}

        return Item(os.fsencode(key), get, str(path))

    splits, unreadable, lines = {}, [], 0
    passed = files.loose(folder) if is_split else Counter()
    for split, scan in scans.items():
        label_of = [classes.index(n) for n in scan.classes] or [0]
        said = {}
        if captioned:
            scan, said, more = captions(scan)
            lines += more
        splits[split] = [
            item(scan.path / f, f, label_of[c], said.get(f))
            for f, c in zip(scan.files, scan.labels, strict=True)
        ]
        unreadable += [(str(scan.path / path), why) for path, why in scan.found.unreadable]
        passed += scan.found.passed
    converted = [f"of {seen.count} images {seen.converted()}"] if seen.converted() else []
    notes = {}
    if seen.span:
        notes[sources.CONVERTED_BY] = json.dumps({"ranges": {"real": seen.span}}) + "\n"
    return Plan(
        splits,
        classes,
        {"image": (side, side, depth)},
        text=captioned,
        notes=notes,
        unreadable=tuple(unreadable),
        passed=passed,
        converted="; ".join((*converted, *further(lines))),
    )


def _common_side(folder: Path, scans: Mapping[str, sources.Scan], seen: Survey) -> int:
    """The images' common shorter side."""
    every = [scan.path / file for scan in scans.values() for file in scan.files]
    sides: dict[int, Path] = {}
    for size, i in seen.sizes.items():
        sides.setdefault(min(size), every[i])
    if not sides:
        count = len(every) + sum(len(scan.found.unreadable) for scan in scans.values())
        raise InputError(f"{folder}: none of its {count} images can be read; nothing was written")
    if len(sides) > 1:
        (a, first), (b, second), *_ = sides.items()
        raise InputError(
            f"{folder}: images of mixed sizes ({first.name} has {a} pixels a side, {second.name} {b}); "
            "give one with --resolution"
        )
    return next(iter(sides))


def _prepare_tfds(name: str, target: Path, work: Path, progress: bool) -> Report:
    built = arrayrecord.prepare(name, work, progress)
    counts, classes = arrayrecord.summary(built)
    publish(built, target)
    return Report(target, counts, classes, None, None, ())
