"""Eight virtual devices and no silent promotion of ranks for every test; one compilation of each program."""

import gc
import json
import os
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Operations outside of programs compile in half to a third of the time without fusion emitters. Newer compilers have no
# other way. Tests of a run's bits compile programs as users do: `users_programs`, and `quick.users_environment`.
os.environ["USERS_XLA_FLAGS"] = os.environ.get("USERS_XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))
if tuple(map(int, metadata.version("jax").split(".")[:2])) < (0, 11):
    os.environ["XLA_FLAGS"] = f"{os.environ['USERS_XLA_FLAGS']} --xla_cpu_use_fusion_emitters=false"
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
from accounting import Accounting, check
from quick import as_users, quickly

# Tracing makes many objects that live long: to look for garbage after every 700 takes a quarter of its time.
gc.set_threshold(200_000, 20, 100)
gc.freeze()  # what was imported stays
jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("cost")
    group.addoption("--dearest", type=int, metavar="N", help="print a table of the N tests that cost most")
    group.addoption("--dearest-in", type=Path, metavar="FILE", help="and write it between its markers there")


def pytest_configure(config: pytest.Config) -> None:
    check(config.getoption("--dearest"), config.getoption("--dearest-in"))
    config.pluginmanager.register(Accounting())


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
def users_programs() -> Iterator[None]:
    """`as_users`, for a whole module."""
    with as_users():
        yield


@pytest.fixture(scope="module")
def quick_curves() -> Iterator[None]:
    """To draw curves takes a second, as long as some runs: the rows that they would show are written in their place."""

    from jaxgan import plots

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            plots, "curves", lambda rows, path, title, shown: path.write_text(f"{title}\n{json.dumps(rows)}")
        )
        yield


@pytest.fixture(scope="module")
def small_batches() -> Iterator[None]:
    """Feature networks compute full batches always: here of 16 images a device in place of 100."""
    from jaxgan.scoring import features

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "BATCH", 16)
        yield


@pytest.fixture
def own_names(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Takes back whatever names a test registers: networks, families, domains, sources, losses, features, scores."""
    from jaxgan.data.sources import DATA
    from jaxgan.domains import DOMAINS
    from jaxgan.families import FAMILIES
    from jaxgan.networks.registry import NETWORKS
    from jaxgan.objectives.losses import LOSSES
    from jaxgan.scoring.features import FEATURES
    from jaxgan.scoring.groups import GROUP

    registries = [DATA, DOMAINS, FAMILIES, *NETWORKS.values()]
    for registry in registries:
        monkeypatch.setattr(registry, "_kinds", dict(registry.kinds))
    tables = [(table, dict(table)) for table in (LOSSES, FEATURES, GROUP)]
    yield
    for registry in registries:
        registry.__dict__.pop("_adapter", None)
    for table, before in tables:
        table.clear()
        table.update(before)
