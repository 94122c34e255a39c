"""Features of examples: the networks that scores look through, behind one interface.

A score means nothing without its network: every one has a name and the SHA-256 of its weights, which stand beside the
score. A network of one's own is a function that makes a `Network`, in `FEATURES` under a name that the `features` of a
domain have, too.

For example:

    >>> network = load("auto", shape=(28, 28, 1))
    >>> network.title
    'FD (fashion-cnn)'
    >>> features, logits = jax.eval_shape(network.run, jnp.zeros((network.batch, 28, 28, 1), jnp.uint8))
    >>> features.shape[1], logits.shape[1]
    (128, 10)
    >>> load("fashion-cnn", shape=(32, 32, 3))
    Traceback (most recent call last):
    jaxgan.errors.InputError: features fashion-cnn are of 28x28 grey images, these are 32x32 colour; take ...
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import parallel
from jaxgan.data.sources import Field
from jaxgan.domains import Domain, Image
from jaxgan.errors import InputError
from jaxgan.layers import resize
from jaxgan.networks import classifier, efficientnet, inception, weights
from jaxgan.networks.classifier import FASHION, Classifier

Resize = Literal["clean", "bilinear"]

FID_WEIGHTS = "6726825d"
"""SHA-256 of the standard weights of the FID Inception network begins so, as their file's name says."""
EFFICIENTNET_SIZE = 128
"""Pixels that images have for EfficientNet-Lite0: enough for small images, a third of the work of its 224."""
IMAGES = Image()
MOST_NUMBERS = 2048
"""Numbers of an example that are its own features, at most: distances of distributions are cubic in them."""
BATCH = 100
"""Examples of a batch on one device, always: a feature does not depend on how many are asked for at once."""


class Extracted(NamedTuple):
    """What a network makes of examples, float32."""

    features: np.ndarray
    """`[N, d]`."""
    logits: np.ndarray
    """`[N, classes]`."""


class Network(NamedTuple):
    """A feature network with its weights."""

    name: str
    sha256: str
    """The SHA-256 of the weights' file."""
    resize: str
    """How examples come to the network's size: "none", "clean" or "bilinear", with the size."""
    title: str
    """What scores by it are called: "FID" is for one network alone."""
    run: Callable[[np.ndarray], tuple[jax.Array, jax.Array]]
    """Examples as they are stored, `[batch, ...]`, to features and logits, compiled."""
    batch: int
    """Examples that `run` takes at once."""

    def extract(
        self, batches: Iterable[np.ndarray], seen: Callable[[int], object] = lambda n: None
    ) -> Extracted:
        """Features and logits of all examples.

        Args:
          batches: Examples as they are stored, `[n, ...]`, any number of batches of any sizes.
          seen: Called with the number of examples that are done since the last call.

        Raises:
          InputError: If there are no examples, or a feature is not finite.
        """
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for batch in _regular(batches, self.batch):
            # What is added has no part in the features of others.
            full = np.zeros((self.batch, *batch.shape[1:]), batch.dtype)
            full[: len(batch)] = batch
            features, logits = self.run(full)
            found.append((np.asarray(features)[: len(batch)], np.asarray(logits)[: len(batch)]))
            seen(len(batch))
        if not found:
            raise InputError("there is nothing to look at")
        features, logits = (np.concatenate(part) for part in zip(*found, strict=True))
        if not (np.isfinite(features).all() and np.isfinite(logits).all()):
            raise InputError(f"features of {self.name} are not finite; the weights may be damaged")
        return Extracted(features, logits)


def _regular(batches: Iterable[np.ndarray], size: int) -> Iterable[np.ndarray]:
    """The same examples in batches of one size, but for the last."""
    rest: np.ndarray | None = None
    for batch in batches:
        rest = batch if rest is None else np.concatenate([rest, batch])
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest is not None and len(rest):
        yield rest


def nothing() -> Network:
    """A network that sees nothing, for scores that look at the examples themselves."""
    none = jnp.zeros((BATCH, 0))
    return Network("none", "", "none", "", lambda images: (none, none), BATCH)


class Asked(NamedTuple):
    """What a feature network is asked for."""

    domain: Domain
    shape: tuple[int, ...]
    """The shape of an example, as it is stored."""
    dtype: str
    """The dtype of an example, as it is stored."""
    weights: Path | None
    """A file in place of the network's own."""
    resize: Resize | None
    """How images come to the network's size; None for its own way."""


