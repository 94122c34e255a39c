"""A run is trained again and compared bit by bit: what is the same, what is not, since when, and what may be why."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from jaxgan import config
from jaxgan.cli import main
from jaxgan.errors import InputError
from jaxgan.training.train import train
from jaxgan.training.verify import describe, verify

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")
ROOT = Path(__file__).parents[1]
TINY = {
    "steps": "12",
    "batch_size": "8",
    "data.split": "test",
    "run.samples": "4",
    "run.checkpoint_every": "4",
    **{
        f"{net}.{key}": value
        for net in ("generator", "discriminator")
        for key, value in (("width", "4"), ("depth", "1"))
    },
}


def nobody(line: str) -> None:
    raise AssertionError(line)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve steps on one device, with checkpoints of 4, 8 and 12."""
    place = tmp_path_factory.mktemp("verify") / "run"
    settings = config.load(ROOT / "configs" / "mlp.toml", TINY)
    assert train(settings, place, lambda line: None, progress=False, devices=jax.devices()[:1]) == 0
    return place


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    return Path(shutil.copytree(trained, tmp_path / "run"))


def check(run: Path, say=nobody, devices: int = 1, **options):
    return verify(run, say, progress=False, devices=jax.devices()[:devices], **options)


def files(run: Path) -> dict[str, bytes]:
    return {str(p.relative_to(run)): p.read_bytes() for p in sorted(run.rglob("*")) if p.is_file()}


def test_a_run_repeats_and_is_left_as_it_was(run):
    before = files(run)
    verdict = check(run)
    assert verdict.equal
    assert (verdict.first, verdict.last, verdict.state_is_the_same) == (8, 12, True)
    assert verdict.metrics_differ_from is None
    assert verdict.differences == {}
    assert files(run) == before
    told = describe(run, verdict).splitlines()
    assert told[0].endswith("the same bits, trained again from its checkpoint of step 8 to step 12")
    assert len(told) == 3


@pytest.mark.parametrize(("steps", "state"), [(8, True), (5, None)])
def test_steps_from_the_start(run, steps, state):
    verdict = check(run, steps=steps)
    assert verdict.equal
    assert (verdict.first, verdict.last, verdict.state_is_the_same) == (0, steps, state)


def test_formulas_that_are_others_are_found_by_their_step(run):
    log = run / "metrics.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    rows[9]["generator/loss"] *= 1 + 2**-50  # of step 10, in its last bits
    log.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    verdict = check(run)
    assert not verdict.equal
    assert verdict.metrics_differ_from == 10
    assert verdict.state_is_the_same
    assert "others from step 10 on" in describe(run, verdict)
    assert check(run, steps=9).equal


def test_a_state_that_is_another_is_found(run, trained, tmp_path):
    other = tmp_path / "other"
    settings = config.load(ROOT / "configs" / "mlp.toml", TINY | {"seed": "1"})
    train(settings, other, lambda line: None, progress=False, devices=jax.devices()[:1])
    shutil.rmtree(run / "checkpoints" / "12")
    shutil.copytree(other / "checkpoints" / "12", run / "checkpoints" / "12")
    verdict = check(run)
    assert verdict.state_is_the_same is False
    assert not verdict.equal
    assert "state of step 12: ANOTHER" in describe(run, verdict)


def damage(run: Path, step: int) -> None:
    largest = max((run / "checkpoints" / str(step)).rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)


def test_damaged_checkpoints_are_left_out_and_told_of(run):
    damage(run, 12)
    said: list[str] = []
    verdict = check(run, said.append)
    assert (verdict.first, verdict.last, verdict.equal) == (4, 8, True)
    assert len(said) == 1
    assert "checkpoints/12 is left out" in said[0]
    damage(run, 8)
    verdict = check(run, said.append)
    assert (verdict.first, verdict.last, verdict.equal) == (0, 4, True)
    damage(run, 4)
    with pytest.raises(InputError, match="damaged; restore one to verify"):
        check(run, said.append)


def test_other_versions_and_other_devices_are_named(run, tmp_path):
    manifest = json.loads((run / "manifest.json").read_text())
    here = manifest["versions"]["jaxlib"]
    manifest["versions"]["jaxlib"] = "0.0.1"
    manifest["threads"] = 99
    (run / "manifest.json").write_text(json.dumps(manifest))
    verdict = check(run)
    assert verdict.equal  # the versions are only said to be others
    assert set(verdict.differences) == {"versions", "threads"}
    told = describe(run, verdict)
    assert f"jaxlib: 0.0.1 then, {here} here" in told
    assert "threads: 99 then" in told
    assert "jax: " not in told.replace("jaxlib: ", "")
    verdict = check(run, devices=2)
    assert "devices" in verdict.differences
    assert "devices: 1 x cpu:cpu then, 2 x cpu:cpu here" in describe(run, verdict)
    assert (
        verdict.metrics_differ_from is None or verdict.metrics_differ_from > 8
    )  # rounding is the processor's


def test_runs_of_several_seeds_say_so(run):
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "seeds": [0, 1], "seeds_by": "map"}))
    assert "trained in one program with the seeds 0, 1" in describe(run, check(run))


def test_what_cannot_be_verified_is_said(run, tmp_path):
    with pytest.raises(InputError, match="is not a run"):
        check(tmp_path)
    for steps in (0, 13):
        with pytest.raises(InputError, match="has steps 1 to 12"):
            check(run, steps=steps)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "data_fingerprint": "another"}))
    with pytest.raises(InputError, match="the data is not the data"):
        check(run)
    shutil.rmtree(run / "checkpoints")
    (run / "checkpoints").mkdir()
    with pytest.raises(InputError, match="has no checkpoint yet"):
        check(run)


@pytest.mark.slow
def test_the_command_ends_with_its_answer(run):
    words = [sys.executable, "-m", "jaxgan", "verify", str(run), "--quiet", "--steps", "3", "--json"]
    environment = {**os.environ, "JAX_NUM_CPU_DEVICES": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=200)
    # Compiled in haste there, not here: the bits may be others, and the answer must say which.
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["equal"] else 1)
    assert (found["first"], found["last"]) == (0, 3)


def test_the_command_without_a_run(tmp_path, capsys):
    assert main(["verify", str(tmp_path / "none"), "--quiet"]) == 2
    assert "is not a run" in capsys.readouterr().err
