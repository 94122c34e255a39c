"""Scores of runs and folders against the metrics called by hand, and what a protocol must say and refuse."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from jaxgan import domains
from jaxgan.cli import main
from jaxgan.config import load
from jaxgan.data import order, prepare
from jaxgan.data.sources import Embedded
from jaxgan.errors import InputError, Renamed
from jaxgan.parallel import Spread
from jaxgan.runs.checkpoint import sha256
from jaxgan.runs.directory import RunDirectory
from jaxgan.runs.inspection import load_run
from jaxgan.sampling import sample
from jaxgan.scoring import compare, evaluate, features, formulas, groups
from jaxgan.scoring.scorer import Candidates, Scorer
from jaxgan.training import train

pytestmark = pytest.mark.usefixtures("quick_programs", "small_batches", "quick_curves")

TINY = [
    *("--quiet", "--data.split", "test", "--batch-size", "8", "--run.samples", "4", "--game.latent", "3"),
    *("--generator.width", "8", "--discriminator.width", "8", "--game.conditional", "false"),
]
NUM = 120


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "tiny.toml"
    path.write_text(
        'name = "tiny"\nsteps = 4\n[data]\nsource = "embedded"\n[generator]\nnetwork = "mlp"\ndepth = 1\n'
        '[discriminator]\nnetwork = "mlp"\ndepth = 1\n'
    )
    return path


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """Two runs of one config, trained on the 2,000 test images."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        run = ["--seed", str(seed), "--run-dir", str(folder / f"s{seed}")]
        assert main(["train", str(config), *TINY, *run]) == 0
    return folder


@pytest.fixture
def runs(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "runs")


def said(*lines):
    raise AssertionError(lines)


def real(count, split="test"):
    images, _ = Embedded(split).arrays()
    return images[order.permutation(0, len(images), 0)[:count], ..., None]


@pytest.mark.slow
def test_scores_are_those_of_the_features_by_hand(runs):
    asked = [
        "frechet",
        "kernel",
        "inception_score",
        "precision",
        "recall",
        "density",
        "coverage",
        "diversity",
    ]
    lines = evaluate.of_run(runs / "s0", names=asked, num=NUM, seeds=[3], say=said, progress=False)
    network = features.load("fashion-cnn", (28, 28, 1))
    fake = sample.images(sample.load(runs / "s0", said), NUM, 3)
    x, y = network.extract([real(NUM)]), network.extract([fake])
    area = formulas.manifold(x.features, y.features)
    expected = {
        "frechet": formulas.frechet_distance(formulas.moments(x.features), formulas.moments(y.features)),
        "kernel": formulas.kernel_distance(x.features, y.features).value,
        "inception_score": formulas.inception_score(y.logits).value,
        "precision": area.precision,
        "recall": area.recall,
        "density": area.density,
        "coverage": area.coverage,
        "diversity": formulas.diversity(fake, data_range=255).value,
    }
    assert [line["score"] for line in lines] == asked
    for line in lines:
        np.testing.assert_allclose(line["value"], expected[line["score"]], rtol=1e-6, err_msg=line["score"])
    halves = [formulas.moments(part) for part in np.array_split(x.features, 2)]
    np.testing.assert_allclose(lines[0]["floor"], formulas.frechet_distance(*halves), rtol=1e-6)
    assert lines[0]["error"] > 0
    written = [json.loads(line) for line in (runs / "s0" / "evaluation.jsonl").read_text().splitlines()]
    assert written == lines


@pytest.mark.slow
def test_a_protocol_says_all_that_a_score_depends_on(runs):
    (line,) = evaluate.of_run(
        runs / "s0", names=["frechet"], num=50, split="train", truncation=0.5, say=said, progress=False
    )
    protocol = line["protocol"]
    assert protocol == {
        "n_real": 50,
        "n_fake": 50,
        "data": "embedded",
        "split": "train",
        "data_fingerprint": Embedded("train").fingerprint,
        "resolution": 28,
        "channels": 1,
        "features": "fashion-cnn",
        "features_sha256": features.load("auto", (28, 28, 1)).sha256,
        "resize": "none",
        "weights": "average, decay 0.999",
        "batch_norm": "none",
        "truncation": 0.5,
        "labels": "none",
    }
    assert (line["step"], line["seed"]) == (4, 0)
    assert line["state_sha256"] == sha256(load_run(runs / "s0", said).table)


