"""The same GANs in PyTorch, eager (channels-last) and compiled, in turns with jaxgan in one run.

First it proves in float64 that both compute the same: from the same weights, images and latents, one whole step
of each gives the same losses and gradients of both players. Only then does it time them, each in a process of its own.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import float64
import harness
import jax.numpy as jnp
import numpy as np
import optax
import proof
from proof import Case

SLOW = {"shared": False, "turns": 5, "latent": 128}
CASES = {
    "points-64": Case("mlp", 1, 2, 64, 128, latent=2, steps=500),
    "points-512": Case("mlp", 1, 2, 512, 128, latent=2, steps=200),
    "mlp-64": Case("mlp", 28, 1, 64, 128, steps=300),
    "mlp-512": Case("mlp", 28, 1, 512, 128, steps=100),
    "dcgan28": Case("dcgan", 28, 1, steps=60),  # windows of two seconds, as in jaxgan train
    "dcgan32": Case("dcgan", 32, 3, steps=30),
    "dcgan64": Case("dcgan", 64, 3),
    "sngan32": Case("sngan", 32, 3, width=128, steps=2, loss="hinge", adam=(2e-4, 0.0, 0.9), **SLOW),
    "wgangp": Case("wgangp", 28, 1, loss="wasserstein", penalty=10.0, adam=(1e-4, 0.0, 0.9), **SLOW),
}
TOYS = {
    "mlp-64": CASES["mlp-64"]._replace(resolution=8, batch_size=8, width=16, steps=5),
    "dcgan28": CASES["dcgan28"]._replace(batch_size=4, width=4, steps=2),
    "sngan32": CASES["sngan32"]._replace(batch_size=4, width=4, steps=2),
    "wgangp": CASES["wgangp"]._replace(batch_size=4, width=4, steps=2),
}


WAYS = {"eager": False, "compile": True}
PRECISIONS = ("float32", "tf32", "bfloat16")
SECONDS = 0.2
"""Of a window on an accelerator, where cases do not say how many steps one has."""
LONGEST = 2000
"""Most steps of such a window."""


def theirs(case: Case, optimizer: Any = None, **changes: Any) -> Any:
    """The game in PyTorch."""
    import torch
    import torch_networks as nets
    import torch_peer as peer

    size = (case.resolution, case.channels, case.width)
    if case.kind == "mlp":
        shape, hidden = (case.resolution, case.resolution, case.channels), [case.width] * 3
        pixels = int(np.prod(shape))
        pair = nets.MLP([case.latent, *hidden, pixels], 0.0, shape), nets.MLP([pixels, *hidden, 1], 0.2)
    elif case.kind == "sngan":
        pair = (
            nets.ResNetGenerator(*size[:2], 2 * case.width, case.latent),
            nets.ResNetDiscriminator(*size[1:]),
        )
    else:
        pair = (
            nets.DCGANGenerator(*size, case.latent),
            nets.DCGANDiscriminator(*size, norm=case.kind != "wgangp"),
        )
    rate, *betas = case.adam
    return peer.Trainer(
        *pair,
        loss=case.loss,
        turns=case.turns,
        shared=case.shared,
        latent=case.latent,
        penalty=case.penalty,
        optimizer=optimizer or (lambda params: torch.optim.Adam(params, rate, betas, fused=True)),  # pyright: ignore[reportArgumentType]
        **changes,
    )


def prepare(precision: str = "float32") -> None:
    """PyTorch's settings, in a process that uses it."""
    import torch

    torch.set_num_threads(harness.cores())
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision != "float32"
    torch.backends.cudnn.benchmark = True


def variables(precision: str, device: str) -> dict[str, str | None]:
    """Environment variables of a process in which JAX computes as precisely; on a CPU float32 is always float32."""
    if device == "cpu":
        return {}
    return {"JAX_DEFAULT_MATMUL_PRECISION": "float32" if precision == "float32" else "tensorfloat32"}


def prove(case: Case, device: str, ways: Mapping[str, bool]) -> dict[str, dict[str, Any]]:
    """The relative errors of each peer, one for each draw; or why it cannot be compiled."""
    import torch
    import torch_networks
    import torch_peer as peer

    prepare()
    torch.set_default_dtype(torch.float64)
    sgd = partial(torch.optim.SGD, lr=case.rate)
    peers = {
        name: theirs(case, device=device, optimizer=sgd, compiled=compiled) for name, compiled in ways.items()
    }
    found: dict[str, list[dict[str, float]]] = {name: [] for name in peers}
    told: dict[str, dict[str, Any]] = {}
    for draw in proof.draws(case):
        for name, trainer in peers.items():
            if name in told:
                continue
            nets = [getattr(trainer, player) for player in proof.PLAYERS]
            for player, net in zip(proof.PLAYERS, nets, strict=True):
                torch_networks.load(net, draw.before.params[player])
            try:
                given = (draw.images, draw.latents, draw.mixes)
                losses = trainer.step(*(peer.tensors(part, device) for part in given))
            except Exception as error:
                if name == "eager":
                    raise
                told[name] = {"failed": first_line(error)}
                continue
            pairs = [
                torch_networks.gradients(net, draw.gradients(player))
                for player, net in zip(proof.PLAYERS, nets, strict=True)
            ]
            found[name].append(proof.errors(draw, losses, pairs))
    for name in peers.keys() - told:
        try:
            told[name] = proof.agree(f"torch {name}", found[name])
        except SystemExit as error:
            if name == "eager":
                raise
            told[name] = {"failed": str(error)}
    return told


