"""Self-attention over the places of a map.

For example:

    >>> layer, x = SelfAttention(), jnp.zeros((2, 14, 14, 64))
    >>> y, variables = jax.eval_shape(lambda: layer.init_with_output(jax.random.key(0), x, train=True))
    >>> y.shape
    (2, 14, 14, 64)
    >>> {name: variables["params"][name]["kernel"].shape[0] for name in ("query", "key", "value", "out")}
    {'query': 8, 'key': 8, 'value': 32, 'out': 64}
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan.layers.conv import Conv
from jaxgan.layers.spectral import SpectralNorm


class SelfAttention(nn.Module):
    """Adds to each place of a map what it attends to in the whole map of its example, times a learned gamma.

    Gamma starts at 0. Queries and keys have C / 8 channels, values C / 2, each at least one; keys and values are
    max-pooled over 2x2 places, as in the authors' code. The 1x1 convolutions are without bias. The softmax is float32;
    nothing is scaled.

    References:
      Zhang et al., Self-Attention Generative Adversarial Networks, 2018, equations 1 to 3.
      Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2018, appendix B.
    """

    spectral: bool = True
    """Whether the convolutions are spectrally normalised."""
    kernel_init: Any = nn.initializers.glorot_uniform(-1, 0)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[N, H, W, C]` to the same shape, with H and W even.

        Raises:
          ValueError: If one of them is odd.
        """
        n, h, w, c = x.shape
        if h % 2 or w % 2:
            raise ValueError(f"attention needs a map of even height and width, got {h}x{w}")
        narrow, half = max(1, c // 8), max(1, c // 2)

        def project(name: str, features: int, x: jax.Array) -> jax.Array:
            layer = Conv(
                features, 1, use_bias=False, kernel_init=self.kernel_init, dtype=self.dtype, name=name
            )
            return SpectralNorm(layer)(x, train=train) if self.spectral else layer(x)

        def pooled(x: jax.Array) -> jax.Array:
            return x.reshape(n, h // 2, 2, w // 2, 2, -1).max((2, 4)).reshape(n, h * w // 4, -1)

        query = project("query", narrow, x).reshape(n, h * w, -1)
        key = pooled(project("key", narrow, x))
        value = pooled(project("value", half, x))
        scores = jnp.einsum("nqc,nkc->nqk", query, key, preferred_element_type=jnp.float32)
        attended = jnp.einsum("nqk,nkc->nqc", jax.nn.softmax(scores, -1).astype(self.dtype), value)
        out = project("out", c, attended.reshape(n, h, w, -1))
        gamma = self.param("gamma", nn.initializers.zeros, ())
        return x + gamma.astype(self.dtype) * out
