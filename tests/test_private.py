"""Private GANs against a loop over examples, NumPy, closed forms and published figures."""

import json
import math
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from quick import play, quick_jit
from scipy.special import gammaln, logsumexp
from scipy.stats import norm

from jaxgan import cli, config, experiment, game
from jaxgan.data import order, stream
from jaxgan.data.feed import Resident, Streaming
from jaxgan.data.sources import Embedded
from jaxgan.errors import InputError
from jaxgan.families import Private
from jaxgan.game import Keys
from jaxgan.layers import SpectralNorm
from jaxgan.networks import DCGANDiscriminator, DCGANGenerator, MLPDiscriminator, MLPGenerator
from jaxgan.objectives import privacy
from jaxgan.objectives.adversary import WeightPenalties
from jaxgan.parallel import Spread

pytestmark = pytest.mark.usefixtures("quick_programs", "quick_curves")

ROOT = Path(__file__).parents[1]
KEY = jax.random.key(0)
N, Z, RATE = 8, 3, 0.5
INCLUDED = np.array([1, 1, 0, 1, 1, 0, 0, 0], bool)
G, D = MLPGenerator((4, 4, 1), 8, 2, 3), MLPDiscriminator(8, 2, 3, dropout=0.2)
UNCONDITIONAL = MLPGenerator((4, 4, 1), 8, 2)


def rules(noise=1e-30, clip=0.3, discriminator=D, **settings):
    sgd = {f"{player}_optimizer": optax.sgd(RATE) for player in ("generator", "discriminator")}
    shape = {"expected": 5, "chunk": 2, "latent": Z, "classes": 3}
    generator = G if settings.get("classes", 3) else UNCONDITIONAL
    turns = {"discriminator_turns": settings.pop("turns", 1)}
    more = {"noise_multiplier": noise, "clip": clip, **turns, **sgd, **shape, **settings}
    return play(Private, generator, discriminator, **more)


def data(rng, turns=2):
    return {
        "real": jnp.asarray(rng.uniform(-1, 1, (turns, N, 4, 4, 1)), jnp.float32),
        "label": jnp.asarray(rng.integers(0, 3, (turns, N)), jnp.int32),
        "included": jnp.asarray(np.tile(INCLUDED, (turns, 1))),
    }


def start(made, batch):
    return quick_jit(lambda: game.init(made, KEY, jax.tree.map(lambda x: x[0], batch)))()


def flat(tree):
    return np.concatenate([np.asarray(x, np.float64).ravel() for x in jax.tree.leaves(tree)])


@pytest.mark.slow
def test_one_turn_by_a_loop_over_examples(rng):
    """Each pair's gradient, penalties included, clipped and summed; both networks judge with labels of their own."""
    made, batch = rules(gradient_penalty=2.0, r1=0.5), data(rng)
    state = start(made, batch)
    keys = Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), 0), N)

    def loss(params, i):
        label = batch["label"][0, i][None]
        z = keys.fold("latent").normal((Z,))[i][None]
        fake = G.apply(state.variables("generator"), z, label)
        judge = lambda x, purpose: D.apply(  # noqa: E731
            {"params": params}, x, label, train=True, keys=keys.fold(purpose).example[i][None]
        )[0]
        real = batch["real"][0, i][None]
        value = -jnp.log(jax.nn.sigmoid(judge(real, "real")))
        value -= jnp.log(1 - jax.nn.sigmoid(judge(fake, "fake")))
        mix = keys.fold("mix").uniform()[i]
        slope = jax.grad(lambda x: judge(x, "between"))(mix * real + (1 - mix) * fake)
        value += 2.0 * (jnp.sqrt(jnp.sum(slope**2)) - 1) ** 2
        slope = jax.grad(lambda x: judge(x, "real"))(real)
        return value + 0.5 / 2 * jnp.sum(slope**2)

    gradient, quick_loss = quick_jit(jax.grad(loss)), quick_jit(loss)
    before = state.params["discriminator"]
    each = [flat(gradient(before, i)) for i in np.flatnonzero(INCLUDED)]
    clip = sorted(np.linalg.norm(g) for g in each)[1] + 1e-3  # so that two are clipped and two are not
    wanted = sum(g * min(1, clip / np.linalg.norm(g)) for g in each) / 5
    made = rules(gradient_penalty=2.0, r1=0.5, clip=clip)
    after, metrics = quick_jit(lambda s, b: game.step(made, s, b))(state, batch)
    got = (flat(before) - flat(after.params["discriminator"])) / RATE
    np.testing.assert_allclose(got, wanted, atol=1e-6, rtol=0)
    assert metrics["discriminator/clipped"] == pytest.approx(0.5)
    assert metrics["discriminator/examples"] == 4
    value = np.mean([quick_loss(before, i) for i in np.flatnonzero(INCLUDED)])
    assert metrics["discriminator/loss"] == pytest.approx(value, rel=1e-5)


