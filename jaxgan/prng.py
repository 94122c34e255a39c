"""JAX's default generator of random bits, Threefry-2x32, in a form that compiles to one operation.

On a CPU `jax.random` computes the same bits in a loop of five rounds, to compile sooner; the small steps of multilayer
perceptrons are faster without those loops (benchmarks/README.md), large ones as fast. The same bits means those of
`jax_threefry_partitionable`, JAX's default.

References:
  Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA


def _threefry(key: jax.Array, high: jax.Array, low: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The cipher: a key `[2]` and a counter in two halves of any one shape, all uint32, to two words of that shape."""
    schedule = [key[0], key[1], key[0] ^ key[1] ^ np.uint32(_PARITY)]
    x, y = high + schedule[0], low + schedule[1]
    for i in range(5):
        for r in _ROTATIONS[i % 2]:
            x = x + y
            y = x ^ ((y << np.uint32(r)) | (y >> np.uint32(32 - r)))
        x, y = x + schedule[(i + 1) % 3], y + schedule[(i + 2) % 3] + np.uint32(i + 1)
    return x, y


def _counted(key: jax.Array, shape: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    size = math.prod(shape)
    if size >= 2**32:
        raise ValueError(f"one key draws fewer than 2**32 numbers at a time, not {shape}")
    low = jnp.arange(size, dtype=jnp.uint32).reshape(shape)
    return _threefry(key, jnp.zeros_like(low), low)


def _seed(seed: jax.Array) -> jax.Array:
    return jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))


def _fold_in(key: jax.Array, data: jax.Array | int) -> jax.Array:
    return jnp.stack(_threefry(key, jnp.uint32(0), jnp.asarray(data, jnp.uint32)))


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jnp.stack(_counted(key, shape), -1)


def _random_bits(key: jax.Array, width: int, shape: tuple[int, ...]) -> jax.Array:
    x, y = _counted(key, shape)
    if width == 64:
        return (x.astype(jnp.uint64) << np.uint64(32)) | y.astype(jnp.uint64)
    bits = x ^ y
    return bits if width == 32 else bits.astype(jnp.dtype(f"uint{width}"))


_UNROLLED = define_prng_impl(
    key_shape=(2,),
    seed=_seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=_fold_in,
    name="threefry2x32_unrolled",
    tag="unrolled",
)


def unrolled(key: jax.Array) -> jax.Array:
    """The same key, for `jax.random` to draw the same numbers from, faster; keys of other generators as they are."""
    if jax.random.key_impl(key) != "threefry2x32":
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_UNROLLED)  # pyright: ignore[reportArgumentType]
