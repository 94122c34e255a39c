"""What is computed in another way on one backend than on others, and what was measured there.

XLA's compilers differ: what is fast on a CPU may be slow on a GPU. All such choices stand here. Whatever was measured
on a backend is chosen for it in `MEASURED`; every other backend gets `STOCK`, what XLA and JAX do by themselves, until
somebody measures it there (`benchmarks/accelerator.py`). No choice changes what is computed, only its rounding.

For example:

    >>> choices("cpu").seeds_by, choices("tpu").seeds_by  # measured, and not measured
    ('map', 'vmap')
    >>> choices("tpu") == STOCK
    True
    >>> with overridden(seeds_by="map"):
    ...     choices("tpu").seeds_by
    'map'
"""

import importlib.metadata
import importlib.util
import os
import pkgutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax

from jaxgan.errors import InputError


@dataclass(frozen=True)
class Choices:
    """The ways of one backend. The defaults are stock."""

    formulations: bool = False
    """Whether convolutions are computed by `jaxgan.layers.convolutions` (tiles, patches, plain gradients)."""
    dense_gradients: bool = False
    """Whether dense layers compute the gradient of their kernel as it lies in memory."""
    taps: bool = False
    """Whether depthwise convolutions of feature networks are sums over their taps."""
    sliced_norms: bool = False
    """Whether the norms of gradients add matrices up in slices, in one pass."""
    unrolled_draws: bool = False
    """Whether random bits are drawn without loops; the bits are the same."""
    judged_together: int = 0
    """Real values on a device up to which a discriminator of points sees real and generated ones at once."""
    vector_width: int | None = None
    """Bits of the vectors that windows are compiled for; None leaves it to XLA."""
    eigen_from: int | None = None
    """Examples on a device from which matrix products are Eigen's, not YNNPACK's; None leaves it to XLA."""
    seeds_by: Literal["map", "vmap"] = "vmap"
    """How runs that train together share a device where `run.seeds_by` is "auto"."""


STOCK = Choices()
MEASURED = {
    # Measured on two cores of an AMD EPYC: benchmarks/README.md and CHANGELOG.md have the figures. In short: a DCGAN
    # step with formulations is 4.9 to 8.2 times as fast as a tutorial's with stock convolutions. A small GAN's step is
    # 1.06 times as fast with dense gradients, 1.03 to 1.05 with slices, 1.14 with points judged at once, 1.04 to 1.05
    # with vectors of 512 bits, 1.2 with unrolled draws and no collectives of one device; with Eigen on batches of 512
    # points 1.2 times. Taps are four times as fast as XLA's grouped convolution; vmap makes convolutions of several
    # seeds about twice as slow as one seed after another.
    "cpu": Choices(
        formulations=True,
        dense_gradients=True,
        taps=True,
        sliced_norms=True,
        unrolled_draws=True,
        judged_together=512,
        vector_width=512,
        eigen_from=128,
        seeds_by="map",
    ),
}
"""Choices by JAX's name of the platform. A GPU and a TPU have none yet: nothing was measured on one."""

_changes: ContextVar[dict[str, Any]] = ContextVar("changes")


def choices(platform: str | None = None) -> Choices:
    """The choices for a platform, by default that of JAX's default backend, which this starts."""
    return replace(MEASURED.get(platform or jax.default_backend(), STOCK), **_changes.get({}))


@contextmanager
def overridden(**changes: Any) -> Iterator[None]:
    """Changes fields of `Choices` for all that is traced inside, on every platform: for benchmarks and tests.

    A function that JAX traced before keeps the choices that it was traced with.
    """
    token = _changes.set({**_changes.get({}), **changes})
    try:
        replace(STOCK, **changes)  # a field that there is not is an error here
        yield
    finally:
        _changes.reset(token)


