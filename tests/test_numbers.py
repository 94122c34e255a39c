"""The domain of numbers: stored as they are, drawn whatever they are, trained and scored like anything else."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from quick import slow

from jaxgan import config, domains, experiment, plots
from jaxgan.cli import main
from jaxgan.data import given
from jaxgan.data.sources import DATA, Data, Field, source
from jaxgan.domains import Numbers, Shown
from jaxgan.errors import InputError
from jaxgan.runs.directory import RunDirectory
from jaxgan.training.train import train


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Draws samples, coarsely; gives the figure."""
    figures = []

    def write(figure: Any, path: Path) -> None:
        figure.savefig(path, format="png", dpi=40)
        figures.append(figure)

    monkeypatch.setattr(plots, "write", write)

    def draw(made: Any, **more: Any) -> Any:
        out = tmp_path / "sheet.png"
        Numbers().write(Shown(np.asarray(made, np.float32), **more), out)
        with Image.open(out) as found:
            assert found.format == "PNG"
            assert np.asarray(found.convert("L")).std() > 5  # not blank
        return figures.pop()

    return draw


def labels(figure: Any) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_numbers_stay_as_they_are():
    made = np.array([[0.1, -1e30], [np.nan, np.inf]])
    for x in (made, made.astype(np.float32)):
        found = Numbers().encode(x)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, made.astype(np.float32))
    batch = {"real": jnp.array([[0.1, -1e30]]), "label": jnp.array([3]), "mask": jnp.array([True])}
    seen = Numbers().decode(batch)
    assert {name: x.dtype for name, x in seen.items()} == {
        "real": "float32",
        "label": "int32",
        "mask": "bool",
    }
    for name, x in batch.items():
        np.testing.assert_array_equal(seen[name], x)
    assert domains.described({"domain": "numbers"}) == Numbers()
    assert Numbers().facts((3, 4)) == {}
    assert (Numbers.sheets, Numbers.reads, Numbers.saves, Numbers.features) == (
        (".png",),
        frozenset(),
        "",
        ("numbers",),
    )
    for shape in ((), (2,), (3, 4, 5)):
        Numbers().check(Field(shape, "float32"))


@pytest.mark.parametrize("dtype", ["int32", "uint8", "bool", "float64", "float16"])
def test_other_numbers_are_refused(dtype):
    with pytest.raises(InputError, match=rf"examples are {dtype} \[2\], and .*float32; convert them"):
        Numbers().check(Field((2,), dtype))


@pytest.mark.parametrize("shape", [(), (1,)])
def test_single_numbers_are_a_histogram(drawn, shape):
    made = np.repeat([0.0, 1.0, 4.0], [50, 30, 20]).reshape(-1, *shape)
    (ax,) = drawn(made).axes
    assert (ax.get_title(), ax.get_xlabel(), ax.get_ylabel()) == ("100 samples", "value", "samples")
    bars = {
        round(bar.get_x() + bar.get_width() * (bar.get_x() > 3.5), 6): bar.get_height() for bar in ax.patches
    }
    assert len(bars) == 20  # 2 sqrt(100)
    assert (bars[0.0], bars[1.0], bars[4.0], sum(bars.values())) == (50, 30, 20, 100)


def test_a_histogram_of_classes_and_real_ones(drawn):
    figure = drawn([0.0, 1.0] * 50, classes=2, real=np.repeat(np.float32([0, 1]), [300, 100]))
    (ax,) = figure.axes
    assert labels(figure) == ["real, scaled", "class 0", "class 1"]
    behind, first, second = ([bar.get_height() for bar in bars] for bars in ax.containers)
    assert (behind[0], behind[-1], sum(behind)) == (75, 25, 100)
    assert (first[0], second[-1], sum(first), sum(second)) == (50, 50, 50, 50)


def test_pairs_are_points_by_class_before_real_ones(drawn, rng):
    made, real = rng.normal(size=(30, 2)).astype(np.float32), rng.normal(size=(9, 2)).astype(np.float32)
    figure = drawn(made, classes=3, real=real)
    (ax,) = figure.axes
    assert ax.get_title() == "30 samples"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("first number", "second number")
    assert ax.get_aspect() == 1
    assert labels(figure) == ["real", "class 0", "class 1", "class 2"]
    behind, *parts = [np.asarray(points.get_offsets()) for points in ax.collections]
    np.testing.assert_allclose(behind, real)
    for i, part in enumerate(parts):
        np.testing.assert_allclose(part, made[i::3])
    colors = {tuple(points.get_facecolor()[0]) for points in ax.collections}
    assert len(colors) == 4
    (ax,) = drawn(made * [1, 1e4]).axes
    assert ax.get_aspect() == "auto"


