"""Experiments in and out of TOML, and what is said of those that are wrong."""

import re
import tomllib
from pathlib import Path

import pytest

from jaxgan import config
from jaxgan.data.sources import DATA, TFDSData
from jaxgan.errors import InputError, Renamed
from jaxgan.networks.registry import NETWORKS
from jaxgan.optimizers import Adam

CONFIGS = sorted((Path(__file__).parents[1] / "configs").glob("*.toml"))
LEAST = {
    "name": "tiny",
    "steps": 10,
    "data": {"source": "embedded"},
    "generator": {"network": "mlp"},
    "discriminator": {"network": "dcgan"},
}


def kinds(section):
    """Those of the section's classes, as an error lists them."""
    return ", ".join(map(repr, {**NETWORKS, "data": DATA}[section].kinds))


def refusal(table=LEAST, **overrides):
    """The one line said of a config and overrides, dots written as two underscores."""
    with pytest.raises(InputError) as caught:
        config.parse(table, {key.replace("__", "."): text for key, text in overrides.items()}, "x.toml")
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(("x.toml: ", "--"))
    return line.removeprefix("x.toml: ")


# Files


def test_there_is_a_default_config():
    assert "default.toml" in [path.name for path in CONFIGS]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_loads_opens_with_a_comment_and_survives_the_round_trip(path):
    assert path.read_text().startswith("# ")
    loaded = config.load(path)
    assert loaded.name == path.stem
    assert config.parse(tomllib.loads(loaded.to_toml())) == loaded


def test_the_fields_defaults_are_the_published_ones():
    made = config.parse(LEAST)
    assert (made.batch_size, made.seed, made.run.sample_every) == (128, 0, 100)
    for optimizer in (made.generator_optimizer, made.discriminator_optimizer):
        assert optimizer.sgd is None
        assert optimizer.adam == Adam(learning_rate=2e-4, b1=0.5, b2=0.999)


def test_toml_holds_every_key_defaults_written_out():
    table = tomllib.loads(config.parse(LEAST).to_toml())
    assert table["generator"] == {"network": "mlp", "width": 64, "depth": 3, "tanh": True}
    assert table["compute_dtype"] == "float32"
    assert table["game"]["ema"] == 0.999
    assert table["generator_optimizer"] == {"adam": {"learning_rate": 0.0002, "b1": 0.5, "b2": 0.999}}
    assert "resident" not in table["feed"]  # None: not decided


@pytest.mark.parametrize(
    "overrides",
    [
        {"feed.resident": "false", "run.keep_every": "7"},
        {"generator_optimizer.sgd.learning_rate": "1e-05", "discriminator.dropout": "0.1"},
        {"data.source": "folder", "data.path": "a b/ü", "data.resolution": "64"},
        {"data.source": "tfds", "data.name": "celeb_a:2.0.1", "data.resolution": "128", "data.channels": "1"},
    ],
)
def test_round_trip_of_other_values(overrides):
    made = config.parse(LEAST, overrides)
    assert config.parse(tomllib.loads(made.to_toml())) == made
    assert made != config.parse(LEAST)


# Overrides


def test_overrides_are_read_as_toml_and_else_as_strings():
    made = config.parse(
        LEAST,
        {
            "name": "v2.1-b",
            "seed": "1_000",
            "batch_size": "0x10",
            "game.conditional": "true",
            "generator_optimizer.adam.learning_rate": "1e-3",
            "game.ema": "0",
            "run.spread": '"jit"',
        },
    )
    assert (made.name, made.seed, made.batch_size, made.game.conditional) == ("v2.1-b", 1000, 16, True)
    assert made.generator_optimizer.adam == Adam(learning_rate=1e-3)
    assert (made.game.ema, made.run.spread) == (0.0, "jit")


@pytest.mark.parametrize("text", ["a\nsteps = 9", "1, 2", "5 # b", "[" * 3000, "9" * 5000, "5]\n[x"])
def test_an_override_that_is_not_one_value_is_text(text):
    made = config.parse(LEAST, {"data.source": "folder", "data.resolution": "28", "data.path": text})
    assert (made.data.path, made.steps) == (text, LEAST["steps"])


