"""Strict JAX for every test: eight virtual devices, no silent promotion of ranks or dtypes."""

import os

# One thread pool of two keeps results and times steady whatever machine runs the tests.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
