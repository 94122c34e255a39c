"""The theory of the first GAN as a picture: what the discriminator and the generator do, beside what theory says.

On a line everything that the theory speaks of can be computed: the density of the data, that of what is generated, and
the discriminator that is best against it, p_data / (p_data + p_g) (Goodfellow et al., Generative Adversarial Networks,
2014, proposition 1). Where both densities agree it is 1/2, and the value of the game is -log 4 (theorem 1).

The discriminator sees data and what is generated through the same Gaussian noise (Arjovsky and Bottou, Towards
Principled Methods for Training GANs, 2017, section 3), and so do we: theory holds for these densities as for all
others. Without noise the density of a generator of rectifiers has a jump at each of its kinks, which no discriminator
learns in reasonable time.

For example:

    >>> data = Mixture(means=(0.0,), deviations=(1.0,), shares=(1.0,))
    >>> won = measure(0, lambda latent: latent, lambda x: jnp.zeros(len(x)), data, np.linspace(-5, 5, 101))
    >>> round(won.value, 3), round(float(END), 3)  # the generator makes the data, and D is 1/2 everywhere
    (-1.386, -1.386)
    >>> won.error < 0.01, won.distance < 0.001
    (True, True)
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import ndtri
from PIL import Image

from jaxgan import game, plots
from jaxgan.errors import replacing
from jaxgan.families import GAN
from jaxgan.game import Array, State
from jaxgan.networks import MLPDiscriminator, MLPGenerator

END = -np.log(4)
"""The value of the game when the generator has won, nats."""
MASS = 0.99
"""Share of the data that lives where the discriminator is judged."""
SETTLED = 0.6
"""Share of the steps in which the generator moves; then the discriminator alone goes on, to its best."""
LATENTS = 2**18
"""Latents that the generator's density is counted from: quantiles, evenly spaced in probability."""
MOMENTS = 48
"""At most so many times the game is looked at."""
BINS = 160
NOISE = 0.2
"""Standard deviation of the noise on all that the discriminator sees."""
RATE = 1e-3
"""The learning rate of both players at first."""


class Mixture(NamedTuple):
    """A mixture of Gaussians on the line: means, standard deviations, and shares that add up to 1."""

    means: tuple[float, ...] = (-1.5, 0.4, 1.6)
    deviations: tuple[float, ...] = (0.4, 0.3, 0.5)
    shares: tuple[float, ...] = (0.45, 0.2, 0.35)

    def noisy(self, noise: float) -> "Mixture":
        """With Gaussian noise of a standard deviation added."""
        return self._replace(deviations=tuple(math.hypot(deviation, noise) for deviation in self.deviations))

    def below(self, x: np.ndarray) -> np.ndarray:
        """The probability of a number below x."""
        from scipy.special import ndtr

        z = (np.asarray(x)[..., None] - np.array(self.means)) / np.array(self.deviations)
        return ndtr(z) @ np.array(self.shares)

    @property
    def range(self) -> tuple[float, float]:
        """Where practically all numbers are, and what is generated is looked for: five deviations and a little more."""
        at, by = np.array(self.means), 5 * np.array(self.deviations)
        return float((at - by).min()), float((at + by).max())

    def draw(self, key: Array, n: int) -> Array:
        """`[n, 1]` float32."""
        which, noise = jax.random.split(key)
        i = jax.random.choice(which, len(self.means), (n,), p=jnp.array(self.shares))
        x = jnp.array(self.means)[i] + jnp.array(self.deviations)[i] * jax.random.normal(noise, (n,))
        return x[:, None]


