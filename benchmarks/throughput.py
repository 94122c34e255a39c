"""How fast a config trains: steps and images a second, compile time, time to the first step, memory, distance from the
machine's matrix-product rate; with --loop, what the whole of `jaxgan train` keeps of that.

Data that is not there is replaced by images of noise of the same size, and the result says so.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import flops
import harness
import numpy as np
from PIL import Image

from jaxgan import backends, config, experiment
from jaxgan.data import stream
from jaxgan.errors import InputError

CLASSES = 10
"""Of replaced data."""
LOOP_SECONDS = 30
LONGEST = 2000
"""Most steps of a window in a process of its own."""


def load_data(settings: config.Settings) -> tuple[dict[str, np.ndarray], int, bool]:
    """The config's data as arrays, its number of classes, and whether it was replaced."""
    try:
        source = experiment.source_of(settings)
        return dict(stream.load(source, progress=False)), len(source.classes), False  # pyright: ignore[reportReturnType]
    except InputError:
        data, classes = settings.data, CLASSES if settings.game.conditional else 0
        examples = max(10_000, settings.batch_size)
        return harness.random_images(examples, data.resolution, data.channels, classes), classes, True


def window_steps(run: harness.Steps, seconds: float) -> int:
    """Steps that take about so long, at least 10."""
    run()
    start = time.perf_counter()
    run()
    return max(10, round(seconds * run.steps / (time.perf_counter() - start)))


def peer(what: Mapping[str, Any]) -> tuple[harness.Run, dict[str, Any]]:
    """A config's window in a process of its own (`harness.serve`), on images of noise, and what it tells of itself.

    Or a matrix product.
    """
    if "product" in what:
        product = harness.MatrixProduct(size=what["product"], steps=10, dtype=what["dtype"])
        return product, {"flops": product.flops}
    settings = config.load(Path(what["config"]), what["overrides"])
    backends.ask_for_determinism(what.get("deterministic", False))
    data: Any = settings.data
    classes = CLASSES if settings.game.conditional else 0
    images = harness.random_images(10_000, data.resolution, data.channels, classes)
    rules = experiment.build(settings, ["class"] * classes, len(images["label"])).game
    run = harness.Steps(rules, images, settings.batch_size, 2, longest=LONGEST)
    return run if what["toy"] else harness.Fitted(run, what["seconds"]), {
        "batch_size": settings.batch_size,
        "compile_seconds": run.compile_seconds,
        "flops_per_step": flops.of_config(settings, classes).total,
    }


def measure(settings: config.Settings, options: argparse.Namespace) -> dict[str, Any]:
    """All but the time to the first step and the loop."""
    data, classes, replaced = load_data(settings)
    built = experiment.build(settings, ["class"] * classes, len(data["label"]))
    probe = harness.Steps(built.game, data, settings.batch_size, 2)
    compile_seconds = probe.compile_seconds
    steps = 2 if options.toy else window_steps(probe, options.seconds)
    run = harness.Steps(built.game, data, settings.batch_size, steps)
    product = harness.MatrixProduct(options.toy)
    seconds = harness.rounds({"step": run, "product": product}, options.windows)
    step, counted = float(np.median(seconds["step"])), flops.of_config(settings, classes)
    return {
        "config": settings.name,
        "settings": settings.model_dump(),
        "data_replaced_by_noise": replaced,
        "steps_in_window": steps,
        "ms_per_step": harness.spread([1e3 * s for s in seconds["step"]]),
        "steps_per_second": 1 / step,
        "images_per_second": settings.batch_size / step,
        "seconds_per_kimg": 1000 * step / settings.batch_size,
        "compile_seconds": compile_seconds,
        "peak_memory_bytes": harness.peak_memory(),
        "flops_per_step": counted.total,
        "flops_by_part": counted._asdict(),
        "flops_per_second": counted.total / step,
        "matrix_product_flops": product.rate(seconds["product"]),
        "share_of_matrix_product": counted.total / step / product.rate(seconds["product"]),
    }


@contextmanager
def readable(settings: config.Settings, replaced: bool, toy: bool) -> Iterator[list[str]]:
    """Overrides with which `jaxgan train` finds data: none, or a folder of noise."""
    if not replaced:
        yield []
        return
    data, count = settings.data, settings.batch_size * (1 if toy else 2)
    made = harness.random_images(count, data.resolution, data.channels, CLASSES)
    with tempfile.TemporaryDirectory(prefix="jaxgan-noise-") as folder:
        for i, (image, label) in enumerate(zip(made["real"], made["label"], strict=True)):
            place = Path(folder) / (f"class{label}" if settings.game.conditional else "")
            place.mkdir(exist_ok=True)
            Image.fromarray(image.squeeze(-1) if data.channels == 1 else image).save(place / f"{i:06d}.png")
        # Read whole, as data of a usual size is.
        yield ["--data.source", "folder", "--data.path", folder, "--feed.resident", "true"]


