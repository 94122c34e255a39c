"""What trained runs make of files: examples translated, and images enlarged, of any size.

For example:

    >>> Path("drawings/boots").mkdir(parents=True)
    >>> Path("drawings/boots/a.jpg").touch()
    >>> for job in jobs([Path("drawings")], Path("translated")):
    ...     print(job.file.as_posix(), "to", job.out.as_posix())
    drawings/boots/a.jpg to translated/boots/a.png
    >>> jobs([Path("drawings")], Path("drawings/translated"))
    Traceback (most recent call last):
    jaxgan.errors.InputError: --out drawings/translated is inside of drawings, ...; give a folder outside
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import numpy as np
from tqdm import tqdm

from jaxgan import parallel
from jaxgan.data import files, layers
from jaxgan.data.survey import Survey, survey
from jaxgan.domains import Domain, Image
from jaxgan.errors import InputError, writing
from jaxgan.game import Keys, State
from jaxgan.sampling.sample import Trained

PIXELS = 2**16
"""So many pixels of crops are enlarged at once on a device, about, and at least one crop."""
IMAGES = Image()
Say = Callable[[str], None]
T = TypeVar("T")


class Job(NamedTuple):
    """A file with an example, and where the result goes."""

    file: Path
    out: Path


def jobs(
    inputs: Sequence[Path], out: Path, domain: Domain = IMAGES, say: Say = lambda line: None
) -> list[Job]:
    """What is to be done.

    Args:
      inputs: Files, whose results go right into `out`, and folders, whose structure is kept there. Of a folder, all
        files with an ending of the domain's (`Domain.reads`) count that `jaxgan.data.files.below` finds.
      out: The folder of the results: files of the same names but for their endings (`Domain.saves`).
      domain: What the files hold, and the results.
      say: Called with a line for each folder of which something is left out.

    Raises:
      InputError: If an input does not exist or is a folder without such files; if `out` is a file or lies inside of an
        input folder; if a result would replace an input, or another result.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file; give the name of a folder")
    found: dict[Path, Path] = {}
    for given in inputs:
        if given.is_dir():
            if out.resolve().is_relative_to(given.resolve()):
                raise InputError(
                    f"--out {out} is inside of {given}, so results would be inputs the next time; give a folder outside"
                )
            below = files.below(given, domain.reads)
            names = sorted(
                [*below.files, *(name for name, _ in below.unreadable)]
            )  # these are named when it is read
            if not names:
                raise InputError(
                    f"{given}: holds no {domain.plural} ({domain.saves} and the like); name others"
                )
            for line in files.lines(str(given), [], below.passed):
                say(line)
            each = [(given / name, out / name) for name in names]
        elif given.exists():
            each = [(given, out / given.name)]
        else:
            raise InputError(
                f"{given}: no such file or folder; name {domain.plural}, or folders of {domain.plural}"
            )
        for file, target in each:
            target = target.with_suffix(domain.saves)
            other = found.setdefault(target, file)
            if other.resolve() != file.resolve():
                raise InputError(
                    f"{other} and {file} would both become {target}; rename one, or take one at a time"
                )
    sources = {file.resolve() for file in found.values()}
    for target, file in found.items():
        if target.resolve() in sources:
            raise InputError(f"the result of {file} would replace the input {target}; give another --out")
    return [Job(file, target) for target, file in found.items()]


class _Progress(Generic[T]):
    """Reads inputs one after another, and passes over what cannot be read: the first are named, all are counted."""

    def __init__(
        self, todo: Sequence[Job], read: Callable[[Path], T], text: str, say: Say, progress: bool
    ) -> None:
        self.todo, self.how, self.say, self.unreadable = todo, read, say, 0
        shown = None if progress else True
        self.bar = tqdm(total=len(todo), desc=text, unit="file", delay=1.0, leave=False, disable=shown)

    def read(self) -> Iterator[tuple[Job, T]]:
        """Each job with its example."""
        for job in self.todo:
            try:
                example = self.how(job.file)
            except InputError as error:
                self.unreadable += 1
                if self.unreadable <= files.NAMED:
                    self.say(f"left out {error}")
                self.bar.update()
                continue
            yield job, example


