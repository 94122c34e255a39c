"""Sizes that cannot fit are refused by one line, before anything is compiled or made of them."""

import inspect
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from pydantic import BaseModel, ValidationError
from quick import quickly

import jaxgan
from jaxgan import config, experiment, memory
from jaxgan.cli.commands import main
from jaxgan.config.settings import Settings
from jaxgan.data.sources import DATA, Field
from jaxgan.domains import DOMAINS
from jaxgan.errors import InputError
from jaxgan.families import FAMILIES, Built
from jaxgan.memory import Part, Room
from jaxgan.networks.registry import NETWORKS
from jaxgan.optimizers import SGD, Adam, Schedule
from jaxgan.parallel import Seeds, Spread
from jaxgan.sampling import sample
from jaxgan.scoring import evaluate
from jaxgan.training import size, train

CONFIGS = Path(__file__).parents[1] / "configs"
HUGE = 2**31 - 1
MLP = {"network": "mlp", "width": 5, "depth": 1}
SET = {"source": "embedded", "split": "test"}
GIVEN = {"name": "tiny", "steps": 40, "batch_size": 16, "data": SET, "generator": MLP, "discriminator": MLP}


def shapes(settings: Any) -> tuple[Any, Any, Any]:
    """A run's data, its experiment, and the shapes of its state."""
    source = experiment.source_of(settings)
    built = experiment.of_source(settings, source)
    return source, built, size.shapes(experiment.beginning(built))


def counted(settings: Any, spread: Any, resident: bool = True, runs: int = 1) -> dict[str, int]:
    source, built, state = shapes(settings)
    return {part.what: part.size for part in size.parts(built, source, state, spread, resident, runs)}


def test_a_small_run_by_hand() -> None:
    """Latents of 3; a hidden layer of 5; 784 pixels; 16 examples a batch, two turns a step, windows of ten steps."""
    settings = config.parse(GIVEN, {"game.latent": "3", "run.window": "10", "run.samples": "7"})
    generator, discriminator = 3 * 5 + 5 + 5 * 784 + 784, 784 * 5 + 5 + 5 * 1 + 1
    weights, average = 4 * (generator + discriminator), 4 * generator
    counts, key = 4 * (2 + 3), 8  # of updates for each Adam, of steps and of what was skipped
    one = {
        "the state": 3 * weights + average + counts + key,  # Adam has two moments
        "the data": 2000 * (784 + 4),
        "a window's batches": 10 * 2 * 16 * 4,
        "the sheet of samples": 7 * 784 * 4,
        "the log of a window": 10 * 9 * 4,
    }
    alone = Spread(devices=jax.devices()[:1])
    assert counted(settings, alone) == one
    streamed = counted(settings, alone, resident=False)
    assert streamed["the data"] == 0
    assert streamed["a window's batches"] == 10 * 2 * 16 * (784 + 4)
    # Devices of a CPU share its memory: each has a state and the data, and a part of each batch.
    four = counted(settings, Spread(devices=jax.devices()[:4]))
    assert four == {
        **one,
        **{each: 4 * one[each] for each in ("the state", "the data", "the log of a window")},
    }
    # Six runs on three devices: each run has a state and batches of its own, each device the data.
    six = counted(settings, Seeds(6, devices=jax.devices()[:3]), runs=6)
    times = {"the state": 6, "the data": 3, "a window's batches": 6, "the log of a window": 6}
    assert six == {part: bytes_ * times.get(part, 1) for part, bytes_ in one.items()}


def test_a_state_takes_what_is_counted() -> None:
    """With images that are remembered, and two moments of every weight."""
    small = {
        "generator.width": "2",
        "generator.blocks": "1",
        "discriminator.width": "2",
        "game.history": "12",
    }
    data = {"data.source": "embedded", "data.task": "unpaired-edges"}
    settings = config.load(CONFIGS / "refiner.toml", small | data)
    built = experiment.of_source(settings, experiment.source_of(settings))
    begin = experiment.beginning(built)
    with quickly():
        made = begin(np.uint32(0))
    made = made.replace(key=jax.random.key_data(made.key))
    assert size._size(size.shapes(begin)) == sum(x.nbytes for x in jax.tree.leaves(made))
    assert jax.tree.leaves(made.memory)


# Settings that may be huge, as they count time, or are bounded by something else wherever they are used.
TIMES = {
    *("seed", "steps", "sample_every", "checkpoint_every", "keep", "keep_every", "give_up_after", "every"),
    *("noise_steps", "top_k_steps", "penalty_every", "discriminator_pretraining", "generator_pretraining"),
    *("warmup", "hold", "decay", "stage_two", "resident_megabytes", "chunk"),
}
# Settings whose bound is only known with others: for each, a config that is refused.
LATER: dict[str, tuple[str, dict[str, str]]] = {
    "batch_size": ("mlp", {"batch_size": str(HUGE)}),
    "packing": ("mlp", {"game.packing": str(HUGE)}),
    "attention": ("biggan", {"generator.attention": str(HUGE)}),
    "labels": ("aae_semi", {"game.labels": str(HUGE)}),
    "pool": ("cyclegan", {"game.pool": str(HUGE)}),
    "history": (
        "refiner",
        {"data.source": "embedded", "data.task": "unpaired-edges", "game.history": str(HUGE)},
    ),
    "window": (
        "mlp",
        {f"run.{key}": str(HUGE) for key in ("window", "sample_every", "checkpoint_every")}
        | {"steps": str(HUGE)},
    ),
    "num": ("mlp", {"evaluation.every": "5", "evaluation.num": str(HUGE)}),
}


