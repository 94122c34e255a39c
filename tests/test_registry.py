"""Networks by name: a module's fields are its settings, in a config and in Python alike."""

import dataclasses
import inspect
import pickle
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import Field

from jaxgan import config, experiment, networks
from jaxgan.errors import InputError
from jaxgan.families import FAMILIES, Family
from jaxgan.networks import registry
from jaxgan.networks.registry import FACTS, NETWORKS, FieldError, Network, checked, network, settings_of
from jaxgan.settings import Count, Fraction, Registry, Whole

ROOT = Path(__file__).parents[1]
EVERY = [(section, name) for section in NETWORKS for name in NETWORKS[section].kinds]

# What configs had when networks' settings were written by hand; every stored run has these where it says nothing.
DEFAULTS: dict[tuple[str, str], dict[str, Any]] = {
    ("generator", "biggan"): {"width": 96, "attention": 0, "embedding": 128},
    ("generator", "dcgan"): {"width": 64, "norm": "batch"},
    ("generator", "lapgan"): {"width": 64, "kernel": 3, "hidden": 1200},
    ("generator", "mlp"): {"width": 64, "depth": 3, "tanh": True},
    ("generator", "refiner"): {"width": 64, "blocks": 4, "norm": "none"},
    ("generator", "resnet"): {"width": 256, "norm": "batch"},
    ("generator", "sagan"): {"width": 64, "attention": 0, "spectral": True},
    ("generator", "srresnet"): {"width": 64, "blocks": 16, "norm": "batch"},
    ("generator", "stackgan"): {"width": 48, "condition": 128, "blocks": 4, "depth": 2, "norm": "batch"},
    ("generator", "translator"): {"width": 64, "blocks": 9, "norm": "instance"},
    ("generator", "unet"): {"width": 64, "depth": 8, "norm": "batch", "dropout": 0.5},
    ("discriminator", "biggan"): {"width": 96, "attention": 0, "minibatch_std": False},
    ("discriminator", "dcgan"): {
        **{"width": 64, "norm": "batch", "dropout": 0.0, "conditioning": "concatenate"},
        "minibatch_std": False,
    },
    ("discriminator", "lapgan"): {
        **{"width": 64, "kernel": 4, "hidden": 600, "dropout": 0.5, "minibatch_std": False}
    },
    ("discriminator", "matching"): {
        **{"width": 96, "condition": 128, "norm": "batch", "spectral": False, "minibatch_std": False}
    },
    ("discriminator", "mlp"): {
        **{"width": 64, "depth": 3, "dropout": 0.0, "conditioning": "concatenate", "minibatch_std": False}
    },
    ("discriminator", "patchgan"): {
        **{"width": 64, "layers": 3, "norm": "batch", "spectral": False, "minibatch_std": False}
    },
    ("discriminator", "resnet"): {
        **{"width": 128, "spectral": True, "conditioning": "projection", "minibatch_std": False}
    },
    ("discriminator", "sagan"): {"width": 64, "attention": 0, "minibatch_std": False},
    ("discriminator", "vgg"): {
        **{"width": 64, "pairs": 4, "norm": "batch", "spectral": False, "minibatch_std": False}
    },
    ("encoder", "dcgan"): {"width": 64, "norm": "batch"},
    ("encoder", "mlp"): {"width": 64, "depth": 3},
}


@pytest.fixture
def generators() -> Iterator[Registry]:
    """The registry of generators, which forgets what a test adds."""
    generators = NETWORKS["generator"]
    known = dict(generators.kinds)
    yield generators
    generators.__init__("network")
    for kind in known.values():
        generators.add(kind)


@pytest.mark.parametrize(("section", "name"), EVERY)
def test_defaults_are_those_of_configs_so_far(section: str, name: str) -> None:
    made = NETWORKS[section].validate({"network": name})
    assert made.model_dump() == {"network": name, **DEFAULTS[section, name]}


