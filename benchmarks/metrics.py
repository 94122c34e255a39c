"""Scores of the same features by jaxgan and by other people's libraries: seconds, memory, and how far they are apart.

Every measurement is a process of its own: it reads the features, runs once on a few of them, and then counts. Memory is
what the largest resident set grows by, above libraries and features.
"""

import contextlib
import importlib.util
import io
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import harness
import numpy as np
import scipy.linalg
from peer_libraries import library

from jaxgan.scoring import formulas
from jaxgan.scoring.formulas.kernel import subsets

Compute = Callable[[np.ndarray, np.ndarray], list[float]]
"""Real and generated features, float32 `[N, d]`, to values."""
K = 5
"""Neighbours, of all four scores: prdc takes one number for all."""
SUBSETS, SIZE = 100, 1000


def frechet() -> Compute:
    return lambda x, y: [formulas.frechet_distance(formulas.moments(x), formulas.moments(y))]


def frechet_scipy() -> Compute:
    """As FID was first published: the root of the covariances' product."""

    def compute(x: np.ndarray, y: np.ndarray) -> list[float]:
        (p, a), (q, b) = ((z.mean(0, dtype=np.float64), np.cov(z, rowvar=False)) for z in (x, y))
        root = scipy.linalg.sqrtm(a @ b)
        return [(p - q) @ (p - q) + np.trace(a) + np.trace(b) - 2 * np.trace(root).real]

    return compute


def frechet_torch_fidelity() -> Compute:
    theirs, torch = library("torch_fidelity.metric_fid"), library("torch")

    def compute(x: np.ndarray, y: np.ndarray) -> list[float]:
        a, b = (theirs.fid_features_to_statistics(torch.from_numpy(z)) for z in (x, y))
        return [theirs.fid_statistics_to_metric(a, b, verbose=False)[theirs.KEY_METRIC_FID]]

    return compute


def kernel() -> Compute:
    return lambda x, y: [formulas.kernel_distance(x, y, number=SUBSETS, size=SIZE).value]


def over_subsets(mmd: Callable[[np.ndarray, np.ndarray], Any]) -> Compute:
    """Another's squared MMD over our subsets: with subsets of its own it would be another number."""

    def compute(x: np.ndarray, y: np.ndarray) -> list[float]:
        size = min(SIZE, len(x))
        rows = zip(*(subsets(len(z), size, SUBSETS, seed) for seed, z in enumerate((x, y))), strict=True)
        return [float(np.mean([float(mmd(x[i], y[j])) for i, j in rows]))]

    return compute


def kernel_torch_fidelity() -> Compute:
    return over_subsets(library("torch_fidelity.metric_kid").kernel_mmd)


def kernel_torchmetrics() -> Compute:
    theirs, torch = library("torchmetrics.image.kid"), library("torch")
    return over_subsets(lambda x, y: theirs.poly_mmd(torch.from_numpy(x), torch.from_numpy(y)))


def manifold() -> Compute:
    return lambda x, y: list(formulas.manifold(x, y, k=K, density_k=K)[:4])


def manifold_torch_fidelity() -> Compute:
    """Precision and recall only."""
    theirs, torch = library("torch_fidelity.metric_prc"), library("torch")

    def compute(x: np.ndarray, y: np.ndarray) -> list[float]:
        options = {"prc_neighborhood": K, "save_cpu_ram": len(x) > 20_000, "verbose": False}
        found = theirs.prc_features_to_metric(torch.from_numpy(y), torch.from_numpy(x), **options)
        return [found["precision"], found["recall"]]

    return compute


def manifold_prdc() -> Compute:
    theirs = library("prdc")

    def compute(x: np.ndarray, y: np.ndarray) -> list[float]:
        with contextlib.redirect_stdout(io.StringIO()):
            found = theirs.compute_prdc(x, y, K)
        return [float(found[name]) for name in ("precision", "recall", "density", "coverage")]

    return compute


