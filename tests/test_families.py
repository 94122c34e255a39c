"""Every family keeps the promises of the core: resumed to the bit, whole on any number of devices, free of windows."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
import pytest
from quick import slow

from jaxgan import config, experiment, game
from jaxgan.optimizers import SGD, Optimizer, Schedule
from jaxgan.runs.checkpoint import Checkpoints
from jaxgan.runs.inspection import inspect
from jaxgan.training import train

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")
ROOT = Path(__file__).parents[1]
MLPS = {
    f"{network}.{key}": value
    for network in ("generator", "discriminator")
    for key, value in (("network", "mlp"), ("width", "8"), ("depth", "1"))
}
FAMILIES: dict[str, dict[str, str]] = {
    "mlp": {**MLPS, "discriminator.dropout": "0.1", "game.latent": "4"},
    "pix2pix": {"generator.width": "2", "generator.depth": "2", "discriminator.width": "2"},
    "cyclegan": {
        "generator.width": "2",
        "generator.blocks": "1",
        "discriminator.width": "2",
        **{"game.pool": "12", "game.cycle": "1", "game.identity": "1"},
        # In maps of so few values norms magnify rounding.
        **{"generator.norm": "none", "discriminator.norm": "none"},
    },
    "projection": {**MLPS, "game.latent": "4", "discriminator.minibatch_std": "true", "run.samples": "10"},
    "biggan": {"game.latent": "6", "run.samples": "10"},  # narrower, its norms magnify rounding
    "private": {
        **MLPS,
        "game.latent": "4",
        "game.discriminator_turns": "2",
        "game.noise_multiplier": "1.0",
        "game.discriminator_weights.l2": "0",
    },
    "aae_semi": {
        **MLPS,
        "game.encoder.width": "8",
        "game.labels": "20",
        "game.latent": "3",
        "game.ema": "0.9",
    },
    "infogan": {**MLPS, "game.latent": "4", "game.categories": "3"},
    "lapgan": {
        **{f"{net}.{key}": "4" for net in ("generator", "discriminator") for key in ("width", "hidden")},
        **{"generator.kernel": "1", "discriminator.kernel": "1"},
        **{"data.resolution": "8", "game.levels": "2", "game.latent": "4"},
    },
    "refiner": {
        **{"data.source": "embedded", "data.task": "unpaired-edges", "game.history": "12"},
        **{"generator.width": "2", "generator.blocks": "1", "discriminator.width": "2"},
        **{"game.generator_pretraining": "1", "game.discriminator_pretraining": "1"},
    },
    "srgan": {
        **{"generator.width": "4", "generator.blocks": "1", "discriminator.width": "4"},
        **{"discriminator.pairs": "2", "game.warmup": "1"},
    },
    "stackgan": {
        **{"data.resolution": "8", "game.stage_two": "2", "game.latent": "3"},
        **{
            "generator.width": "2",
            "generator.condition": "3",
            "generator.depth": "0",
            "generator.blocks": "0",
        },
        **{"discriminator.width": "2", "discriminator.condition": "3"},
        **{"game.encoder.width": "2", "game.encoder.features": "3"},
    },
}
"""For each config of a family what makes it small. A new family joins by a line."""
LIBRARIES = {"private": "dp_accounting"}
"""What training a family needs besides; without it its runs are not tested."""
SMALL = {
    "data.split": "test",
    "batch_size": "8",
    "game.weights.l2": "1e-3",
    "game.discriminator_weights.l2": "1e-3",
    "run.samples": "4",
    "run.sample_every": "3",
    "run.checkpoint_every": "3",
    "run.window": "3",  # one program for all runs of a family, as its length is a part of it
}
RATE = 0.01


def settings_of(name: str, **more: str) -> config.Settings:
    """A family's config, small, with SGD whose rate falls: a resumed run needs each optimizer's count."""
    found = config.load(ROOT / "configs" / f"{name}.toml", {**SMALL, **FAMILIES[name], **more})
    sgd = Optimizer(sgd=SGD(learning_rate=RATE), schedule=Schedule(decay=20))
    rules = {"encoder_optimizer": sgd} if hasattr(found.game, "encoder_optimizer") else {}
    optimizers = {"generator_optimizer": sgd, "discriminator_optimizer": sgd}
    return found.model_copy(update={**optimizers, "game": found.game.model_copy(update=rules)})


def players_of(settings: config.Settings) -> Mapping[str, game.Player]:
    return experiment.of_source(settings, experiment.source_of(settings)).game.players


def trained(name: str, run: Path, devices: int = 1, **more: str) -> str:
    """The digest of a run's state."""
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name], reason=f"{LIBRARIES[name]}: jaxgan[{name}] is not installed")
    assert train.train(settings_of(name, **more), run, print, devices=jax.devices()[:devices]) == 0
    return inspect(run, print)["state_sha256"]


DEAR = {"biggan", "cyclegan", "lapgan", "srgan", "stackgan"}
"""What takes longest to compile: `make test` resumes these on one device, `make test-slow` compares with four, too."""
CASES = [slow(name, 4) if name in DEAR else (name, 4) for name in FAMILIES]
CASES += [(name, 1) for name in sorted(DEAR - {"biggan"})]  # that is a network of the family "gan"