@pytest.mark.parametrize(("section", "name"), EVERY)
def test_a_setting_is_written_once_and_reaches_its_module(section: str, name: str) -> None:
    """What a module is made with are the settings given and the facts; its defaults are the settings' own."""
    kind: Any = NETWORKS[section].kinds[name]
    fields = {field.name: field for field in dataclasses.fields(kind.module)}
    for setting, field in kind.model_fields.items():
        assert field.description or setting in ("network", "norm", "dropout", "conditioning"), setting
        if setting in fields:
            assert field.default == fields[setting].default
    others = {"width": 3, "depth": 2, "blocks": 1, "norm": "none", "attention": 14, "dropout": 0.25}
    given = {key: value for key, value in others.items() if key in kind.model_fields}
    facts = {"shape": (28, 28, 1), "resolution": 28, "channels": 1, "classes": 0, "latent": 5, "scale": 2}
    module = kind(**given).build(dtype=jnp.bfloat16, **facts)
    for key, value in {**given, **facts, "dtype": jnp.bfloat16}.items():
        if key in fields:
            assert getattr(module, key) == value, key


def test_every_module_takes_facts_by_the_same_names() -> None:
    """A field that is no setting of a config comes from the data: nothing falls between."""
    for section, name in EVERY:
        kind: Any = NETWORKS[section].kinds[name]
        own = {field.name for field in dataclasses.fields(kind.module)} - {"parent", "name"}
        assert own - set(kind.model_fields) <= set(FACTS), name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: networks.MLPGenerator((4,), width=-5), r"MLPGenerator.width: .*greater than 0, got -5"),
        (lambda: networks.MLPGenerator((4,), depth=2.5), r"MLPGenerator.depth: .*valid integer.*, got 2.5"),  # pyright: ignore[reportArgumentType]
        (lambda: networks.MLPDiscriminator(dropout=1.0), r"MLPDiscriminator.dropout: .*less than 1, got 1.0"),
        (lambda: networks.DCGANGenerator(norm="instance"), r"DCGANGenerator.norm: Input should be 'batch', "),  # pyright: ignore[reportArgumentType]
        (lambda: networks.DCGANGenerator(30), r"DCGANGenerator.resolution: there is no 30x30 network; supp"),
        (lambda: networks.DCGANGenerator(channels=0), r"DCGANGenerator.channels: .*greater than 0, got 0"),
        (lambda: networks.SAGANDiscriminator(28, attention=7), r"SAGANDiscriminator.attention: .*size 14, n"),
        (lambda: networks.StageTwo(depth=7), r"StageTwo.depth: .*less than or equal to 6, got 7"),
        (lambda: networks.BandGenerator(kernel=0), r"BandGenerator.kernel: .*greater than or equal to 1"),
        (lambda: networks.CharacterEncoder(window=40), r"CharacterEncoder.window: .*equal to 32, got 40"),
    ],
)  # fmt: skip
def test_bounds_hold_in_python(make: Any, message: str) -> None:
    with pytest.raises(FieldError, match=message):
        make()


def test_bounds_hold_inside_of_other_modules_and_for_copies() -> None:
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return networks.MLPDiscriminator(width=0)(x)

    with pytest.raises(FieldError, match="width"):
        Outer().init(jax.random.key(0), jnp.zeros((1, 2)))
    with pytest.raises(FieldError, match="width"):
        networks.MLPDiscriminator().clone(width=-1)


def test_numbers_of_numpy_are_numbers() -> None:
    assert networks.MLPDiscriminator(width=np.int64(8), dropout=np.float32(0.5)).width == 8  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", FAMILIES.kinds)
def test_a_familys_setting_has_one_definition(name: str) -> None:
    """No keyword of a family's game is a setting, too; networks have their settings' names."""
    kind: Any = FAMILIES.kinds[name]
    taken = inspect.signature(kind.game).parameters
    assert {"self", "generator_optimizer", "discriminator_optimizer"} <= set(taken)
    twice = [key for key in taken if key in kind.model_fields and "Module" not in str(taken[key].annotation)]
    assert twice == []
    assert all(field.description for key, field in kind.model_fields.items() if key in vars_of(kind)), name


