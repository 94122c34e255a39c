"""Eight virtual devices and no silent promotion of ranks for every test."""

import os
from collections.abc import Iterator

os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def strict_dtypes() -> Iterator[None]:
    """No silent promotion of dtypes either; not for all tests, as Adam in optax relies on it."""
    with jax.numpy_dtype_promotion("strict"):
        yield