def compiler_options(platform: str, examples: int) -> dict[str, str | int]:
    """Options of XLA for a window of steps; what `XLA_FLAGS` names is left to it.

    Args:
      platform: JAX's name of the devices' platform.
      examples: How many examples of a batch one device computes.
    """
    chosen, given = choices(platform), os.environ.get("XLA_FLAGS", "")
    options: dict[str, str | int] = {}
    if chosen.vector_width is not None:
        options["xla_cpu_prefer_vector_width"] = chosen.vector_width
    if chosen.eigen_from is not None and examples >= chosen.eigen_from:
        # XLA's default without products. YNNPACK computes those of a few hundred examples by a hundred features on one
        # core; Eigen takes all cores.
        options["xla_cpu_experimental_ynn_fusion_type"] = "LIBRARY_FUSION_TYPE_REDUCE"
    return {name: value for name, value in options.items() if name not in given}


DETERMINISTIC = "xla_gpu_deterministic_ops"
"""XLA's flag that a GPU repeats its bits by: no operation whose order of additions is left to chance, and no kernel
chosen by how long it took."""


def started() -> bool:
    """Whether JAX has started its backends, after which `XLA_FLAGS` changes nothing."""
    name = "jax_num_cpu_devices"
    now = getattr(jax.config, name)
    try:
        jax.config.update(
            name, now + 1
        )  # JAX refuses this once it has started, and offers no plainer question
    except RuntimeError:
        return True
    jax.config.update(name, now)
    return False


def gpu_expected() -> bool:
    """Whether JAX may start on a GPU: a plugin for one is installed, and JAX_PLATFORMS does not rule it out."""
    asked = os.environ.get("JAX_PLATFORMS") or jax.config.jax_platforms or ""  # pyright: ignore[reportAttributeAccessIssue]
    if asked and not {"cuda", "rocm", "gpu"} & set(asked.lower().split(",")):
        return False
    package = importlib.util.find_spec("jax_plugins")
    places = package.submodule_search_locations if package else None
    plugins = [found.name for found in pkgutil.iter_modules(places)] if places else []
    plugins += [point.name for point in importlib.metadata.entry_points(group="jax_plugins")]
    return any("cuda" in name or "rocm" in name for name in plugins)


def start() -> None:
    """Starts JAX on its devices, unless it has started.

    Raises:
      InputError: It finds none of the kind that it was asked for.
    """
    try:
        jax.devices()
    except Exception as error:  # each kind fails in its own way, CUDA by an AssertionError without a word
        asked = jax.config.jax_platforms  # type: ignore[attr-defined]
        said = " ".join(str(error).split()).partition(" (set JAX_PLATFORMS")[0]
        why = f" ({said})" if said else ""
        where = f"JAX_PLATFORMS={asked}" if asked else "any kind"
        raise InputError(
            f"JAX finds no devices of {where}{why}; leave JAX_PLATFORMS out, or install what it names, such as "
            "'jaxgan[cuda]'"
        ) from error


def ask_for_determinism(wanted: bool) -> None:
    """Has XLA compile only what repeats its bits on a GPU; to be called before JAX starts, for it changes `XLA_FLAGS`.

    Does nothing where there is no GPU to start on, where JAX has started, where it is not wanted, or where `XLA_FLAGS`
    says something of it already.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    named = DETERMINISTIC in flags or "xla_gpu_exclude_nondeterministic_ops" in flags
    if wanted and not named and not started() and gpu_expected():
        os.environ["XLA_FLAGS"] = f"{flags} --{DETERMINISTIC}=true".strip()


def not_deterministic(platform: str) -> str | None:
    """Why programs on the devices of a platform may not repeat their bits, and what to do; None where they do.

    On CPUs and TPUs there is nothing to ask XLA for.
    """
    if platform not in ("gpu", "cuda", "rocm") or _flag(DETERMINISTIC):
        return None
    return (
        f"XLA was not asked for {DETERMINISTIC} before JAX started, so results may differ from run to run; train in a "
        f"new process, or set XLA_FLAGS=--{DETERMINISTIC}=true before it starts"
    )


def _flag(name: str) -> bool:
    """What `XLA_FLAGS` says of a flag: the last word counts."""
    value = False
    for word in os.environ.get("XLA_FLAGS", "").split():
        key, equals, given = word.lstrip("-").partition("=")
        if key == name:
            value = not equals or given.lower() in ("true", "1")
    return value
