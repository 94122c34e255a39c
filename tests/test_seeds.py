"""Runs of several seeds in one program: each is the run alone, however they are spread, stopped and resumed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, quick_jit, quickly, slow
from test_train import ROOT, command, digest

from jaxgan import cli, config, families, game
from jaxgan.errors import RunError
from jaxgan.networks import DCGANDiscriminator, DCGANGenerator
from jaxgan.parallel import Seeds
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.inspection import inspect
from jaxgan.training import loop, train

pytestmark = pytest.mark.usefixtures("users_programs", "quick_curves")
SMALL = {
    "data.split": "test",
    "batch_size": "8",
    "generator.width": "8",
    "discriminator.width": "8",
    "game.latent": "4",
    "run.sample_every": "10",
    "run.samples": "4",
    "run.checkpoint_every": "100",
    "run.give_up_after": "4",
    "steps": "12",
}
DROPOUT = {"discriminator.dropout": "0.1"}
SEEDS = (0, 1, 2, 5)


def small(name="mlp", **more):
    more = {key.replace("__", "."): str(value) for key, value in more.items()}
    depth = {"generator.depth": "1", "discriminator.depth": "1"} if name == "mlp" else {}
    return config.load(ROOT / "configs" / f"{name}.toml", SMALL | DROPOUT | depth | more)


def folders(root, seeds=SEEDS, name="mlp"):
    return {seed: Path(root) / f"{name}-s{seed}" for seed in seeds}


def together(settings, runs, devices=1, said=None):
    """Trains several seeds on some of the devices of these tests."""
    say = (lambda line: None) if said is None else said.append
    return train.train_seeds(settings, runs, say, progress=False, devices=jax.devices()[:devices])


def alone(settings, seed, run, steps=None):
    """Trains one seed on one device."""
    settings = settings.model_copy(update={"seed": seed, "steps": steps or settings.steps})
    code = train.train(settings, run, lambda line: None, progress=False, devices=jax.devices()[:1])
    assert code == 0


@pytest.fixture(scope="module")
def each(tmp_path_factory):
    """The runs of 12 steps, each trained alone on one device."""
    runs = folders(tmp_path_factory.mktemp("alone"))
    for seed, run in runs.items():
        alone(small(), seed, run)
    return runs


def assert_same_run(run, other):
    """State, log, configuration and samples to the bit, and the same files but for Orbax's names."""
    assert digest(run) == digest(other)
    assert Checkpoints(run / "checkpoints").steps() == Checkpoints(other / "checkpoints").steps()
    both = [
        {
            str(p.relative_to(r)): p.read_bytes()
            for p in r.rglob("*")
            if p.is_file() and "checkpoints" not in p.parts
        }
        for r in (run, other)
    ]
    assert both[0].keys() == both[1].keys() >= {"curves.png", "manifest.json", "samples/step_00000000.png"}
    for name in both[0].keys() - {"manifest.json"}:
        assert both[0][name] == both[1][name], name


@pytest.mark.parametrize(("devices", "seeds"), [(2, SEEDS), slow(4, SEEDS)])
def test_each_run_has_the_bits_and_files_of_the_run_alone(tmp_path, each, devices, seeds):
    assert len({digest(run) for run in each.values()}) == len(SEEDS)
    runs = folders(tmp_path, seeds)
    assert together(small(), runs, devices) == 0
    for seed, run in runs.items():
        assert_same_run(run, each[seed])
        manifest = json.loads((run / "manifest.json").read_text())
        assert manifest["seed"] == seed
        assert manifest["devices"] == ["cpu:cpu"]  # so that the run may go on alone without a warning
        assert (manifest["seeds"], manifest["seeds_by"]) == (list(seeds), "map")


@pytest.mark.parametrize(
    ("name", "steps", "by", "devices", "seeds"),
    [slow("mlp", 5, "vmap", 2, SEEDS), slow("default", 2, "map", 1, (3, 5))],
)
def test_each_run_is_the_run_alone_to_rounding(tmp_path, name, steps, by, devices, seeds):
    """Under vmap, and with batch norm, which must not see another run. With SGD, as Adam hides errors of scale."""
    rates = {f"{player}_optimizer__sgd__learning_rate": 0.05 for player in ("generator", "discriminator")}
    width = {"generator__width": 4, "discriminator__width": 4}
    settings = small(name, run__seeds_by=by, steps=steps, **rates, **width)
    runs = folders(tmp_path / "together", seeds)
    with quickly():
        assert together(settings, runs, devices) == 0
        alone(settings, 5, tmp_path / "alone")
    found = {seed: Checkpoints(run / "checkpoints").read(steps) for seed, run in runs.items()}
    expected = Checkpoints(tmp_path / "alone" / "checkpoints").read(steps)
    assert found[5].keys() == expected.keys()
    for leaf, value in expected.items():
        np.testing.assert_allclose(found[5][leaf], value, rtol=0, atol=1e-6, err_msg=leaf)
    kernel = "params/discriminator/Dense_0/kernel"
    assert np.abs(found[5][kernel] - found[seeds[0]][kernel]).max() > 1e-2