def test_many_classes_have_a_bar_of_colours(drawn, rng):
    figure = drawn(rng.normal(size=(60, 2)), classes=20)
    assert labels(figure) == []
    assert figure.axes[1].get_ylabel() == "class"


@pytest.mark.parametrize("shape", [slow((3,)), (4, 4, 1), slow((70,))])
def test_longer_samples_are_lines(drawn, rng, shape):
    made, real = rng.normal(size=(20, *shape)), rng.normal(size=(5, *shape)).astype(np.float32)
    figure = drawn(made, real=real, classes=3)
    assert len(figure.axes) == 16
    size = {(3,): "3", (4, 4, 1): "4x4x1", (70,): "70"}[shape]
    assert figure.get_suptitle() == f"16 of 20 samples of {size} numbers"
    assert labels(figure) == ["real"]
    for i, ax in enumerate(figure.axes):
        *behind, line = ax.lines
        np.testing.assert_allclose(line.get_ydata(), made[i].ravel(), rtol=1e-6)
        assert ax.get_title() == f"{i}, class {i % 3}"
        assert len(behind) == (i < 5)
        if behind:
            np.testing.assert_allclose(behind[0].get_ydata(), real[i].ravel())
    assert figure.axes[0].lines[-1].get_color() == figure.axes[3].lines[-1].get_color()


def test_very_long_samples_are_thinned(drawn):
    figure = drawn(np.tile(np.arange(9000.0), (2, 1)))
    assert figure.axes[0].lines[0].get_xdata().tolist() == list(range(0, 9000, 3))
    assert figure.get_supxlabel() == "place in the sample, one in 3 drawn"


def test_what_is_not_finite_is_left_out_and_said(drawn):
    (ax,) = drawn([0.0, np.nan, 1.0, np.inf]).axes
    assert ax.get_title() == "4 samples, 2 not finite"
    assert sum(bar.get_height() for bar in ax.patches) == 2
    (ax,) = drawn([[0.0, 1.0], [np.nan, 1.0], [-np.inf, 0.0]], real=np.full((2, 2), np.nan, np.float32)).axes
    assert ax.get_title() == "3 samples, 2 not finite"
    assert np.asarray(ax.collections[-1].get_offsets()).tolist() == [[0.0, 1.0]]
    figure = drawn([[0.0, np.inf, 2.0], [np.nan] * 3])
    assert figure.get_suptitle() == "2 samples of 3 numbers, 2 not finite"
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [0, np.nan, 2])
    assert [text.get_text() for text in figure.axes[1].texts] == ["not finite"]


@pytest.mark.parametrize("shape", [(1,), (2,), (5,)])
@pytest.mark.parametrize("value", [slow(0.0), 3e38, slow(-1e-38), np.nan])
def test_equal_samples_of_any_size_are_drawn_without_warning(drawn, shape, value):
    made = np.full((3, *shape), value, np.float32)
    drawn(made[:1])
    drawn(made, classes=2, real=made)


def test_a_run_on_points_is_trained_shown_and_scored(
    tmp_path, own_names, quick_programs, quick_curves, small_batches
):
    angles = np.arange(200) % 8 * np.pi / 4
    ring = 0.5 * np.stack([np.cos(angles), np.sin(angles)], 1)

    @source("toy-ring")
    class Ring(Data):
        def open(self) -> Any:
            return given({"real": ring, "label": np.arange(200) % 8})

    assert "toy-ring" in DATA.kinds
    layers = {"network": "mlp", "width": 8, "depth": 1}
    settings = config.parse(
        {
            **{"name": "ring", "steps": 4, "batch_size": 16, "data": {"source": "toy-ring"}},
            **{"generator": {**layers, "tanh": False}, "discriminator": layers},
            "game": {"conditional": True, "latent": 2},
            "run": {"sample_every": 2, "checkpoint_every": 4, "samples": 16},
        }
    )
    assert train(settings, tmp_path / "run", pytest.fail, progress=False) == 0
    names = sorted(path.name for path in (tmp_path / "run" / "samples").iterdir())
    assert names == [f"step_0000000{i}.png" for i in (0, 2, 4)]
    manifest = RunDirectory(tmp_path / "run").read_manifest()
    assert manifest["domain"] == {"domain": "numbers"}
    assert manifest["classes"] == [str(i) for i in range(8)]
    built = experiment.of_manifest(settings, manifest)
    assert built.domain == Numbers()
    assert jax.eval_shape(lambda: experiment.initial(built)).params
    scores = ["evaluate", str(tmp_path / "run"), "--num", "150", "--quiet"]
    assert main(scores) == 0
    found = {line["score"]: line["value"] for line in RunDirectory(tmp_path / "run").read_evaluation()}
    assert set(found) == set(Numbers.scores) - {"memorisation", "frechet_infinity"}  # no test split, few
    assert all(np.isfinite(value) for value in found.values())