def adam_error() -> float:
    """Largest difference of parameters after 5 steps of Adam on the same gradients, relative to the learning rate."""
    import torch

    rng = np.random.default_rng(0)
    start, grads = rng.normal(size=100).astype(np.float32), rng.normal(size=(5, 100)).astype(np.float32)
    theirs, mine = torch.nn.Parameter(torch.from_numpy(start.copy())), jnp.asarray(start)
    optimizer, rule = torch.optim.Adam([theirs], 2e-4, (0.5, 0.999), fused=True), optax.adam(2e-4, 0.5, 0.999)
    state = rule.init(mine)
    for grad in grads:
        theirs.grad = torch.from_numpy(grad.copy())
        optimizer.step()
        updates, state = rule.update(jnp.asarray(grad), state)
        mine = optax.apply_updates(mine, updates)
    return float(np.abs(theirs.detach().numpy() - np.asarray(mine)).max() / 2e-4)


def matrix_product(size: int, device: str) -> Callable[[], int]:
    import torch

    a = torch.randn(size, size, device=device) / size**0.5

    def run() -> int:
        x = a
        for _ in range(4):
            x = x @ a
        float(x[0, 0])
        return 4

    return run


def peer(what: Mapping[str, Any]) -> tuple[harness.Run, dict[str, Any]]:
    """A side of the comparison in a process of its own, and what it tells of itself."""
    side, device = what["side"], what["device"]
    if side == "proof":
        return int, {"proof": prove(Case(**what["case"]), device, what["ways"])}
    if side.endswith("product"):
        of_xla = harness.MatrixProduct(what["toy"])
        if side.startswith("XLA"):
            return of_xla, {"flops": of_xla.flops}
        prepare()
        return matrix_product(of_xla.size, device), {"flops": of_xla.flops}
    case = Case(**what["case"])
    data = harness.random_images(max(1000, case.batch_size), case.resolution, case.channels)
    if side == "jaxgan":
        run = harness.Steps(proof.rules(case), data, case.batch_size, case.steps, longest=LONGEST)
        about = {"compile_seconds": run.compile_seconds}
    else:
        import torch_peer

        prepare(case.precision)
        trainer = theirs(
            case, compiled=WAYS[side.split()[1]], device=device, half=case.precision == "bfloat16"
        )
        run, about = torch_peer.Window(trainer, data["real"], case.batch_size, case.steps), {}
        if device != "cpu":
            run()  # compiles here, beside the other sides
    return run if device == "cpu" else harness.Fitted(run, SECONDS), about


def proving(case: Case, ways: Mapping[str, bool], device: str) -> harness.Child:
    """A process that proves, in float64, and tells the proof of itself."""
    what = {"side": "proof", "case": case._asdict(), "ways": dict(ways), "device": device}
    return harness.Child(__file__, what, {float64.VARIABLE: "1"})