@pytest.mark.slow
def test_one_example_changes_the_sum_by_the_clip_at_most_even_one_that_is_not_finite(rng):
    made, batch = rules(clip=0.05), data(rng, 2)
    state = start(made, batch)
    step = quick_jit(lambda b: game.step(made, state, b)[0])
    with_all = step(batch)
    without = step({**batch, "included": batch["included"].at[0, 3].set(False)})
    moved = flat(with_all.params["discriminator"]) - flat(without.params["discriminator"])
    assert np.linalg.norm(moved) == pytest.approx(RATE * 0.05 / 5, rel=1e-4)  # it was longer than the clip
    # Other labels and images of who does not take part, and labels in the generator's turn, change nothing at all.
    hidden = {
        **batch,
        "real": batch["real"].at[0, ~INCLUDED].set(jnp.nan).at[1].set(jnp.nan),
        "label": batch["label"].at[0, ~INCLUDED].set(0).at[1].set(0),
    }
    for a, b in zip(jax.tree.leaves(step(hidden).params), jax.tree.leaves(with_all.params), strict=True):
        np.testing.assert_array_equal(a, b)
    broken = step({**batch, "real": batch["real"].at[0, 3].set(jnp.nan)})
    assert int(broken.skipped) == 0
    for a, b in zip(jax.tree.leaves(broken.params), jax.tree.leaves(without.params), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_noise_has_its_scale_and_is_drawn_anew_in_every_turn(rng):
    """By a wide discriminator: 20,000 parameters estimate the scale to 0.5%, and correlations to 0.7%."""
    wide, batch = MLPDiscriminator(128, 2), {"real": data(rng)["real"][:1]}
    batch = jax.tree.map(lambda x: jnp.concatenate([x] * 3), batch)
    # Gradients are clipped to next to nothing: what is left of both turns is their noise.
    made = rules(1.5e6, 1e-6, wide, turns=2, classes=0)
    state = start(made, batch)
    zero = jax.tree.map(jnp.zeros_like, state.params["discriminator"])
    turns = [Keys.of(jax.random.fold_in(jax.random.fold_in(KEY, 0), turn), N) for turn in (0, 1)]
    noisy = quick_jit(made.players["discriminator"].after)
    seen = [flat(noisy(zero, keys)) for keys in turns]
    size = len(seen[0])
    assert size > 18_000
    for noise in seen:
        assert np.std(noise) == pytest.approx(1.5 / 5, rel=4 / math.sqrt(2 * size))
        assert abs(np.mean(noise)) < 4 * 0.3 / math.sqrt(size)
        assert np.mean(np.abs(noise) > 0.6) == pytest.approx(2 * norm.sf(2), rel=0.15)
    assert abs(np.corrcoef(*seen)[0, 1]) < 4 / math.sqrt(size)
    before = flat(state.params["discriminator"])
    after = quick_jit(lambda s, b: game.step(made, s, b)[0])(state, batch)
    np.testing.assert_allclose(
        flat(after.params["discriminator"]) - before, -RATE * (seen[0] + seen[1]), atol=1e-5
    )


@pytest.mark.slow
def test_four_devices_one_of_them_without_an_example(rng):
    made, batch = rules(1.0), data(rng)
    state = start(made, batch)
    alone, report = quick_jit(lambda s, b: game.step(made, s, b))(state, batch)
    spread = jax.pmap(
        lambda s, b: game.step(made, s, b, game.AXIS),
        axis_name=game.AXIS,
        in_axes=(None, 1),
        out_axes=None,
        devices=jax.devices()[:4],
    )
    split = jax.tree.map(lambda x: x.reshape(2, 4, 2, *x.shape[2:]), batch)
    together, metrics = spread(state, split)
    assert np.linalg.norm(flat(alone.params) - flat(state.params)) > 0.1
    np.testing.assert_allclose(flat(together.params), flat(alone.params), atol=1e-6, rtol=0)
    for name, value in report.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-4, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_spectral_vectors_move_as_without_privacy(rng):
    """They follow the weights alone, so one example says what they are; also where nobody takes part."""

    class Spectral(nn.Module):
        @nn.compact
        def __call__(self, image, label=None, *, train=False, keys=None):
            return SpectralNorm(nn.Dense(5))(image.reshape(len(image), -1), train=train).sum(1)

    net, batch = Spectral(), {"real": data(rng)["real"], "included": jnp.zeros((2, N), bool)}
    made = rules(discriminator=net, classes=0)
    state = start(made, batch)
    after = quick_jit(lambda s, b: game.step(made, s, b)[0])(state, batch)
    u, params = state.stats["discriminator"], state.params["discriminator"]
    for _ in range(2):  # real, then generated
        _, u = net.apply({"params": params, **u}, batch["real"][0], train=True, mutable=["spectral"])
    np.testing.assert_allclose(flat(after.stats["discriminator"]), flat(u), atol=1e-6)
    assert np.abs(flat(u) - flat(state.stats["discriminator"])).max() > 1e-4
    # What noise there is shows in zeros alone.
    np.testing.assert_allclose(flat(after.params["discriminator"]), flat(params), rtol=0, atol=1e-20)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"packing": 2}, "cannot be private with this packing"),
        ({"dragan": 1.0}, "cannot be private with this dragan"),
        ({"loss": "relativistic"}, "cannot be private with this loss"),
        ({"clip": 0.0}, r"clip\n.*greater than 0"),
        ({"chunk": 0}, r"chunk\n.*greater than 0"),
    ],
)
def test_rules_that_cannot_be_private_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        rules(**change)


