"""Domains that are no images: toy sounds and toy tables are trained, resumed, sampled, shown, written and scored."""

import csv
import json
import re
import shutil
import wave
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import Field as Bounds

from jaxgan import config, domains, experiment, pages
from jaxgan.cli import main
from jaxgan.data.sources import DATA, Data, Field, source
from jaxgan.domains import DOMAINS, REAL, Domain, Shown, domain
from jaxgan.errors import InputError, replacing
from jaxgan.runs.checkpoint import Checkpoints, sha256
from jaxgan.runs.directory import RunDirectory
from jaxgan.sampling import sample
from jaxgan.scoring import features, groups
from jaxgan.settings import Count
from jaxgan.training.train import train

pytestmark = pytest.mark.usefixtures("quick_programs", "small_batches")

LENGTH, RATE = 64, 800
COLORS = ("red", "green", "blue")


@domain("toy-sound")
class Sound(Domain):
    """Mono sounds, int16 `[T, 1]`."""

    rate: Count = 16_000
    plural: ClassVar[str] = "sounds"
    sheets: ClassVar[tuple[str, ...]] = (".wav", ".txt")
    saves: ClassVar[str] = ".wav"

    def decode(self, batch: Any) -> Any:
        return {n: x.astype(jnp.float32) / 32768 if x.dtype == jnp.int16 else x for n, x in batch.items()}

    def encode(self, made: np.ndarray) -> np.ndarray:
        return np.clip(np.rint(made * 32768), -32768, 32767).astype(np.int16)

    def facts(self, shape: tuple[int, ...]) -> dict[str, int]:
        return {"length": shape[0], "channels": shape[1]}

    def write(self, shown: Shown, out: Path) -> None:
        with replacing(out) as partial:
            if out.suffix == ".txt":
                partial.write_text("\n".join(f"<sound {i}> {x.std():.1f}" for i, x in enumerate(shown.made)))
                return
            with wave.open(str(partial), "wb") as file:
                file.setparams((1, 2, self.rate, 0, "NONE", ""))
                file.writeframes(shown.made.astype("<i2").tobytes())


@domain("toy-table")
class Table(Domain):
    """Rows of a number and a category, float32 `[2]`; networks see the number scaled, and the category one-hot."""

    column: str
    center: float
    scale: Annotated[float, Bounds(gt=0)]
    categories: list[str]
    plural: ClassVar[str] = "rows"
    sheets: ClassVar[tuple[str, ...]] = (".csv",)

    def decode(self, batch: Any) -> Any:
        def seen(x: Any) -> Any:
            one_hot = 2 * (x[:, 1:] == jnp.arange(len(self.categories))[None]) - 1.0
            return jnp.concatenate([(x[:, :1] - self.center) / self.scale, one_hot], 1)

        return {name: seen(x) if name in REAL else x for name, x in batch.items()}

    def encode(self, made: np.ndarray) -> np.ndarray:
        return np.stack([made[:, 0] * self.scale + self.center, made[:, 1:].argmax(1)], 1, dtype=np.float32)

    def write(self, shown: Shown, out: Path) -> None:
        with replacing(out) as partial, partial.open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow([self.column, "color"])
            rows.writerows([f"{x:.2f}", self.categories[int(c)]] for x, c in shown.made)


class Tones:
    """Sines, and what a stream of batches needs to know of them."""

    classes = ("low", "high")
    fingerprint = "0" * 64
    domain: ClassVar[dict[str, Any]] = {"domain": "toy-sound", "rate": RATE}
    fields: ClassVar[dict[str, Field]] = {
        "real": Field((LENGTH, 1), "int16"),
        "label": Field((), "int32"),
    }

    def __len__(self) -> int:
        return 50

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        label = index % 2
        tone = np.sin(2 * np.pi * (np.arange(LENGTH) * (2 + 4 * label) / LENGTH + index / 50))
        return {"real": np.rint(20_000 * tone)[:, None].astype(np.int16), "label": np.int32(label)}


class Heights:
    """A height of 170 +- 10 and a color, most often green."""

    classes = ()
    fingerprint = "1" * 64
    domain: ClassVar[dict[str, Any]] = {
        **{"domain": "toy-table", "column": "height", "center": 170.0, "scale": 10.0},
        "categories": list(COLORS),
    }
    fields: ClassVar[dict[str, Field]] = {"real": Field((2,), "float32"), "label": Field((), "int32")}

    def __len__(self) -> int:
        return 200

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        draw = np.random.default_rng(index)
        row = np.array([170 + 10 * draw.normal(), draw.choice(3, p=(0.2, 0.7, 0.1))], np.float32)
        return {"real": row, "label": np.int32(0)}


