"""Every convolution of the networks in configs/, forward and both gradients: jaxgan's against XLA's own.

Each pass runs in a loop inside one compiled program, as the training step does, each turn depending on the one before
so that nothing moves out of the loop. Counted are the multiplications and additions of the layer's shape, whatever the
formulation, as in flops.py.
"""

import itertools
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import flops
import harness
import jax
import jax.numpy as jnp
import numpy as np
from flops import Layer
from jax import lax

from jaxgan import backends, config, layers

PASSES = {"forward": 1, "input gradient": 1, "weight gradient": 1, "all three": 3}
"""Each alone, and all of them as a training step needs them; how often the layer's FLOPs."""
NHWC = ("NHWC", "HWIO", "NHWC")


def text(layer: Layer) -> str:
    n, height, width, _ = layer.x
    d, kh, kw, c = layer.w
    way = f"{d} to {c}" if layer.kind == "conv_transpose" else f"{c} to {d}"
    return f"{layer.kind} {kh}x{kw}/{layer.stride}, {n}x{height}x{width}, {way}"


def collect(paths: list[Path], batch_size: int | None) -> dict[Layer, list[str]]:
    """The convolutions of both networks of each config, and the names of the configs that use them."""
    found: dict[Layer, list[str]] = {}
    for path in paths:
        settings = config.load(path, {"batch_size": str(batch_size)} if batch_size else {})
        for layer in itertools.chain(*flops.networks(settings)):
            if layer.kind != "dense":
                names = found.setdefault(layer._replace(after_weights=True, after_input=True), [])
                if settings.name not in names:
                    names.append(settings.name)
    return found


def ours(shape: Layer, x: jax.Array, w: jax.Array) -> jax.Array:
    with backends.overridden(formulations=True):
        return getattr(layers, shape.kind)(x, w, shape.stride, shape.padding)


def stock(shape: Layer, x: jax.Array, w: jax.Array) -> jax.Array:
    """The same map in XLA's terms, as stock layers write it: the kernel is `[kh, kw, C, D]`."""
    strides = (shape.stride, shape.stride)
    padding: Any = [(shape.padding,) * 2] * 2 if isinstance(shape.padding, int) else shape.padding
    if shape.kind == "conv":
        return lax.conv_general_dilated(x, w, strides, padding, dimension_numbers=NHWC)
    if not isinstance(padding, str):
        padding = [(k - 1 - low, k - 1 - high) for k, (low, high) in zip(w.shape[:2], padding, strict=True)]
    return lax.conv_transpose(x, w, strides, padding, dimension_numbers=NHWC, transpose_kernel=True)


def passes(f: Callable[..., jax.Array], shape: Layer) -> dict[str, Callable[..., tuple[jax.Array, ...]]]:
    """(x, w, g) to the results of each pass."""

    def together(x: jax.Array, w: jax.Array, g: jax.Array) -> tuple[jax.Array, ...]:
        y, pull = jax.vjp(partial(f, shape), x, w)
        return y, *pull(g)

    return {
        "forward": lambda x, w, g: (f(shape, x, w),),
        "input gradient": lambda x, w, g: jax.vjp(lambda x: f(shape, x, w), x)[1](g),
        "weight gradient": lambda x, w, g: jax.vjp(lambda w: f(shape, x, w), w)[1](g),
        "all three": together,
    }


class Loop:
    """Runs a pass again and again in one program, which is compiled here; once in a window until it is measured."""

    def __init__(self, run: Callable[..., Any], arrays: tuple[jax.Array, ...]) -> None:
        def loop(count: Any, *arrays: jax.Array) -> Any:
            def turn(arrays: Any, results: Any) -> Any:
                # One number of each input comes from the turn before, or XLA computes the result once, before the
                # loop; a barrier does not stop it on CPU. It is written in place and costs nothing.
                last = sum(y[0, 0, 0, 0] for y in results)
                arrays = tuple(a.at[0, 0, 0, 0].set(jnp.clip(last, -1, 1)) for a in arrays)
                return arrays, run(*arrays)

            def body(_: Any, carry: Any) -> Any:
                for _ in range(self.turns):
                    carry = turn(*carry)
                return carry

            results = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), jax.eval_shape(run, *arrays))
            return lax.fori_loop(0, count, body, (arrays, results))[1]

        # An accelerator asks its host after each turn of a loop whether there is another.
        self.turns = 1 if jax.default_backend() == "cpu" else 8
        self._arrays = arrays
        self._loop = jax.jit(loop).lower(jnp.int32(1), *arrays).compile()
        self.count = 1

    def fill(self, seconds: float) -> None:
        """Runs as often in a window as so many seconds allow, from now on."""
        start = time.perf_counter()
        self()
        self.first, self.once = self._last, (time.perf_counter() - start) / self.turns
        if self.once < 1:  # the first may be slower than others
            self.once = harness.rounds({"": self}, 1, warm_up=False)[""][0]
        self.count = max(1, min(1000, round(seconds / self.once / self.turns)))

    def __call__(self) -> int:
        self._last = jax.block_until_ready(self._loop(jnp.int32(self.count), *self._arrays))
        return self.count * self.turns


