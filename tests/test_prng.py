"""The unrolled generator against `jax.random`, whose numbers it must draw to the bit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from quick import slow

from jaxgan.game import Keys
from jaxgan.prng import unrolled

DRAWS = {
    "fold_in": lambda key: jax.random.key_data(jax.random.fold_in(key, 0xFFFFFFFF)),
    "fold_in traced": lambda key: jax.random.key_data(jax.random.fold_in(key, jnp.int32(7))),
    "split": lambda key: jax.random.key_data(jax.random.split(key, (3, 4))),
    "bits": lambda key: jax.random.bits(key, (5, 7)),
    "8 bits": lambda key: jax.random.bits(key, (33,), "uint8"),
    "16 bits": lambda key: jax.random.bits(key, (33,), "uint16"),
    "normal": lambda key: jax.random.normal(key, (9,)),
    "scalar": lambda key: jax.random.uniform(key),
    "none": lambda key: jax.random.uniform(key, (0, 3)),
    "bernoulli": lambda key: jax.random.bernoulli(key, 0.3, (8,)),
    "randint": lambda key: jax.random.randint(key, (8,), 0, 1000),
    "permutation": lambda key: jax.random.permutation(key, 11),
}


@pytest.mark.parametrize("name", [name if name in ("bits", "fold_in") else slow(name) for name in DRAWS])
def test_draws_are_those_of_jax(name):
    key = jax.random.fold_in(jax.random.key(5), 3)
    keys = jax.random.split(key, 6)
    for draw, given in ((DRAWS[name], key), (jax.vmap(DRAWS[name]), keys)):
        for way in (lambda f: f, jax.jit):
            np.testing.assert_array_equal(way(draw)(unrolled(given)), draw(given))


def test_64_bits():
    key = jax.random.key(1)
    with jax.enable_x64(True):
        found = jax.random.bits(unrolled(key), (4,), "uint64")
        assert found.dtype == jnp.uint64
        np.testing.assert_array_equal(found, jax.random.bits(key, (4,), "uint64"))


def test_seeds_are_those_of_jax():
    impl = jax.random.key_impl(unrolled(jax.random.key(0)))
    for seed in (0, 42, 2**32 - 1):
        found = jax.random.key_data(jax.random.key(seed, impl=impl))
        np.testing.assert_array_equal(found, jax.random.key_data(jax.random.key(seed)))


def test_other_generators_are_left_alone_and_twice_is_once():
    rbg = jax.random.key(3, impl="rbg")
    assert unrolled(rbg) is rbg
    key = unrolled(jax.random.key(3))
    assert unrolled(key) is key
    assert Keys.of(rbg, 4).example.dtype == rbg.dtype


def test_more_numbers_than_the_counter_holds_are_refused():
    with pytest.raises(ValueError, match=r"fewer than 2\*\*32 numbers"):
        jax.jit(lambda key: jax.random.bits(key, (2**16, 2**16))).lower(unrolled(jax.random.key(0)))


def test_there_is_no_loop_in_a_draw():
    """In the program before XLA sees it; JAX's own has one."""
    draw = jax.jit(lambda key: Keys.of(key, 4).fold("latent").normal((3,)))
    assert "stablehlo.while" not in draw.lower(jax.random.key(0)).as_text()
    assert (
        "stablehlo.while"
        in jax.jit(lambda key: jax.random.bits(key, (4,))).lower(jax.random.key(0)).as_text()
    )
