"""Conditioning by concatenation, the first way to condition a GAN (Mirza and Osindero, 2014)."""

import jax
import jax.numpy as jnp


def concatenate_label(x: jax.Array, label: jax.Array | None, classes: int) -> jax.Array:
    """Appends the one-hot label to the last dimension of `x`, repeated over any dimensions between.

    Args:
      x: `[N, ..., C]`.
      label: `[N]` int in [0, classes), or None when `classes` is 0.
      classes: Number of classes, 0 for an unconditional network.

    Returns:
      `[N, ..., C + classes]`.

    Raises:
      ValueError: If a conditional network gets no label.
    """
    if classes == 0:
        return x
    if label is None:
        raise ValueError(f"this network is conditional on {classes} classes: call it with a label")
    one_hot = jax.nn.one_hot(label, classes, dtype=x.dtype)
    one_hot = one_hot.reshape(x.shape[0], *(1,) * (x.ndim - 2), classes)
    return jnp.concatenate([x, jnp.broadcast_to(one_hot, (*x.shape[:-1], classes))], -1)
