"""The core against hand-written update code, one kind of game at a time, with tiny networks and SGD."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import slow

from jaxgan import backends, game
from jaxgan.game import Aux, Fakes, Game, Keys, Player

pytestmark = pytest.mark.usefixtures("strict_dtypes", "quick_programs")
KEY = jax.random.key(7)
N = 6
LR = 0.1


def dense(key, *sizes):
    keys = [jax.random.fold_in(key, i) for i in range(len(sizes) - 1)]
    return {
        "params": [jax.random.normal(k, (a, b)) / a for k, a, b in zip(keys, sizes, sizes[1:], strict=False)]
    }


def net(params, x):
    for w in params[:-1]:
        x = jnp.tanh(x @ w)
    return x @ params[-1]


def logit(params, x):
    return net(params, x)[:, 0]


def draws(state, turn, n=N):
    """The documented rule: fold in step, turn and example index; then a name for the purpose."""
    return Keys.of(jax.random.fold_in(jax.random.fold_in(state.key, state.step), turn), n)


def latent(keys, size=2):
    return keys.fold("latent").normal((size,))


def sgd(params, grads):
    return jax.tree.map(lambda p, g: p - LR * g, params, grads)


def batches(turns, *shape, seed=0):
    return {"x": jnp.asarray(np.random.default_rng(seed).normal(size=(turns, N, *shape)), jnp.float32)}


def close(a: Any, b: Any, tol: float = 1e-6) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=tol, atol=tol), a, b)


def d_value(d, g, x, z):
    return jnp.mean(jax.nn.softplus(-logit(d, x))) + jnp.mean(jax.nn.softplus(logit(d, net(g, z))))


def g_value(g, d, z):
    return jnp.mean(jax.nn.softplus(-logit(d, net(g, z))))


def nets(key, batch):
    return {"g": dense(jax.random.fold_in(key, 0), 2, 5, 3), "d": dense(jax.random.fold_in(key, 1), 3, 4, 1)}


def plain(fakes=False, **settings):
    """A plain GAN. Where the game shares fakes, its losses take them from the batch."""

    def make(s, b, k):
        return net(s.params["g"], latent(k)), Aux()

    def fake(s, b, k):
        return b["fakes"] if "fakes" in b else make(s, b, k)[0]

    def d_loss(s, b, k):
        f = fake(s, b, k)
        d = s.params["d"]
        real, fakes = logit(d, b["x"]), logit(d, f)
        return jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fakes)), Aux(
            metrics={"real": real.mean()}
        )

    def g_loss(s, b, k):
        return jnp.mean(jax.nn.softplus(-logit(s.params["d"], fake(s, b, k)))), Aux()

    d_settings = settings.pop("d", {})
    g_settings = settings.pop("g", {})
    return Game(
        init=nets,
        players={
            "D": Player(("d",), d_loss, optax.sgd(LR), **d_settings),
            "G": Player(("g",), g_loss, optax.sgd(LR), **g_settings),
        },
        sample=lambda s, k, b: net(s.params["g"], latent(k)),
        fakes=Fakes(("g",), make) if fakes else None,
        **settings,
    )


def start(rules, batch):
    return game.init(rules, KEY, jax.tree.map(lambda x: x[0], batch))


@pytest.mark.device
def test_plain_gan():
    rules, batch = plain(), batches(2, 3)
    state = start(rules, batch)
    d, g = state.params["d"], state.params["g"]
    z0, z1 = latent(draws(state, 0)), latent(draws(state, 1))
    loss, grads = jax.value_and_grad(d_value)(d, g, batch["x"][0], z0)
    d = sgd(d, grads)
    g_loss, g_grads = jax.value_and_grad(g_value)(g, d, z1)
    new, metrics = game.step(rules, state, batch)
    close(new.params, {"d": d, "g": sgd(g, g_grads)})
    close(metrics["D/loss"], loss)
    close(metrics["G/loss"], g_loss)
    close(metrics["G/grad_norm"], np.sqrt(sum(np.sum(np.square(x)) for x in g_grads)))
    assert (int(new.step), int(new.skipped), int(new.skipped_in_a_row)) == (1, 0, 0)
    assert list(metrics) == [f"D/{m}" for m in ("loss", "real", "grad_norm", "update_norm")] + [
        f"G/{m}" for m in ("loss", "grad_norm", "update_norm")
    ]
    close(metrics["G/update_norm"], LR * metrics["G/grad_norm"])


@pytest.mark.parametrize("sliced", [True, False])
@pytest.mark.parametrize("shape", [(64, 128), slow((63, 128)), (0, 128), slow((4, 4, 32, 4)), slow((2048,))])
def test_norms_are_of_all_numbers(shape, sliced):
    """Of matrices in slices or not, as backends differ: against NumPy in float64, with gradients of any shape."""
    goal = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    player = Player(("x",), lambda s, b, k: (-jnp.sum(s.params["x"] * b["goal"][0]), Aux()), optax.sgd(LR))
    rules = Game(lambda key, b: {"x": {"params": jnp.zeros(shape)}}, {"P": player}, sample=lambda s, k, b: k)
    batch = {"goal": goal[None, None]}
    with backends.overridden(sliced_norms=sliced):
        _, metrics = game.step(rules, start(rules, batch), batch)
    exact = np.sqrt(np.sum(np.square(goal, dtype=np.float64)))
    np.testing.assert_allclose(metrics["P/grad_norm"], exact, rtol=1e-6)
    np.testing.assert_allclose(metrics["P/update_norm"], LR * exact, rtol=1e-6)


def test_every_turn_and_step_has_draws_of_its_own():
    state = start(plain(), batches(2, 3))
    seen = [latent(draws(s, t)) for s in (state, state.replace(step=jnp.int32(1))) for t in (0, 1)]
    flat = np.concatenate([np.ravel(z) for z in seen])
    assert len(np.unique(flat)) == flat.size


def test_simultaneous_players_move_from_the_same_state():
    rules, batch = plain(schedule="simultaneous"), batches(2, 3)
    state = start(rules, batch)
    d, g = state.params["d"], state.params["g"]
    d_grads = jax.grad(d_value)(d, g, batch["x"][0], latent(draws(state, 0)))
    g_grads = jax.grad(g_value)(g, d, latent(draws(state, 1)))
    new, _ = game.step(rules, state, batch)
    close(new.params, {"d": sgd(d, d_grads), "g": sgd(g, g_grads)})


@pytest.mark.parametrize("fakes", [False, True])
@pytest.mark.parametrize("schedule", ["alternating", "simultaneous"])
@pytest.mark.parametrize("turns", [slow((1, 1)), (3, 1), slow((1, 2))])
def test_shared_draws(fakes, schedule, turns):
    """One batch and one noise for every turn; fakes computed once change nothing."""
    rules = plain(fakes, schedule=schedule, shared_draws=True, d={"turns": turns[0]}, g={"turns": turns[1]})
    batch = batches(1, 3)
    state = start(rules, batch)
    d, g = state.params["d"], state.params["g"]
    z = latent(draws(state, 0))
    for _ in range(turns[0]):
        d = sgd(d, jax.grad(d_value)(d, g, batch["x"][0], z))
    against = d if schedule == "alternating" else state.params["d"]
    for _ in range(turns[1]):
        g = sgd(g, jax.grad(g_value)(g, against, z))
    new, _ = game.step(rules, state, batch)
    close(new.params, {"d": d, "g": g})


def test_shared_fakes_are_remade_once_their_maker_has_moved():
    """G plays first: what D then sees must come from the new generator."""
    rules = plain(True, shared_draws=True)
    rules = rules._replace(players={name: rules.players[name] for name in ("G", "D")})
    batch = batches(1, 3)
    state = start(rules, batch)
    d, g = state.params["d"], state.params["g"]
    z = latent(draws(state, 0))
    g = sgd(g, jax.grad(g_value)(g, d, z))
    d = sgd(d, jax.grad(d_value)(d, g, batch["x"][0], z))
    new, _ = game.step(rules, state, batch)
    close(new.params, {"d": d, "g": g})


@pytest.mark.device
def test_critic_with_five_turns_and_gradient_penalty():
    """WGAN-GP (Gulrajani et al., 2017, algorithm 1): the penalty differentiates twice."""

    def penalty(d, x, fake, mix):
        between = mix * x + (1 - mix) * fake
        slopes = jax.grad(lambda y: jnp.sum(logit(d, y)))(between)
        return 10 * jnp.mean((jnp.sqrt(jnp.sum(slopes**2, -1)) - 1) ** 2)

    def critic_value(d, g, x, keys):
        fake = net(g, latent(keys))
        mix = keys.fold("mix").uniform((1,))
        return jnp.mean(logit(d, fake)) - jnp.mean(logit(d, x)) + penalty(d, x, fake, mix)

    players = {
        "critic": Player(
            ("d",),
            lambda s, b, k: (critic_value(s.params["d"], s.params["g"], b["x"], k), Aux()),
            optax.sgd(LR),
            turns=5,
        ),
        "G": Player(
            ("g",),
            lambda s, b, k: (-jnp.mean(logit(s.params["d"], net(s.params["g"], latent(k)))), Aux()),
            optax.sgd(LR),
        ),
    }
    rules, batch = Game(nets, players, lambda s, k, b: k.example), batches(6, 3)
    assert rules.turns == 6
    state = start(rules, batch)
    d, g = state.params["d"], state.params["g"]
    losses = []
    for t in range(5):
        loss, grads = jax.value_and_grad(critic_value)(d, g, batch["x"][t], draws(state, t))
        losses.append(loss)
        d = sgd(d, grads)
    z = latent(draws(state, 5))
    g = sgd(g, jax.grad(lambda g: -jnp.mean(logit(d, net(g, z))))(g))
    new, metrics = game.step(rules, state, batch)
    close(new.params, {"d": d, "g": g}, 1e-5)
    close(metrics["critic/loss"], np.mean(losses), 1e-5)


POOL = 4


def pool_choice(keys):
    """For each example: whether it swaps with the pool, and with which place."""
    swap = keys.fold("swap").uniform() < 0.5
    place = (keys.fold("place").uniform() * POOL).astype(jnp.int32)
    return swap, place


def cyclegan():
    """Two generators move together, two discriminators together; discriminators see fakes from a pool."""

    def init(key, batch):
        sizes = {"ab": (3, 4, 3), "ba": (3, 4, 3), "da": (3, 4, 1), "db": (3, 4, 1)}
        return {name: dense(jax.random.fold_in(key, i), *s) for i, (name, s) in enumerate(sizes.items())}

    def g_loss(s, b, k):
        p = s.params
        fake_b, fake_a = net(p["ab"], b["a"]), net(p["ba"], b["b"])
        cycle = jnp.mean(jnp.abs(net(p["ba"], fake_b) - b["a"])) + jnp.mean(
            jnp.abs(net(p["ab"], fake_a) - b["b"])
        )
        fool = jnp.mean((logit(p["db"], fake_b) - 1) ** 2) + jnp.mean((logit(p["da"], fake_a) - 1) ** 2)
        return fool + 10 * cycle, Aux()

    def d_loss(s, b, k):
        p = s.params
        fresh = {"a": net(p["ba"], b["b"]), "b": net(p["ab"], b["a"])}
        swap, place = pool_choice(k)
        seen = {n: jnp.where(swap[:, None], s.memory[n][place], f) for n, f in fresh.items()}
        value = sum(
            jnp.mean((logit(p["d" + n], b[n]) - 1) ** 2) + jnp.mean(logit(p["d" + n], seen[n]) ** 2)
            for n in "ab"
        )
        return value, Aux(memory={"images": fresh, "swap": swap, "place": place})

    def remember(pool, new):
        # Later examples win; who does not swap writes past the end, which is dropped.
        place = jnp.where(new["swap"], new["place"], POOL)
        last = jnp.array([jnp.max(jnp.where(place == i, jnp.arange(len(place)), -1)) for i in range(POOL)])
        return {n: jnp.where(last[:, None] >= 0, new["images"][n][last], pool[n]) for n in pool}

    return Game(
        init,
        {
            "generators": Player(("ab", "ba"), g_loss, optax.sgd(LR)),
            "discriminators": Player(("da", "db"), d_loss, optax.sgd(LR), remember=remember),
        },
        sample=lambda s, k, b: net(s.params["ab"], b["a"]),
        memory=lambda b: {"a": b["a"][:POOL], "b": b["b"][:POOL]},
        shared_draws=True,
    )


@pytest.mark.slow
def test_four_networks_two_players_and_an_image_pool(rng):
    rules = cyclegan()
    batch = {n: jnp.asarray(rng.normal(size=(1, N, 3)), jnp.float32) for n in "ab"}
    state = start(rules, batch)
    new, _ = game.step(rules, state, batch)
    new2, _ = game.step(rules, new, jax.tree.map(lambda x: x[:, ::-1], batch))

    # By hand, the pool as a Python loop over examples.
    params = {k: list(v) for k, v in state.params.items()}
    pool = {n: np.array(batch[n][0][:POOL]) for n in "ab"}
    for i, order in enumerate((1, -1)):
        a, b = batch["a"][0][::order], batch["b"][0][::order]

        def g_value(gs, ds):
            fake_b, fake_a = net(gs["ab"], a), net(gs["ba"], b)  # noqa: B023
            loss = jnp.mean((logit(ds["db"], fake_b) - 1) ** 2) + jnp.mean((logit(ds["da"], fake_a) - 1) ** 2)
            back = jnp.mean(jnp.abs(net(gs["ba"], fake_b) - a)) + jnp.mean(jnp.abs(net(gs["ab"], fake_a) - b))  # noqa: B023
            return loss + 10 * back

        gs = {n: params[n] for n in ("ab", "ba")}
        ds = {n: params[n] for n in ("da", "db")}
        gs = sgd(gs, jax.grad(g_value)(gs, ds))
        fresh = {"a": np.array(net(gs["ba"], b)), "b": np.array(net(gs["ab"], a))}
        swap, place = pool_choice(draws(state.replace(step=jnp.int32(i)), 0))
        before = {n: pool[n].copy() for n in "ab"}
        seen = {n: fresh[n].copy() for n in "ab"}
        for j in range(N):
            if swap[j]:
                for n in "ab":
                    seen[n][j] = before[n][place[j]]
                    pool[n][place[j]] = fresh[n][j]

        def d_value(ds):
            real = {"a": a, "b": b}  # noqa: B023
            return sum(
                jnp.mean((logit(ds["d" + n], real[n]) - 1) ** 2) + jnp.mean(logit(ds["d" + n], seen[n]) ** 2)  # noqa: B023
                for n in "ab"
            )

        ds = sgd(ds, jax.grad(d_value)(ds))
        params = {**gs, **ds}
        close((new, new2)[i].params, params, 1e-5)
        close((new, new2)[i].memory, pool, 1e-5)
    assert not np.allclose(pool["a"], state.memory["a"])  # something was remembered


def test_three_players_share_an_encoder():
    """An adversarial autoencoder (Makhzani et al., 2015): reconstruction, then D, then the encoder fools D."""

    def init(key, batch):
        sizes = {"encoder": (3, 4, 2), "decoder": (2, 4, 3), "d": (2, 4, 1)}
        return {name: dense(jax.random.fold_in(key, i), *s) for i, (name, s) in enumerate(sizes.items())}

    def reconstruction(e, dec, x):
        return jnp.mean((net(dec, net(e, x)) - x) ** 2)

    def d_value(d, e, x, z):
        return jnp.mean(jax.nn.softplus(-logit(d, z))) + jnp.mean(jax.nn.softplus(logit(d, net(e, x))))

    def fool(e, d, x):
        return jnp.mean(jax.nn.softplus(-logit(d, net(e, x))))

    players = {
        "autoencoder": Player(
            ("encoder", "decoder"),
            lambda s, b, k: (reconstruction(s.params["encoder"], s.params["decoder"], b["x"]), Aux()),
            optax.sgd(LR),
        ),
        "D": Player(
            ("d",),
            lambda s, b, k: (d_value(s.params["d"], s.params["encoder"], b["x"], latent(k)), Aux()),
            optax.sgd(LR),
        ),
        "regulariser": Player(
            ("encoder",),
            lambda s, b, k: (fool(s.params["encoder"], s.params["d"], b["x"]), Aux()),
            optax.sgd(LR / 2),
        ),
    }
    rules, batch = Game(init, players, lambda s, k, b: k.example), batches(3, 3)
    state = start(rules, batch)
    e, dec, d = (state.params[n] for n in ("encoder", "decoder", "d"))
    x = batch["x"]
    ge, gdec = jax.grad(reconstruction, (0, 1))(e, dec, x[0])
    e, dec = sgd(e, ge), sgd(dec, gdec)
    d = sgd(d, jax.grad(d_value)(d, e, x[1], latent(draws(state, 1))))
    e = jax.tree.map(lambda p, g: p - LR / 2 * g, e, jax.grad(fool)(e, d, x[2]))
    new, _ = game.step(rules, state, batch)
    close(new.params, {"encoder": e, "decoder": dec, "d": d})


def clipped(clip):
    """A `value_and_grad` that clips each example's gradient to norm `clip` before the mean (DP-SGD, without noise)."""

    def transform(objective, has_aux):
        assert has_aux

        def one(moved, state, example, keys):
            example = jax.tree.map(lambda x: x[None], example)
            value = jax.value_and_grad(objective, has_aux=True)
            (loss, aux), grads = value(moved, state, example, Keys(keys.shared, keys.example[None]))
            scale = jnp.minimum(1.0, clip / optax.tree.norm(grads))
            return (loss, aux), jax.tree.map(lambda g: g * scale, grads)

        def gradient(moved, state, batch, keys):
            axes = (None, None, 0, Keys(None, 0))
            return jax.tree.map(lambda x: jnp.mean(x, 0), jax.vmap(one, axes)(moved, state, batch, keys))

        return gradient

    return transform


