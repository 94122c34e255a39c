"""Runs: the same bits however they are cut into windows, killed, resumed, fed and spread."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image
from quick import play, quickly, slow, users_environment
from test_checkpoint import DAMAGES

from jaxgan import cli, config, domains, game, plots
from jaxgan.data import order, stream
from jaxgan.data.feed import Resident
from jaxgan.data.sources import Embedded
from jaxgan.families import GAN
from jaxgan.networks import MLPDiscriminator, MLPGenerator
from jaxgan.parallel import Spread
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.inspection import inspect
from jaxgan.training import claim, loop, train
from jaxgan.training.window import program

pytestmark = pytest.mark.usefixtures("users_programs")
ROOT = Path(__file__).parents[1]
MLP = [
    *("train", str(ROOT / "configs" / "mlp.toml"), "--quiet", "--data.split", "test"),
    *("--generator.width", "8", "--generator.depth", "1", "--discriminator.width", "8"),
    *("--discriminator.depth", "1", "--discriminator.dropout", "0.1", "--batch_size", "8"),
    *("--game.latent", "4", "--run.sample_every", "10", "--run.samples", "4", "--run.checkpoint_every", "5"),
]


def command(run, *more):
    """The command line of a small run; `more` comes after, and a folder of images in place of the embedded ones."""
    base = [word for word in MLP if "folder" not in more or word not in ("--data.split", "test")]
    return [*base, "--run-dir", str(run), *map(str, more)]


def go(run, *more):
    """Trains in this process, on its eight devices, and gives the state's digest."""
    assert cli.main(command(run, *more)) == 0
    return digest(run)


def digest(run):
    def refuse(line):
        raise AssertionError(line)

    return inspect(Path(run), refuse)["state_sha256"]


def launch(run, *more, before=""):
    """Trains in another process on one device, after the Python code `before`."""
    code = f"import sys\n{before}\nfrom jaxgan.cli import main\nsys.exit(main(sys.argv[1:]))"
    return subprocess.Popen(
        [sys.executable, "-c", code, *command(run, *more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=users_environment(JAX_NUM_CPU_DEVICES="1"),
    )


def finish(process, code=0):
    _, err = process.communicate(timeout=200)
    assert process.returncode == code, err
    return err


def wait_for_steps(run, steps, process):
    log = Path(run) / "metrics.jsonl"
    while not log.exists() or log.read_text().count("\n") < steps:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.002)


@pytest.fixture(scope="module")
def forty(tmp_path_factory):
    """40 steps without interruption, on one device in a process of its own."""
    run = tmp_path_factory.mktemp("forty") / "run"
    finish(launch(run, "--steps", 40))
    return run


@pytest.fixture(scope="module")
def twelve(tmp_path_factory):
    """12 steps without interruption, in this process."""
    run = tmp_path_factory.mktemp("twelve") / "run"
    go(run, "--steps", 12)
    return run


@pytest.fixture(scope="module")
def trained_to_ten(tmp_path_factory):
    run = tmp_path_factory.mktemp("ten") / "run"
    go(run, "--steps", 10)
    return run


@pytest.fixture
def ten(trained_to_ten, tmp_path):
    """A run of 10 steps, trained in this process; a copy, to be damaged."""
    return Path(shutil.copytree(trained_to_ten, tmp_path / "run"))


@pytest.mark.device
def test_same_seed_same_bits_other_seed_other_bits(tmp_path):
    a = go(tmp_path / "a", "--steps", 7)
    assert go(tmp_path / "b", "--steps", 7) == a
    assert go(tmp_path / "c", "--steps", 7, "--seed", 1) != a


@pytest.mark.device
@pytest.mark.slow
def test_convolutions_as_users_compile_them_resume_to_the_bit(tmp_path):
    """The families' own test compiles in haste; here are XLA's fusions, tiles and products with patches."""

    def trained(run, steps):
        small = {
            "generator.width": "16",
            "discriminator.width": "16",
            "batch_size": "32",
            "run.samples": "10",
        }
        windows = {"run.window": "2", "steps": str(steps)}
        settings = config.load(ROOT / "configs" / "default.toml", small | windows)
        assert train.train(settings, tmp_path / run, print, progress=False, devices=jax.devices()[:1]) == 0
        return digest(tmp_path / run)

    whole = trained("whole", 4)
    assert trained("parts", 1) != whole
    assert trained("parts", 4) == whole


def test_what_a_run_writes(tmp_path):
    run = tmp_path / "run"
    go(run, "--steps", 23)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 24))
    assert {"discriminator/loss", "generator/loss", "discriminator/real", "discriminator/fake"} <= set(
        rows[0]
    )
    assert sorted(p.name for p in (run / "samples").iterdir()) == [
        f"step_{n:08d}.png" for n in (0, 10, 20, 23)
    ]
    assert (run / "curves.png").stat().st_size > 1000
    assert Checkpoints(run / "checkpoints").steps() == [15, 20, 23]
    assert config.load(run / "config.toml").steps == 23
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["seed"] == 0
    assert manifest["versions"]["jax"] == jax.__version__
    assert len(manifest["devices"]) == 8


