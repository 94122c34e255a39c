"""Squared distances of all pairs: quickly by matrix products, and by differences where their rounding would decide.

Products lose what two nearly equal rows have in common, so that a distance of 0 comes out as 1e-14, and of two that
are equal either as the larger. So what lies within rounding of a threshold is computed again, pair by pair: equal rows
have distance 0, and what is equally far is equal.

For example:

    >>> a = np.array([[0.1, 0.7], [0.1, 0.7], [5.0, 5.0]])
    >>> (block,) = Distances(a).blocks()
    >>> block.nearest(1)[0].ravel().tolist()[:2]  # to others, not to itself
    [0.0, 0.0]
    >>> block.within(np.zeros(3)).astype(int).tolist()
    [[0, 1, 0], [1, 0, 0], [0, 0, 0]]
"""

from collections.abc import Iterator
from functools import cached_property

import numpy as np

BYTES = 2**25
"""Memory of a block of distances."""
PAIRS = 2**20
"""Numbers of pairs of rows whose differences are in memory at once."""
HEAVY = 8
"""How many times as many pairs as expected are to be settled where equal rows are looked for."""


class Distances:
    """Squared distances from the rows of a to those of b, both `[*, d]`."""

    def __init__(self, a: np.ndarray, b: np.ndarray | None = None) -> None:
        """Takes features; without b, those are the distances of each row of a to all the others."""
        self.a: np.ndarray = a
        self.b: np.ndarray = a if b is None else b
        self.alone: bool = b is None
        self._center = self.b.mean(0, dtype=np.float64)  # distances far from the origin lose digits
        self._table: np.ndarray | None = None

    def blocks(self) -> "Iterator[Block]":
        """A block of rows of a at a time, all in the same memory."""
        b = self.b - self._center
        lengths = np.einsum("ij,ij->i", b, b)
        step = max(1, BYTES // (8 * len(b)))
        block, spare = np.empty((2, min(step, len(self.a)), len(b)))
        slack = 4 * (b.shape[1] + 4) * np.finfo(np.float64).eps  # above the error of sums of so many products
        for start in range(0, len(self.a), step):
            rows = slice(start, start + step)
            part = self.a[rows] - self._center
            own = np.einsum("ij,ij->i", part, part)[:, None]
            squares = np.matmul(part, b.T, out=block[: len(part)])
            squares *= -2
            squares += lengths
            squares += own
            np.maximum(squares, 0, out=squares)
            if self.alone:
                here = np.arange(len(squares))
                squares[here, start + here] = np.inf
            off = slack * float(own.max() + lengths.max())
            yield Block(self, rows, squares, off, spare[: len(part)])

    def exact(self, i: np.ndarray, j: np.ndarray, *, heavy: bool = False) -> np.ndarray:
        """Squared distances of rows i of a and j of b by their differences, each `[n]`: the same for equal rows.

        Where that is heavy, as there are many such pairs, and few kinds of rows, it is done once for each two kinds.
        """
        if heavy:
            (first, kind), (second, other) = self._kinds
            if len(first) * len(second) <= HEAVY * max(len(self.a), len(self.b)):
                if self._table is None:
                    each = np.divmod(np.arange(len(first) * len(second)), len(second))
                    self._table = self._apart(first[each[0]], second[each[1]])
                return self._table[kind[i] * len(second) + other[j]]
        return self._apart(i, j)

    def _apart(self, i: np.ndarray, j: np.ndarray) -> np.ndarray:
        found, step = np.empty(len(i)), max(1, PAIRS // self.a.shape[1])
        for start in range(0, len(i), step):
            some = slice(start, start + step)
            part = self.a[i[some]].astype(np.float64) - self.b[j[some]]
            found[some] = np.einsum("ij,ij->i", part, part)
        return found

    @cached_property
    def _kinds(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        """The first of equal rows, and which of these each row is, for a and for b."""
        found = (np.unique(x, axis=0, return_index=True, return_inverse=True) for x in (self.a, self.b))
        return tuple((first, kind.reshape(-1)) for _, first, kind in found)


class Block:
    """Squared distances from some rows to all of b."""

    def __init__(
        self, of: Distances, rows: slice, squares: np.ndarray, off: float, spare: np.ndarray
    ) -> None:
        """Takes distances `[n, M]` to rounding, how far they may be off, and memory for as many."""
        self.of = of
        self.rows = rows
        self.squares = squares
        self.off = off
        self._spare = spare

    def _settled(self, near: np.ndarray, k: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Rows and columns where a table is true, and their distances by differences, some rows at a time.

        Some k are expected in each row.
        """
        count = np.count_nonzero(near)
        step = max(1, PAIRS // near.shape[1]) if count > PAIRS else len(near)
        for start in range(0, len(near), step):
            i, j = np.nonzero(near[start : start + step])
            i += start
            heavy = bool(count > HEAVY * k * len(near))
            yield i, j, self.of.exact(i + self.rows.start, j, heavy=heavy)

    def within(self, radii: np.ndarray) -> np.ndarray:
        """Which distances are at most the radii, `[n, M]`; of radii `[n, 1]` or `[M]` that are exact."""
        surely = self.squares < radii - self.off
        near = self.squares <= radii + self.off
        if np.count_nonzero(near) != np.count_nonzero(surely):
            near ^= surely
            radii = np.broadcast_to(radii, self.squares.shape)
            for i, j, squares in self._settled(near):
                surely[i, j] = squares <= radii[i, j]
        return surely

    def nearest(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k smallest distances of each row in order, by differences, and to which rows, each `[n, k]`.

        Of rows that are equally far the first counts.
        """
        found, which = np.empty((len(self.squares), k)), np.empty((len(self.squares), k), int)
        for i, j, squares in self._settled(self.squares <= self._about(k)[:, None] + 2 * self.off, k):
            order = np.lexsort((j, squares, i))
            here, starts = np.unique(i, return_index=True)
            first = order[starts[:, None] + np.arange(k)]
            found[here], which[here] = squares[first], j[first]
        return found, which

    def _about(self, k: int) -> np.ndarray:
        """The kth smallest distance of each row, to rounding, `[n]`."""
        if k == 1:
            return self.squares.min(1)
        np.copyto(self._spare, self.squares)
        self._spare.partition(k - 1, 1)
        return self._spare[:, k - 1]