def tolerance() -> float:
    """How far two ways of a pass may be apart. Accelerators multiply float32 in fewer bits: there it is only told."""
    return 1e-4 if jax.default_backend() == "cpu" else math.inf


def difference(shape: Layer, ours: tuple[jax.Array, ...], stock: tuple[jax.Array, ...]) -> float:
    """The largest relative error of the results of a pass."""
    worst = 0.0
    for a, b in zip(ours, stock, strict=True):
        b = b.transpose(3, 0, 1, 2) if a.shape == shape.w and b.shape != a.shape else b
        worst = max(worst, float(jnp.linalg.norm(a - b) / jnp.linalg.norm(b)))
    return worst


Loops = dict[str, dict[str, Future[Loop]]]
"""By pass and by way, as they become ready."""


def prepare(shape: Layer, pool: Executor) -> Loops:
    """Has both ways of every pass of a layer compiled."""
    keys = iter(jax.random.split(jax.random.key(0), 3))
    x, w = (jax.random.normal(next(keys), s) for s in (shape.x, shape.w))
    g = jax.random.normal(next(keys), jax.eval_shape(partial(ours, shape), x, w).shape)
    given = {"ours": (ours, (x, w, g)), "stock": (stock, (x, w.transpose(1, 2, 3, 0), g))}
    return {
        name: {way: pool.submit(Loop, passes(f, shape)[name], arrays) for way, (f, arrays) in given.items()}
        for name in PASSES
    }


def measure(
    shape: Layer,
    used_by: list[str],
    windows: int,
    seconds: float,
    product: harness.MatrixProduct,
    loops: Loops,
) -> dict[str, Any]:
    """GFLOP/s of each pass, both ways, in rounds."""
    found = {}
    for name, times in PASSES.items():
        flops = times * shape.flops
        peers = {way: future.result() for way, future in loops[name].items()}
        for peer in peers.values():
            peer.fill(seconds)
        apart = difference(shape, peers["ours"].first, peers["stock"].first)
        if not apart < tolerance():
            raise SystemExit(f"kernels: {name} of {text(shape)} differ by {apart:.1e}")
        # Where one call takes longer than a window, three windows tell enough, and one where it takes a second; all
        # have run before.
        slowest = max(loop.once for loop in peers.values())
        some = windows if slowest < seconds else min(windows, 3) if slowest < 1 else 1
        taken = harness.rounds({**peers, "product": product}, some, warm_up=False)
        rate = {kind: flops / float(np.median(taken[kind])) for kind in peers}
        found[name] = {
            "gflops": {kind: harness.spread([flops / s / 1e9 for s in taken[kind]]) for kind in peers},
            "times_faster": harness.times_faster(taken["ours"], taken["stock"]),
            "share_of_product": {kind: rate[kind] / product.rate(taken["product"]) for kind in peers},
            "difference": apart,
        }
    described = {"layer": text(shape), **shape._asdict(), "used_by": used_by, "flops": shape.flops}
    return {**described, "passes": found}


def toy(shape: Layer) -> Layer:
    d, c = (4, 3) if shape.kind == "conv" else (3, 4)
    out = (2, 4, 4, 4) if shape.kind == "conv" else (2, 16, 16, 4)
    return shape._replace(x=(2, 8, 8, 3), w=(d, *shape.w[1:3], c), out=out)


def render(document: dict[str, Any]) -> str:
    """The table of a document."""
    columns = ["layer", *(f"{name}: ours, stock (times faster; of product)" for name in PASSES)]
    rows = []
    for result in document["results"]:
        row = [result["layer"]]
        for name in PASSES:
            found = result["passes"][name]
            mine, theirs = (found["gflops"][k]["median"] for k in ("ours", "stock"))
            ratio, share = found["times_faster"]["median"], found["share_of_product"]["ours"]
            row.append(f"{mine:.3g}, {theirs:.3g} ({ratio:.2g}; {share:.0%})")
        rows.append(row)
    return harness.table(columns, rows)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument(
        "configs", nargs="*", type=Path, metavar="CONFIG", help="TOML files (default: all of configs/)"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.1, metavar="S", help="a window's length (default: 0.1)"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="of all layers (default: each config's)")
    parser.add_argument(
        "--match", default="", metavar="TEXT", help="only layers whose description has TEXT in it"
    )
    options = parser.parse_args()
    report = harness.Report("kernels", options)
    product = harness.MatrixProduct(options.toy)
    shapes = collect(options.configs or sorted((harness.ROOT / "configs").glob("*.toml")), options.batch_size)
    if options.toy:
        shapes, options.seconds = {toy(shape): names for shape, names in shapes.items()}, 0.001
    with ThreadPoolExecutor(harness.cores()) as pool:
        for shape, names in shapes.items():
            if options.match in text(shape):
                loops = prepare(shape, pool)
                report.add(measure(shape, names, options.windows, options.seconds, product, loops))
    report.document["matrix_product_flops"] = product.rate(harness.rounds({"": product}, options.windows)[""])
    report.finish(render)


if __name__ == "__main__":
    main()
