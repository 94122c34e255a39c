"""GAN training as a game: players with objectives move networks in turns.

Networks hold parameters. Each player has a pure loss, the names of the networks it moves, and an optimizer; every
network that it does not move is a constant to it. One `step` lets every player take its turns. Plain GANs, critics
with several turns, translation with image pools, adversarial autoencoders and private GANs are all this.

For example:

    >>> def nets(key, batch):  # two numbers: x wants x * y small, y wants it large
    ...     return {"x": {"params": jnp.array(1.0)}, "y": {"params": jnp.array(1.0)}}
    >>> def player(name, sign):
    ...     product = lambda state, batch, keys: (sign * state.params["x"] * state.params["y"], Aux())
    ...     return Player((name,), product, optax.sgd(0.5))
    >>> players = {"x": player("x", 1), "y": player("y", -1)}
    >>> game = Game(nets, players, sample=lambda state, keys, batch: state.params["x"])
    >>> state = init(game, jax.random.key(0), {"real": jnp.zeros(4)})
    >>> state, metrics = step(game, state, {"real": jnp.zeros((game.turns, 4))})
    >>> float(state.params["x"]), float(state.params["y"])  # y sees where x went: 1 + 0.5 * 0.5
    (0.5, 1.25)
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import lax

from jaxgan import axis as _axis
from jaxgan import backends
from jaxgan.axis import AXIS
from jaxgan.prng import Keys, unrolled

Array = jax.Array
PyTree = Any
Nets = dict[str, PyTree]
"""Something for each network, by its name."""
Batch = Mapping[str, PyTree]
"""Arrays `[N, ...]` by name; in `step`, `[turns, N, ...]`."""
Metrics = Mapping[str, Array]
_SLICES = 32
"""Slices of a matrix whose numbers are added up; sixteen are no faster than one."""
_LEAST = 64 * _SLICES
"""Numbers worth slicing."""


class State(struct.PyTreeNode):
    """The whole truth about a run, immutable. `step` donates it."""

    step: Array
    key: Array
    params: Nets
    stats: Nets
    """All other variables of each network: batch statistics, spectral-norm vectors."""
    ema: Nets
    opt: dict[str, PyTree]
    """Optimizer state by player."""
    memory: PyTree
    """What outlives a batch: image pools, histories. Global, the same on every device."""
    skipped: Array
    """Transitions refused because something was not finite."""
    skipped_in_a_row: Array

    def variables(self, network: str) -> dict[str, PyTree]:
        """What `module.apply` takes for this network."""
        return {"params": self.params[network], **self.stats[network]}

    def averaged(self) -> "State":
        """The state with averaged parameters in place of the raw ones, where there are any."""
        return self.replace(params={**self.params, **self.ema})


class Aux(NamedTuple):
    """What a loss reports beside its value."""

    stats: Nets = {}
    """New statistics of networks that the player moves."""
    memory: PyTree = None
    """Per-example candidates `[N, ...]` for `Player.remember`; None leaves the memory as it is."""
    metrics: Metrics = {}
    """Scalars, averaged over the devices."""


Loss = Callable[[State, Batch, Keys], tuple[Array, Aux]]


class Player(NamedTuple):
    """One objective and what it moves."""

    moves: tuple[str, ...]
    loss: Loss
    optimizer: optax.GradientTransformation
    turns: int = 1
    """Updates in each step: n_critic, K_d, K_g."""
    start: int = 0
    """Before this step the player's turns are left out: the others are trained first."""
    value_and_grad: Callable[..., Any] = jax.value_and_grad
    """Turns `objective(moved, state, batch, keys)` into its value and gradient; private players clip here."""
    remember: Callable[[PyTree, PyTree], PyTree] | None = None
    """(memory, the candidates of all devices in global order) to the new memory."""
    after: Callable[[PyTree, Keys], PyTree] | None = None
    """(gradients, averaged over the devices, and the turn's keys) to those that are used; private players add noise
    here, from the key that all devices share."""
    stop: int | None = None
    """From this step on the player's turns are left out: what it moved is done, and the others go on."""

    def plays(self, step: Any) -> Any:
        """Whether the player has turns in a step, a number or traced."""
        return (step >= self.start) & (self.stop is None or step < self.stop)


class Fakes(NamedTuple):
    """What players share when they share draws: made once, from the start of the step."""

    networks: tuple[str, ...]
    """The networks that make them."""
    make: Callable[[State, Batch, Keys], tuple[PyTree, Aux]]
    """Losses find the result as `batch["fakes"]`."""


