"""Scores of a run or of anybody's images, each with its protocol and the floor that real images reach.

A score can be compared with another of the same protocol alone: the same numbers of images, the same data, the same
network. So every one is written down with all of that.

For example:

    >>> reference = open_reference("embedded:test")
    >>> len(reference), reference.fields["real"].shape
    (2000, (28, 28, 1))
    >>> of_images(sources.Embedded("train", resolution=32), reference)
    Traceback (most recent call last):
    jaxgan.errors.InputError: the images are 32x32 grey, the reference 28x28 grey; make them alike, ...
    >>> score = Score("kernel", "kernel distance", 0.5, math.nan, 0.25, {"n_fake": 100})
    >>> written = line(score, step=20, seed=0, digest="")
    >>> written["value"], written["error"], written["protocol"]
    (0.5, None, {'n_fake': 100})
"""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgan import __version__, domains, experiment, memory
from jaxgan.data import sources, stream
from jaxgan.data.images import Range
from jaxgan.data.sources import Field, Source
from jaxgan.data.survey import survey
from jaxgan.domains import Domain
from jaxgan.errors import InputError
from jaxgan.experiment import Own
from jaxgan.families import Built
from jaxgan.game import State
from jaxgan.runs.directory import RunDirectory, refuse_link
from jaxgan.sampling import sample
from jaxgan.scoring import features
from jaxgan.scoring.features import Network
from jaxgan.scoring.groups import GROUP, Pairs, Say, chosen, needs
from jaxgan.scoring.population import Population
from jaxgan.scoring.scorer import READ, Candidates, Scorer
from jaxgan.scoring.scores import Score


def open_both(images: str, reference: str) -> tuple[Source, Source]:
    """Two sets by name, see `open_reference`; folders of images of more than 8 bits have one range together.

    Where one of the two was prepared, that is its range.

    Raises:
      InputError: As `open_reference`.
    """
    names, both = (images, reference), [open_reference(images), open_reference(reference)]
    spans = [_span(source) for source in both]
    if None in spans or spans[0] == spans[1]:
        return both[0], both[1]
    folders = [source for source in both if isinstance(source, sources.ImageFolder)]
    stored = [span for span, source in zip(spans, both, strict=True) if source not in folders]
    together = [source.path / file for source in folders for file in source.files]
    span = stored[0] if stored else survey(together, whole=False).span
    found = [open_reference(n, span) if x in folders else x for n, x in zip(names, both, strict=True)]
    return found[0], found[1]


def _span(source: Source) -> Range | None:
    """The values that became 0 and 255, of images of more than 8 bits."""
    domain = domains.of(source)
    return domain.ranges.get("real") if isinstance(domain, domains.Image) else None


def open_reference(name: str, span: Range | None = None) -> Source:
    """Real images by name, as large as they are: "embedded", "embedded:test", or a folder of images or prepared data.

    A prepared data set may name a split: "DIR:test".

    Args:
      name: Which.
      span: The values of black and of white in a folder's images of more than 8 bits; chosen for the folder if not
        given.

    Raises:
      InputError: If there is no such thing, or its images are not square or not all of one size.
    """
    if name.partition(":")[0] == "embedded" and not Path(name).exists():
        return sources.Embedded(name.partition(":")[2] or "train")  # pyright: ignore[reportArgumentType]
    where, _, split = name.rpartition(":") if not Path(name).exists() and ":" in name else (name, "", "")
    if any(Path(where).glob("**/dataset_info.json")):
        return sources.as_they_are(lambda r, c: sources.TFDS(None, where, split or "train", r, c))
    if split:
        raise InputError(
            f"{where} is not a prepared data set, so it has no split {split!r}; leave out :{split}"
        )
    return sources.as_they_are(lambda r, c: sources.ImageFolder(where, r, c, span=span))


