"""What is kept on disk for the next start: compiled programs, weights that were downloaded, and what images are.

For example:

    >>> from unittest.mock import patch
    >>> with patch.dict(os.environ, JAXGAN_CACHE="kept"):
    ...     print(downloads().as_posix(), folder().parent.as_posix())
    kept/downloads kept/xla
    >>> with patch.dict(os.environ, JAXGAN_CACHE="off"):
    ...     print(folder())
    None
"""

import hashlib
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

SECONDS = 0.5
"""Programs that take longer to compile are kept, and what images are that take longer to look at."""


def folder() -> Path | None:
    """Where programs are kept: below `$JAXGAN_CACHE` or `$XDG_CACHE_HOME/jaxgan`; None for `JAXGAN_CACHE=off`.

    Below that, each kind of CPU and number of threads has a folder of its own: home directories are shared by machines,
    and a program made for one may stop another, or give it other bits than it would compile for itself.

    Raises:
      RuntimeError: If there is no home directory.
    """
    root = _root()
    return root and root / "xla" / hashlib.sha256(_machine().encode()).hexdigest()[:12]


def downloads() -> Path | None:
    """Where weights that were downloaded are kept, beside the programs; None for `JAXGAN_CACHE=off`.

    Raises:
      RuntimeError: If there is no home directory.
    """
    root = _root()
    return root and root / "downloads"


def surveys() -> Path | None:
    """Where it is kept what the images of folders are (`jaxgan.data.known`); None for `JAXGAN_CACHE=off`.

    Raises:
      RuntimeError: If there is no home directory.
    """
    root = _root()
    return root and root / "images"


def _root() -> Path | None:
    chosen = os.environ.get("JAXGAN_CACHE", "")
    if chosen.strip().lower() == "off":
        return None
    if chosen:
        return Path(chosen).expanduser()
    caches = Path(os.environ.get("XDG_CACHE_HOME", ""))  # its specification has relative paths ignored
    return (caches if caches.is_absolute() else Path.home() / ".cache") / "jaxgan"


def _machine() -> str:
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        first = [platform.processor()]
    # What differs between the cores of a machine, or from minute to minute, is left out.
    named = ("vendor_id", "cpu family", "model", "stepping", "flags", "CPU ", "Features")
    kept = [line for line in first if line.startswith(named)] or first[:1]
    return "\n".join([platform.machine(), str(threads), *kept])


def keep(say: Callable[[str], None]) -> None:
    """Has JAX keep the programs that it compiles from now on, and use those kept before.

    Where the user gave JAX a cache (`JAX_COMPILATION_CACHE_DIR`), that is used as it is. Where the folder cannot be
    written, `say` is told so, and all goes on without.
    """
    import jax

    if getattr(jax.config, "jax_compilation_cache_dir", None):
        return
    try:
        place = folder()
        if place is None:
            return
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        say(
            f"compiled programs are not kept for the next start: {reason}; set JAXGAN_CACHE to a folder, or off"
        )
        return
    jax.config.update("jax_compilation_cache_dir", str(place))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", SECONDS)
