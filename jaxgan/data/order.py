"""The order of examples: a pure function of the seed and the position, with no iterator state to save or lose.

For example:

    >>> epochs = indices(seed=0, length=5, start=0, count=10)
    >>> sorted(epochs[:5].tolist()), sorted(epochs[5:].tolist())
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    >>> np.array_equal(indices(seed=0, length=5, start=3, count=4), epochs[3:7])
    True
    >>> first, other = of_sides(0, [(3, False), (2, False)], start=0, count=6)  # of three and of two
    >>> np.bincount(first).tolist(), np.bincount(other).tolist()
    ([2, 2, 2], [3, 3])
    >>> Poisson(rate=1.0, slots=8).indices(seed=0, length=5, start=0, count=1).tolist()
    [[0, 1, 2, 3, 4, -1, -1, -1]]
"""

import functools
import threading
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxgan.errors import InputError

_lock = threading.Lock()


def indices(seed: int, length: int, start: int, count: int, side: int = 0) -> np.ndarray:
    """The data set's indices at the global positions start .. start + count - 1, as int64 [count].

    Position p lies in epoch p // length. Each epoch has a permutation of its own, drawn from (seed, epoch), so it
    visits each of the `length` examples exactly once; a range may straddle epochs and nothing is dropped.

    Args:
      seed: 0 <= seed < 2**64.
      length: the number of examples, at least 1.
      start, count: at least 0.
      side: another order for each side of a source, see `of_sides`.

    Raises:
      InputError: for an argument out of its range.
    """
    if not 0 <= seed < 2**64:
        raise InputError(f"the seed of the data order is {seed}: it must lie in 0 .. 2**64 - 1")
    if length < 1:
        raise InputError("the data set is empty: there is no example to put in order")
    if start < 0 or count < 0:
        raise InputError(f"start {start} and count {count} of a range of examples must not be negative")
    out = np.empty(count, np.int64)
    for epoch, offset, rows in _epochs(length, start, count):
        out[rows] = permutation(seed, length, epoch, side)[offset : offset + len(out[rows])]
    return out


def of_sides(seed: int, sides: Sequence[tuple[int, bool]], start: int, count: int) -> list[np.ndarray]:
    """What each side of a source shows at the positions start .. start + count - 1, each int64 [count].

    Every side goes through epochs of its own length, in an order of its own that is drawn from (seed, side, epoch), and
    so shows all of its items equally often. The first has the order of `indices`.

    Args:
      seed: 0 <= seed < 2**64.
      sides: of each its length, and whether it must stay apart: then it is as long as the first, and never shows the
        item of the same number. Each epoch puts all items on a circle, shuffled, and an item is shown beside the next.
      start, count: at least 0.

    Raises:
      InputError: as `indices`.
      ValueError: A side that must stay apart is not as long as the first, or one item alone.
    """
    length = sides[0][0]
    found = [indices(seed, length, start, count)]
    for side, (own, apart) in enumerate(sides[1:], 1):
        if not apart:
            found.append(indices(seed, own, start, count, side))
            continue
        if own != length or own < 2:
            raise ValueError(f"a side of {own} cannot stay apart from one of {length}")
        out = np.empty(count, np.int64)
        for epoch, _, rows in _epochs(length, start, count):
            out[rows] = neighbours(seed, length, epoch, side)[found[0][rows]]
        found.append(out)
    return found


def _epochs(length: int, start: int, count: int) -> Iterator[tuple[int, int, slice]]:
    """The epochs that a range of positions goes through: number, place where the range enters it, rows of the range."""
    filled = 0
    while filled < count:
        epoch, offset = divmod(start + filled, length)
        taken = min(length - offset, count - filled)
        yield epoch, offset, slice(filled, filled + taken)
        filled += taken


