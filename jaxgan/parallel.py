"""How a window of steps is spread over devices and processes. No other file knows how many there are.

Two ways through the same `jaxgan.game.step`: `pmap` maps the step over a named axis and the step does its own
collectives; `jit` compiles the step for the whole batch and lets XLA split it. The state is replicated in both, and
batches are split along their dimension of examples. Several runs of one program go another way, `Seeds`: each run is
whole on one device.

For example:

    >>> def window(state, whole, parts, count):
    ...     return state + jnp.sum(parts)
    >>> spread = Spread("pmap", jax.devices()[:1])
    >>> spread.rows(64), spread.share(64)  # what this process reads of a batch, and what a device computes
    (slice(0, 64, None), 64)
    >>> parts, count = spread.join([np.ones((2, 1, 4), np.float32)], [2])  # 2 steps, 1 turn, 4 examples
    >>> state = spread.compile(window)(spread.place([np.float32(1)]), (), parts, count)
    >>> float(spread.member(state, 0))
    9.0
"""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Literal, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxgan import backends, peers
from jaxgan.axis import AXIS
from jaxgan.errors import InputError

Kind = Literal["pmap", "jit"]
By = Literal["auto", "map", "vmap"]
T = TypeVar("T")

EXAMPLES = 2
"""The dimension of examples in a window's batches, `[window, turns, N, ...]`."""
SEEDS = "seeds"
"""Name of the dimension over which several runs are spread."""


class Layout(Protocol):
    """Where runs that train together live, and what the loop asks of it. `Spread` holds one run, `Seeds` several."""

    by: str | None
    """How several runs share a device; None for one run."""
    devices: list[Any]
    axis: str | None
    """The mapped axis of a step."""
    process: int
    processes: int
    copies: int
    """Copies of replicated arrays that one memory holds."""
    together: int
    """Devices of this process that share one memory, as those of a CPU do."""
    each: int
    """Runs on each device."""

    def rows(self, batch_size: int) -> slice:
        """The examples of a batch that this process reads."""
        ...

    def share(self, batch_size: int) -> int:
        """How many examples of a run's batch one device computes."""
        ...

    def home(self, run: int) -> list[Any]:
        """The devices of a run."""
        ...

    def replicate(self, tree: T) -> T:
        """Copies arrays that all runs share to all devices."""
        ...

    def place(self, states: Sequence[T]) -> T:
        """Host or single-device states, one for each run, where the program wants them."""
        ...

    def split(self, tree: T) -> T:
        """Puts batches where the program wants them."""
        ...

    def join(self, parts: Sequence[Any], counts: Sequence[int]) -> tuple[Any, Any]:
        """Each run's window of host batches and its number of steps, where the program wants them."""
        ...

    def member(self, tree: T, run: int) -> T:
        """One run's own part of a state or of metrics, as arrays on one device."""
        ...

    def compile(self, window: Callable[..., Any]) -> Callable[..., Any]:
        """A program of `window(state, whole, parts, count)` for all runs, with `state` donated."""
        ...

    def gather(self, number: int) -> list[int]:
        """The number of every process, in each."""
        ...

    def barrier(self, name: str) -> None:
        """Waits until every process is here."""
        ...


def connect(coordinator: str, processes: int, process: int) -> None:
    """Joins several processes into one run; call before any other use of JAX.

    From then on a process that is killed or stopped ends the others, see `jaxgan.peers`.

    Args:
      coordinator: "HOST:PORT" of process 0.
      processes: Number of processes.
      process: This process's number, from 0.

    Raises:
      InputError: The port is in use, or the others do not come.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    if processes == 1:
        jax.distributed.initialize(coordinator, processes, process)
        return
    service = peers.meet(coordinator, processes, process)
    # Who is gone is for `peers` to say: JAX would end this process by a crash.
    jax.distributed.initialize(
        service,
        processes,
        process,
        heartbeat_timeout_seconds=10**6,
        shutdown_timeout_seconds=60,
        coordinator_bind_address=service if process == 0 else None,
    )


def share_cores(runs: int) -> None:
    """Makes JAX see the CPU as several devices, for `Seeds`: at most one a core, a number that divides `runs`.

    Several runs, each on a core, are faster than each run on all cores: small operations do not divide well. Nothing
    changes where JAX has begun, or where the user chose a number of devices.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    chosen = jax.config.jax_num_cpu_devices > 0  # pyright: ignore[reportAttributeAccessIssue]
    if not chosen and "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        with suppress(RuntimeError):
            jax.config.update("jax_num_cpu_devices", _divisor(runs, cores))