def load(
    name: str,
    shape: tuple[int, ...],
    weights_file: Path | None = None,
    how: Resize | None = None,
    *,
    domain: Domain = IMAGES,
    dtype: str = "uint8",
) -> Network:
    """The network of a name, for examples of one kind.

    Args:
      name: One of the domain's `features`. Of images: "fashion-cnn" for 28x28 grey ones, shipped;
        "efficientnet-lite0", of the extra `features`; "inception", the network of FID, whose weights the user brings.
        "numbers" takes whatever networks see of an example as its features. "auto" is the choice of the domain.
      shape: Of an example, as it is stored; grey images go to colour networks three times.
      weights_file: Weights in place of the network's own.
      how: How images come to the network's size: "bilinear" as in pytorch-fid, which is inception's own way, or
        "clean", antialiased as in clean-fid, which is that of EfficientNet-Lite0.
      domain: What the examples are.
      dtype: Of an example, as it is stored.

    Raises:
      InputError: If the network does not take such examples, or its weights are missing or wrong.
    """
    name = domain.auto(shape) if name == "auto" else name
    if name not in domain.features:
        raise InputError(
            f"no features of {domain.plural} are called {name}; there are {', '.join(('auto', *domain.features))}"
        )
    return FEATURES[name](Asked(domain, shape, dtype, weights_file, how))


def _numbers(asked: Asked) -> Network:
    if asked.weights or asked.resize:
        raise InputError(
            "features numbers have no weights and resize nothing; leave out --weights and --resize"
        )

    seen = asked.domain.decoded({"real": Field(asked.shape, asked.dtype)})["real"]
    if (count := math.prod(seen.shape)) > MOST_NUMBERS:
        raise InputError(
            f"features numbers are of {MOST_NUMBERS} numbers at most, and {asked.domain.plural} of this size have "
            f"{count}: give the domain a feature network (jaxgan.scoring.features), or smaller data"
        )

    def look(variables: Any, examples: jax.Array) -> tuple[jax.Array, jax.Array]:
        seen = asked.domain.decode({"real": examples})["real"]
        return seen.reshape(len(seen), -1).astype(jnp.float32), jnp.zeros((len(seen), 0))

    return Network("numbers", "", "none", "FD (numbers)", *parallel.over_examples(look, {}, BATCH))


def _efficientnet(asked: Asked) -> Network:
    path = asked.weights or efficientnet.package_weights()
    module, variables = efficientnet.EfficientNetLite0(), efficientnet.load(path)
    how = asked.resize or "clean"

    def apply(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        return module.apply(variables, (_resized(images, EFFICIENTNET_SIZE, how) - 127) / 128)  # pyright: ignore[reportReturnType]

    return Network(
        "efficientnet-lite0",
        weights.sha256(path),
        f"{how} to {EFFICIENTNET_SIZE}",
        "FD (efficientnet-lite0)",
        *parallel.over_examples(apply, variables, BATCH),
    )


def _inception(asked: Asked) -> Network:
    if asked.weights is None:
        raise InputError(
            "--features inception needs --weights FILE: the weights of FID, pt_inception-2015-12-05-6726825d.pth, "
            "are not part of jaxgan"
        )
    module, variables = inception.FIDInception(), inception.load(asked.weights)
    how = asked.resize or "bilinear"

    def look(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = _resized(images, inception.SIZE, how) / 127.5 - 1
        found, logits = module.apply(variables, x)  # pyright: ignore[reportGeneralTypeIssues]
        # Inception scores have always been computed without this bias.
        return found, logits - variables["params"]["fc"]["bias"]

    digest = weights.sha256(asked.weights)
    title = "FID" if digest.startswith(FID_WEIGHTS) else "FD (inception, other weights)"
    return Network(
        "inception",
        digest,
        f"{how} to {inception.SIZE}",
        title,
        *parallel.over_examples(look, variables, BATCH),
    )


def _resized(images: jax.Array, size: int, how: Resize) -> jax.Array:
    """uint8 `[N, H, W, 1 or 3]` to float32 `[N, size, size, 3]`, still 0 to 255."""
    x = images.astype(jnp.float32)
    x = (resize.antialiased if how == "clean" else resize.bilinear)(x, size)
    return jnp.broadcast_to(x, (*x.shape[:3], 3))


def _fashion(asked: Asked) -> Network:
    resolution, _, channels = asked.shape
    if (resolution, channels) != (28, 1):
        kind = "grey" if channels == 1 else "colour"
        raise InputError(
            f"features fashion-cnn are of 28x28 grey images, these are {resolution}x{resolution} {kind}; "
            "take --features efficientnet-lite0 or inception"
        )
    if asked.resize is not None:
        raise InputError("features fashion-cnn resize nothing; leave out --resize")
    path = asked.weights or FASHION
    module, variables = Classifier(10), classifier.load(path)

    def apply(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        return module.apply(variables, images.astype(jnp.float32) / 127.5 - 1)  # pyright: ignore[reportReturnType]

    return Network(
        "fashion-cnn",
        weights.sha256(path),
        "none",
        "FD (fashion-cnn)",
        *parallel.over_examples(apply, variables, BATCH),
    )


FEATURES: dict[str, Callable[[Asked], Network]] = {
    "fashion-cnn": _fashion,
    "efficientnet-lite0": _efficientnet,
    "inception": _inception,
    "numbers": _numbers,
}
"""What makes the network of each name."""
