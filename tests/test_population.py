"""Classes are scored in the proportions of the reference: real images in place of a generator show whether they are."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan import config, domains, experiment
from jaxgan.data import Garments
from jaxgan.data.labelled import Labelled
from jaxgan.data.sources import Embedded
from jaxgan.data.sources.derived import Edges, FirstSide
from jaxgan.data.sources.given import given
from jaxgan.errors import InputError
from jaxgan.runs.directory import RunDirectory
from jaxgan.sampling import sample
from jaxgan.scoring import compare, evaluate, features
from jaxgan.scoring.population import Population, in_proportion, population
from jaxgan.scoring.scorer import Candidates, Scorer

pytestmark = pytest.mark.usefixtures("quick_programs")

COUNTS = (1500, 340, 160)  # 75%, 17% and 8%
CENTERS = np.array([[0.0, 0, 0], [6, 0, 0], [0, 6, 0]], np.float32)
MLP = {"network": "mlp", "width": 4, "depth": 1}


def real(seed, labels):
    noise = np.random.default_rng(seed).normal(size=(len(labels), 3))
    return (CENTERS[labels] + noise).astype(np.float32)


@pytest.fixture(scope="module")
def reference():
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(3), COUNTS))
    return given({"real": real(1, labels), "label": labels}, classes=["a", "b", "c"])


@pytest.fixture(scope="module")
def trained(reference):
    """A conditional run whose generator makes real examples of the class that it is asked for."""
    data = {"source": "embedded", "split": "test"}
    game = {"conditional": True}
    table = {"name": "x", "steps": 2, "batch_size": 8, "data": data, "generator": MLP, "discriminator": MLP}
    settings = config.parse({**table, "game": game})
    built = experiment.of_source(settings, reference)
    assert built.classes == 3

    def of_class(state, keys, batch):
        return jnp.asarray(CENTERS)[batch["label"]] + keys.normal((3,))

    built = built._replace(game=built.game._replace(sample=of_class))
    return sample.Trained(built, jax.jit(lambda: experiment.initial(built))(), step=0, digest="")


def scorer(reference, *names, num=2000):
    network = features.load("numbers", (3,), domain=domains.of(reference), dtype="float32")
    return Scorer(reference, network, names, num, progress=False)


def test_each_next_class_is_the_one_that_lacks_most():
    """Against the rule itself, one class after another."""
    for counts in (COUNTS, (1, 1), (3, 0, 2), (7, 7, 7, 1), (1, 1000)):
        had, expected = [0] * len(counts), []
        for _ in range(300):
            turns = [p / (2 * n + 1) for p, n in zip(counts, had, strict=True)]
            expected.append(turns.index(max(turns)))
            had[expected[-1]] += 1
        np.testing.assert_array_equal(in_proportion(counts, 300), expected)


def test_every_beginning_has_the_proportions():
    labels = in_proportion(COUNTS, 2000)
    assert np.bincount(labels).tolist() == list(COUNTS)
    for n in (10, 100, 999):
        quota = n * np.array(COUNTS) / 2000
        assert np.abs(np.bincount(labels[:n], minlength=3) - quota).max() < 1


def test_equal_classes_have_their_turn_as_ever():
    np.testing.assert_array_equal(in_proportion([40] * 10, 1234), np.arange(1234) % 10)
    assert Population((40, 40), "").protocol() == {"labels": "each class in turn"}


def test_a_generator_of_real_examples_scores_as_real_examples(reference, trained):
    """75%, 17% and 8%: in turn, as they were, classes alone would make a distance of many times the right one."""
    look = scorer(reference, "frechet", "coverage")
    labels = np.repeat(np.arange(3), COUNTS)
    fresh = {
        s.name: s.value for s in look.score(Candidates(lambda n: iter([real(7, labels)]), 2000, None, {}))
    }
    made, in_turn = (
        {s.name: s for s in look.score(evaluate.Generator(trained.built, of)(trained.state, 3))}
        for of in (look.population, Population((1, 1, 1), ""))
    )
    assert fresh["frechet"] < 0.05
    assert made["frechet"].value < 0.05
    assert in_turn["frechet"].value > 20 * made["frechet"].value
    assert made["coverage"].value == pytest.approx(fresh["coverage"], abs=0.02)
    assert in_turn["coverage"].value < made["coverage"].value - 0.03
    assert made["frechet"].protocol["labels"] == "in the reference's proportions"
    assert made["frechet"].protocol["class_counts"] == list(COUNTS)
    assert made["frechet"].protocol["classes_counted"] == "all examples"
    assert in_turn["frechet"].protocol["labels"] == "each class in turn"


def test_samples_are_of_the_labels_that_scores_are_told(reference, trained):
    """600 of them, in three parts of which the last is not whole: class accuracy and GAN-test rest on this."""
    look = scorer(reference, "frechet")
    made = evaluate.Generator(trained.built, look.population)(trained.state, 0)
    points, labels = np.concatenate(list(made.batches(600))), made.labels(600)
    nearest = np.linalg.norm(points[:, None] - CENTERS, axis=2).argmin(1)
    assert np.mean(nearest == labels) > 0.99
    assert np.bincount(labels).tolist() == [450, 102, 48]


def test_compare_refuses_old_labels_beside_new(reference, trained, tmp_path):
    look, lines = scorer(reference, "frechet", num=100), []
    for seed, of in enumerate((look.population, Population((1, 1, 1), ""))):
        (score,) = look.score(evaluate.Generator(trained.built, of)(trained.state, 0))
        run = RunDirectory(tmp_path / str(seed))
        run.write(run.config, trained.built.config.model_copy(update={"seed": seed}).to_toml())
        run.add_scores([evaluate.line(score, 2, 0, "")])
        lines.append(json.dumps(score.protocol))
    assert lines[0] != lines[1]
    with pytest.raises(InputError, match="labels in the reference's proportions and each class in turn"):
        compare.compare([tmp_path / "0", tmp_path / "1"])


def test_labels_come_from_all_examples_where_the_source_knows_them(reference):
    class Unknown:
        """A source that only tells labels by reading."""

        classes, fields, fingerprint = reference.classes, reference.fields, "unknown"

        def __len__(self):
            return len(reference)

        def __getitem__(self, index):
            return reference[index]

    seen = np.array([0, 0, 0, 1])
    assert population(reference, seen) == (COUNTS, "all examples")
    assert population(Unknown(), seen) == ((3, 1, 0), "examples read")
    assert population(Edges(Embedded("test")), seen) == ((200,) * 10, "all examples")
    for even in (Embedded("train"), Garments("train"), Labelled(Embedded("train"), 100)):
        assert population(FirstSide(even), seen) == ((1000,) * 10, "all examples")


def test_hidden_pairs_have_the_label_of_what_they_should_become():
    """A game of classes on such data: found again by the pixels."""
    net = {"network": "dcgan", "width": 2}
    data = {"source": "embedded", "task": "unpaired-edges"}
    table = {"name": "x", "steps": 2, "batch_size": 8, "data": data, "generator": net, "discriminator": net}
    settings = config.parse({**table, "game": {"latent": 4, "conditional": True}})
    built = experiment.of_source(settings, settings.data.open())._replace(given=("other",))
    found = experiment.examples(built, 31)
    pixels, labels = Embedded("test").arrays()
    for real, label in zip(found["real"], found["label"], strict=True):
        (place,) = np.flatnonzero((pixels == real[..., 0]).all((1, 2)))
        assert labels[place] == label


def test_another_number_of_classes_is_refused(trained):
    with pytest.raises(
        InputError, match="samples of 3 classes, and the real examples are of 2; take another split"
    ):
        evaluate.Generator(trained.built, Population((3, 1), ""))(trained.state, 0).labels(4)


def test_standing_statistics_are_of_the_classes_asked_for():
    """Of each class in turn as without a word, and of one class others."""
    data = {"source": "embedded", "split": "test"}
    net = {"network": "dcgan", "width": 2}
    table = {"name": "x", "steps": 2, "batch_size": 8, "data": data, "generator": net, "discriminator": net}
    built = experiment.of_source(
        config.parse({**table, "game": {"latent": 4, "conditional": True}}), Embedded("test")
    )
    state = jax.jit(lambda: experiment.initial(built))()

    def statistics(asked):
        return jax.tree.leaves(sample.standing(built, state, 2, 0, asked).stats["generator"])

    usual, turns = statistics(None), statistics(np.arange(16, dtype=np.int32) % 10)
    ones = statistics(np.ones(16, np.int32))
    for a, b in zip(usual, turns, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
    assert any(not np.allclose(a, b, rtol=1e-2) for a, b in zip(usual, ones, strict=True))
