"""OpenMoji: line drawings and coloured drawings of the same symbols, with captions.

For example:

    >>> " ".join(PACKAGE.command("FOLDER"))  # what `plan(Path("FOLDER"), 64)` reads
    'npm pack openmoji@17.0.0 --ignore-scripts --pack-destination FOLDER'
    >>> symbols.base("1F44B-1F3FF") == symbols.base("1F44B")  # hands in two skin tones are in one split
    True
"""

import hashlib
import importlib
import io
import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from jaxgan.data import images
from jaxgan.data.preparing import packages, symbols
from jaxgan.data.preparing.building import Item, Plan
from jaxgan.errors import InputError

PACKAGE = packages.Package("npm", "openmoji", "17.0.0")

README = f"""\
OpenMoji, made by `jaxgan prepare openmoji` from the npm package openmoji (made with {PACKAGE.version}), drawn on white.

  image    the coloured drawing
  input    the line drawing of the same symbol, grey
  label    its group
  text     its annotation

Flags are left out: of most of them the line drawing is an empty rectangle.

The splits keep together what is one symbol in several skin tones, genders or directions, and what looks the same.

Line drawing to colour:   --data.source tfds --data.directory HERE
Unpaired:                 ... --data.unpaired true

Licence: all emojis designed by OpenMoji, the open-source emoji and icon project (https://openmoji.org). CC BY-SA 4.0
(https://creativecommons.org/licenses/by-sa/4.0/): see LICENSE. Whoever passes on these images, or others made of them,
names OpenMoji and gives them under the same licence. Changed here: rasterised.
"""


def plan(place: Path | None, resolution: int) -> Plan:
    """All symbols that have both drawings.

    Args:
      place: Where the package is (`packages.read`); None to download it.
      resolution: Of the images.

    Raises:
      InputError: Where resvg-py is not installed, or the package is not to be had or another one.
    """
    draw, sketch = _rasteriser(resolution), _rasteriser(64)
    files = packages.read(
        PACKAGE,
        place,
        lambda p: p.startswith(("black/svg/", "color/svg/")) or p in ("data/openmoji.json", "LICENSE.txt"),
    )
    try:
        listed = [
            (e["hexcode"], e["skintone_base_hexcode"] or e["hexcode"], e["group"], e["annotation"].strip())
            for e in json.loads(files["data/openmoji.json"])
            if "flag" not in e["subgroups"]
        ]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"openmoji: data/openmoji.json is not as in version {PACKAGE.version} ({error!r}); take that"
        ) from error
    drawings = {"image": "color/svg/{}.svg", "input": "black/svg/{}.svg"}
    kept = [e for e in listed if all(path.format(e[0]) in files for path in drawings.values())]
    # An annotation with a character that was lost on the way says nothing that can be relied on.
    kept = [e for e in kept if e[3] and "\ufffd" not in e[3]]
    if not kept:
        raise InputError(
            f"openmoji: the package has no drawings in both styles; take version {PACKAGE.version}"
        )
    classes = tuple(sorted({group for _, _, group, _ in kept}))

    def looks(entry: tuple[str, ...]) -> str:
        drawn = sketch(files[drawings["input"].format(entry[0])], entry[0])
        return hashlib.sha256(drawn.tobytes()).hexdigest()

    with ThreadPoolExecutor() as pool:
        keys = [
            [symbols.base(entry[1]), same] for entry, same in zip(kept, pool.map(looks, kept), strict=True)
        ]

    def item(code: str, group: str, annotation: str) -> Item:
        def get() -> Mapping[str, Any]:
            coloured, lines = (draw(files[path.format(code)], code) for path in drawings.values())
            lines = images.to_array(Image.fromarray(lines), resolution, 1)
            return {"image": coloured, "input": lines, "label": classes.index(group), "text": annotation}

        return Item(code, get, code)

    splits: dict[str, list[Item]] = {"train": [], "test": []}
    for (code, _, group, annotation), tested in zip(kept, symbols.for_test(keys), strict=True):
        splits["test" if tested else "train"].append(item(code, group, annotation))
    splits = {split: items for split, items in splits.items() if items}
    pictures = {"image": (resolution, resolution, 3), "input": (resolution, resolution, 1)}
    notes = {"README.md": README}
    if "LICENSE.txt" in files:
        notes["LICENSE"] = files["LICENSE.txt"].decode("utf-8", "replace")
    return Plan(splits, classes, pictures, text=True, description="OpenMoji.", notes=notes)


def _rasteriser(resolution: int) -> Callable[[bytes, str], np.ndarray]:
    """Draws an SVG file on white: uint8 [resolution, resolution, 3]."""
    try:
        resvg_py: Any = importlib.import_module("resvg_py")
    except ImportError as error:
        raise InputError(
            f"openmoji: drawing it needs resvg-py ({error}); install jaxgan[prepare] and try again"
        ) from error

    def draw(svg: bytes, name: str) -> np.ndarray:
        try:
            stored = resvg_py.svg_to_bytes(
                svg.decode(), background="white", width=resolution, height=resolution, skip_system_fonts=True
            )
            with Image.open(io.BytesIO(bytes(stored))) as image:
                return images.to_array(image, resolution, 3)
        except Exception as error:  # whatever the extension module makes of a bad file
            raise InputError(f"{name}: cannot be drawn ({error}); download the package again") from error

    return draw
