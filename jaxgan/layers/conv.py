"""Convolution and transposed convolution whose gradients, of every order, are plain convolutions.

A convolution is linear in its input and in its kernel, so its derivatives are three maps that turn into each other:

    conv(x, w)         dx = input_gradient(dy, w)      dw = weight_gradient(x, dy)
    input_gradient     the transposed convolution      weight_gradient   bilinear like the others

XLA's own derivatives of convolutions are exact too, but on CPU they run a naive kernel wherever they dilate their input
(transposed convolutions) or lose their canonical layout (inside a loop): up to 80 times slower. Here each of the three
is written as one stride-1 or kernel-dilated NHWC/HWIO/NHWC convolution with explicit transposes, which keeps the fast
kernel. On other backends the same three maps are left to XLA.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

Pads = tuple[tuple[int, int], tuple[int, int]]
NHWC = ("NHWC", "HWIO", "NHWC")
Initializer = Callable[..., jax.Array]


class Window(NamedTuple):
    """What is static about a convolution: kernel, input size, stride and padding, each for height and width."""

    kernel: tuple[int, int]
    size: tuple[int, int]
    stride: int
    pads: Pads

    @property
    def out(self) -> tuple[int, int]:
        """Height and width of the output."""
        height, width = (
            (n + low + high - k) // self.stride + 1
            for n, k, (low, high) in zip(self.size, self.kernel, self.pads, strict=True)
        )
        return height, width


def _plain(x: jax.Array, w: jax.Array, pads: Sequence[tuple[int, int]], **kwargs: Any) -> jax.Array:
    # Negative padding takes XLA's slow path on CPU: cut the input instead.
    cut = [(slice(max(0, -lo), n - max(0, -hi))) for n, (lo, hi) in zip(x.shape[1:3], pads, strict=True)]
    pads = [(max(0, lo), max(0, hi)) for lo, hi in pads]
    x = x[:, cut[0], cut[1], :]
    kwargs = {"window_strides": (1, 1), **kwargs}
    return lax.conv_general_dilated(x, w, padding=pads, dimension_numbers=NHWC, **kwargs)


def _forward(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    return _plain(x, w, win.pads, window_strides=(win.stride, win.stride))


def _input_gradient(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """Each of the stride^2 phases of the output is a stride-1 convolution of `g`; depth to space interleaves them."""
    s, (kh, kw), (height, width) = win.stride, win.kernel, win.size
    taps = [-(-k // s) for k in (kh, kw)]  # taps of one phase
    first = [low // s for low, _ in win.pads]
    count = [(low + n - 1) // s - f + 1 for n, (low, _), f in zip(win.size, win.pads, first, strict=True)]
    pads = []
    for n, t, f, c in zip(g.shape[1:3], taps, first, count, strict=True):
        pads.append((t - 1 - f, c - n + f))
    ci, co = w.shape[2:]
    w = jnp.pad(w, ((0, taps[0] * s - kh), (0, taps[1] * s - kw), (0, 0), (0, 0)))
    w = w.reshape(taps[0], s, taps[1], s, ci, co)[::-1, :, ::-1]
    w = w.transpose(0, 2, 5, 1, 3, 4).reshape(taps[0], taps[1], co, s * s * ci)
    y = _plain(g, w, pads)
    y = y.reshape(-1, count[0], count[1], s, s, ci).transpose(0, 1, 3, 2, 4, 5)
    y = y.reshape(-1, count[0] * s, count[1] * s, ci)
    top, left = (low - s * f for (low, _), f in zip(win.pads, first, strict=True))
    return y[:, top : top + height, left : left + width]


def _weight_gradient(x: jax.Array, g: jax.Array, win: Window) -> jax.Array:
    """The batch is summed over as channels, and `g`, dilated by the stride, is the kernel."""
    s = win.stride
    pads = [
        (low, s * (o - 1) + k - n - low)
        for n, k, o, (low, _) in zip(win.size, win.kernel, g.shape[1:3], win.pads, strict=True)
    ]
    y = _plain(x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), pads, rhs_dilation=(s, s))
    return y.transpose(1, 2, 0, 3)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    return _forward(x, w, win)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _transposed(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    return _input_gradient(g, w, win)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _correlate(x: jax.Array, g: jax.Array, win: Window) -> jax.Array:
    return _weight_gradient(x, g, win)


def _keep(f: Any) -> Callable[..., tuple[jax.Array, tuple[jax.Array, jax.Array]]]:
    return lambda a, b, win: (f(a, b, win), (a, b))


_conv.defvjp(
    _keep(_conv),
    lambda win, kept, dy: (_transposed(dy, kept[1], win), _correlate(kept[0], dy, win)),
)
_transposed.defvjp(
    _keep(_transposed),
    lambda win, kept, dx: (_conv(dx, kept[1], win), _correlate(dx, kept[0], win)),
)
_correlate.defvjp(
    _keep(_correlate),
    lambda win, kept, dw: (_transposed(kept[1], dw, win), _conv(kept[0], dw, win)),
)


def _stock_transposed(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    x = jax.ShapeDtypeStruct((g.shape[0], *win.size, w.shape[2]), g.dtype)
    (dx,) = jax.linear_transpose(lambda x: _forward(x, w, win), x)(g)
    return dx


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
      w: Kernel `[kh, kw, C, D]`.
      stride: Step of the window, in both directions.
      padding: Zeros on each side, one number for all four, `((top, bottom), (left, right))`, "SAME" or "VALID".

    Returns:
      `[N, H', W', D]`, differentiable any number of times in reverse mode.

    Raises:
      ValueError: If the channels of `x` and `w` differ or the window does not fit the padded image.
    """
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[2]:
        raise ValueError(
            f"conv needs images [N, H, W, C] and a kernel [kh, kw, C, D], got {x.shape} and {w.shape}"
        )
    kernel, size = (w.shape[0], w.shape[1]), (x.shape[1], x.shape[2])
    win = Window(kernel, size, stride, _resolve(padding, kernel, size, stride))
    if min(win.out) < 1:
        raise ValueError(
            f"conv: a {kernel} window with stride {stride} and padding {win.pads} does not fit {size}"
        )
    return _conv(x, w, win) if jax.default_backend() == "cpu" else _forward(x, w, win)