def translate(
    trained: Trained,
    todo: Sequence[Job],
    *,
    back: bool = False,
    seed: int = 0,
    say: Say = print,
    progress: bool = True,
) -> int:
    """Translates files with a run of a family that does so, with its averaged weights where there are any.

    Every size of example is compiled for once. What is random (pix2pix's dropout) is drawn anew from the seed for each
    image, so that a result does not depend on the files beside it.

    Args:
      trained: The run.
      todo: See `jobs`.
      back: Whether to take CycleGAN's way back.
      seed: Of the draws.
      say: Called with a line for each file that cannot be read.
      progress: Whether to draw a progress bar.

    Returns:
      How many files could not be read.

    Raises:
      InputError: If the run is of another family, or has no way back.
      RunError: If a result cannot be written.
    """
    built = trained.built
    family = built.config.game.family
    if built.command != "translate":
        raise InputError(
            f"jaxgan translate makes files of files of the same size, and a run of {family} does not; see jaxgan "
            f"{built.command}"
        )
    if back and built.back is None:
        raise InputError(f"a run of {family} has no way back; leave out --back")
    field = built.back if back and built.back else built.given[0]
    reader = built.domain.reader(field, built.fields[field], [job.file for job in todo])
    for remark in reader.remarks:
        say(remark)
    given = _Progress(todo, reader.read, "Translating", say, progress)

    @jax.jit
    def make(state: State, given: jax.Array) -> jax.Array:
        return built.game.sample(state, Keys.of(jax.random.key(seed), 1), built.domain.decode({field: given}))

    state = _for_sampling(trained.state)
    with given.bar:
        for job, example in given.read():
            made = built.domain.encode(np.asarray(make(state, example[None])))[0]
            with writing(job.out):
                built.domain.save(made, job.out)
            given.bar.update()
    return given.unreadable


def _for_sampling(state: State) -> State:
    """What sampling needs of a state."""
    return state.averaged().replace(opt={}, ema={}, memory=())


def upscale(
    trained: Trained,
    todo: Sequence[Job],
    *,
    tile: int = 128,
    say: Say = print,
    progress: bool = True,
) -> int:
    """Enlarges image files with a run of super-resolution, as `enlarged` does it.

    Args:
      trained: The run.
      todo: See `jobs`.
      tile: See `enlarged`; where all images are smaller, as large as the largest.
      say: Called with a line for each file that cannot be read.
      progress: Whether to draw a progress bar.

    Returns:
      How many files could not be read.

    Raises:
      InputError: As `enlarged`.
      RunError: If a result cannot be written.
    """
    _check_scale(trained)
    built = trained.built
    channels, ranges = built.fields["input"].shape[2], getattr(built.domain, "ranges", {})
    seen = survey([job.file for job in todo], whole=False, span=ranges.get("real"), apart=True)
    spans = {todo[i].file: span for i, span in seen.ranges.items()}
    for remark in _kept(seen):
        say(remark)
    given = _Progress(
        todo, lambda file: layers.read(file, channels, spans.get(file)), "Enlarging", say, progress
    )
    waiting: deque[tuple[Job, layers.Layers]] = deque()

    def read() -> Iterator[np.ndarray]:
        for job, image in given.read():
            waiting.append((job, image))
            yield image.pixels

    with given.bar:
        for made in enlarged(trained, read(), min(tile, max(map(max, seen.sizes), default=1))):
            job, image = waiting.popleft()
            layers.save(image, made, job.out)
            given.bar.update()
    return given.unreadable


def _kept(seen: Survey) -> Iterator[str]:
    """What users are told of images that are more than bytes in sRGB, or are converted to these."""
    if seen.counts["alpha"]:
        yield f"{seen.counts['alpha']} of {seen.count} images have transparency, which is enlarged by a bicubic filter"
    if deep := seen.counts["deep"] + seen.counts["wide"]:
        each = [
            f"black at {low:.7g} and white at {high:.7g}" for low, high in dict.fromkeys(seen.ranges.values())
        ]
        span = ", or ".join(each)
        yield f"{deep} of {seen.count} images are of more than 8 bits, and get 16{span and f', {span}'}"
    if converted := seen.converted("cropped", "alpha", "deep", "wide"):
        yield f"of {seen.count} images {converted}"