# As above, of families.
ALL_FAMILIES: dict[str, Any] = {
    "loss": "non_saturating",
    "gradient_penalty": 0.0,
    "r1": 0.0,
    "r2": 0.0,
    "dragan": 0.0,
    "penalty_every": 1,
    "smoothing": 0.0,
    "flip": 0.0,
    "noise": 0.0,
    "noise_steps": 0,
    "augment": (),
    "packing": 1,
    "top_k": 1.0,
    "top_k_steps": 0,
    "discriminator_turns": 1,
    "discriminator_pretraining": 0,
    "weights": {"orthogonal": 0.0, "l1": 0.0, "l2": 0.0},
    "discriminator_weights": {"orthogonal": 0.0, "l1": 0.0, "l2": 0.0},
}
FAMILIES_OWN: dict[str, dict[str, Any]] = {
    "gan": {
        "latent": 100,
        "latent_kind": "normal",
        "conditional": False,
        "auxiliary": 1.0,
        "ema": 0.999,
        "schedule": "alternating",
        "shared_draws": False,
    },
    "pix2pix": {"reconstruction": 100.0, "adversarial": 1.0, "ema": 0.0, "shared_draws": True},
    "cyclegan": {"cycle": 10.0, "identity": 5.0, "pool": 50, "ema": 0.0, "shared_draws": True},
    "private": {
        "latent": 100,
        "latent_kind": "normal",
        "conditional": False,
        "epsilon": None,
        "delta": 1e-05,
        "noise_multiplier": None,
        "clip": 1.0,
        "chunk": 16,
        "ema": 0.0,
    },
    "aae": {
        "latent": 2,
        "prior": "normal",
        "labels": 0,
        "reconstruction": 1.0,
        "encoder_optimizer": {
            "adam": {"learning_rate": 0.0002, "b1": 0.5, "b2": 0.999},
            "sgd": None,
            "schedule": None,
        },
        "ema": 0.0,
        "shared_draws": True,
    },
    "lapgan": {
        "levels": 3,
        "latent": 100,
        "latent_kind": "uniform",
        "conditional": False,
        "ema": 0.999,
        "shared_draws": True,
    },
    "refiner": {
        "self_regularisation": 10.0,
        "history": 512,
        "generator_turns": 2,
        "generator_pretraining": 0,
        "ema": 0.0,
    },
    "srgan": {
        "pixel_loss": "mse",
        "pixel": 1.0,
        "perceptual": 1.0,
        "adversarial": 0.001,
        "features": "auto",
        "warmup": 0,
        "ema": 0.0,
        "shared_draws": True,
    },
    "stackgan": {
        "given": "text",
        "scale": 4,
        "encoder": {"features": 128, "width": 32, "layers": 2, "window": 5},
        "latent": 100,
        "latent_kind": "normal",
        "kl": 0.016,
        "mismatched": 0.5,
        "ema": 0.999,
        "shared_draws": True,
    },
}


@pytest.mark.parametrize("name", FAMILIES_OWN)
def test_defaults_of_families_are_those_of_configs_so_far(name: str) -> None:
    found = {key: field.default for key, field in FAMILIES.kinds[name].model_fields.items()}
    for key, default in {**ALL_FAMILIES, **FAMILIES_OWN[name]}.items():
        value = found[key].model_dump() if hasattr(found[key], "model_dump") else found[key]
        assert value == default, key
    new = set(found) - set(ALL_FAMILIES) - set(FAMILIES_OWN[name]) - {"family"}
    required = {"stackgan": {"stage_two"}, "aae": {"encoder"}}.get(name, set())
    assert new == required


def vars_of(kind: type) -> set[str]:
    """The fields that a family adds to what all have."""
    return set(kind.model_fields) - set(Family.model_fields)  # pyright: ignore[reportAttributeAccessIssue]


# One's own


def test_ones_own_module_is_named_like_any_other(generators: Registry) -> None:
    @network("mine", "generator", "latent")
    class Mine(nn.Module):
        """A generator of my own."""

        shape: tuple[int, ...]
        widths: tuple[Count, ...] = (8, 4)
        """Features of each hidden layer."""
        slope: Fraction = 0.2
        kind: Literal["a", "b"] = "a"
        classes: Whole = 0
        helper: Any = None
        dtype: Any = jnp.float32

    found = generators.validate({"network": "mine", "widths": [3, 2]})
    assert isinstance(found, Network)
    assert found.model_dump() == {"network": "mine", "widths": (3, 2), "slope": 0.2, "kind": "a"}
    assert type(found).model_fields["widths"].description == "Features of each hidden layer."
    assert type(found).roles == ("latent",)
    assert found.build(shape=(5,), classes=2) == Mine((5,), (3, 2), classes=2)
    assert Mine([5]).shape == [5]  # pyright: ignore[reportArgumentType]

    table = {"name": "x", "steps": 1, "data": {"source": "embedded"}, "discriminator": {"network": "mlp"}}
    settings = config.parse({**table, "generator": {"network": "mine", "widths": [7]}})
    assert settings.generator.widths == (7,)  # pyright: ignore[reportAttributeAccessIssue]
    assert config.parse(tomllib.loads(settings.to_toml())) == settings
    for key, value, message in (
        ("widths", [0], r"generator.widths.0: Input should be greater than 0, got 0"),
        ("slop", 0.1, r"unknown key generator.slop; did you mean slope\?"),
        ("helper", 1, r"unknown key generator.helper; known here are network, widths, slope, kind"),
    ):
        with pytest.raises(InputError, match=message):
            config.parse({**table, "generator": {"network": "mine", key: value}})
    with pytest.raises(ValueError, match="the network 'mine' is registered already"):
        network("mine", "generator")(Mine)


