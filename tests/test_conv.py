"""The convolution primitives against XLA's own, forward, gradients and gradients of gradients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from quick import quick_jit, slow

from jaxgan.layers import Conv, ConvTranspose, conv, conv_transpose
from jaxgan.layers.convolutions.plain import OHWI, Geometry, stock_transposed
from jaxgan.layers.convolutions.tiles import conv_by_tiles, transposed_by_tiles

pytestmark = pytest.mark.usefixtures("strict_dtypes")
CASES = [
    (k, s, p, h)
    for k, s, p, h in itertools.product((1, 3, 4), (1, 2, 3), (1, "SAME", ((0, 1), (2, 0))), (7, 8))
]


def stock(x, w, stride, padding):
    if isinstance(padding, int):
        padding = [(padding, padding)] * 2
    return lax.conv_general_dilated(x, w, (stride, stride), padding, dimension_numbers=OHWI)


def close(a, b, tol=2e-5):
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol)


@pytest.mark.parametrize(
    ("k", "s", "p", "h"), [*CASES[::3], *(slow(*c) for i, c in enumerate(CASES) if i % 3)]
)
def test_conv_and_both_gradients_are_laxs(k, s, p, h, rng):
    x = rng.normal(size=(2, h, h + 1, 3)).astype(np.float32)
    w = rng.normal(size=(4, k, k, 3)).astype(np.float32) / k
    shape = jax.eval_shape(lambda: stock(x, w, s, p)).shape
    g = rng.normal(size=shape).astype(np.float32)

    @quick_jit
    def both(x, w, g):
        pairs = [jax.vjp(lambda x, w, op=op: op(x, w, s, p), x, w) for op in (conv, stock)]
        return [(y, *pullback(g)) for y, pullback in pairs]

    for ours, theirs in zip(*both(x, w, g), strict=True):
        close(ours, theirs)


@pytest.mark.parametrize(
    ("k", "s", "p", "h"), [*CASES[::3], *(slow(*c) for i, c in enumerate(CASES) if i % 3)]
)
def test_conv_transpose_is_the_adjoint_of_conv(k, s, p, h, rng):
    """<conv_transpose(x), y> = <x, conv(y)> for all x and y: the definition, with no gradient code involved."""
    x = rng.normal(size=(2, h, h - 1, 4)).astype(np.float32)
    w = rng.normal(size=(4, k, k, 3)).astype(np.float32) / k
    shape = jax.eval_shape(lambda: conv_transpose(x, w, s, p)).shape
    y = rng.normal(size=shape).astype(np.float32)
    # The formulation for other backends computes the same numbers.
    pads = ((p, p), (p, p)) if isinstance(p, int) else p
    if p == "SAME":
        pads = tuple(map(tuple, lax.padtype_to_pads(shape[1:3], (k, k), (s, s), "SAME")))
    geo = Geometry((k, k), shape[1:3], s, pads)

    @quick_jit
    def maps(x, w, y):
        return conv_transpose(x, w, s, p), stock(y, w, s, p), stock_transposed(x, w, geo)

    out, back, other = maps(x, w, y)
    assert back.shape == x.shape
    close(np.vdot(out, y), np.vdot(x, back), 1e-4)
    close(out, other)


PADS = (((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 1), (2, 0)))
TILES = [(s, p, 8 + (s + i) % 2) for s in (1, 2, 3) for i, p in enumerate(PADS)]
"""Each stride with each padding, and either of them with both sizes."""


def derivatives(op):
    """The map, its gradients and the gradients of those: for a map linear in each argument that is all."""

    def every(x, w, g, by_x, by_w):
        def slopes(x, w, g):
            y, pullback = jax.vjp(op, x, w)
            return pullback(g), y

        first, pullback, y = jax.vjp(slopes, x, w, g, has_aux=True)
        return y, first, pullback((by_x, by_w))

    return every


@pytest.mark.parametrize(("s", "p", "h"), [slow(*each) if each != TILES[-1] else each for each in TILES])
def test_products_of_a_tile_are_the_convolution(s, p, h, rng):
    """Also of outputs that tiles do not divide; to the second order, as large as XLA's within a few units."""
    geo = Geometry((2 * s, 2 * s), (h, h + 1), s, p)

    def normal(*shape):
        return rng.normal(size=shape).astype(np.float32)

    x, by_x = normal(2, 2, h, h + 1, 3)
    w, by_w = normal(2, 4, 2 * s, 2 * s, 3) / (2 * s)
    g, by_g = normal(2, 2, *geo.out, 4)

    def both(op, transposed):
        @quick_jit
        def run(x, w, g, by_x, by_w, by_g):
            of_op = derivatives(op)(x, w, g, by_x, by_w)
            return of_op, derivatives(transposed)(g, w, x, by_g, by_w)

        return run(x, w, g, by_x, by_w, by_g)

    expected = both(lambda x, w: stock(x, w, s, p), lambda g, w: stock_transposed(g, w, geo))
    for m in (2, 4):
        found = both(
            lambda x, w, m=m: conv_by_tiles(x, w, geo, m),
            lambda g, w, m=m: transposed_by_tiles(g, w, geo, m),
        )
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=2e-6 * m * float(np.abs(b).max()))