class Game(NamedTuple):
    """Pure functions over Linen modules; holds no arrays."""

    init: Callable[[Array, Batch], Nets]
    """(key, one batch `[N, ...]`) to the Linen variables of every network."""
    players: Mapping[str, Player]
    """In playing order."""
    sample: Callable[[State, Keys, Batch | None], Array]
    """What the trained model makes: one output for each example key."""
    memory: Callable[[Batch], PyTree] = lambda batch: ()
    ema: Mapping[str, float] = {}
    """Decay per step of the parameter average of each network named, warmed up as min(decay, (1 + t) / (10 + t))."""
    schedule: Literal["alternating", "simultaneous"] = "alternating"
    """Whether each player sees the moves of those before it, or all move from the same state."""
    shared_draws: bool = False
    """One batch and one noise for all turns of a step, as in most published code; else each turn has its own."""
    fakes: Fakes | None = None

    @property
    def turns(self) -> int:
        """Batches that one step reads: the first dimension of its batch."""
        return 1 if self.shared_draws else sum(player.turns for player in self.players.values())


def _check(game: Game, nets: Nets) -> None:
    if game.schedule not in ("alternating", "simultaneous"):
        raise ValueError(f"schedule is {game.schedule!r}; it must be 'alternating' or 'simultaneous'")
    asked = {f"players[{name!r}].moves": player.moves for name, player in game.players.items()}
    asked |= {"ema": tuple(game.ema), "fakes.networks": game.fakes.networks if game.fakes else ()}
    for where, names in asked.items():
        for name in names:
            if name not in nets:
                raise ValueError(f"{where} names {name!r}, but init makes only {sorted(nets)}")
    moved = [network for player in game.players.values() for network in player.moves]
    if game.schedule == "simultaneous" and len(set(moved)) < len(moved):
        twice = next(network for network in moved if moved.count(network) > 1)
        raise ValueError(
            f"schedule is 'simultaneous', but two players move {twice!r}: one would undo the other"
        )
    for name, player in game.players.items():
        if player.turns < 1 or player.start < 0:
            raise ValueError(
                f"player {name!r} has turns={player.turns}, start={player.start}; need turns > 0, start >= 0"
            )
        if player.stop is not None and player.stop <= player.start:
            raise ValueError(
                f"player {name!r} has start={player.start}, stop={player.stop}; it must stop after it starts"
            )


def init(game: Game, key: Array, batch: Batch) -> State:
    """The state before the first step.

    Args:
      game: The game.
      key: A typed key. It also drives all draws of the run.
      batch: One batch `[N, ...]`, for shapes.

    Raises:
      ValueError: If the game names networks that it does not make, or is not playable.
    """
    nets = game.init(key, batch)
    _check(game, nets)
    params = {name: variables["params"] for name, variables in nets.items()}
    return State(
        step=jnp.int32(0),
        key=jax.random.clone(key),
        params=params,
        stats={
            name: {k: v for k, v in variables.items() if k != "params"} for name, variables in nets.items()
        },
        ema={name: jax.tree.map(jnp.copy, params[name]) for name in game.ema},
        opt={n: p.optimizer.init({m: params[m] for m in p.moves}) for n, p in game.players.items()},
        memory=game.memory(batch),
        skipped=jnp.int32(0),
        skipped_in_a_row=jnp.int32(0),
    )