class Moment(NamedTuple):
    """The game at a step, in bins of the line."""

    step: int
    centers: np.ndarray
    """Centers of the bins, `[B]`; all are equally wide."""
    data: np.ndarray
    """The data's mean density in each."""
    generated: np.ndarray
    """The generator's mean density in each, exact but for the number of `LATENTS`."""
    logits: np.ndarray
    """The discriminator's logits at the centers."""

    @property
    def judged(self) -> np.ndarray:
        """D(x) at the centers, 0 to 1."""
        from scipy.special import expit

        return expit(self.logits)

    @property
    def best(self) -> np.ndarray:
        """The optimal discriminator; 1/2 where there is nothing."""
        both = self.data + self.generated
        return np.divide(self.data, both, out=np.full(len(both), 0.5), where=both > 0)

    @property
    def lives(self) -> np.ndarray:
        """Where the data lives: the densest bins that hold `MASS` of it."""
        order = np.argsort(-self.data)
        mass = np.cumsum(self.data[order]) * self._width
        lives = np.zeros(len(order), bool)
        lives[order[: np.searchsorted(mass, MASS) + 1]] = True
        return lives

    @property
    def error(self) -> float:
        """How far D is from the best at most, where the data lives."""
        return float(np.max(np.abs(self.judged - self.best)[self.lives]))

    @property
    def value(self) -> float:
        """E log D(x) of data and E log(1 - D(x)) of what is generated, nats (equation 1)."""
        lost = self.data * np.logaddexp(0, -self.logits) + self.generated * np.logaddexp(0, self.logits)
        return -float(lost.sum() * self._width)

    @property
    def distance(self) -> float:
        """Total variation between the data and what is generated, 0 to 1."""
        return float(np.abs(self.data - self.generated).sum() * self._width / 2)

    @property
    def _width(self) -> float:
        return float(self.centers[1] - self.centers[0])


def measure(
    step: int,
    generate: Callable[[Array], Array],
    judge: Callable[[Array], Array],
    data: Mixture,
    edges: np.ndarray,
    noise: float = 0.0,
) -> Moment:
    """The game of any two networks on the line.

    Args:
      step: How long they were trained.
      generate: Gaussian latents `[N, 1]` to numbers `[N, 1]`.
      judge: Numbers `[N, 1]` to logits `[N]`.
      data: What is to be learned.
      edges: Of equally wide bins, `[B + 1]`; what lies outside counts as at the ends.
      noise: Standard deviation of the noise through which both are seen.
    """
    from scipy.ndimage import gaussian_filter1d

    centers, width = (edges[1:] + edges[:-1]) / 2, np.diff(edges)
    made = np.asarray(generate(ndtri((jnp.arange(LATENTS) + 0.5) / LATENTS)[:, None]))
    logits = np.asarray(judge(jnp.asarray(centers, jnp.float32)[:, None]), float)
    counts, _ = np.histogram(np.clip(made, edges[0], edges[-1]), edges)
    seen = gaussian_filter1d(counts / LATENTS, noise / width[0], truncate=6) if noise else counts / LATENTS
    known = np.diff(data.noisy(noise).below(edges))
    return Moment(step, centers, known / width, seen / width, logits)


def train(
    steps: int, seed: int = 0, *, data: Mixture | None = None, width: int = 64, batch_size: int = 1024
) -> Iterator[Moment]:
    """Trains a GAN of fully connected networks on the line, from a Gaussian latent.

    Both learning rates fall to 0, the discriminator's last: in the end it plays against a generator that rests, and can
    reach the best that there is.

    Yields:
      The game after 0, 1, 2, 4, ... and in the end every few steps, about `MOMENTS` times; the last after all.
    """

    def adam(start: float, end: float) -> optax.GradientTransformation:
        fall = optax.cosine_decay_schedule(RATE, max(1, round((end - start) * steps)))
        rates = optax.join_schedules([optax.constant_schedule(RATE), fall], [round(start * steps)])
        return optax.adam(rates, b1=0.0, b2=0.99)

    mixture = data or Mixture()
    generator, discriminator = MLPGenerator((1,), width, tanh=False), MLPDiscriminator(width)
    played = GAN(noise=NOISE, latent=1, ema=0.0).game(
        generator,
        discriminator,
        generator_optimizer=adam(0.2, SETTLED),
        discriminator_optimizer=adam(SETTLED, 1.0),
    )
    key, drawn = jax.random.split(jax.random.key(seed))
    state = game.init(played, key, {"real": jnp.zeros((1, 1))})

    @partial(jax.jit, donate_argnums=0)
    def to(state: State, stop: int) -> State:
        def step(state: State) -> State:
            keys = jax.random.split(jax.random.fold_in(drawn, state.step), played.turns)
            batch = {"real": jax.vmap(lambda key: mixture.draw(key, batch_size))(keys)}
            return game.step(played, state, batch)[0]

        return jax.lax.while_loop(lambda state: state.step < stop, step, state)

    @jax.jit
    def generate(state: State, latent: Array) -> Array:
        return generator.apply(state.variables("generator"), latent)  # pyright: ignore[reportReturnType]

    @jax.jit
    def judge(state: State, x: Array) -> Array:
        return discriminator.apply(state.variables("discriminator"), x)  # pyright: ignore[reportReturnType]

    edges = np.linspace(*mixture.noisy(NOISE).range, BINS + 1)
    for stop in moments(steps):
        state = to(state, stop)
        yield measure(stop, partial(generate, state), partial(judge, state), mixture, edges, NOISE)


