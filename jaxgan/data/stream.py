"""Examples out of a source: the whole set at once, or step after step in the order of `order.indices`.

For example:

    >>> source = Embedded("test")
    >>> load(source)["real"].shape
    (2000, 28, 28, 1)
    >>> for batch in batches(source, seed=0, start=10, stop=12, turns=2, batch_size=8):
    ...     batch["real"].shape, batch["label"].shape
    ((2, 8, 28, 28, 1), (2, 8))
    ((2, 8, 28, 28, 1), (2, 8))
"""

import atexit
import contextlib
import gc
import multiprocessing
import os
import signal
import threading
import weakref
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from jaxgan.data import order
from jaxgan.data.sources import Embedded, Field, Side, Source, example_bytes, sides_of
from jaxgan.data.sources.given import Arrays
from jaxgan.errors import InputError, RunError

_PREFETCH_BYTES = 256 * 2**20  # of batches read ahead by the threads of this process
_CHUNK = 16  # examples that a thread reads at a time: to hand over one takes as long as to read a small image
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


Batch = dict[str, np.ndarray]
"""The fields of examples `[..., *shape]`, by name, with the same leading axes."""


class Order(NamedTuple):
    """What the order of examples has to know of a side of a source."""

    names: tuple[str, ...]
    """Its fields."""
    length: int
    apart: bool


class Whole(dict[str, np.ndarray]):
    """All examples of a source in memory: each field `[n, *shape]`, n the length of its side."""

    order: tuple[Order, ...] = ()


INCLUDED = "included"
"""The field that says which rows of a batch hold an example, where that is left to chance."""

_streams: weakref.WeakSet[Generator[Batch, None, None]] = weakref.WeakSet()


@atexit.register
def _close_streams() -> None:
    """Closes what is still open when Python ends: later, grain's own parts are gone and it complains."""
    for stream in list(_streams):
        with contextlib.suppress(ValueError):  # another thread is in it
            stream.close()


def load(source: Source, progress: bool = True) -> Whole:
    """The whole set in memory: each field `[len, *shape]`, or as many as its side has where the source has several.

    Args:
      source: where from; read by a few threads. What `Arrays` holds is given as it is, read-only.
      progress: whether to draw a progress bar on stderr, where that is a terminal and it takes over a second.

    Raises:
      InputError: from the source, where an example cannot be read.
    """
    sides, whole = sides_of(source), Whole()
    whole.order = orders(sides)
    if isinstance(source, Arrays):
        whole.update(source.arrays())
    elif isinstance(source, Embedded) and (source.resolution, source.channels) == (28, 1):
        pixels, labels = source.arrays()
        whole.update({"real": pixels[..., None].copy(), "label": labels.astype(np.int32)})
    else:
        _read_all(sides, whole, progress)
    return whole


def orders(sides: Sequence[Side]) -> tuple[Order, ...]:
    """What the order of examples has to know of a source's sides."""
    return tuple(Order(tuple(side.fields), side.length, side.apart) for side in sides)


def _read_all(sides: Sequence[Side], whole: Whole, progress: bool) -> None:
    """Reads all items of all sides, by a few threads."""
    from tqdm import tqdm

    chunks = [(side, start) for side in sides for start in range(0, side.length, _CHUNK)]
    for side in sides:
        whole.update(_empty((side.length,), side.fields))

    def put(chunk: tuple[Side, int]) -> int:
        side, start = chunk
        numbers = range(start, min(start + _CHUNK, side.length))
        for i in numbers:
            for name, value in side.read(i).items():
                whole[name][i] = value
        return len(numbers)

    with ThreadPoolExecutor(_threads()) as pool:
        try:
            with tqdm(
                total=sum(side.length for side in sides),
                desc="Reading examples",
                unit="example",
                delay=1.0,
                leave=False,
                disable=None if progress else True,  # None: off where stderr is no terminal
            ) as bar:
                for done in pool.map(put, chunks):
                    bar.update(done)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def batches(
    source: Source,
    seed: int,
    start: int,
    stop: int,
    turns: int,
    batch_size: int,
    rows: slice = slice(None),
    workers: int = 0,
    poisson: order.Poisson | None = None,
) -> Iterator[Batch]:
    """The batches of the steps start .. stop - 1: each field `[turns, n, *shape]`.

    Row r of turn t of step s holds the example at position (s * turns + t) * batch_size + r of the order that `seed`
    gives (`order.indices`; of a source of several sides what each of them shows there, `order.of_sides`), so any step
    can be made without those before it, and the bits do not depend on `workers`.

    Args:
      source: where from; with workers > 0 it must pickle.
      seed: of the order; 0 <= seed < 2**64.
      start, stop: the range of steps.
      turns, batch_size: the shape of one step's data, at least 1.
      rows: this process's part of a batch's rows; n is its length.
      poisson: draws the examples of each turn by itself: turn t of step s is draw number s * turns + t, `batch_size` is
        its number of slots, and the field `INCLUDED` says which of them hold an example; the others hold zeros.
      workers: processes that read; 0 reads with threads of this process. A script that asks for workers must guard its
        main part by `if __name__ == "__main__":`, as always when Python spawns processes.

    The workers are stopped when the iterator is closed, dropped or exhausted, and end by themselves when this process
    is killed. They ignore SIGINT and SIGTERM, so that this process alone decides what those mean.

    Raises:
      InputError: at once for a bad argument; while iterating, where an example cannot be read.
      RunError: while iterating, where a worker process died.
    """
    if turns < 1 or batch_size < 1:
        raise InputError(f"turns ({turns}) and batch_size ({batch_size}) must be at least 1")
    if start < 0:
        raise InputError(f"the first step ({start}) must not be negative")
    if workers < 0:
        raise InputError(f"workers is {workers}: it must be 0 (threads) or a number of processes")
    order.indices(seed, len(source), 0, 0)  # the seed and length are good, or this raises
    steps = _Steps(source, seed, start, stop, turns, batch_size, rows, poisson)
    stream = _read(steps, workers)
    _streams.add(stream)
    return stream


