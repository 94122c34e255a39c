"""What is compiled of a run: windows of steps, and its samples.

For example:

    >>> import optax
    >>> from jaxgan.data.feed import Resident
    >>> from jaxgan.domains import Image
    >>> from jaxgan.parallel import Spread
    >>> def loss(state, batch, keys):
    ...     return jnp.square(state.params["guess"]["x"] - batch["real"].mean()), game.Aux()
    >>> init = lambda key, batch: {"guess": {"params": {"x": jnp.float32(0)}}}
    >>> player = game.Player(("guess",), loss, optax.sgd(0.25))
    >>> rules = Game(init, {"player": player}, sample=lambda state, keys, batch: state.params["guess"]["x"])
    >>> spread, fours = Spread("jit"), {"real": np.full(16, 4.0), "label": np.zeros(16, np.int32)}
    >>> feed = Resident(fours, seed=0, turns=1, batch_size=8, window=2, spread=spread)
    >>> play = program(rules, Image(), feed, spread, batch_size=8, give_up_after=10)
    >>> state = spread.replicate(game.init(rules, jax.random.key(0), {}))
    >>> state, log = play(state, feed.whole, feed.parts(0, 2), np.int32(2))
    >>> float(state.params["guess"]["x"]), log["player/loss"].tolist()
    (3.0, [16.0, 4.0])
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxgan import backends, game
from jaxgan.config import RunSettings
from jaxgan.data.feed import Feed, room
from jaxgan.domains import Domain
from jaxgan.families import Built
from jaxgan.game import Game, Keys, State
from jaxgan.parallel import Layout

SAMPLES = 0xFFFFFFFF
"""What the run's key is folded with for sample latents; steps never count this far."""


def longest(settings: RunSettings) -> int:
    """Most steps of one window of a run: none goes past a step at which something is written."""
    every = settings.run
    return min(every.window, every.sample_every, every.checkpoint_every, settings.steps)


class Program:
    """A window, compiled when it is first called: for arguments of one kind, and with options of its own."""

    def __init__(self, window: Any, options: Mapping[str, str | int]) -> None:
        """Takes what `Layout.compile` made, and options of XLA by name."""
        self._window, self._options = window, dict(options)
        self._compiled: Any = None

    def compile(self, *args: Any) -> Any:
        """Compiles it for arguments like these; the first call does where nobody has."""
        self._compiled = self._window.lower(*args).compile(self._options)
        return self._compiled

    def __call__(self, *args: Any) -> tuple[State, dict[str, jax.Array]]:
        """Runs it."""
        return (self._compiled or self.compile(*args))(*args)


def program(
    rules: Game, domain: Domain, feed: Feed, spread: Layout, batch_size: int, give_up_after: int
) -> Program:
    """A window: `(state, feed.whole, parts, count)` to the new state and metrics `[window]` by name.

    Where `spread` holds several runs, all but `feed.whole` have them as their first dimension. A run takes `count`
    steps, a traced number, and fewer where `give_up_after` in a row are refused: one trace serves every window.
    """

    @partial(jax.jit, inline=True)  # traced once, for the metrics' names and for the loop
    def take(state: State, whole: Any, parts: Any, i: Any) -> tuple[State, dict[str, jax.Array], jax.Array]:
        batch = jax.vmap(domain.decode)(feed.fetch(whole, parts, i))  # of each turn
        new, metrics, finite = game.transition(rules, state, batch, spread.axis)
        in_a_row = jnp.where(finite, 0, state.skipped_in_a_row + 1)
        counts = {"played": 1, "skipped": in_a_row > 0, "skipped_in_a_row": in_a_row}
        return new, {**metrics, **{name: jnp.float32(count) for name, count in counts.items()}}, finite

    def window(state: State, whole: Any, parts: Any, count: Any) -> tuple[State, dict[str, jax.Array]]:
        names = jax.eval_shape(take, state, whole, parts, jnp.int32(0))[1]

        def more(carry: Any) -> Any:
            first, _, state, _ = carry
            return (first < count) & (state.skipped_in_a_row < give_up_after)

        def run(carry: Any) -> Any:
            # What is not finite is rare. So no step keeps the state before it: the loop ends at a bad step, runs again
            # from its start to the state that the bad step met, and goes on behind it.
            first, end, state, log = carry

            def step(carry: Any) -> Any:
                i, state, log, _ = carry
                state, metrics, finite = take(state, whole, parts, i)
                return i + 1, state, {name: log[name].at[i].set(metrics[name]) for name in log}, finite

            going = (first, state, log, jnp.bool_(True))
            i, after, log, finite = jax.lax.while_loop(lambda carry: (carry[0] < end) & carry[3], step, going)
            behind = finite & (end < count)  # right before the bad step
            state = game.either(finite, game.either(behind, game.refused(after), after), state)
            first = jnp.where(finite, end + behind.astype(jnp.int32), first)
            return first, jnp.where(finite, count, i - 1), state, log

        empty = {name: jnp.zeros(room(feed.window)) for name in names}
        _, _, state, log = jax.lax.while_loop(more, run, (jnp.int32(0), count, state, empty))
        return state, log

    options = backends.compiler_options(spread.devices[0].platform, spread.share(batch_size))
    return Program(spread.compile(window), options)


def sampler(built: Built, examples: Mapping[str, Any] | None = None) -> Callable[[State], jax.Array]:
    """A compiled function from a state on one device to the run's sample images, always of the same draws.

    Args:
      built: The experiment.
      examples: Those that samples are made from, where they are; as many samples are made.
    """
    n, classes = built.config.run.samples, built.classes
    batch: dict[str, jax.Array] = {}
    if examples is not None:
        batch = built.domain.decode({name: jnp.asarray(examples[name]) for name in built.given})
        n = len(next(iter(batch.values())))
    if classes:
        batch["label"] = jnp.arange(n, dtype=jnp.int32) % classes

    @jax.jit
    def sample(state: State) -> jax.Array:
        keys = Keys.of(jax.random.fold_in(state.key, SAMPLES), n)
        return built.game.sample(state.averaged(), keys, batch)

    return sample
