"""Normalisation by name, with batch statistics taken over all devices."""

from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxgan import axis

NormKind = Literal["batch", "layer", "none"]
EPSILON = 1e-5
MOMENTUM = 0.9


class Norm(nn.Module):
    """Normalisations under one name, so that networks take the kind as a field.

    "batch" normalises over the whole batch, however many devices it is split over, and keeps running averages with
    momentum 0.9 for use when `train` is false. "layer" normalises each example by itself. "none" is the identity.
    Statistics are float32 and are applied in float32; the result is of `dtype`.
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
        x = x.astype(jnp.float32)
        if self.kind == "layer":
            axes = tuple(range(1, x.ndim))
            norm = nn.LayerNorm(EPSILON, reduction_axes=axes, scale_init=self.scale_init, dtype=jnp.float32)
            return norm(x).astype(self.dtype)
        if self.kind == "batch":
            return BatchNorm(self.scale_init, name="BatchNorm_0")(x, train=train).astype(self.dtype)
        raise ValueError(f"norm is {self.kind!r}; known are 'batch', 'layer' and 'none'")


class BatchNorm(nn.Module):
    """Batch normalisation over all devices: parameters, statistics and results of Flax's, with a faster gradient.

    References:
      Ioffe and Szegedy, Batch Normalization, ICML 2015.
    """

    scale_init: Any = nn.initializers.ones

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        """`[N, ..., C]` to the same shape, float32."""
        channels = x.shape[-1:]
        mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
        variance = self.variable("batch_stats", "var", jnp.ones, channels)
        scale = self.param("scale", self.scale_init, channels)
        bias = self.param("bias", nn.initializers.zeros, channels)
        if not train:
            return _affine(x, mean.value, lax.rsqrt(variance.value + EPSILON) * scale, bias)
        over = axis.AXIS if axis.bound() else None
        made: Any = _normalise(x, scale, bias, over)
        if not self.is_initializing():
            for average, new in zip((mean, variance), made[1:], strict=True):
                average.value = MOMENTUM * average.value + (1 - MOMENTUM) * lax.stop_gradient(new)
        return made[0]


def _affine(x: jax.Array, mean: jax.Array, factor: jax.Array, bias: jax.Array) -> jax.Array:
    wide = (1,) * (x.ndim - 1) + (-1,)
    return x * factor.reshape(wide) + (bias - mean * factor).reshape(wide)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalise(
    x: jax.Array, scale: jax.Array, bias: jax.Array, over: str | None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The normalised batch, and its mean and variance `[C]`, which are constants to the gradient."""
    return _forward(x, scale, bias, over)[0]


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, over: str | None) -> Any:
    examples = tuple(range(x.ndim - 1))
    mean, square = axis.mean((jnp.mean(x, examples), jnp.mean(jnp.square(x), examples)), over)
    variance = jnp.maximum(square - jnp.square(mean), 0)
    inverse = lax.rsqrt(variance + EPSILON)
    return (_affine(x, mean, inverse * scale, bias), mean, variance), (x, scale, mean, inverse)


def _backward(over: str | None, kept: Any, gradients: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Two passes over memory, where XLA makes five of what it derives: sums, then dx = a dy + b x + c."""
    x, scale, mean, inverse = kept
    dy, examples = gradients[0], tuple(range(x.ndim - 1))
    d_bias = jnp.sum(dy, examples)
    d_scale = (jnp.sum(dy * x, examples) - mean * d_bias) * inverse
    count = x.size // x.shape[-1]
    # dx = factor (dy - mean(dy) - z mean(dy z)), where z = (x - mean) inverse
    mean_dy, mean_dyz = axis.mean((d_bias / count, d_scale / count), over)
    factor = scale * inverse
    wide = (1,) * (x.ndim - 1) + (-1,)
    b = -factor * inverse * mean_dyz
    dx = dy * factor.reshape(wide) + x * b.reshape(wide) - (factor * mean_dy + mean * b).reshape(wide)
    return dx, d_scale, d_bias


_normalise.defvjp(_forward, _backward)