def conv_transpose(x: jax.Array, w: jax.Array, stride: int, padding: int | str | Pads = "SAME") -> jax.Array:
    """Transposed convolution: the gradient of `conv` with respect to its input, as PyTorch and papers define it.

    Args:
      x: Images `[N, H, W, D]`.
      w: Kernel `[kh, kw, C, D]`, laid out as for the convolution that it transposes.
      stride: Step of the window of that convolution.
      padding: Padding of that convolution.

    Returns:
      `[N, H', W', C]`, with "SAME" padding `H' = stride * H`, with a number p `H' = stride * (H - 1) + kh - 2 p`.
    """
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[3]:
        raise ValueError(
            f"conv_transpose needs images [N, H, W, D] and a kernel [kh, kw, C, D], got {x.shape} and {w.shape}"
        )
    kernel = (w.shape[0], w.shape[1])
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
    win = Window(kernel, size, stride, pads)  # pyright: ignore[reportArgumentType]
    return _transposed(x, w, win) if jax.default_backend() == "cpu" else _stock_transposed(x, w, win)


class Conv(nn.Module):
    """`conv` with a kernel and, by default, a bias. Computes in `dtype`, keeps its parameters in float32."""

    features: int
    kernel: int = 3
    stride: int = 1
    padding: int | str = "SAME"
    use_bias: bool = True
    kernel_init: Initializer = nn.initializers.lecun_normal()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, H, W, C]` to `[N, H', W', features]`."""
        w = self.param("kernel", self.kernel_init, (self.kernel, self.kernel, x.shape[-1], self.features))
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
    kernel_init: Initializer = nn.initializers.lecun_normal(in_axis=-1, out_axis=-2)
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """`[N, H, W, C]` to `[N, H', W', features]`."""
        w = self.param("kernel", self.kernel_init, (self.kernel, self.kernel, self.features, x.shape[-1]))
        y = conv_transpose(x.astype(self.dtype), w.astype(self.dtype), self.stride, self.padding)
        if self.use_bias:
            y = (
                y
                + self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)[
                    None, None, None
                ]
            )
        return y