@pytest.mark.slow
def test_runs_at_different_steps_catch_up(tmp_path, each):
    """One at 9 with that save damaged, one at 4 with a torn log, one not begun: together they go from 5, 4 and 0 to 12.

    Streamed, to the bits of resident runs.
    """
    settings = small(feed__resident="false", feed__workers=0, run__checkpoint_every=5, run__window=4)
    runs = folders(tmp_path, (0, 1, 2))
    for seed, steps in ((0, 9), (1, 4)):
        alone(settings, seed, runs[seed], steps)
    (runs[0] / "checkpoints" / "9" / "sha256.json").unlink()
    with (runs[1] / "metrics.jsonl").open("a") as log:
        log.write('{"step": 5, "disc')
    said = []
    assert together(settings, runs, 3, said) == 0
    moved = " was in another program until now, alone or with other seeds: "
    moved += "results will agree to rounding, not to the bit"
    assert said == [
        f"{runs[0]}{moved}",
        f"{runs[1]}{moved}",
        f"checkpoint {runs[0]}/checkpoints/9 is left out: sha256.json is missing",
        f"resuming {runs[0]} from step 5",
        f"resuming {runs[1]} from step 4",
    ]
    for seed, run in runs.items():
        assert digest(run) == digest(each[seed])
        assert (run / "metrics.jsonl").read_bytes() == (each[seed] / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_stopped_by_a_signal_one_goes_on_alone_then_all_together(tmp_path, each, monkeypatch):
    runs, record = folders(tmp_path, (0, 1)), loop.Loop._record

    def stop(loop, *window):
        record(loop, *window)
        if loop.runs[0].logged >= 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_record", stop)
        assert together(small(run__window=2), runs) == 143
    stopped = [inspect(run, print)["step"] for run in runs.values()]
    assert stopped[0] == stopped[1]
    assert 3 <= stopped[0] < 12
    for run in runs.values():
        settings = (run / "config.toml").read_text()
        (run / "config.toml").write_text(settings.replace("window = 2", "window = 100"))
    alone(small(), 1, runs[1])
    assert inspect(runs[0], print)["step"] == stopped[0]
    assert together(small(), runs) == 0
    for seed, run in runs.items():
        assert digest(run) == digest(each[seed])
        assert (run / "metrics.jsonl").read_bytes() == (each[seed] / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize("by", ["map", "vmap"])
@pytest.mark.slow
def test_a_run_that_gives_up_stops_alone(tmp_path, each, by):
    """One run's weights become NaN at step 12: it stops four steps later, and the others go on."""
    runs = folders(tmp_path / "together", (0, 1))
    for seed, run in runs.items():
        shutil.copytree(each[seed], run)
    saves, kernel = Checkpoints(runs[1] / "checkpoints"), "params/discriminator/Dense_0/kernel"
    table = saves.read(12)
    table[kernel] = np.full_like(table[kernel], np.nan)
    saves.save(12, table)
    saves.wait()
    settings, said = small(run__seeds_by=by, steps=23), []
    with pytest.raises(RunError) as error:
        together(settings, runs, said=said)
    assert str(error.value) == (
        f"1 of 2 runs stopped as 4 steps in a row were not finite: {runs[1]} at step 16 (first, at step 13, "
        "discriminator/loss was not finite). Their last good states are saved; try a lower learning rate"
    )
    assert len([line for line in said if line.startswith(f"{runs[1]} stopped: ")]) == 1
    lost = Checkpoints(runs[1] / "checkpoints").read(16)
    assert [lost.pop(name) for name in ("step", "skipped", "skipped_in_a_row")] == [16, 4, 4]
    for name, value in lost.items():
        np.testing.assert_array_equal(value, table[name], err_msg=name)
    rows = [json.loads(line) for line in (runs[1] / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 17))
    assert not (runs[1] / "samples" / "step_00000020.png").exists()
    kept = inspect(runs[0], print)
    assert (kept["step"], kept["skipped"]) == (23, 0)
    if by == "map":
        shutil.copytree(each[0], tmp_path / "alone")
        alone(settings, 0, tmp_path / "alone")
        assert_same_run(runs[0], tmp_path / "alone")


@pytest.mark.slow
def test_the_way_that_runs_share_a_device_may_change(tmp_path):
    """A run that goes on under vmap, or among other seeds there, says that its bits are others."""
    runs = folders(tmp_path, (0, 1))
    found = []
    for steps, by, seeds in ((2, "map", (0, 1)), (3, "vmap", (0, 1)), (3, "vmap", (0, 1)), (3, "vmap", (0,))):
        said = []
        settings = small(steps=steps, run__seeds_by=by)
        with quickly():
            assert together(settings, {seed: runs[seed] for seed in seeds}, 1, said) == 0
        found.append([line for line in said if "to rounding" in line])
    assert [len(lines) for lines in found] == [0, 2, 0, 1]
    assert config.load(runs[0] / "config.toml").run.seeds_by == "vmap"


@pytest.mark.slow
def test_the_bar_shows_the_median_and_the_range(tmp_path, capfd):
    arguments = [word for word in command(tmp_path, "--seeds", "0,3,4", "--steps", 6) if word != "--quiet"]
    with quickly():
        assert cli.main(arguments) == 0
    err = capfd.readouterr().err
    assert f"trained 3 runs to step 6; see {tmp_path}/mlp-s0 to mlp-s4" in err
    bar = [line for line in re.split(r"[\r\n]", err) if "6/6" in line][-1]
    assert bar.startswith("mlp x 3: 100%")
    logs = [run / "metrics.jsonl" for run in folders(tmp_path, (0, 3, 4)).values()]
    losses = sorted(json.loads(log.read_text().splitlines()[-1])["discriminator/loss"] for log in logs)
    assert f"D loss {losses[1]:.2f} [{losses[0]:.2f}, {losses[2]:.2f}]" in bar
    assert re.search(r"\d images/s", bar)


def test_runs_are_spread_evenly():
    for runs, devices, used in ((8, 8, 8), (6, 4, 3), (9, 8, 3), (7, 4, 1), (1, 8, 1), (4, 8, 4)):
        spread = Seeds(runs, devices=jax.devices()[:devices])
        homes = [spread.home(run) for run in range(runs)]
        assert all(len(home) == 1 for home in homes)
        each = [sum(home == [device] for home in homes) for device in jax.devices()]
        assert each == [runs // used] * used + [0] * (8 - used)


@pytest.mark.parametrize("chosen", [None, "3"])
@pytest.mark.slow
def test_the_cores_of_a_cpu_are_devices_unless_the_user_chose(chosen):
    code = "import jax; from jaxgan.parallel import share_cores; share_cores(4); print(len(jax.devices()))"
    env = {name: value for name, value in os.environ.items() if name != "JAX_NUM_CPU_DEVICES"}
    env |= {"JAX_NUM_CPU_DEVICES": chosen} if chosen else {}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(run.stdout) == (3 if chosen else max(n for n in (1, 2, 4) if n <= cores))


# A game under jax.vmap, without the command line.

MAKE = {
    "gan": lambda: play(  # conditional, with batch norm, dropout, and a generator that waits
        families.GAN,
        DCGANGenerator(16, 1, 2, 3),
        DCGANDiscriminator(16, 1, 2, 3, dropout=0.2),
        discriminator_pretraining=1,
        latent=3,
        conditional=True,
        ema=0.9,
        generator_optimizer=optax.sgd(0.05),
        discriminator_optimizer=optax.sgd(0.05),
    )
}
"""Small games for images `[N, 16, 16, 1]` and three classes."""


@pytest.mark.parametrize("family", MAKE)
@pytest.mark.slow
def test_vmap_over_seeds(family, rng):
    """`init` and three steps of each seed under `jax.vmap`, against the same seed by itself."""
    rules, steps = MAKE[family](), 3
    batch = {
        "real": jnp.asarray(rng.uniform(-1, 1, (len(SEEDS), steps, rules.turns, 4, 16, 16, 1)), jnp.float32),
        "label": jnp.asarray(rng.integers(0, 3, (len(SEEDS), steps, rules.turns, 4)), jnp.int32),
    }

    def init(seed, batch):
        return game.init(rules, jax.random.key(seed), jax.tree.map(lambda x: x[0, 0], batch))

    def step(state, batch, i):
        return game.step(rules, state, jax.tree.map(lambda x: x[i], batch))

    def play(init, step, seed, batch):
        state, metrics = init(seed, batch), None
        for i in range(steps):
            state, metrics = step(state, batch, i)
        return state.replace(key=jax.random.key_data(state.key)), metrics

    seeds = jnp.array(SEEDS)
    all_at_once = play(quick_jit(jax.vmap(init)), quick_jit(jax.vmap(step, (0, 0, None))), seeds, batch)
    one = (quick_jit(init), quick_jit(step))
    found = [play(*one, seed, jax.tree.map(lambda x, i=i: x[i], batch)) for i, seed in enumerate(seeds)]
    for i, expected in enumerate(found):
        got = jax.tree.map(lambda x, i=i: x[i], all_at_once)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-6), got, expected)
    apart = jax.tree.map(lambda a, b: np.abs(a - b).max(), found[0][0].params, found[1][0].params)
    assert max(jax.tree.leaves(apart)) > 1e-2