def test_per_example_clipped_gradients():
    rules, batch = plain(d={"value_and_grad": clipped(0.05)}), batches(2, 3)
    state = start(rules, batch)
    d, g = state.params["d"], state.params["g"]
    z = latent(draws(state, 0))
    total = jax.tree.map(np.zeros_like, d)
    for i in range(N):
        grads = jax.grad(d_value)(d, g, batch["x"][0][i : i + 1], z[i : i + 1])
        norm = np.sqrt(sum(np.sum(np.square(w)) for w in grads))
        assert norm > 0.05
        total = jax.tree.map(lambda t, w: t + w * min(1.0, 0.05 / norm) / N, total, grads)  # noqa: B023
    new, metrics = game.step(rules, state, batch)
    close(new.params["d"], sgd(d, total))
    assert metrics["D/grad_norm"] <= 0.05 + 1e-6


@pytest.mark.parametrize("fakes", [False, True])
@pytest.mark.slow
def test_clipping_with_shared_draws(fakes):
    """Each example's gradient sees its own fake, shared or not; the clipped generator makes its fakes again."""
    way = {"value_and_grad": clipped(0.05)}
    rules, batch = plain(fakes, shared_draws=True, d=way, g=way), batches(1, 3)
    state = start(rules, batch)
    d, g = state.params["d"], state.params["g"]
    z = latent(draws(state, 0))

    def total(value, params, *examples):
        mean = jax.tree.map(np.zeros_like, params)
        for i in range(N):
            grads = jax.grad(value)(params, *(x[i : i + 1] for x in examples))
            norm = np.sqrt(sum(np.sum(np.square(w)) for w in grads))
            mean = jax.tree.map(lambda t, w: t + w * min(1.0, 0.05 / norm) / N, mean, grads)  # noqa: B023
        return mean

    d = sgd(d, total(lambda d, x, z: d_value(d, g, x, z), d, batch["x"][0], z))
    new_g = sgd(g, total(lambda g, z: g_value(g, d, z), g, z))
    new, _ = game.step(rules, state, batch)
    close(new.params, {"d": d, "g": new_g})