@pytest.mark.slow
def test_raw_weights_and_truncation_change_what_is_scored(runs):
    found = [
        evaluate.of_run(runs / "s0", names=["frechet"], num=50, say=said, progress=False, **options)[0][
            "value"
        ]
        for options in ({}, {"averaged": False}, {"truncation": 0.1})
    ]
    assert len(set(found)) == 3


def scorer(chosen, num=400, reference="test", **more):
    source = Embedded(reference)
    return Scorer(source, features.load("auto", (28, 28, 1)), chosen, num, progress=False, **more)


def given(images):
    return Candidates(lambda count: iter([images[:count]]), len(images), None, {})


def values(scorer, images):
    return {score.name: score.value for score in scorer.score(given(images))}


@pytest.mark.slow
def test_dropped_classes_and_copies_are_caught():
    """Each by the scores whose papers say so."""
    images, labels = Embedded("train").arrays()
    mixed = np.random.default_rng(1).permutation(len(images))
    images, labels = images[mixed, ..., None], labels[mixed]
    honest, few = images[:400], images[labels < 4][:400]
    train, test = Embedded("train"), Embedded("test")
    look = scorer(["frechet", "recall", "coverage", "memorisation"], train=train, test=test)
    fresh = real(400)  # of the test images: not trained on
    good, dropped, copies = values(look, fresh), values(look, few), values(look, honest)
    assert dropped["frechet"] > 3 * good["frechet"]
    assert dropped["recall"] < 0.7 * good["recall"]
    assert dropped["coverage"] < 0.7 * good["coverage"]
    assert 0.4 < good["memorisation"] < 0.6
    assert copies["memorisation"] == 1


def test_asked_classes_are_found_by_the_classifier():
    """GAN-test: of images whose label is right the classifier finds as many as of real ones, of shifted labels few."""
    images, labels = Embedded("test").arrays()
    order_ = np.random.default_rng(1).permutation(len(images))[:500]
    images, labels = images[order_, ..., None], labels[order_].astype(np.int32)
    look = scorer(["gan_test"], num=500)
    logits = features.load("auto", (28, 28, 1)).extract([images]).logits
    for shift in (0, 1):
        asked = (labels + shift) % 10
        made = Candidates(lambda count: iter([images]), 500, lambda count, asked=asked: asked, {})
        (score,) = look.score(made)
        share = np.mean(logits.argmax(1) == asked)
        assert score.value == pytest.approx(share)
        right = [
            (logits.argmax(1) == asked)[asked == c] for c in range(10)
        ]  # as many of each class in any choice
        within = sum(each.var() * len(each) for each in right)
        assert score.error == pytest.approx(np.sqrt(within / (500 - 10) / 500))
        assert score.floor == pytest.approx(0.93, abs=0.03)


def test_classes_that_features_do_not_tell_are_refused():
    class Shifted(Embedded):
        def __getitem__(self, i):
            example = super().__getitem__(i)
            return {**example, "label": (example["label"] + 1) % 10}

    network = features.load("auto", (28, 28, 1))
    with pytest.raises(InputError, match="tell the classes"):
        Scorer(Shifted("test"), network, ["gan_test"], 200, progress=False)
    other = network._replace(run=lambda images: tuple(x[:, :7] for x in network.run(images)))
    with pytest.raises(InputError, match="these tell 7"):
        Scorer(Embedded("test"), other, ["gan_test"], 200, progress=False)
    said_of = []
    left = Scorer(Embedded("test"), other, ["gan_test"], 200, progress=False, leave_out=said_of.append)
    assert not left.groups
    assert "these tell 7" in said_of[0]


def test_identical_images_have_perfect_scores():
    images = real(400)
    found = values(scorer(["frechet", "precision", "recall", "coverage"]), images)
    assert found == {"frechet": pytest.approx(0, abs=1e-6), "precision": 1, "recall": 1, "coverage": 1}


