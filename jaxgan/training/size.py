"""The least memory that a run needs, counted before anything is compiled or allocated.

For example:

    >>> from jaxgan import config, experiment
    >>> from jaxgan.parallel import Spread
    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> settings = config.parse(given)
    >>> source = experiment.source_of(settings)
    >>> built, spread = experiment.of_source(settings, source), Spread(devices=jax.devices()[:1])
    >>> found = parts(built, source, shapes(experiment.beginning(built)), spread, resident=True)
    >>> {part.what: part.size for part in found[1:]}  # of 2,000 examples, 784 bytes and a label each; of 64 samples
    {'the data': 1576000, "a window's batches": 2048, 'the sheet of samples': 200704, 'the log of a window': 72}
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import memory
from jaxgan.config import RunSettings
from jaxgan.data import feed
from jaxgan.data.sources import Source, source_bytes
from jaxgan.errors import InputError
from jaxgan.families import Built
from jaxgan.game import State
from jaxgan.memory import Part
from jaxgan.parallel import Layout
from jaxgan.training.window import longest

MAKERS = {"data", "game", "generator", "discriminator"}
"""Sections of a config that arrays of a state get their shapes from."""
LEAST = 16
"""Numbers below this are no reason for a large array."""


def shapes(initial: Callable[[Any], State]) -> State:
    """The shapes of the state that `experiment.beginning` makes.

    Raises:
      InputError: Networks cannot be made at this size.
    """
    try:
        return jax.eval_shape(initial, np.uint32(0))
    except ValueError as error:
        reason = str(error).partition("\n")[0]  # JAX adds lines
        raise InputError(
            f"the networks do not fit the data: {reason}; change their settings or its size"
        ) from error


def parts(
    built: Built, source: Source, state: State, spread: Layout, resident: bool, runs: int = 1
) -> list[Part]:
    """What a run holds at one time at least, on one device or on those that share a memory; no activations.

    Args:
      built: The experiment.
      source: Its data.
      state: The shapes of a state. It is donated: there is one.
      spread: Over which devices.
      resident: Whether the data is kept on them.
      runs: How many train together.
    """
    settings, shared = built.config, spread.together * spread.each
    turns, window, rows = built.game.turns, longest(settings), spread.rows(built.rows)
    read = rows.stop - rows.start
    if resident:
        size = feed.room(window) * turns * read * np.dtype(np.int32).itemsize
    else:
        _, size = feed.streamed(source, turns, read, window, runs)
    size = size * spread.share(built.rows) * shared // read
    data = source_bytes(source) * spread.together if resident else 0
    samples = settings.run.samples if not built.given else min(settings.run.samples, len(source))
    made = samples * math.prod(built.domain.decoded(built.fields)["real"].shape)
    metrics = 3 * len(built.game.players) + 3  # of each player loss and norms, of each step what it came to
    return [
        Part("the state", shared * _size(state), _remedy(settings, state)),
        Part("the data", data, "set feed.resident to false, or make the data smaller"),
        Part("a window's batches", size, "make batch_size or run.window smaller"),
        Part("the sheet of samples", made * np.dtype(np.float32).itemsize, "make run.samples smaller"),
        Part("the log of a window", shared * metrics * feed.room(window) * 4, "make run.window smaller"),
    ]


def check(built: Built, source: Source, state: State, spread: Layout, resident: bool, runs: int) -> None:
    """Refuses a run that cannot fit; see `parts`.

    Raises:
      InputError: It says how much the run takes at least, how much there is, and what to make smaller.
    """
    # Devices of other processes do not say how large they are.
    here = next(device for device in spread.devices if device.process_index == spread.process)
    found = parts(built, source, state, spread, resident, runs)
    memory.check("the run", found, memory.of_device(here))


def _size(tree: Any) -> int:
    """The bytes of arrays, or of what has their shapes."""
    return sum(_bytes(x) for x in jax.tree.leaves(tree))


def _bytes(x: Any) -> int:
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        x = jax.eval_shape(jax.random.key_data, x)
    return math.prod(x.shape) * x.dtype.itemsize


def _remedy(settings: RunSettings, state: State) -> str:
    """What makes a state smaller: the largest number among the settings that a side of its largest array is made of."""
    path, largest = max(jax.tree_util.tree_leaves_with_path(state), key=lambda leaf: _bytes(leaf[1]))
    name = jax.tree_util.keystr(path, simple=True, separator=".")
    given = settings.model_dump(include=MAKERS & set(type(settings).model_fields))
    reasons = {
        key: value
        for key, value in _whole(given)
        # A side may be some more than a multiple: classes are added to latents.
        if value >= LEAST and any(side >= value and side % value <= value // 16 for side in largest.shape)
    }
    smaller = max(reasons, key=lambda key: reasons[key], default="its networks")
    return f"make {smaller} smaller (its largest array, {name}, is {list(largest.shape)})"


def _whole(table: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, int]]:
    """The whole numbers of settings, by their dotted keys."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _whole(value, f"{above}{key}.")
        elif isinstance(value, int) and not isinstance(value, bool):
            yield f"{above}{key}", value
