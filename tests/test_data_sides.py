"""Sources of several sides, which do not belong together: who meets whom, how often, and what that depends on."""

import itertools
import pickle
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from jaxgan import config, experiment
from jaxgan.data import (
    Arrays,
    Degraded,
    Edges,
    Embedded,
    HiddenPairs,
    Source,
    Unpaired,
    batches,
    load,
    order,
)
from jaxgan.data.feed import Resident, Streaming
from jaxgan.data.labelled import Labelled
from jaxgan.data.sources import Glyphs, sides_of
from jaxgan.data.sources.derived import Apart, FirstSide
from jaxgan.data.sources.given import given
from jaxgan.data.stream import Batch
from jaxgan.errors import InputError
from jaxgan.families.translation import unmatched
from jaxgan.objectives import privacy
from jaxgan.parallel import Spread

EPOCHS = 60


def numbered(root: Path, ours: int, theirs: int) -> Unpaired:
    """Images that are full of their numbers, those of the other folder of 100 and more."""
    for name, count, base in (("ours", ours, 0), ("theirs", theirs, 100)):
        (root / name).mkdir()
        for i in range(count):
            Image.new("L", (2, 2), base + i).save(root / name / f"{i:02d}.png")
    return Unpaired(root / "ours", root / "theirs", 2, 1)


def seen(source: Source, seed: int, start: int, stop: int, size: int = 8) -> np.ndarray:
    """The first pixels of "real" and "other" in training, `[examples, 2]`."""
    rows = [
        np.stack([b[name][0, :, 0, 0, 0] for name in ("real", "other")], 1)
        for b in batches(source, seed, start, stop, 1, size)
    ]
    return np.concatenate(rows).astype(int)


