"""What a trained run makes: image sheets, arrays, and walks between latents."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import experiment, report
from jaxgan.checkpoint import sha256, unflatten
from jaxgan.errors import InputError
from jaxgan.game import Keys, State
from jaxgan.inspection import load_run

CHUNK = 256
Index = TypeVar("Index", jax.Array, np.ndarray)


class Trained(NamedTuple):
    """A run as read back from its folder."""

    built: experiment.Experiment
    state: State
    step: int
    digest: str
    """The state's `jaxgan.checkpoint.sha256`."""


def load(path: Path, warn: Callable[[str], None]) -> Trained:
    """The newest good state of a run.

    Raises:
      InputError: If the folder is not a run or has no good checkpoint.
    """
    saved = load_run(path, warn)
    built = experiment.build(saved.config, saved.manifest["classes"], saved.manifest["examples"])
    state = unflatten(jax.eval_shape(lambda: experiment.initial(built)), saved.table)
    return Trained(built, jax.tree.map(jnp.asarray, state), saved.step, sha256(saved.table))


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


def images(trained: Trained, num: int, seed: int, *, walk: int = 1) -> np.ndarray:
    """Samples with the averaged weights where there are any.

    Args:
      trained: The run.
      num: How many images.
      seed: Image i depends on `seed` and i alone, not on `num`.
      walk: If more than 1, rows of this many images: row r walks from the latent of plain image r to that of r + 1.

    Returns:
      uint8 `[num, H, W, C]`.
    """
    built, state = trained.built, trained.state.averaged()
    latent = built.config.game.latent
    key = jax.random.key(seed)

    def plain_latents(index: jax.Array) -> jax.Array:
        keys = Keys(key, jax.vmap(jax.random.fold_in, (None, 0))(key, index))
        return keys.fold("latent").normal((latent,))

    @jax.jit
    def chunk(state: State, first: jax.Array) -> jax.Array:
        index = first + jnp.arange(CHUNK, dtype=jnp.int32)
        batch = {"label": labels(index, built.classes, walk)} if built.classes else {}
        if walk > 1:
            a, b = (plain_latents(index // walk + end) for end in (0, 1))
            t = (index % walk).astype(jnp.float32)[:, None] / (walk - 1)
            batch["latent"] = spherical(a, b, t)
        return built.game.sample(state, Keys.of(key, CHUNK, first), batch)

    made = [report.to_uint8(np.asarray(chunk(state, np.int32(i)))) for i in range(0, num, CHUNK)]
    return np.concatenate(made)[:num]


def write(
    trained: Trained, made: np.ndarray, out: Path, *, seed: int, columns: int | None = None, walk: int = 1
) -> None:
    """Writes images as a sheet (`.png`) or as arrays with their labels and origin (`.npz`).

    Args:
      trained: The run.
      made: What `images` gave.
      out: The file.
      seed: What `images` was given.
      columns: Length of a row of the sheet; by default one of each class, or as square as possible.
      walk: Length of a walk between latents, 1 for plain samples.

    Raises:
      InputError: If the ending is another, or the file cannot be written.
    """
    check_output(out)
    classes = trained.built.classes
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".png":
            report.save(report.grid(made, columns or classes or None), out)
        else:
            arrays = {"image": made, "seed": seed, "step": trained.step, "state_sha256": trained.digest}
            if classes:
                arrays["label"] = labels(np.arange(len(made), dtype=np.int32), classes, walk)
            np.savez_compressed(out, allow_pickle=False, **arrays)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from None


def check_output(out: Path) -> None:
    """Refuses an ending that `write` does not know, and a folder, before any work is done."""
    if out.suffix not in (".png", ".npz"):
        raise InputError(f"--out {out} must end in .png (a sheet) or .npz (arrays)")
    if out.is_dir():
        raise InputError(f"--out {out} is a folder; give the name of a file")
