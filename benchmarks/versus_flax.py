"""The same GANs as tutorials of Flax write them, in turns with jaxgan in one run.

As tutorials write them: stock convolutions, transposed ones, batch norm; one compiled call for each update of the
discriminator and one for each of the generator, which makes its images again; batches handed in from outside, here
already on the device. First it proves that both compute the same losses and gradients.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
import harness
import jax
import jax.numpy as jnp
import numpy as np
import optax
import proof
from proof import PLAYERS, Case

from jaxgan import domains

CASES = {
    "mlp-64": Case("mlp", 28, 1, 64, 128, steps=300),
    "mlp-512": Case("mlp", 28, 1, 512, 128, steps=100),
    "dcgan32": Case("dcgan", 32, 3, steps=2),
    "dcgan64": Case("dcgan", 64, 3, steps=1),
}
"""The tutorial's step takes seconds at 64x64: its windows are short, and jaxgan's are `OURS` times as long."""
TOYS = {
    "mlp-64": CASES["mlp-64"]._replace(resolution=8, batch_size=8, width=16, steps=5),
    "dcgan32": CASES["dcgan32"]._replace(resolution=16, batch_size=4, width=4),
}
OURS = 5


class Generator(nn.Module):
    """DCGAN: every layer a transposed convolution, the first on the latent as a 1x1 image."""

    maps: tuple[int, ...]
    channels: int

    @nn.compact
    def __call__(self, z: jax.Array) -> jax.Array:
        x = nn.ConvTranspose(self.maps[0], (4, 4), (1, 1), "VALID", use_bias=False)(z[:, None, None])
        for features in self.maps[1:]:
            x = nn.relu(nn.BatchNorm(use_running_average=False, momentum=0.9)(x))
            x = nn.ConvTranspose(features, (4, 4), (2, 2), use_bias=False)(x)
        x = nn.relu(nn.BatchNorm(use_running_average=False, momentum=0.9)(x))
        return nn.tanh(nn.ConvTranspose(self.channels, (4, 4), (2, 2))(x))


class Discriminator(nn.Module):
    """DCGAN: every layer a convolution, the last over the whole map."""

    maps: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for i, features in enumerate(self.maps):
            x = nn.Conv(features, (4, 4), (2, 2), use_bias=i == 0)(x)
            x = nn.leaky_relu(nn.BatchNorm(use_running_average=False, momentum=0.9)(x) if i else x, 0.2)
        return nn.Conv(1, (4, 4), padding="VALID")(x).reshape(-1)


class MLP(nn.Module):
    """Either player of the fully connected game."""

    sizes: tuple[int, ...]
    act: Callable[[jax.Array], jax.Array]
    shape: tuple[int, ...] | None = None

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(len(x), -1)
        for size in self.sizes[:-1]:
            x = self.act(nn.Dense(size)(x))
        x = nn.Dense(self.sizes[-1])(x)
        return nn.tanh(x).reshape(-1, *self.shape) if self.shape else x[:, 0]


def networks(case: Case) -> dict[str, nn.Module]:
    if case.kind == "mlp":
        shape, hidden = (case.resolution, case.resolution, case.channels), (case.width,) * 3
        return {
            "generator": MLP((*hidden, int(np.prod(shape))), nn.relu, shape),
            "discriminator": MLP((*hidden, 1), partial(nn.leaky_relu, negative_slope=0.2)),
        }
    maps = tuple(case.width * 2**i for i in range(case.resolution.bit_length() - 3))
    return {"generator": Generator(maps[::-1], case.channels), "discriminator": Discriminator(maps)}


def translate(case: Case, player: str, params: Any) -> Any:
    """Jaxgan's parameters, or gradients, as those of the networks here."""
    if case.kind == "mlp":
        return params
    convolutions = sum(name.startswith("Conv_") for name in params)
    out = {}
    for name, layer in params.items():
        kind, _, number = name.partition("_")
        if kind == "Norm":
            out[f"BatchNorm_{int(number) - (player == 'discriminator')}"] = layer["BatchNorm_0"]
            continue
        kernel = layer["kernel"]
        if kind == "Conv":
            name, kernel = name, kernel.transpose(1, 2, 3, 0)
        elif kind == "ConvTranspose":
            # Stock transposed convolutions keep their kernels the other way round.
            name, kernel = f"{kind}_{int(number) + 1}", kernel.transpose(1, 2, 0, 3)[::-1, ::-1]
        elif player == "generator":
            kernel = kernel.reshape(len(kernel), 4, 4, -1).transpose(1, 2, 0, 3)[::-1, ::-1]
            name = "ConvTranspose_0"
        else:
            name, kernel = f"Conv_{convolutions}", kernel.reshape(4, 4, -1, 1)
        out[name] = {**layer, "kernel": kernel}
    return out


