"""What every benchmark shares: windows in rounds, the machine's matrix-product rate, the environment, tables, JSON.

The protocol. Programs are compiled ahead of time and warmed up. A *window* is many steps and one wait for the device.
Peers take turns, A B A B, so that a change of the machine's speed meets all of them alike; the matrix product takes its
turn like a peer. What is quoted is the median over the windows, with its quartiles and extremes; a comparison is the
median of the ratios within each round.
"""

import argparse
import json
import multiprocessing
import os
import platform
import resource
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

import float64
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image as Picture
from text_table import table as table

from jaxgan import __version__, game
from jaxgan.data.feed import feeds
from jaxgan.domains import Image
from jaxgan.game import Game, State
from jaxgan.parallel import Layout, Spread
from jaxgan.training.window import program

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "torch")
VARIABLES = (
    "XLA_",
    "JAX_",
    "JAXGAN_",
    "MALLOC_",
    "GLIBC_",
    "LD_PRELOAD",
    "OMP_",
    "OPENBLAS_",
    "MKL_",
    "KMP_",
    "CUDA_",
    "TORCH",
)
"""Environment variables that may move a time begin with one of these."""
SET = {name: value for name, value in sorted(os.environ.items()) if name.startswith(VARIABLES)}
"""Those that were set at the start: packages set some themselves."""
PAUSE = 0.05
"""Seconds between windows: the threads of the peer before go to sleep."""

TOY = {
    "data.source": "embedded",
    "data.resolution": "16",
    "data.channels": "1",
    "generator.width": "4",
    "discriminator.width": "4",
    "batch_size": "8",
}
"""Overrides of a config, for sizes that take no time."""

T = TypeVar("T")
Run = Callable[[], int]
"""Runs one window, waits for it, and returns its number of steps."""


def parser(text: str | None, *, windows: int = 10) -> argparse.ArgumentParser:
    """The options that every benchmark takes."""
    made = argparse.ArgumentParser(description=text, allow_abbrev=False)
    made.add_argument(
        "--out", type=Path, metavar="FILE", help="the JSON (default: benchmarks/results/NAME.json)"
    )
    made.add_argument(
        "--windows", type=int, default=windows, metavar="N", help=f"rounds (default: {windows})"
    )
    made.add_argument("--toy", action="store_true", help="tiny sizes, to see that it works")
    return made


def rounds(peers: Mapping[str, Run], windows: int, *, warm_up: bool = True) -> dict[str, list[float]]:
    """Seconds per step of every window, `windows` for each peer, after a window each to warm up."""
    for run in peers.values() if warm_up else ():
        run()
    seconds: dict[str, list[float]] = {name: [] for name in peers}
    for _ in range(windows):
        for name, run in peers.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            steps = run()
            taken = time.perf_counter() - start
            # A process of its own knows better: what is said between processes takes time too.
            seconds[name].append((run.took if isinstance(run, Child) else taken) / steps)
    return seconds


def spread(values: Sequence[float]) -> dict[str, float | int]:
    """Median, quartiles, extremes and number."""
    low, q1, median, q3, high = (float(q) for q in np.quantile(np.asarray(values), (0, 0.25, 0.5, 0.75, 1)))
    return {"median": median, "q1": q1, "q3": q3, "min": low, "max": high, "windows": len(values)}


def times_faster(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float | int]:
    """How many times faster ours is, round by round: above 1 we are."""
    return spread([b / a for a, b in zip(ours, theirs, strict=True)])


class MatrixProduct:
    """The limit: a matrix product of XLA, on a CPU 2048 square in float32."""

    def __init__(self, toy: bool = False, size: int = 2048, steps: int = 4, dtype: Any = jnp.float32) -> None:
        self.size, self.steps = 256 if toy else size, steps
        self.flops = 2 * self.size**3
        a = (jax.random.normal(jax.random.key(0), (self.size, self.size)) / self.size**0.5).astype(dtype)
        self._product = jax.jit(jnp.matmul).lower(a, a).compile()
        self._a = a

    def __call__(self) -> int:
        x = self._a
        for _ in range(self.steps):
            x = self._product(x, self._a)
        x.block_until_ready()
        return self.steps

    def rate(self, seconds: Sequence[float]) -> float:
        """FLOP/s at the median window."""
        return self.flops / float(np.median(seconds))


