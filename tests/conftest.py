"""Eight virtual devices and no silent promotion of ranks for every test; one compilation of each program."""

import os
import tempfile
from collections.abc import Iterator

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Tests run the same small programs again and again, in this process, pytest's workers and processes of their own.
    _cache = tempfile.TemporaryDirectory(prefix="jaxgan-tests-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

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
