"""What a trained run makes: image sheets, arrays, and walks between latents.

For example:

    >>> from jaxgan import config
    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> settings = config.parse(given)
    >>> built = experiment.of_source(settings, experiment.source_of(settings))
    >>> state = jax.jit(lambda: experiment.initial(built))()
    >>> trained = Trained(built, state, step=0, digest="")  # of a run's folder: `load(folder, print)`
    >>> made = images(trained, 3, seed=0)
    >>> made.shape, made.dtype
    ((3, 28, 28, 1), dtype('uint8'))
    >>> write(trained, made, Path("sheet.png"), seed=0)
"""

import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import experiment, memory
from jaxgan.data import sentences, text
from jaxgan.data.sources import TFDS
from jaxgan.domains import ARRAYS, Domain, Image
from jaxgan.errors import InputError, placing, replacing, writing
from jaxgan.experiment import Own, provenance
from jaxgan.families import Built
from jaxgan.game import Keys, State
from jaxgan.layers.norm import MOMENTUM
from jaxgan.runs.checkpoint import Table, sha256, unflatten
from jaxgan.runs.inspection import load_run

CHUNK = 256
Index = TypeVar("Index", jax.Array, np.ndarray)


class Trained(NamedTuple):
    """A run as read back from its folder."""

    built: Built
    state: State
    step: int
    digest: str
    """The state's `jaxgan.runs.checkpoint.sha256`."""


def load(path: Path, warn: Callable[[str], None], *, best: bool = False, own: Own | None = None) -> Trained:
    """The newest good state of a run, or the one that scored best while it was trained.

    Raises:
      InputError: If the folder is not a run or has no good checkpoint, or `own`, the game, is needed and not given.
    """
    saved = load_run(path, warn, best=best)
    try:
        built = experiment.of_manifest(saved.config, saved.manifest, own)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if how := provenance.differs(saved.manifest, built.origins):
        warn(f"{path} was trained with other files ({how}): what is made now is made by what they are now")
    return Trained(built, restored(built, saved.table), saved.step, sha256(saved.table))


def restored(built: Built, table: Table) -> State:
    """The state that a checkpoint holds, on the default device.

    Raises:
      InputError: It is of another model.
    """
    state = unflatten(jax.eval_shape(lambda: experiment.initial(built)), table)
    return jax.tree.map(jnp.asarray, state)


def spherical(a: jax.Array, b: jax.Array, t: jax.Array) -> jax.Array:
    """Spherical interpolation from `a` (t = 0) to `b` (t = 1), which keeps the length of Gaussian latents typical.

    Args:
      a: Latents `[..., Z]`.
      b: Likewise.
      t: In [0, 1], broadcast against `[..., 1]`.

    References:
      White, Sampling Generative Networks, 2016, section 2.1.
    """
    cosine = jnp.sum(a * b, -1, keepdims=True) / (
        jnp.linalg.norm(a, axis=-1, keepdims=True) * jnp.linalg.norm(b, axis=-1, keepdims=True)
    )
    angle = jnp.arccos(jnp.clip(cosine, -1, 1))
    near = jnp.sin(angle) < 1e-4
    sine = jnp.where(near, 1, jnp.sin(angle))
    start, end = jnp.sin((1 - t) * angle) / sine, jnp.sin(t * angle) / sine
    return jnp.where(near, (1 - t) * a + t * b, start * a + end * b)


def labels(index: Index, classes: int, walk: int) -> Index:
    """The label of image `index`: each class in turn, one for a whole walk of `walk` images."""
    return index // walk % classes


Maker = Callable[[State, jax.Array, Any, Any], jax.Array]
"""Makes samples from a state, a key, the number of the first of them, and their labels if these are not as usual."""


