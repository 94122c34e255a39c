"""The order of examples against a second way of computing it."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from jaxgan.data import order
from jaxgan.errors import InputError


def reference(seed: int, length: int, positions: range) -> list[int]:
    """One position at a time, by sorting (random bits, index) pairs in pure Python."""
    orders: dict[int, list[int]] = {}
    out = []
    for p in positions:
        epoch = p // length
        if epoch not in orders:
            generator = np.random.Philox(key=np.array([seed, epoch], np.uint64))
            pairs = sorted((int(generator.random_raw()), i) for i in range(length))
            orders[epoch] = [i for _, i in pairs]
        out.append(orders[epoch][p % length])
    return out


@pytest.mark.parametrize(
    ("seed", "length", "start", "count"), [(0, 7, 0, 30), (5, 100, 95, 10), (2**64 - 1, 1, 3, 4)]
)
def test_matches_a_second_computation(seed: int, length: int, start: int, count: int) -> None:
    found = order.indices(seed, length, start, count)
    assert found.dtype == np.int64
    assert found.tolist() == reference(seed, length, range(start, start + count))


def test_the_bits_are_fixed_for_ever() -> None:
    # If this changes, no old run can be continued or repeated.
    digits = "".join(map(str, order.indices(3, 10, 0, 20)))
    assert digits == "61852794309783564021"


def test_each_epoch_visits_each_example_once() -> None:
    found = order.indices(1, 1000, 0, 5000).reshape(5, 1000)
    assert (np.sort(found, axis=1) == np.arange(1000)).all()


def test_a_range_does_not_depend_on_how_it_is_cut() -> None:
    whole = order.indices(9, 37, 0, 200)
    cuts = [0, 1, 36, 37, 38, 100, 150, 200]
    parts = [order.indices(9, 37, a, b - a) for a, b in itertools.pairwise(cuts)]
    assert np.array_equal(np.concatenate(parts), whole)
    assert order.indices(9, 37, 5, 0).shape == (0,)


def test_seeds_and_epochs_share_nothing() -> None:
    """Permutations of neighbouring seeds and epochs agree as rarely as independent ones, also when shifted."""
    length = 500
    orders = [
        order.indices(seed, length, epoch * length, length) for seed in (0, 1, 2, 3) for epoch in (0, 1, 2, 3)
    ]
    for a, b in itertools.combinations(orders, 2):
        # The number of agreements at a shift is about Poisson(1): 13 or more has a chance of 1e-10.
        agreements = [int((np.roll(a, shift) == b).sum()) for shift in range(length)]
        assert max(agreements) < 13


def test_every_first_place_is_equally_likely() -> None:
    firsts = np.bincount([order.indices(seed, 4, 0, 1)[0] for seed in range(2000)], minlength=4)
    assert (np.abs(firsts - 500) < 100).all()  # five standard deviations


def test_threads_agree_and_callers_cannot_spoil_the_cache() -> None:
    want = order.indices(77, 5000, 0, 5000)
    with ThreadPoolExecutor(8) as pool:
        for got in pool.map(lambda _: order.indices(77, 5000, 0, 5000), range(16)):
            assert np.array_equal(got, want)
            got[:] = 0
    assert np.array_equal(order.indices(77, 5000, 0, 5000), want)


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((-1, 5, 0, 1), "seed"),
        ((2**64, 5, 0, 1), "seed"),
        ((0, 0, 0, 1), "empty"),
        ((0, 5, -1, 1), "negative"),
    ],
)
def test_bad_arguments(arguments: tuple[int, int, int, int], what: str) -> None:
    with pytest.raises(InputError, match=what):
        order.indices(*arguments)