class Poisson(NamedTuple):
    """Examples drawn as private training asks for: in each turn every one of them by itself, with one probability.

    That many are drawn is left to chance, so a batch has slots, and those behind the last example stay empty.
    """

    rate: float
    """The probability."""
    slots: int
    """Rows of a batch. Where more examples are drawn than that, a random choice of them is left out."""

    @classmethod
    def of(cls, length: int, expected: int) -> "Poisson":
        """Draws `expected` of `length` examples on average, with so many slots that more come once in 1e30 turns."""
        from scipy.stats import binom

        rate = expected / length
        slots = -(-expected // 32) * 32
        while binom.sf(slots, length, rate) > OVERFLOW:
            slots += 32
        return cls(rate, slots)

    def indices(self, seed: int, length: int, start: int, count: int) -> np.ndarray:
        """The examples of the turns start .. start + count - 1, as int64 [count, slots], -1 for an empty slot.

        A turn's draw is a function of (seed, turn) alone. Each example's probability is `rate` rounded down to a
        multiple of 2**-64.

        Raises:
          InputError: for an argument out of its range.
        """
        indices(seed, length, start, 0)
        out = np.full((count, self.slots), -1, np.int64)
        most = min(int(self.rate * 2.0**64), 2**64 - 1)
        for row in range(count):
            bits = _philox(seed, start + row, stream=1).random_raw(length)
            drawn = np.flatnonzero(bits < np.uint64(most)) if self.rate < 1 else np.arange(length)
            if len(drawn) > self.slots:
                # All that is known of their bits is that they are small: the smallest are as good as any.
                drawn = np.sort(drawn[np.argsort(bits[drawn], kind="stable")[: self.slots]])
            out[row, : len(drawn)] = drawn
        return out


OVERFLOW = 1e-30
"""Probability, at most, that a turn of `Poisson.of` draws more examples than there are slots."""


def _philox(seed: int, number: int, stream: int = 0) -> np.random.Philox:
    return np.random.Philox(key=np.array([seed, number], np.uint64), counter=stream << 192)


def permutation(seed: int, length: int, epoch: int, side: int = 0) -> np.ndarray:
    """The order of one whole epoch: int64 [length], a permutation of 0 .. length - 1, read-only."""
    with _lock:  # so that reading threads which reach a new epoch together compute it once
        return _permutation(int(seed), int(length), int(epoch), int(side))


def neighbours(seed: int, length: int, epoch: int, side: int = 0) -> np.ndarray:
    """Which item is next to each where all stand on a circle in the order of an epoch: int64 [length], read-only."""
    with _lock:
        return _neighbours(int(seed), int(length), int(epoch), int(side))


KEPT = 2**28
"""Bytes of the orders that are kept where there may be many: runs of several seeds, each of several sides."""


def _permutation(seed: int, length: int, epoch: int, side: int) -> np.ndarray:
    return (_many if 64 * 8 * length <= KEPT else _few)(seed, length, epoch, side)


def _drawn(seed: int, length: int, epoch: int, side: int) -> np.ndarray:
    # Philox is keyed, so neighbouring seeds and epochs share no stream; NumPy guarantees its raw bits for ever, which
    # it does not for Generator.permutation. Sorting by random keys is a uniform shuffle (64-bit ties do not matter).
    bits = _philox(seed, epoch, stream=side + (side > 0)).random_raw(length)  # stream 1 is that of `Poisson`
    result = np.argsort(bits, kind="stable").astype(np.int64, copy=False)
    result.flags.writeable = False
    return result


# Readers straddle two epochs, of two or three sides, or read two sets in turns.
_many, _few = functools.lru_cache(maxsize=64)(_drawn), functools.lru_cache(maxsize=8)(_drawn)


@functools.lru_cache(maxsize=8)
def _neighbours(seed: int, length: int, epoch: int, side: int) -> np.ndarray:
    circle = _permutation(seed, length, epoch, side)
    result = np.empty_like(circle)
    result[circle] = np.roll(circle, -1)
    result.flags.writeable = False
    return result
