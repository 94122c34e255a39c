"""Normalisation by name, with batch statistics taken over all devices."""

from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxgan import axis

NormKind = Literal["batch", "layer", "instance", "none"]


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

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[N, ..., C]` to the same shape.

        Raises:
          ValueError: If `kind` is unknown.
        """
        if self.kind == "none":
            return x
        if self.kind == "layer":
            axes = tuple(range(1, x.ndim))
            norm = nn.LayerNorm(1e-5, reduction_axes=axes, scale_init=self.scale_init, dtype=jnp.float32)
        elif self.kind == "instance":
            norm = nn.InstanceNorm(epsilon=1e-5, use_bias=False, use_scale=False, dtype=jnp.float32)
        elif self.kind == "batch":
            norm = nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                axis_name=axis.AXIS if axis.bound() else None,
                scale_init=self.scale_init,
                dtype=jnp.float32,
            )
        else:
            raise ValueError(f"norm is {self.kind!r}; known are 'batch', 'layer', 'instance' and 'none'")
        return norm(x.astype(jnp.float32)).astype(self.dtype)
