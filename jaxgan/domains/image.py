"""Images: bytes as they are stored, numbers in [-1, 1] for networks."""

import jax
import jax.numpy as jnp
import numpy as np


def decode(batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """Images uint8 to float32 in [-1, 1]; all else stays as it is."""

    def decoded(x: jax.Array) -> jax.Array:
        return x.astype(jnp.float32) / 127.5 - 1 if x.dtype == jnp.uint8 else x

    return {name: decoded(x) for name, x in batch.items()}


def to_uint8(images: np.ndarray) -> np.ndarray:
    """Images in [-1, 1] to uint8 in [0, 255], rounded; values outside are clipped."""
    return np.clip(np.rint((np.asarray(images, np.float32) + 1) * 127.5), 0, 255).astype(np.uint8)