def _check_scale(trained: Trained) -> tuple[int, int]:
    """How many times a run enlarges, and how far it looks; refuses runs that do not."""
    built = trained.built
    if built.command != "upscale":
        raise InputError(
            f"jaxgan upscale enlarges images, and a run of {built.config.game.family} does not; see jaxgan "
            f"{built.command}"
        )
    image, small = (built.fields[name].shape for name in ("real", "input"))
    return image[0] // small[0], built.reach


class _Canvas:
    """An image that is enlarged tile by tile."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.made: np.ndarray | None = None
        self.left = 0


class _Tile(NamedTuple):
    canvas: _Canvas
    y: int
    x: int


def enlarged(
    trained: Trained,
    given: Iterable[np.ndarray],
    tile: int = 128,
    finish: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Iterator[np.ndarray]:
    """Enlarges images with a run of super-resolution, with its averaged weights where there are any.

    Images are cut into tiles, each with as much around it as the network sees (`Built.reach`), so that
    there are no seams: the result is that of the whole image to rounding. Tiles of all images are enlarged in batches
    of one shape, by one compiled program, on all local devices.

    Args:
      trained: The run.
      given: Images `[H, W, C]`, each of any size: uint8, or float32 in [-1, 1], as networks see them.
      tile: Side of a tile, in pixels of the given images.
      finish: What becomes of tiles float32 in about [-1, 1]; if not given, uint8 or float32 in [-1, 1], as the images.

    Yields:
      The images, `[scale H, scale W, D]`, in order.

    Raises:
      InputError: If the run is of another family.
    """
    scale, around = _check_scale(trained)
    built = trained.built
    side = tile + 2 * around

    def make(state: State, batch: Any) -> jax.Array:
        keys = Keys.of(jax.random.key(0), len(batch["input"]))
        return built.game.sample(state, keys, built.domain.decode(batch))

    run, count = parallel.over_examples(make, _for_sampling(trained.state), max(1, PIXELS // side**2))

    def tiles(given: Iterable[np.ndarray]) -> Iterator[_Tile]:
        for image in given:
            corners = list(itertools.product(*(range(0, size, tile) for size in image.shape[:2])))
            canvas = _Canvas(image)
            canvas.left = len(corners)
            yield from (_Tile(canvas, y, x) for y, x in corners)

    for dtype, alike in itertools.groupby(given, lambda image: image.dtype):  # each is a program of its own
        ready = finish or (built.domain.encode if dtype == np.uint8 else lambda made: np.clip(made, -1, 1))
        for some in _batched(tiles(alike), count):
            made = ready(np.asarray(run(_crops(some, count, side, around))))
            for (canvas, y, x), crop in zip(some, made, strict=False):
                if canvas.made is None:
                    height, width, _ = canvas.image.shape
                    canvas.made = np.empty((scale * height, scale * width, crop.shape[2]), crop.dtype)
                part = canvas.made[scale * y : scale * (y + tile), scale * x : scale * (x + tile)]
                part[:] = crop[scale * around :, scale * around :][: part.shape[0], : part.shape[1]]
                canvas.left -= 1
                if not canvas.left:
                    yield canvas.made


def _crops(tiles: Sequence[_Tile], count: int, side: int, around: int) -> dict[str, np.ndarray]:
    """Tiles with what is around them, and where in these crops the image is; black for tiles that are missing."""
    channels, dtype = tiles[0].canvas.image.shape[2], tiles[0].canvas.image.dtype
    shown, inside = (
        np.full((count, side, side, channels), 0 if dtype == np.uint8 else -1, dtype),
        np.zeros((count, side, side, 1), np.float32),
    )
    for i, (canvas, y, x) in enumerate(tiles):
        # Where the crop begins in the image; and where the image begins in the crop.
        top, left = max(0, y - around), max(0, x - around)
        down, right = max(0, around - y), max(0, around - x)
        seen = canvas.image[top : y - around + side, left : x - around + side]
        height, width, _ = seen.shape
        shown[i, down : down + height, right : right + width] = seen
        inside[i, down : down + height, right : right + width] = 1
    return {"input": shown, "inside": inside}


def _batched(tiles: Iterable[_Tile], count: int) -> Iterator[list[_Tile]]:
    each = iter(tiles)
    while some := list(itertools.islice(each, count)):
        yield some
