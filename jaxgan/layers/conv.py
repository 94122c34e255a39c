"""Convolution and transposed convolution, fast on a CPU too, with exact gradients of every order.

A convolution is linear in its input and in its kernel, so its derivatives are three maps that turn into each other:

    conv(x, w)         dx = input_gradient(dy, w)      dw = weight_gradient(x, dy)
    input_gradient     the transposed convolution      weight_gradient   bilinear like the others

XLA's own derivatives of convolutions are exact too, but on CPU they run a naive kernel wherever they dilate their input
(transposed convolutions) or lose their canonical layout (inside a loop): up to 80 times slower. So on CPU there are two
other ways, and elsewhere the three maps are left to XLA:

- Windows that overlap little (1x1, and strides that divide the kernel, as in DCGAN) are matrix products with the
  patches of the image. The patches are kept for the weight gradient, which is a product with them too.
- Other windows (3x3 with stride 1) are each of the three maps written as one stride-1 or kernel-dilated convolution
  with explicit transposes, which keeps XLA's fast kernel.

Kernels are `[D, kh, kw, C]`: a filter's weights lie in memory as the patch that they meet, and so does their gradient.
Read the other way round (D in, C out) the same kernel is that of the transposed convolution.
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
OHWI = ("NHWC", "OHWI", "NHWC")
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


def _pad(x: jax.Array, pads: Sequence[tuple[int, int]]) -> jax.Array:
    """Pads height and width with zeros; negative padding cuts."""
    (top, bottom), (left, right) = pads
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (top, bottom, 0), (left, right, 0), (0, 0, 0)))


def _plain(x: jax.Array, w: jax.Array, pads: Sequence[tuple[int, int]], **kwargs: Any) -> jax.Array:
    # Negative padding takes XLA's slow path on CPU: cut the input instead.
    x = _pad(x, [(min(0, low), min(0, high)) for low, high in pads])
    pads = [(max(0, low), max(0, high)) for low, high in pads]
    kwargs = {"window_strides": (1, 1), **kwargs}
    return lax.conv_general_dilated(x, w, padding=pads, dimension_numbers=NHWC, **kwargs)


def _stock(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    strides = (win.stride, win.stride)
    return lax.conv_general_dilated(x, w, strides, win.pads, dimension_numbers=OHWI)


def _stock_transposed(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    x = jax.ShapeDtypeStruct((g.shape[0], *win.size, w.shape[3]), g.dtype)
    (dx,) = jax.linear_transpose(lambda x: _stock(x, w, win), x)(g)
    return dx


def _forward(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    return _plain(x, w.transpose(1, 2, 3, 0), win.pads, window_strides=(win.stride, win.stride))


def _input_gradient(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    """Each of the stride^2 phases of the output is a stride-1 convolution of `g`; depth to space interleaves them."""
    s, (kh, kw), (height, width) = win.stride, win.kernel, win.size
    taps = [-(-k // s) for k in (kh, kw)]  # taps of one phase
    first = [low // s for low, _ in win.pads]
    count = [(low + n - 1) // s - f + 1 for n, (low, _), f in zip(win.size, win.pads, first, strict=True)]
    pads = []
    for n, t, f, c in zip(g.shape[1:3], taps, first, count, strict=True):
        pads.append((t - 1 - f, c - n + f))
    co, ci = w.shape[0], w.shape[3]
    w = jnp.pad(w, ((0, 0), (0, taps[0] * s - kh), (0, taps[1] * s - kw), (0, 0)))
    w = w.reshape(co, taps[0], s, taps[1], s, ci)[:, ::-1, :, ::-1]
    w = w.transpose(1, 3, 0, 2, 4, 5).reshape(taps[0], taps[1], co, s * s * ci)
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
    return y.transpose(3, 1, 2, 0)


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


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _patches(x: jax.Array, win: Window) -> jax.Array:
    """What each window sees, `[N, H', W', kh * kw * C]`."""
    (kh, kw), s, (rows, columns) = win.kernel, win.stride, win.out
    x = _pad(x, win.pads)
    taps = [
        x[:, i : i + s * (rows - 1) + 1 : s, j : j + s * (columns - 1) + 1 : s]
        for i in range(kh)
        for j in range(kw)
    ]
    return jnp.concatenate(taps, -1)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def _overlap(p: jax.Array, win: Window) -> jax.Array:
    """The transpose of `_patches`: each pixel's sum over the windows that see it, `[N, H, W, C]`.

    Windows whose stride divides the kernel cover the image in blocks of stride by stride pixels: whole blocks are
    added, and taken apart into pixels at the end.
    """
    s, (rows, columns) = win.stride, win.out
    high, wide = (k // s for k in win.kernel)
    channels = p.shape[-1] // (high * s * wide * s)
    # A block's row of pixels stays one dimension: XLA copies long rows several times faster.
    p = p.reshape(-1, rows, columns, high, s, wide, s * channels)
    rows, columns = rows + high - 1, columns + wide - 1
    blocks = sum(
        jnp.pad(p[:, :, :, i, :, j], [(0, 0), (i, high - 1 - i), (j, wide - 1 - j), (0, 0), (0, 0)])
        for i in range(high)
        for j in range(wide)
    )
    x = jnp.transpose(blocks, (0, 1, 3, 2, 4)).reshape(-1, rows * s, columns * s, channels)
    # Without the padding, and with the pixels that no window sees.
    ends = [
        (-low, n + low - s * m) for n, (low, _), m in zip(win.size, win.pads, (rows, columns), strict=True)
    ]
    return _pad(x, ends)


_patches.defvjp(lambda x, win: (_patches(x, win), None), lambda win, _, dp: (_overlap(dp, win),))
_overlap.defvjp(lambda p, win: (_overlap(p, win), None), lambda win, _, dx: (_patches(dx, win),))


def _by_products(win: Window) -> bool:
    """Whether windows overlap so little that products with patches are the fastest way on a CPU."""
    return win.kernel == (1, 1) == (win.stride,) * 2 or (
        win.stride > 1 and not any(k % win.stride for k in win.kernel)
    )


@jax.custom_vjp
def _times_transposed(a: jax.Array, w: jax.Array) -> jax.Array:
    """`[M, K]` times `[D, K]` transposed. Derivatives are spelt out: XLA's order of them is up to twice as slow."""
    return a @ w.T


