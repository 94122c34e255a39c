"""The order of examples: a pure function of the seed and the position, with no iterator state to save or lose.

For example:

    >>> epochs = indices(seed=0, length=5, start=0, count=10)
    >>> sorted(epochs[:5].tolist()), sorted(epochs[5:].tolist())
    ([0, 1, 2, 3, 4], [0, 1, 2, 3, 4])
    >>> np.array_equal(indices(seed=0, length=5, start=3, count=4), epochs[3:7])
    True
    >>> Poisson(rate=1.0, slots=8).indices(seed=0, length=5, start=0, count=1).tolist()
    [[0, 1, 2, 3, 4, -1, -1, -1]]
"""

import functools
import threading
from typing import NamedTuple

import numpy as np

from jaxgan.errors import InputError

_lock = threading.Lock()


def indices(seed: int, length: int, start: int, count: int) -> np.ndarray:
    """The data set's indices at the global positions start .. start + count - 1, as int64 [count].

    Position p lies in epoch p // length. Each epoch has a permutation of its own, drawn from (seed, epoch), so it
    visits each of the `length` examples exactly once; a range may straddle epochs and nothing is dropped.

    Args:
      seed: 0 <= seed < 2**64.
      length: the number of examples, at least 1.
      start, count: at least 0.

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
    filled = 0
    while filled < count:
        epoch, offset = divmod(start + filled, length)
        part = permutation(seed, length, epoch)[offset : offset + count - filled]
        out[filled : filled + len(part)] = part
        filled += len(part)
    return out


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


def permutation(seed: int, length: int, epoch: int) -> np.ndarray:
    """The order of one whole epoch: int64 [length], a permutation of 0 .. length - 1, read-only."""
    with _lock:  # so that reading threads which reach a new epoch together compute it once
        return _permutation(int(seed), int(length), int(epoch))


def inverse(seed: int, length: int, epoch: int) -> np.ndarray:
    """Where each example stands in the order of one whole epoch: int64 [length], read-only."""
    with _lock:
        return _inverse(int(seed), int(length), int(epoch))


@functools.lru_cache(maxsize=4)
def _inverse(seed: int, length: int, epoch: int) -> np.ndarray:
    result = np.argsort(_permutation(seed, length, epoch), kind="stable")
    result.flags.writeable = False
    return result


# An epoch's order takes 8 bytes an example; readers straddle two epochs, and two sets may be read in turns.
@functools.lru_cache(maxsize=4)
def _permutation(seed: int, length: int, epoch: int) -> np.ndarray:
    # Philox is keyed, so neighbouring seeds and epochs share no stream; NumPy guarantees its raw bits for ever, which
    # it does not for Generator.permutation. Sorting by random keys is a uniform shuffle (64-bit ties do not matter).
    bits = _philox(seed, epoch).random_raw(length)
    result = np.argsort(bits, kind="stable").astype(np.int64, copy=False)
    result.flags.writeable = False
    return result