def test_formulas_of_any_kind_are_means():
    player = plain().players["D"]

    def loss(s, b, k):
        value, _ = player.loss(s, b, k)
        return value, Aux(metrics={"count": jnp.sum(b["x"] > 0.0), "any": jnp.any(b["x"] > 9.0), "one": 1.0})

    rules, batch = plain(), batches(2, 3)
    rules = rules._replace(players={**rules.players, "D": player._replace(loss=loss)})
    _, metrics = game.step(rules, start(rules, batch), batch)
    assert float(metrics["D/count"]) == np.sum(np.asarray(batch["x"][0]) > 0)
    assert metrics["D/count"].dtype == metrics["D/any"].dtype == metrics["D/one"].dtype == jnp.float32


def test_an_update_that_overflows_is_refused():
    rules = plain()
    players = {"D": rules.players["D"]._replace(optimizer=optax.sgd(1e38)), "G": rules.players["G"]}
    rules, batch = rules._replace(players=players), jax.tree.map(lambda x: 1e3 * x, batches(2, 3))
    state = start(rules, batch)
    new, metrics = game.step(rules, state, batch)
    assert np.isfinite(metrics["D/grad_norm"])
    assert int(new.skipped) == 1
    close(new.params, state.params, 0)


def test_a_player_that_starts_later_leaves_everything_alone_until_then():
    rules, batch = plain(g={"start": 2}), batches(2, 3)
    step = jax.jit(lambda s, b: game.step(rules, s, b))
    states = [start(rules, batch)]
    for _ in range(3):
        new, metrics = step(states[-1], batch)
        states.append(new)
        assert np.isnan(metrics["G/loss"]) == (len(states) < 4)
    close(states[2].params["g"], states[0].params["g"], 0)
    assert int(states[3].skipped) == 0
    # From then on it is the plain game.
    expected, _ = game.step(plain(), states[2], batch)
    close(states[3].params, expected.params)
    assert not np.allclose(states[3].params["g"][0], states[0].params["g"][0])