def over_examples(
    apply: Callable[..., Any], variables: Any, batch_size: int
) -> tuple[Callable[[Any], Any], int]:
    """`apply(variables, batch)` compiled for all of this process's devices, each with `batch_size` examples at a time.

    Args:
      apply: Computes every example by itself.
      variables: Arrays, the same for all batches.
      batch_size: Examples on one device, always as many, so that they are computed alike on any number of devices.

    Returns:
      A function of a batch `[n, ...]`, and n.
    """
    devices = jax.local_devices()
    mesh = Mesh(np.array(devices), (AXIS,))
    spread = jax.shard_map(apply, mesh=mesh, in_specs=(P(), P(AXIS)), out_specs=P(AXIS), check_vma=False)
    there = _copy(variables, NamedSharding(mesh, P()))
    compiled = jax.jit(spread)
    return lambda batch: compiled(there, batch), batch_size * len(devices)


def _divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most`."""
    return max(d for d in range(1, min(number, most) + 1) if number % d == 0)


def _devices(devices: Sequence[Any] | None) -> list[Any]:
    try:
        return list(devices or jax.devices())
    except RuntimeError as error:
        raise InputError(f"JAX finds no device: {error}; check JAX_PLATFORMS") from None


def _copy(tree: T, sharding: NamedSharding) -> T:
    """Host or single-device arrays, the same in every process, laid out as asked."""

    def put(x: Any) -> jax.Array:
        if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(put(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        # A copy of our own: on CPU the array would share the host's memory, and steps write into it.
        x = np.array(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: np.array(x[index]))

    return jax.tree.map(put, tree)


class Spread:
    """One run: devices, and how programs and arrays are laid out over them."""

    by: str | None = None
    copies = 1
    each = 1

    def __init__(self, kind: Kind = "pmap", devices: Sequence[Any] | None = None) -> None:
        """Spreads over `devices`, by default all of every process."""
        self.kind: Kind = kind
        self.devices: list[Any] = _devices(devices)
        self.mesh: Mesh = Mesh(np.array(self.devices), (AXIS,))
        self.axis = AXIS if kind == "pmap" else None
        self.local_devices: int = sum(d.process_index == jax.process_index() for d in self.devices)
        self.process: int = jax.process_index()
        self.processes: int = len(self.devices) // self.local_devices
        self.together: int = self.local_devices if self.devices[0].platform == "cpu" else 1

    @property
    def size(self) -> int:
        """Number of devices over all processes."""
        return len(self.devices)

    def rows(self, batch_size: int) -> slice:
        """The examples of a batch that this process reads.

        Raises:
          InputError: If the batch cannot be split evenly over the devices.
        """
        if batch_size % self.size:
            raise InputError(
                f"batch_size is {batch_size}, which {self.size} devices cannot share evenly; "
                f"use a multiple of {self.size}, such as {-(-batch_size // self.size) * self.size}"
            )
        n = batch_size // self.processes
        return slice(self.process * n, (self.process + 1) * n)

    def share(self, batch_size: int) -> int:
        """How many examples of the batch one device computes."""
        return batch_size // self.size

    def replicate(self, tree: T) -> T:
        """Copies host or single-device arrays, the same in every process, to all devices."""
        return _copy(tree, NamedSharding(self.mesh, P()))

    def split(self, tree: T) -> T:
        """Puts this process's rows of arrays `[window, turns, n, ...]` on its devices."""
        sharding = NamedSharding(self.mesh, P(None, None, AXIS))

        def put(x: np.ndarray) -> jax.Array:
            if self.kind == "pmap":
                x = x.reshape(*x.shape[:EXAMPLES], self.local_devices, -1, *x.shape[EXAMPLES + 1 :])
            return jax.make_array_from_process_local_data(sharding, x)

        return jax.tree.map(put, tree)

    def local(self, tree: T) -> T:
        """This process's own copy of a replicated tree, as arrays on one device."""
        return jax.tree.map(lambda x: x.addressable_data(0), tree)

    def home(self, run: int) -> list[Any]:
        """The devices of the run: all of them."""
        return self.devices

    def place(self, states: Sequence[T]) -> T:
        """The only run's state, on all devices."""
        return self.replicate(states[0])

    def join(self, parts: Sequence[Any], counts: Sequence[int]) -> tuple[Any, Any]:
        """The only run's window."""
        return self.split(parts[0]), np.int32(counts[0])

    def member(self, tree: T, run: int) -> T:
        """The only run's tree, as `local`."""
        return self.local(tree)

    def compile(self, window: Callable[..., Any]) -> Callable[..., Any]:
        """A program of `window(state, whole, parts, count)`, with `state` donated.

        `state`, `whole`, `count` and all results are replicated, `parts` is split as by `split`. Under "pmap" the code
        runs with `AXIS` bound, and sees its own device's part; under "jit" it sees all of the batch.
        """
        if self.kind == "pmap":
            return jax.pmap(
                window,
                axis_name=AXIS,
                in_axes=(None, None, EXAMPLES, None),  # pyright: ignore[reportArgumentType]
                out_axes=None,  # pyright: ignore[reportArgumentType]
                donate_argnums=0,
                devices=self.devices,
            )
        whole, parts = NamedSharding(self.mesh, P()), NamedSharding(self.mesh, P(None, None, AXIS))
        shardings = (whole, whole, parts, whole)
        return jax.jit(window, in_shardings=shardings, out_shardings=whole, donate_argnums=0)

    def gather(self, number: int) -> list[int]:
        """The number (below 2**31) of every process, in each; all processes must ask."""
        if self.processes == 1:
            return [number]
        from jax.experimental import multihost_utils

        return multihost_utils.process_allgather(np.int32(number)).tolist()

    def barrier(self, name: str) -> None:
        """Waits until every process is here."""
        if self.processes > 1:
            from jax.experimental import multihost_utils

            multihost_utils.sync_global_devices(name)


class Seeds:
    """Several runs of one program: each whole on one device, and all devices with equally many.

    A step sees `AXIS` with one device in it, its own: layers that need the whole batch have it, and never see another
    run. So under "map" each run computes what `Spread("pmap")` computes for it alone on one device: to the bit as a
    rule (multilayer perceptrons in the tests), but XLA may fuse the two programs differently (DCGANs on JAX 0.12).
    """

    process: int = 0
    processes: int = 1

    def __init__(self, runs: int, by: By = "auto", devices: Sequence[Any] | None = None) -> None:
        """Spreads `runs` runs over the most of `devices`, by default all, that each get equally many.

        Args:
          runs: How many.
          by: How the runs of one device share it: "map" one after another for a window of steps each; "vmap" all
            together, in operations that are `runs` times as large; "auto" for "map" on CPUs, where "vmap" makes
            convolutions several times slower, and "vmap" elsewhere.
          devices: The devices to choose from.

        Raises:
          InputError: If there are several processes.
        """
        found = _devices(devices)
        if jax.process_count() > 1:
            raise InputError(
                "several seeds train in one process; start it alone, or give each process --seed N"
            )
        self.size: int = _divisor(runs, len(found))
        self.devices: list[Any] = found[: self.size]
        on_cpu = self.devices[0].platform == "cpu"
        chosen = backends.choices(self.devices[0].platform)
        self.by: str | None = chosen.seeds_by if by == "auto" else by
        self.axis: str | None = AXIS
        self.copies: int = self.size if on_cpu else 1
        self.together: int = self.copies
        self.each: int = runs // self.size
        self.mesh: Mesh = Mesh(np.array(self.devices)[:, None], (SEEDS, AXIS))
        self._take = jax.jit(lambda tree, i: jax.tree.map(lambda x: x[i], tree))

    def rows(self, batch_size: int) -> slice:
        """All examples of a batch."""
        return slice(0, batch_size)

    def share(self, batch_size: int) -> int:
        """All of them."""
        return batch_size

    def home(self, run: int) -> list[Any]:
        """The device of a run."""
        return [self.devices[run // self.each]]

    def replicate(self, tree: T) -> T:
        """Copies arrays that all runs share to all devices."""
        return _copy(tree, NamedSharding(self.mesh, P()))

    def place(self, states: Sequence[T]) -> T:
        """States, one for each run, as one tree of arrays `[runs, ...]` with each run on its device."""

        def stack(*leaves: Any) -> Any:
            x = leaves[0]
            if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(
                    stack(*map(jax.random.key_data, leaves)), impl=jax.random.key_impl(x)
                )
            return np.stack([np.asarray(leaf) for leaf in leaves])

        return self.split(jax.tree.map(stack, *states))

    def split(self, tree: T) -> T:
        """Puts arrays `[runs, ...]` on the devices of their runs."""
        return _copy(tree, NamedSharding(self.mesh, P(SEEDS)))

    def join(self, parts: Sequence[Any], counts: Sequence[int]) -> tuple[Any, Any]:
        """Windows of batches and counts, one for each run, on the devices of their runs."""
        stacked = jax.tree.map(lambda *x: np.stack(x), *parts)
        return self.split((stacked, np.array(counts, np.int32)))

    def member(self, tree: T, run: int) -> T:
        """One run's part of arrays `[runs, ...]`, on the first device."""
        place, i = divmod(run, self.each)
        there = jax.tree.map(lambda x: x.addressable_data(place), tree)
        return self._take(jax.device_put(there, self.devices[0]), np.int32(i))

    def compile(self, window: Callable[..., Any]) -> Callable[..., Any]:
        """A program of `window(state, whole, parts, count)` for every run, with the states donated.

        All but `whole` and all results have the runs as their first dimension.
        """

        def several(states: Any, whole: Any, parts: Any, counts: Any) -> Any:
            def one(run: Any) -> Any:
                state, parts, count = run
                return window(state, whole, parts, count)

            turn = jax.vmap(one) if self.by == "vmap" else lambda runs: jax.lax.map(one, runs)
            return turn((states, parts, counts))

        specs = (P(SEEDS), P(), P(SEEDS), P(SEEDS))
        spread = jax.shard_map(several, mesh=self.mesh, in_specs=specs, out_specs=P(SEEDS), check_vma=False)
        return jax.jit(spread, donate_argnums=0)

    def gather(self, number: int) -> list[int]:
        """The number: there is one process."""
        return [number]

    def barrier(self, name: str) -> None:
        """Nobody to wait for."""
