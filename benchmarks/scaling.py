"""How the time of a step grows: with devices, batch, the window's length, the data set, resolution and width.

Sections, all of them if none is named:

    devices     1, 2, 4, 8. On a CPU they are virtual and share the same cores: there, what is seen is what spreading
                costs, at the same total batch ("strong") and at the same batch for each device ("weak").
    batch       images a second against the batch.
    window      steps in one compiled call against single steps, each a call of its own.
    dataset     10,000 to 1,000,000 images kept on the device; the step should not notice.
    resolution  of a DCGAN
    width       of a DCGAN
"""

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import flops
import harness
import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import config, domains, experiment, game
from jaxgan.parallel import Spread

MLP, DCGAN = "mlp", "default"
SIZE = {"game__conditional": "false", "batch_size": 32}
IMAGES = 10_000
CONFIGS = {MLP: 20, DCGAN: 1}
"""Of the first three sections, and how many times the steps of the slowest their windows have."""
Rows = list[dict[str, Any]]


def load(name: str, toy: bool, **changes: Any) -> config.Settings:
    """A config by name; double underscores in the changes stand for dots."""
    made = {key.replace("__", "."): str(value) for key, value in changes.items()}
    return config.load(harness.ROOT / "configs" / f"{name}.toml", {**(harness.TOY if toy else {}), **made})


def window(settings: config.Settings, steps: int, images: int = IMAGES, **where: Any) -> harness.Steps:
    """The window of a config, on noise."""
    classes = 10 if settings.game.conditional else 0
    data = harness.random_images(images, settings.data.resolution, settings.data.channels, classes)
    built = experiment.build(settings, ["class"] * classes, images)
    return harness.Steps(built.game, data, settings.batch_size, steps, **where)


def rows(peers: Mapping[str, harness.Run], windows: int, about: Mapping[str, dict[str, Any]]) -> Rows:
    """Times of all peers in rounds, each with what is said `about` it and its ratio to the first."""
    seconds = harness.rounds(peers, windows)
    first = seconds[next(iter(peers))]
    return [
        {
            "label": name,
            **about[name],
            "ms_per_step": harness.spread([1e3 * s for s in seconds[name]]),
            "times_first": harness.spread([b / a for a, b in zip(first, seconds[name], strict=True)]),
            "images_per_second": about[name]["batch_size"] / float(np.median(seconds[name])),
        }
        for name in peers
    ]


def devices(options: argparse.Namespace) -> Rows:
    counts, steps = ([1, 2], 2) if options.toy else ([1, 2, 4, 8], 5)
    found: Rows = []
    for name in options.configs:
        batch = load(name, options.toy).batch_size
        for kind in ("weak",) if options.toy else ("strong", "weak"):
            what = {
                f"{name}, {kind}, {n}": {
                    "config": name,
                    "kind": kind,
                    "devices": n,
                    "batch_size": batch if kind == "strong" else batch // counts[-1] * n,
                    "steps": steps * (1 if options.toy else CONFIGS[name]),
                    "toy": options.toy,
                }
                for n in counts
            }
            if jax.default_backend() == "cpu":
                peers = {label: harness.Child(__file__, one) for label, one in what.items()}
            else:
                fits = {label: one for label, one in what.items() if one["devices"] <= len(jax.devices())}
                peers = {label: on_devices(one) for label, one in fits.items()}
            found += rows(peers, options.windows, what)
            for peer in peers.values():
                if isinstance(peer, harness.Child):
                    peer.close()
    return found


def on_devices(what: Mapping[str, Any]) -> harness.Steps:
    """A peer of `devices`, in a process that has them."""
    over = Spread("pmap", jax.devices()[: what["devices"]])
    settings = load(what["config"], what["toy"], batch_size=what["batch_size"])
    return window(settings, what["steps"], over=over)


def batch(options: argparse.Namespace) -> Rows:
    found: Rows = []
    for name in options.configs:
        sizes = (4, 8) if options.toy else (16, 32, 64, 128, 256, 512)
        each = {f"{name}, {n}": load(name, options.toy, batch_size=n) for n in sizes}
        steps = 2 if options.toy else CONFIGS[name] * 4
        peers = {label: window(settings, steps) for label, settings in each.items()}
        found += rows(peers, options.windows, {k: {"batch_size": s.batch_size} for k, s in each.items()})
    return found


class Calls:
    """So many steps by as many calls as it takes, and one wait at the end."""

    def __init__(self, run: harness.Steps, total: int) -> None:
        self._run, self._calls = run, total // run.steps

    def __call__(self) -> int:
        for _ in range(self._calls):
            self._run.dispatch()
        jax.block_until_ready(self._run.state)
        return self._calls * self._run.steps


