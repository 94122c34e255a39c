"""What tests share beside fixtures; to import it changes nothing."""

import inspect
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import pytest

_options: dict[str, bool | int] = {"xla_backend_optimization_level": 0}
if jax.__version_info__ < (0, 11):
    _options["xla_cpu_use_fusion_emitters"] = False  # newer compilers have no other way

quick_jit = partial(jax.jit, compiler_options=_options)
"""For what runs once or twice and is compared to rounding: compiles sooner. Not for tests of bits."""

quick_flags = " ".join(f"--{name}={str(value).lower()}" for name, value in _options.items())
"""The same for a process of its own, in its XLA_FLAGS."""


def slow(*values: Any) -> Any:
    """The values of one case of a parametrised test, not of `make test` but of `make test-slow`."""
    return pytest.param(*values, marks=pytest.mark.slow)


def users_environment(**variables: str) -> dict[str, str]:
    """The environment of a process that compiles as for users, with variables of its own."""
    return {**os.environ, "XLA_FLAGS": os.environ["USERS_XLA_FLAGS"], **variables}


def play(family: Any, *networks: Any, **given: Any) -> Any:
    """The game of a family's networks: keywords that `game` takes go there, all others are settings.

    Unlike with the settings' own default, there is no average unless it is asked for.
    """
    taken = {name: given.pop(name) for name in inspect.signature(family.game).parameters if name in given}
    return family(**{"ema": 0.0, **given}).game(*networks, **taken)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """No file of this process can grow past a size: writes fail as on a disk that is full (EFBIG)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def as_users() -> Iterator[None]:
    """Compiles the library's own programs as for users, whatever flags the tests run with."""
    from jaxgan import backends

    if "xla_cpu_use_fusion_emitters" not in _options:
        yield
        return
    options = backends.compiler_options
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            backends, "compiler_options", lambda *of: {**options(*of), "xla_cpu_use_fusion_emitters": True}
        )
        yield


@contextmanager
def quickly() -> Iterator[None]:
    """Compiles all sooner, the library's own programs too, convolutions the plain way. Not for tests of bits."""
    from jaxgan import backends
    from jaxgan.layers.convolutions import choice

    jax.config.update("jax_disable_most_optimizations", True)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backends, "compiler_options", lambda *_: _options)
            patch.setattr(choice, "tiles_that_pay", lambda *_: 0)
            patch.setattr(choice, "products_pay", lambda *_: False)
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", False)
        jax.clear_caches()  # in memory a program does not say how it was compiled; on disk it does