@pytest.mark.slow
def test_a_folder_against_real_images(tmp_path, capsys):
    images = real(150, "train")
    for i, image in enumerate(images):
        (tmp_path / "fakes").mkdir(exist_ok=True)
        Image.fromarray(image[..., 0]).save(tmp_path / "fakes" / f"{i:04d}.png")
    command = [
        "evaluate",
        "--images",
        str(tmp_path / "fakes"),
        "--reference",
        "embedded:test",
        "--num",
        "150",
    ]
    assert main([*command, "--scores", "frechet", "recall", "--json"]) == 0
    lines = json.loads(capsys.readouterr().out)
    network = features.load("auto", (28, 28, 1))
    x, y = (network.extract([part]).features for part in (real(150), images))
    expected = formulas.frechet_distance(formulas.moments(x), formulas.moments(y))
    np.testing.assert_allclose(lines[0]["value"], expected, rtol=1e-6)
    assert lines[0]["protocol"]["images_fingerprint"]
    assert (
        main([*command, "--scores", "diversity", "--json"]) == 0
    )  # which looks at images, through no network
    (line,) = json.loads(capsys.readouterr().out)
    assert line["protocol"]["features"] == "none"
    assert main([*command, "--scores", "frechet"]) == 0
    out = capsys.readouterr().out
    assert "FD (fashion-cnn)" in out
    assert "n_fake 150" in out


def test_compare_shows_means_over_seeds_and_their_errors(runs, config, capsys):
    for seed in (0, 1):
        evaluate.of_run(runs / f"s{seed}", names=["frechet"], num=50, seeds=[0, 1], say=said, progress=False)
    found = compare.compare([runs / "s0", runs / "s1"])
    each = [
        np.mean(
            [json.loads(line)["value"] for line in (runs / f"s{s}/evaluation.jsonl").read_text().splitlines()]
        )
        for s in (0, 1)
    ]
    assert len(found.columns) == 1
    ((value, error),) = found.rows["frechet"]
    assert value == pytest.approx(np.mean(each))
    assert error == pytest.approx(abs(each[0] - each[1]) / 2)
    assert main(["compare", str(runs / "s0"), str(runs / "s1")]) == 0
    assert "tiny (2 seeds)" in capsys.readouterr().out
    assert len(compare.compare([runs / "s0"]).columns) == 1
    only = next(iter(RunDirectory(runs / "s0").read_evaluation()))
    RunDirectory(runs / "s0").add_scores(
        [{**only, "score": "kernel", "title": "kernel distance", "value": 3.0}]
    )
    titles = compare.compare([runs / "s0", runs / "s1"]).titles
    assert titles == {"frechet": "FD (fashion-cnn)", "kernel": "kernel distance (not of all runs)"}


@pytest.mark.slow
def test_compare_tells_columns_apart_and_refuses_a_seed_twice(runs, config, tmp_path, capsys):
    wide = [*TINY, "--generator.width", "9", "--run-dir"]
    for seed in ("0", "1"):
        assert main(["train", str(config), "--seed", seed, *wide, str(runs / f"w{seed}")]) == 0
    for run in sorted(runs.iterdir()):
        evaluate.of_run(run, names=["frechet"], num=50, say=said, progress=False)
    capsys.readouterr()
    assert main(["compare", *map(str, sorted(runs.iterdir()))]) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert f"{runs / 's0'} and 1 more" in head
    assert f"{runs / 'w0'} and 1 more" in head
    (steps,) = (row for row in rows if row.startswith("at step"))
    assert steps.split() == ["at", "step", "4", "4"]
    shutil.copytree(runs / "s0", runs / "again")
    with pytest.raises(InputError, match=r"s0 and .*again are of one config and seed"):
        compare.compare([runs / "s0", runs / "again"])


@pytest.mark.slow
def test_compare_refuses_other_protocols_and_names_the_difference(runs, capsys):
    for seed, num in ((0, 50), (1, 60)):
        evaluate.of_run(runs / f"s{seed}", names=["frechet"], num=num, say=said, progress=False)
    with pytest.raises(InputError, match=r"frechet of .*s0 and .*s1 .*n_real 50 and 60, n_fake 50 and 60"):
        compare.compare([runs / "s0", runs / "s1"])
    assert main(["compare", str(runs / "s0"), str(runs / "s1")]) == 2
    capsys.readouterr()
    evaluate.of_run(runs / "s1", names=["frechet"], num=50, say=said, progress=False)
    evaluate.of_run(runs / "s1", names=["frechet"], num=70, say=said, progress=False)
    found = compare.compare([runs / "s0", runs / "s1"])  # both have 50
    assert found.protocols["frechet"]["n_fake"] == 50