def memorisation() -> Compute:
    """A fifth of the generated ones stand for test images."""

    def compute(x: np.ndarray, y: np.ndarray) -> list[float]:
        return [formulas.memorisation(x, *np.split(y, [len(y) // 5])).copied]

    return compute


def memorisation_torch() -> Compute:
    """No library has this score: torch's distances, a thousand rows at a time, and scipy's test."""
    torch, test = library("torch"), library("scipy.stats").mannwhitneyu

    def compute(x: np.ndarray, y: np.ndarray) -> list[float]:
        train = torch.from_numpy(x)
        nearest = [torch.cdist(rows, train).min(1).values for rows in torch.from_numpy(y).split(1000)]
        fresh, made = np.split(torch.cat(nearest).numpy(), [len(y) // 5])
        return [test(fresh, made).statistic / (len(fresh) * len(made))]

    return compute


def inception() -> Compute:
    """Features stand for the logits of 1,008 classes."""
    return lambda x, y: [formulas.inception_score(y[:, :1008]).value]


def inception_torch_fidelity() -> Compute:
    theirs, torch = library("torch_fidelity.metric_isc"), library("torch")

    def compute(x: np.ndarray, y: np.ndarray) -> list[float]:
        found = theirs.isc_features_to_metric(torch.from_numpy(y[:, :1008]), shuffle=False)
        return [found[theirs.KEY_METRIC_ISC_MEAN]]

    return compute


METRICS: dict[str, dict[str, Callable[[], Compute]]] = {
    "Frechet distance": {
        "jaxgan": frechet,
        "scipy's sqrtm": frechet_scipy,
        "torch-fidelity": frechet_torch_fidelity,
    },
    "kernel distance": {
        "jaxgan": kernel,
        "torch-fidelity": kernel_torch_fidelity,
        "torchmetrics": kernel_torchmetrics,
    },
    "precision, recall, density, coverage": {
        "jaxgan": manifold,
        "torch-fidelity": manifold_torch_fidelity,
        "prdc": manifold_prdc,
    },
    "memorisation": {"jaxgan": memorisation, "torch's cdist": memorisation_torch},
    "Inception score": {"jaxgan": inception, "torch-fidelity": inception_torch_fidelity},
}
SIZES = (10_000, 50_000)
WIDTH = 2048
MOST = {"prdc": 20_000}
"""Samples of which a library's distances fit into the memory of a small machine; prdc keeps three whole tables."""
PACKAGES = {
    "torch-fidelity": "torch_fidelity",
    "torchmetrics": "torchmetrics",
    "prdc": "prdc",
    "torch's cdist": "torch",
}
LONG = 60.0
"""Seconds: a case whose round takes longer is measured once."""


def write_features(folder: Path, samples: int, width: int) -> None:
    """Features at least 0 with variances over decades, as networks have them; generated ones nearer to the mean."""
    root = np.random.default_rng(0).standard_normal((width, width), np.float32)
    root /= np.arange(1, width + 1, dtype=np.float32)[:, None]
    for seed, (name, scale) in enumerate({"real": 1.0, "fake": 0.9}.items(), 1):
        z = np.random.default_rng(seed).standard_normal((samples, width), np.float32)
        np.save(folder / f"{name}.npy", np.maximum(scale * z @ root, 0))


def measure(metric: str, who: str, folder: Path) -> dict[str, Any]:
    """Seconds, bytes and values, in a process that does nothing else."""
    compute = METRICS[metric][who]()
    x, y = (np.load(folder / f"{name}.npy") for name in ("real", "fake"))
    compute(x[:64, :16].copy(), y[:64, :16].copy())
    before = harness.peak_memory()["process"]
    start = time.perf_counter()
    values = compute(x, y)
    seconds = time.perf_counter() - start
    bytes_ = harness.peak_memory()["process"] - before
    return {"seconds": seconds, "bytes": bytes_, "values": [float(value) for value in values]}


def apart(ours: list[float], theirs: list[float]) -> float:
    """The largest relative difference of the values that both have."""
    return max(abs(a - b) / max(abs(a), 1e-12) for a, b in zip(ours, theirs, strict=False))


def case(
    metric: str, samples: int, width: int, peers: list[str], windows: int, *, toy: bool
) -> dict[str, Any]:
    """All who compute a metric, in rounds; at toy size in this process, as others take seconds to start."""
    found: dict[str, list[dict[str, Any]]] = {who: [] for who in peers}
    with tempfile.TemporaryDirectory() as folder:
        harness.alone(write_features, Path(folder), samples, width)
        start = time.perf_counter()
        for _ in range(windows):
            for who in peers:
                given = (metric, who, Path(folder))
                found[who].append(measure(*given) if toy else harness.alone(measure, *given))
            if time.perf_counter() - start > LONG:
                break
    seconds = {who: [one["seconds"] for one in each] for who, each in found.items()}
    values = {who: each[0]["values"] for who, each in found.items()}
    others = [who for who in peers if who != "jaxgan"]
    return {
        "metric": metric,
        "samples": samples,
        "width": width,
        "seconds": {who: harness.spread(taken) for who, taken in seconds.items()},
        "times_faster": {who: harness.times_faster(seconds["jaxgan"], seconds[who]) for who in others},
        "peak_bytes": {who: max(one["bytes"] for one in each) for who, each in found.items()},
        "values": values,
        "difference": {who: apart(values["jaxgan"], values[who]) for who in others},
    }


def render(document: dict[str, Any]) -> str:
    """The table of a document."""
    rows = []
    for result in document["results"]:
        for who in METRICS[result["metric"]]:
            row = [f"{result['metric']}, {who}", f"{result['samples']:,}"]
            if who not in result["seconds"]:
                rows.append([*row, "not run", None, None, None])
                continue
            taken, ratio = result["seconds"][who], result["times_faster"].get(who)
            rows.append(
                [
                    *row,
                    f"{taken['median']:.3g} ({taken['min']:.3g}-{taken['max']:.3g})",
                    f"{result['peak_bytes'][who] / 2**30:.2f}",
                    f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})" if ratio else None,
                    f"{result['difference'][who]:.0e}" if ratio else None,
                ]
            )
    columns = ["metric", "samples", "seconds", "memory, GiB", "jaxgan is times faster", "difference"]
    peers = ", ".join(f"{name} {version}" for name, version in document["peers"].items())
    return f"{harness.table(columns, rows)}\n\nPeers: {peers}."


def main() -> None:
    parser = harness.parser(__doc__, windows=3)
    parser.add_argument("--metrics", nargs="+", choices=METRICS, default=list(METRICS), help="only these")
    parser.add_argument("--samples", nargs="+", type=int, default=SIZES, metavar="N", help="of these numbers")
    options = parser.parse_args()
    missing = {who for who, package in PACKAGES.items() if not importlib.util.find_spec(package)}
    for who in sorted(missing):
        print(f"metrics: {who} is left out; pip install 'jaxgan[peers]'", file=sys.stderr)
    report = harness.Report("metrics", options)
    report.document["peers"] = {
        name: metadata.version(name)
        for name in ("scipy", "torch-fidelity", "torchmetrics", "prdc")
        if name not in missing
    }
    width, sizes = (32, (200,)) if options.toy else (WIDTH, options.samples)
    for samples in sizes:
        for metric in options.metrics:
            ways = METRICS[metric]
            peers = [who for who in ways if who not in missing and samples <= MOST.get(who, samples)]
            report.add(case(metric, samples, width, peers, options.windows, toy=options.toy))
    report.finish(render)


if __name__ == "__main__":
    main()