def of_run(
    path: Path,
    *,
    names: Sequence[str] | None = None,
    num: int = 10_000,
    network: str = "auto",
    weights: Path | None = None,
    resize: features.Resize | None = None,
    seeds: Sequence[int] = (0,),
    split: str | None = None,
    averaged: bool = True,
    truncation: float | None = None,
    best: bool = False,
    standing: int = 0,
    own: Own | None = None,
    say: Say = print,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Scores a run and writes the scores to its evaluation.jsonl.

    Args:
      path: The run's folder.
      names: Scores, see `chosen`.
      num: Images to generate, and most real ones to compare them with; memorisation looks at all training and test
        images, whatever this is.
      network: Where features come from, with `weights` and `resize` as in `features.load`.
      weights: See `network`.
      resize: See `network`.
      seeds: Of the latents: one evaluation for each.
      split: Of the real images; that which the run was trained on if not given.
      averaged: Whether to generate with the averaged weights where there are any.
      truncation: See `sample.batches`.
      best: Whether to take the checkpoint that scored best while the run was trained.
      standing: Batches for standing statistics, see `sample.standing`; 0 for the running averages.
      own: The game, where somebody wrote it in Python.
      say: Called with each line for the user.
      progress: Whether to draw progress bars.

    Returns:
      The lines as written, one for each score and seed.

    Raises:
      InputError: If the folder is not a run, its data is not the data that it was trained on, or see `chosen`,
        `features.load` and `Scorer`.
    """
    trained = sample.load(path, say, best=best, own=own)
    folder = RunDirectory(path)
    refuse_link(folder.evaluation)  # before it takes time
    train = trained.built.open(None)
    if train.fingerprint != (folder.read_manifest() or {}).get("data_fingerprint"):
        raise InputError(f"the data is not the data that {path} was trained on; restore it")
    for remark in sources.remarks_of(train):
        say(remark)
    look = (network, weights, resize)
    scorer = scorer_of(trained.built, train, look, names, num, split=split, say=say, progress=progress)
    how = {"averaged": averaged, "truncation": truncation, "standing": standing}
    generate = Generator(trained.built, scorer.population, **how)
    lines = []
    for seed in seeds:
        scores = scorer.score(generate(trained.state, seed))
        found = [line(score, trained.step, seed, trained.digest) for score in scores]
        folder.add_scores(found)
        lines += found
    return lines


Look = tuple[str, Path | None, features.Resize | None]
"""A feature network's name, weights and resize, as `features.load` takes them."""


def scorer_of(
    built: Built,
    train: Source,
    look: Look,
    names: Sequence[str] | None,
    num: int,
    *,
    split: str | None = None,
    say: Say = print,
    progress: bool = True,
) -> Scorer:
    """The scorer of an experiment's runs.

    Args:
      built: The experiment.
      train: Its data.
      look: Where features come from.
      names: Scores, see `chosen`.
      num: Images to generate, and most real ones to compare them with.
      split: Of the real images; that of the training data if not given.
      say: Called with each line for the user.
      progress: Whether to draw progress bars.

    Raises:
      InputError: If there is no such split; or see `chosen`, `features.load` and `Scorer`.
    """
    data = built.config.data
    reference, name = train, getattr(data, "split", None)
    if split is not None and split != name:
        reference, name = built.open(split), split
    test = experiment.held_out(built)
    missing = {"test": test is None, "labels": not built.classes, "pairs": not _comparable(built)}
    domain = built.domain
    asked = chosen(names, domain.scores, frozenset(what for what, lacks in missing.items() if lacks), say)
    network = look_through(asked, look, domain, train.fields["real"])
    if not built.given:  # else there are as many as examples that they are made from
        check_num(network, train.fields["real"], num)
    pairs = pairs_of(built, num) if "pairs" in needs(asked) else None
    described = {"data": data.source if data else "Python", "split": name}
    leave_out = say if names is None or "all" in names else None
    given = {"train": train, "test": test, "pairs": pairs, "leave_out": leave_out, "progress": progress}
    return Scorer(reference, network, asked, num, **given, **described)


def look_through(asked: Sequence[str], look: Look, domain: Domain, field: Field) -> Network:
    """The network for scores; where all of them look at examples themselves, one that needs no weights.

    Raises:
      InputError: As `features.load`.
    """
    if not any(GROUP[name].features for name in asked) and look == ("auto", None, None):
        return features.nothing()
    return features.load(look[0], field.shape, *look[1:], domain=domain, dtype=field.dtype)


def check_num(network: Network, field: Field, num: int) -> None:
    """Refuses to score more examples than this process can hold features of, before the first is looked at.

    Raises:
      InputError: So it is.
    """
    seen = jax.ShapeDtypeStruct((network.batch, *field.shape), field.dtype)
    try:
        found = jax.eval_shape(network.run, seen)
    except Exception:  # somebody's own, which need not be of JAX
        return
    row = sum(math.prod(x.shape[1:]) * x.dtype.itemsize for x in found)
    part = memory.Part("their features", num * row, "ask for fewer")
    memory.check(f"a score of {num} examples", [part], memory.of_process())


def pairs_of(built: Built, most: int) -> Pairs:
    """The true answers for the samples of an experiment that has them, `most` at most."""
    examples = experiment.examples(built)
    assert examples is not None
    (given,) = built.given
    truth = examples["real"][:most]
    alike = (built.domain.baseline(x, y) for x, y in zip(examples[given], truth, strict=False))
    return Pairs(truth, np.stack([x for x in alike if x is not None]))


def _comparable(built: Built) -> bool:
    """Whether samples have a true answer, and what they are made from can be compared with it."""
    if not experiment.answered(built):
        return False
    (given,), examples = built.given, experiment.examples(built, 1)
    assert examples is not None
    return built.domain.baseline(examples[given][0], examples["real"][0]) is not None


class Generator:
    """What a run generates, as images to be scored: compiled once for all states and seeds."""

    def __init__(
        self,
        built: Built,
        real: Population,
        *,
        averaged: bool = True,
        truncation: float | None = None,
        standing: int = 0,
    ) -> None:
        """Takes the averaged weights where there are any, or the raw ones, and latents as `sample.batches` says.

        Samples are of the classes of the examples that they are made from, or else in the proportions of the real ones
        that they are compared with. With `standing`, batch norm uses `sample.standing` statistics of so many batches,
        of the same classes.
        """
        self._built, self._averaged, self._standing = built, averaged, standing
        self._real = real
        examples = experiment.examples(built)
        self._given: np.ndarray | None = examples.get("label") if examples else None
        self._most = len(examples["real"]) if examples else sys.maxsize
        self._make = sample.maker(built, truncation=truncation, examples=examples)
        decay = max(built.game.ema.values(), default=0.0) if averaged else 0.0
        self.made: dict[str, Any] = {
            "weights": f"average, decay {decay}" if decay else "raw",
            "truncation": truncation,
            **self._said(),
            **({"made_from": ", ".join(built.given)} if examples else {}),
        }

    def _said(self) -> dict[str, Any]:
        if not self._built.classes:
            return {"labels": "none"}
        return self._real.protocol() if self._given is None else {"labels": "those of the examples"}

    def _labels(self, count: int) -> np.ndarray:
        if self._given is not None:
            return np.resize(self._given, count)
        return self._real.labels(count, self._built.classes)

    def __call__(self, state: State, seed: int) -> Candidates:
        """What a state makes of the latents of a seed.

        Raises:
          InputError: See `sample.standing` and `Population.labels`.
        """
        state = state.averaged() if self._averaged else state
        classes = self._built.classes
        usual = not classes or (
            self._given is None and self._real.even
        )  # each class in turn, as maker does it

        def asked(count: int) -> np.ndarray | None:
            return None if usual else self._labels(count)

        def batches(count: int) -> Iterator[np.ndarray]:
            return sample.batches(self._built, self._make, state, count, seed, asked(count))

        norm = "running averages" if "batch_stats" in state.stats.get("generator", {}) else "none"
        if self._standing:
            size = self._standing * self._built.config.batch_size
            state = sample.standing(self._built, state, self._standing, seed, asked(size))
            norm = f"standing, {self._standing} batches of {self._built.config.batch_size}"
        made = {**self.made, "batch_norm": norm}
        return Candidates(batches, self._most, self._labels if classes else None, made)


def of_images(
    images: Source,
    reference: Source,
    *,
    names: Sequence[str] | None = None,
    num: int = 10_000,
    **options: Any,
) -> list[Score]:
    """Scores anybody's images against real ones.

    Args:
      images: What is scored.
      reference: Real images of the same size.
      names: Scores, see `chosen`.
      num: Most images of either.
      options: `network`, `weights`, `resize`, `say` and `progress`, as of `of_run`.

    Raises:
      InputError: If the sizes or the ranges differ, or see `chosen`, `features.load` and `Scorer`.
    """
    mine, theirs = (x.fields["real"].shape for x in (images, reference))
    if mine != theirs:
        kinds = [f"{r}x{r} {'grey' if c == 1 else 'colour'}" for r, _, c in (mine, theirs)]
        raise InputError(
            f"the images are {kinds[0]}, the reference {kinds[1]}; make them alike, with jaxgan prepare for one"
        )
    spans = _span(images), _span(reference)
    if None not in spans and spans[0] != spans[1]:
        said = [f"{span[0]:.7g} to {span[1]:.7g}" for span in spans if span]
        raise InputError(
            f"black and white are {said[0]} in the images, and {said[1]} in the reference; prepare both with one "
            "jaxgan prepare --range"
        )
    say, progress = options.get("say", print), options.get("progress", True)
    domain = domains.of(reference)
    asked = chosen(names, domain.scores, frozenset({"train", "test", "labels", "pairs"}), say)
    look = (options.get("network", "auto"), options.get("weights"), options.get("resize"))
    network = look_through(asked, look, domain, reference.fields["real"])
    given = {"leave_out": say if names is None or "all" in names else None, "progress": progress}
    scorer = Scorer(reference, network, asked, num, **given, data="reference", split=None)

    def batches(count: int) -> Iterator[np.ndarray]:
        size = min(READ, count)
        for i, batch in enumerate(stream.batches(images, 0, 0, -(-count // size), 1, size)):
            yield batch["real"][0, : count - i * size]

    return scorer.score(Candidates(batches, len(images), None, {"images_fingerprint": images.fingerprint}))


def line(score: Score, step: int, seed: int, digest: str) -> dict[str, Any]:
    """A score as it is written down; what is not finite is null, and a note is there where there is one."""

    def finite(x: float) -> float | None:
        return float(x) if math.isfinite(x) else None

    return {
        "score": score.name,
        "title": score.title,
        "value": finite(score.value),
        "error": finite(score.error),
        "floor": finite(score.floor),
        "step": step,
        "seed": seed,
        "state_sha256": digest,
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "versions": {"jaxgan": __version__, "jax": jax.__version__, "numpy": np.__version__},
        "protocol": dict(score.protocol),
        **({"note": score.note} if score.note else {}),
    }