def test_batch_norm_is_refused_in_both_networks():
    image = {"real": jnp.zeros((2, 16, 16, 1))}
    nets = [DCGANGenerator(16, 1, 2, norm="none"), DCGANDiscriminator(16, 1, 2, norm="none")]
    for i, other in enumerate([DCGANGenerator(16, 1, 2), DCGANDiscriminator(16, 1, 2)]):
        mixed = [*nets[:i], other, *nets[i + 1 :]]
        made = play(Private, *mixed, expected=2, noise_multiplier=1.0, latent=Z)
        with pytest.raises(ValueError, match="batch norm"):
            jax.eval_shape(lambda made=made: game.init(made, KEY, image))


def test_a_discriminator_that_compares_examples_is_refused():
    """On several devices it would see examples of the others."""
    with pytest.raises(ValueError, match="minibatch_std compares real images"):
        rules(discriminator=MLPDiscriminator(8, 1, minibatch_std=True))


def test_penalties_on_the_discriminators_weights_are_refused():
    with pytest.raises(ValueError, match="with the slopes of each image"):
        rules(discriminator_weights=WeightPenalties(l2=1.0))


# The draws of examples.


def test_poisson_draws_are_independent_with_their_probability():
    drawn = order.Poisson.of(1000, 50).indices(7, 1000, 5, 400)
    there = drawn >= 0
    sizes = there.sum(1)
    assert (np.diff(there.astype(int), axis=1) <= 0).all()  # empty slots come last
    assert all(len(set(row[row >= 0])) == n for row, n in zip(drawn, sizes, strict=True))
    # Of 400 turns: sizes are binomial in mean and variance, and so is how often each example comes, and each pair.
    assert sizes.mean() == pytest.approx(50, abs=4 * math.sqrt(47.5 / 400))
    assert sizes.var() == pytest.approx(47.5, rel=4 * math.sqrt(2 / 400))
    table = np.zeros((400, 1000))
    np.put_along_axis(table, np.where(there, drawn, 0), 1, 1)
    table[:, 0] = (there & (drawn == 0)).any(1)
    times = table.sum(0)
    assert times.var() == pytest.approx(400 * 0.05 * 0.95, rel=4 * math.sqrt(2 / 1000))
    neighbours = (table[:, 1:] * table[:, :-1]).sum()
    assert neighbours == pytest.approx(400 * 999 * 0.0025, abs=4 * math.sqrt(400 * 999 * 0.0025))