def test_ones_own_facts_come_from_the_game_and_refuse_in_a_line(generators: Registry) -> None:
    """A size that only multiples of 8 fit, and latents that the module wants to know."""

    @network("eights", "generator", "latent")
    class Eights(nn.Module):
        resolution: Annotated[int, Field(multiple_of=8)] = 32
        latent: Count = 1
        classes: Whole = 0

        @nn.compact
        def __call__(self, latent, label=None, *, train=False, keys=None):
            return nn.Dense(self.resolution**2)(latent).reshape(-1, self.resolution, self.resolution, 1)

    settings = {
        **{"name": "x", "steps": 1, "batch_size": 4, "discriminator": {"network": "mlp"}},
        **{"data": {"source": "embedded", "resolution": 32}, "generator": {"network": "eights"}},
        "game": {"latent": 7},
    }
    made = NETWORKS["generator"].kinds["eights"]
    assert set(made.model_fields) == {"network"}
    experiment.build(config.parse(settings), [], 100)
    with pytest.raises(InputError, match=r"^generator\.resolution: Input should be a multiple of 8, got 28"):
        experiment.build(config.parse(settings, {"data.resolution": "28"}), [], 100)


def test_settings_of_several_modules(generators: Registry) -> None:
    @checked
    class Part(nn.Module):
        width: Count = 3

    @network("several", "generator", "several")
    class Several(settings_of(Part)):
        """Settings of two parts."""

        second: Count = 5

    found = generators.validate({"network": "several", "second": 4})
    assert isinstance(found, Several)
    assert (found.build(resolution=9), found.second) == (Part(3), 4)
    assert found.model_dump() == {"network": "several", "width": 3, "second": 4}


def test_a_class_without_a_file_has_no_documentation_and_works() -> None:
    space: dict[str, Any] = {"nn": nn, "checked": checked, "Count": Count}
    exec('class Typed(nn.Module):\n    width: Count = 3\n    """Doc."""\nTyped = checked(Typed)', space)
    assert settings_of(space["Typed"])(width=4).build() == space["Typed"](4)
    with pytest.raises(FieldError, match="width"):
        space["Typed"](0)


def test_reading_a_config_starts_no_backend() -> None:
    code = (
        "from pathlib import Path; from jaxgan import config; config.load(Path('configs/default.toml'));"
        "from jax._src import xla_bridge; print(xla_bridge.backends_are_initialized())"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def test_modules_and_settings_survive_pickling() -> None:
    module = networks.MLPGenerator((4,), 8)
    assert pickle.loads(pickle.dumps(module)) == module
    for path in (ROOT / "configs").glob("*.toml"):
        settings = config.load(path)
        assert pickle.loads(pickle.dumps(settings)) == settings, path.name


@pytest.mark.parametrize("source", ["import os\nx = 1\n", "x = 1\n", "class Other:\n    pass\n", "(", ""])
def test_a_module_whose_source_is_not_to_be_had_has_no_documentation_of_fields(source, monkeypatch):
    """Of a class made by `exec` Python 3.13 gives the file around it, and older ones an error."""
    monkeypatch.setattr(registry.inspect, "getsource", lambda cls: source)

    class Anywhere(nn.Module):
        width: Count = 4
        """Not to be found."""

    made = settings_of(checked(Anywhere))
    assert made().width == 4
    assert made.model_fields["width"].description is None