class Training:
    """`jaxgan train` in a process of its own, and how its log grew: (seconds since the start, step)."""

    def __init__(self, settings: config.Settings, steps: int, extra: list[str], cache: str) -> None:
        with tempfile.TemporaryDirectory(prefix="jaxgan-bench-") as folder:
            place = Path(folder)
            (place / "config.toml").write_text(settings.to_toml())
            command = [sys.executable, "-m", "jaxgan", "train", str(place / "config.toml"), *extra]
            command += ["--run-dir", str(place / "run"), "--steps", str(steps), "--quiet"]
            environment = {**os.environ, "JAXGAN_CACHE": cache}
            environment.pop("JAX_COMPILATION_CACHE_DIR", None)  # another cache than the one asked for
            start = time.perf_counter()
            child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
            self.grew: list[tuple[float, int]] = []
            log = place / "run" / "metrics.jsonl"
            while child.poll() is None:
                self._look(log, start)
                time.sleep(0.02)
            self._look(log, start)
            self.seconds = time.perf_counter() - start
            _, errors = child.communicate()
            if child.returncode:
                raise SystemExit(f"throughput: {' '.join(command)} failed:\n{errors}")

    def _look(self, log: Path, start: float) -> None:
        if not log.exists():
            return
        now, lines = time.perf_counter() - start, log.read_text().split("\n")[:-1]
        step = json.loads(lines[-1])["step"] if lines else 0
        if step and (not self.grew or step > self.grew[-1][1]):
            self.grew.append((now, step))


def first_step(settings: config.Settings, extra: list[str]) -> dict[str, Any]:
    """Seconds from the start of `jaxgan train --steps 1` to its first line of metrics and to its end."""
    with tempfile.TemporaryDirectory(prefix="jaxgan-cache-") as cache:
        found = {}
        for name, where in {"cold_cache": cache, "warm_cache": cache}.items():
            training = Training(settings, 1, extra, where)
            found[name] = {"first_step": training.grew[0][0], "whole_run": training.seconds}
        return found | {"cache_bytes": sum(p.stat().st_size for p in Path(cache).rglob("*") if p.is_file())}


def loop(settings: config.Settings, extra: list[str], steps: int, bare: float) -> dict[str, Any]:
    """Steps a second of `jaxgan train` between its first and last lines of metrics, samples and checkpoints included.

    Args:
      settings: The config, its intervals as they are.
      extra: More overrides.
      steps: How many to train.
      bare: Steps a second of the compiled window alone, measured in the same run.
    """
    with tempfile.TemporaryDirectory(prefix="jaxgan-cache-") as cache:
        training = Training(settings, steps, extra, cache)
    (start, first), (end, last) = training.grew[0], training.grew[-1]
    rate = (last - first) / (end - start) if last > first else None
    return {
        "steps": steps,
        "sample_every": settings.run.sample_every,
        "checkpoint_every": settings.run.checkpoint_every,
        "steps_per_second": rate,
        "kept_of_bare_speed": rate / bare if rate else None,
        "whole_run_seconds": training.seconds,
    }


def render(document: dict[str, Any]) -> str:
    """The table of a document."""
    columns = [
        "config",
        "batch",
        "ms a step",
        "images/s",
        "s/kimg",
        "GFLOP a step",
        "of product",
        "compile, s",
    ]
    columns += ["first step, s", "from cache, s", "memory, MB", "loop keeps"]
    rows = []
    for r in document["results"]:
        first, kept = r.get("time_to_first_step"), r.get("loop", {}).get("kept_of_bare_speed")
        spread = r["ms_per_step"]
        rows.append(
            [
                r["config"],
                r["settings"]["batch_size"],
                f"{spread['median']:.4g} ({spread['min']:.4g}-{spread['max']:.4g})",
                r["images_per_second"],
                r["seconds_per_kimg"],
                r["flops_per_step"] / 1e9,
                f"{r['share_of_matrix_product']:.0%}",
                r["compile_seconds"],
                first and first["cold_cache"]["first_step"],
                first and first["warm_cache"]["first_step"],
                r["peak_memory_bytes"].get("device", r["peak_memory_bytes"]["process"]) / 1e6,
                kept and f"{kept:.0%}",
            ]
        )
    return harness.table(columns, rows)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.usage = "throughput.py CONFIG... [options] [--any.config.key VALUE ...]"
    parser.add_argument(
        "configs", nargs="*", type=Path, metavar="CONFIG", help="TOML files (all of configs/)"
    )
    parser.add_argument(
        "--seconds", type=float, default=2.0, metavar="S", help="a window's length (default: 2)"
    )
    parser.add_argument("--no-start", action="store_true", help="leave out the time to the first step")
    parser.add_argument("--loop", action="store_true", help="also measure the whole of jaxgan train")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    text = f"its steps (default: {LOOP_SECONDS} seconds of them, up to the next checkpoint)"
    parser.add_argument("--loop-steps", type=int, metavar="N", help=text)
    arguments, overrides = split(sys.argv[1:], parser._option_string_actions)
    options = parser.parse_args(arguments)
    options.overrides = overrides
    if options.child:
        harness.serve(lambda: peer(json.loads(options.child)))
        return
    report = harness.Report("throughput", options)
    for path in options.configs or sorted((harness.ROOT / "configs").glob("*.toml")):
        settings = config.load(path, (harness.TOY if options.toy else {}) | overrides)
        result = harness.alone(measure, settings, options)
        with readable(settings, result["data_replaced_by_noise"], options.toy) as extra:
            if not options.no_start:
                result["time_to_first_step"] = first_step(settings, extra)
            if options.loop:
                some, every = LOOP_SECONDS * result["steps_per_second"], settings.run.checkpoint_every
                steps = 1000 if options.toy else max(1, -(-round(some) // every)) * every
                steps = options.loop_steps or steps
                result["loop"] = loop(settings, extra, steps, result["steps_per_second"])
        report.add(result)
    report.finish(render)


def split(arguments: list[str], known: Collection[str]) -> tuple[list[str], dict[str, str]]:
    """Takes `--key VALUE`, the keys of the config, out of the arguments."""
    plain, overrides, words = [], {}, iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if not word.startswith("--") or name in known:
            plain.append(word)
        else:
            overrides[name.removeprefix("--")] = value if equals else next(words, "")
    return plain, overrides


if __name__ == "__main__":
    main()
