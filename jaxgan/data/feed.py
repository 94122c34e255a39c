"""Windows of batches for the device: gathered there from resident data, or read and sent ahead, in the same order.

For example:

    >>> from jaxgan.parallel import Spread
    >>> data = {"real": np.arange(4.0), "label": np.zeros(4, np.int32)}
    >>> spread = Spread(devices=jax.devices()[:1])
    >>> feed = Resident(data, seed=0, turns=1, batch_size=2, window=2, spread=spread)
    >>> indices = feed.host(start=0, count=2)  # of two steps with one turn each, an epoch in all
    >>> indices.shape, sorted(indices.ravel().tolist())
    ((2, 1, 2), [0, 1, 2, 3])
    >>> (feed.fetch(feed.whole, indices, 1)["real"] == indices[1]).all().item()
    True
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from jaxgan.data import order, stream
from jaxgan.data.sources import Field, Source, example_bytes
from jaxgan.parallel import Layout

WINDOW_BYTES = 64 * 2**20
"""Most bytes of streamed examples that one window holds, over all runs that train together."""


def room(window: int) -> int:
    """How many steps the arrays of a window hold: at least two.

    Of one alone XLA knows which step is read, and compiles it to other roundings.
    """
    return max(2, window)


def streamed(source: Source, turns: int, rows: int, window: int, runs: int = 1) -> tuple[int, int]:
    """A window of streamed examples: its most steps, and how many bytes its arrays hold.

    Args:
      source: Of the examples.
      turns: Batches of a step.
      rows: Examples of a batch that are read here.
      window: Most steps that are asked for.
      runs: How many train together, and share `WINDOW_BYTES`.
    """
    bytes_per_step = turns * rows * example_bytes(source)
    steps = max(1, min(window, WINDOW_BYTES // (runs * bytes_per_step)))
    return steps, room(steps) * bytes_per_step


class Feed(Protocol):
    """Where a compiled window finds a run's batches."""

    window: int
    """Most steps of a window; `parts` has `room` for more."""
    whole: Any
    """Arrays that every device holds for the whole run."""

    def host(self, start: int, count: int) -> Any:
        """What the window of the steps `start` to `start + count - 1` needs besides, padded to its `room`.

        A count of 0 asks for a window that is not played: the next one may start anywhere that it could before.
        """
        ...

    def parts(self, start: int, count: int) -> Any:
        """The same on the device, for a run that trains alone."""
        ...

    def close(self) -> None:
        """Stops what reads ahead."""
        ...

    def fetch(self, whole: Any, parts: Any, i: Any) -> dict[str, jax.Array]:
        """Inside the window: the batch `[turns, n, ...]` of its i-th step, images uint8."""
        ...


class Resident:
    """All examples on every device, images as uint8; a window needs only indices, of each side if there are several."""

    def __init__(
        self,
        data: stream.Batch,
        seed: int,
        turns: int,
        batch_size: int,
        window: int,
        spread: Layout,
        poisson: order.Poisson | None = None,
    ) -> None:
        """Copies the data, as made by `stream.load`, to every device; `poisson` as of `stream.batches`."""
        self.whole: dict[str, Any] = spread.replicate(dict(data))
        self.window = window
        self._seed, self._turns, self._batch_size = seed, turns, batch_size
        self._order = getattr(data, "order", ()) or (stream.Order(tuple(data), len(data["label"]), False),)
        self._rows, self._spread, self._poisson = spread.rows(batch_size), spread, poisson

    def of(self, seed: int) -> "Resident":
        """The same data in the order of another seed, without another copy of it."""
        other = copy.copy(self)
        other._seed = seed
        return other

    def host(self, start: int, count: int) -> Any:
        """Indices int32 `[room, turns, n]`; a tuple of them, one for each side, where there are several."""
        shape = (room(self.window), self._turns, self._batch_size)
        found = stream.order_of(self._seed, self._order, start, count, *shape[1:], self._poisson)
        padded = [np.zeros(shape, np.int32) for _ in found]
        for out, indices in zip(padded, found, strict=True):
            out[:count] = indices
        mine = [out[:, :, self._rows] for out in padded]
        return tuple(mine) if len(mine) > 1 else mine[0]

    def parts(self, start: int, count: int) -> Any:
        """The same on the device."""
        return self._spread.split(self.host(start, count))

    def close(self) -> None:
        """Nothing reads ahead."""

    def fetch(self, whole: Any, parts: Any, i: Any) -> dict[str, jax.Array]:
        """Gathers the i-th step's examples; an empty slot holds any of them."""
        if isinstance(parts, tuple):
            of = {name: at for side, at in zip(self._order, parts, strict=True) for name in side.names}
            return {name: array[of[name][i]] for name, array in whole.items()}
        found = {name: array[parts[i]] for name, array in whole.items()}
        return found if self._poisson is None else {**found, stream.INCLUDED: parts[i] >= 0}