@source("toy-tones")
class TonesData(Data):
    """Sines."""

    split: Literal["train"] = "train"

    def open(self) -> Any:
        return Tones()


@source("toy-heights")
class HeightsData(Data):
    """Heights and colors."""

    def open(self) -> Any:
        return Heights()


def settings(name: str, conditional: bool, steps: int = 6, **more: Any) -> config.Settings:
    layers = {"network": "mlp", "width": 16, "depth": 2}
    game = {"conditional": conditional, "latent": 4}
    run = {"sample_every": 3, "checkpoint_every": 3, "samples": 6}
    table = {"name": name, "steps": steps, "batch_size": 16, "data": {"source": f"toy-{name}"}}
    generator = {**layers, "tanh": conditional}
    return config.parse(
        {**table, "generator": generator, "discriminator": layers, "game": game, "run": run, **more}
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory, quick_programs, quick_curves, small_batches) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    for name, conditional in (("tones", True), ("heights", False)):
        assert train(settings(name, conditional), folder / name, pytest.fail, progress=False) == 0
    return folder


def digest(run: Path) -> str:
    return sha256(Checkpoints(run / "checkpoints").read(6))


@pytest.mark.parametrize("kind", [Tones, Heights])
def test_what_networks_see_leads_back_to_what_is_stored(kind):
    of, real = kind(), domains.of(kind())
    stored = np.stack([of[i]["real"] for i in range(len(of))])
    seen = np.asarray(real.decode({"real": jnp.asarray(stored)})["real"])
    assert seen.dtype == np.float32
    assert np.abs(seen).max() < 5
    found = real.encode(seen)
    assert found.dtype == stored.dtype
    np.testing.assert_allclose(found, stored, rtol=1e-6)
    assert real.decoded(of.fields)["real"] == Field(seen.shape[1:], "float32")
    assert list(real.decoded(of.fields)) == list(of.fields)


def test_out_of_range_is_clipped():
    np.testing.assert_array_equal(Sound().encode(np.array([-1.5, -1, 1, 2])), [-32768, -32768, 32767, 32767])


@pytest.mark.parametrize("name", ["tones", "heights"])
def test_a_run_resumes_to_the_bit(runs, name, tmp_path):
    conditional = name == "tones"
    assert train(settings(name, conditional, 3), tmp_path / name, pytest.fail, progress=False) == 0
    said: list[str] = []
    assert train(settings(name, conditional), tmp_path / name, said.append, progress=False) == 0
    assert said == [f"resuming {tmp_path / name} from step 3"]
    assert digest(tmp_path / name) == digest(runs / name)