def test_a_player_that_may_wait_is_traced_once():
    rules, batch = plain(d={"stop": 3}, g={"start": 2}), batches(2, 3)
    traced = []
    players = {
        name: p._replace(loss=lambda *args, name=name, loss=p.loss: (traced.append(name), loss(*args))[1])
        for name, p in rules.players.items()
    }
    jax.jit(lambda s, b: game.step(rules._replace(players=players), s, b)).trace(start(rules, batch), batch)
    assert sorted(traced) == ["D", "G"]


def test_a_player_that_stops_leaves_the_others_as_if_it_had_never_been():
    rules, batch = plain(g={"stop": 2}), batches(2, 3)
    step = jax.jit(lambda s, b: game.step(rules, s, b))
    states = [start(rules, batch)]
    for _ in range(3):
        new, metrics = step(states[-1], batch)
        states.append(new)
        assert np.isnan(metrics["G/loss"]) == (len(states) > 3)
    # Until then it is the plain game.
    expected = states[0]
    for _ in range(2):
        expected, _ = game.step(plain(), expected, batch)
    close(states[2].params, expected.params)
    for kept in ("params", "opt"):
        before, after = (getattr(state, kept)[{"params": "g", "opt": "G"}[kept]] for state in states[2:])
        close(after, before, 0)
    assert not np.allclose(states[3].params["d"][0], states[2].params["d"][0])
    assert int(states[3].skipped) == 0