@jax.custom_vjp
def _times(a: jax.Array, w: jax.Array) -> jax.Array:
    """`[M, D]` times `[D, K]`."""
    return a @ w


_times_transposed.defvjp(
    lambda a, w: (_times_transposed(a, w), (a, w)), lambda kept, dy: (dy @ kept[1], dy.T @ kept[0])
)
_times.defvjp(lambda a, w: (_times(a, w), (a, w)), lambda kept, dy: (dy @ kept[1].T, kept[0].T @ dy))


def _conv_by_products(x: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    rows, columns = win.out
    w = w.reshape(w.shape[0], -1)
    p = jnp.reshape(_patches(x, win), (-1, w.shape[1]))  # pyright: ignore[reportArgumentType]
    y = _times_transposed(p, w)
    return jnp.reshape(y, (-1, rows, columns, w.shape[0]))  # pyright: ignore[reportArgumentType]


def _transposed_by_products(g: jax.Array, w: jax.Array, win: Window) -> jax.Array:
    p = _times(g.reshape(-1, g.shape[-1]), w.reshape(w.shape[0], -1))
    return _overlap(p.reshape(*g.shape[:3], -1), win)


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
      stride: Step of the window, in both directions.
      padding: Zeros on each side, one number for all four, `((top, bottom), (left, right))`, "SAME" or "VALID".

    Returns:
      `[N, H', W', D]`, differentiable any number of times in reverse mode.

    Raises:
      ValueError: If the channels of `x` and `w` differ or the window does not fit the padded image.
    """
    if x.ndim != 4 or w.ndim != 4 or x.shape[3] != w.shape[3]:
        raise ValueError(
            f"conv needs images [N, H, W, C] and a kernel [D, kh, kw, C], got {x.shape} and {w.shape}"
        )
    kernel, size = (w.shape[1], w.shape[2]), (x.shape[1], x.shape[2])
    win = Window(kernel, size, stride, _resolve(padding, kernel, size, stride))
    if min(win.out) < 1:
        raise ValueError(
            f"conv: a {kernel} window with stride {stride} and padding {win.pads} does not fit {size}"
        )
    if jax.default_backend() != "cpu":
        return _stock(x, w, win)
    return _conv_by_products(x, w, win) if _by_products(win) else _conv(x, w, win)


def conv_transpose(x: jax.Array, w: jax.Array, stride: int, padding: int | str | Pads = "SAME") -> jax.Array:
    """Transposed convolution: the gradient of `conv` with respect to its input, as PyTorch and papers define it.

    Args:
      x: Images `[N, H, W, D]`.
      w: Kernel `[D, kh, kw, C]`, laid out as for the convolution that it transposes.
      stride: Step of the window of that convolution.
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
    win = Window(kernel, size, stride, pads)  # pyright: ignore[reportArgumentType]
    if jax.default_backend() != "cpu":
        return _stock_transposed(x, w, win)
    return _transposed_by_products(x, w, win) if _by_products(win) else _transposed(x, w, win)


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
