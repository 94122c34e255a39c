"""Eight virtual devices and no silent promotion of ranks for every test; one compilation of each program."""

import gc
import os
import tempfile
from collections.abc import Iterator

os.environ.setdefault("JAX_PLATFORMS", "cpu")
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    # Tests run the same small programs again and again, in this process, pytest's workers and processes of their own.
    _cache = tempfile.TemporaryDirectory(prefix="jaxgan-tests-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _cache.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# As pytest's own filter in pyproject.toml, for processes that tests start.
os.environ.setdefault("PYTHONWARNINGS", "ignore:Error reading persistent compilation cache entry:UserWarning")

import jax
import numpy as np
import pytest
from quick import quickly

# Tracing makes many objects that live long: to look for garbage after every 700 takes a quarter of its time.
gc.set_threshold(50_000, 20, 100)
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


@pytest.fixture(scope="module")
def quick_programs() -> Iterator[None]:
    """`quickly`, for a whole module."""
    with quickly():
        yield


@pytest.fixture(scope="module")
def small_batches() -> Iterator[None]:
    """Feature networks compute full batches always: here of 16 images a device in place of 100."""
    from jaxgan import features

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "BATCH", 16)
        yield