def test_average_of_parameters():
    rules, batch = plain(ema={"g": 0.5}), batches(2, 3)
    state = start(rules, batch)
    average = state.params["g"]
    for t in range(12):
        state, _ = game.step(rules, state, batch)
        decay = min(0.5, (1 + t) / (10 + t))
        average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, state.params["g"])  # noqa: B023
        close(state.ema["g"], average)
    sample = rules.sample(state.averaged(), Keys.of(KEY, 3), None)
    close(sample, net(average, latent(Keys.of(KEY, 3))))
    assert set(state.averaged().params) == {"g", "d"}


@pytest.mark.device
def test_a_step_that_is_not_finite_is_refused_whole():
    """Parameters, statistics, averages, optimizer state and memory stay; counters move; the next draws are others."""

    def d_loss(s, b, k):
        value = jnp.mean(b["x"]) * jnp.sum(s.params["d"][0])
        stats = {"d": {"mean": s.stats["d"]["mean"] + 1}}
        return value, Aux(
            stats=stats, memory=b["x"][:, 0], metrics={"draw": k.example.size + latent(k).sum()}
        )

    def init(key, batch):
        return {"d": {**dense(key, 3, 1), "mean": jnp.float32(0)}}

    player = Player(("d",), d_loss, optax.sgd(LR, momentum=0.9), remember=lambda m, new: m + new.sum())
    rules = Game(
        init, {"D": player}, lambda s, k, b: k.example, memory=lambda b: jnp.float32(0), ema={"d": 0.9}
    )
    good = batches(1, 3)
    step = jax.jit(lambda s, b: game.step(rules, s, b))
    s1, m1 = step(start(rules, good), good)
    bad = {"x": good["x"].at[0, 2, 1].set(jnp.nan)}
    s2, m2 = step(s1, bad)
    assert np.isnan(m2["D/loss"])
    assert (int(s2.step), int(s2.skipped), int(s2.skipped_in_a_row)) == (2, 1, 1)
    untouched = lambda s: s.replace(step=0, key=0, skipped=0, skipped_in_a_row=0)  # noqa: E731
    jax.tree.map(np.testing.assert_array_equal, untouched(s2), untouched(s1))
    s3, m3 = step(s2, good)
    assert (int(s3.step), int(s3.skipped), int(s3.skipped_in_a_row)) == (3, 1, 0)
    assert float(s3.memory) != float(s2.memory)
    assert float(m3["D/draw"]) != float(m1["D/draw"])
    assert float(s3.stats["d"]["mean"]) == 2