def random_images(examples: int, resolution: int, channels: int, classes: int = 0) -> dict[str, np.ndarray]:
    """Data as `jaxgan.data.stream.load` gives it, of noise: times do not depend on what is in the images."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (examples, resolution, resolution, channels), np.uint8)
    return {"real": image, "label": (np.arange(examples) % max(1, classes)).astype(np.int32)}


class Steps:
    """The window that `jaxgan train` compiles: `steps` steps of a game in one loop, over data kept on the device."""

    def __init__(
        self,
        rules: Game,
        data: Mapping[str, np.ndarray],
        batch_size: int,
        steps: int,
        *,
        over: Layout | None = None,
        seeds: Sequence[int] = (0,),
        longest: int | None = None,
    ) -> None:
        """Compiles ahead of time.

        Args:
          rules: The game.
          data: As `random_images`.
          batch_size: Examples in each player's turn.
          steps: Of a window, by each run.
          over: Where it runs, the first device if not given.
          seeds: Of the runs that train together.
          longest: The window that the program could take, `steps` if not given.
        """
        over = over or Spread("pmap", jax.devices()[:1])
        shape = (rules.turns, batch_size, longest or steps, over)
        fed = feeds(dict(data), seeds, *shape, stop=steps, workers=0)  # pyright: ignore[reportArgumentType]
        example = {"real": jnp.zeros((2, *data["real"].shape[1:])), "label": jnp.zeros(2, jnp.int32)}
        init = jax.jit(partial(game.init, rules))
        self.state: State = over.place([init(jax.random.key(seed), example) for seed in seeds])
        self.steps = steps
        parts, counts = over.join([feed.host(0, steps) for feed in fed], [steps] * len(seeds))
        self._rest = (fed[0].whole, parts, counts)
        self._over, self._fed, self._longest = over, fed, longest or steps
        start = time.perf_counter()
        self._window = program(rules, Image(), fed[0], over, batch_size, 100)
        self._window.compile(self.state, *self._rest)
        self.compile_seconds = time.perf_counter() - start

    def __call__(self) -> int:
        """One window, waited for."""
        self.dispatch()
        jax.block_until_ready(self.state)
        return self.steps

    def lengthen(self, steps: int) -> None:
        """Runs windows of another length from now on, up to `longest`, without compiling anew."""
        self.steps = min(steps, self._longest)
        hosts = [feed.host(0, self.steps) for feed in self._fed]
        parts, counts = self._over.join(hosts, [self.steps] * len(hosts))
        self._rest = (self._rest[0], parts, counts)

    def dispatch(self) -> None:
        """Starts a window after those started before."""
        self.state, _ = self._window(self.state, *self._rest)


class Child:
    """A peer in a process of its own, for what is fixed once JAX has started: it waits until its window is due."""

    def __init__(
        self, script: str, what: Mapping[str, Any], variables: Mapping[str, str | None] | None = None
    ) -> None:
        """Starts `script --child WHAT`, which must end in `serve`; the first window waits until it is ready.

        Args:
          script: A file of Python.
          what: For the script.
          variables: Environment variables that differ from those here; None takes one away.
        """
        command = [sys.executable, script, "--child", json.dumps(what)]
        environment = {k: v for k, v in {**os.environ, **(variables or {})}.items() if v is not None}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._about: dict[str, Any] | None = None
        self.took = 0.0
        """Seconds of the last window."""

    def ready(self, seconds: float | None = None) -> dict[str, Any]:
        """Waits until it may run, and returns what it tells of itself.

        Raises:
          SystemExit: If it failed, or is not ready after so many seconds; it is ended.
        """
        if self._about is None:
            if seconds is not None and not select.select([self._process.stdout], [], [], max(0, seconds))[0]:
                self.kill()
                raise SystemExit(f"a process of its own was not ready after {max(0, seconds):.0f} s")
            self._about = self._answer()
        return self._about

    def __call__(self) -> int:
        assert self._process.stdin
        self.ready()
        with suppress(OSError):  # it has ended, as its missing answer says
            print(file=self._process.stdin, flush=True)
        steps, self.took = self._answer()
        return steps

    def _answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        try:
            return json.loads(line)
        except ValueError:
            raise SystemExit(f"a process of its own failed: {self._process.args}, {line!r}") from None

    def kill(self) -> None:
        """Ends the process at once."""
        self._process.kill()
        self._process.communicate()

    def close(self) -> dict[str, Any]:
        """Ends the process, and returns its `peak_memory`."""
        self.ready()
        last, _ = self._process.communicate()
        return json.loads(last) if last else {}


def serve(make: Callable[[], tuple[Run, Mapping[str, Any]]]) -> None:
    """A child's life: makes itself ready, runs a window whenever it is asked to, and in the end tells of its memory.

    Args:
      make: Returns what to run, and what the child tells of itself.
    """
    # What libraries print goes to stderr: the parent reads stdout.
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        run, about = make()
        print(json.dumps(about), file=answers, flush=True)
        for _ in sys.stdin:
            start = time.perf_counter()
            steps = run()
            print(json.dumps([steps, time.perf_counter() - start]), file=answers, flush=True)
        print(json.dumps(peak_memory()), file=answers, flush=True)


class Fitted:
    """A window that is fitted to a time when it runs for the first time: by then nothing else may run."""

    def __init__(self, run: Any, seconds: float, least: int = 10) -> None:
        """Takes what can be run and has `lengthen(steps)`; windows of at least so many steps are made."""
        self._run, self._seconds, self._least = run, seconds, least
        self._fitted = False

    def __call__(self) -> int:
        if not self._fitted:
            self._run()
            start = time.perf_counter()
            steps = self._run()
            one = (time.perf_counter() - start) / steps
            self._run.lengthen(max(self._least, round(self._seconds / one)))
            self._fitted = True
        return self._run()


def alone(f: Callable[..., T], *args: Any, wide: bool = False) -> T:
    """What `f(*args)` returns in a process of its own, which finds memory as nobody has left it.

    With `wide` all computes in float64 there that does in float32 here.
    """
    if wide:
        os.environ[float64.VARIABLE] = "1"
    try:
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as own:
            return own.submit(f, *args).result()
    finally:
        os.environ.pop(float64.VARIABLE, None)


def peak_memory() -> dict[str, int]:
    """Bytes: this process's largest resident set, its children's, and the first device's, where it tells."""
    unit = 1 if sys.platform == "darwin" else 1024
    found = {
        "process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        "children": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * unit,
    }
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return found | {"device": torch.cuda.max_memory_allocated()}
    stats = jax.devices()[0].memory_stats()
    return found | ({"device": stats["peak_bytes_in_use"]} if stats else {})


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, Any]:
    """All that a time depends on besides the program."""
    devices = jax.devices()
    here = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "git_commit": _output(
            "git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"
        ),
        "cpu": _field("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": cores(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "os": platform.platform(),
        "python": platform.python_version(),
        "packages": {"jaxgan": __version__}
        | {name: version for name in PACKAGES if (version := _version(name))},
        "devices": [f"{device.platform}: {device.device_kind}" for device in devices],
        "platform_version": devices[0].client.platform_version.strip(),
        "driver": _output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"),
        "variables": SET,
    }
    if torch := sys.modules.get("torch"):
        here["torch_threads"] = torch.get_num_threads()
    return here


class Report:
    """One benchmark's document: made before it measures, written after."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self._out = name, options.out or ROOT / "benchmarks" / "results" / f"{name}.json"
        arguments = {key: value for key, value in vars(options).items() if key != "out"}
        self.document: dict[str, Any] = {"benchmark": name, "arguments": arguments, "results": []}
        self._load = os.getloadavg()

    def add(self, result: dict[str, Any]) -> None:
        """Adds a result, and writes the file: a benchmark that is stopped keeps what it has."""
        self.document["results"].append(result)
        self.write()

    def write(self) -> None:
        """Writes the document."""
        load = {"load_before": list(self._load), "load_after": list(os.getloadavg())}
        self.document["environment"] = environment() | load
        self._out.parent.mkdir(parents=True, exist_ok=True)
        self._out.write_text(json.dumps(self.document, indent=1, allow_nan=False, default=str) + "\n")

    def finish(self, render: Callable[[dict[str, Any]], str]) -> None:
        """Writes the document and prints its table."""
        self.write()
        print(render(self.document))
        print(f"\nwritten to {self._out}")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _field(path: str, name: str) -> str | None:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), None)


def _output(*command: str) -> str | None:
    try:
        return (
            subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout.strip()
            or None
        )
    except (OSError, subprocess.SubprocessError):
        return None


LEAST = 560
"""Pixels of the longer side of a picture that people see, at least."""


def enlarge(picture: Path, out: Path, times: int | None = None) -> None:
    """Writes a picture larger, every pixel a square of pixels: so many times, by default to `LEAST`."""
    with Picture.open(picture) as drawn:
        times = times or -(-LEAST // max(drawn.size))
        size = times * drawn.width, times * drawn.height
        drawn.resize(size, Picture.Resampling.NEAREST).save(out)