def test_a_config_may_begin_with_a_mark_of_utf8(tmp_path):
    (tmp_path / "c.toml").write_text(CONFIGS[0].read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert config.load(tmp_path / "c.toml") == config.load(CONFIGS[0])


def test_an_override_replaces_what_the_table_says_and_leaves_the_table_alone():
    table = {**LEAST, "generator": {"network": "mlp", "width": 8, "depth": 1}}
    made = config.parse(table, {"generator.width": "16"})
    assert made.generator == NETWORKS["generator"].kinds["mlp"](width=16, depth=1)
    assert table["generator"] == {"network": "mlp", "width": 8, "depth": 1}


# Mistakes


@pytest.mark.parametrize(
    ("overrides", "line"),
    [
        ({"stesp": "3"}, "unknown key stesp; did you mean steps?"),
        ({"generator__widht": "3"}, "unknown key generator.widht; did you mean width?"),
        ({"discriminator__drop_out": "0.1"}, "unknown key discriminator.drop_out; did you mean dropout?"),
        ({"run__windows": "3"}, "unknown key run.windows; did you mean window?"),
        ({"generator_optimizer__adm__b1": "0.5"}, "unknown key generator_optimizer.adm; did you mean adam?"),
        (
            {"generator_optimizer__adam__beta1": "0.5"},
            "unknown key generator_optimizer.adam.beta1; known here are learning_rate, b1, b2",
        ),
        # Known to DCGAN, not to the MLP that this generator is.
        ({"generator__norm": "batch"}, "unknown key generator.norm; known here are network, width, depth, tanh"),
        (
            {"data__zzz": "1"},
            "unknown key data.zzz; known here are source, resolution, channels, split, task, text_length, scale",
        ),
        ({"steps": "ten"}, "steps: Input should be a valid integer, got 'ten'"),
        # Exactly one value of TOML, or text.
        ({"steps": '5\nname="x"'}, "steps: Input should be a valid integer, got '5\\nname=\"x\"'"),
        ({"steps": "5 # five"}, "steps: Input should be a valid integer, got '5 # five'"),
        ({"steps": "5,"}, "steps: Input should be a valid integer, got '5,'"),
        ({"steps": "10.0"}, "steps: Input should be a valid integer, got 10.0"),
        ({"steps": "true"}, "steps: Input should be a valid integer, got True"),
        ({"name": "3"}, "name: Input should be a valid string, got 3"),
        ({"game__conditional": "1"}, "game.conditional: Input should be a valid boolean, got 1"),
        ({"generator__width": "[8]"}, "generator.width: Input should be a valid integer, got [8]"),
        ({"steps": "0"}, "steps: Input should be greater than 0, got 0"),
        ({"batch_size": "-8"}, "batch_size: Input should be greater than 0, got -8"),
        ({"generator__width": "0"}, "generator.width: Input should be greater than 0, got 0"),
        ({"data__resolution": "-28"}, "data.resolution: Input should be greater than 0, got -28"),
        ({"feed__workers": "-1"}, "feed.workers: Input should be greater than or equal to 0, got -1"),
        ({"seed": "-1"}, "seed: Input should be greater than or equal to 0, got -1"),
        ({"seed": "4294967296"}, "seed: Input should be less than 4294967296, got 4294967296"),
        ({"game__ema": "1.0"}, "game.ema: Input should be less than 1, got 1.0"),
        ({"discriminator__dropout": "1.0"}, "discriminator.dropout: Input should be less than 1, got 1.0"),
        (
            {"generator_optimizer__adam__learning_rate": "nan"},
            "generator_optimizer.adam.learning_rate: Input should be a finite number, got nan",
        ),
        ({"data__channels": "2"}, "data.channels: Input should be 1 or 3, got 2"),
        (
            {"game__loss": "hing"},
            ("game.loss: Input should be 'non_saturating', 'minimax', 'hinge', 'wasserstein', 'least_squares' or "
            "'relativistic', got 'hing'"),
        ),
        ({"game__augment": '"color"'}, "game.augment: Input should be a valid list, got 'color'"),
        (
            {"game__loss": "3"},
            ("game.loss: Input should be 'non_saturating', 'minimax', 'hinge', 'wasserstein', 'least_squares' or "
            "'relativistic', got 3"),
        ),
        ({"game__gradient_penalty": "-1"}, "game.gradient_penalty: Input should be greater than or equal to 0, got -1"),
        ({"game__r1": "true"}, "game.r1: Input should be a valid number, got True"),
        ({"compute_dtype": "float16"}, "compute_dtype: Input should be 'float32' or 'bfloat16', got 'float16'"),
        ({"name": "a/b"}, r"name: String should match pattern '^[\w.-]+$', got 'a/b'"),
        ({"data__source": "foldr"}, "data.source: Input should be one of KINDS, got 'foldr'; did you mean folder?"),
        (
            {"data__task": "edges", "data__scale": "2"},
            ("data: has a scale and a task; leave out scale or set task to 'none', got "
            "{'source': 'embedded', 'task': 'edges', 'scale': 2}"),
        ),
        (
            {"generator__network": "unett"},
            "generator.network: Input should be one of KINDS, got 'unett'; did you mean unet?",
        ),
        ({"data__source": "folder", "data__path": "x"}, "data.resolution is missing"),
        ({"steps__x": "1"}, "--steps.x: steps is a value, not a section"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_one_line_names_the_key_and_what_is_wrong(overrides, line):
    if "KINDS" in line:  # those of now: other tests register more
        line = line.replace("KINDS", kinds(line.split(".")[0]))
    assert refusal(**overrides) == line


@pytest.mark.parametrize("key", ["name", "steps", "data", "generator", "discriminator"])
def test_a_missing_key_is_named(key):
    assert refusal({k: v for k, v in LEAST.items() if k != key}) == f"{key} is missing"


@pytest.mark.parametrize(("section", "tag"), [("data", "source"), ("generator", "network")])
def test_a_section_that_does_not_say_what_it_is(section, tag):
    assert refusal({**LEAST, section: {}}) == f"{section}.{tag} is missing"


def test_two_optimizers_are_one_too_many():
    line = refusal(generator_optimizer__adam__b1="0.5", generator_optimizer__sgd__learning_rate="0.1")
    assert line.startswith("generator_optimizer: names two optimizers, adam and sgd; keep one")


def test_several_mistakes_share_the_line():
    line = refusal(steps="0", batch_size="x")
    assert line == (
        "steps: Input should be greater than 0, got 0; batch_size: Input should be a valid integer, got 'x'"
    )


def test_an_experiment_is_frozen():
    made = config.parse(LEAST)
    with pytest.raises(ValueError, match="frozen"):
        made.steps = 3  # pyright: ignore[reportAttributeAccessIssue]


def test_files_that_cannot_be_read(tmp_path):
    (tmp_path / "default.toml").write_text("")
    (tmp_path / "broken.toml").write_text('name = "a"\nsteps = = 3\n')
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    cases = {
        "defualt.toml": f"no such config: {tmp_path / 'defualt.toml'}; did you mean {tmp_path / 'default.toml'}?",
        "zzz": f"no such config: {tmp_path / 'zzz'}; give the path of a .toml file",
        "no/such.toml": f"no such config: {tmp_path / 'no/such.toml'}; give the path of a .toml file",
        "broken.toml": f"{tmp_path / 'broken.toml'} is not valid TOML: ",
        "binary.toml": f"cannot read config {tmp_path / 'binary.toml'}: ",
        ".": f"cannot read config {tmp_path}: ",
    }
    for name, line in cases.items():
        with pytest.raises(InputError) as caught:
            config.load(tmp_path / name)
        assert str(caught.value).startswith(line)
        assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="line 2"):
        config.load(tmp_path / "broken.toml")


# Differences


def test_differences_are_the_dotted_keys():
    one = config.parse(LEAST)
    assert config.differences(one, one) == []
    other = config.parse(LEAST, {"steps": "11", "generator.width": "8", "run.window": "3"})
    assert sorted(config.differences(one, other)) == ["generator.width", "run.window", "steps"]


def test_differences_of_another_kind_of_member():
    one = config.parse(LEAST)
    other = config.parse(
        LEAST, {"generator.network": "dcgan", "generator_optimizer.sgd.learning_rate": "0.1"}
    )
    found = config.differences(one, other)
    assert {"generator.network", "generator.norm", "generator.depth"} <= set(found)
    assert {"generator_optimizer.adam.b1", "generator_optimizer.sgd.learning_rate"} <= set(found)
    assert not [key for key in found if not key.startswith(("generator.", "generator_optimizer."))]
    assert sorted(found) == sorted(config.differences(other, one))


def test_another_kind_of_data_or_network_drops_the_keys_of_the_old_kind():
    table = {
        **{"name": "x", "steps": 1, "generator": {"network": "dcgan", "norm": "layer", "width": 7}},
        **{"data": {"source": "folder", "path": "p", "resolution": 64}, "discriminator": {"network": "mlp"}},
    }
    overrides = {"data.source": "tfds", "data.directory": "d", "generator.network": "mlp"}
    found = config.parse(table, overrides)
    assert found.data == TFDSData(directory="d", resolution=64)
    assert found.generator == NETWORKS["generator"].kinds["mlp"](width=7)
    with pytest.raises(InputError, match=r"unknown key data\.path"):
        config.parse(table, {**overrides, "data.path": "q"})


def test_keys_of_older_versions_are_read_with_a_note_of_the_new():
    old = {**LEAST, "evaluation": {"metrics": ["kernel"], "num": 7}}
    with pytest.warns(Renamed, match=r"^x\.toml: evaluation\.metrics is called evaluation\.scores now$"):
        found = config.parse(old, where="x.toml")
    assert (found.evaluation.scores, found.evaluation.num) == (["kernel"], 7)
    assert "evaluation" in old
    assert "metrics" in old["evaluation"]  # what was given stays as it was
    with pytest.warns(Renamed):
        assert config.parse(LEAST, {"evaluation.metrics": '["recall"]'}).evaluation.scores == ["recall"]
    with pytest.warns(Renamed):  # a config that was written before, and a key of now
        assert config.parse(old, {"evaluation.scores": '["recall"]'}).evaluation.scores == ["recall"]
    with pytest.raises(InputError, match=r"evaluation.metrics is called evaluation.scores now; leave out"):
        config.parse({**LEAST, "evaluation": {"metrics": ["kernel"], "scores": ["kernel"]}})


def test_determinism_is_known_before_anything_is_checked(tmp_path):
    """XLA has to be asked before JAX starts, and code from outside may start it."""
    path = tmp_path / "config.toml"
    path.write_text('name = 3\n[generator]\nnetwork = "nowhere.Net"\n[run]\ndeterministic = false\n')
    assert not config.deterministic(path, {})
    assert not config.deterministic(tmp_path, {})  # of a run's folder
    assert config.deterministic(path, {"run.deterministic": "true"})
    path.write_text("[run]\n")
    assert config.deterministic(path, {})
    assert not config.deterministic(path, {"run.deterministic": "false"})
    path.write_text("run = 3\n")
    assert config.deterministic(path, {})
    path.write_text("nonsense [")
    assert config.deterministic(path, {})
    assert config.deterministic(tmp_path / "nowhere.toml", {})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a = " + "[" * 100_000, "is not valid TOML: it is nested more than 64 deep"),
        (".".join(["a"] * 2000) + " = 1", "is not valid TOML: it is nested more than 64 deep"),
        ("steps = " + "9" * 5000, "is not valid TOML: an integer has more than 64 bits"),
        (
            "name = 3\nsteps = []",
            "name: Input should be a valid string, got 3; steps: Input should be a valid integer",
        ),
    ],
)
def test_a_damaged_config_is_one_short_line(tmp_path, text, why):
    path = tmp_path / "config.toml"
    path.write_text(text)
    for load in (config.load, config.load_any):
        with pytest.raises(InputError) as caught:
            load(path)
        assert str(caught.value).startswith(str(path))
        assert why in str(caught.value)
        assert "\n" not in str(caught.value)
    assert config.deterministic(path, {})


def test_what_is_wrong_is_cut_and_counted(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(f'name = "a"\nsteps = "{"x" * 1_000_000}"\n' + "".join(f"k{i} = 1\n" for i in range(500)))
    with pytest.raises(InputError) as caught:
        config.load_any(path)
    said = str(caught.value)
    assert len(said) < 3000
    assert re.search(r"; and \d+ more$", said)
    assert "[999,802 characters left out]" in said


def test_a_mark_of_utf8_before_a_config_is_read_over(tmp_path):
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (config.shipped("mlp")).read_bytes())
    assert config.load(path) == config.load(config.shipped("mlp"))
