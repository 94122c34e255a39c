"""What is said of scores besides: of few images as of more, and of what a mean leaves out."""

import math

import numpy as np
import pytest

from jaxgan.scoring import scores
from jaxgan.scoring.evaluate import line
from jaxgan.scoring.formulas import frechet_bias, frechet_distance, inception_bias, inception_score, moments
from jaxgan.scoring.groups import GROUP, Pairs, Sample, Seen
from jaxgan.scoring.scores import Score


def seen(real, fake, logits=None, pairs=None, examples=None):
    def sample(x):
        shown = np.zeros((len(x), 1)) if examples is None else examples
        return Sample(x, x if logits is None else logits, shown, np.zeros(len(x), int))

    return Seen(sample(real), sample(fake), None, None, classes=0, num=len(fake), pairs=pairs)


def notes_of(name, given):
    group = GROUP[name]
    values = group.compute(given)
    return values, group.notes(given, values, {})


@pytest.mark.parametrize(("n", "d"), [(200, 16), (600, 128)])
def test_the_bias_of_few_images_is_told(n, d, rng):
    """Of two sets of one Gaussian: the true distance is 0, so that all of it is bias."""
    draws = [rng.normal(size=(2, n, d)) * np.arange(1, d + 1) ** -0.5 for _ in range(6)]
    value = np.mean([frechet_distance(*map(moments, pair)) for pair in draws])
    assert 0.75 < np.mean([frechet_bias(*pair) for pair in draws]) / value < 1.25
    x, y = draws[0]
    values, notes = notes_of("frechet", seen(x, y))
    if n == 200:
        assert notes == {}  # 12 images for each feature
    else:
        assert notes["frechet"].startswith("600 images are few for 128 features: about ")
        assert f"of its {values['frechet'][0]:.4g} comes from their number alone" in notes["frechet"]
        assert notes["frechet"].endswith("or take 1,280")


def test_fewer_images_than_features_have_at_least_that_bias(rng):
    x, y = rng.normal(size=(2, 60, 128))
    _, notes = notes_of("frechet", seen(x, y))
    assert notes["frechet"].startswith("60 images are few for 128 features: at least ")


def test_what_an_inception_score_lacks(rng):
    """Scores of many small splits, which fall short of that of all in one by what is said."""
    logits = 8 * rng.normal(size=(20000, 10))
    whole = inception_score(logits, splits=1).value
    small = [inception_score(part, splits=10) for part in np.split(logits, 50)]  # 40 images a split
    lacking = np.mean([inception_bias(part) for part in np.split(logits, 50)])
    assert np.mean([found.value for found in small]) + lacking == pytest.approx(whole, rel=0.02)
    assert lacking > 0.05 * whole
    few, many = logits[:400], logits[:5000]
    said = notes_of("inception_score", seen(few, few, few))[1]["inception_score"]
    assert said.startswith("40 images are few for a split: about ")
    assert notes_of("inception_score", seen(many, many, many))[1] == {}


def test_recall_of_nothing_does_not_come_without_a_word(rng):
    real = rng.normal(size=(30, 8))
    values, notes = notes_of("recall", seen(real, 100 + rng.normal(size=(30, 8))))
    assert values["recall"][0] == 0
    assert all(math.isnan(error) for _, error in values.values())
    assert notes["recall"] == (
        "it is of none of 30, from which no error can be told; a small share would look the same; "
        "30 images are few for 8 features: it tells something only beside what real ones reach"
    )
    _, notes = notes_of("recall", seen(*rng.normal(size=(2, 80, 8))))
    assert set(notes) <= {"coverage"}


def test_equal_pairs_are_counted_and_named_and_the_rest_is_kept():
    """Off by 1 and by 10 everywhere, and twice not at all: 20 log10(255) and 20 dB less."""
    truth = np.full((4, 12, 12, 1), 100, np.uint8)
    made = truth + np.array([0, 1, 0, 10], np.uint8)[:, None, None, None]
    given = seen(np.zeros((4, 0)), np.zeros((4, 0)), pairs=Pairs(truth, truth), examples=made)
    values, notes = notes_of("psnr", given)
    assert values["psnr"] == (pytest.approx((48.1308 + 28.1308) / 2, abs=1e-4), pytest.approx(10, abs=1e-9))
    assert values["l1"][0] == pytest.approx(11 / 4)  # of all pairs
    assert notes["psnr"] == (
        "2 of 4 samples equal their true answers (from 0: 0, 2), where the ratio is infinite; the mean is of the "
        "others; 4 of 4 inputs equal their true answers (from 0: 0, 1, 2, 3), where the ratio is infinite; none is left"
    )
    assert math.isinf(GROUP["psnr"].floor(given)["psnr"][0])


def test_no_pair_equal_no_word():
    truth = np.full((2, 12, 12, 1), 100, np.uint8)
    given = seen(np.zeros((2, 0)), np.zeros((2, 0)), pairs=Pairs(truth, truth + 2), examples=truth + 1)
    assert notes_of("psnr", given)[1] == {}


def test_notes_are_written_down_and_said_once():
    two = [
        Score(name, name.upper(), 1.0, math.nan, 2.0, {}, note) for name, note in (("a", "few"), ("b", "few"))
    ]
    lines = [
        line(score, 0, seed, "") for seed in (0, 1) for score in (*two, Score("c", "C", 1.0, 0.5, 2.0, {}))
    ]
    assert scores.notes(lines) == ["A, B: few"]
    assert [x.get("note") for x in lines[:3]] == ["few", "few", None]
    assert "note" not in lines[2]


def test_a_seed_without_a_value_is_not_passed_over_in_silence():
    of = {"score": "psnr", "title": "PSNR (dB)", "floor": 3.0, "error": None}
    (_, row) = scores.rows([{**of, "value": value} for value in (None, 30.0, None)])
    assert row[:2] == ("PSNR (dB) (1 of 3 seeds)", "30")
    (_, row) = scores.rows([{**of, "value": 30.0}, {**of, "value": 32.0}])
    assert row[:3] == ("PSNR (dB)", "31", "1")
