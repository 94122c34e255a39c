"""Every family keeps the promises of the core: resumed to the bit, whole on any number of devices, free of windows."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import quick_jit

from jaxgan import config, experiment, game, train
from jaxgan.data import stream
from jaxgan.inspection import inspect
from jaxgan.window import decode

pytestmark = pytest.mark.usefixtures("quick_programs")
ROOT = Path(__file__).parents[1]
MLPS = {
    "generator.network": "mlp",
    "generator.width": "8",
    "discriminator.network": "mlp",
    "discriminator.width": "8",
}
FAMILIES: dict[str, dict[str, str]] = {
    "mlp": {**MLPS, "discriminator.dropout": "0.1", "game.latent": "4"},
    "pix2pix": {"generator.width": "2", "generator.depth": "2", "discriminator.width": "2"},
    "cyclegan": {
        "generator.width": "2",
        "generator.blocks": "1",
        "discriminator.width": "2",
        "game.pool": "12",
        **{
            "generator.norm": "none",
            "discriminator.norm": "none",
        },  # in maps of so few values they magnify rounding
    },
    "projection": {**MLPS, "game.latent": "4", "discriminator.minibatch_std": "true", "run.samples": "10"},
    "private": {**MLPS, "game.latent": "4", "game.discriminator_turns": "2", "game.noise_multiplier": "1.0"},
    "aae_semi": {
        **MLPS,
        "game.encoder.width": "8",
        "game.labels": "20",
        "game.latent": "3",
        "game.ema": "0.9",
    },
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
RATE, STEPS = 0.05, 3


def overrides(name: str) -> dict[str, str]:
    return {**SMALL, **FAMILIES[name]}


def trained(name: str, run: Path, **more: str) -> str:
    """The digest of a run's state, trained on one device."""
    if name in LIBRARIES:
        pytest.importorskip(LIBRARIES[name], reason=f"{LIBRARIES[name]}: jaxgan[{name}] is not installed")
    settings = config.load(ROOT / "configs" / f"{name}.toml", {**overrides(name), **more})
    assert train.train(settings, run, print, devices=jax.devices()[:1]) == 0
    return inspect(run, print)["state_sha256"]


@pytest.mark.parametrize("name", FAMILIES)
def test_resumed_and_in_other_windows_it_is_the_same_to_the_bit(name, tmp_path, capfd):
    """Windows of 3 and 2 steps against those of 2, 1 and 2; and the progress bar tells of who plays."""
    whole = trained(name, tmp_path / "whole", steps="5")
    bar = capfd.readouterr().err
    assert "5/5" in bar
    assert re.search(r"loss \d", bar)
    assert "nan" not in bar
    trained(name, tmp_path / "parts", steps="2")
    assert trained(name, tmp_path / "parts", steps="5") == whole
    sheets = [tmp_path / run / "samples" / "step_00000003.png" for run in ("whole", "parts")]
    assert sheets[0].read_bytes() == sheets[1].read_bytes()


@cache
def started(name: str) -> tuple[experiment.Experiment, game.State, dict[str, jax.Array]]:
    """A family's game with SGD, its first state, and the batches of a few steps of 8 examples."""
    settings = config.load(ROOT / "configs" / f"{name}.toml", overrides(name))
    source = experiment.source_of(settings)
    built = experiment.build(settings, source.classes, len(source), source.fields)
    players = {n: p._replace(optimizer=optax.sgd(RATE)) for n, p in built.game.players.items()}
    built = built._replace(game=built.game._replace(players=players))
    state = quick_jit(lambda: experiment.initial(built))()
    read = stream.batches(source, 0, 0, STEPS, built.game.turns, 8)
    parts = [decode(jax.tree.map(jnp.asarray, dict(batch))) for batch in read]
    return built, state, jax.tree.map(lambda *x: jnp.stack(x), *parts)


OTHER_TERMS = {"srgan", "refiner"}
"""Families whose generator has something to learn while the discriminator is pretrained, and plays on."""


@pytest.mark.parametrize("name", FAMILIES)
def test_turns_and_pretraining_of_the_discriminator_are_those_of_any_family(name):
    def players(**more: str) -> Mapping[str, game.Player]:
        settings = config.load(ROOT / "configs" / f"{name}.toml", {**overrides(name), **more})
        source = experiment.source_of(settings)
        return experiment.build(settings, source.classes, len(source), source.fields).game.players

    stage = {"game.stage_two": "5"} if name == "stackgan" else {}
    plain = players(**stage, **{"game.discriminator_turns": "1", "game.discriminator_pretraining": "0"})
    asked = players(**stage, **{"game.discriminator_turns": "3", "game.discriminator_pretraining": "2"})
    for each, player in asked.items():
        judges = "discriminator" in each
        assert player.turns == (3 if judges else plain[each].turns), each
        waits = each in ("generator", "second_generator", "encoder") and name not in OTHER_TERMS
        assert player.start == plain[each].start + 2 * waits, each


def assert_penalised(
    players: Mapping[str, game.Player], state: game.State, report: Mapping[str, jax.Array]
) -> None:
    """The penalties on weights that every family has here, by hand, of who plays once in its first step."""
    for each in ("discriminator", "generator"):
        # The generator of an autoencoder is moved as it learns to reconstruct.
        mover = "autoencoder" if each == "generator" and "autoencoder" in players else each
        if players[mover].turns > 1 or not players[mover].plays(0):
            continue
        leaves = jax.tree.leaves_with_path([state.params[net] for net in players[mover].moves])
        kernels = [np.asarray(w, np.float64) for path, w in leaves if path[-1].key == "kernel"]
        half = sum(float(np.square(w).sum()) / 2 for w in kernels)
        np.testing.assert_allclose(report[f"{mover}/l2"], half, rtol=1e-4)


@pytest.mark.parametrize("name", FAMILIES)
def test_four_devices_change_nothing_but_rounding(name):
    built, state, batches = started(name)
    alone, report = state, {}
    step = quick_jit(lambda s, b: game.step(built.game, s, b))
    for i in range(STEPS):
        alone, report = step(alone, jax.tree.map(lambda x, i=i: x[i], batches))
        if i == 0:
            assert_penalised(built.game.players, state, report)
    assert int(alone.skipped) == 0
    # Players that wait for their stage, or are through with it, have nothing to report.
    played = {key for key in report if built.game.players[key.split("/")[0]].plays(STEPS - 1)}
    assert played
    assert {key for key, value in report.items() if jnp.isfinite(value)} == played
    together = state
    spread = jax.pmap(
        lambda s, b: game.step(built.game, s, b, game.AXIS)[0],
        axis_name=game.AXIS,
        in_axes=(None, 1),
        out_axes=None,
        devices=jax.devices()[:4],
    )
    split = jax.tree.map(lambda x: x.reshape(*x.shape[:2], 4, 2, *x.shape[3:]), batches)
    for i in range(STEPS):
        together = spread(together, jax.tree.map(lambda x, i=i: x[i], split))
    kept = [jax.tree.leaves_with_path((s.params, s.stats, s.ema, s.memory)) for s in (together, alone, state)]
    for (path, got), (_, want), (_, begun) in zip(*kept, strict=True):
        scale = max(1e-3, float(np.abs(np.asarray(want, np.float64) - np.asarray(begun)).max()))
        np.testing.assert_allclose(got, want, atol=max(1e-6, 1e-4 * scale), rtol=0, err_msg=str(path))
