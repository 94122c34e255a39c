"""The HTML report: that it is whole, needs nothing else, and shows what the run holds."""

import base64
import io
import json
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from jaxgan import report
from jaxgan.cli import main
from jaxgan.data.sources import Embedded
from jaxgan.errors import InputError
from jaxgan.sampling import sample

pytestmark = pytest.mark.usefixtures("quick_programs", "small_batches")

TINY = [
    *("--quiet", "--data.split", "test", "--batch-size", "8", "--run.samples", "4", "--game.latent", "3"),
    *("--generator.width", "8", "--discriminator.width", "8", "--run.sample_every", "2"),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.toml").write_text(
        'name = "tiny"\nsteps = 4\n[data]\nsource = "embedded"\n[generator]\nnetwork = "mlp"\ndepth = 1\n'
        '[discriminator]\nnetwork = "mlp"\ndepth = 1\n[game]\nconditional = true\n[evaluation]\nevery = 2\nnum = 40\n'
    )
    for seed in (0, 1):
        run = ["--seed", str(seed), "--run-dir", str(folder / f"s{seed} & more")]
        assert main(["train", str(folder / "tiny.toml"), *TINY, *run]) == 0
    return folder


@pytest.fixture(scope="module")
def text(runs):
    """The report of one run, by the command line."""
    out = runs / "page.html"
    assert main(["report", str(runs / "s0 & more"), "--out", str(out)]) == 0
    return out.read_text()


class Page(HTMLParser):
    """Tags with their attributes, and the texts of scripts that hold data."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.data, self.words, self._script = [], {}, [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._script = dict(attrs).get("id") if tag == "script" else None

    def handle_endtag(self, tag):
        self._script = None

    def handle_data(self, data):
        if self._script:
            self.data[self._script] = json.loads(data)
        else:
            self.words.append(data)


def pixels(data):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


@pytest.mark.slow
def test_a_report_is_one_file_with_everything_in_it(text):
    page = Page(text)
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), (tag, attributes)
    assert "//" not in re.sub(r"base64,[A-Za-z0-9+/=]*|\"[A-Za-z0-9+/=]{200,}\"", "", text).replace(
        "<!--", ""
    )
    images = [attributes["src"] for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 6  # curves, scores, the slider, samples, walks, neighbours
    for image in images:
        assert pixels(image.removeprefix("data:image/png;base64,")).size
    words = " ".join(page.words)
    for expected in (
        "tiny, seed 0",
        "FD (fashion-cnn)",
        "n_fake 40",
        "40 images are few for 128 features",
        "batch_size = 8",
        "data_fingerprint",
        "0 & more",
    ):
        assert expected in words, expected


@pytest.mark.slow
def test_the_slider_holds_every_sample_grid(runs, text):
    run = runs / "s0 & more"
    frames = Page(text).data["frames0png"]
    assert [step for step, _ in frames] == [0, 2, 4]
    for step, shown in frames:
        (data,) = re.findall(r'src="data:image/png;base64,([^"]*)"', shown)
        assert base64.b64decode(data) == (run / "samples" / f"step_{step:08d}.png").read_bytes()


@pytest.mark.slow
def test_several_runs_stand_side_by_side_or_say_why_not(runs, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "SEARCHED", 100)
    paths = [runs / "s0 & more", runs / "s1 & more"]
    report.write(paths, tmp_path / "page.html", print)
    words = " ".join(Page((tmp_path / "page.html").read_text()).words)
    assert "tiny (2 seeds)" in words
    assert "tiny, seed 1" in words
    kept = (paths[1] / "evaluation.jsonl").read_text()
    (paths[1] / "evaluation.jsonl").unlink()
    report.write(paths, tmp_path / "page.html", print)
    (paths[1] / "evaluation.jsonl").write_text(kept)
    words = " ".join(Page((tmp_path / "page.html").read_text()).words)
    assert "Not comparable" in words
    assert "Not scored yet: jaxgan evaluate" in words


@pytest.mark.parametrize("by", ["features", "numbers"])
@pytest.mark.slow
def test_neighbours_of_training_images_are_themselves(by, runs, monkeypatch):
    def none(*args, **more):
        raise InputError("no features")

    if by == "numbers":
        monkeypatch.setattr(report.features, "load", none)
    trained = sample.load(runs / "s0 & more", print)
    images, _ = Embedded("test").arrays()
    figure = report._neighbours(trained, images[:3, ..., None])
    assert by in figure
    sheet = pixels(re.search(r"base64,([^\"]*)", figure)[1])
    assert sheet.shape[0] == 3 * 30 - 2
    for i in range(3):
        row = sheet[30 * i : 30 * i + 28]
        np.testing.assert_array_equal(row[:, :28], images[i])
        np.testing.assert_array_equal(row[:, 30:58], images[i])
        assert not np.array_equal(row[:, 60:88], images[i])


def test_warnings_are_those_of_the_log():
    rows = [
        {
            "step": step + 1,
            "discriminator/real_accuracy": 1.0 if step >= 300 else 0.7,
            "discriminator/fake_accuracy": 1.0,
            "generator/grad_norm": None,
        }
        for step in range(1000)
    ]
    assert [line.split(":")[0] for line in report.warnings(rows)] == ["Step 800"]
    assert report.warnings([]) == []


def test_bad_input_ends_in_one_line(runs, tmp_path, capsys):
    for command, message in {
        ("report", str(tmp_path / "nowhere")): "not a run",
        ("report", str(runs / "s0 & more"), "--out", str(tmp_path / "page.pdf")): "ends in .html",
    }.items():
        capsys.readouterr()
        assert main([*command]) == 2
        assert message in capsys.readouterr().err


def test_sheets_of_a_folder_that_is_a_link_are_not_in_a_report(tmp_path):
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "step_00000001.png").touch()
    assert report._sheets(samples, ".png") == [samples / "step_00000001.png"]
    (tmp_path / "linked").symlink_to(samples)
    assert report._sheets(tmp_path / "linked", ".png") == []


def test_only_what_is_called_as_a_sheet_is_one(tmp_path):
    for name in ("step_00000002.png", "step_00000010.png", "step_x.png", "step_1.png", "step_00000003.gif"):
        (tmp_path / name).touch()
    assert [p.name for p in report._sheets(tmp_path, ".png")] == ["step_00000002.png", "step_00000010.png"]


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_numbers_of_any_size_and_a_log_without_any_are_no_hindrance(runs, tmp_path, capsys):
    """A stranger's run, or what a disk has left of one."""
    run = tmp_path / "run"
    shutil.copytree(runs / "s0 & more", run)
    (run / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    line = json.loads((run / "evaluation.jsonl").read_text().splitlines()[0])
    found = [
        {**line, "step": step, "seed": seed, "value": value, "error": 1e308, "floor": -value}
        for step, value in ((2, 1e308), (4, -1e308))
        for seed in range(3)
    ]
    (run / "evaluation.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in found))
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "<h2>Curves</h2>" not in page
    assert "<h2>Scores while training</h2>" in page
    capsys.readouterr()
    assert main(["compare", str(run), str(runs / "s1 & more")]) == 0
    assert " - " in capsys.readouterr().out


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_signs_are_looked_for_in_numbers_of_any_size():
    names = ("generator/grad_norm", "discriminator/fake_variance", "discriminator/real_variance")
    rows = [{"step": step, **dict(zip(names, (1e308, -1e308, 1.0), strict=True))} for step in range(1, 601)]
    assert any("explodes" in line for line in report.warnings(rows))