def whole(kind: type[BaseModel], above: str = "") -> Iterator[tuple[type[BaseModel], str]]:
    """Settings that are whole numbers, of a section and of those in it."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel) and not inspect.isabstract(inner):
            yield from whole(inner)
        elif inner is int or inner == int | None or "Annotated[int" in str(inner):
            yield kind, name


EVERY = [
    found
    for kinds in (
        *(each.kinds.values() for each in (DATA, DOMAINS, FAMILIES, *NETWORKS.values())),
        (Settings,),
    )
    for kind in kinds
    if kind.__module__.startswith("jaxgan.")  # other tests register kinds of their own
    for found in whole(kind)
] + [found for kind in (Adam, SGD, Schedule) for found in whole(kind)]


def test_every_whole_number_has_a_bound_or_a_reason() -> None:
    seen = set()
    for kind, name in EVERY:
        seen.add(name)
        try:
            kind.model_validate({name: HUGE})
            refused = False
        except ValidationError as error:
            refused = any(each["loc"] == (name,) for each in error.errors())
        assert refused or name in TIMES or name in LATER, f"{kind.__name__}.{name}"
    assert set(LATER) <= seen
    assert {"width", "depth", "blocks", "latent", "resolution", "samples", "workers", "levels"} <= seen


def begun(path: str, changed: dict[str, str], run: Path) -> None:
    settings = config.load(CONFIGS / f"{path}.toml", changed)
    train.train(settings, run, print, progress=False, devices=jax.devices()[:1])


@pytest.mark.parametrize("name", LATER)
def test_what_has_its_bound_from_others_is_refused(tmp_path: Path, name: str) -> None:
    path, changed = LATER[name]
    with pytest.raises(InputError) as refused:
        begun(path, changed, tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--run.samples", "2000000000"], "run.samples: Input should be less than or equal to 1048576"),
        (["--data.resolution", "20000"], "data.resolution: Input should be less than or equal to 4096"),
        (["--generator.width", "200000"], "generator.width: Input should be less than or equal to 65536"),
        (["--generator.depth", "100000"], "generator.depth: Input should be less than or equal to 256"),
        (["--game.latent", "2000000000"], "game.latent: Input should be less than or equal to 1048576"),
        (["--generator.width", "65536"], "for the state: make generator.width smaller (its largest array"),
        (["--run.samples", "1000000", "--data.resolution", "4096"], "for the sheet of samples: make run.samples"),
        (["--data.resolution", "4096", "--generator.width", "1", "--discriminator.width", "1"],
         "for the data: set feed.resident to false"),
        (["--game.latent", "1048576", "--generator.width", "60000"], "make game.latent smaller"),
        (["--generator.network", "dcgan", "--generator.width", "65536"], "make generator.width smaller"),
    ],
)  # fmt: skip
def test_the_command_line_says_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    run = tmp_path / "run"
    resident = [] if "--generator.width" in given else ["--feed.resident", "false"]
    resident = ["--feed.resident", "true"] if "the data" in said else resident
    assert main(["train", str(CONFIGS / "mlp.toml"), "--run-dir", str(run), *given, *resident]) == 2
    out = capsys.readouterr().err
    assert said in out
    assert out.count("\n") == 1
    assert not run.exists()


@pytest.mark.parametrize(
    ("path", "changed", "said"),
    [
        ("cyclegan", {"discriminator.layers": "8"}, "the networks do not fit the data: conv: a"),
        (
            "stackgan",
            {"generator.width": "65536"},
            "game.family stackgan makes a network that cannot be: StageOne",
        ),
    ],
)
def test_networks_that_cannot_be_made_at_a_size(
    tmp_path: Path, path: str, changed: dict[str, str], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        begun(path, changed, tmp_path / "run")


def test_a_game_of_ones_own(tmp_path: Path) -> None:
    """Its state is counted too, and the setting named that makes it large."""

    def game(settings: dict[str, Any]) -> jaxgan.Game:
        def init(key: Any, batch: Any) -> Any:
            return {"mean": {"params": {"x": jnp.zeros((settings["rows"], 1 << 20))}}}

        def loss(state: Any, batch: Any, keys: Any) -> Any:
            return jnp.mean(state.params["mean"]["x"]), jaxgan.Aux()

        def made(state: Any, keys: Any, batch: Any) -> Any:
            return keys.normal((1,))

        return jaxgan.Game(init, {"mean": jaxgan.Player(("mean",), loss, optax.sgd(0.1))}, made)

    points = np.zeros((64, 1), np.float32)
    with pytest.raises(
        InputError, match=r"for the state: make game.settings.rows smaller \(its largest array, params.mean"
    ):
        jaxgan.train(
            game, points, tmp_path / "run", steps=2, batch_size=8, settings={"rows": 10**6}, progress=False
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("latents", [jaxgan.Latents(HUGE), jaxgan.Latents(2, "mixture", HUGE)])
def test_latents_of_a_game_of_ones_own(latents: jaxgan.Latents) -> None:
    played = jaxgan.Game(lambda key, batch: {}, {}, lambda state, keys, batch: latents.draw(keys))
    with pytest.raises(InputError, match=f"latents has {HUGE}"):
        experiment.read(Built(played), {"real": Field((2,), "float32")}, 0, latents=latents)


def test_samples_and_scores_by_a_number() -> None:
    source, built, state = shapes(config.parse(GIVEN))
    trained = sample.Trained(built, state, 0, "")
    with pytest.raises(
        InputError, match=r"at least 3.1 TB of memory are needed for 2000000000 images.*ask for fewer"
    ):
        sample.images(trained, 2_000_000_000, seed=0)
    with pytest.raises(
        InputError, match=r"at least 1.1 TB of memory are needed for a score of 2000000000 examples"
    ):
        evaluate.scorer_of(
            built, source, ("auto", None, None), None, 2_000_000_000
        )  # of 128 features, 10 logits


def test_what_is_largest_is_named() -> None:
    parts = [Part("a", 2_000, "less a"), Part("b", 3_000, "less b")]
    memory.check("it", parts, Room(5_000, "here"))
    with pytest.raises(InputError) as refused:
        memory.check("it", parts, Room(4_999, "here"))
    assert (
        str(refused.value)
        == "at least 5.0 kB of memory are needed for it, and here has 5.0 kB; 3.0 kB of them for b: less b"
    )
    assert [memory.written(10**n) for n in (2, 6, 10, 23)] == ["0.1 kB", "1.0 MB", "10.0 GB", "100,000.0 EB"]


def test_a_device_knows_its_limit() -> None:
    class Device:
        def __init__(self, stats: Any) -> None:
            self.stats = stats

        def memory_stats(self) -> Any:
            if self.stats is NotImplemented:
                raise RuntimeError("no such thing")
            return self.stats

        def __str__(self) -> str:
            return "cuda:0"

    assert memory.of_device(Device({"bytes_limit": 80})) == Room(80, "the device cuda:0")
    for stats in (None, {}, {"bytes_in_use": 3}, NotImplemented):
        assert memory.of_device(Device(stats)) == memory.of_process()
    assert memory.of_device(jax.devices()[0]).size > 2**28


@pytest.mark.parametrize(
    ("groups", "files", "least"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "1000\n", "memory.max": "2000\n"}, 1000),
        ("0::/\n", {"memory.max": "3000\n"}, 3000),
        ("0::/docker/x\n", {"memory.max": "3000\n"}, 3000),  # in a container its own group is the root
        ("5:cpu,memory:/a\n1:name=x:/a\n", {"memory/a/memory.limit_in_bytes": "4000\n", "memory.max": "1"}, 4000),
        ("0::/../..\n", {"memory.max": "7000\n"}, 7000),
        ("rubbish\n", {"memory.max": "1000\n"}, None),
        ("0::/a\n", {"a/memory.max": "\n"}, None),
        (None, {}, None),
    ],
)  # fmt: skip
def test_control_groups(tmp_path: Path, groups: str | None, files: dict[str, str], least: int | None) -> None:
    if groups is not None:
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        file = tmp_path / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found = memory.of_process(tmp_path).size
    assert found == least if least else found > 2**28


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space are those of Linux")
def test_the_limit_of_address_space() -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (123 << 20,) * 2)\n"
    code += "from jaxgan import memory; print(memory.of_process().size)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(out.stdout) == 123 << 20


@pytest.mark.slow
@pytest.mark.parametrize(
    "path", ["biggan", "cyclegan", "infogan", "lapgan", "pix2pix", "private", "r3gan", "stackgan"]
)
def test_at_their_bounds_settings_are_counted_or_refused(path: str) -> None:
    """Nothing else comes of them: what is traced for its shapes ends, and in no other error."""
    base = config.load(CONFIGS / f"{path}.toml")
    for key, value in config.leaves(base.model_dump()):
        if (
            not isinstance(value, int)
            or isinstance(value, bool)
            or key in ("generator.blocks", "data.resolution")
        ):
            continue
        try:
            config.load(CONFIGS / f"{path}.toml", {key: str(HUGE)})
            continue
        except InputError as error:
            most = str(error).partition("less than or equal to ")[2].partition(",")[0]
        if most:
            with suppress(InputError):
                source, built, state = shapes(config.load(CONFIGS / f"{path}.toml", {key: most}))
                size.check(built, source, state, Spread(devices=jax.devices()[:1]), True, 1)
