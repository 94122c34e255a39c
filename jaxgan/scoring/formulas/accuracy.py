"""The classification accuracy score: how well a classifier that saw only generated images knows real ones.

Ravuri and Vinyals, Classification Accuracy Score for Conditional Generative Models, 2019.

For example:

    >>> classifier = Classifier(2, width=2, pairs=1)
    >>> images, labels = np.zeros((4, 8, 8, 1), np.uint8), np.array([0, 0, 0, 1])
    >>> shapes = jax.eval_shape(classifier.init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
    >>> zeros = jax.tree.map(lambda x: jnp.zeros(x.shape), shapes)
    >>> accuracy(classifier, zeros, images, labels)  # where all weights are 0, all images are of class 0
    0.75
    >>> train_classifier(classifier, images, labels, Training(batch_size=8))
    Traceback (most recent call last):
    ValueError: training takes batches of 8, and there are 4 images
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from jaxgan.networks.classifier import Classifier

CHUNK = 200
"""Images that are judged at once."""


class Training(NamedTuple):
    """How a classifier is trained: Adam, whose rate falls to 0 along a cosine, on images shifted at random."""

    epochs: int = 15
    batch_size: int = 128
    learning_rate: float = 2e-3
    shift: int = 2
    """Most pixels that an image is shifted by in each direction; what comes in is black."""


def _decoded(images: jax.Array) -> jax.Array:
    return images.astype(jnp.float32) / 127.5 - 1


def _shifted(key: jax.Array, images: jax.Array, most: int) -> jax.Array:
    n, h, w, c = images.shape
    padded = jnp.pad(images, ((0, 0), (most, most), (most, most), (0, 0)))
    offsets = jax.random.randint(key, (n, 2), 0, 2 * most + 1)
    return jax.vmap(lambda x, at: lax.dynamic_slice(x, (at[0], at[1], 0), (h, w, c)))(padded, offsets)


def train_classifier(
    classifier: Classifier,
    images: np.ndarray,
    labels: np.ndarray,
    how: Training = Training(),  # noqa: B008
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Trains a classifier from scratch.

    Args:
      classifier: The network.
      images: uint8 `[N, H, W, C]`, 0 to 255.
      labels: Integers `[N]` below the classifier's number of classes.
      how: The recipe.
      seed: Of the weights, the order and the shifts.

    Returns:
      Its variables.

    Raises:
      ValueError: If images and labels do not fit each other, or are fewer than one batch.
    """
    _check(classifier, images, labels)
    if len(images) < how.batch_size:
        raise ValueError(f"training takes batches of {how.batch_size}, and there are {len(images)} images")
    steps = len(images) // how.batch_size
    optimizer = optax.adam(optax.cosine_decay_schedule(how.learning_rate, how.epochs * steps))
    weights_key, order_key, shift_key = jax.random.split(jax.random.key(seed), 3)

    def objective(params: Any, stats: Any, image: jax.Array, label: jax.Array) -> tuple[jax.Array, Any]:
        (_, logits), stats = classifier.apply(
            {"params": params, **stats}, image, train=True, mutable=list(stats)
        )
        return optax.softmax_cross_entropy_with_integer_labels(logits, label).mean(), stats

    @jax.jit
    def epoch(carry: Any, number: jax.Array, images: jax.Array, labels: jax.Array) -> Any:
        order = jax.random.permutation(jax.random.fold_in(order_key, number), len(images))
        batches = order[: steps * how.batch_size].reshape(steps, how.batch_size)

        def step(carry: Any, given: Any) -> tuple[Any, jax.Array]:
            params, stats, state = carry
            rows, i = given
            image = _shifted(jax.random.fold_in(shift_key, steps * number + i), images[rows], how.shift)
            gradient = jax.value_and_grad(objective, has_aux=True)
            (loss, stats), grads = gradient(params, stats, _decoded(image), labels[rows])
            updates, state = optimizer.update(grads, state, params)
            return (optax.apply_updates(params, updates), stats, state), loss

        return lax.scan(step, carry, (batches, jnp.arange(steps, dtype=jnp.uint32)))

    variables = classifier.init(weights_key, _decoded(jnp.asarray(images[:2])), train=True)
    params, stats = variables["params"], {k: v for k, v in variables.items() if k != "params"}
    carry = (params, stats, optimizer.init(params))
    whole = (jnp.asarray(images), jnp.asarray(labels, jnp.int32))
    for number in range(how.epochs):
        carry, losses = epoch(carry, jnp.uint32(number), *whole)
        if not np.isfinite(losses[-1]):
            raise ValueError(f"the classifier's loss is {float(losses[-1])} after epoch {number + 1}")
    return {"params": carry[0], **carry[1]}


def accuracy(
    classifier: Classifier, variables: dict[str, Any], images: np.ndarray, labels: np.ndarray
) -> float:
    """The share of images that a classifier gives their label, 0 to 1.

    Args:
      classifier: The network.
      variables: Its variables.
      images: uint8 `[N, H, W, C]`, 0 to 255.
      labels: Integers `[N]`.

    Raises:
      ValueError: If images and labels do not fit each other.
    """
    _check(classifier, images, labels)

    @jax.jit
    def judge(x: jax.Array) -> jax.Array:
        _, logits = classifier.apply(variables, _decoded(x))
        return jnp.argmax(logits, 1)  # pyright: ignore[reportArgumentType]

    found = [np.asarray(judge(images[i : i + CHUNK])) for i in range(0, len(images), CHUNK)]
    return float(np.mean(np.concatenate(found) == labels))


def _check(classifier: Classifier, images: np.ndarray, labels: np.ndarray) -> None:
    if images.ndim != 4 or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"images must be uint8 [N, H, W, C], got {images.dtype} {list(images.shape)}")
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(f"labels must be integers [{len(images)}], got {labels.dtype} {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= classifier.classes:
        raise ValueError(
            f"labels run from {labels.min()} to {labels.max()}; there are {classifier.classes} classes"
        )