class Streaming:
    """Batches read by grain workers, from the first step asked for on."""

    def __init__(
        self,
        source: Source,
        seed: int,
        turns: int,
        batch_size: int,
        window: int,
        spread: Layout,
        *,
        stop: int,
        workers: int,
        runs: int = 1,
        poisson: order.Poisson | None = None,
    ) -> None:
        """Reads nothing before the first window, whose steps must follow one another.

        `runs` that train together, each with a feed of its own, share `workers` and `WINDOW_BYTES`.
        """
        rows = spread.rows(batch_size)
        self._shape = (turns, rows.stop - rows.start)
        self._fields = dict(source.fields)
        if poisson:
            self._fields[stream.INCLUDED] = Field((), "bool")
        self.window: int = streamed(source, turns, rows.stop - rows.start, window, runs)[0]
        self.whole: dict[str, jax.Array] = {}
        self._spread = spread
        read = (turns, batch_size, rows, workers // runs, poisson)
        self._open = lambda start: stream.batches(source, seed, start, stop, *read)
        self._batches: Iterator[stream.Batch] | None = None
        self._next = -1

    def host(self, start: int, count: int) -> stream.Batch:
        """The fields `[room, turns, n, *shape]`."""
        lead = (room(self.window), *self._shape)
        out = {name: np.zeros((*lead, *field.shape), field.dtype) for name, field in self._fields.items()}
        if not count:
            return out
        if self._batches is None:
            self._batches, self._next = self._open(start), start
        if start != self._next:
            raise ValueError(
                f"streamed windows must follow one another: expected step {self._next}, got {start}"
            )
        for i in range(count):
            for name, values in next(self._batches).items():
                out[name][i] = values
        self._next += count
        return out

    def parts(self, start: int, count: int) -> Any:
        """The same on the device."""
        return self._spread.split(self.host(start, count))

    def fetch(self, whole: Any, parts: dict[str, jax.Array], i: Any) -> dict[str, jax.Array]:
        """The i-th step's examples."""
        return {name: array[i] for name, array in parts.items()}

    def close(self) -> None:
        """Stops the readers."""
        if self._batches is not None:
            self._batches.close()  # pyright: ignore[reportAttributeAccessIssue]


def feeds(
    data: stream.Batch | Source,
    seeds: Sequence[int],
    turns: int,
    batch_size: int,
    window: int,
    spread: Layout,
    *,
    stop: int,
    workers: int,
    poisson: order.Poisson | None = None,
) -> Sequence[Resident | Streaming]:
    """A feed for the run of each seed: of resident data, of which there is one copy for all, or of a source."""
    shape = (turns, batch_size, window, spread)
    if isinstance(data, dict):
        first = Resident(data, seeds[0], *shape, poisson)
        return [first, *map(first.of, seeds[1:])]
    more = {"stop": stop, "workers": workers, "runs": len(seeds), "poisson": poisson}
    return [Streaming(data, seed, *shape, **more) for seed in seeds]