def test_tiles_are_for_many_channels_and_large_batches_in_float32():
    """And the public functions use them there."""

    def way(n, size, channels, features, kernel=4, dtype=jnp.float32):
        x = jax.ShapeDtypeStruct((n, size, size, channels), dtype)
        w = jax.ShapeDtypeStruct((features, kernel, kernel, channels), dtype)
        forward = jax.jit(lambda x, w: conv(x, w, 2, 1))
        text = forward.lower(x, w).as_text()
        y = jax.eval_shape(forward, x, w)
        back = jax.jit(lambda y, w: conv_transpose(y, w, 2, 1)).lower(y, w).as_text()
        counts = [t.count("stablehlo.dot_general") for t in (text, back)]
        assert counts[0] == counts[1]
        return counts[0]

    assert way(16, 16, 16, 32) == 9
    assert way(32, 16, 16, 32) == way(64, 14, 16, 32) == 25
    assert way(64, 12, 16, 32) == 9  # 6 by 6 outputs: large tiles would waste more than they save
    assert way(16, 16, 3, 32) == way(16, 16, 16, 1) == way(4, 16, 16, 32) == 1
    assert way(16, 16, 16, 32, dtype=jnp.bfloat16) == 1
    assert way(16, 16, 16, 32, kernel=2) == 1


@pytest.mark.parametrize(("s", "p"), [slow(1, "SAME"), (2, 1), slow(2, "SAME"), slow(3, 0)])
@pytest.mark.parametrize("transposed", [False, True])
def test_gradient_penalty_gradients_are_laxs(s, p, transposed, rng):
    """The gradient of a squared input-gradient norm, through a nonlinearity: what WGAN-GP differentiates."""
    x = rng.normal(size=(2, 6, 6, 3)).astype(np.float32)
    w = rng.normal(size=(3, 4, 4, 3)).astype(np.float32) / 8

    def stock_transpose(x, w, s, p):
        shape = jax.eval_shape(lambda: conv_transpose(x, w, s, p))
        return jax.vjp(lambda y: stock(y, w, s, p), jnp.zeros(shape.shape))[1](x)[0]

    def penalty(op):
        def critic(x, w):
            return jnp.sum(jnp.tanh(op(jnp.tanh(op(x, w, s, p)), w, s, p)))

        return lambda x, w: jnp.sum(jax.grad(critic)(x, w) ** 2)

    if not transposed and s == 3:
        x = np.concatenate([x, x, x], 1)
        x = np.concatenate([x, x, x], 2)
    ours, theirs = (conv_transpose, stock_transpose) if transposed else (conv, stock)

    def gradients(op):
        third = jax.grad(lambda w: jnp.sum(jax.grad(penalty(op), 1)(x, w) ** 2))
        return quick_jit(lambda: (*jax.grad(penalty(op), (0, 1))(x, w), third(w)))()

    (*second, third), (*second_, third_) = gradients(ours), gradients(theirs)
    for a, b in zip(second, second_, strict=True):
        close(a, b, 1e-4)
    np.testing.assert_allclose(third, third_, rtol=1e-3, atol=1e-3 * float(np.abs(third_).max()))


@pytest.mark.device
def test_hand_computed_values():
    x = jnp.arange(4.0).reshape(1, 2, 2, 1)  # [[0, 1], [2, 3]]
    w = jnp.array([[1.0, 10.0], [100.0, 1000.0]])[None, :, :, None]
    assert conv(x, w, padding=0).item() == 0 + 10 + 200 + 3000
    up = conv_transpose(x, w, 2, 0)[0, :, :, 0]
    expected = [[0, 0, 1, 10], [0, 0, 100, 1000], [2, 20, 3, 30], [200, 2000, 300, 3000]]
    np.testing.assert_array_equal(up, expected)


@pytest.mark.device
def test_vmap_over_kernels_and_examples(rng):
    """Per-example gradients and training many seeds at once map over these primitives."""
    x = rng.normal(size=(3, 2, 8, 8, 2)).astype(np.float32)
    w = rng.normal(size=(3, 5, 4, 4, 2)).astype(np.float32)
    f = jax.grad(lambda x, w: jnp.sum(jnp.tanh(conv(x, w, 2, 1))), (0, 1))
    mapped, f = quick_jit(jax.vmap(f))(x, w), quick_jit(f)
    for i in range(3):
        for a, b in zip(f(x[i], w[i]), mapped, strict=True):
            close(a, b[i])


def test_modules_compute_in_their_dtype_and_keep_float32_parameters(rng):
    x = rng.normal(size=(2, 4, 4, 3)).astype(np.float32)
    for module in (Conv(5, 4, 2, 1, dtype=jnp.bfloat16), ConvTranspose(5, dtype=jnp.bfloat16)):
        y, variables = quick_jit(module.init_with_output)(jax.random.key(0), x)
        assert y.dtype == jnp.bfloat16
        assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert quick_jit(ConvTranspose(5).init_with_output)(jax.random.key(0), x)[0].shape == (2, 8, 8, 5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: conv(jnp.zeros((1, 4, 4, 3)), jnp.zeros((1, 3, 3, 2))),
        lambda: conv(jnp.zeros((4, 4, 3)), jnp.zeros((1, 3, 3, 3))),
        lambda: conv(jnp.zeros((1, 2, 2, 3)), jnp.zeros((1, 5, 5, 3)), padding=0),
        lambda: conv_transpose(jnp.zeros((1, 4, 4, 3)), jnp.zeros((2, 3, 3, 3)), 2),
        lambda: conv_transpose(jnp.zeros((1, 1, 1, 2)), jnp.zeros((2, 2, 2, 3)), 1, 2),
    ],
)
def test_bad_shapes_are_named(call):
    with pytest.raises(ValueError, match="conv"):
        call()
