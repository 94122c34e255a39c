"""Emoji as Google and as Twitter draw them, with names and categories, from the emoji-datasource packages.

For example:

    >>> dog = {"name": "DOG FACE", "category": "Animals", "image": "1f436.png", "unified": "1F436"}
    >>> for style, package in STYLES.values():
    ...     folder = Path(package.name, "img", style, "64")
    ...     folder.mkdir(parents=True)
    ...     Image.new("RGBA", (64, 64)).save(folder / dog["image"])
    ...     _ = Path(package.name, "emoji.json").write_text(json.dumps([dog]))
    >>> made = plan(Path("."), resolution=32)
    >>> made.classes, [item.make()["text"] for items in made.splits.values() for item in items]
    (('Animals',), ['dog face'])
"""

import hashlib
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from jaxgan.data import images
from jaxgan.data.preparing import packages, symbols
from jaxgan.data.preparing.building import Item, Plan
from jaxgan.errors import InputError

VERSION = "16.0.0"
STYLES = {
    "image": ("google", packages.Package("npm", "emoji-datasource-google", VERSION)),
    "input": ("twitter", packages.Package("npm", "emoji-datasource-twitter", VERSION)),
}
TONES = {
    "1F3FB": "light",
    "1F3FC": "medium-light",
    "1F3FD": "medium",
    "1F3FE": "medium-dark",
    "1F3FF": "dark",
}

README = f"""\
Emoji in two styles, made by `jaxgan prepare emoji` from the npm packages emoji-datasource-google and
emoji-datasource-twitter (made with {VERSION}), transparency on white.

  image    as Google draws it (Noto Emoji)
  input    the same emoji as Twitter draws it (Twemoji)
  label    its category
  text     its name, with the skin tones

The splits keep together what is one symbol in several skin tones, genders or directions, and what looks the same.

Twemoji to Noto:     --data.source tfds --data.directory HERE
Unpaired:            ... --data.unpaired true

Licences: Noto Emoji, copyright Google, Apache License 2.0 (https://www.apache.org/licenses/LICENSE-2.0).
Twemoji, copyright Twitter, Inc and other contributors, CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/): who
passes the images on must name them so. Changed here: composited on white, and resized if not of 64 pixels.
Names and categories: emoji-data, copyright Cal Henderson, MIT licence: see LICENSE.
"""


class _Emoji(NamedTuple):
    file: str
    code: str
    category: str
    name: str


def plan(place: Path | None, resolution: int) -> Plan:
    """All emoji that both styles have.

    Args:
      place: Where the packages are (`packages.read`): a folder; None to download them.
      resolution: Of the images; the packages have 64.

    Raises:
      InputError: Where the packages are not to be had, or are others.
    """
    files: dict[str, dict[str, bytes]] = {}
    for name, (style, package) in STYLES.items():
        start = f"img/{style}/64/"
        found = packages.read(
            package, place, lambda p, start=start: p.startswith(start) or p in ("emoji.json", "LICENSE")
        )
        files[name] = {path.removeprefix(start): content for path, content in found.items()}
    emoji = [e for e in _listed(files["image"]) if all(e.file in of for of in files.values())]
    if not emoji:
        raise InputError(f"emoji: the packages share no images of 64 pixels; take version {VERSION} of both")
    classes = tuple(sorted({e.category for e in emoji}))
    keys = [
        [symbols.base(e.code), *(hashlib.sha256(of[e.file]).hexdigest() for of in files.values())]
        for e in emoji
    ]

    def item(e: _Emoji) -> Item:
        def get() -> Mapping[str, Any]:
            drawn = {name: _decoded(of[e.file], e.file, resolution) for name, of in files.items()}
            return {**drawn, "label": classes.index(e.category), "text": e.name}

        return Item(e.file, get, e.file)

    splits: dict[str, list[Item]] = {"train": [], "test": []}
    for e, tested in zip(emoji, symbols.for_test(keys), strict=True):
        splits["test" if tested else "train"].append(item(e))
    splits = {split: items for split, items in splits.items() if items}
    pictures = dict.fromkeys(STYLES, (resolution, resolution, 3))
    notes = {"README.md": README}
    if "LICENSE" in files["image"]:
        notes["LICENSE"] = files["image"]["LICENSE"].decode("utf-8", "replace")
    return Plan(splits, classes, pictures, text=True, description="Emoji in two styles.", notes=notes)


def _listed(files: Mapping[str, bytes]) -> Iterator[_Emoji]:
    """What emoji.json lists, skin tones apart."""
    try:
        for entry in json.loads(files["emoji.json"]):
            name, category = entry["name"].lower(), entry["category"]
            yield _Emoji(entry["image"], entry["unified"], category, name)
            for tones, variant in entry.get("skin_variations", {}).items():
                both = " and ".join(dict.fromkeys(TONES[tone] for tone in tones.split("-")))
                yield _Emoji(variant["image"], entry["unified"], category, f"{name}: {both} skin tone")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"emoji: emoji.json is not as in version {VERSION} ({error!r}); take that"
        ) from error


def _decoded(stored: bytes, file: str, resolution: int) -> np.ndarray:
    try:
        with Image.open(io.BytesIO(stored)) as image:
            return images.to_array(image, resolution, 3)
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise InputError(f"{file}: cannot be read ({error}); download the package again") from error