def test_growing_steps_goes_on_to_the_same_bits(tmp_path, twelve):
    """Also: a complete run asked for again is left as it is."""
    go(tmp_path, "--steps", 5)
    for _ in range(2):
        assert go(tmp_path, "--steps", 12) == digest(twelve)
    for name in ("metrics.jsonl", "samples/step_00000010.png"):
        assert (tmp_path / name).read_bytes() == (twelve / name).read_bytes()


@pytest.mark.parametrize(
    ("after", "share", "drawn"), [(1e9, 1.0, [23]), (-1.0, 1e-12, [5, 23]), (-1.0, 1e12, [5, 10, 15, 20, 23])]
)
@pytest.mark.slow
def test_curves_are_drawn_once_it_is_time_and_at_the_end(tmp_path, monkeypatch, after, share, drawn):
    """A window after each checkpoint, but not too soon, nor too soon after the last drawing."""
    seen = []
    monkeypatch.setattr(plots, "curves", lambda rows, path, title, shown: seen.append(rows[-1]["step"]))
    monkeypatch.setattr(loop, "CURVES_AFTER", after)
    monkeypatch.setattr(loop, "CURVES_SHARE", share)
    go(tmp_path, "--steps", 23)
    assert seen == drawn


KILL = "os.kill(os.getpid(), 9)"
MOMENTS = {
    "while Orbax writes": f"""
import os, threading, jaxgan.runs.checkpoint as c
flatten = c.flatten
def flatten_then_die(tree):
    table = flatten(tree)
    if int(table["step"]) == {{step}}: threading.Timer(0.02, lambda: {KILL}).start()
    return table
c.flatten = flatten_then_die""",
    "between Orbax and the digests": f"""
import os, jaxgan.runs.checkpoint as c
hashed = c._file_sha256
c._file_sha256 = lambda p: {KILL} if "/{{step}}/" in str(p) else hashed(p)""",
    "before the digests count": f"""
import os, jaxgan.runs.checkpoint as c
replace = os.replace
os.replace = lambda a, b: {KILL} if "/.saving/{{step}}/" in str(b) else replace(a, b)""",
    "while the log is written": f"""
import os, jaxgan.runs.directory as r
log = r.RunDirectory.log
def half(self, rows):
    log(self, rows)
    if rows[-1]["step"] >= {{step}}:
        with self.metrics.open("a") as f: f.write('{{{{"step": 99, "disc')
        {KILL}
r.RunDirectory.log = half""",
}


@pytest.mark.slow
def test_killed_at_any_moment_and_run_again(tmp_path, forty):
    """SIGKILL in the loop at 17, then in each phase of a save, then in the log: always the bits of the whole run."""
    run = tmp_path / "run"
    process = launch(run, "--steps", 40)
    wait_for_steps(run, 17, process)
    process.kill()
    process.communicate()
    for step, moment in zip((25, 30, 35, 38), MOMENTS.values(), strict=True):
        finish(launch(run, "--steps", 40, before=moment.format(step=step)), -signal.SIGKILL)
    finish(launch(run, "--steps", 40))
    assert digest(run) == digest(forty)
    assert (run / "metrics.jsonl").read_bytes() == (forty / "metrics.jsonl").read_bytes()
    assert not list((run / "checkpoints").glob("*tmp*"))


@pytest.mark.parametrize(("sent", "code", "workers"), [(signal.SIGTERM, 143, 2), (signal.SIGINT, 130, 1)])
@pytest.mark.slow
def test_signals_save_and_say_so_and_the_run_goes_on(tmp_path, forty, sent, code, workers):
    """With streamed data and workers: same order, same bits as the resident run."""
    run, streamed = tmp_path / "run", ("--feed.resident", "false", "--feed.workers", workers, "--steps", 40)
    # Slow windows, of at most five steps: there is time to be interrupted.
    slow = (
        "import time, jaxgan.training.loop as t\nr = t.Loop._record\n"
        "t.Loop._record = lambda *a: (time.sleep(0.3), r(*a))"
    )
    process = launch(run, *streamed, before=slow)
    wait_for_steps(run, 7, process)
    process.send_signal(sent)
    err = finish(process, code)
    assert "saved" in err
    assert "Traceback" not in err
    stopped = inspect(run, print)["step"]
    assert 7 <= stopped < 40
    finish(launch(run, *streamed))
    assert digest(run) == digest(forty)


