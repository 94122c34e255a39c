"""`jaxgan.train`, `load` and `Run`: a game that somebody wrote has all that a config has, and the same bits."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import users_environment

import jaxgan
from jaxgan import Aux, Built, Game, InputError, Latents, Player, config, imports, public
from jaxgan.cli import main
from jaxgan.experiment import provenance
from jaxgan.families import GAN, Private, StackGAN
from jaxgan.networks import (
    CharacterEncoder,
    DCGANDiscriminator,
    DCGANGenerator,
    MatchingDiscriminator,
    MLPDiscriminator,
    MLPGenerator,
    StageOne,
    StageTwo,
)
from jaxgan.public.train import settings_of
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.inspection import inspect
from jaxgan.sampling import sample as sampling

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves", "small_batches")
ROOT = Path(__file__).parents[1]


def sha256_of(file):
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


MINE = '''
"""A game of one's own: labelled points, two small networks with batch norm, SGD."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxgan
from jaxgan import Aux, Game, Player, axis


class Net(nn.Module):
    out: int

    @nn.compact
    def __call__(self, x, label, *, train=False):
        x = jnp.concatenate([x, jax.nn.one_hot(label, 3)], -1)
        x = nn.BatchNorm(not train, momentum=0.9, axis_name=axis.current())(nn.Dense(8)(x))
        return nn.Dense(self.out)(nn.tanh(x))


G, D = Net(2), Net(1)


def game(settings):
    def fake(state, batch, keys):
        return jaxgan.apply(G, state, "G", keys.fold("latent").normal((2,)), batch["label"])

    def judged(state, points, batch):
        said, stats = jaxgan.apply(D, state, "D", points, batch["label"])
        return said, stats

    def d_loss(state, batch, keys):
        made, _ = fake(state, batch, keys)
        real, _ = judged(state, batch["real"], batch)
        seen, stats = judged(state, made, batch)
        value = jnp.mean(nn.softplus(-real)) + jnp.mean(nn.softplus(seen))
        return value, Aux({"D": stats}, metrics={"gap": real.mean() - seen.mean()})

    def g_loss(state, batch, keys):
        made, stats = fake(state, batch, keys)
        return jnp.mean(nn.softplus(-judged(state, made, batch)[0])), Aux({"G": stats})

    def init(key, batch):
        return {
            "G": G.init(key, jnp.zeros((2, 2)), batch["label"][:2]),
            "D": D.init(key, batch["real"][:2], batch["label"][:2]),
        }

    def sample(state, keys, batch):
        z = batch["latent"] if "latent" in batch else keys.fold("latent").normal((2,))
        return G.apply(state.variables("G"), z, batch["label"])

    sgd = optax.sgd(settings["rate"])
    return Game(init, {"D": Player(("D",), d_loss, sgd), "G": Player(("G",), g_loss, sgd)}, sample, ema={"G": 0.9})


