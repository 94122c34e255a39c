"""How a network learns of the class: labels appended to inputs, or what a discriminator makes of its features.

For example:

    >>> latents, labels = jnp.zeros((2, 3)), jnp.array([0, 1])
    >>> print(concatenate_label(latents, labels, classes=2))
    [[0. 0. 0. 1. 0.]
     [0. 0. 0. 0. 1.]]
    >>> concatenate_label(jnp.zeros((2, 28, 28, 1)), labels, classes=10).shape
    (2, 28, 28, 11)
"""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp

Conditioning = Literal["concatenate", "projection", "auxiliary"]
"""How a discriminator uses classes.

"concatenate": labels are appended to the image (Mirza and Osindero, 2014). "projection": the logit gains the inner
product of the features and an embedding of the label. "auxiliary": it tells the class itself, and sees no label.
"""


def one_hot(label: jax.Array | None, classes: int) -> jax.Array:
    """Labels `[N]` int in [0, classes) as `[N, classes]`, float32.

    Raises:
      ValueError: If there is no label.
    """
    if label is None:
        raise ValueError(f"this network is conditional on {classes} classes: call it with a label")
    return jax.nn.one_hot(label, classes)


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
    rows = one_hot(label, classes).astype(x.dtype).reshape(x.shape[0], *(1,) * (x.ndim - 2), classes)
    return jnp.concatenate([x, jnp.broadcast_to(rows, (*x.shape[:-1], classes))], -1)


def judge(
    features: jax.Array,
    label: jax.Array | None,
    classes: int,
    conditioning: Conditioning,
    dense: Callable[..., jax.Array],
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """The end of a discriminator: from features to what it says.

    Args:
      features: `[N, F]`, float32.
      label: `[N]` int, for a projection.
      classes: Number of classes, 0 for none.
      conditioning: See `Conditioning`; the images of "concatenate" have their labels already.
      dense: `dense(outputs, x, use_bias=...)` applies a new layer to `x`.

    Returns:
      Logits `[N]`; of an auxiliary classifier also logits of the classes `[N, classes]`.

    Raises:
      ValueError: If the conditioning is unknown, or a projection gets no label.

    References:
      Miyato and Koyama, cGANs with Projection Discriminator, ICLR 2018, equation 3.
      Odena et al., Conditional Image Synthesis with Auxiliary Classifier GANs, 2017.
    """
    logits = dense(1, features, use_bias=True)[:, 0]
    if classes == 0 or conditioning == "concatenate":
        return logits
    if conditioning == "auxiliary":
        return logits, dense(classes, features, use_bias=True)
    if conditioning != "projection":
        raise ValueError(
            f"conditioning is {conditioning!r}; known are 'concatenate', 'projection' and 'auxiliary'"
        )
    embedding = dense(features.shape[1], one_hot(label, classes), use_bias=False)
    return logits + jnp.sum(embedding * features, 1)


def split(x: jax.Array, latent: int) -> tuple[jax.Array, jax.Array | None]:
    """What an encoder says: `[N, latent + classes]` to codes and the logits of classes, None where there are none."""
    return x[:, :latent], x[:, latent:] if x.shape[1] > latent else None