def test_poisson_draws_by_pure_python_and_by_parts():
    poisson = order.Poisson(0.3, 40)
    whole = poisson.indices(3, 50, 0, 6)
    np.testing.assert_array_equal(poisson.indices(3, 50, 4, 2), whole[4:])
    for turn, row in enumerate(whole):
        bits = np.random.Philox(key=np.array([3, turn], np.uint64), counter=1 << 192)
        assert [i for i in row if i >= 0] == [
            i for i in range(50) if int(bits.random_raw()) < int(0.3 * 2.0**64)
        ]
    assert sorted(order.Poisson.of(20, 20).indices(0, 20, 0, 1)[0]) == [*([-1] * 12), *range(20)]


def test_slots_are_enough_and_what_has_no_room_is_left_out_at_random():
    for length, expected in ((10_000, 128), (64, 16), (60_000, 600)):
        rate, slots = order.Poisson.of(length, expected)
        # Hoeffding's bound with relative entropy, above the true tail; 32 slots are the grain.
        a = (slots + 1) / length
        tail = (
            -math.inf
            if a >= 1
            else -length * (a * math.log(a / rate) + (1 - a) * math.log((1 - a) / (1 - rate)))
        )
        assert tail < math.log(1e-28)
        assert slots < expected + 15 * math.sqrt(expected) + 32
    few = order.Poisson(0.7, 8).indices(1, 40, 0, 2000)
    assert (few >= 0).all()
    share = np.bincount(few.ravel(), minlength=40) / 2000
    np.testing.assert_allclose(share, 8 / 40, atol=5 * math.sqrt(0.16 / 2000))


def test_streamed_and_resident_draws_are_the_same():
    source, spread = Embedded("test"), Spread("pmap", jax.devices()[:1])
    poisson = order.Poisson.of(len(source), 8)
    shape = (3, poisson.slots, 2, spread)
    kept = Resident(stream.load(source, progress=False), 5, *shape, poisson)
    read = Streaming(source, 5, *shape, stop=9, workers=0, poisson=poisson)
    for feed in (kept, read):
        feed.window = 2
    a, b = (feed.fetch(feed.whole, spread.local(feed.parts(7, 2)), 1) for feed in (kept, read))
    read.close()
    drawn = poisson.indices(5, len(source), 24, 3)
    a, b = (
        {k: np.asarray(v).reshape(drawn.shape[0], -1, *v.shape[3:]) for k, v in x.items()} for x in (a, b)
    )
    np.testing.assert_array_equal(a["included"], drawn >= 0)
    np.testing.assert_array_equal(b["included"], drawn >= 0)
    for turn, slot in zip(*np.nonzero(drawn >= 0), strict=True):
        example = source[int(drawn[turn, slot])]
        for name in ("real", "label"):
            np.testing.assert_array_equal(a[name][turn, slot], example[name])
            np.testing.assert_array_equal(b[name][turn, slot], example[name])


