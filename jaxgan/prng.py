"""The draws of a turn, and JAX's default generator of random bits in a form that compiles to one operation.

That generator is Threefry-2x32. On a CPU `jax.random` computes the same bits in a loop of five rounds, to compile
sooner; the small steps of multilayer perceptrons are faster without those loops (benchmarks/README.md), large ones as
fast. The same bits means those of `jax_threefry_partitionable`, JAX's default.

References:
  Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011.

For example:

    >>> key = jax.random.key(0)
    >>> whole, second = Keys.of(key, 4), Keys.of(key, 2, first=2)  # a batch of four, and its second half
    >>> whole.fold("latent").normal((8,)).shape
    (4, 8)
    >>> bool(jnp.all(whole.uniform()[2:] == second.uniform()))
    True
"""

import math
import zlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl

from jaxgan import backends

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA
_VECTOR = 16
"""Float32 lanes of the widest CPU vector."""


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
    """The same key, for `jax.random` to draw the same numbers from, faster on a CPU.

    Keys of other generators, and all keys elsewhere, are returned as they are.
    """
    if jax.random.key_impl(key) != "threefry2x32" or not backends.choices().unrolled_draws:
        return key
    return jax.random.wrap_key_data(jax.random.key_data(key), impl=_UNROLLED)  # pyright: ignore[reportArgumentType]


class Keys(NamedTuple):
    """The randomness of one turn. Folded from step, turn and global example index, never from the device."""

    shared: jax.Array
    """One key that the whole batch shares, the same on every device."""
    example: jax.Array
    """`[N]` keys, one for each example."""

    @classmethod
    def of(cls, key: jax.Array, n: int, first: jax.Array | int = 0) -> "Keys":
        """Keys of the examples `first` to `first + n - 1`."""
        key, indices = unrolled(key), jnp.uint32(first) + jnp.arange(n, dtype=jnp.uint32)
        return cls(jax.random.fold_in(key, 0xFFFFFFFF), jax.vmap(jax.random.fold_in, (None, 0))(key, indices))

    def fold(self, name: str) -> "Keys":
        """Independent keys for another purpose."""
        data = zlib.crc32(name.encode())
        fold = lambda key: jax.random.fold_in(key, data)  # noqa: E731
        return Keys(fold(self.shared), jax.vmap(fold)(self.example))

    def normal(self, shape: tuple[int, ...]) -> jax.Array:
        """Standard Gaussian draws `[N, *shape]`, float32."""
        size = math.prod(shape)
        # How XLA 0.12 rounds a Gaussian depends on the vector it stands in and on what it is fused with. Whole
        # vectors, kept apart, make a draw the same bits on any number of devices.
        padded = -(-size // _VECTOR) * _VECTOR
        draws = jax.vmap(lambda key: jax.random.normal(key, (padded,)))(self.example)
        return jax.lax.optimization_barrier(draws)[:, :size].reshape(-1, *shape)

    def uniform(self, shape: tuple[int, ...] = ()) -> jax.Array:
        """Uniform draws from [0, 1) `[N, *shape]`, float32."""
        return jax.vmap(lambda key: jax.random.uniform(key, shape))(self.example)
