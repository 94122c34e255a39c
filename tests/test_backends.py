"""Choices by backend change rounding and nothing else; determinism on a GPU is asked for in time, or said not to be."""

import dataclasses
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, quick_jit, slow

from jaxgan import backends, config, families, game, networks, prng
from jaxgan.networks.pretrained import FoldedDepthwise
from jaxgan.runs.directory import check_manifest, environment

ROOT = Path(__file__).parents[1]
STOCK = {field.name: getattr(backends.STOCK, field.name) for field in dataclasses.fields(backends.STOCK)}


def test_only_what_was_measured_differs_from_stock():
    assert set(backends.MEASURED) == {"cpu"}
    assert backends.choices() == backends.MEASURED["cpu"] != backends.STOCK
    assert backends.choices("gpu") == backends.choices("tpu") == backends.STOCK
    assert backends.compiler_options("gpu", 1024) == {}


def test_choices_are_overridden_inside_alone_and_unknown_ones_refused():
    with backends.overridden(formulations=False):
        with backends.overridden(judged_together=3, formulations=True):
            assert backends.choices("gpu").judged_together == 3
        assert not backends.choices().formulations
        assert backends.choices().judged_together == 512
    assert backends.choices().formulations
    with pytest.raises(TypeError, match="convolution"), backends.overridden(convolution=True):
        pass
    assert backends.choices() == backends.MEASURED["cpu"]


def test_options_of_the_compiler_are_left_to_who_names_them(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "")
    both = {
        "xla_cpu_prefer_vector_width": 512,
        "xla_cpu_experimental_ynn_fusion_type": "LIBRARY_FUSION_TYPE_REDUCE",
    }
    assert backends.compiler_options("cpu", 128) == both
    assert set(backends.compiler_options("cpu", 127)) == {"xla_cpu_prefer_vector_width"}
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_prefer_vector_width=256")
    assert set(backends.compiler_options("cpu", 128)) == {"xla_cpu_experimental_ynn_fusion_type"}