# What it costs.

accounted = pytest.mark.skipif(
    not privacy.available(), reason="dp-accounting: jaxgan[private] is not installed"
)


def renyi(rate, noise, alphas):
    """The divergence of one turn for whole orders: Mironov et al. 2019, section 3.3, equation 9."""
    out = []
    for alpha in alphas:
        k = np.arange(alpha + 1)
        binomial = gammaln(alpha + 1) - gammaln(k + 1) - gammaln(alpha - k + 1)
        terms = binomial + (alpha - k) * np.log1p(-rate) + k * np.log(rate) + (k**2 - k) / (2 * noise**2)
        out.append(logsumexp(terms) / (alpha - 1))
    return np.array(out)


@accounted
@pytest.mark.parametrize(
    ("noise", "epochs", "published"), [(1.12, 60, 2.92), (0.6, 30, 9.74), (1.2, 10, 1.20)]
)
def test_epsilon_of_published_runs_on_mnist(noise, epochs, published):
    """The table of TensorFlow Privacy's tutorial: 60,000 examples, batches of 256, delta 1e-5.

    It was made with an older way from Renyi divergences to epsilon, Mironov 2017, proposition 3. Here that way is
    followed anew; today's (Canonne et al. 2020, proposition 12), computed likewise, must be ours.
    """
    steps, delta, alphas = epochs * 60_000 // 256, 1e-5, np.arange(2, 200)
    divergence = steps * renyi(256 / 60_000, noise, alphas)
    old = np.min(divergence + math.log(1 / delta) / (alphas - 1))
    assert old == pytest.approx(published, abs=0.06)
    ledger = privacy.Ledger(noise, 256 / 60_000, 1, delta)
    now = np.min(
        divergence
        + np.log1p(-1 / alphas)
        - (math.log((1 - privacy.RESERVE) * delta) + np.log(alphas)) / (alphas - 1)
    )
    assert 0.98 * now < ledger.epsilon(steps) <= now + 1e-6  # orders that are not whole numbers are tighter
    assert ledger.epsilon(steps) < published


@accounted
def test_epsilon_is_above_the_exact_one_of_the_gaussian_mechanism():
    """All examples in every turn: T turns are one of noise / sqrt(T), whose delta has a closed form (Balle 2018)."""
    ledger = privacy.Ledger(5.0, 1.0, 3, 1e-5)
    epsilon, mu = ledger.epsilon(20), math.sqrt(60) / 5
    exact = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)
    assert 1e-6 < exact <= 1e-5


@accounted
@pytest.mark.slow
def test_budgets_and_noise_found_for_them():
    ledger = privacy.Ledger(0.8, 0.0128, 10, 1e-5, budget=5.0)
    most = ledger.steps(10_000)
    assert ledger.epsilon(most) <= 5.0 < ledger.epsilon(most + 1)
    assert ledger.steps(3) == 3
    noise = privacy.noise(300, ledger)
    tight = ledger._replace(noise_multiplier=noise)
    assert tight.epsilon(300) <= 5.0 < tight._replace(noise_multiplier=noise - 0.001).epsilon(300)
    with pytest.raises(InputError, match="one step costs"):
        ledger._replace(budget=0.01).steps(100)
    assert ledger.epsilon(0) == 0
    # Were it likely that examples are left out, nothing could be said.
    assert ledger._replace(overflow=1e-9).epsilon(100) == math.inf
    assert ledger._replace(overflow=1e-30).epsilon(100) == ledger.epsilon(100)


# Runs.