@pytest.mark.parametrize(("name", "devices"), CASES)
def test_a_run_resumes_to_the_bit_and_is_the_same_on_four_devices(name, devices, tmp_path, capfd):
    """Windows of 3 and 2 steps, the last two taken again from the checkpoint; four devices, if asked for, to 1e-6.

    The progress bar and the metrics tell of who plays, and the penalties on weights are those of the weights.
    """
    whole, parts, four = (tmp_path / run for run in ("whole", "parts", "four"))
    digest = trained(name, whole, steps="5")
    bar = capfd.readouterr().err
    assert "5/5" in bar
    assert re.search(r"loss \d", bar)
    assert "nan" not in bar
    assert_reported(players_of(settings_of(name)), whole)

    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "checkpoints" / "5")
    assert inspect(parts, print)["state_sha256"] != digest
    assert trained(name, parts, steps="5") == digest
    for path in (*(whole / "samples").glob("step_00000005.*"), whole / "metrics.jsonl"):
        assert (parts / path.relative_to(whole)).read_bytes() == path.read_bytes()

    if devices == 1:
        return
    trained(name, four, devices=devices, steps="3")
    alone, together = (Checkpoints(run / "checkpoints").read(3) for run in (whole, four))
    assert set(together) == set(alone)
    for key, want in alone.items():
        if want.dtype.kind == "f":
            hint = f"{key}; a loss that is no plain mean over examples needs jaxgan.axis.mean"
            np.testing.assert_allclose(together[key], want, rtol=0, atol=1e-6, err_msg=hint)
        else:
            np.testing.assert_array_equal(together[key], want, err_msg=key)


def assert_reported(players: Mapping[str, game.Player], run: Path) -> None:
    """Who plays has metrics, and who waits or is through has none; penalties on weights, by hand from a checkpoint."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [row["skipped"] for row in rows] == [0] * len(rows)
    for step, row in enumerate(rows):
        for key, value in row.items():
            if key.endswith("/loss"):
                assert (value is not None) == bool(players[key.split("/")[0]].plays(step)), (step, key)
    first = {key: value for key, value in rows[0].items() if key.endswith("/update_norm")}
    assert max(value for value in first.values() if value is not None) > 1e-3  # 1e-6 is little beside it
    table, checked = Checkpoints(run / "checkpoints").read(3), 0
    for name, player in players.items():
        if player.turns > 1 or rows[3].get(f"{name}/l2") is None:
            continue
        own = tuple(f"params/{network}/" for network in player.moves)
        kernels = [w for key, w in table.items() if key.startswith(own) and key.endswith("/kernel")]
        half = sum(float(np.square(w.astype(np.float64)).sum()) / 2 for w in kernels)
        np.testing.assert_allclose(rows[3][f"{name}/l2"], half, rtol=1e-5, err_msg=name)
        checked += 1
    assert checked


OTHER_TERMS = {"srgan", "refiner"}
"""Families whose generator has something to learn while the discriminator is pretrained, and plays on."""


@pytest.mark.parametrize("name", FAMILIES)
def test_turns_and_pretraining_of_the_discriminator_are_those_of_any_family(name):
    stage = {"game.stage_two": "5"} if name == "stackgan" else {}
    turns, wait = "game.discriminator_turns", "game.discriminator_pretraining"
    stage |= {"game.pool": "0"} if name == "cyclegan" else {}
    plain = players_of(settings_of(name, **stage, **{turns: "1", wait: "0"}))
    asked = players_of(settings_of(name, **stage, **{turns: "3", wait: "2"}))
    for each, player in asked.items():
        judges = "discriminator" in each
        assert player.turns == (3 if judges else plain[each].turns), each
        waits = each in ("generator", "second_generator", "encoder") and name not in OTHER_TERMS
        assert player.start == plain[each].start + 2 * waits, each


TRACED = """
import hashlib, sys, jax, jax.numpy as jnp
from test_families import FAMILIES, experiment, game, settings_of
for name in sys.argv[1:]:
    settings = settings_of(name)
    built = experiment.of_source(settings, experiment.source_of(settings))
    seen = built.domain.decoded(built.fields)
    batch = {k: jax.ShapeDtypeStruct((built.game.turns, built.rows, *f.shape), f.dtype) for k, f in seen.items()}
    if built.poisson:
        batch["included"] = jax.ShapeDtypeStruct((built.game.turns, built.rows), bool)
    state = jax.eval_shape(lambda: experiment.initial(built))
    text = str(jax.make_jaxpr(lambda state, batch: game.step(built.game, state, batch))(state, batch))
    print(name, hashlib.sha256(re.sub("0x[0-9a-f]+", "", text).encode()).hexdigest())
"""


@pytest.mark.parametrize("names", [("lapgan", "cyclegan"), slow(tuple(FAMILIES.keys() - LIBRARIES.keys()))])
def test_every_process_traces_the_same_step(names):
    """Whatever the order of sets, which differs from one process to the next: programs are cached by their text."""
    said = []
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parent)}
        command = [sys.executable, "-c", "import re" + TRACED, *sorted(names)]
        said.append(
            subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        )
    assert len(said[0].splitlines()) == len(names)
    assert said[0] == said[1]
