"""The scripts of examples/ are short, and make runs like any others: killed, resumed, sampled, scored and reported."""

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quick import quick_flags

from jaxgan.experiment import own
from jaxgan.families import GAN
from jaxgan.networks import MLPDiscriminator, MLPGenerator

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
SMALL = {
    "began": {"width": 8, "code": 4},
    "eight_gaussians": {"width": 8, "points": 200},
    "own_networks": {"width": 2, "latent": 4},
    "sweep": {"width": 8, "points": 200},
    "three_players": {"width": 8, "latent": 4},
    "unrolled": {"width": 8, "points": 200, "unroll": 2},
}
"""For each script what makes it small. A new one joins by a line."""
RUN = {
    "batch_size": 8,
    "samples": 10,
    "sample_every": 3,
    "checkpoint_every": 3,
    "window": 3,
    "progress": False,
}

BEGIN = f"""
import os, sys, jaxgan
from pathlib import Path
from jaxgan import imports
from jaxgan.runs.checkpoint import Checkpoints

module = imports.bring(sys.argv[1])
small = {{**module.SETTINGS, **{SMALL!r}[module.__name__]}}
rest = {{"shown": module.SHOWN}} if hasattr(module, "SHOWN") else {{}}

def train(path, steps):
    folder = dict(source="folder", path="photos", resolution=32)
    source = getattr(module, "source", folder if hasattr(module, "FOLDER") else "embedded")
    return jaxgan.train(module.game, source, path, steps=steps, settings=small, **rest, **{RUN!r})
"""
KILLED = """
save = Checkpoints.save
def save_then_die(self, *given):
    save(self, *given)
    self.wait()
    os.kill(os.getpid(), 9)
Checkpoints.save = save_then_die
train("killed", 6)
"""
GOES_ON = """
import json, shutil
from jaxgan.cli import main
from jaxgan.runs.inspection import inspect

def digest(path):
    return inspect(Path(path), print)["state_sha256"]

file = ["--import", sys.argv[1]]
assert Checkpoints(Path("killed/checkpoints")).steps() == [3]
first = train("killed", 6).log["step"].tolist()
train("straight", 6)
told = {"steps": first, "resumed": [digest("killed"), digest("straight")]}
shutil.copytree("straight", "copy")
assert main(["train", "copy", "--steps", "9", "--quiet", *file]) == 0
train("straight", 9)
told["further"] = [digest("copy"), digest("straight")]
assert main(["sample", "copy", "--num", "10", "--out", "made.png", *file]) == 0
assert main(["sample", "copy", "--num", "10", "--out", "made.npz", *file]) == 0
score = "diversity" if hasattr(module, "FOLDER") else "frechet"  # weights of networks for colour are not at hand
assert main(["evaluate", "copy", "--num", "64", "--scores", score, "--quiet", *file]) == 0
assert main(["report", "copy", *file]) == 0
Path("told.json").write_text(json.dumps(told))
"""


def scripts() -> list[str]:
    return sorted(path.stem for path in EXAMPLES.glob("*.py"))


def photos(folder: Path) -> None:
    """A folder of images, grey as the embedded ones and larger."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(70):
        Image.fromarray(rng.integers(0, 256, (32, 30), np.uint8)).save(folder / f"{i}.png")


def python(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "XLA_FLAGS": quick_flags, "JAX_NUM_CPU_DEVICES": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_every_script_is_short_and_says_what_it_is() -> None:
    assert scripts() == sorted(SMALL)
    table = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name in scripts():
        text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) < 80, name
        tree = ast.parse(text)
        assert f"python examples/{name}.py" in (ast.get_docstring(tree) or ""), name
        assert "game" in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, name
        assert f"({name}.py)" in table, f"{name} has no row in examples/README.md"


def wired(settings):
    return GAN(latent=2).game(MLPGenerator((2,)), MLPDiscriminator())


def test_a_game_of_library_parts_is_of_the_file_that_wires_them() -> None:
    """Whoever calls train, as `--import` of that file has to find the same code."""
    (origin,) = own.made(own.Own(wired, None, ROOT / "jaxgan" / "game.py", wired), {}).origins
    assert origin.file == __file__


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_script_makes_runs_like_any_others(name: str, tmp_path: Path) -> None:
    """Killed after a checkpoint, resumed, and trained further by the command, to the bits of runs without a stop."""
    photos(tmp_path / "photos")
    file = str(EXAMPLES / f"{name}.py")
    died = python(tmp_path, "-c", BEGIN + KILLED, file)
    assert died.returncode == -9, died.stderr
    done = python(tmp_path, "-c", BEGIN + GOES_ON, file)
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["steps"] == [1, 2, 3, 4, 5, 6]
    for each in ("resumed", "further"):
        assert len(set(told[each])) == 1, each
    assert told["resumed"] != told["further"]
    run = tmp_path / "copy"
    assert json.loads((run / "manifest.json").read_text())["origins"][0]["file"] == file
    assert (tmp_path / "made.png").stat().st_size > 100
    with np.load(tmp_path / "made.npz") as made:
        assert next(iter(made.values())).shape[0] == 10
    (score,) = map(json.loads, (run / "evaluation.jsonl").read_text().splitlines())
    assert np.isfinite(score["value"])
    assert f"--import {file}" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_script_runs_as_a_script(name: str, tmp_path: Path) -> None:
    """At its own size, for two steps."""
    photos(tmp_path / "photos")
    folder = ["photos"] if name == "own_networks" else []
    done = python(tmp_path, str(EXAMPLES / f"{name}.py"), *folder, "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    for run in (tmp_path / "runs").iterdir():
        assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