class Tutorial:
    """The training step of a tutorial: two compiled functions, called one after the other."""

    def __init__(self, case: Case, optimizer: optax.GradientTransformation | None = None) -> None:
        nets = networks(case)
        self.rule = rule = optimizer or optax.adam(*case.adam)
        mutable = ["batch_stats"]

        def run(player: str, params: Any, stats: Any, x: jax.Array) -> Any:
            return nets[player].apply({"params": params, "batch_stats": stats[player]}, x, mutable=mutable)

        def d_step(params: Any, stats: Any, opt: Any, real: jax.Array, z: jax.Array) -> Any:
            fake, _ = run("generator", params["generator"], stats, z)

            def loss(p: Any) -> Any:
                on_real, new = run("discriminator", p, stats, real)
                on_fake, new = run("discriminator", p, {"discriminator": new.get("batch_stats", {})}, fake)
                bce = optax.sigmoid_binary_cross_entropy
                both = (
                    bce(on_real, jnp.ones_like(on_real)).mean() + bce(on_fake, jnp.zeros_like(on_fake)).mean()
                )
                return both, new.get("batch_stats", {})

            (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params["discriminator"])
            return finish("discriminator", params, stats, opt, value, new, grads)

        def g_step(params: Any, stats: Any, opt: Any, z: jax.Array) -> Any:
            def loss(p: Any) -> Any:
                fake, new = run("generator", p, stats, z)
                logits, _ = run("discriminator", params["discriminator"], stats, fake)
                value = optax.sigmoid_binary_cross_entropy(logits, jnp.ones_like(logits)).mean()
                return value, new.get("batch_stats", {})

            (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params["generator"])
            return finish("generator", params, stats, opt, value, new, grads)

        def finish(player: str, params: Any, stats: Any, opt: Any, value: Any, new: Any, grads: Any) -> Any:
            updates, moved = rule.update(grads, opt[player], params[player])
            params = {**params, player: optax.apply_updates(params[player], updates)}
            return params, {**stats, player: new}, {**opt, player: moved}, value

        image = jnp.zeros((2, case.resolution, case.resolution, case.channels))
        inputs = {"generator": jnp.zeros((2, case.latent)), "discriminator": image}
        made = {name: net.init(jax.random.key(0), inputs[name]) for name, net in nets.items()}
        self.load({name: variables["params"] for name, variables in made.items()})
        self.stats = {name: variables.get("batch_stats", {}) for name, variables in made.items()}
        self.d_step, self.g_step = jax.jit(d_step), jax.jit(g_step)

    def load(self, params: Any) -> None:
        self.params, self.opt = params, {name: self.rule.init(p) for name, p in params.items()}

    def step(self, real: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        self.params, self.stats, self.opt, d_loss = self.d_step(self.params, self.stats, self.opt, real, z)
        self.params, self.stats, self.opt, g_loss = self.g_step(self.params, self.stats, self.opt, z)
        return d_loss, g_loss


class Window:
    """`steps` steps and one wait: what one turn in a round runs."""

    def __init__(self, tutorial: Tutorial, images: np.ndarray, case: Case) -> None:
        self.tutorial, self.steps = tutorial, case.steps
        batches = jnp.asarray(images[: 2 * case.batch_size])
        self.real = [domains.Image().decode({"real": part})["real"] for part in jnp.split(batches, 2)]
        self.z = list(jax.random.normal(jax.random.key(1), (2, case.batch_size, case.latent)))

    def __call__(self) -> int:
        for i in range(self.steps):
            self.tutorial.step(self.real[i % 2], self.z[i % 2])
        jax.block_until_ready(self.tutorial.params)
        return self.steps


def prove(case: Case) -> dict[str, list[float]]:
    """The relative errors of the tutorial's step, one for each draw."""
    tutorial, found = Tutorial(case, proof.keeping(case.rate)), []
    for draw in proof.draws(case):
        tutorial.load({player: translate(case, player, draw.before.params[player]) for player in PLAYERS})
        losses = tutorial.step(jnp.asarray(draw.images[0]), jnp.asarray(draw.latents[0]))
        pairs = []
        for player in PLAYERS:
            here, expected = tutorial.opt[player], translate(case, player, draw.gradients(player))
            if jax.tree.structure(here) != jax.tree.structure(expected):
                raise ValueError(f"parameters of the {player} have no counterpart")
            pairs.append(list(zip(jax.tree.leaves(here), jax.tree.leaves(expected), strict=True)))
        found.append(proof.errors(draw, losses, pairs))
    return proof.agree("the tutorial", found)


def measure(name: str, case: Case, windows: int, proven: dict[str, Any], toy: bool) -> dict[str, Any]:
    """Times both in rounds."""
    data = harness.random_images(max(1000, 2 * case.batch_size), case.resolution, case.channels)
    product = harness.MatrixProduct(toy)
    mine = harness.Steps(proof.rules(case), data, case.batch_size, OURS * case.steps)
    peers: dict[str, harness.Run] = {"jaxgan": mine, "tutorial": Window(Tutorial(case), data["real"], case)}
    seconds = harness.rounds({**peers, "product": product}, windows)
    return {
        "case": name,
        **case._asdict(),
        "proof": proven,
        "proof_in": "float64",
        "proof_batch_size": case.examples,
        "seconds_per_step": {kind: harness.spread(seconds[kind]) for kind in peers},
        "times_faster": harness.times_faster(seconds["jaxgan"], seconds["tutorial"]),
        "matrix_product_flops": product.rate(seconds["product"]),
    }


def render(document: dict[str, Any]) -> str:
    """The table of a document."""
    rows = []
    for result in document["results"]:
        ms = {kind: 1e3 * s["median"] for kind, s in result["seconds_per_step"].items()}
        ratio = result["times_faster"]
        rows.append(
            [
                result["case"],
                result["batch_size"],
                ms["jaxgan"],
                ms["tutorial"],
                f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})",
                f"{proof.error(result, result['proof']):.0e}",
            ]
        )
    return harness.table(["case", "batch", "jaxgan, ms", "tutorial, ms", "times faster", "proof"], rows)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--cases", nargs="+", choices=CASES, metavar="CASE", help=f"of {', '.join(CASES)} (all)"
    )
    options = parser.parse_args()
    report = harness.Report("versus_flax", options)
    known = TOYS if options.toy else CASES
    for name in options.cases or known:
        proven = harness.alone(prove, known[name], wide=True)
        report.add(harness.alone(measure, name, known[name], options.windows, proven, options.toy))
    report.finish(render)


if __name__ == "__main__":
    main()
