"""What generators make images from, and what autoencoders are taught to encode to.

For example:

    >>> keys = Keys.of(jax.random.key(0), 2)
    >>> Latents(3, "uniform").draw(keys).shape
    (2, 3)
    >>> bool(jnp.all(jnp.abs(Latents(100).draw(keys, truncation=0.5)) <= 0.5))
    True
    >>> centers, axes = petals(4)
    >>> centers[0].tolist()
    [2.0, 0.0]
"""

import math
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan.game import Array, Keys

RADIUS, LENGTH = 2.0, 0.5
"""How far a mixture's modes are from the origin, and their standard deviation along that direction."""


class Latents(NamedTuple):
    """A distribution of latents."""

    size: int
    kind: Literal["normal", "uniform", "mixture"] = "normal"
    """Standard Gaussian; uniform in [-1, 1); or in the plane, Gaussians like the petals of a flower (`petals`)."""
    modes: int = 10
    """Gaussians of a mixture."""

    def draw(self, keys: Keys, truncation: float | None = None, label: Array | None = None) -> Array:
        """`[N, size]`, float32.

        Args:
          keys: One for each example.
          truncation: Gaussian numbers larger than this are drawn again.
          label: `[N]` int, the modes of a mixture to draw from; any mode, each as likely, if not given. Other kinds
            have none and leave it unread.

        Raises:
          ValueError: For a truncation of latents that are not Gaussian.

        References:
          Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2018, section 3.1.
          Makhzani et al., Adversarial Autoencoders, 2015, section 2.3: a mixture of ten Gaussians in the plane.
        """
        if truncation is not None and self.kind != "normal":
            raise ValueError(f"truncation is of Gaussian latents, and these are of kind {self.kind!r}")
        keys = keys.fold("latent")
        if self.kind == "uniform":
            return 2 * keys.uniform((self.size,)) - 1
        if self.kind == "mixture":
            mode = draw_classes(keys.fold("mode"), self.modes) if label is None else label
            centers, axes = (jnp.asarray(x, jnp.float32) for x in petals(self.modes))
            return centers[mode] + jnp.sum(keys.normal((2, 1)) * axes[mode], 1)
        if truncation is None:
            return keys.normal((self.size,))
        return jax.vmap(lambda key: jax.random.truncated_normal(key, -truncation, truncation, (self.size,)))(
            keys.example
        )


def petals(modes: int) -> tuple[np.ndarray, np.ndarray]:
    """A mixture's modes, evenly around the origin: centers `[modes, 2]`, and axes `[modes, 2, 2]`.

    The rows of a mode's axes are its standard deviations along the direction from the origin, and across it: an eighth
    of the distance between the centers of two neighbours. The paper shows such a mixture and gives no numbers.
    """
    angle = 2 * math.pi * np.arange(modes) / modes
    along = np.stack([np.cos(angle), np.sin(angle)], -1)
    across = np.stack([-np.sin(angle), np.cos(angle)], -1)
    width = 2 * RADIUS * math.sin(math.pi / modes) / 8
    return RADIUS * along, np.stack([LENGTH * along, width * across], 1)


def draw_classes(keys: Keys, classes: int) -> Array:
    """`[N]` int32 in [0, classes), each as likely as the others."""
    return jnp.floor(keys.uniform() * classes).astype(jnp.int32)