def maker(
    built: Built,
    *,
    walk: int = 1,
    truncation: float | None = None,
    examples: Mapping[str, np.ndarray] | None = None,
    label: int | None = None,
) -> Maker:
    """A compiled function that makes `CHUNK` samples, as networks make them, `[CHUNK, ...]`; see `batches`.

    Where samples are made from `examples`, sample i is of example i, counted around. Of a run of classes each class has
    its turn, or all samples are of the class `label`.

    Raises:
      InputError: If a walk or truncation is asked of a run without Gaussian latents, or a class of a run that has not
        that many.
    """
    latents = built.latents
    given = {name: jnp.asarray(examples[name]) for name in built.given} if examples is not None else {}
    if label is not None and not 0 <= label < built.classes:
        raise InputError(
            f"label is {label}, and this run makes samples of {built.classes} classes, counted from 0"
            if built.classes
            else "this run makes no samples of classes; leave out label"
        )
    if latents is None and (walk > 1 or truncation is not None):
        raise InputError(
            "this run has no latents to walk between or to truncate; leave out --interpolate and --truncation (a game "
            "of one's own is told of them by latents=)"
        )
    if latents and latents.kind != "normal" and truncation is not None:
        raise InputError(
            f"--truncation is of Gaussian latents, and those of this run are of kind {latents.kind!r}; leave it out"
        )

    def plain_latents(key: jax.Array, index: jax.Array, label: jax.Array | None) -> jax.Array:
        assert latents is not None
        keys = Keys(key, jax.vmap(jax.random.fold_in, (None, 0))(key, index))
        return latents.draw(keys, truncation, label)

    @jax.jit
    def make(state: State, key: jax.Array, first: jax.Array, asked: jax.Array | None) -> jax.Array:
        index = first + jnp.arange(CHUNK, dtype=jnp.int32)
        batch = {name: x[index // walk % len(x)] for name, x in given.items()}
        batch = built.domain.decode(batch) if batch else batch
        if built.classes:
            each = labels(index, built.classes, walk) if asked is None else asked
            batch["label"] = each if label is None else jnp.full_like(each, label)
        if walk > 1:
            a, b = (plain_latents(key, index // walk + end, batch.get("label")) for end in (0, 1))
            t = (index % walk).astype(jnp.float32)[:, None] / (walk - 1)
            batch["latent"] = spherical(a, b, t)
        elif truncation is not None:
            batch["latent"] = plain_latents(key, index, batch.get("label"))
        return built.game.sample(state, Keys.of(key, CHUNK, first), batch)

    return make


def batches(
    built: Built, make: Maker, state: State, num: int, seed: int, asked: np.ndarray | None = None
) -> Iterator[np.ndarray]:
    """Samples, a few at a time.

    Args:
      built: The experiment.
      make: What `maker` gave. With a walk of more than 1, rows of this many images: row r walks from the latent of
        plain image r to that of r + 1. With truncation, latents are Gaussian, drawn again until no number is larger
        than this (Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2018, section 3.1).
      state: The state to sample from: see `State.averaged`.
      num: How many.
      seed: Sample i depends on `seed` and i alone, not on `num`.
      asked: The classes that samples are to be of, `[num]` int32; each in turn if not given.

    Yields:
      Samples as "real" is stored, `[n, ...]`; images are uint8 `[n, H, W, C]`.
    """
    key = jax.random.key(seed)
    for i in range(0, num, CHUNK):
        some = None if asked is None else np.resize(asked[i : i + CHUNK], CHUNK)
        yield built.domain.encode(np.asarray(make(state, key, np.int32(i), some)))[: num - i]


def check_num(built: Built, num: int, what: str) -> None:
    """Refuses more samples than this process can hold, before the first is made.

    Raises:
      InputError: So it is; `what` says what would hold them.
    """
    real = built.fields["real"]
    size = 2 * num * math.prod(real.shape) * np.dtype(real.dtype).itemsize  # in parts, and joined
    memory.check(
        f"{num} {built.domain.plural}", [memory.Part(what, size, "ask for fewer")], memory.of_process()
    )


def standing(built: Built, state: State, count: int, seed: int, asked: np.ndarray | None = None) -> State:
    """The state with standing statistics in place of batch norm's running averages: means over so many batches.

    Running averages are those of raw weights, and of weights that have gone on changing; these are of the state's own.
    Batches are as large as in training, and of latents that are not truncated.

    Args:
      built: The experiment.
      state: See `State.averaged`.
      count: How many batches.
      seed: Of their latents, which are not those of images of this seed.
      asked: The classes of all that is in them, `[count * batch_size]` int32; each in turn if not given.

    Raises:
      InputError: If there is no batch norm, or images are not made of latents.

    References:
      Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2018, appendix C.
    """
    fakes, size = built.game.fakes, built.config.batch_size
    names = [name for name in fakes.networks if "batch_stats" in state.stats[name]] if fakes else []
    if fakes is None or built.latents is None or not names:
        raise InputError("this run makes no images from latents through batch norm; leave out --standing")
    # A running average that starts at 0 holds what one batch adds to it, and nothing else.
    none = {name: jax.tree.map(jnp.zeros_like, state.stats[name]["batch_stats"]) for name in names}

    def with_statistics(state: State, of: Mapping[str, Any]) -> State:
        new = {name: {**state.stats[name], "batch_stats": of[name]} for name in names}
        return state.replace(stats={**state.stats, **new})

    @jax.jit
    def compute(state: State, key: jax.Array, asked: jax.Array | None) -> State:
        def add(i: jax.Array, total: Any) -> Any:
            index = i * size + jnp.arange(size, dtype=jnp.int32)
            each = labels(index, built.classes, 1) if asked is None else asked[index]
            batch = {"label": each} if built.classes else {}
            keys = Keys.of(key, size, i * size).fold("standing")
            _, aux = fakes.make(with_statistics(state, none), batch, keys)
            return jax.tree.map(jnp.add, total, {name: aux.stats[name]["batch_stats"] for name in names})

        total = jax.lax.fori_loop(0, count, add, none)
        return with_statistics(state, jax.tree.map(lambda x: x / (count * (1 - MOMENTUM)), total))

    return compute(state, jax.random.key(seed), asked)


def of_text(built: Built, caption: str, minilm: Path | None = None) -> dict[str, np.ndarray]:
    """What samples of one caption are made from: the fields of `Built.given`, `[1, ...]` each.

    Raises:
      InputError: If the run makes no images from text, or the caption is empty or too long; or see
        `sentences.open_encoder`.
    """
    if built.given not in (("text",), ("embedding",)):
        raise InputError("this run makes no images from text; leave out --text")
    if not caption.isprintable():
        raise InputError("--text holds characters that cannot be printed; leave them out")
    if not caption.strip():
        raise InputError("--text is empty; give a caption, such as those that the run was trained on")
    if built.given == ("embedding",):
        return {"embedding": _embedded(built, caption, minilm)[None]}
    if minilm is not None:
        raise InputError("--minilm is of runs that take embeddings; leave it out")
    (length,), size = built.fields["text"].shape, len(caption.encode(errors="surrogateescape"))
    if size > length:
        raise InputError(f"--text has {size} bytes, and captions of this run at most {length}; shorten it")
    return {"text": text.encode(caption, length)[None]}


def _embedded(built: Built, caption: str, minilm: Path | None) -> np.ndarray:
    """The embedding of a caption by the network that embedded those of the data, `[E]`."""
    source = built.open(None)
    known = source.embedded_by if isinstance(source, TFDS) else None
    if known is None:
        raise InputError("what made this data's embeddings is not known; leave out --text")
    encoder = sentences.open_encoder(minilm)
    if encoder.sha256 != known:
        raise InputError(
            f"the data was embedded by other weights (SHA-256 {known[:12]}) than those installed "
            f"({encoder.sha256[:12]}); install those, or prepare the data again"
        )
    found = encoder(caption)
    if encoder.cut:
        raise InputError("--text has more words than are embedded; shorten it")
    return found


def images(
    trained: Trained,
    num: int,
    seed: int,
    *,
    walk: int = 1,
    truncation: float | None = None,
    standing_batches: int = 0,
    label: int | None = None,
    caption: str | None = None,
    minilm: Path | None = None,
) -> np.ndarray:
    """Samples of `batches` with the averaged weights where there are any, all at once: `[num, ...]`.

    With a truncation, latents are drawn as by `Latents.draw`. With `standing_batches`, batch norm uses `standing`
    statistics of so many. With a caption, all images are of it, embedded by MiniLM from the place given where the run
    takes embeddings (`sentences.open_encoder`).

    Raises:
      InputError: As `maker`, `standing` and `of_text`.
    """
    built = trained.built
    check_num(built, num, "the arrays")
    examples = experiment.examples(built, num) if caption is None else of_text(built, caption, minilm)
    make = maker(built, walk=walk, truncation=truncation, examples=examples, label=label)
    state = trained.state.averaged()
    state = standing(trained.built, state, standing_batches, seed) if standing_batches else state
    return np.concatenate(list(batches(built, make, state, num, seed)))


def write(
    trained: Trained,
    made: np.ndarray,
    out: Path,
    *,
    seed: int,
    columns: int | None = None,
    walk: int = 1,
    truncation: float | None = None,
    label: int | None = None,
    caption: str | None = None,
) -> None:
    """Writes samples as a sheet (of images `.png`) or as arrays with their labels and origin (`.npz`).

    Args:
      trained: The run.
      made: What `images` gave.
      out: The file.
      seed: What `images` was given.
      columns: Length of a row of the sheet; by default one of each class, or as square as possible.
      walk: Length of a walk between latents, 1 for plain samples.
      truncation: What `images` was given.
      label: The class that all of them are of; None where each class has its turn.
      caption: What all of them are of; None where each is of an example.

    Raises:
      InputError: If the ending is another, or there can be no such file.
      RunError: The file cannot be written; what it was before stays.
    """
    built = trained.built
    check_output(out, built.domain)
    classes = built.classes
    with placing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    if not out.name.endswith(ARRAYS):
        plain = walk == 1 and caption is None
        examples = experiment.examples(built, len(made)) if plain else None
        shown = experiment.shown(built, made, examples, columns)
        with writing(out):
            built.domain.write(shown if label is None else shown._replace(classes=0), out)
        return
    name = "image" if isinstance(built.domain, Image) else "samples"
    arrays: dict[str, Any] = {
        name: made,
        "seed": seed,
        "step": trained.step,
        "state_sha256": trained.digest,
    }
    if classes:
        each = labels(np.arange(len(made), dtype=np.int32), classes, walk)
        arrays["label"] = each if label is None else np.full_like(each, label)
    if truncation is not None:
        arrays["truncation"] = truncation
    if caption is not None:
        arrays["text"] = caption
    with replacing(out) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def check_output(out: Path, domain: Domain) -> None:
    """Refuses an ending that samples of a domain cannot be written to, and a folder, before any work is done."""
    if not out.name.endswith((*domain.sheets, ARRAYS)):
        sheets = f"{' or '.join(domain.sheets)} (a sheet) or " if domain.sheets else ""
        raise InputError(f"--out {out} must end in {sheets}{ARRAYS} (arrays)")
    if out.is_dir():
        raise InputError(f"--out {out} is a folder; give the name of a file")