@pytest.mark.slow
def test_streamed_run_killed(tmp_path, forty):
    run, streamed = tmp_path / "run", ("--feed.resident", "false", "--feed.workers", 1, "--steps", 40)
    process = launch(run, *streamed)
    wait_for_steps(run, 17, process)
    process.kill()
    process.communicate()
    finish(launch(run, *streamed))
    assert digest(run) == digest(forty)


def products_by_ynnpack(program):
    """How many fusions of a compiled program, as text, are YNNPACK's and hold a matrix product."""
    bodies = {part.split(" ", 1)[0].lstrip("%"): part for part in program.split("\n\n")}
    fused = [line for line in program.splitlines() if "__ynn_fusion" in line]
    return sum(" dot(" in bodies[re.search(r"calls=%?([\w.-]+)", line)[1]] for line in fused)


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.slow
def test_options_for_many_examples_change_nothing_but_rounding(devices):
    """Three steps of SGD on batches of 256: the window's products by Eigen, `jax.jit`'s by YNNPACK."""
    sgd = {f"{name}_optimizer": optax.sgd(0.1) for name in ("generator", "discriminator")}
    rules = play(GAN, MLPGenerator((28, 28, 1)), MLPDiscriminator(), latent=16, **sgd)
    spread, data = Spread("pmap", jax.devices()[:devices]), stream.load(Embedded("test"), progress=False)
    feed = Resident(data, 0, rules.turns, 256, 3, spread)
    window = program(rules, domains.Image(), feed, spread, 256, 100)
    image = jnp.zeros((1, 28, 28, 1))
    state = jax.jit(partial(game.init, rules))(jax.random.key(0), {"real": image})
    start = jax.tree.map(np.array, state.params)
    args = (spread.replicate(state), feed.whole, feed.parts(0, 3), np.int32(3))
    batches = [{name: jnp.asarray(values[rows]) for name, values in data.items()} for rows in feed.host(0, 3)]
    step = jax.jit(partial(game.step, rules)).lower(state, domains.Image().decode(batches[0])).compile()
    assert not products_by_ynnpack(window.compile(*args).as_text())
    assert products_by_ynnpack(step.as_text())
    found, _ = window(*args)
    for batch in batches:
        state, _ = step(state, domains.Image().decode(batch))
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), start, state.params)
    assert all(x > 1e-4 for x in jax.tree.leaves(moved)), moved
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-6),
        spread.local(found.params),
        state.params,
    )


@pytest.mark.slow
def test_one_trace_whatever_the_number_of_steps(tmp_path, monkeypatch):
    traces = []
    transition = game.transition
    monkeypatch.setattr(game, "transition", lambda *args: (traces.append(1), transition(*args))[1])
    counts = []
    for steps in (1, 12):
        traces.clear()
        with quickly():
            go(tmp_path / str(steps), "--steps", steps)
        counts.append(len(traces))
    assert counts == [1, 1]


@pytest.mark.parametrize("damage", [DAMAGES[0], *map(slow, DAMAGES[1:])])
def test_damaged_newest_checkpoint(ten, twelve, damage, capsys):
    """One line says so, and the run goes on from the one before to the bits of the undamaged run."""
    run = ten
    damage(run / "checkpoints" / "10")
    capsys.readouterr()
    assert go(run, "--steps", 12) == digest(twelve)
    lines = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert len(lines) == 1
    assert str(run / "checkpoints" / "10") in lines[0]
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 12


def test_a_run_whose_every_checkpoint_is_damaged_is_left_alone(ten, capsys):
    run = ten
    for step in (5, 10):
        DAMAGES[0](run / "checkpoints" / str(step))
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    assert cli.main(command(run, "--steps", 20)) == 2
    assert "every checkpoint" in capsys.readouterr().err.strip().splitlines()[-1]
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


