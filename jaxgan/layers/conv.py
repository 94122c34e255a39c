"""Convolution and transposed convolution, fast on a CPU too, with exact gradients of every order.

Kernels are `[D, kh, kw, C]`; `jaxgan.layers.convolutions` says why, and what is computed where.

For example:

    >>> kernel = jnp.ones((1, 3, 3, 1))
    >>> print(conv(jnp.ones((1, 3, 3, 1)), kernel)[0, :, :, 0])  # how many pixels each output sees
    [[4. 6. 4.]
     [6. 9. 6.]
     [4. 6. 4.]]
    >>> layer = Conv(8, kernel=4, stride=2)
    >>> y, variables = jax.eval_shape(layer.init_with_output, jax.random.key(0), jnp.ones((2, 16, 16, 3)))
    >>> y.shape, variables["params"]["kernel"].shape
    ((2, 8, 8, 8), (8, 4, 4, 3))
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from jaxgan.layers.convolutions.choice import convolution, transposed
from jaxgan.layers.convolutions.plain import Geometry, Pads

Initializer = Callable[..., jax.Array]


def _resolve(padding: int | str | Pads, kernel: tuple[int, int], size: tuple[int, int], stride: int) -> Pads:
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    if isinstance(padding, str):
        low_high = lax.padtype_to_pads(size, kernel, (stride, stride), padding)
        return (tuple(low_high[0]), tuple(low_high[1]))  # pyright: ignore[reportReturnType]
    return padding


def conv(x: jax.Array, w: jax.Array, stride: int = 1, padding: int | str | Pads = "SAME") -> jax.Array:
    """Two-dimensional convolution (cross-correlation, as everywhere in deep learning).

    Args:
      x: Images `[N, H, W, C]`.
      w: Kernel `[D, kh, kw, C]`.
      stride: Step from patch to patch, in both directions.
      padding: Zeros on each side, one number for all four, `((top, bottom), (left, right))`, "SAME" or "VALID".

    Returns:
      `[N, H', W', D]`, differentiable any number of times in reverse mode.

    Raises:
      ValueError: If the channels of `x` and `w` differ or the kernel does not fit the padded image.
    """
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[3]:
        raise ValueError(
            f"conv needs images [N, H, W, C] and a kernel [D, kh, kw, C], got {x.shape} and {w.shape}"
        )
    kernel, size = (w.shape[1], w.shape[2]), (x.shape[1], x.shape[2])
    geo = Geometry(kernel, size, stride, _resolve(padding, kernel, size, stride))
    if min(geo.out) < 1:
        raise ValueError(
            f"conv: a {kernel} kernel with stride {stride} and padding {geo.pads} does not fit {size}"
        )
    return convolution(x, w, geo)


def conv_transpose(x: jax.Array, w: jax.Array, stride: int, padding: int | str | Pads = "SAME") -> jax.Array:
    """Transposed convolution: the gradient of `conv` with respect to its input, as PyTorch and papers define it.

    Args:
      x: Images `[N, H, W, D]`.
      w: Kernel `[D, kh, kw, C]`, laid out as for the convolution that it transposes.
      stride: Stride of that convolution.
      padding: Padding of that convolution.

    Returns:
      `[N, H', W', C]`, with "SAME" padding `H' = stride * H`, with a number p `H' = stride * (H - 1) + kh - 2 p`.
    """
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[0]:
        raise ValueError(
            f"conv_transpose needs images [N, H, W, D] and a kernel [D, kh, kw, C], got {x.shape} and {w.shape}"
        )
    kernel = (w.shape[1], w.shape[2])
    if isinstance(padding, str):
        size = tuple(
            stride * n if padding == "SAME" else stride * (n - 1) + k
            for n, k in zip(x.shape[1:3], kernel, strict=True)
        )
        pads = _resolve(padding, kernel, size, stride)  # pyright: ignore[reportArgumentType]
    else:
        pads = _resolve(padding, kernel, (0, 0), stride)
        size = tuple(
            stride * (n - 1) + k - low - high
            for n, k, (low, high) in zip(x.shape[1:3], kernel, pads, strict=True)
        )
    if min(size) < 1:
        raise ValueError(f"conv_transpose: padding {pads} leaves nothing of a {x.shape[1:3]} image")
    return transposed(x, w, Geometry(kernel, size, stride, pads))  # pyright: ignore[reportArgumentType]


class Conv(nn.Module):
    """`conv` with a kernel and, by default, a bias. Computes in `dtype`, keeps its parameters in float32."""

    features: int
    kernel: int = 3
    stride: int = 1
    padding: int | str = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal(-1, 0)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, H, W, C]` to `[N, H', W', features]`."""
        w = self.param("kernel", self.kernel_init, (self.features, self.kernel, self.kernel, x.shape[-1]))
        y = conv(x.astype(self.dtype), w.astype(self.dtype), self.stride, self.padding)
        if self.use_bias:
            y = (
                y
                + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)[
                    None, None, None
                ]
            )
        return y


class ConvTranspose(nn.Module):
    """`conv_transpose` with a kernel and, by default, a bias; "SAME" padding multiplies the size by `stride`."""

    features: int
    kernel: int = 4
    stride: int = 2
    padding: int | str = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal(0, -1)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, H, W, C]` to `[N, H', W', features]`."""
        w = self.param("kernel", self.kernel_init, (x.shape[-1], self.kernel, self.kernel, self.features))
        y = conv_transpose(x.astype(self.dtype), w.astype(self.dtype), self.stride, self.padding)
        if self.use_bias:
            y = (
                y
                + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)[
                    None, None, None
                ]
            )
        return y