def _norm(tree: PyTree) -> Array:
    """The norm of all numbers in it, as one vector: `optax.tree.norm`, or on a CPU in slices.

    There XLA writes what it adds up to memory first, here the squares. Slices it adds in one pass, which takes longer
    to compile: it pays for matrices, not for the kernels of convolutions.
    """
    if not backends.choices().sliced_norms:
        return optax.tree.norm(tree)

    def total(x: Array) -> Array:
        n = _SLICES if x.ndim == 2 and x.size % _LEAST == 0 else 1
        first, *others = jnp.square(x).reshape(n, x.size // n)
        return jnp.sum(sum(others, first))

    return jnp.sqrt(sum(map(total, jax.tree.leaves(tree))))


class _Shared(NamedTuple):
    """Fakes that were made, and what players who share them need to move their makers."""

    networks: tuple[str, ...]
    fakes: PyTree
    pullback: Callable[[PyTree], tuple[Nets]]
    aux: Aux


def update(
    name: str,
    player: Player,
    state: State,
    batch: Batch,
    keys: Keys,
    axis: str | None = None,
    shared: _Shared | None = None,
) -> tuple[State, dict[str, Array]]:
    """One turn of one player.

    Args:
      name: The player's name, the key of its optimizer state.
      player: The player.
      state: The state to move from.
      batch: Arrays `[N, ...]`, this device's part.
      keys: This turn's keys, for this device's part.
      axis: The mapped axis over which gradients, statistics and metrics are averaged; None on one device.
      shared: Fakes made before, with their pullback, valid for `state`; set by `step`.

    Returns:
      The new state and the player's metrics, "loss", "grad_norm" and "update_norm" among them.

    Raises:
      ValueError: If the loss reports statistics of networks that the player does not move, or candidates for the
        memory where the player has no `remember`.
    """
    moved = {network: state.params[network] for network in player.moves}
    if shared and set(shared.networks) & set(moved):

        def through(both: PyTree, state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            params, fakes = both
            return player.loss(
                state.replace(params={**state.params, **params}), dict(batch, fakes=fakes), keys
            )

        gradient = player.value_and_grad(through, has_aux=True)
        (loss, aux), (grads, fake_grads) = gradient((moved, shared.fakes), state, batch, keys)
        (through_fakes,) = shared.pullback(fake_grads)
        for network in (
            name for name in moved if name in through_fakes
        ):  # a set has another order in each process
            grads[network] = jax.tree.map(jnp.add, grads[network], through_fakes[network])
        aux = aux._replace(stats={**shared.aux.stats, **aux.stats})
    else:
        # Fakes go in as part of the batch, so that a `value_and_grad` that maps over examples finds them there.
        given = dict(batch, fakes=shared.fakes) if shared else batch

        def plain(moved: PyTree, state: State, batch: Batch, keys: Keys) -> tuple[Array, Aux]:
            return player.loss(state.replace(params={**state.params, **moved}), batch, keys)

        (loss, aux), grads = player.value_and_grad(plain, has_aux=True)(moved, state, given, keys)
    if not set(aux.stats) <= set(moved):
        raise ValueError(
            f"player {name!r} reports statistics of {sorted(aux.stats)} but moves only {sorted(moved)}"
        )

    metrics = {name: jnp.asarray(value, jnp.float32) for name, value in {"loss": loss, **aux.metrics}.items()}
    grads, stats, metrics = _axis.mean((grads, dict(aux.stats), metrics), axis)
    if player.after is not None:
        grads = player.after(grads, keys)
    metrics["grad_norm"] = _norm(grads)
    memory = state.memory
    if aux.memory is not None:
        if player.remember is None:
            raise ValueError(f"player {name!r} reports candidates for the memory but has no remember")
        memory = player.remember(memory, _axis.gather(aux.memory, axis))
    updates, opt = player.optimizer.update(grads, state.opt[name], moved)
    metrics["update_norm"] = _norm(updates)
    state = state.replace(
        params=dict(state.params, **cast("Nets", optax.apply_updates(moved, updates))),
        stats={**state.stats, **stats},
        opt={**state.opt, name: opt},
        memory=memory,
    )
    return state, metrics


def _share(fakes: Fakes, state: State, batch: Batch, keys: Keys) -> _Shared:
    def make(params: Nets) -> tuple[PyTree, Aux]:
        return fakes.make(state.replace(params={**state.params, **params}), batch, keys)

    makers = {name: state.params[name] for name in fakes.networks}
    made, pullback, aux = jax.vjp(make, makers, has_aux=True)
    return _Shared(fakes.networks, made, pullback, aux)


def _averages(game: Game, state: State, params: Nets) -> Nets:
    t = state.step.astype(jnp.float32)
    warm = (1 + t) / (10 + t)

    def average(name: str, decay: float) -> PyTree:
        d = jnp.minimum(decay, warm)
        return jax.tree.map(lambda a, p: d * a + (1 - d) * p, state.ema[name], params[name])

    return {name: average(name, decay) for name, decay in game.ema.items()}


def _turns(
    name: str,
    player: Player,
    state: State,
    draws: Callable[[Array | int], tuple[Batch, Keys]],
    axis: str | None,
    shared: _Shared | None,
) -> tuple[State, dict[str, Array], Array]:
    """All turns of one player: the new state, mean metrics, and whether every loss and gradient was finite."""

    def turn(state: State, t: Array | int) -> tuple[State, dict[str, Array]]:
        return update(name, player, state, *draws(t), axis, shared)

    def play(state: State) -> tuple[State, dict[str, Array], Array]:
        if player.turns == 1:
            state, metrics = turn(state, 0)
        else:
            state, metrics = lax.scan(turn, state, jnp.arange(player.turns))
        finite = jnp.bool_(True)
        for name in ("loss", "grad_norm", "update_norm"):
            finite &= jnp.all(jnp.isfinite(metrics[name]))
        return state, {key: jnp.mean(value) for key, value in metrics.items()}, finite

    if player.start == 0 and player.stop is None:
        return play(state)
    traced = jax.jit(play, inline=True)  # once, to play and to know what is reported

    def wait(state: State) -> tuple[State, dict[str, Array], Array]:
        shapes = jax.eval_shape(traced, state)[1]
        return state, {key: jnp.full(s.shape, jnp.nan, s.dtype) for key, s in shapes.items()}, jnp.bool_(True)

    return lax.cond(player.plays(state.step), traced, wait, state)


def transition(
    game: Game, state: State, batch: Batch, axis: str | None = None
) -> tuple[State, dict[str, Array], Array]:
    """Every player's turns, then the averages, whatever they come to.

    Args:
      game: The game.
      state: The state to move from.
      batch: Arrays `[game.turns, N, ...]`, this device's part.
      axis: The mapped axis, if any.

    Returns:
      The new state; metrics by "player/metric", NaN for a player that has not started yet or has stopped; and whether
      every loss, norm of a gradient or an update, and statistic is finite. If not, the new state is worthless: see
      `refused`.

    Raises:
      ValueError: If the batch does not hold one part for each turn, or the axis is not `AXIS`.
    """
    if axis not in (None, AXIS):
        raise ValueError(f"axis is {axis!r}; layers that need the whole batch look for game.AXIS, {AXIS!r}")
    sizes = {leaf.shape[:2] for leaf in jax.tree.leaves(batch)}
    if len(sizes) != 1 or next(iter(sizes))[0] != game.turns:
        raise ValueError(
            f"step needs arrays [{game.turns}, N, ...], one part for each turn; got {sorted(sizes)}"
        )
    ((_, n),) = sizes
    base = jax.random.fold_in(unrolled(state.key), state.step)
    first = _axis.index(axis) * n

    def draws(turn: Array | int) -> tuple[Batch, Keys]:
        return jax.tree.map(lambda x: x[turn], batch), Keys.of(jax.random.fold_in(base, turn), n, first)

    new, shared, played, metrics, finite = state, None, 0, {}, jnp.bool_(True)
    if game.fakes and game.shared_draws:
        shared = _share(game.fakes, state, *draws(0))
    for name, player in game.players.items():
        # Fakes stay good until a player moves the networks that made them.
        makes_fakes = shared is not None and bool(set(player.moves) & set(shared.networks))
        # A gradient of one's own (clipped per example, say) is of the parameters alone: it makes the fakes itself.
        remakes = makes_fakes and (player.turns > 1 or player.value_and_grad is not jax.value_and_grad)
        use = None if remakes else shared
        offset = 0 if game.shared_draws else played
        turn_draws = (
            (lambda t: draws(0)) if game.shared_draws else (lambda t, offset=offset: draws(offset + t))
        )
        origin = new if game.schedule == "alternating" else state.replace(memory=new.memory)
        after, report, ok = _turns(name, player, origin, turn_draws, axis, use)
        new = new.replace(
            params={**new.params, **{m: after.params[m] for m in player.moves}},
            stats={**new.stats, **{m: after.stats[m] for m in player.moves}},
            opt={**new.opt, name: after.opt[name]},
            memory=after.memory,
        )
        if makes_fakes and game.schedule == "alternating":
            shared = None
        played += player.turns
        finite &= ok
        metrics |= {f"{name}/{key}": value for key, value in report.items()}

    new = new.replace(
        ema=_averages(game, state, new.params), step=state.step + 1, skipped_in_a_row=jnp.int32(0)
    )
    for leaf in jax.tree.leaves(new.stats):
        finite &= jnp.all(jnp.isfinite(leaf))
    return new, metrics, finite


def refused(state: State) -> State:
    """The state after a transition that was refused: all as it was but the step, whose successor tries other draws."""
    return state.replace(
        step=state.step + 1, skipped=state.skipped + 1, skipped_in_a_row=state.skipped_in_a_row + 1
    )


def either(choice: Array, a: State, b: State) -> State:
    """The state a where the choice is true, else b, which has the same key."""
    chosen = jax.tree.map(lambda a, b: jnp.where(choice, a, b), a.replace(key=None), b.replace(key=None))
    return chosen.replace(key=b.key)


def step(game: Game, state: State, batch: Batch, axis: str | None = None) -> tuple[State, dict[str, Array]]:
    """One transition of the run: `transition`, refused where something is not finite.

    Args:
      game: The game.
      state: The state to move from.
      batch: Arrays `[game.turns, N, ...]`, this device's part.
      axis: The mapped axis, if any.

    Returns:
      The new state, and the metrics of the transition, refused or not.

    Raises:
      ValueError: As `transition`.
    """
    new, metrics, finite = transition(game, state, batch, axis)
    return either(finite, new, refused(state)), metrics