@pytest.mark.slow
def test_an_image_that_breaks_in_the_middle_of_a_run(tmp_path, monkeypatch, capsys):
    """Exit 2, the file named, the steps before it saved; with the file back the run goes on."""
    rng, images = np.random.default_rng(0), tmp_path / "images"
    images.mkdir()
    for i in range(40):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(images / f"{i}.png")
    run, good = tmp_path / "run", (images / "7.png").read_bytes()
    folder = ("--data.source", "folder", "--data.path", images, "--data.resolution", 8)
    folder += ("--feed.resident", "false", "--feed.workers", 0, "--run.window", 1)
    check = claim.check_manifest

    def check_and_break(*args):
        """The file breaks after the run has read its fingerprint."""
        check(*args)
        os.truncate(images / "7.png", 60)

    with quickly():
        with monkeypatch.context() as patch:
            patch.setattr(claim, "check_manifest", check_and_break)
            assert cli.main(command(run, *folder, "--steps", 40)) == 2
        err = capsys.readouterr().err
        assert str(images / "7.png") in err.strip().splitlines()[-1]
        assert "Traceback" not in err
        index = sorted(path.name for path in images.iterdir()).index("7.png")
        met = order.indices(0, 40, 0, 40).tolist().index(index) // 16  # two turns of eight examples each step
        assert inspect(run, print)["step"] == met
        (images / "7.png").write_bytes(good)
        assert cli.main(command(run, *folder, "--steps", 40)) == 0
    assert inspect(run, print)["step"] == 40


@pytest.mark.parametrize(("largest", "named"), [(100_000, "checkpoints/15"), (3_000, "metrics.jsonl")])
@pytest.mark.slow
def test_a_disk_that_fills_up(ten, largest, named):
    """Writes that fail past a size, in a save or elsewhere: exit 1, the path named, the last good checkpoint whole."""
    run = ten
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({largest}, {largest}))"
    err = finish(launch(run, "--steps", 20, before=limit), 1)
    last = err.strip().splitlines()[-1]
    assert last.startswith("jaxgan: error:")
    assert str(run / named) in last
    assert "Traceback" not in err
    assert inspect(run, print)["step"] == 10
    go(run, "--steps", 20)
    assert inspect(run, print)["step"] == 20


@pytest.mark.slow
def test_curves_that_cannot_be_written(tmp_path, capsys):
    """Exit 1 and the path named; the last checkpoint stands, and the run goes on once there is room for the picture."""
    run = tmp_path / "run"
    assert cli.main(command(run, "--steps", 5)) == 0
    (run / "curves.png").unlink()
    (run / "curves.png" / "kept").mkdir(parents=True)
    assert cli.main(command(run, "--steps", 8)) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("jaxgan: error:")
    assert str(run / "curves.png") in last
    assert inspect(run, print)["step"] == 8
    (run / "curves.png").rename(tmp_path / "elsewhere")
    assert cli.main(command(run, "--steps", 8)) == 0
    assert (run / "curves.png").is_file()


@pytest.mark.slow
def test_a_run_that_is_never_finite_again_stops(tmp_path, capsys):
    """A learning rate of 1e38: the second step overflows, and no other draw helps."""
    run = tmp_path / "run"
    more = ("--steps", 50, "--generator_optimizer.adam.learning_rate", "1e38", "--run.give_up_after", 6)
    with quickly():
        assert cli.main(command(run, *more)) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert "6 steps in a row" in last
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    first = next(row for row in rows if row["skipped"])
    broken = next(key for key, value in first.items() if value is None)
    assert f"at step {first['step']}, {broken}" in last
    found = inspect(run, print)
    assert (found["step"], found["skipped"]) == (first["step"] + 5, 6)
    assert len(rows) == found["step"]
    assert str(run / "checkpoints" / str(found["step"])) in last
    table = Checkpoints(run / "checkpoints").read(found["step"])
    assert all(np.isfinite(value).all() for value in table.values())


@pytest.mark.slow
def test_two_processes_of_one_device_make_the_bits_of_one_process_of_two(tmp_path):
    """Through the command line, streaming, each process reading its rows."""
    from test_parallel import free_port

    port = free_port()
    streamed = ("--steps", 10, "--feed.resident", "false", "--feed.workers", 0)
    several = ["--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process"]
    pair = [launch(tmp_path / "two", *streamed, *several, i) for i in (0, 1)]
    code = "import os\nos.environ['JAX_NUM_CPU_DEVICES'] = '2'"
    one = launch(tmp_path / "one", *streamed, before=code)
    for process in (*pair, one):
        finish(process)
    assert digest(tmp_path / "one") == digest(tmp_path / "two")