SMALL = {
    "generator.network": "mlp",
    "generator.width": "8",
    "discriminator.network": "mlp",
    "discriminator.width": "8",
    "data.split": "test",
    "batch_size": "8",
    "game.discriminator_turns": "2",
    "game.latent": "4",
    "run.samples": "10",
    "run.checkpoint_every": "3",
}


def settings(**more):
    return config.load(ROOT / "configs" / "private.toml", {**SMALL, **more})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"game.epsilon": "0"}, "game.epsilon: Input should be greater than 0"),
        ({"game.epsilon": "31"}, "game.epsilon: Input should be less than or equal to 30"),
        ({"game.delta": "1.5"}, "game.delta: Input should be less than 1"),
        ({"game.delta": "0.0"}, "game.delta: Input should be greater than 0"),
        ({"game.packing": "2"}, "packing"),
        ({"game.dragan": "10"}, "dragan"),
        ({"game.loss": "relativistic"}, "loss"),
        ({"game.delta": "1e-3"}, "game.delta is 0.001; with 2000 examples it must be less than 0.0005"),
        (
            {"discriminator.network": "dcgan", "discriminator.norm": "batch"},
            "discriminator.norm is 'batch', which mixes",
        ),
        ({"discriminator.minibatch_std": "true"}, "discriminator.minibatch_std compares examples"),
        ({"game.discriminator_weights.l2": "1"}, "would clip penalties on discriminator_weights"),
    ],
)
def test_settings_that_cannot_be_private_are_refused_in_a_line(change, said):
    with pytest.raises(InputError) as refused:
        experiment.build(settings(**change, **{"game.noise_multiplier": "1"}), list("0123456789"), 2000)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_without_budget_and_noise_nothing_is_private():
    table = {**json.loads(settings().model_dump_json(exclude_none=True))}
    del table["game"]["epsilon"]
    with pytest.raises(InputError, match="needs a budget, epsilon, or a noise_multiplier"):
        config.parse(table)


@accounted
@pytest.mark.slow
def test_a_run_spends_its_budget_says_so_and_shows_it(tmp_path, capsys):
    run = tmp_path / "run"
    words = [word for key, value in SMALL.items() for word in (f"--{key}", value)]
    words = ["train", str(ROOT / "configs" / "private.toml"), "--quiet", "--run-dir", str(run), *words]
    ledger, most = privacy.Ledger(0.9, 8 / 2000, 2, 1e-5), 5
    budgets = [f"{(ledger.epsilon(last) + ledger.epsilon(last + 1)) / 2:.6f}" for last in (most, most + 1)]
    words += ["--game.noise_multiplier", "0.9", "--steps", "100", "--game.epsilon"]
    assert cli.main([*words, budgets[0]]) == 0
    said = capsys.readouterr().err
    assert (
        f"the budget is spent: epsilon {ledger.epsilon(most):.4g} of {float(budgets[0]):g} at delta 1e-05"
        in said
    )
    assert f"after step {most} of 100; one more would exceed it" in said
    assert f"trained to step {most}; " in said
    assert cli.main(["inspect", str(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["step"] == most
    assert found["privacy"]["epsilon"] == pytest.approx(ledger.epsilon(most))
    assert found["privacy"]["noisy_updates"] == 2 * most
    for step in found["checkpoints"]:
        note = json.loads((run / "checkpoints" / str(step) / "note.json").read_text())
        assert note["privacy"]["epsilon"] == pytest.approx(ledger.epsilon(step))
    assert cli.main([*words, budgets[1]]) == 0  # a larger budget buys more
    assert f"trained to step {most + 1}; " in capsys.readouterr().err


@accounted
def test_noise_that_is_left_out_is_found_and_written_down():
    built = experiment.build(settings(steps="40"), list("0123456789"), 2000)
    noise = built.config.game.noise_multiplier
    assert built.ledger.epsilon(40) <= 10 < built.ledger._replace(noise_multiplier=noise - 0.001).epsilon(40)
    assert config.differences(built.config, settings(steps="40")) == ["game.noise_multiplier"]