def test_sheets_of_sounds_play_and_are_of_the_samples(runs):
    run = runs / "tones"
    names = sorted(path.name for path in (run / "samples").iterdir())
    assert names == [f"step_0000000{i}{ending}" for i in (0, 3, 6) for ending in (".txt", ".wav")]
    with wave.open(str(run / "samples" / "step_00000006.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE, 1, 2)
        played = np.frombuffer(file.readframes(10**6), "<i2").reshape(6, LENGTH, 1)
    listed = (run / "samples" / "step_00000006.txt").read_text().splitlines()
    assert listed == [f"<sound {i}> {x.std():.1f}" for i, x in enumerate(played)]
    assert len({x.tobytes() for x in played}) == 6


def test_sampled_sounds_are_written_as_sound_or_as_arrays(runs, tmp_path, capsys):
    run = runs / "tones"
    for out in ("x.wav", "x.npz", "x.txt"):
        assert main(["sample", str(run), "--num", "5", "--seed", "3", "--out", str(tmp_path / out)]) == 0
    assert "wrote 5 sounds of step 6" in capsys.readouterr().err
    trained = sample.load(run, pytest.fail)
    with np.load(tmp_path / "x.npz") as arrays:
        assert sorted(arrays) == ["label", "samples", "seed", "state_sha256", "step"]
        made = arrays["samples"]
        np.testing.assert_array_equal(arrays["label"], [0, 1, 0, 1, 0])
    assert (made.dtype, made.shape) == (np.int16, (5, LENGTH, 1))
    np.testing.assert_array_equal(made, sample.images(trained, 5, 3))
    with wave.open(str(tmp_path / "x.wav")) as file:
        np.testing.assert_array_equal(np.frombuffer(file.readframes(10**6), "<i2"), made.ravel())
    assert main(["sample", str(run), "--out", str(tmp_path / "x.png")]) == 2
    assert "must end in .wav or .txt (a sheet) or .npz (arrays)" in capsys.readouterr().err
    (tmp_path / "given").mkdir()
    assert main(["translate", str(run), str(tmp_path / "given"), "--out", str(tmp_path / "out")]) == 2
    assert "holds no sounds (.wav and the like)" in capsys.readouterr().err


def test_sampled_rows_are_written_as_a_table(runs, tmp_path):
    out = tmp_path / "rows.csv"
    assert main(["sample", str(runs / "heights"), "--num", "300", "--out", str(out)]) == 0
    made = sample.images(sample.load(runs / "heights", pytest.fail), 300, 0)
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["height"] for row in rows] == [f"{x:.2f}" for x in made[:, 0]]
    assert [COLORS.index(row["color"]) for row in rows] == made[:, 1].astype(int).tolist()
    assert (runs / "heights" / "samples" / "step_00000006.csv").read_text().startswith("height,color\n")


def test_a_two_layer_game_learns_a_table(tmp_path, quick_curves):
    more: Any = {
        f"{player}_optimizer": {"adam": {"learning_rate": 2e-3}} for player in ("generator", "discriminator")
    }
    learning = settings("heights", False, 1500, run={"checkpoint_every": 1500, "sample_every": 1500}, **more)
    one = jax.devices()[:1]
    assert train(learning, tmp_path / "run", print, progress=False, devices=one) == 0
    made = sample.images(sample.load(tmp_path / "run", pytest.fail), 1000, 0)
    heights, green = made[:, 0], np.mean(made[:, 1] == 1)
    assert abs(heights.mean() - 170) < 4
    assert 5 < heights.std() < 15
    assert 0.5 < green < 0.9


def test_a_report_plays_sounds_and_shows_tables(runs, tmp_path):
    out = tmp_path / "report.html"
    assert main(["report", str(runs / "tones"), str(runs / "heights"), "--out", str(out)]) == 0
    page = out.read_text()
    # Three frames and the last of them; samples, walks and neighbours.
    assert page.count("<audio controls") == 3 + 1 + 3
    assert page.count("<h2>Nearest training sounds</h2>") == page.count("<h2>Nearest training rows</h2>") == 1
    assert "by features of numbers" in page
    assert "<td>height</td><td>color</td>" in page
    frames = re.findall(r'<script type="application/json" id="frames(\w+)">(.*?)</script>', page, re.DOTALL)
    assert [name for name, _ in frames] == ["0wav", "0txt", "1csv"]
    for _, held in frames:
        assert [step for step, _ in json.loads(held)] == [0, 3, 6]
    assert "&lt;sound 0&gt;" in json.loads(frames[1][1])[2][1]  # text is text, not markup


def test_scores_look_at_what_networks_see(runs, capsys):
    command = [
        "evaluate",
        str(runs / "heights"),
        "--num",
        "150",
        "--quiet",
        "--json",
        "--scores",
        "frechet",
        "kernel",
    ]
    assert main(command) == 0
    lines = {line["score"]: line for line in json.loads(capsys.readouterr().out)}
    assert lines["frechet"]["title"] == "FD (numbers)"
    protocol = lines["frechet"]["protocol"]
    assert protocol["features"] == "numbers"
    assert "resolution" not in protocol
    made = sample.images(sample.load(runs / "heights", pytest.fail), 150, 0)
    from jaxgan.data import order

    of, table = Heights(), domains.of(Heights())
    real = np.stack([of[int(i)]["real"] for i in order.indices(0, len(of), 0, 150)])
    (m1, c1), (m2, c2) = (
        (x.mean(0), np.cov(x.T))
        for x in (
            np.asarray(table.decode({"real": jnp.asarray(y)})["real"], np.float64) for y in (real, made)
        )
    )
    root = np.sqrt(
        np.linalg.eigvals(c1 @ c2).real.clip(0)
    ).sum()  # the trace of the root, as of similar matrices
    want = ((m1 - m2) ** 2).sum() + np.trace(c1) + np.trace(c2) - 2 * root
    assert lines["frechet"]["value"] == pytest.approx(want, rel=1e-3)
    assert main([*command[:2], "--scores", "diversity"]) == 2
    assert "no score is called 'diversity'" in capsys.readouterr().err
    assert main([*command[:2], "--features", "inception"]) == 2
    assert "no features of rows are called inception; there are auto, numbers" in capsys.readouterr().err


def test_networks_and_families_of_images_are_refused():
    layers = {"network": "dcgan", "width": 4}
    with pytest.raises(InputError, match="dcgan is of examples of 3 dimensions, and sounds here have 2"):
        experiment.of_source(settings("tones", True, generator=layers), Tones())
    game = {"family": "lapgan", "levels": 2}
    nets: Any = {"generator": {"network": "lapgan"}, "discriminator": {"network": "lapgan"}}
    with pytest.raises(InputError, match="lapgan is of images, and the data is of domain toy-table"):
        experiment.of_source(settings("heights", False, game=game, **nets), Heights())


def test_a_run_knows_its_domain_without_its_data(runs, tmp_path):
    manifest = RunDirectory(runs / "heights").read_manifest()
    assert manifest is not None
    assert manifest["domain"] == Heights.domain
    built = experiment.of_manifest(settings("heights", False), manifest)
    assert built.domain == domains.of(Heights())
    for wrong, text in (
        ({"domain": "smell"}, "toy-sound"),
        ({"domain": "toy-sound", "rate": -1}, "greater than 0"),
        ({"domain": "toy-sound", "pitch": 1}, "Extra inputs are not permitted"),
        ("toy-sound", "there are image"),
    ):
        with pytest.raises(InputError, match=text):
            experiment.of_manifest(settings("heights", False), {**manifest, "domain": wrong})


def test_a_name_is_registered_once():
    assert {"image", "toy-sound", "toy-table"} <= set(DOMAINS.kinds)
    assert {"embedded", "toy-tones"} <= set(DATA.kinds)
    with pytest.raises(ValueError, match="the domain 'image' is registered already"):
        domain("image")(Sound)
    with pytest.raises(ValueError, match="the source 'embedded' is registered already"):
        source("embedded")(TonesData)


def test_data_without_splits_says_so():
    with pytest.raises(InputError, match="data of source 'toy-heights' has no splits"):
        HeightsData().of_split("test")
    with pytest.raises(InputError, match="'toy-tones' has no split 'test': Input should be 'train'"):
        TonesData().of_split("test")
    built = experiment.of_source(settings("tones", True), Tones())
    assert experiment.held_out(built) is None


@domain("toy-text")
class Text(Domain):
    """Token ids int32 `[T]`; networks see one-hot numbers `[T, V]` and which positions come before the first 0."""

    vocabulary: tuple[str, ...]
    plural: ClassVar[str] = "sentences"
    sheets: ClassVar[tuple[str, ...]] = (".txt",)

    def decode(self, batch: Any) -> Any:
        seen = {
            n: 1.0 * jax.nn.one_hot(x, len(self.vocabulary)) if n in REAL else x for n, x in batch.items()
        }
        return {**seen, "mask": jnp.cumprod(batch["real"] != 0, 1)} if "real" in batch else seen

    def encode(self, made: np.ndarray) -> np.ndarray:
        return made.argmax(2).astype(np.int32)

    def facts(self, shape: tuple[int, ...]) -> dict[str, int]:
        return {"length": shape[0], "vocabulary": shape[1]}

    def write(self, shown: Shown, out: Path) -> None:
        out.write_text("\n".join(" ".join(self.vocabulary[i] for i in ids) for ids in shown.made))


class Sentences(Heights):
    """Six tokens of five."""

    domain: ClassVar[dict[str, Any]] = {"domain": "toy-text", "vocabulary": ["", "a", "b", "c", "<d>"]}
    fields: ClassVar[dict[str, Field]] = {"real": Field((6,), "int32"), "label": Field((), "int32")}

    def __getitem__(self, index: int, /) -> dict[str, Any]:
        draw = np.random.default_rng(index)
        return {"real": draw.integers(0, 5, 6, np.int32), "label": np.int32(0)}


@source("toy-sentences")
class SentencesData(Data):
    """Random sentences."""

    def open(self) -> Any:
        return Sentences()


def test_tokens_whose_decoding_has_another_shape_and_a_mask(tmp_path, capsys, quick_curves):
    run = tmp_path / "run"
    evaluated = {"every": 3, "num": 40}
    assert train(settings("sentences", False, 3, evaluation=evaluated), run, print, progress=False) == 0
    protocol = RunDirectory(run).read_evaluation()[0]["protocol"]
    assert (protocol["length"], protocol["vocabulary"]) == (6, 5)
    assert protocol["domain"]["vocabulary"] == ["", "a", "b", "c", "<d>"]
    assert main(["sample", str(run), "--num", "4", "--out", str(tmp_path / "four.txt")]) == 0
    made = sample.images(sample.load(run, pytest.fail), 4, 0)
    words = [[("", "a", "b", "c", "<d>")[i] for i in ids] for ids in made]
    assert [line.split(" ") for line in (tmp_path / "four.txt").read_text().split("\n")] == words
    assert main(["evaluate", str(run), "--num", "40", "--quiet"]) == 0
    assert main(["report", str(run), "--out", str(tmp_path / "r.html")]) == 0
    seen = domains.of(Sentences()).decode({"real": jnp.array([[1, 2, 0, 3, 0, 1]])})
    np.testing.assert_array_equal(seen["mask"], [[1, 1, 0, 0, 0, 0]])


def test_a_run_goes_on_with_the_same_domain_alone(runs, tmp_path, monkeypatch):
    shutil.copytree(runs / "tones", tmp_path / "tones")
    monkeypatch.setattr(Tones, "domain", {"domain": "toy-sound", "rate": RATE + 1})
    with pytest.raises(InputError, match=r"is of domain .*'rate': 801.* was of .*'rate': 800.*; restore it"):
        train(settings("tones", True, 9), tmp_path / "tones", print, progress=False)


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        ({"classes": None}, "it has no classes"),
        ({"fingerprint": None}, "it has no fingerprint"),
        ({"fields": {"real": Field((2,), "float32")}}, "no field 'label'; its fields are real"),
        ({"fields": {"label": Field((), "int32")}}, "no field 'real'"),
        ({"fields": {**Heights.fields, "more": Field((), "int32")}}, "has no 'more', which is one of its fields"),
        ({"fields": {**Heights.fields, "real": Field((3,), "float32")}}, r"is float32 \[2\], and .* float32 \[3\]"),
        ({"fields": {**Heights.fields, "real": Field((2,), "float64")}}, "is float32"),
        ({"domain": {"domain": "image"}}, r"examples are float32 \[2\], and images uint8"),
        ({"domain": {"domain": "toy-table", "column": Path("x")}}, "must be plain data"),
    ],
)  # fmt: skip
def test_a_source_that_is_none_is_refused(changed, line, monkeypatch):
    for name, value in changed.items():
        if value is None:
            monkeypatch.delattr(Heights, name)
        else:
            monkeypatch.setattr(Heights, name, value)
    with pytest.raises(InputError, match=line):
        experiment.of_source(settings("heights", False), Heights())