@pytest.mark.parametrize("broken", ["gradient", "statistic"])
def test_the_guard_reads_gradients_and_statistics_too(broken):
    def loss(s, b, k):
        w = s.params["d"][0]
        value = jnp.sum(jnp.sqrt(w * 0.0)) if broken == "gradient" else jnp.sum(w)  # sqrt has no slope at 0
        stat = jnp.float32(jnp.inf) if broken == "statistic" else jnp.float32(1)
        return value, Aux(stats={"d": {"s": stat}})

    rules = Game(
        lambda key, b: {"d": {**dense(key, 3, 1), "s": jnp.float32(0)}},
        {"D": Player(("d",), loss, optax.sgd(LR))},
        lambda s, k, b: k.example,
    )
    batch = batches(1, 3)
    state = start(rules, batch)
    new, metrics = game.step(rules, state, batch)
    assert np.isfinite(metrics["D/loss"])
    assert int(new.skipped) == 1
    close(new.params, state.params, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schedule": "random"}, "schedule"),
        ({"ema": {"generator": 0.9}}, "generator"),
        ({"g": {"turns": 0}}, "turns"),
        ({"d": {"start": -1}}, "start"),
        ({"d": {"start": 3, "stop": 3}}, "stop"),
    ],
)
def test_games_that_cannot_be_played_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        start(plain(**change), batches(2, 3))


