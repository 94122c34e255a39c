"""Compiled programs kept on disk: found again, never in the way, and without a trace in a run's bits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from quick import users_environment

from jaxgan import cache
from jaxgan.runs.inspection import inspect

ROOT = Path(__file__).parents[1]
TINY = [
    *("train", str(ROOT / "configs" / "mlp.toml"), "--quiet", "--steps", "3", "--data.split", "test"),
    *("--batch-size", "8", "--generator.width", "4", "--discriminator.width", "4", "--run.samples", "4"),
    *("--generator.depth", "1", "--discriminator.depth", "1"),
]


def jaxgan(*arguments, **environment):
    """Runs a command in a process of its own that keeps every program; what it printed."""
    env = {name: value for name, value in users_environment().items() if "COMPILATION_CACHE" not in name}
    env |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "jaxgan", *map(str, arguments)],
        env=env | {name: str(value) for name, value in environment.items()},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done


def state_sha256(run):
    return inspect(run, print)["state_sha256"]


@pytest.mark.slow
def test_bits_with_a_cold_a_warm_and_no_cache(tmp_path):
    """And a folder that cannot be made is one line, not the end of a run."""
    (tmp_path / "file").touch()
    none = jaxgan(*TINY, "--run-dir", tmp_path / "none", JAXGAN_CACHE=tmp_path / "file" / "below")
    (line,) = [line for line in none.stderr.splitlines() if "kept" in line]
    assert line.startswith("jaxgan: compiled programs are not kept for the next start: Not a directory; set ")
    kept = []
    for name in ("cold", "warm"):
        done = jaxgan(*TINY, "--run-dir", tmp_path / name, XDG_CACHE_HOME=tmp_path / "caches")
        said = [line for line in done.stderr.splitlines() if line.startswith("jaxgan: ")]
        assert [line.partition("; ")[0] for line in said] == ["jaxgan: trained to step 3"]
        programs = (tmp_path / "caches" / "jaxgan" / "xla").glob("*/*-cache")
        kept.append({path.name: path.read_bytes() for path in programs})
    assert any(name.startswith("jit_initial") for name in kept[0])
    assert kept[0] == kept[1]
    assert len({state_sha256(tmp_path / name) for name in ("none", "cold", "warm")}) == 1


def test_where_programs_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("JAXGAN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert cache.folder().parent == tmp_path / ".cache" / "jaxgan" / "xla"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache.folder().parent == tmp_path / ".cache" / "jaxgan" / "xla"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    assert cache.folder().parent == tmp_path / "caches" / "jaxgan" / "xla"
    monkeypatch.setenv("JAXGAN_CACHE", str(tmp_path / "mine"))
    assert cache.folder().parent == tmp_path / "mine" / "xla"
    assert cache.downloads() == tmp_path / "mine" / "downloads"
    assert cache.surveys() == tmp_path / "mine" / "images"
    monkeypatch.setenv("JAXGAN_CACHE", "off")
    assert cache.folder() is cache.surveys() is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="threads cannot be taken away here")
def test_another_number_of_threads_has_programs_of_its_own(monkeypatch):
    monkeypatch.setenv("JAXGAN_CACHE", "/cache")
    here, found = os.sched_getaffinity(0), set()
    try:
        for cores in (here, {min(here)}):
            os.sched_setaffinity(0, cores)
            found.add(cache.folder())
    finally:
        os.sched_setaffinity(0, here)
    assert len(found) == (1 if len(here) == 1 else 2)


def test_a_cache_that_the_user_gave_jax_is_left_alone(tmp_path):
    code = (
        "import jax; from jaxgan import cache; cache.keep(print);"
        "print(jax.config.jax_compilation_cache_dir, jax.config.jax_persistent_cache_min_compile_time_secs)"
    )
    env = {name: value for name, value in os.environ.items() if "CACHE" not in name}
    env |= {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "theirs"), "JAXGAN_CACHE": str(tmp_path / "ours")}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == [str(tmp_path / "theirs"), "1.0"], run.stderr
    assert not (tmp_path / "ours").exists()
