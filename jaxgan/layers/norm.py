"""Normalisation by name, with batch statistics taken over all devices, and its conditional form.

For example:

    >>> x, norm = jnp.array([[0.0, 10.0], [2.0, 30.0]]), Norm("batch")
    >>> variables = norm.init(jax.random.key(0), x, train=True)
    >>> y, changed = norm.apply(variables, x, train=True, mutable=["batch_stats"])
    >>> print(y.round())
    [[-1. -1.]
     [ 1.  1.]]
    >>> np.allclose(changed["batch_stats"]["BatchNorm_0"]["mean"], [0.1, 2])  # a tenth of 1 and of 20
    True
"""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import axis
from jaxgan.layers.dense import Dense
from jaxgan.layers.spectral import SpectralNorm

NormKind = Literal["batch", "layer", "instance", "none"]
MOMENTUM = 0.9
"""What running averages of batch statistics keep of themselves at each batch."""


class Norm(nn.Module):
    """Flax's normalisations under one name, so that networks take the kind as a field.

    "batch" normalises over the whole batch, however many devices it is split over, and keeps running averages with
    momentum 0.9 for use when `train` is false. "layer" normalises each example by itself, "instance" each channel of
    each example, without scale and bias. "none" is the identity. Statistics are float32 and are applied in float32;
    the result is of `dtype`.
    """

    kind: NormKind = "batch"
    scale_init: Any = nn.initializers.ones
    dtype: Any = jnp.float32
    affine: bool = True
    """Whether "batch" and "layer" learn a scale and a bias for each channel."""

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[N, ..., C]` to the same shape.

        Raises:
          ValueError: If `kind` is unknown, or "instance" meets features without a map, `[N, C]`.

        References:
          Ioffe and Szegedy, Batch Normalization, 2015; Ba et al., Layer Normalization, 2016.
          Ulyanov et al., Instance Normalization: The Missing Ingredient for Fast Stylization, 2016.
        """
        if self.kind == "none":
            return x
        learned = {"use_scale": self.affine, "use_bias": self.affine, "scale_init": self.scale_init}
        if self.kind == "layer":
            axes = tuple(range(1, x.ndim))
            norm = nn.LayerNorm(1e-5, reduction_axes=axes, dtype=jnp.float32, **learned)
        elif self.kind == "instance":
            if x.ndim < 3:
                raise ValueError(f"instance norm is of maps [N, ..., C]; {x.shape} would become zeros")
            norm = nn.InstanceNorm(epsilon=1e-5, use_bias=False, use_scale=False, dtype=jnp.float32)
        elif self.kind == "batch":
            norm = nn.BatchNorm(
                use_running_average=not train,
                momentum=MOMENTUM,
                epsilon=1e-5,
                axis_name=axis.current(),
                dtype=jnp.float32,
                **learned,
            )
        else:
            raise ValueError(f"norm is {self.kind!r}; known are 'batch', 'layer', 'instance' and 'none'")
        return norm(x.astype(jnp.float32)).astype(self.dtype)


class ConditionalNorm(nn.Module):
    """A norm whose scale and bias for each channel are linear in a vector of the example.

    The scale is 1 plus a projection, the bias another one, both without bias. The vector may be a one-hot label, for a
    table of scales and biases, an embedding of it, or that joined with latents.

    References:
      Dumoulin et al., A Learned Representation for Artistic Style, 2017, section 2.2.
      Brock et al., Large Scale GAN Training for High Fidelity Natural Image Synthesis, 2018, appendix B.
    """

    kind: NormKind = "batch"
    spectral: bool = False
    """Whether the projections are spectrally normalised."""
    kernel_init: Any = nn.initializers.zeros
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, condition: jax.Array, *, train: bool) -> jax.Array:
        """`[N, ..., C]` and `[N, E]` to `[N, ..., C]`."""

        def project(name: str) -> jax.Array:
            layer = Dense(x.shape[-1], use_bias=False, kernel_init=self.kernel_init, name=name)
            given = condition.astype(jnp.float32)
            made = SpectralNorm(layer)(given, train=train) if self.spectral else layer(given)
            return made.reshape(len(x), *(1,) * (x.ndim - 2), -1)

        y = Norm(self.kind, affine=False)(x.astype(jnp.float32), train=train)
        return (y * (1 + project("scale")) + project("bias")).astype(self.dtype)
