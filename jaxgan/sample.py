"""What a trained run makes: image sheets, arrays, and walks between latents."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import config, experiment, report
from jaxgan.checkpoint import Checkpoints, sha256, unflatten
from jaxgan.errors import InputError
from jaxgan.game import Keys, State
from jaxgan.rundir import RunDirectory
from jaxgan.train import initial

CHUNK = 256


class Trained(NamedTuple):
    """A run as read back from its folder."""

    built: experiment.Experiment
    state: State
    step: int
    digest: str
    """The state's `jaxgan.checkpoint.sha256`."""


def read_config(run: RunDirectory) -> config.Experiment:
    """The configuration of a run.

    Raises:
      InputError: If the folder is not a run.
    """
    if not run.config.exists():
        raise InputError(f"{run.path} is not a run: it has no config.toml; give a folder that jaxgan train made")
    return config.load(run.config)


def load(path: Path, warn=print) -> Trained:  # noqa: ANN001
    """The newest good state of a run.

    Raises:
      InputError: If the folder is not a run or has no good checkpoint.
    """
    run = RunDirectory(path)
    settings = read_config(run)
    found = Checkpoints(run.checkpoints).newest(warn)
    if found is None:
        raise InputError(f"{path} has no checkpoint yet; train it further, or lower run.checkpoint_every")
    built = experiment.build(settings)
    state = unflatten(jax.eval_shape(lambda: initial(built)), found[1])
    return Trained(built, jax.tree.map(jnp.asarray, state), found[0], sha256(found[1]))


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


def images(trained: Trained, num: int, seed: int, *, interpolate: bool = False, columns: int = 8) -> np.ndarray:
    """Samples with the averaged weights where there are any.

    Args:
      trained: The run.
      num: How many images.
      seed: Image i depends on `seed` and i alone, not on `num`.
      interpolate: Rows of `columns` images that walk from one latent to another.
      columns: Length of a walk.

    Returns:
      uint8 `[num, H, W, C]`.
    """
    built, state = trained.built, trained.state.averaged()
    latent = built.config.game.latent
    key = jax.random.key(seed)

    @jax.jit
    def chunk(state: State, first: jax.Array) -> jax.Array:
        index = first + jnp.arange(CHUNK, dtype=jnp.int32)
        batch = {"label": (index // columns if interpolate else index) % built.classes} if built.classes else {}
        if interpolate:
            # Keys of the row's two ends; a row's end is the next row's start.
            ends = [jax.vmap(jax.random.fold_in, (None, 0))(key, index // columns + i) for i in (0, 1)]
            a, b = (jax.vmap(lambda k: jax.random.normal(k, (latent,)))(keys) for keys in ends)
            t = (index % columns).astype(jnp.float32)[:, None] / (columns - 1)
            batch["latent"] = spherical(a, b, t)
        return built.game.sample(state, Keys.of(key, CHUNK, first), batch)

    made = [report.to_uint8(np.asarray(chunk(state, np.int32(i)))) for i in range(0, num, CHUNK)]
    return np.concatenate(made)[:num]


def write(trained: Trained, made: np.ndarray, out: Path, *, seed: int, columns: int | None = None) -> None:
    """Writes images as a sheet (`.png`) or as arrays with their labels and origin (`.npz`).

    Raises:
      InputError: If the ending is another, or the file cannot be written.
    """
    classes = trained.built.classes
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".png":
            report.save(report.grid(made, columns or classes or None), out)
        else:
            label = {"label": np.arange(len(made), dtype=np.int32) % classes} if classes else {}
            np.savez_compressed(out, image=made, **label, seed=seed, step=trained.step, state_sha256=trained.digest)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from None


def check_output(out: Path) -> None:
    """Refuses an ending that `write` does not know, before any work is done."""
    if out.suffix not in (".png", ".npz"):
        raise InputError(f"--out {out} must end in .png (a sheet) or .npz (arrays)")