def source(settings):
    turn = 2 * np.pi * np.arange(48) / 48
    points = np.stack([np.cos(turn), np.sin(turn)], -1)
    return {"real": points.astype(np.float32), "label": np.arange(48) // 16}


SETTINGS = {"rate": 0.05, "note": ["any", {"plain": 1.5}]}
HOW = {"batch_size": 8, "samples": 6, "sample_every": 3, "checkpoint_every": 3, "window": 3, "progress": False}

if __name__ == "__main__":
    run = jaxgan.train(game, source, "run", steps=6, settings=SETTINGS, **HOW)
    print(run.step)
'''


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The module of a game of one's own, as a file in the folder where the test is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imports, "_named", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "toy_mine.py").write_text(MINE)
    yield imports.bring("toy_mine.py")
    for name in ("toy_mine", "toy_empty"):
        sys.modules.pop(name, None)


def another_process(mine):
    """The module as a process that begins now finds it."""
    provenance._seen.clear()
    imports._named.clear()
    del sys.modules[mine.__name__]
    return imports.bring(mine.__file__)


def digest(path) -> str:
    return inspect(Path(path), print)["state_sha256"]


def trained(mine, path="run", steps=6, **more):
    return jaxgan.train(
        mine.game, mine.source, path, steps=steps, settings=mine.SETTINGS, **{**mine.HOW, **more}
    )


# A game of one's own is a full run


def test_a_game_of_ones_own_has_all_that_a_config_has(mine, capfd):
    run = trained(mine)
    assert (run.step, run.checkpoints) == (6, [3, 6])
    assert sorted(run.log) == sorted(
        [
            "step",
            "skipped",
            *(f"{p}/{m}" for p in "DG" for m in ("loss", "grad_norm", "update_norm")),
            "D/gap",
        ]
    )
    assert run.log["step"].tolist() == [1, 2, 3, 4, 5, 6]
    assert np.isfinite(run.log["D/gap"]).all()
    assert {path.name for path in run.path.iterdir()} >= {
        "config.toml",
        "manifest.json",
        "samples",
        "curves.png",
    }
    assert sorted(path.name for path in (run.path / "samples").iterdir()) == [
        f"step_0000000{i}.png" for i in (0, 3, 6)
    ]
    # what the game tells by itself
    told = run.settings.game
    assert (told.conditional, told.given, told.settings) == (True, (), mine.SETTINGS)
    assert dict(told.shown) == {"D loss": ("D/loss",), "G loss": ("G/loss",)}
    assert run.manifest["classes"] == ["0", "1", "2"]
    assert run.manifest["domain"] == {"domain": "numbers"}
    # samples: each class in turn, or of one class, by the state's own rule
    points = run.sample(7)
    assert (points.shape, points.dtype) == ((7, 2), np.float32)
    np.testing.assert_array_equal(run.sample(4), points[:4])
    ones = run.sample(7, label=1)
    np.testing.assert_array_equal(ones[[1, 4]], points[[1, 4]])
    np.testing.assert_array_equal(run.sample(7, label="1"), ones)
    averaged = run.state.averaged()
    keys = jaxgan.Keys.of(jax.random.key(0), sampling.CHUNK)
    by_hand = run.game.sample(averaged, keys, {"label": jnp.arange(sampling.CHUNK) % 3})[:7]
    np.testing.assert_allclose(points, by_hand, atol=1e-6)
    run.sample(6, out="points.npz")
    with np.load("points.npz") as stored:
        np.testing.assert_array_equal(stored["samples"], points[:6])
        assert stored["label"].tolist() == [0, 1, 2, 0, 1, 2]
    # scores and the page
    (line,) = run.evaluate(["frechet"], num=40, progress=False)
    assert line["step"] == 6
    assert run.scores == [line]
    assert b"data:image/png" in run.report().read_bytes()
    assert run.verify(progress=False).equal
    assert repr(run) == "Run('run', step 6)"
    assert "D loss" not in capfd.readouterr().err  # the bar is off


def test_the_same_bits_straight_resumed_by_script_and_by_the_command_line(mine):
    straight = trained(mine, "straight")
    resumed = trained(mine, "resumed", steps=4).resume(steps=6, progress=False)
    trained(mine, "command", steps=3)
    words = ["train", "command", "--import", "toy_mine.py", "--steps", "6", "--quiet"]
    assert main(words) == 0
    loaded = jaxgan.load("resumed", mine.game, mine.source)
    assert digest("straight") == digest("resumed") == digest("command")
    assert loaded.settings.game == straight.settings.game == resumed.settings.game
    same = jax.tree.map(
        np.array_equal, straight.state.replace(key=None), loaded.checkpoint(6).replace(key=None)
    )
    assert all(jax.tree.leaves(same))
    np.testing.assert_array_equal(straight.log["G/loss"], resumed.log["G/loss"])


@pytest.mark.slow
@pytest.mark.usefixtures("users_programs")
def test_a_script_that_is_killed_goes_on_to_the_same_bits(mine, tmp_path):
    """In processes of their own, as users have them."""
    environment = users_environment()
    script = [sys.executable, "toy_mine.py"]
    process = subprocess.Popen(script, env=environment)
    while process.poll() is None and not (tmp_path / "run/checkpoints/3/sha256.json").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "6\n"
    killed = digest("run")
    (tmp_path / "run").rename(tmp_path / "killed")
    subprocess.run(script, env=environment, check=True, capture_output=True)
    assert digest("run") == killed
    # the command line goes on as the script would have
    longer = [
        sys.executable,
        "-m",
        "jaxgan",
        "train",
        "killed",
        "--import",
        "toy_mine.py",
        "--steps",
        "9",
        "--quiet",
    ]
    subprocess.run(longer, env=environment, check=True, capture_output=True)
    more = (tmp_path / "toy_mine.py").read_text().replace("steps=6", "steps=9")
    (tmp_path / "toy_mine.py").write_text(more)
    changed = subprocess.run(script, env=environment, capture_output=True, text=True)
    assert "was trained with other files" in changed.stderr
    assert changed.returncode == 1
    (tmp_path / "toy_mine.py").write_text(more.replace('"run", ', '"run", changed=True, '))
    subprocess.run(script, env=environment, check=True, capture_output=True)
    assert digest("run") == digest("killed")


def test_four_devices_agree_to_rounding(mine):
    devices = jax.devices()
    one, four = (trained(mine, f"{n}", devices=devices[:n]) for n in (1, 4))
    for a, b in zip(jax.tree.leaves(one.state.params), jax.tree.leaves(four.state.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert digest("1") != ""  # and the same draws: sampled alike
    np.testing.assert_allclose(one.sample(6), four.sample(6), atol=1e-5)


def test_seeds_in_one_program_agree_with_each_alone(mine):
    runs = trained(mine, "runs", name="mine", seeds=[3, 5])
    assert [str(run.path) for run in runs] == ["runs/mine-s3", "runs/mine-s5"]
    for run, seed in zip(runs, (3, 5), strict=True):
        alone = trained(mine, f"alone-{seed}", seed=seed, name="mine")
        assert run.manifest["seeds"] == [3, 5]
        for a, b in zip(jax.tree.leaves(run.state.params), jax.tree.leaves(alone.state.params), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
    assert not np.array_equal(runs[0].sample(4), runs[1].sample(4))


def test_what_a_run_of_ones_own_needs_is_said(mine, capfd):
    trained(mine)
    capfd.readouterr()
    for words in (
        ["train", "run"],
        ["sample", "run", "--out", "x.png"],
        ["evaluate", "run"],
        ["report", "run"],
    ):
        assert main(words) == 2
        err = capfd.readouterr().err
        assert err.count("\n") == 1
        assert "run is a run of somebody's own game, which no folder can hold: pass --import FILE.py" in err
    assert main(["train", "run/config.toml"]) == 2
    assert "jaxgan train RUN --import FILE.py" in capfd.readouterr().err
    assert main(["inspect", "run"]) == 0  # what is read from files alone
    bare = jaxgan.load("run")
    assert len(bare.log["step"]) == 6
    with pytest.raises(InputError, match=r"jaxgan\.load\(RUN, game=\.\.\.\)"):
        bare.sample(1)
    with pytest.raises(InputError, match="came from Python; its file needs a def source"):
        jaxgan.load("run", mine.game).evaluate(progress=False)
    Path("toy_empty.py").write_text("x = 1\n")
    assert main(["sample", "run", "--out", "x.png", "--import", "toy_empty.py"]) == 2
    assert "toy_empty.py has none: write a function game(settings) there" in capfd.readouterr().err


# Provenance


def test_provenance_is_of_the_file_and_changes_are_kept(mine, capfd):
    run = trained(mine, steps=3)
    file = Path("toy_mine.py").resolve()
    was = sha256_of(file)
    assert run.manifest["origins"] == [{"module": "toy_mine", "file": str(file), "sha256": was}]
    assert "that file alone" in run.manifest["origins_cover"]
    assert tuple(run.settings.game.settings) == ("rate", "note")
    file.write_text(MINE + "# another file\n")
    now = sha256_of(file)
    # what is in memory is of the file as it was, whatever the file is now
    trained(mine, steps=4)
    assert run.manifest["origins"][0]["sha256"] == was
    mine = another_process(mine)
    with pytest.raises(
        InputError, match=f"run was trained with other files: .*toy_mine.py had SHA-256 {was[:12]} and"
    ):
        trained(mine)
    with pytest.raises(InputError, match="run was trained with other files"):
        jaxgan.load("run", mine.game, mine.source).verify(progress=False)
    capfd.readouterr()
    jaxgan.load("run", mine.game, mine.source).sample(2)
    assert "run was trained with other files" in capfd.readouterr().err
    with pytest.raises(InputError, match=r"went on with other files|was trained with other files"):
        jaxgan.load("run", mine.game, mine.source).verify(3, progress=False)
    for steps in (5, 6):
        trained(mine, steps=steps, changed=True)
        assert run.manifest["origins"][0]["sha256"] == now
        assert run.manifest["origins_changed"] == [{"step": 4, "from": [was], "to": [now]}]
    assert json.loads(json.dumps(inspect(Path("run"), print)))["origins_changed"][0]["step"] == 4


def test_code_without_a_file_is_unverified(tmp_path, monkeypatch):
    """As of a notebook, whose cells are no files."""
    monkeypatch.chdir(tmp_path)
    space = {"__name__": "__main__"}
    exec(compile(MINE.partition("if __name__")[0], "<cell 1>", "exec"), space)
    run = jaxgan.train(
        space["game"], space["source"], "run", steps=2, settings=space["SETTINGS"], **space["HOW"]
    )
    (origin,) = run.manifest["origins"]
    assert (origin["file"], origin["sha256"]) == (None, "unverified")
    run.resume(steps=3, progress=False)


def test_a_game_of_families_alone_is_of_the_file_that_trains_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    game = GAN(latent=2).game(MLPGenerator((2,), width=4), MLPDiscriminator(width=4))
    run = jaxgan.train(game, np.zeros((8, 2)), "run", steps=1, batch_size=8, progress=False)
    (origin,) = run.manifest["origins"]
    assert origin["file"] == str(Path(__file__).resolve())


# The config way and the Python way


def config_way(name: str, path: str, **changes) -> str:
    """The digest of a config's run, by its table."""
    import tomllib

    table = tomllib.loads((ROOT / "configs" / f"{name}.toml").read_text())
    for key, value in changes.items():
        section = table.setdefault(key, {}) if isinstance(value, dict) else table
        section.update(value) if isinstance(value, dict) else table.update({key: value})
    jaxgan.train(table, run_dir=path, **TINY)
    return digest(path)


TINY = {"steps": 3, "batch_size": 8, "samples": 4, "window": 3, "progress": False}
HELD = {"source": "embedded", "split": "test"}


def test_the_default_config_in_python_has_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nets = {"generator": {"width": 2}, "discriminator": {"width": 2}}
    wanted = config_way("default", "config", data={"split": "test"}, **nets)
    adam = optax.adam(2e-4, b1=0.5, b2=0.999)
    kinds = {"resolution": 28, "channels": 1, "width": 2, "classes": 10}
    game = GAN(conditional=True, shared_draws=True).game(
        DCGANGenerator(**kinds),
        DCGANDiscriminator(**kinds),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    run = jaxgan.train(game, "embedded:test", "python", latents=Latents(100), **TINY)
    assert digest("python") == wanted
    by_path = ROOT / "configs" / "default.toml"
    overridden = config.load(
        by_path, {"data.split": "test", "generator.width": "2", "discriminator.width": "2"}
    )
    assert digest(jaxgan.train(overridden, run_dir="settings", **TINY).path) == wanted
    words = [
        "train",
        str(by_path),
        "--data.split",
        "test",
        "--generator.width",
        "2",
        "--discriminator.width",
        "2",
    ]
    words += ["--steps", "3", "--batch-size", "8", "--run.samples", "4", "--run.window", "3", "--quiet"]
    assert main([*words, "--run-dir", "command"]) == 0
    assert digest("command") == wanted
    configs = jaxgan.load("config")
    for how in ({"label": 3}, {"label": "Bag"}, {"walk": 4}, {"truncation": 0.5}):
        np.testing.assert_array_equal(run.sample(8, **how), configs.sample(8, **how))
    images = run.sample(2)
    assert (images.shape, images.dtype) == ((2, 28, 28, 1), np.uint8)


@pytest.mark.slow
def test_stackgan_in_python_has_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = {"width": 2, "condition": 3}
    wanted = config_way(
        "stackgan",
        "config",
        data={"resolution": 8, "split": "test"},
        generator={**sizes, "depth": 0, "blocks": 0},
        discriminator=sizes,
        game={"stage_two": 2, "latent": 3, "encoder": {"width": 2, "features": 3}},
    )
    adam = optax.adam(5e-4, b1=0.5, b2=0.999)
    game = StackGAN(stage_two=2, scale=2, latent=3, ema=0.99).game(
        StageOne(4, 1, width=4, condition=3),
        StageTwo(2, 1, width=2, condition=3, depth=0, blocks=0),
        MatchingDiscriminator(4, 1, **sizes),
        MatchingDiscriminator(8, 1, **sizes),
        CharacterEncoder(features=3, width=2),
        generator_optimizer=adam,
        discriminator_optimizer=adam,
    )
    data = {**HELD, "task": "captions", "resolution": 8}
    run = jaxgan.train(game, data, "python", latents=Latents(3), **TINY)
    assert run.settings.game.given == ("text",)
    assert digest("python") == wanted
    caption = "a dark bag at the top"
    np.testing.assert_array_equal(run.sample(3, text=caption), jaxgan.load("config").sample(3, text=caption))


@pytest.mark.slow
def test_private_in_python_has_the_same_bits(tmp_path, monkeypatch):
    """A game with a draw of examples and a ledger of its own says so by `Built`."""
    pytest.importorskip("dp_accounting", reason="jaxgan[private] is not installed")
    from jaxgan.data.order import Poisson
    from jaxgan.families.private import OVERFLOW
    from jaxgan.objectives.privacy import Ledger

    monkeypatch.chdir(tmp_path)
    nets = {"network": "mlp", "width": 4, "depth": 1}
    changes = {
        "game": {"latent": 4, "discriminator_turns": 2, "noise_multiplier": 1.0},
        "data": {"split": "test"},
    }
    import tomllib

    table = tomllib.loads((ROOT / "configs" / "private.toml").read_text())
    table |= {"generator": nets, "discriminator": nets}
    for name, values in changes.items():
        table[name] |= values
    for name in ("generator_optimizer", "discriminator_optimizer"):
        table[name] = {"sgd": {"learning_rate": 0.01}}
    first = jaxgan.train(table, run_dir="config", **TINY)
    rules = first.settings.game
    assert isinstance(rules, Private)
    poisson = Poisson.of(2000, 8)
    ledger = Ledger(1.0, poisson.rate, 2, rules.delta, rules.epsilon, OVERFLOW)
    kinds = {"width": 4, "depth": 1, "classes": 10}
    game = Private(**rules.model_dump(exclude={"family"})).game(
        MLPGenerator((28, 28, 1), **kinds),
        MLPDiscriminator(**kinds),
        8,
        10,
        generator_optimizer=optax.sgd(0.01),
        discriminator_optimizer=optax.sgd(0.01),
    )
    mine = Built(game, 10, Latents(4), poisson=poisson, ledger=ledger)
    jaxgan.train(mine, "embedded:test", "python", **TINY)
    assert digest("python") == digest("config")
    found = inspect(Path("python"), print)
    assert found["privacy"] == inspect(Path("config"), print)["privacy"]


# What train takes


def mean_game(settings=None):
    """One number that learns the mean of the data."""

    def loss(state, batch, keys):
        return jnp.mean(jnp.square(state.params["mean"]["x"][None] - batch["real"])), Aux()

    init = lambda key, batch: {"mean": {"params": {"x": jnp.zeros(2)}}}  # noqa: E731
    sample = lambda state, keys, batch: state.params["mean"]["x"][None] + keys.normal((2,))  # noqa: E731
    return Game(init, {"mean": Player(("mean",), loss, optax.sgd(0.5))}, sample)


QUICK = {"steps": 1, "batch_size": 8, "samples": 4, "progress": False}


class Listed:
    """Examples by their numbers."""

    def __init__(self, examples):
        self.examples = examples

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, index):
        return self.examples[index]


@pytest.mark.parametrize(
    "data",
    [
        np.full((8, 2), 2.0),
        jnp.full((8, 2), 2.0),
        {"real": jnp.full((8, 2), 2.0)},
        Listed([{"real": np.full(2, 2.0)}] * 8),
        Listed([(np.full(2, 2.0, np.float32), 0)] * 8),
        lambda settings: np.full((8, 2), 2.0),
    ],
    ids=["array", "device array", "mapping", "examples", "pairs", "function"],
)
def test_sources_of_every_kind(data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = jaxgan.train(mean_game(), data, **{**QUICK, "seed": 7, "name": "toy"})
    assert run.path == Path("runs/toy-s7")
    # the gradient of the mean over two numbers is x - 2, and the rate 1/2
    np.testing.assert_allclose(run.state.params["mean"]["x"], [1.0, 1.0])


def test_configs_by_name_path_table_and_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ways = [
        "mlp",
        str(ROOT / "configs/mlp.toml"),
        ROOT / "configs/mlp.toml",
        config.load(ROOT / "configs/mlp.toml"),
    ]
    found = [config.changed(settings_of(way), {"steps": 1, "every": 5}) for way in ways]
    assert all(each == found[0] for each in found)
    assert (found[0].steps, found[0].evaluation.every) == (1, 5)
    with pytest.raises(InputError, match=r"no config is called 'mlpp'; did you mean mlp?"):
        jaxgan.train("mlpp")
    with pytest.raises(InputError, match="source is of a game of one's own, and a config says that itself"):
        jaxgan.train("mlp", "runs/x")
    with pytest.raises(InputError, match=r"unknown key sample_evry; did you mean sample_every?"):
        jaxgan.train("mlp", sample_evry=3)
    with pytest.raises(InputError, match=r"settings: run.window: Input should be greater than 0, got 0"):
        jaxgan.train("mlp", window=0)
    assert not list(tmp_path.iterdir())


def test_every_key_of_a_run_is_a_keyword():
    fields = [name for part in (config.Run, config.Feed, config.Evaluation) for name in part.model_fields]
    assert sorted(fields) == sorted(public.RunKeys.__annotations__)
    assert len(set(fields)) == len(fields)


@pytest.mark.usefixtures("small_batches")
def test_in_a_thread_there_are_no_signal_handlers(tmp_path, monkeypatch):
    """As in a notebook's background task: Python allows handlers in the main thread alone."""
    monkeypatch.chdir(tmp_path)
    found = []
    thread = threading.Thread(
        target=lambda: found.append(jaxgan.train(mean_game(), np.ones((8, 2)), "run", **QUICK))
    )
    thread.start()
    thread.join()
    assert found[0].step == 1


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, public.Stopped), (signal.SIGTERM, public.Terminated)]
)
def test_a_signal_saves_and_raises(number, error, tmp_path, monkeypatch):
    """The first example is read, and then the signal comes."""
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(number)
    sent = threading.Timer(0, lambda: None)

    class Interrupting(Listed):
        fingerprint = "ones"

        def __getitem__(self, index):
            if (tmp_path / "run" / "config.toml").exists() and not sent.finished.is_set():
                sent.finished.set()
                os.kill(os.getpid(), number)
            return super().__getitem__(index)

    data = Interrupting([{"real": np.ones(2, np.float32)}] * 8)
    how = {**QUICK, "steps": 10_000, "resident": False, "workers": 0, "window": 2}
    with pytest.raises(error) as stopped:
        jaxgan.train(mean_game(), data, "run", **how)
    assert stopped.value.number == number
    if error is public.Terminated:
        assert stopped.value.code == 128 + number
    assert signal.getsignal(number) is handler
    reached = Checkpoints(tmp_path / "run" / "checkpoints").steps()[-1]
    assert 0 < reached < 10_000
    assert (
        jaxgan.load("run", mean_game(), data).resume(steps=10_000).step == 10_000 if reached > 9_900 else True
    )


def test_latents_can_be_walked_where_the_game_takes_them(mine):
    run = trained(mine, latents=Latents(2))
    walk = run.sample(6, walk=3)
    plain = run.sample(6)
    np.testing.assert_allclose(walk[0], plain[0], atol=1e-5)
    assert np.abs(run.sample(200, truncation=0.1, label=0)).max() < np.abs(run.sample(200, label=0)).max()
    other = trained(mine, "other")
    with pytest.raises(InputError, match="this run has no latents"):
        other.sample(6, walk=3)


def test_what_samples_are_made_from_is_read_from_the_game(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = mean_game()
    shifted = plain._replace(
        sample=lambda state, keys, batch: batch["input"] + state.params["mean"]["x"][None]
    )
    data = {"real": np.full((8, 2), 2.0), "input": np.arange(16.0).reshape(8, 2)}
    run = jaxgan.train(shifted, data, "run", **QUICK)
    assert run.settings.game.given == ("input",)
    np.testing.assert_allclose(run.sample(3), data["input"][[0, 2, 5]] + 1)
    copied = plain._replace(sample=lambda state, keys, batch: plain.sample(state, keys, dict(batch)))
    assert jaxgan.train(copied, data, "copied", **QUICK).settings.game.given == ()


# Bad input


def broken(**changes):
    return mean_game()._replace(**changes)


def player(**changes):
    return broken(players={"mean": mean_game().players["mean"]._replace(**changes)})


def vector_loss(state, batch, keys):
    return jnp.square(state.params["mean"]["x"][None] - batch["real"]).sum(1), Aux()


def growing(state, batch, keys):
    return state.params["mean"]["x"].sum(), Aux(memory=jnp.zeros((4, 3)))


POINTS = np.ones((16, 2))


@pytest.mark.parametrize(
    ("game", "data", "said"),
    [
        (
            broken(sample=None),
            POINTS,
            r"the game has no sample: Game\(sample=...\) takes a function, and this is a None",
        ),
        (broken(init=3), POINTS, "the game has no init"),
        (broken(players={}), POINTS, "the game has no players"),
        (broken(players={"a": 3}), POINTS, "player 'a' is a int, and not a jaxgan.Player"),
        (
            broken(players={"a/b": mean_game().players["mean"]}),
            POINTS,
            "player 'a/b': a name of a player must have no '/'",
        ),
        (player(moves=()), POINTS, "player 'mean' moves nothing; name the networks that it trains in moves"),
        (player(moves="mean"), POINTS, r"player 'mean' moves 'mean'; give a tuple of names: \('mean',\)"),
        (
            player(moves=("nobody",)),
            POINTS,
            r"cannot be played: .* names 'nobody', but init makes only \['mean'\]",
        ),
        (
            player(loss=vector_loss),
            POINTS,
            r"player 'mean' has a loss of shape \[8\], which must be one number",
        ),
        (
            player(loss=lambda *_: jnp.zeros(())),
            POINTS,
            r"its loss must give the value and a jaxgan.Aux, such as",
        ),
        (
            player(loss=lambda *_: (jnp.int32(1), Aux())),
            POINTS,
            "has a loss of int32, which must be a floating",
        ),
        (
            broken(init=lambda key, batch: jnp.zeros(2)),
            POINTS,
            "the game's init gives a .*, and not the variables of",
        ),
        (
            broken(init=lambda key, batch: {"mean": jnp.zeros(2)}),
            POINTS,
            "for 'mean', and not variables with 'params'",
        ),
        (
            broken(sample=lambda state, keys, batch: jnp.zeros((len(keys.example), 3))),
            POINTS,
            r"the game's sample makes \[8, 3\] for 8 keys, and examples of the data make \[8, 2\]",
        ),
        (
            broken(
                memory=lambda batch: jnp.zeros(3),
                players={
                    "mean": mean_game()
                    .players["mean"]
                    ._replace(loss=growing, remember=lambda memory, new: new)
                },
            ),
            POINTS,
            r"a step makes state.memory float32 \[4, 3\], which was float32 \[3\] before",
        ),
        (3, POINTS, "a game is a jaxgan.Game, or a function of the settings that gives one, and no int"),
        (lambda settings: 3, POINTS, "a game must be a jaxgan.Game or a jaxgan.Built, and is a int"),
        (mean_game(), {"real": [[1.0, 2.0], [3.0]]}, "real"),
        (mean_game(), Listed([np.ones(2), np.ones(3)] * 4), "example 1"),
        (mean_game(), {"x": POINTS}, "'real'"),
        (mean_game(), np.ones((2, 2)), "batch_size is 8, more than the 2 examples of the data"),
        (mean_game(), "embeded", "no source is called 'embeded'; there are .*embedded"),
        (mean_game(), {"source": "folder", "path": "nowhere", "resolution": 8}, "nowhere"),
        (mean_game(), None, "the examples of this run came from Python|source"),
    ],
)
def test_bad_games_and_data_are_one_line_and_write_nothing(game, data, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said) as refused:
        jaxgan.train(game, data, "run", **QUICK)
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


def test_bad_calls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    game, data = mean_game(), POINTS
    for how, said in (
        ({"steps": None}, "steps is missing"),
        ({"settings": {"rate": np.float32(1)}}, r"settings\['rate'\] is of type float32, and not plain data"),
        ({"settings": {"rate": float("nan")}}, r"settings\['rate'\] is nan; it must be finite"),
        (
            {"settings": {"f": [print]}},
            r"settings\['f'\]\[0\] is of type builtin_function_or_method, and not plain",
        ),
        ({"seeds": [1, 1]}, "none of them twice"),
        ({"seed": 1, "seeds": [1]}, "seed and seeds exclude each other"),
        ({"conditional": True}, "samples are made of labels, and the data has no classes"),
        ({"window": "3"}, "run.window: Input should be a valid integer"),
        ({"name": "a/b"}, "name: String should match"),
    ):
        with pytest.raises(InputError, match=said):
            jaxgan.train(game, data, **{**QUICK, "run_dir": "run", **how})
    assert not list(tmp_path.iterdir())
    run = jaxgan.train(game, data, "run", **QUICK)
    with pytest.raises(InputError, match="run has no checkpoint of step 5; there are 1"):
        run.checkpoint(5)
    with pytest.raises(InputError, match="no class is called 'cat'; there are none"):
        run.sample(1, label="cat")
    with pytest.raises(InputError, match="this run makes no samples of classes; leave out label"):
        run.sample(1, label=0)
    with pytest.raises(InputError, match="n is 0; it must be at least 1"):
        run.sample(0)
    with pytest.raises(InputError, match=r"run is a run: jaxgan.load\('run'\).resume\(\) goes on with it"):
        jaxgan.train("run")
    with pytest.raises(InputError, match="nowhere is not a run"):
        jaxgan.load("nowhere")
    with pytest.raises(InputError, match=r"other game.settings.rate"):
        jaxgan.train(game, data, "run", settings={"rate": 2}, **QUICK)
    with pytest.raises(InputError, match="the data is not the data"):
        jaxgan.train(game, 2 * data, "run", **QUICK)


def test_a_damaged_checkpoint_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = jaxgan.train(mean_game(), POINTS, "run", **{**QUICK, "steps": 2, "checkpoint_every": 1})
    (tmp_path / "run/checkpoints/1/sha256.json").write_text("{")
    with pytest.raises(InputError, match=r"checkpoint .*1 is damaged: sha256.json cannot be read"):
        run.checkpoint(1)


# The package


def test_the_face_is_imported_when_it_is_asked_for():
    code = (
        "import sys, jaxgan; assert not {'jax', 'flax'} & set(sys.modules); "
        "assert set(jaxgan.__all__) <= set(dir(jaxgan)); "
        "print([name for name in jaxgan.__all__ if getattr(jaxgan, name, None) is None])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    with pytest.raises(AttributeError, match="module 'jaxgan' has no attribute 'trane'"):
        _ = jaxgan.trane  # pyright: ignore[reportAttributeAccessIssue]


def test_each_public_name_says_what_it_is():
    for name in jaxgan.__all__:
        if not name.startswith("__"):
            assert re.match(r"\w", getattr(jaxgan, name).__doc__ or ""), name


# Where a game comes from


SPLIT = """
import functools
import jax
import jax.numpy as jnp
import optax
from toy_parts import init, sample
from jaxgan import Aux, Game, Player

def loss(state, batch, keys, rate):
    return rate * jnp.mean(jnp.square(state.params["mean"]["x"][None] - batch["real"])), Aux()

jitted = jax.jit(functools.partial(loss, rate=1.0))
game = Game(init, {"mean": Player(("mean",), loss=jitted, optimizer=optax.sgd(0.5))}, sample)
"""
PARTS = """
import jax.numpy as jnp

def init(key, batch):
    return {"mean": {"params": {"x": jnp.zeros(2)}}}

def sample(state, keys, batch):
    return state.params["mean"]["x"][None] + keys.normal((2,))
"""


def test_every_file_of_a_game_is_kept(tmp_path, monkeypatch):
    """Also of losses that are compiled and partial, in another file than `init`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imports, "_named", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "toy_parts.py").write_text(PARTS)
    (tmp_path / "toy_split.py").write_text(SPLIT)
    try:
        module = imports.bring("toy_split.py")
        run = jaxgan.train(module.game, POINTS, "run", **QUICK)
        names = [Path(origin["file"]).name for origin in run.manifest["origins"]]
        assert names == ["toy_parts.py", "toy_split.py"]
        (tmp_path / "toy_split.py").write_text(SPLIT.replace("rate=1.0", "rate=2.0"))
        again = another_process(module)
        with pytest.raises(InputError, match="run was trained with other files"):
            jaxgan.train(again.game, POINTS, "run", **{**QUICK, "steps": 2})
        # a file that was edited after it was imported says nothing of what runs
        (tmp_path / "toy_split.py").write_text(SPLIT.replace("jnp.mean", "jnp.sum"))
        provenance._seen.clear()
        edited = jaxgan.train(again.game, POINTS, "edited", **QUICK)
        assert [origin["sha256"] for origin in edited.manifest["origins"]][1] == "unverified"
    finally:
        for name in ("toy_split", "toy_parts"):
            sys.modules.pop(name, None)


def test_classes_that_were_named_are_known_when_the_run_is_loaded(mine):
    run = trained(mine, steps=3, classes=["a", "b", "c"])
    assert main(["train", "run", "--import", "toy_mine.py", "--steps", "4", "--quiet"]) == 0
    loaded = jaxgan.load("run", mine.game, mine.source)
    np.testing.assert_array_equal(loaded.sample(4, label="b"), run.sample(4, label=1))
    assert loaded.resume(steps=5, progress=False).step == 5


def test_data_are_made_of_the_settings_that_are_stored(tmp_path, monkeypatch):
    """Also where a command changes them for a new run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(imports, "_named", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    more = "\n\ndef source(settings):\n    import numpy as np\n    return np.full((settings['n'], 2), 1.0)\n"
    (tmp_path / "toy_parts.py").write_text(PARTS)
    (tmp_path / "toy_split.py").write_text(
        SPLIT.replace("game = Game(", "made = Game(") + "\n\ndef game(settings):\n    return made\n" + more
    )
    try:
        module = imports.bring("toy_split.py")
        how = {**QUICK, "settings": {"n": 16}}
        jaxgan.train(module.game, module.source, "first", **how)
        words = [
            "train",
            "first",
            "--import",
            "toy_split.py",
            "--run-dir",
            "second",
            "--game.settings.n",
            "24",
        ]
        assert main([*words, "--quiet"]) == 0
        assert json.loads(Path("second/manifest.json").read_text())["examples"] == 24
        assert main(["report", "first", "second", "--import", "toy_split.py", "--out", "both.html"]) == 0
    finally:
        for name in ("toy_split", "toy_parts"):
            sys.modules.pop(name, None)


def test_what_is_said_of_latents_holds(mine):
    mixture = Latents(2, "mixture", 3)
    run = trained(mine, latents=mixture, steps=1)
    assert run.built.latents == mixture
    other = Built(mine.game({"rate": 0.1}), latents=Latents(2))
    assert jaxgan.train(other, mine.source, "b", **{**mine.HOW, "steps": 1}).built.latents == Latents(2)
    said = jaxgan.train(other, mine.source, "c", latents=mixture, **{**mine.HOW, "steps": 1})
    assert said.built.latents == mixture


def test_a_run_sees_what_was_trained_since(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = jaxgan.train(mean_game(), POINTS, "run", **QUICK)
    before = run.sample(2)
    shutil.rmtree("run")
    again = jaxgan.train(mean_game(), POINTS, "run", seed=3, **QUICK)
    np.testing.assert_array_equal(run.sample(2), again.sample(2))
    assert run.settings.seed == 3
    assert before.shape == (2, 2)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"given": ["nope"]}, "given names 'nope', and the data has real, label"),
        ({"given": "real"}, r"given is 'real'; give a list of names: \['real'\]"),
        ({"shown": {"M": "mean/loss"}}, r"shown\['M'\] is 'mean/loss'; give a list of names"),
        ({"latents": 4}, "latents is a int; give jaxgan.Latents"),
        ({"settings": 3}, "settings is a int; give a mapping"),
        ({"seeds": [0.5, 1]}, "seeds are .*; they must be whole numbers"),
    ],
)
def test_words_of_the_wrong_kind(how, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said):
        jaxgan.train(mean_game(), POINTS, **{**QUICK, "run_dir": "run", **how})
    assert not list(tmp_path.iterdir())


def test_samples_that_need_what_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plain = mean_game()

    def needs(name):
        return plain._replace(
            sample=lambda state, keys, batch: batch[name] + plain.sample(state, keys, batch)
        )

    with pytest.raises(InputError, match=r"reads batch\['latent'\] always, and it is there for walks alone"):
        jaxgan.train(needs("latent"), POINTS, "run", **QUICK)
    with pytest.raises(InputError, match="samples are made of labels, and the data has no classes"):
        jaxgan.train(needs("label"), POINTS, "run", **QUICK)
    either = plain._replace(
        sample=lambda state, keys, batch: (
            plain.sample(state, keys, batch) + (1.0 if "label" in batch else 0.0)
        )
    )
    assert not jaxgan.train(either, POINTS, "either", **QUICK).settings.game.conditional
    compiled = plain._replace(sample=jax.jit(plain.sample))
    assert jaxgan.train(compiled, POINTS, "compiled", **QUICK).sample(3).shape == (3, 2)


def test_one_score_by_its_name_and_bad_numbers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = jaxgan.train(mean_game(), POINTS, "run", **QUICK)
    assert [line["score"] for line in run.evaluate("frechet", num=16, progress=False)] == ["frechet"]
    for how, said in (({"truncation": 0.0}, "truncation is 0.0"), ({"standing": -1}, "standing is -1")):
        with pytest.raises(InputError, match=said):
            run.sample(2, **how)
        with pytest.raises(InputError, match=said):
            run.evaluate("frechet", **how)
    with pytest.raises(InputError, match="num is 1; it must be at least 2"):
        run.evaluate("frechet", num=1)
    for how in ({"walk": 0}, {"columns": 0}):
        with pytest.raises(InputError, match="they must be at least 1"):
            run.sample(2, **how)


def test_the_same_call_takes_no_steps_back(tmp_path, monkeypatch, capfd):
    """A script that trains and then resumes can be run again."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        run = jaxgan.train(mean_game(), POINTS, "run", **QUICK)
        assert run.resume(steps=3, progress=False).step == 3
    assert "run was started for 3 steps, more than the 1 that are asked for now" in capfd.readouterr().err


def test_more_mistakes_are_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def reads(state, batch, keys):
        return jnp.sum(batch["x"]), Aux()

    def reports(state, batch, keys):
        return state.params["mean"]["x"].sum(), Aux({"real": jnp.zeros(())})

    def rated(settings):
        return mean_game(settings["rate"])

    def pair(state, batch, keys):
        return state.params["mean"]["x"].sum(), {}

    for game, said in (
        (player(loss=reads), r"its loss reads 'x', and if that is of the batch, it has label, real"),
        (player(loss=reports), r"player 'mean' reports statistics of \['real'\].*metrics are Aux\(metrics="),
        (rated, r"the game reads settings\['rate'\], which is not among the settings"),
        (player(loss=pair), "gives a pair whose second is a dict"),
    ):
        with pytest.raises(InputError, match=said):
            jaxgan.train(game, POINTS, "run", **QUICK)
    with pytest.raises(InputError, match="the game comes first, then the data"):
        jaxgan.train({"real": POINTS}, mean_game(), "run")  # pyright: ignore[reportArgumentType]
    with pytest.raises(InputError, match=r"unknown key step; did you mean steps\?"):
        jaxgan.train(mean_game(), POINTS, "run", step=20)  # pyright: ignore[reportCallIssue]
    assert not list(tmp_path.iterdir())