@pytest.mark.slow
def test_a_run_of_an_older_version_is_read_with_a_note_of_the_new_names(runs, tmp_path, capsys):
    old = tmp_path / "old"
    shutil.copytree(runs / "s0", old)
    command = ["evaluate", str(old), "--num", "50", "--quiet"]
    assert main([*command, "--scores", "kernel"]) == 0
    for name, now, before in (
        ("config.toml", "scores = [", "metrics = ["),
        ("evaluation.jsonl", '"score":', '"metric":'),
        ("manifest.json", '"real"', '"image"'),
    ):
        text = (old / name).read_text()
        assert now in text
        (old / name).write_text(text.replace(now, before))
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["domain"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    assert main([*command, "--metrics=frechet"]) == 0
    said_so = capsys.readouterr().err.splitlines()
    assert said_so.count("jaxgan: --metrics is called --scores now") == 1
    (note,) = (line for line in said_so if "evaluation." in line)
    assert note.endswith("config.toml: evaluation.metrics is called evaluation.scores now")
    with pytest.warns(Renamed):
        found = compare.compare([old])
    assert set(found.rows) >= {"kernel", "frechet"}
    assert [line["score"] for line in RunDirectory(old).read_evaluation()][-2:] == ["kernel", "frechet"]


EVALUATED = [
    "--evaluation.every",
    "2",
    "--evaluation.num",
    "50",
    "--evaluation.scores",
    '["recall", "frechet"]',
]


@pytest.mark.slow
def test_scores_while_training_change_nothing_and_keep_the_best(trained, config, tmp_path):
    run = tmp_path / "run"
    assert main(["train", str(config), *TINY, *EVALUATED, "--run-dir", str(run)]) == 0
    assert sha256(load_run(run, said).table) == sha256(load_run(trained / "s0", said).table)
    lines = [json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()]
    assert [(line["step"], line["score"]) for line in lines] == [
        (step, metric) for step in (2, 4) for metric in ("frechet", "recall")
    ]
    later = evaluate.of_run(run, names=["frechet", "recall"], num=50, say=said, progress=False)
    for mine, trains in zip(later, lines[2:], strict=True):
        assert mine["protocol"] == trains["protocol"]
        np.testing.assert_allclose(mine["value"], trains["value"], rtol=1e-6)
    best = json.loads((run / "best" / "score.json").read_text())
    assert best["value"] == min(line["value"] for line in lines if line["score"] == "frechet")
    assert load_run(run, said, best=True).step == best["step"]
    (again,) = evaluate.of_run(run, names=["frechet"], num=50, best=True, say=said, progress=False)
    np.testing.assert_allclose(again["value"], best["value"], rtol=1e-6)


@pytest.mark.slow
def test_resuming_drops_scores_of_steps_that_are_taken_again(config, tmp_path):
    run = tmp_path / "run"
    command = ["train", str(config), *TINY, *EVALUATED, "--run-dir", str(run)]
    assert main([*command, "--steps", "4"]) == 0
    whole = (run / "evaluation.jsonl").read_text()
    with (run / "evaluation.jsonl").open("a") as file:
        file.write(json.dumps({**json.loads(whole.splitlines()[0]), "step": 6}) + "\n")
    assert main([*command, "--steps", "6"]) == 0
    lines = [json.loads(line) for line in (run / "evaluation.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 2, 4, 4, 6, 6]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["{run}", "--scores", "frechte"], "no score is called 'frechte'; did you mean frechet?"),
        (["{run}", "--scores", "accuracy"], "accuracy needs"),
        (["{run}", "--num", "1"], "--num is 1; it must be at least 2"),
        (["{run}", "--num", "5", "--scores", "recall"], "recall of real images cannot be computed"),
        (["{run}", "--truncation", "0"], "--truncation is 0"),
        (["{run}", "--split", "valid"], "no split 'valid'"),
        (["{run}", "--features", "inception"], "needs --weights FILE"),
        (["{run}", "--best"], "has no best checkpoint"),
        (["{run}", "--seeds", "2:1"], "--seeds is 2:1"),
        (["{run}", "--images", "x"], "give one of them"),
        ([], "give one of them"),
        (["nowhere"], "not a run"),
        (["--images", "{small}"], "--images DIR needs --reference"),
        (["--images", "{small}", "--reference", "embedded"], "are 8x8 grey, the reference 28x28 grey"),
        (["--images", "{mixed}", "--reference", "embedded"], "make all images one square size"),
        (["--images", "{empty}", "--reference", "embedded"], "holds no images"),
        (["{run}", "--reference", "embedded"], "--reference goes with --images"),
    ],
)
def test_bad_input_ends_in_one_line(options, message, trained, tmp_path, capsys):
    for name, sizes in {"small": [(8, 8)], "mixed": [(28, 28), (28, 20)], "empty": []}.items():
        (tmp_path / name).mkdir()
        for i, size in enumerate(sizes):
            Image.new("L", size).save(tmp_path / name / f"{i}.png")
    places = {"run": trained / "s0", **{name: tmp_path / name for name in ("small", "mixed", "empty")}}
    capsys.readouterr()
    assert main(["evaluate", "--quiet", *(option.format(**places) for option in options)]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert message in line


def test_one_metric_that_cannot_be_computed_does_not_take_the_others_with_it(runs):
    said_so = []
    lines = evaluate.of_run(runs / "s0", num=10, say=said_so.append, progress=False)
    found = {line["score"] for line in lines}
    assert {"frechet", "kernel", "inception_score", "diversity"} <= found
    assert not {"precision", "recall", "density", "coverage"} & found
    assert any("left out: precision, recall, density, coverage of real images cannot" in x for x in said_so)


def test_several_processes_do_not_score_while_they_train(config, tmp_path):
    settings = load(config, {"evaluation.every": "2"})
    spread = Spread()
    spread.processes = 2
    with pytest.raises(InputError, match="single process"):
        train._train([settings], [tmp_path / "run"], spread, said, False)
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_computed_is_left_out_with_a_line(runs):
    lines = []
    found = groups.chosen(None, domains.Image().scores, frozenset({"test"}), lines.append)
    assert "memorisation" not in found
    assert lines == ["memorisation is left out: it needs a split of test data"]
    assert groups.chosen(["all"], domains.Image().scores, frozenset(), said) == domains.Image().scores


def test_few_images_are_told_with_their_scores(runs, capsys):
    assert main(["evaluate", str(runs / "s0"), "--num", "60", "--scores", "frechet", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "FD (fashion-cnn): 60 images are few for 128 features: at least " in out
    (line,) = RunDirectory(runs / "s0").read_evaluation()
    assert line["note"] in out


def test_folders_of_deep_images_are_compared_by_one_range(tmp_path, rng):
    """The same picture is the same beside brighter ones; and a protocol says by which range."""
    pictures = rng.integers(0, 4001, (20, 28, 28)).astype(np.uint16)
    for name in "ab":
        (tmp_path / name).mkdir()
        for i, picture in enumerate(pictures):
            Image.fromarray(picture).save(tmp_path / name / f"{i:02d}.png")
    Image.fromarray(pictures[0] * 15).save(tmp_path / "b" / "z.png")
    names = str(tmp_path / "a"), str(tmp_path / "b")
    alone = [evaluate.open_reference(name) for name in names]
    assert [domains.of(x).ranges["real"] for x in alone] == [(0, 4095), (0, 65535)]
    with pytest.raises(InputError, match=r"0 to 4095 in the images, and 0 to 65535 .*--range"):
        evaluate.of_images(*alone, names=["diversity"])
    ours, theirs = evaluate.open_both(*names)
    np.testing.assert_array_equal(ours[0]["real"], theirs[0]["real"])
    np.testing.assert_array_equal(ours[0]["real"][..., 0], np.rint(pictures[0] / 257))
    (score,) = evaluate.of_images(ours, theirs, names=["diversity"], num=20, progress=False)
    assert json.loads(json.dumps(score.protocol))["ranges"] == {"real": [0, 65535]}
    prepare(
        names[0], tmp_path / "out", span=(0, 8000), progress=False
    )  # a range that is stored counts for both
    for source in evaluate.open_both(str(tmp_path / "out"), names[1]):
        assert domains.of(source).ranges["real"] == (0, 8000)
    shallow = Embedded("test")
    (score,) = evaluate.of_images(shallow, shallow, names=["diversity"], num=20, progress=False)
    assert "ranges" not in score.protocol