def order_of(
    seed: int,
    sides: Sequence[Order],
    start: int,
    count: int,
    turns: int,
    batch_size: int,
    poisson: order.Poisson | None,
) -> list[np.ndarray]:
    """Which items of each side the steps start .. start + count - 1 read, each `[count, turns, batch_size]`.

    -1 is an empty slot. `poisson` draws from the first side; a source of several is none for it.
    """
    if poisson:
        found = [poisson.indices(seed, sides[0].length, start * turns, count * turns)]
    else:
        known = [(side.length, side.apart) for side in sides]
        found = order.of_sides(seed, known, start * turns * batch_size, count * turns * batch_size)
    return [x.reshape(count, turns, batch_size) for x in found]


class _Steps:
    """One step's batch a number, for grain to read by random access."""

    def __init__(
        self,
        source: Source,
        seed: int,
        start: int,
        stop: int,
        turns: int,
        batch_size: int,
        rows: slice,
        poisson: order.Poisson | None,
    ) -> None:
        self.poisson = poisson
        self.source = source
        self.sides = sides_of(source)
        self.order = orders(self.sides)
        self.seed = seed
        self.start = start
        self.stop = stop
        self.turns = turns
        self.batch_size = batch_size
        self.rows = rows

    def __len__(self) -> int:
        return max(0, self.stop - self.start)

    def __getitem__(self, index: Any) -> Batch:
        step, shape = self.start + int(index), (self.turns, self.batch_size)
        wanted = order_of(self.seed, self.order, step, 1, *shape, self.poisson)
        out: Batch = {}
        for side, (numbers,) in zip(self.sides, wanted, strict=True):
            out |= self._side(side, numbers[:, self.rows])
        return out

    def _side(self, side: Side, wanted: np.ndarray) -> Batch:
        out = _empty(wanted.shape, side.fields)
        if self.poisson:
            out = {name: np.zeros_like(values) for name, values in out.items()} | {INCLUDED: wanted >= 0}
        for place, chosen in np.ndenumerate(wanted):
            if chosen < 0:
                continue
            for name, value in side.read(int(chosen)).items():
                out[name][place] = value
        return out

    def nbytes(self) -> int:
        rows = len(range(*self.rows.indices(self.batch_size)))
        return self.turns * rows * example_bytes(self.source)


def _read(steps: _Steps, workers: int) -> Generator[Batch, None, None]:
    if not len(steps):
        return
    import grain
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads flags of its own, which exist only in absl programs otherwise
    if workers:
        # Semaphores of earlier workers go now: Python 3.12 fails where they go while those of new ones are registered.
        gc.collect()
        workers = min(workers, len(steps))
        options = grain.ReadOptions(num_threads=1, prefetch_buffer_size=1)
    else:
        ahead = max(1, min(_threads(), _PREFETCH_BYTES // max(1, steps.nbytes())))
        options = grain.ReadOptions(num_threads=ahead, prefetch_buffer_size=ahead)
    dataset = grain.MapDataset.source(steps).to_iter_dataset(options)
    if workers:
        # Batches come through pipes, not shared memory: twice as slow (600 MB/s), but small /dev/shm of containers do
        # not matter, and nothing is left behind by a process that is killed.
        pipes = grain.experimental.DatasetOptions(min_shm_size=1 << 62)
        dataset = grain.experimental.WithOptionsIterDataset(dataset, pipes)
        processes = grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=2)
        dataset = dataset.mp_prefetch(processes, worker_init_fn=_start_worker)
    iterator = iter(dataset)
    try:
        batch = _first(iterator) if workers else next(iterator)
        for _ in range(len(steps) - 1):
            yield batch
            batch = next(iterator)
        yield batch
    except RuntimeError as error:
        if workers and "terminated unexpectedly" in str(error):
            raise RunError(f"a data worker process died ({error}); is there enough memory?") from error
        raise
    except InputError as error:
        raise InputError(str(error).partition("\n")[0]) from error  # grain adds lines on its tracebacks
    finally:
        iterator.close()


def _first(iterator: Iterator[Batch]) -> Batch:
    """The first batch, which starts the workers, taken in a thread that blocks SIGINT and SIGTERM.

    New threads and processes inherit the blocked signals, so not even a worker that is still importing Python modules
    answers Ctrl-C with a traceback. The main thread waits, and stays open to both signals.
    """

    def take() -> Batch:
        if hasattr(signal, "pthread_sigmask"):
            from multiprocessing import resource_tracker

            resource_tracker.ensure_running()  # starting it later would unblock the signals of this thread
            signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        return next(iterator)

    pool = ThreadPoolExecutor(1, thread_name_prefix="jaxgan-data")
    try:
        return pool.submit(take).result()
    finally:
        pool.shutdown(wait=False)


def _start_worker(index: int, count: int) -> None:
    """Runs first in each worker process."""
    del index, count
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)  # nobody is left to read what this process makes


def _empty(lead: tuple[int, ...], fields: Mapping[str, Field]) -> Batch:
    return {name: np.empty((*lead, *field.shape), field.dtype) for name, field in fields.items()}


def _threads() -> int:
    return min(8, (os.cpu_count() or 1) + 1)