def test_what_a_domain_does_not_take_is_refused(monkeypatch):
    with pytest.raises(InputError, match="augment is of images, and the data is of domain toy-sound"):
        experiment.of_source(settings("tones", True, game={"augment": ["translation"]}), Tones())
    with pytest.raises(InputError, match="features is 'inception'; of sounds there are auto, numbers"):
        experiment.of_source(settings("tones", True, evaluation={"features": "inception"}), Tones())
    monkeypatch.setattr(Sound, "facts", lambda self, shape: {"rate": 3})
    with pytest.raises(InputError, match="tells the fact 'rate', which is none of resolution, channels"):
        experiment.of_source(settings("tones", True), Tones())


def test_numbers_are_features_of_small_examples_alone():
    with pytest.raises(InputError, match="at most, and sounds of this size have 4000"):
        features.load("auto", (4000, 1), domain=Sound(), dtype="int16")


def test_a_score_that_nobody_registered_is_named():
    with pytest.raises(InputError, match="no score is registered as 'loudness', which the domain has"):
        groups.chosen(None, (*Sound.scores, "loudness"), frozenset(), pytest.fail)


def test_labelled_examples_are_decoded_too(monkeypatch):
    monkeypatch.setattr(Heights, "classes", ("one", "two"))
    game, layers = {"family": "aae", "labels": 2, "latent": 2}, {"network": "mlp", "width": 8}
    fields = {**Heights.fields, **{f"labelled_{name}": field for name, field in Heights.fields.items()}}
    made = settings("heights", False, game=game, generator=layers)
    built = experiment.build(made, Heights.classes, 200, fields, domains.of(Heights()))
    shapes = {name: field.shape for name, field in built.domain.decoded(built.fields).items()}
    assert shapes["labelled_real"] == shapes["real"] == (4,)
    assert experiment.initial(built).params


def test_a_report_says_what_is_too_large_or_broken(tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "LARGEST", 400_000)
    (tmp_path / "large.txt").write_text("x" * 400_001)
    assert "large.txt is too large to be shown here (0 MB)" in pages.embedded(tmp_path / "large.txt")
    (tmp_path / "broken.csv").write_text("x" * 200_000)  # a cell of more than csv takes
    assert "broken.csv cannot be shown here" in pages.embedded(tmp_path / "broken.csv")
    (tmp_path / "odd.csv").write_text('"a\u2028b\nc",<d>\n')
    assert pages.embedded(tmp_path / "odd.csv").count("<tr>") == 1
    (tmp_path / "bytes.txt").write_bytes(b"\xff")
    assert "cannot be shown here" in pages.embedded(tmp_path / "bytes.txt")