class Sides:
    """Both sides of a case, each in a process of its own that makes itself ready while others do."""

    def __init__(self, name: str, case: Case, sides: Mapping[str, Any], toy: bool, device: str) -> None:
        """Starts them.

        Args:
          name: Of the case.
          case: The game.
          sides: What is taken of PyTorch, names in `WAYS`.
          toy: Whether products are small.
          device: PyTorch's name of it.
        """
        self.name, self.case = name, case
        self.peers = ["jaxgan", *(f"torch {way}" for way in sides)]
        # A window of products takes an accelerator no time: its rate is measured elsewhere.
        self.products = ["XLA product", "torch product"] if device == "cpu" and not toy else []
        common = {"case": case._asdict(), "toy": toy, "device": device}
        self.children = {
            side: harness.Child(__file__, {**common, "side": side}, variables(case.precision, device))
            for side in (*self.peers, *self.products)
        }
        self.failed: dict[str, str] = {}
        """What could not be made ready, and why."""

    def wait(self, seconds: float | None = None) -> None:
        """Waits until all are ready, and goes on without those of PyTorch that failed or are late.

        Raises:
          SystemExit: If too few are left.
        """
        until = time.monotonic() + seconds if seconds is not None else None
        for side, child in list(self.children.items()):
            try:
                child.ready(until and until - time.monotonic())
            except SystemExit as error:
                self.failed[side] = str(error)[:300]
                del self.children[side]
        self.peers = [side for side in self.peers if side in self.children]
        if "jaxgan" not in self.peers or len(self.peers) < 2:
            self.kill()
            raise SystemExit(f"{self.name} cannot be compared: {self.failed}")

    def measure(
        self, windows: int, proven: Mapping[str, Any], more: Callable[[float], bool] = lambda round: True
    ) -> dict[str, Any]:
        """Times those that are ready and proven, in rounds.

        Args:
          windows: Most rounds.
          proven: As of `prove`.
          more: Whether there is time for another round, where the last took so many seconds.
        """
        self.wait()
        kept = [side for side in self.peers if "failed" not in proven.get(side.removeprefix("torch "), {})]
        timed = {side: self.children[side] for side in (*kept, *self.products)}
        seconds: dict[str, list[float]] = {side: [] for side in timed}
        for turn in range(windows + 1):
            start = time.monotonic()
            for side, (taken,) in harness.rounds(timed, 1, warm_up=False).items():
                if turn:  # the first warms up
                    seconds[side].append(taken)
            if turn and not more(time.monotonic() - start):
                break
        about = {side: child.ready() for side, child in timed.items()}
        fastest = min((side for side in kept if side != "jaxgan"), key=lambda side: np.median(seconds[side]))
        return {
            "case": self.name,
            **self.case._asdict(),
            "proof": dict(proven),
            "proof_in": "float64",
            "proof_batch_size": self.case.examples,
            "deterministic": False,  # nor is PyTorch
            "compile_seconds": about["jaxgan"]["compile_seconds"],
            "seconds_per_step": {side: harness.spread(seconds[side]) for side in kept},
            "steps_per_second": {side: 1 / float(np.median(seconds[side])) for side in kept},
            "times_faster": {
                side: harness.times_faster(seconds["jaxgan"], seconds[side])
                for side in kept
                if side != "jaxgan"
            },
            "fastest_torch": fastest,
            "failed_sides": self.failed,
            "matrix_product_flops": {
                side.split()[0]: about[side]["flops"] / float(np.median(seconds[side]))
                for side in self.products
            },
        }

    def close(self) -> dict[str, Any]:
        """Ends all, and returns the peak memory of each side in bytes."""
        return {side: child.close() for side, child in self.children.items() if side in self.peers}

    def kill(self) -> None:
        """Ends all at once."""
        for child in self.children.values():
            child.kill()


def render(document: dict[str, Any]) -> str:
    """The table of a document."""
    rows = []
    for result in document["results"]:
        ms = {kind: 1e3 * s["median"] for kind, s in result["seconds_per_step"].items()}
        ratio = result["times_faster"][result["fastest_torch"]]
        errors = [proof.error(result, peer) for peer in result["proof"].values() if "failed" not in peer]
        rows.append(
            [
                result["case"],
                result["batch_size"],
                ms["jaxgan"],
                ms["torch eager"],
                ms.get("torch compile"),
                f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})",
                f"{max(errors):.0e}",
            ]
        )
    columns = ["case", "batch", "jaxgan, ms", "torch eager, ms", "torch.compile, ms", "times faster", "proof"]
    return harness.table(columns, rows)


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, metavar="CASE", help=f"of {', '.join(CASES)} (all)"
    )
    parser.add_argument("--device", default="cpu", help="of PyTorch: cpu or cuda (default: cpu)")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="of both (float32)")
    parser.add_argument(
        "--eager", action="store_true", help="leave out torch.compile, which can take minutes"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="of a window (default: each case's)")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        harness.serve(lambda: peer(json.loads(options.child)))
        return
    try:
        prepare()
    except ModuleNotFoundError:
        print(
            "versus_torch: left out, PyTorch is not installed; pip install 'jaxgan[peers]'", file=sys.stderr
        )
        return
    known = TOYS if options.toy else CASES
    report = harness.Report("versus_torch", options)
    report.document["adam_error"] = adam_error()
    for name in options.cases or known:
        case = known[name]._replace(precision=options.precision)
        if options.steps:
            case = case._replace(steps=options.steps)
        ways = {way: compiled for way, compiled in WAYS.items() if not (compiled and options.eager)}
        prover = proving(case, ways, options.device)
        proven = prover.ready()["proof"]
        prover.close()
        sides = Sides(name, case, ways, options.toy, options.device)
        found = sides.measure(options.windows, proven)
        report.add({**found, "peak_memory_bytes": sides.close()})
        sides.kill()
    report.finish(render)


if __name__ == "__main__":
    main()