@pytest.mark.parametrize("points", [slow(True), slow(False)], ids=["points", "images"])
def test_a_step_of_stock_ways_is_the_same_to_rounding(points):
    """Convolutions, dense layers, norms, draws and points judged together, all at once and the stock way."""
    if points:
        pair = networks.MLPGenerator((1, 1, 2), 40), networks.MLPDiscriminator(40)
        shape = (16, 1, 1, 2)
    else:
        pair = networks.DCGANGenerator(16, 3, 16), networks.DCGANDiscriminator(16, 3, 16)
        shape = (16, 16, 16, 3)
    sgd = optax.sgd(0.1)
    played = play(
        families.GAN,
        *pair,
        latent=4,
        generator_optimizer=sgd,
        discriminator_optimizer=sgd,
    )
    images = jnp.asarray(np.random.default_rng(0).normal(size=(played.turns, *shape)), jnp.float32)
    before = game.init(played, jax.random.key(0), {"real": images[0]})

    def step():
        return quick_jit(partial(game.step, played))(before, {"real": images})

    (ours, metrics), text = (
        step(),
        quick_jit(partial(game.step, played)).lower(before, {"real": images}).as_text(),
    )
    with backends.overridden(**STOCK):
        (stock, stock_metrics) = step()
        stock_text = quick_jit(partial(game.step, played)).lower(before, {"real": images}).as_text()
    assert text != stock_text  # or nothing was overridden
    for a, b in zip(jax.tree.leaves(ours.params), jax.tree.leaves(stock.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert set(metrics) == set(stock_metrics)
    for name in metrics:
        np.testing.assert_allclose(metrics[name], stock_metrics[name], rtol=2e-4, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("stride", [1, 2])
def test_depthwise_convolutions_are_the_same_both_ways(rng, stride):
    layer, x = FoldedDepthwise(5, stride), jnp.asarray(rng.normal(size=(2, 9, 8, 6)), jnp.float32)
    params = {"kernel": jnp.asarray(rng.normal(size=(6, 5, 5, 1))), "bias": jnp.asarray(rng.normal(size=6))}
    taps = layer.apply({"params": params}, x)
    with backends.overridden(taps=False):
        stock = layer.apply({"params": params}, x)
    np.testing.assert_allclose(taps, stock, rtol=1e-4, atol=1e-5)


def test_draws_are_the_same_bits_both_ways():
    ours = prng.Keys.of(jax.random.key(3), 5).normal((7,))
    with backends.overridden(unrolled_draws=False):
        assert np.array_equal(prng.Keys.of(jax.random.key(3), 5).normal((7,)), ours)


def process(code: str, plugins: Path | None, **variables: str) -> str:
    """What a new process prints that finds a JAX plugin, of a GPU that is not there, in `plugins`."""
    kept = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_PLATFORMS")}
    path = os.pathsep.join([*([str(plugins)] if plugins else []), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**kept, "PYTHONPATH": path, **variables},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A folder in which JAX finds a plugin that calls itself one for CUDA and adds no device."""
    place = tmp_path / "jax_plugins" / "xla_cuda13"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text("def initialize():\n    pass\n")
    return tmp_path


ASK = "import os; from jaxgan import backends; backends.ask_for_determinism({}); print(os.environ.get('XLA_FLAGS'))"
ASKED = [
    (True, {}, "--xla_gpu_deterministic_ops=true"),
    (
        True,
        {"XLA_FLAGS": "--xla_cpu_prefer_vector_width=256"},
        "--xla_cpu_prefer_vector_width=256 --xla_gpu_deterministic_ops=true",
    ),
    (True, {"JAX_PLATFORMS": "cpu"}, "None"),
    (False, {}, "None"),
    (True, {"XLA_FLAGS": "--xla_gpu_deterministic_ops=false"}, "--xla_gpu_deterministic_ops=false"),
]
"""What is wanted, the environment, and what XLA_FLAGS are then."""


def test_a_gpu_is_asked_for_determinism_before_jax_starts_and_where_it_is_wanted(plugin):
    """Flags stay where nothing is to be asked; those that were added are understood by JAX."""
    lines = ["import os", "from jaxgan import backends"]
    for wanted, variables, _ in reversed(ASKED):
        lines += ["for name in ('XLA_FLAGS', 'JAX_PLATFORMS'): os.environ.pop(name, None)"]
        lines += [f"os.environ.update({variables!r})", f"backends.ask_for_determinism({wanted})"]
        lines += ["print(os.environ.get('XLA_FLAGS'))"]
    lines += ["import jax", "print(jax.numpy.ones(3).sum(), backends.not_deterministic('gpu'))"]
    found = process("\n".join(lines), plugin).splitlines()
    assert found == [*(flags for _, _, flags in reversed(ASKED)), "3.0 None"]


def test_flags_stay_without_a_plugin_for_gpus():
    assert process(ASK.format(True), None) == "None"


def test_once_jax_has_started_it_is_too_late_and_that_is_said(plugin):
    late = f"import jax; jax.devices(); {ASK.format(True)}; print(backends.not_deterministic('gpu'))"
    flags, _, why = process(late, plugin).partition("\n")
    assert flags == "None"
    assert "before JAX started" in why
    assert "--xla_gpu_deterministic_ops=true" in why


def test_the_last_word_of_xla_flags_counts(monkeypatch):
    flag = "--xla_gpu_deterministic_ops"
    for text, found in (
        (f"{flag}=false {flag}=true", True),
        (f"{flag}=true {flag}=false", False),
        (flag, True),
    ):
        monkeypatch.setenv("XLA_FLAGS", text)
        assert (backends.not_deterministic("gpu") is None) is found
    monkeypatch.delenv("XLA_FLAGS")
    assert backends.not_deterministic("gpu")
    assert backends.not_deterministic("cpu") is None


def test_the_manifest_has_it_and_a_change_is_said(tmp_path, monkeypatch):
    here = environment(jax.devices()[:1], 0, {"data_fingerprint": "a"})
    assert here["deterministic"] is True
    said: list[str] = []
    old = {
        name: value for name, value in here.items() if name != "deterministic"
    }  # of before it was recorded
    check_manifest(old, here, tmp_path, said.append)
    assert said == []
    check_manifest(here, {**here, "deterministic": False}, tmp_path, said.append)
    assert len(said) == 1
    assert said[0].startswith("deterministic changed")
    assert "not to the bit" in said[0]


@pytest.mark.slow
def test_the_command_asks_as_the_config_says(plugin, tmp_path):
    mlp = ROOT / "configs" / "mlp.toml"
    tiny = ["--steps", "1", "--batch-size", "4", "--data.split", "test", "--run.samples", "2", "--quiet"]
    tiny += [
        f"--{net}.{key}={n}"
        for net in ("generator", "discriminator")
        for key, n in (("width", 2), ("depth", 1))
    ]
    for wanted, flags in (("true", "--xla_gpu_deterministic_ops=true"), ("false", "None")):
        words = ["train", str(mlp), "--run-dir", str(tmp_path / wanted), "--run.deterministic", wanted, *tiny]
        code = f"import os; from jaxgan.cli import main; print(main({words!r}), os.environ.get('XLA_FLAGS'))"
        assert process(code, plugin).splitlines()[-1] == f"0 {flags}"
        assert config.load(tmp_path / wanted / "config.toml").run.deterministic is (wanted == "true")