def test_two_players_cannot_move_one_network_at_once():
    rules, batch = plain(schedule="simultaneous"), batches(3, 3)
    rules = rules._replace(players={**rules.players, "again": rules.players["G"]})
    with pytest.raises(ValueError, match="two players move 'g'"):
        start(rules, batch)


def test_bad_batches_and_losses_are_refused():
    rules, batch = plain(), batches(2, 3)
    state = start(rules, batch)
    with pytest.raises(ValueError, match="one part for each turn"):
        game.step(rules, state, batches(3, 3))
    with pytest.raises(ValueError, match="axis is 'batch'"):
        game.step(rules, state, batch, "batch")
    for aux, message in [(Aux(stats={"g": {}}), "moves only"), (Aux(memory=jnp.zeros(N)), "remember")]:
        player = Player(("d",), lambda s, b, k, aux=aux: (jnp.sum(s.params["d"][0]), aux), optax.sgd(LR))
        with pytest.raises(ValueError, match=message):
            game.step(rules._replace(players={"D": player, "G": rules.players["G"]}), state, batch)


@pytest.mark.device
def test_draws_belong_to_examples():
    """Key i depends on the global index alone, so any split of a batch draws the same."""
    whole = Keys.of(KEY, 8)
    parts = [Keys.of(KEY, 2, first) for first in (0, 2, 4, 6)]
    np.testing.assert_array_equal(whole.normal((3,)), np.concatenate([p.normal((3,)) for p in parts]))
    np.testing.assert_array_equal(
        whole.fold("a").uniform(), np.concatenate([p.fold("a").uniform() for p in parts])
    )
    for p in parts:
        assert p.shared == whole.shared
    assert not np.array_equal(whole.fold("a").uniform(), whole.fold("b").uniform())


@pytest.mark.slow
def test_vmap_over_seeds():
    """`init` and `step` are plain functions: many runs at once by `jax.vmap`."""
    rules, batch = plain(ema={"g": 0.9}), batches(2, 3)
    one = lambda key: game.step(rules, game.init(rules, key, {"x": batch["x"][0]}), batch)[0]  # noqa: E731
    keys = jnp.stack([jax.random.key(i) for i in range(3)])
    many = jax.vmap(one)(keys)
    for i in range(3):
        close(jax.tree.map(lambda x, i=i: x[i], many.params), one(keys[i]).params)
