"""What the images of a set are, found out once for all of them: which can be read, how deep they are, how large.

For example:

    >>> for name, top in (("a", 700), ("b", 3000)):  # 12 bits of 16
    ...     Image.fromarray(np.array([[0, top], [1, 2]], np.uint16)).save(f"{name}.png")
    >>> Path("c.png").touch()
    >>> found = survey([Path("a.png"), Path("b.png"), Path("c.png")])
    >>> found.span, found.grey, found.sizes, found.unreadable
    ((0.0, 4095.0), True, {(2, 2): 0}, {2: 'the file is empty'})
    >>> found.converted()
    '2 of more than 8 bits, values 0 to 4095'
"""

import functools
import os
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from jaxgan.data import images, known, layers, profiles
from jaxgan.data.images import Range
from jaxgan.data.known import Kind, Seen
from jaxgan.errors import InputError

SCALES = (255.0, 1023.0, 4095.0, 16383.0, 65535.0)
"""The greatest values of 8, 10, 12, 14 and 16 bits."""
CONVERTED = {
    "cropped": "cropped to their central square",
    "profile": "from another colour profile to sRGB",
    "unusable": "with a colour profile that cannot be used",
    "alpha": "with transparency, laid on white",
    "key": "with a transparent colour of 16 bits, which is not used",
    "cmyk": "from CMYK",
    "colour16": "of 16 bits a channel, read with 8",
    "animated": "animated, of which the first frame counts",
}
"""What is said of images of each kind that are converted as they are read."""
_CHUNK = 32


@dataclass(frozen=True)
class Survey:
    """What a set's images are; they are numbered in the order in which they were given."""

    count: int
    """How many can be read."""
    unreadable: dict[int, str]
    """Those that cannot, and why."""
    sizes: dict[tuple[int, int], int]
    """Widths and heights, each with the first image that has them."""
    grey: bool
    """Whether all are grey (`images.is_grey`)."""
    ranges: dict[int, Range]
    """The values that become 0 and 255 of each deep image, the same for all unless they are asked for `apart`."""
    counts: Counter[str]
    """How many are converted, by kinds; "deep" and "outside", with values outside of their range, among them."""

    @property
    def span(self) -> Range | None:
        """The range of deep images, the first one's where there are two; None where there are no deep images."""
        return next(iter(self.ranges.values()), None)

    def converted(self, *kept: str) -> str:
        """How many images are converted and how, in a few words; nothing if none are.

        Args:
          kept: Kinds that are not converted this time; "wide" for those in colour of 16 bits that `layers` reads.
        """
        each = {kind: n for kind, n in self.counts.items() if kind not in kept}
        if "wide" in kept and each.get("colour16"):
            each["colour16"] -= self.counts["wide"]
        told = [f"{each[kind]} {words}" for kind, words in CONVERTED.items() if each.get(kind)]
        if each.get("deep"):
            clipped = f", those outside clipped in {each['outside']}" if each.get("outside") else ""
            for (low, high), n in Counter(self.ranges.values()).items():
                told.append(f"{n} of more than 8 bits, values {low:.7g} to {high:.7g}{clipped}")
        return "; ".join(told)


def survey(
    paths: Sequence[Path],
    *,
    whole: bool = True,
    span: Range | None = None,
    apart: bool = False,
    progress: bool = True,
) -> Survey:
    """Looks at the image files of a set.

    The range of deep images is the first of 0 to 1 (of floating-point values) and 0 to 255, 1023, 4095, 16383 and 65535
    that holds every value of the set, if they fill more than a quarter of it or it is 0 to 1; otherwise it goes from
    the least to the greatest value.

    Args:
      paths: The files.
      whole: Whether to decode all files in full, which is how a damaged one is found; else deep ones alone.
      span: The range, where it is known.
      apart: Whether images of whole numbers and floating-point ones may each have a range.
      progress: Whether to draw a progress bar on stderr, where that is a terminal and it takes over a second.

    Raises:
      InputError: Some hold whole numbers of more than 8 bits and some floating-point ones, without a range and without
        `apart`.
    """
    seen = _seen(paths, whole, progress)
    kinds = {kind: [v for v in seen.values if v[1] == kind] for kind in ("whole", "float")}
    if span is None and not apart and all(kinds.values()):
        first, other = (paths[values[0][0]] for values in kinds.values())
        raise InputError(
            f"{first} holds whole numbers of more than 8 bits and {other} floating-point ones, "
            "which have no range in common; convert some, or give one range to jaxgan prepare --range"
        )
    chosen = {
        kind: span or range_of(min(v[2] for v in values), max(v[3] for v in values), kind)
        for kind, values in kinds.items()
        if values
    }
    ranges = {i: chosen[kind] for i, kind, _, _ in seen.values}
    counts = seen.counts + Counter(deep=len(seen.values))
    if ranges:
        counts["outside"] = sum(low < ranges[i][0] or high > ranges[i][1] for i, _, low, high in seen.values)
    count = len(paths) - len(seen.unreadable)
    return Survey(count, seen.unreadable, seen.sizes, seen.grey, ranges, counts)


