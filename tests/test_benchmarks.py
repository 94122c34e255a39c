"""The benchmarks at toy size: that they run, and that what they write is whole and sane. Their times mean nothing."""

import importlib.util
import json
import math
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax.interpreters.partial_eval import dce_jaxpr
from PIL import Image
from quick import quick_flags

from jaxgan import config, experiment, game

ROOT = Path(__file__).parents[1]
BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def flops(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("flops")


def run(name: str, out: Path, *arguments: str) -> dict[str, Any]:
    """Runs a benchmark at toy size and reads its document, once with the environment looked at."""
    command = [sys.executable, str(BENCHMARKS / f"{name}.py"), "--toy", "--windows", "2", "--out", str(out)]
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {quick_flags}",
    }
    done = subprocess.run(
        [*command, *arguments], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(out.read_text())
    assert document["benchmark"] == name
    assert document["arguments"]["windows"] == 2
    here = document["environment"]
    assert here["cores"] >= 1
    assert here["memory_bytes"] > 2**28
    assert here["packages"]["jax"] == jax.__version__
    assert len(here["load_before"]) == len(here["load_after"]) == 3
    assert all(here[key] for key in ("date", "cpu", "os", "python", "devices"))
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(table) >= 3
    assert min(line.count("|") for line in table) >= 4  # three columns
    return document


def check_spread(spread: dict[str, float], windows: int = 2) -> None:
    assert spread["windows"] == windows
    assert 0 < spread["min"] <= spread["q1"] <= spread["median"] <= spread["q3"] <= spread["max"] < math.inf


def check_proof(errors: dict[str, list[float]]) -> None:
    assert {"discriminator loss", "generator gradient"} < set(errors)
    assert {len(values) for values in errors.values()} == {3}
    assert max(map(max, errors.values())) < 1e-9  # float32 would be off by 1e-7


@pytest.mark.slow
def test_throughput(tmp_path: Path):
    arguments = [str(ROOT / "configs" / "mlp.toml"), "--loop", "--game.latent", "16"]
    missing = ["--data.source", "folder", "--data.path", str(tmp_path / "none")]
    document = run("throughput", tmp_path / "out.json", *arguments, *missing)
    (result,) = document["results"]
    assert result["settings"]["game"]["latent"] == 16
    assert result["data_replaced_by_noise"] is True
    check_spread(result["ms_per_step"])
    assert result["images_per_second"] == pytest.approx(8 * result["steps_per_second"])
    assert result["seconds_per_kimg"] * result["images_per_second"] == pytest.approx(1000)
    assert result["flops_per_step"] == sum(result["flops_by_part"].values())
    share = result["flops_per_step"] * result["steps_per_second"] / result["matrix_product_flops"]
    assert result["share_of_matrix_product"] == pytest.approx(share)
    assert 0 < share < 1
    assert result["peak_memory_bytes"]["process"] > 2**26
    start = result["time_to_first_step"]
    assert start["cache_bytes"] > 0
    for times in (start["cold_cache"], start["warm_cache"]):
        assert 0 < times["first_step"] <= times["whole_run"]
    assert result["loop"]["steps"] == 1000
    assert result["loop"]["steps_per_second"] > 0


@pytest.mark.slow
def test_versus_flax(tmp_path: Path):
    document = run("versus_flax", tmp_path / "out.json", "--cases", "mlp-64")
    (result,) = document["results"]
    check_proof(result["proof"])
    check_spread(result["times_faster"])
    assert set(result["seconds_per_step"]) == {"jaxgan", "tutorial"}


@pytest.mark.skipif(not importlib.util.find_spec("torch"), reason="PyTorch is not installed")
@pytest.mark.slow
def test_versus_torch(tmp_path: Path):
    document = run("versus_torch", tmp_path / "out.json", "--cases", "mlp-64")
    (result,) = document["results"]
    check_proof(result["proof"]["eager"])
    assert document["adam_error"] < 1e-2
    for kind, spread in result["times_faster"].items():
        assert kind in ("torch eager", "torch compile")
        check_spread(spread)
    assert result["fastest_torch"] in result["times_faster"]


@pytest.mark.slow
def test_versus_torch_without_torch(tmp_path: Path):
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('no torch', name='torch')")
    command = [sys.executable, str(BENCHMARKS / "versus_torch.py"), "--toy"]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1
    assert "jaxgan[peers]" in done.stderr


@pytest.mark.slow
def test_degradations(tmp_path: Path):
    document = run("degradations", tmp_path / "degradations.json")
    found = {(r["kind"], r["level"]): r["scores"] for r in document["results"]}
    assert len(found) == 25
    assert (
        len({str(scores) for (_, level), scores in found.items() if level == 0}) == 1
    )  # nothing is done to them
    assert found["copies", 1]["memorisation"] == 1
    assert found["noise", 0.4]["frechet"] > 3 * found["noise", 0]["frechet"]
    assert found["dropped classes", 8]["coverage"] < 0.5 * found["dropped classes", 0]["coverage"]


@pytest.mark.slow
def test_kernels(tmp_path: Path):
    document = run("kernels", tmp_path / "out.json", str(ROOT / "configs" / "dcgan32.toml"))
    assert {result["kind"] for result in document["results"]} == {"conv", "conv_transpose"}
    for result in document["results"]:
        assert result["used_by"] == ["dcgan32"]
        assert set(result["passes"]) == {"forward", "input gradient", "weight gradient", "all three"}
        for found in result["passes"].values():
            assert found["difference"] < 1e-4
            check_spread(found["gflops"]["ours"])
            check_spread(found["gflops"]["stock"])
    assert document["matrix_product_flops"] > 0


@pytest.mark.slow
def test_scaling(tmp_path: Path):
    sections = ("devices", "dataset")
    document = run("scaling", tmp_path / "out.json", *sections)
    found = {result["section"]: result["rows"] for result in document["results"]}
    assert tuple(found) == sections
    assert [row["devices"] for row in found["devices"]] == [1, 2]
    assert [row["batch_size"] for row in found["devices"]] == [4, 8]
    for rows in found.values():
        for row in rows:
            check_spread(row["ms_per_step"])
            rate = 1e3 * row["batch_size"] / row["ms_per_step"]["median"]
            assert row["images_per_second"] == pytest.approx(rate)


@pytest.mark.slow
def test_seeds(tmp_path: Path):
    document = run("seeds", tmp_path / "out.json", "--configs", "mlp")
    (result,) = document["results"]
    assert result["seeds"] == 2
    for by in ("map", "vmap"):
        check_spread(result["times_faster_than_alone"][by])
    for by, spread in result["seconds_per_step_of_all"].items():
        assert result["seed_steps_per_second"][by] == pytest.approx(2 / spread["median"])


@pytest.mark.slow
def test_precision(tmp_path: Path):
    document = run("precision", tmp_path / "out.json")
    (result,) = document["results"]
    assert result["skipped"] == {"float32": 0, "bfloat16": 0}
    for name, found in result["last_fifth"].items():
        assert found["float32"]["mean"] != found["bfloat16"]["mean"], name
        assert found["bfloat16"]["mean"] == pytest.approx(found["float32"]["mean"], rel=0.2), name
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.width > 1000


@pytest.mark.slow
def test_metrics(tmp_path: Path):
    document = run("metrics", tmp_path / "out.json")
    assert len(document["results"]) == 5
    for result in document["results"]:
        assert result["values"]["jaxgan"][0] > 0
        for spread in result["seconds"].values():
            check_spread(spread)
        assert set(result["difference"]) == set(result["seconds"]) - {"jaxgan"}
        assert all(apart < 1e-4 for apart in result["difference"].values())
        assert min(result["peak_bytes"].values()) >= 0
    assert "scipy's sqrtm" in document["results"][0]["difference"]


@pytest.mark.slow
def test_classifier(tmp_path: Path):
    document = run("classifier", tmp_path / "out.json")
    (result,) = document["results"]
    assert result["train_images"] == 256
    assert result["parameters"] == 288_170
    assert 0 < result["accuracy"] < 1


@pytest.mark.slow
def test_theory(tmp_path: Path):
    document = run("theory", tmp_path / "out.json")
    assert [result["seed"] for result in document["results"]] == [0, 1]
    assert all(-5 < result["value"] < 0 and 0 < result["distance"] < 1 for result in document["results"])


def test_a_gallery_table_has_a_column_for_each_run():
    import gallery

    def document(name, config, overrides, seconds, value, rows):
        line = {"score": "frechet", "title": "FD", "value": value, "error": 0.25, "floor": 0.5}
        about = {"name": name, "config": config, "overrides": overrides, "steps": 3000, "seconds": seconds}
        return {**about, "scores": [line], "rows": rows}

    ours = document("biggan", "biggan", [], 90.0, 1.5, [("error", 0.125, None, None)])
    theirs = document("sagan", "sagan", ["--steps", "3000"], None, 2.5, [])
    assert gallery.render([ours, theirs]).splitlines() == [
        "|                   |   `biggan` | `sagan --steps 3000` | real images |",
        "| ----------------- | ---------: | -------------------: | ----------: |",
        "| steps             |      3,000 |                3,000 |           - |",
        "| processor minutes |        1.5 |                    - |           - |",
        "| FD                | 1.5 ± 0.25 |           2.5 ± 0.25 |         0.5 |",
        "| error             |      0.125 |                    - |           - |",
    ]


@pytest.mark.parametrize("name", ["gallery", "tables"])
def test_readmes_have_the_tables_of_the_results(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", [name, "--check"])
    importlib.import_module(name).main()  # exits where they differ


def parsed(**overrides: Any) -> config.Settings:
    return config.load(
        ROOT / "configs" / "mlp.toml", {k.replace("__", "."): str(v) for k, v in overrides.items()}
    )


def test_flops_of_a_small_dcgan_counted_by_hand(flops: Any):
    settings = parsed(
        data__resolution=16, data__channels=3, generator__network="dcgan", discriminator__network="dcgan",
        generator__width=2, discriminator__width=2, batch_size=5, game__latent=7, game__shared_draws="true",
    )  # fmt: skip
    # Two stages. Generator: dense 7 -> 4x4x4; transposed 4x4/2 on 4x4, 4 -> 2; on 8x8, 2 -> 3.
    dense, up1, up2 = 2 * 5 * 7 * 64, 2 * 5 * 16 * 16 * 4 * 2, 2 * 5 * 64 * 16 * 2 * 3
    # Discriminator: 4x4/2 to 8x8, 3 -> 2; to 4x4, 2 -> 4; dense 64 -> 1.
    down1, down2, last = 2 * 5 * 64 * 16 * 3 * 2, 2 * 5 * 16 * 16 * 2 * 4, 2 * 5 * 64
    generator, discriminator = dense + up1 + up2, down1 + down2 + last
    step = flops.of_config(settings)
    assert step.generator_forward == generator
    # Real and fake: forward, weights, and the gradient of all inputs but the images.
    assert step.discriminator_turns == 2 * (discriminator + discriminator + (down2 + last))
    assert step.penalties == 0
    # Forward and back to the image; then the generator's weights, and all of its inputs but the latents.
    assert step.generator_turn == 2 * discriminator + generator + (up1 + up2)
    assert step.total == sum(step)


def test_flops_of_turns_that_draw_afresh(flops: Any):
    shared, fresh = (
        flops.of_config(parsed(game__shared_draws=value, game__discriminator_turns=3))
        for value in ("true", "false")
    )
    assert fresh.generator_forward == 4 * shared.generator_forward
    assert fresh.discriminator_turns == shared.discriminator_turns
    assert fresh.discriminator_turns == 3 * flops.of_config(parsed()).discriminator_turns


def products(jaxpr: Any, times: int = 1) -> int:
    """FLOPs of the matrix products in a program, those of loops as often as they run."""
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            (left, _), _ = equation.params["dimension_numbers"]
            a, b = (v.aval.shape for v in equation.invars)
            if len(a) > 1 and len(b) > 1:
                total += times * 2 * math.prod(equation.outvars[0].aval.shape) * math.prod(a[i] for i in left)
        inner = times * equation.params["length"] if equation.primitive.name == "scan" else times
        for value in equation.params.values():
            if closed := getattr(value, "jaxpr", None):
                total += products(getattr(closed, "jaxpr", closed), inner)
    return total


@pytest.mark.parametrize(
    "overrides",
    [
        {"game__shared_draws": "true"},
        {"game__discriminator_turns": 3},
        {"game__loss": "wasserstein", "game__gradient_penalty": 10, "game__discriminator_turns": 2},
    ],
    ids=str,
)
def test_flops_of_an_mlp_are_those_of_the_products_in_its_step(flops: Any, overrides: dict[str, Any]):
    settings = parsed(generator__width=5, discriminator__width=6, batch_size=3, game__latent=4, **overrides)
    built = experiment.build(settings, [], 100)
    state = jax.eval_shape(partial(experiment.initial, built))
    batch = {"real": jnp.zeros((built.game.turns, 3, 28, 28, 1))}
    step = jax.make_jaxpr(partial(game.step, built.game))(state, batch).jaxpr
    # Without what nobody reads, which XLA drops: the gradients of latents and of real images, and in each of two turns
    # the logits of the three images whose slopes are penalised, by six weights.
    needed, _ = dce_jaxpr(step, [True] * len(step.outvars))
    unread = 2 * 2 * 3 * 6 if "game__gradient_penalty" in overrides else 0
    assert products(needed) + unread == flops.of_config(settings).total