@pytest.mark.parametrize(("ours", "theirs"), [(30, 40), (40, 30), (7, 7)])
def test_both_folders_are_seen_equally_often_and_partners_change(
    tmp_path: Path, ours: int, theirs: int
) -> None:
    source = numbered(tmp_path, ours, theirs)
    steps = -(-EPOCHS * len(source) // 8)
    met = seen(source, 3, 0, steps) - [0, 100]
    for side, count in enumerate((ours, theirs)):
        for until in (len(met), len(met) // 2 + 3, count + 1):
            times = np.bincount(met[:until, side], minlength=count)
            assert times.max() - times.min() <= 1
        for begin in range(0, len(met) - count, count):
            assert len(set(met[begin : begin + count, side])) == count  # each epoch of a side is all of it
    partners = [b for a, b in met if a == 0]
    assert len(partners) >= EPOCHS - 1
    # Of 60 draws among 40 some 31 differ, among 30 some 26, and of 60 among 7 all.
    assert len(set(partners)) >= {40: 24, 30: 19, 7: 7}[theirs]
    assert max(np.bincount(partners)) < EPOCHS / 2.5
    again = np.mean([a == b for a, b in itertools.pairwise(partners)])
    assert again < 0.4  # one in 40, 30 or 7


def test_the_sides_are_in_an_order_that_is_computed_a_second_way() -> None:
    def shuffled(epoch: int, side: int, length: int) -> list[int]:
        stream = (0, 2, 3)[side]  # 1 is that of private training
        bits = np.random.Philox(key=np.array([9, epoch], np.uint64), counter=stream << 192)
        return [i for _, i in sorted((int(bits.random_raw()), i) for i in range(length))]

    first, second, third = order.of_sides(9, [(5, False), (3, False), (5, True)], 4, 13)
    for row, place in enumerate(range(4, 17)):
        assert first[row] == shuffled(place // 5, 0, 5)[place % 5]
        assert second[row] == shuffled(place // 3, 1, 3)[place % 3]
        circle = shuffled(place // 5, 2, 5)
        assert third[row] == circle[(circle.index(int(first[row])) + 1) % 5]
    assert np.array_equal(first, order.indices(9, 5, 4, 13))
    with pytest.raises(ValueError, match="stay apart"):
        order.of_sides(0, [(5, False), (4, True)], 0, 1)


def pairs(count: int) -> Arrays:
    """Images and the inputs that are theirs, full of one number, as a source of arrays."""
    images = np.repeat(np.arange(count, dtype=np.uint8), 4).reshape(-1, 2, 2, 1)
    source = given({"real": images, "input": images, "label": np.arange(count) % 2})
    assert isinstance(source, Arrays)
    return source


def test_hidden_pairs_meet_everybody_but_their_own() -> None:
    source = HiddenPairs(pairs(7))
    met = seen(source, 0, 0, EPOCHS * 7, size=1)
    assert (met[:, 0] != met[:, 1]).all()
    for epoch in met.reshape(EPOCHS, 7, 2):
        assert sorted(epoch[:, 0]) == sorted(epoch[:, 1]) == list(range(7))
    times = np.bincount(met[met[:, 0] == 0, 1], minlength=7)
    assert times[0] == 0
    assert (times[1:] > 0).all()
    assert times.max() < 25  # ten on average, deviation 2.9
    # Fixed examples keep their partners, of which the truth is known.
    assert [int(source[i]["other"][0, 0, 0]) for i in range(7)] == [source.partner(i) for i in range(7)]


def test_partners_are_of_the_seed_and_the_position_alone(tmp_path: Path) -> None:
    """Not of where a run begins, of what reads, nor of how many share a batch; and not the same with another seed."""
    for source in (numbered(tmp_path, 5, 8), HiddenPairs(pairs(9)), Labelled(HiddenPairs(pairs(9)), 4)):
        everything = list(batches(source, 6, 0, 12, 2, 8))
        for start in (1, 7):
            for late, whole in zip(batches(source, 6, start, 12, 2, 8), everything[start:], strict=True):
                same(late, whole)
        halves = [batches(source, 6, 0, 12, 2, 8, rows) for rows in (slice(0, 4), slice(4, 8))]
        for first, second, whole in zip(*halves, everything, strict=True):
            same({n: np.concatenate([first[n], second[n]], 1) for n in whole}, whole)
        copy = pickle.loads(pickle.dumps(source))
        same(next(batches(copy, 6, 3, 4, 2, 8)), everything[3])
        other = [b["other"] for b in batches(source, 7, 0, 12, 2, 8)]
        assert not np.array_equal(other, [b["other"] for b in everything])


def same(got: Batch, want: Batch) -> None:
    assert got.keys() == want.keys()
    for name, values in want.items():
        assert got[name].dtype == values.dtype
        np.testing.assert_array_equal(got[name], values)


def test_memory_and_streams_feed_the_same(tmp_path: Path) -> None:
    spread = Spread("pmap", jax.devices()[:1])
    for source in (numbered(tmp_path, 5, 9), Labelled(HiddenPairs(pairs(9)), 4)):
        shape = (2, 4, 3, spread)
        whole = load(source, progress=False)
        assert {name: len(x) for name, x in whole.items()} == {
            n: s.length for s in sides_of(source) for n in s.fields
        }
        kept = Resident(whole, 5, *shape)
        read = Streaming(source, 5, *shape, stop=20, workers=0)
        for start in (4, 7):
            parts = [spread.local(feed.parts(start, 3)) for feed in (kept, read)]
            for i in range(3):
                a, b = (
                    {
                        n: np.asarray(x).reshape(2, 4, *x.shape[3:])
                        for n, x in f.fetch(f.whole, part, i).items()
                    }
                    for f, part in zip((kept, read), parts, strict=True)
                )
                same(a, b)
        read.close()


def test_labelled_examples_meet_others_in_each_epoch_and_are_shown_equally_often() -> None:
    source = Labelled(pairs(12), 4)
    shown = ("real", "labelled_real")
    steps = batches(source, 1, 0, 6 * 12, 1, 2)
    rows = np.concatenate([np.stack([b[n][0, :, 0, 0, 0] for n in shown], 1) for b in steps])
    known = sorted(source.indices)
    assert np.bincount(rows[:, 1], minlength=12)[known].tolist() == [36] * 4
    for i in range(12):
        assert len(set(rows[rows[:, 0] == i, 1])) >= 3  # of 12 draws among four, but for once in 2,000 times


def test_drawn_digits_meet_other_images_in_each_epoch() -> None:
    class Few(Embedded):
        def __len__(self) -> int:
            return 6

    source = Glyphs(Few("test"))
    drawn = {source[i]["other"].tobytes(): i for i in range(6)}
    reals = {source[i]["real"].tobytes(): i for i in range(6)}
    met = [
        (reals[b["real"][0, 0].tobytes()], drawn[b["other"][0, 0].tobytes()], int(b["other_label"][0, 0]))
        for b in batches(source, 0, 0, 20 * 6, 1, 1)
    ]
    assert all(source[j]["other_label"] == digit for _, j, digit in met)  # a digit keeps its label
    assert all(len({j for i, j, _ in met if i == k}) >= 4 for k in range(6))
    assert np.bincount([j for _, j, _ in met]).tolist() == [20] * 6


def test_what_is_made_of_such_a_source_keeps_its_sides(tmp_path: Path) -> None:
    source = numbered(tmp_path, 3, 5)
    for made in (Edges(source), Degraded(source, 2), given(source, classes=["all"])):
        assert [side.length for side in sides_of(made)] == [3, 5]
        assert {n for side in sides_of(made) for n in side.fields} == made.fields.keys()
        batch = next(batches(made, 0, 0, 1, 1, 15))
        assert np.bincount(batch["real"][0, :, 0, 0, 0]).tolist() == [5] * 3
        assert np.bincount(batch["other"][0, :, 0, 0, 0] - 100).tolist() == [3] * 5


def test_scores_see_each_image_once(tmp_path: Path) -> None:
    own = FirstSide(numbered(tmp_path, 3, 5))
    assert (len(own), list(own.fields)) == (3, ["real", "label"])
    assert [int(own[i]["real"][0, 0, 0]) for i in range(3)] == [0, 1, 2]
    plain = pairs(4)
    assert len(FirstSide(plain)) == 4
    assert FirstSide(plain).fields == plain.fields


def test_others_that_came_with_the_examples_leave_them() -> None:
    images = np.repeat(np.arange(6, dtype=np.uint8), 4).reshape(-1, 2, 2, 1)
    source = given({"real": images, "other": images + 100})
    fixed = seen(source, 0, 0, 60, 2)
    assert (fixed[:, 1] - fixed[:, 0] == 100).all()  # as they are given
    apart = unmatched(source)
    assert isinstance(apart, Apart)
    assert apart.fingerprint == source.fingerprint
    met = seen(apart, 0, 0, 60, 2) - [0, 100]
    assert np.bincount(met[:, 1]).tolist() == [20] * 6
    assert len({b for a, b in met if a == 0}) > 3
    hidden = HiddenPairs(pairs(4))
    assert unmatched(hidden) is hidden


@pytest.mark.skipif(not privacy.available(), reason="jaxgan[private] is not installed")
def test_private_training_takes_one_kind_of_examples(tmp_path: Path) -> None:
    numbered(tmp_path, 300, 301)
    changes = {
        **{
            "data.source": "unpaired",
            "data.path": str(tmp_path / "ours"),
            "data.other": str(tmp_path / "theirs"),
        },
        **{"data.resolution": "28", "data.channels": "1", "batch_size": "8"},
        "game.conditional": "false",
    }
    settings = config.load(Path(__file__).parents[1] / "configs" / "private.toml", changes)
    with pytest.raises(InputError, match="'private' draws whole examples, and this data puts together"):
        experiment.of_source(settings, experiment.source_of(settings))