def watched(steps: int, seed: int = 0, *, progress: bool = True) -> list[Moment]:
    """All moments of `train`, with a progress bar."""
    from tqdm import tqdm

    found = []
    with tqdm(total=steps, unit="step", disable=not progress) as bar:
        for now in train(steps, seed):
            bar.update(now.step - bar.n)
            bar.set_postfix(value=f"{now.value:.3f}", error=f"{now.error:.3f}")
            found.append(now)
    return found


def moments(steps: int) -> list[int]:
    """Steps to look at: close together at first, when all moves fast."""
    found = np.round(steps * np.linspace(0, 1, MOMENTS) ** 3)
    return [int(step) for step in np.unique(found)]


def _panel(ax: Any, now: Moment) -> None:
    """The densities and both discriminators, drawn as in figure 1 of the paper."""
    ax.fill_between(now.centers, now.data, color="0.9", linewidth=0)
    ax.plot(now.centers, now.data, color="black", linestyle=":", label="p_data")
    ax.plot(now.centers, now.generated, color="tab:green", label="p_g")
    ax.plot(now.centers, now.best, color="tab:orange", linewidth=1, label="best D")
    ax.plot(now.centers, now.judged, color="tab:blue", linestyle="--", label="D")
    ax.axhline(0.5, color="0.7", linewidth=0.6)
    ax.set_xlim(now.centers[0], now.centers[-1])
    ax.set_ylim(0, 1.05)
    ax.set_title(f"step {now.step:,}: value {now.value:.3f}", fontsize=10)


def sheet(seen: Sequence[Moment], path: Path) -> None:
    """Draws six moments, and what becomes of the value of the game and of both players."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.6, 8.4), layout="constrained")
    axes = figure.subplots(3, 3).ravel()
    chosen = np.unique(np.linspace(0, len(seen) - 1, 6).round().astype(int))
    for ax, i in zip(axes, chosen, strict=False):
        _panel(ax, seen[i])
    axes[0].legend(fontsize=8)
    for ax in axes[len(chosen) : 6]:
        ax.remove()
    steps = [now.step for now in seen]
    for ax, title, values, goal in (
        (axes[6], "value of the game (nats), -log 4", [now.value for now in seen], END),
        (axes[7], "|D - best D| at most, where the data lives", [now.error for now in seen], 0),
        (axes[8], "total variation between p_data and p_g", [now.distance for now in seen], 0),
    ):
        ax.plot(steps, values, marker=".")
        ax.axhline(goal, color="black", linestyle="--", linewidth=0.8)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("step")
        ax.grid(alpha=0.3)
    plots.write(figure, path)


def animation(seen: Sequence[Moment], path: Path) -> None:
    """Draws all moments one after another as a GIF; the last stays for three seconds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    frames = []
    for now in seen:
        figure = Figure(figsize=(6.4, 3.6), dpi=100, layout="constrained")
        canvas, ax = FigureCanvasAgg(figure), figure.subplots()
        _panel(ax, now)
        ax.legend(fontsize=8, loc="upper right")
        canvas.draw()
        frames.append(Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(32))
    with replacing(path) as partial_:
        durations = [150] * (len(frames) - 1) + [3000]
        frames[0].save(
            partial_,
            "GIF",
            save_all=True,
            append_images=frames[1:],
            duration=durations,
            loop=0,
            optimize=True,
        )