def range_of(least: float, most: float, kind: str) -> Range:
    """The range of a set whose values lie between these, see `survey`; `kind` is "whole" or "float"."""
    if least >= 0 and most <= 1 and kind == "float":
        return 0.0, 1.0
    top = next((top for top in SCALES if least >= 0 and most <= top), None)
    return (0.0, top) if top and (most > top / 4 or least == most) else (least, most)


def _seen(paths: Sequence[Path], whole: bool, progress: bool) -> Seen:
    """What the images show; the last sets are known for as long as their files stay the same (`known`)."""

    def why(i: int) -> str | None:
        found = _look(paths[i], whole)
        return found if isinstance(found, str) else None

    key = known.key(paths, whole)
    if key and (seen := known.find(key, len(paths), why)):
        return seen
    from tqdm import tqdm

    start = time.monotonic()
    seen = Seen({}, {}, True, Counter(), [])
    grey = True
    look = functools.partial(_looks, whole=whole)
    shown = None if progress else True  # None: off where stderr is no terminal
    with (
        ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool,
        tqdm(
            total=len(paths), desc="Looking at images", unit="image", delay=1.0, leave=False, disable=shown
        ) as bar,
    ):
        parts = [paths[i : i + _CHUNK] for i in range(0, len(paths), _CHUNK)]
        for i, found in enumerate(chain.from_iterable(pool.map(look, parts))):
            bar.update()
            if isinstance(found, str):
                seen.unreadable[i] = found
                continue
            seen.sizes.setdefault(found.size, i)
            seen.counts.update(found.kinds)
            grey &= found.grey
            if found.values:
                seen.values.append((i, *found.values))
    seen = seen._replace(grey=grey)
    if key:
        known.keep(key, seen, time.monotonic() - start)
    return seen


class _Look(NamedTuple):
    """What one image shows."""

    size: tuple[int, int]
    grey: bool
    kinds: list[str]
    values: tuple[Kind, float, float] | None


def _looks(paths: Sequence[Path], whole: bool) -> list["_Look | str"]:
    return [_look(path, whole) for path in paths]


def _look(path: Path, whole: bool) -> "_Look | str":
    """What an image shows, or why it cannot be read."""
    try:
        with images.opened(path) as image:
            size, mode, deep, grey = image.size, image.mode, images.depth(image.mode), images.is_grey(image)
            kinds = list(_kinds(image))
            values = None
            if whole or deep:
                image.load()
            if deep:
                found = images.deep_values(image)
                values = deep, float(found.min()), float(found.max())
            if whole:
                images.converted(
                    image, 3, values and values[1:]
                )  # as it is read: what that refuses is unreadable
            elif not _convertible(mode):
                return f"an image of mode {mode} has no conversion to RGB"
            return _Look(size, grey, kinds, values)
    except InputError as error:
        return images.why(error, path)


def _kinds(image: Image.Image) -> Iterator[str]:
    """How an image that was opened is converted as it is read, by its header."""
    if image.width != image.height:
        yield "cropped"
    profile = profiles.state(image)
    if profile in ("other", "unusable"):
        yield "profile" if profile == "other" else "unusable"
    if image.has_transparency_data:
        yield "alpha"
    if images.UNUSED_KEY in image.info:
        yield "key"
    if image.mode == "CMYK" and profile != "other":
        yield "cmyk"
    if not images.depth(image.mode) and ";16" in images.raw_mode(image):
        yield "colour16"
        if layers.keeps_16_bits(image):
            yield "wide"
    try:
        animated = getattr(image, "is_animated", False)
    except Exception:  # a later frame is damaged, and does not count
        animated = True
    if animated:
        yield "animated"


@functools.cache
def _convertible(mode: str) -> bool:
    try:
        Image.new(mode, (1, 1)).convert("RGB")
    except ValueError:
        return False
    return True
