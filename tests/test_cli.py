"""The command line: what it prints, the codes it ends with, and that a mistake writes nothing."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick import files_up_to, slow

from jaxgan import config
from jaxgan.cli import main
from jaxgan.errors import InputError
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.directory import RunDirectory

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")

CONFIGS = Path(__file__).parents[1] / "configs"
# Small enough for the eight devices of these tests. The default config is a DCGAN.
TINY = [
    *("--quiet", "--data.split", "test", "--batch-size", "8", "--run.samples", "4", "--game.latent", "3"),
    *("--generator.width", "4", "--discriminator.width", "4", "--game.conditional", "false"),
    *("--run.window", "2"),  # also of runs of three steps, which are then of one program with those of two
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 2 steps. Tests that might change it take `run`, a copy."""
    run = tmp_path_factory.mktemp("cli") / "run"
    assert main(["train", *TINY, "--steps", "2", "--run-dir", str(run)]) == 0
    return run


@pytest.fixture
def run(trained, tmp_path):
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Default run directories are below the working directory."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def listing(folder):
    """Every file with its contents, every folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture
def refused(tmp_path, capfd):
    """Runs a command that must end with 2, one line on stderr and nothing written; returns the line."""

    def check(*arguments):
        before = listing(tmp_path)
        capfd.readouterr()
        code = main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        assert (code, out) == (2, "")
        assert listing(tmp_path) == before
        assert err.startswith("jaxgan: error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err.removeprefix("jaxgan: error: ").removesuffix("\n")

    return check


# A run


def test_train_makes_the_run_directory(trained):
    names = sorted(path.name for path in trained.iterdir())
    assert names == [
        ".lock",
        "checkpoints",
        "config.toml",
        "curves.png",
        "manifest.json",
        "metrics.jsonl",
        "samples",
    ]
    assert sorted(p.name for p in (trained / "samples").iterdir()) == [
        "step_00000000.png",
        "step_00000002.png",
    ]
    with Image.open(trained / "samples" / "step_00000002.png") as sheet:
        assert sheet.size == (2 * 30 - 2, 2 * 30 - 2)
    rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2]
    settings = config.load(trained / "config.toml")
    assert settings == config.load(
        CONFIGS / "default.toml",
        {
            "steps": "2",
            "data.split": "test",
            "batch_size": "8",
            "run.samples": "4",
            "game.conditional": "false",
            "run.window": "2",
            "game.latent": "3",
            "generator.width": "4",
            "discriminator.width": "4",
        },
    )


def test_the_same_command_again_has_nothing_to_do(run, capfd):
    before = {name: data for name, data in listing(run).items() if name != "manifest.json"}
    assert main(["train", *TINY, "--steps=2", "--run-dir", str(run)]) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert f"jaxgan: resuming {run} from step 2\n" in err
    assert f"jaxgan: trained to step 2; see {run}/samples and {run}/curves.png\n" in err
    after = listing(run)
    for name in before:
        if not name.startswith(("curves", "samples")):
            assert after[name] == before[name], name
    assert json.loads(after["manifest.json"])["resumed_from_step"] == 2


def test_steps_may_grow_and_the_default_run_directory_is_of_name_and_seed(run, capfd):
    default = Path("runs/default-s0")
    default.parent.mkdir()
    shutil.copytree(run, default)
    assert main(["train", *TINY, "--steps", "3"]) == 0
    assert "resuming runs/default-s0 from step 2" in capfd.readouterr().err
    assert [row["step"] for row in RunDirectory(default).read_metrics()] == [1, 2, 3]
    assert Checkpoints(default / "checkpoints").steps() == [2, 3]
    assert config.load(default / "config.toml").steps == 3


# inspect


def state_sha256(table):
    """As the design defines it: path, dtype, shape and bytes of every leaf, in the order of paths."""
    text = b""
    for name in sorted(table):
        leaf = table[name]
        text += (
            name.encode() + b"\n" + leaf.dtype.name.encode() + b"\n" + str(list(leaf.shape)).encode() + b"\n"
        )
        text += leaf.tobytes("C")
    return hashlib.sha256(text).hexdigest()


def test_inspect_json(trained, capfd):
    capfd.readouterr()
    assert main(["inspect", str(trained), "--json"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    found = json.loads(out)
    assert (found["run"], found["name"], found["seed"]) == (str(trained), "default", 0)
    assert (found["step"], found["steps"], found["skipped"], found["checkpoints"]) == (2, 2, 0, [2])
    # 4x4 kernels from 3 latents over 7x7 maps of 8 and 14x14 of 4 channels; and batch norm's scales and biases.
    generator = 3 * 7 * 7 * 8 + 2 * 8 + 16 * 8 * 4 + 2 * 4 + 16 * 4 * 1 + 1
    discriminator = 16 * 1 * 4 + 4 + 16 * 4 * 8 + 2 * 8 + 7 * 7 * 8 + 1
    assert found["parameters"] == {"generator": generator, "discriminator": discriminator}
    manifest = json.loads((trained / "manifest.json").read_text())
    for key in ("versions", "devices", "git_commit", "data_fingerprint"):
        assert found[key] == manifest[key]
    assert found["devices"] == ["cpu:cpu"] * 8
    assert found["versions"]["jax"]
    assert len(found["data_fingerprint"]) == 64
    settings = config.load(trained / "config.toml")
    text = json.dumps(settings.model_dump(), sort_keys=True)
    assert found["config_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    table = Checkpoints(trained / "checkpoints").read(2)
    assert {name.split("/")[0] for name in table} == {
        *("step", "key", "params", "stats", "ema", "opt", "skipped", "skipped_in_a_row")
    }
    assert found["state_sha256"] == state_sha256(table)


def test_inspect_names_a_change_of_one_bit(trained):
    table = Checkpoints(trained / "checkpoints").read(2)
    whole = state_sha256(table)
    name = "params/generator/Dense_0/kernel"
    changed = table[name].copy()
    changed.view(np.uint32)[0, 0] ^= 1
    assert state_sha256({**table, name: changed}) != whole
    assert state_sha256({**table, name: table[name].T}) != whole


def test_inspect_for_people(trained, capfd):
    capfd.readouterr()
    assert main(["inspect", str(trained)]) == 0
    lines = capfd.readouterr().out.splitlines()
    entries = {line[:18].strip(): line[18:] for line in lines}
    assert entries["step"] == "2"
    assert entries["parameters"] == "generator 1,777, discriminator 989" or entries["parameters"] == (
        "discriminator 989, generator 1,777"
    )
    assert len(entries["state sha256"]) == 64


def test_inspect_says_that_a_damaged_checkpoint_is_left_out(run, capfd):
    shutil.copytree(run / "checkpoints" / "2", run / "checkpoints" / "5")
    (run / "checkpoints" / "5" / "manifest.ocdbt").write_bytes(b"")
    capfd.readouterr()
    assert main(["inspect", str(run), "--json"]) == 0
    out, err = capfd.readouterr()
    assert json.loads(out)["step"] == 2
    assert err == (
        f"jaxgan: checkpoint {run}/checkpoints/5 is left out: manifest.ocdbt has changed since it was written\n"
    )


# Mistakes in the command and the config


def test_no_such_config(refused, tmp_path):
    near = CONFIGS / "defualt.toml"
    assert refused("train", near) == f"no such config: {near}; did you mean {CONFIGS / 'default.toml'}?"
    assert (
        refused("train", tmp_path / "x") == f"no such config: {tmp_path / 'x'}; give the path of a .toml file"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--generator.widht", "3"], "unknown key generator.widht; did you mean width?"),
        (["--batch-szie=8"], "unknown key batch_szie; did you mean batch_size?"),
        (["--batch-size", "8.0"], "batch_size: Input should be a valid integer, got 8.0"),
        (["--batch-size", "0"], "batch_size: Input should be greater than 0, got 0"),
        (["--batch-size=-8"], "batch_size: Input should be greater than 0, got -8"),
        (["--batch-size", "-8"], "batch_size: Input should be greater than 0, got -8"),
        (["--generator.width", "0"], "generator.width: Input should be greater than 0, got 0"),
        (["--data.resolution", "-1"], "data.resolution: Input should be greater than 0, got -1"),
        (["--steps", "0"], "steps: Input should be greater than 0, got 0"),
        (["--seed", "-1"], "seed: Input should be greater than or equal to 0, got -1"),
    ],
)
def test_mistakes_in_the_config(refused, arguments, line):
    assert refused("train", *arguments) == f"{CONFIGS / 'default.toml'}: {line}"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train", "--steps", "abc"], "argument --steps: invalid int value: 'abc'; see jaxgan train --help"),
        (["train", "--seed"], "argument --seed: expected one argument; see jaxgan train --help"),
        (
            ["train", "--batch-size"],
            "--batch-size needs a value; give --batch-size VALUE or --batch-size=VALUE",
        ),
        (
            ["train", "--batch-size", "--steps", "3"],
            "--batch-size needs a value; give --batch-size VALUE or --batch-size=VALUE",
        ),
        (["train", "a.toml", "b.toml"], "unrecognized arguments: b.toml; see jaxgan --help"),
        (["sample", "x"], "the following arguments are required: --out; see jaxgan sample --help"),
        (["inspect", "x", "--batch-size", "3"], "unrecognized arguments: --batch-size 3; see jaxgan --help"),
        ([], "the following arguments are required: COMMAND; see jaxgan --help"),
    ],
)
def test_mistakes_in_the_command(refused, arguments, line):
    assert refused(*arguments) == line


@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        ("5:5", "--seeds is 5:5; 5:5 is empty, as a range ends before its second number"),
        ("8:0", "--seeds is 8:0; 8:0 is empty, as a range ends before its second number"),
        ("0,3,0", "--seeds is 0,3,0; it names 0 twice"),
        ("0:4,2", "--seeds is 0:4,2; it names 2 twice"),
        ("-1", "--seeds is -1; give a range such as 0:8 (0 to 7) or a list such as 0,3,5"),
        ("0:-1", "--seeds is 0:-1; give a range such as 0:8 (0 to 7) or a list such as 0,3,5"),
        ("a", "--seeds is a; give a range such as 0:8 (0 to 7) or a list such as 0,3,5"),
        ("", "--seeds is ; give a range such as 0:8 (0 to 7) or a list such as 0,3,5"),
        ("1.5", "--seeds is 1.5; give a range such as 0:8 (0 to 7) or a list such as 0,3,5"),
        ("0:", "--seeds is 0:; give a range such as 0:8 (0 to 7) or a list such as 0,3,5"),
        ("0:4000000000", "--seeds is 0:4000000000; give at most 1024 seeds at once"),
        ("0:1000,2000:2025", "--seeds is 0:1000,2000:2025; give at most 1024 seeds at once"),
        ("4294967296", "--seeds is 4294967296; seeds must be less than 4294967296"),
    ],
)
def test_seeds_that_are_none(refused, seeds, line):
    assert refused("train", *TINY, f"--seeds={seeds}") == line


def test_seeds_with_what_they_exclude(refused):
    line = refused("train", *TINY, "--seeds", "0:2", "--seed", "3")
    assert line == "--seed and --seeds exclude each other; give one of them"
    line = refused("train", *TINY, "--seeds", "0:2", "--coordinator", "127.0.0.1:1")
    assert line == "--seeds trains in one process; leave out --coordinator, --processes and --process"


def test_one_run_of_another_config_among_seeds(refused, run):
    folder = Path("runs")
    folder.mkdir()
    shutil.copytree(run, folder / "default-s1")
    line = refused("train", *TINY, "--steps", "2", "--seeds", "0:2")
    assert line == (
        "runs/default-s1 is a run of another config, with other seed; give another --run-dir or seed"
    )


def test_an_unknown_command_is_told_the_known_ones(refused):
    line = refused("trian")
    assert line.startswith("argument COMMAND: invalid choice: 'trian' (choose from ")
    assert all(name in line for name in ("train", "sample", "prepare", "inspect"))


# Mistakes in the data


def test_a_batch_that_the_devices_cannot_share(refused):
    assert refused("train", *TINY, "--batch-size", "12") == (
        "batch_size is 12, which 8 devices cannot share evenly; use a multiple of 8, such as 16"
    )


def test_a_batch_larger_than_the_data(refused):
    assert refused("train", *TINY, "--batch-size", "2008") == (
        "batch_size is 2008, more than the 2000 examples of the data; use a smaller one"
    )


def test_an_unsupported_resolution(refused):
    assert refused("train", *TINY, "--data.resolution", "30") == (
        "data.resolution is 30, but generator.network dcgan supports only 16, 28, 32, 64, 128, 256"
    )


@pytest.fixture
def folder(tmp_path, rng):
    """Sixteen images in two classes."""
    for i in range(16):
        path = tmp_path / "images" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (20, 20, 3), np.uint8)).save(path)
    return tmp_path / "images"


def on(folder):
    """A config that trains on a folder of images."""
    Path("folder.toml").write_text(
        f'name = "folder"\nsteps = 2\nbatch_size = 8\n[data]\nsource = "folder"\npath = {json.dumps(str(folder))}\n'
        'resolution = 16\n[generator]\nnetwork = "mlp"\ndepth = 1\nwidth = 4\n'
        '[discriminator]\nnetwork = "mlp"\ndepth = 1\nwidth = 4\n'
    )
    return ["train", "folder.toml", "--quiet"]


def test_an_empty_image_folder(refused, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "readme.txt").write_text("")
    assert refused(*on(tmp_path / "images")).startswith(f"{tmp_path / 'images'}: holds no images ")
    assert refused(*on(tmp_path / "none")).startswith(f"{tmp_path / 'none'}: no such folder; ")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: os.truncate(path, path.stat().st_size // 2), "cannot be read as an image: "),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_text("hello"), "not an image that Pillow can read"),
    ],
    ids=["truncated", "empty", "text"],
)
def test_an_image_that_cannot_be_read_is_named(refused, folder, damage, reason):
    damage(folder / "b" / "7.png")
    command = on(folder)
    line = refused(*command, "--data.strict", "true")
    assert line.startswith(f"{folder}/b/7.png: {reason}")
    assert line.endswith("; replace or remove it, or leave out data.strict")


def test_images_that_cannot_be_read_are_left_out(folder, capsys):
    """The first ten by name, all by number; what is left out is part of the run."""
    for i in range(11):
        (folder / "a" / f"bad{i:02d}.png").write_bytes(b"")
    os.mkfifo(folder / "b" / "pipe.png")
    (folder / "b" / "notes.txt").touch()
    command = [*on(folder), "--steps", "1"]
    assert main(command) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert said == [
        *(f"jaxgan: left out {folder}/a/bad{i:02d}.png: the file is empty" for i in range(10)),
        f"jaxgan: {folder}: 13 files left out: 12 unreadable, 1 of another kind",
    ]
    manifest = json.loads(Path("runs/folder-s0/manifest.json").read_text())
    assert manifest["examples"] == 16
    (folder / "a" / "bad10.png").unlink()
    assert main([*command, "--steps", "2"]) == 2
    assert "the data is not the data" in capsys.readouterr().err


def test_conditional_on_data_without_classes(refused, folder):
    for path in folder.glob("*/*.png"):
        path.rename(folder / path.name)
    for name in "ab":
        (folder / name).rmdir()
    command = on(folder)
    assert refused(*command, "--game.conditional", "true").startswith(
        "game.conditional is true, but the data has no classes"
    )


# Mistakes with run directories


def test_a_run_of_another_config_names_the_keys(refused, run):
    line = refused("train", *TINY, "--steps", "2", "--run-dir", run, "--seed", "1", "--game.loss", "minimax")
    assert (
        line
        == f"{run} is a run of another config, with other seed, game.loss; give another --run-dir or seed"
    )


def test_steps_do_not_shrink(refused, run):
    line = refused("train", *TINY, "--steps", "1", "--run-dir", run)
    assert line == f"{run} was started for 2 steps; --steps may grow, not shrink to 1"


def test_a_run_directory_below_a_file(refused, tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        line = refused("train", *TINY, "--run-dir", path)
        assert line.startswith(f"cannot write to the run directory {path}: ")
        assert line.endswith("; give another --run-dir")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_run_directory_without_permission(refused, run):
    run.chmod(0o555)
    try:
        line = refused("train", *TINY, "--steps", "2", "--run-dir", run)
    finally:
        run.chmod(0o755)
    assert line.startswith(f"cannot write to the run directory {run}: ")


def test_a_run_directory_in_use(refused, run):
    code = (
        "import sys; from pathlib import Path; from jaxgan.runs.directory import RunDirectory;"
        "run = RunDirectory(Path(sys.argv[1])); run.acquire(); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout
        other.stdout.readline()
        try:
            line = refused("train", *TINY, "--steps", "2", "--run-dir", run)
        finally:
            other.kill()
    assert line == f"{run} is in use by another process; wait for it, or give another --run-dir"


def test_a_folder_that_is_no_run(refused, tmp_path):
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.tex").write_text("...")
    line = refused("train", *TINY, "--run-dir", folder)
    assert line == f"{folder} is not empty and not a run (it holds chapter.tex); give another --run-dir"
    for command in (["sample", folder, "--out", tmp_path / "a.png"], ["inspect", folder, "--json"]):
        line = refused(*command)
        assert line == f"{folder} is not a run: it has no config.toml; give a folder that jaxgan train made"


def test_a_run_without_a_checkpoint(refused, run, tmp_path):
    shutil.rmtree(run / "checkpoints")
    for command in (["sample", run, "--out", tmp_path / "a.png"], ["inspect", run]):
        assert refused(*command) == (
            f"{run} has no checkpoint yet; train it further, or lower run.checkpoint_every"
        )


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.PNG.txt"])
def test_a_sample_of_another_ending(refused, trained, tmp_path, name):
    line = refused("sample", trained, "--out", tmp_path / name)
    assert line == f"--out {tmp_path / name} must end in .png (a sheet) or .npz (arrays)"


def test_a_sample_to_where_none_can_be(refused, trained, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    out = tmp_path / "file" / "a.png"
    assert refused("sample", trained, "--out", out).startswith(f"cannot write {out}: ")
    out = tmp_path / "folder.png"
    assert refused("sample", trained, "--out", out) == f"--out {out} is a folder; give the name of a file"


def test_what_the_data_loses_is_said_once(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    for i in range(8):
        Image.new("L", (28, 28), 9 * i).save(tmp_path / "set" / f"{i}.png")
        (tmp_path / "set" / f"{i}.txt").write_text(f"a caption of which bytes are cut, number {i}\n")
    data = ("--data.source", "captions", "--data.path", str(tmp_path / "set"), "--data.text_length", "20")
    shape = ("--data.resolution", "28", "--data.channels", "1")
    left_out = ("--data.split", "test")
    tiny = [x for x in TINY if x not in left_out]
    assert main(["train", *tiny, *data, *shape, "--steps", "1", "--run-dir", str(tmp_path / "run")]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "captions" in line]
    line = "8 of 8 captions are cut to 20 bytes, and 7 more are equal to others by that"
    assert said == [f"jaxgan: {line}; --data.text_length 42 keeps them whole"]


@pytest.mark.parametrize("platform", ["cuda", slow("nonsense")])
def test_a_platform_that_is_not_there(tmp_path, platform):
    environment = {**os.environ, "JAX_PLATFORMS": platform, "CUDA_VISIBLE_DEVICES": "-1"}
    command = [sys.executable, "-m", "jaxgan", "train", *TINY, "--steps", "1", "--run-dir", tmp_path / "run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"jaxgan: error: JAX finds no devices of JAX_PLATFORMS={platform}")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["made.npz", "made.png"])
def test_a_sample_to_a_full_disk(trained, tmp_path, name, capsys):
    """The file that was there stays, nothing is left beside it, and it can be made anew once there is room."""
    out = tmp_path / "out" / name
    command = ["sample", str(trained), "--num", "8", "--out", str(out)]
    assert main(command) == 0
    before = listing(out.parent)
    assert set(before) == {name}
    capsys.readouterr()
    with files_up_to(200):
        assert main(command) == 1
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last == f"jaxgan: error: cannot write {out}: File too large; free space there and run again"
    assert listing(out.parent) == before
    assert main(command) == 0


@pytest.mark.parametrize(
    ("option", "value", "least", "most"),
    [
        *[
            ("num", "0", 1, 2**31),
            ("num", "-3", 1, 2**31),
            ("seed", "-1", 0, 2**32),
            ("columns", "1", 2, 2**16),
        ],
        *[("seed", str(2**64), 0, 2**32), ("columns", "100000000000", 2, 2**16)],
    ],
)
def test_sample_sizes(refused, trained, tmp_path, option, value, least, most):
    line = refused("sample", trained, "--out", tmp_path / "a.png", f"--{option}", value)
    assert line == f"--{option} is {value}; it must be at least {least} and less than {most}"


# --debug, help


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "--debug", "--batch-size", "0"],
        ["train", "--batch-size", "--debug"],
        ["inspect", "nowhere", "--debug"],
    ],
)
def test_debug_raises_the_mistake_itself(arguments, capfd):
    with pytest.raises(InputError):
        main(arguments)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"], ["sample", "-h"]])
def test_help_ends_with_0(arguments, capfd):
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0
    assert "jaxgan" in capfd.readouterr().out


def test_the_module_runs_and_returns_the_code():
    """What the shell sees, once."""
    done = subprocess.run(
        [sys.executable, "-m", "jaxgan", "inspect", "nowhere"], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 2
    assert done.stderr == (
        "jaxgan: error: nowhere is not a run: it has no config.toml; give a folder that jaxgan train made\n"
    )
