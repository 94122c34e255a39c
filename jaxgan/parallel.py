"""How a window of steps is spread over devices and processes. No other file knows how many there are.

Two ways through the same `jaxgan.game.step`: `pmap` maps the step over a named axis and the step does its own
collectives; `jit` compiles the step for the whole batch and lets XLA split it. The state is replicated in both, and
batches are split along their dimension of examples.
"""

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxgan.axis import AXIS
from jaxgan.errors import InputError

Kind = Literal["pmap", "jit"]
T = TypeVar("T")

EXAMPLES = 2
"""The dimension of examples in a window's batches, `[window, turns, N, ...]`."""


def connect(coordinator: str, processes: int, process: int) -> None:
    """Joins several processes into one run; call before any other use of JAX.

    Args:
      coordinator: "HOST:PORT" of process 0.
      processes: Number of processes.
      process: This process's number, from 0.
    """
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(coordinator, processes, process)


class Spread:
    """Devices, and how programs and arrays are laid out over them."""

    def __init__(self, kind: Kind = "pmap", devices: Sequence[Any] | None = None) -> None:
        """Spreads over `devices`, by default all of every process."""
        self.kind: Kind = kind
        try:
            self.devices = list(devices or jax.devices())
        except RuntimeError as error:
            raise InputError(f"JAX finds no device: {error}; check JAX_PLATFORMS") from None
        self.mesh = Mesh(np.array(self.devices), (AXIS,))
        self.axis = AXIS if kind == "pmap" else None
        self.local_devices = sum(d.process_index == jax.process_index() for d in self.devices)
        self.process = jax.process_index()
        self.processes = len(self.devices) // self.local_devices

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

    def replicate(self, tree: T) -> T:
        """Copies host or single-device arrays, the same in every process, to all devices."""
        sharding = NamedSharding(self.mesh, P())

        def put(x: Any) -> jax.Array:
            if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
                return jax.random.wrap_key_data(put(jax.random.key_data(x)), impl=jax.random.key_impl(x))
            # A copy of our own: on CPU the array would share the host's memory, and steps write into it.
            x = np.array(x)
            return jax.make_array_from_callback(x.shape, sharding, lambda index: np.array(x[index]))

        return jax.tree.map(put, tree)

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