class Single:
    """Steps without a loop around them: each a call of its own, one wait at the end."""

    def __init__(self, settings: config.Settings, total: int) -> None:
        classes = 10 if settings.game.conditional else 0
        data = harness.random_images(IMAGES, settings.data.resolution, settings.data.channels, classes)
        self._data = jax.tree.map(jnp.asarray, data)
        self._total = total
        rules = experiment.build(settings, ["class"] * classes, IMAGES).game

        def step(state: Any, data: Any, index: Any) -> Any:
            return game.step(
                rules, state, domains.Image().decode({name: array[index] for name, array in data.items()})
            )

        shape = (total, rules.turns, settings.batch_size)
        self._indices = list(np.random.default_rng(0).integers(0, IMAGES, shape, np.int32))
        example = {"real": jnp.zeros((2, *data["real"].shape[1:])), "label": jnp.zeros(2, jnp.int32)}
        self._state = jax.jit(partial(game.init, rules))(jax.random.key(0), example)
        self._step = jax.jit(step, donate_argnums=0)

    def __call__(self) -> int:
        for index in self._indices:
            self._state, _ = self._step(self._state, self._data, index)
        jax.block_until_ready(self._state)
        return self._total


def window_length(options: argparse.Namespace) -> Rows:
    found: Rows = []
    for name in options.configs:
        settings = load(name, options.toy)
        lengths, total = ((4,), 4) if options.toy else ((1, 2, 5, 10, 50, 100), 100)
        peers: dict[str, harness.Run] = {f"{name}, single steps": Single(settings, total)}
        peers |= {f"{name}, {n}": Calls(window(settings, n), total) for n in lengths}
        found += rows(peers, options.windows, {k: {"batch_size": settings.batch_size} for k in peers})
    return found


def dataset(options: argparse.Namespace) -> Rows:
    settings = load(MLP, options.toy, data__resolution=8)
    sizes = (100, 1000) if options.toy else (10_000, 100_000, 1_000_000)
    peers = {f"{n:,} images": window(settings, 10 if options.toy else 200, n) for n in sizes}
    return rows(peers, options.windows, {k: {"batch_size": settings.batch_size} for k in peers})


def size(key: str, options: argparse.Namespace) -> Rows:
    """Of a DCGAN: resolution at width 32, width at resolution 32; with the share of the matrix product."""
    toys, sizes = {"resolution": ((16, 28), (16, 32, 64, 128)), "width": ((2, 4), (16, 32, 64, 128))}[key]
    base = {"data__resolution": 28 if options.toy else 32, "generator__width": 4 if options.toy else 32}
    product = harness.MatrixProduct(options.toy)
    found: Rows = []
    for value in toys if options.toy else sizes:
        made = {**SIZE, **base, "data__resolution" if key == "resolution" else "generator__width": value}
        settings = load(DCGAN, options.toy, **made, discriminator__width=made["generator__width"])
        run = window(settings, 2, 1000)
        seconds = harness.rounds({"step": run, "product": product}, options.windows)
        median, counted = float(np.median(seconds["step"])), flops.of_config(settings).total
        found.append(
            {
                "label": f"{key} {value}",
                "batch_size": settings.batch_size,
                "ms_per_step": harness.spread([1e3 * s for s in seconds["step"]]),
                "images_per_second": settings.batch_size / median,
                "flops_per_step": counted,
                "share_of_matrix_product": counted / median / product.rate(seconds["product"]),
            }
        )
    return found


SECTIONS: dict[str, Callable[[argparse.Namespace], Rows]] = {
    "devices": devices,
    "batch": batch,
    "window": window_length,
    "dataset": dataset,
    "resolution": partial(size, "resolution"),
    "width": partial(size, "width"),
}


def render(document: dict[str, Any]) -> str:
    """The tables of a document."""
    parts = []
    for result in document["results"]:
        shares = "share_of_matrix_product" in result["rows"][0]
        last = "of product" if shares else "times the first"
        lines = []
        for row in result["rows"]:
            ms = row["ms_per_step"]
            more = row.get("times_first")
            text = f"{row['share_of_matrix_product']:.0%}" if shares else f"{more['median']:.2f}"
            spread = f"{ms['median']:.4g} ({ms['min']:.4g}-{ms['max']:.4g})"
            lines.append([row["label"], row["batch_size"], spread, row["images_per_second"], text])
        note = "Virtual devices on the same cores: what spreading costs.\n\n" * result.get("virtual", False)
        columns = [result["section"], "batch", "ms a step", "images/s", last]
        parts.append(note + harness.table(columns, lines))
    return "\n\n".join(parts)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"of {', '.join(SECTIONS)} (all)")
    parser.add_argument("--configs", nargs="+", choices=CONFIGS, help="of the first three sections (all)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what = json.loads(options.child)
        jax.config.update("jax_num_cpu_devices", what["devices"])
        harness.serve(lambda: (on_devices(what), {}))
        return
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    options.configs = options.configs or ([MLP] if options.toy else list(CONFIGS))
    report = harness.Report("scaling", options)
    for name in options.sections or SECTIONS:
        virtual = name == "devices" and jax.default_backend() == "cpu"
        report.add({"section": name, "virtual": virtual, "rows": SECTIONS[name](options)})
    report.finish(render)


if __name__ == "__main__":
    main()
