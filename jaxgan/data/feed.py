"""Windows of batches for the device: gathered there from resident data, or read and sent ahead, in the same order."""

from collections.abc import Iterator
from typing import Any, Protocol

import jax
import numpy as np

from jaxgan.data import order, stream
from jaxgan.data.sources import Source
from jaxgan.parallel import Spread

WINDOW_BYTES = 64 * 2**20
"""Most bytes of streamed images that one window holds."""


class Feed(Protocol):
    """Where a compiled window finds its batches."""

    window: int
    """Most steps of a window: the first dimension of `parts`."""
    whole: Any
    """Arrays that every device holds for the whole run."""

    def parts(self, start: int, count: int) -> Any:
        """What the window of the steps `start` to `start + count - 1` needs besides, padded to `window` steps."""
        ...

    @staticmethod
    def fetch(whole: Any, parts: Any, i: Any) -> dict[str, jax.Array]:
        """Inside the window: the uint8 batch `[turns, n, ...]` of its i-th step."""
        ...


class Resident:
    """All images on every device as uint8; a window needs only indices."""

    def __init__(
        self, data: stream.Batch, seed: int, turns: int, batch_size: int, window: int, spread: Spread
    ) -> None:
        """Copies the data, as made by `stream.load`, to every device."""
        self.whole = spread.replicate(dict(data))
        self.window = window
        self._length, self._seed, self._turns, self._batch_size = len(data["label"]), seed, turns, batch_size
        self._rows, self._spread = spread.rows(batch_size), spread

    def parts(self, start: int, count: int) -> Any:
        """Indices int32 `[window, turns, n]`."""
        per_step = self._turns * self._batch_size
        indices = np.zeros((self.window, self._turns, self._batch_size), np.int32)
        found = order.indices(self._seed, self._length, start * per_step, count * per_step)
        indices[:count] = found.reshape(count, self._turns, self._batch_size)
        return self._spread.split(indices[:, :, self._rows])

    @staticmethod
    def fetch(whole: Any, parts: jax.Array, i: Any) -> dict[str, jax.Array]:
        """Gathers the i-th step's examples."""
        return {name: array[parts[i]] for name, array in whole.items()}


class Streaming:
    """Batches read by grain workers, from the first step asked for on."""

    def __init__(
        self,
        source: Source,
        seed: int,
        turns: int,
        batch_size: int,
        window: int,
        spread: Spread,
        *,
        stop: int,
        workers: int,
    ) -> None:
        """Reads nothing before the first call of `parts`, whose steps must follow one another."""
        rows = spread.rows(batch_size)
        self._shape = (turns, rows.stop - rows.start)
        self._image = (source.resolution, source.resolution, source.channels)
        bytes_per_step = int(np.prod([*self._shape, *self._image]))
        self.window = max(1, min(window, WINDOW_BYTES // bytes_per_step))
        self.whole: dict[str, jax.Array] = {}
        self._spread = spread
        self._open = lambda start: stream.batches(source, seed, start, stop, turns, batch_size, rows, workers)
        self._batches: Iterator[stream.Batch] | None = None
        self._next = -1

    def parts(self, start: int, count: int) -> Any:
        """Images uint8 `[window, turns, n, H, W, C]` and labels int32 `[window, turns, n]`."""
        if self._batches is None:
            self._batches, self._next = self._open(start), start
        if start != self._next:
            raise ValueError(
                f"streamed windows must follow one another: expected step {self._next}, got {start}"
            )
        image = np.zeros((self.window, *self._shape, *self._image), np.uint8)
        label = np.zeros((self.window, *self._shape), np.int32)
        for i in range(count):
            batch = next(self._batches)
            image[i], label[i] = batch["image"], batch["label"]
        self._next += count
        return self._spread.split({"image": image, "label": label})

    @staticmethod
    def fetch(whole: Any, parts: dict[str, jax.Array], i: Any) -> dict[str, jax.Array]:
        """The i-th step's examples."""
        return {name: array[i] for name, array in parts.items()}

    def close(self) -> None:
        """Stops the readers."""
        if self._batches is not None:
            self._batches.close()  # pyright: ignore[reportAttributeAccessIssue]
