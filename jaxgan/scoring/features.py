"""Features of images: the networks that scores look through, behind one interface.

A score means nothing without its network: every one has a name and the SHA-256 of its weights, which stand beside the
score.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import parallel
from jaxgan.errors import InputError
from jaxgan.layers import resize
from jaxgan.networks import classifier, efficientnet, inception, weights
from jaxgan.networks.classifier import FASHION, Classifier

Name = Literal["auto", "fashion-cnn", "efficientnet-lite0", "inception"]
NAMES: tuple[Name, ...] = ("auto", "fashion-cnn", "efficientnet-lite0", "inception")
Resize = Literal["clean", "bilinear"]
RESIZES: tuple[Resize, ...] = ("clean", "bilinear")

FID_WEIGHTS = "6726825d"
"""SHA-256 of the standard weights of the FID Inception network begins so, as their file's name says."""
EFFICIENTNET_SIZE = 128
"""Pixels that images have for EfficientNet-Lite0: enough for small images, a third of the work of its 224."""
BATCH = 100
"""Images of a batch on one device, always: a feature does not depend on how many are asked for at once."""


class Extracted(NamedTuple):
    """What a network makes of images, float32."""

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
    """How images come to the network's size: "none", "clean" or "bilinear", with the size."""
    title: str
    """What scores by it are called: "FID" is for one network alone."""
    run: Callable[[np.ndarray], tuple[jax.Array, jax.Array]]
    """Images uint8 `[batch, H, W, C]` to features and logits, compiled."""
    batch: int
    """Images that `run` takes at once."""

    def extract(
        self, batches: Iterable[np.ndarray], seen: Callable[[int], object] = lambda n: None
    ) -> Extracted:
        """Features and logits of all images.

        Args:
          batches: Images uint8 `[n, H, W, C]`, any number of batches of any sizes.
          seen: Called with the number of images that are done since the last call.

        Raises:
          InputError: If there are no images, or a feature is not finite.
        """
        found: list[tuple[np.ndarray, np.ndarray]] = []
        for batch in _regular(batches, self.batch):
            # What is added has no part in the features of others.
            full = np.zeros((self.batch, *batch.shape[1:]), np.uint8)
            full[: len(batch)] = batch
            features, logits = self.run(full)
            found.append((np.asarray(features)[: len(batch)], np.asarray(logits)[: len(batch)]))
            seen(len(batch))
        if not found:
            raise InputError("there are no images to look at")
        features, logits = (np.concatenate(part) for part in zip(*found, strict=True))
        if not (np.isfinite(features).all() and np.isfinite(logits).all()):
            raise InputError(f"features of {self.name} are not finite; the weights may be damaged")
        return Extracted(features, logits)


def _regular(batches: Iterable[np.ndarray], size: int) -> Iterable[np.ndarray]:
    """The same images in batches of one size, but for the last."""
    rest: np.ndarray | None = None
    for batch in batches:
        rest = batch if rest is None else np.concatenate([rest, batch])
        while len(rest) >= size:
            yield rest[:size]
            rest = rest[size:]
    if rest is not None and len(rest):
        yield rest


def nothing() -> Network:
    """A network that sees nothing, for scores that look at the images themselves."""
    none = jnp.zeros((BATCH, 0))
    return Network("none", "", "none", "", lambda images: (none, none), BATCH)


def load(
    name: Name, resolution: int, channels: int, weights_file: Path | None = None, how: Resize | None = None
) -> Network:
    """The network of a name, for images of one kind.

    Args:
      name: "fashion-cnn" for 28x28 grey images, shipped; "efficientnet-lite0", of the extra `features`; "inception",
        the network of FID, whose weights the user brings; "auto" for the first that takes the images.
      resolution: Of the images.
      channels: Of the images; grey ones go to colour networks three times.
      weights_file: Weights in place of the network's own.
      how: How images come to the network's size: "bilinear" as in pytorch-fid, which is inception's own way, or
        "clean", antialiased as in clean-fid, which is that of EfficientNet-Lite0.

    Raises:
      InputError: If the network does not take such images, or its weights are missing or wrong.
    """
    if name == "auto":
        name = "fashion-cnn" if (resolution, channels) == (28, 1) else "efficientnet-lite0"
    if name == "fashion-cnn":
        return _fashion(resolution, channels, weights_file, how)
    if name == "efficientnet-lite0":
        path = weights_file or efficientnet.package_weights()
        module, variables = efficientnet.EfficientNetLite0(), efficientnet.load(path)

        def apply(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
            return module.apply(variables, (_resized(images, EFFICIENTNET_SIZE, how or "clean") - 127) / 128)  # pyright: ignore[reportReturnType]

        return Network(
            name,
            weights.sha256(path),
            f"{how or 'clean'} to {EFFICIENTNET_SIZE}",
            f"FD ({name})",
            *parallel.over_examples(apply, variables, BATCH),
        )
    if name != "inception":
        raise InputError(f"no features are called {name}; there are {', '.join(NAMES)}")
    if weights_file is None:
        raise InputError(
            "--features inception needs --weights FILE: the weights of FID, pt_inception-2015-12-05-6726825d.pth, "
            "are not part of jaxgan"
        )
    inception_net, variables = inception.FIDInception(), inception.load(weights_file)

    manner = how or "bilinear"

    def look(variables: Any, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = _resized(images, inception.SIZE, manner) / 127.5 - 1
        found, logits = inception_net.apply(variables, x)  # pyright: ignore[reportGeneralTypeIssues]
        # Inception scores have always been computed without this bias.
        return found, logits - variables["params"]["fc"]["bias"]

    digest = weights.sha256(weights_file)
    title = "FID" if digest.startswith(FID_WEIGHTS) else "FD (inception, other weights)"
    return Network(
        name, digest, f"{manner} to {inception.SIZE}", title, *parallel.over_examples(look, variables, BATCH)
    )


def _resized(images: jax.Array, size: int, how: Resize) -> jax.Array:
    """uint8 `[N, H, W, 1 or 3]` to float32 `[N, size, size, 3]`, still 0 to 255."""
    x = images.astype(jnp.float32)
    x = (resize.antialiased if how == "clean" else resize.bilinear)(x, size)
    return jnp.broadcast_to(x, (*x.shape[:3], 3))


def _fashion(resolution: int, channels: int, path: Path | None, how: Resize | None) -> Network:
    if (resolution, channels) != (28, 1):
        kind = "grey" if channels == 1 else "colour"
        raise InputError(
            f"features fashion-cnn are of 28x28 grey images, these are {resolution}x{resolution} {kind}; "
            "take --features efficientnet-lite0 or inception"
        )
    if how is not None:
        raise InputError("features fashion-cnn resize nothing; leave out --resize")
    path = path or FASHION
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
