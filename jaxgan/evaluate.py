"""Scores of a run or of anybody's images, each with its protocol and the floor that real images reach.

A score can be compared with another of the same protocol alone: the same numbers of images, the same data, the same
network. So every one is written down with all of that.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jaxgan import __version__, experiment, features, sample
from jaxgan.data import images, sources, stream
from jaxgan.data.sources import Source
from jaxgan.errors import InputError
from jaxgan.features import Network
from jaxgan.game import State
from jaxgan.rundir import RunDirectory
from jaxgan.scores import (
    GROUPS,
    PIXELS,
    SIMILAR,
    Group,
    Pairs,
    Sample,
    Say,
    Score,
    Seen,
    Values,
    chosen,
    needs,
)

READ = 100
"""Images that are read at once."""


class Images(NamedTuple):
    """Images to be scored, and what a protocol says of how they were made."""

    batches: Callable[[int], Iterator[np.ndarray]]
    """So many images, in uint8 batches `[n, H, W, C]`."""
    number: int
    labels: Callable[[int], np.ndarray] | None
    """The classes of so many images, where they are known."""
    made: Mapping[str, Any]


def open_reference(name: str) -> Source:
    """Real images by name, as large as they are: "embedded", "embedded:test", or a folder of images or prepared data.

    A prepared data set may name a split: "DIR:test".

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
    return sources.as_they_are(lambda r, c: sources.ImageFolder(where, r, c))


class Judge:
    """Scores images against one reference through one network; what real images give is computed once."""

    def __init__(
        self,
        reference: Source,
        network: Network,
        chosen: Sequence[str],
        num: int,
        *,
        train: Source | None = None,
        test: Source | None = None,
        pairs: Pairs | None = None,
        leave_out: Say | None = None,
        progress: bool = True,
        **described: Any,
    ) -> None:
        """Reads the real images, and computes what they give.

        Args:
          reference: Real images; `num` of them at most, chosen by their order under seed 0.
          network: Where features come from.
          chosen: Names of metrics.
          num: How many images to score.
          train: The training images of what is scored, if they are known.
          test: Real images of the same kind that were not trained on.
          pairs: What the images to be scored should be, where that is known.
          leave_out: Called with a line for each metric that these images do not allow; if None, that is an error.
          progress: Whether to draw progress bars.
          described: More of the protocol.

        Raises:
          InputError: If an image cannot be read, or see `leave_out`.
        """
        self.reference, self.network, self.num, self.progress = reference, network, num, progress
        self.groups = [group for group in GROUPS if set(group.metrics) & set(chosen)]
        self.chosen, self.described = chosen, described
        needs = frozenset[str]().union(*(group.needs for group in self.groups))
        every = "accuracy" in chosen or "pairs" in needs
        self.keep = sys.maxsize if every else SIMILAR if "images" in needs else 0
        self.pairs = pairs if "pairs" in needs else None
        count = min(num, len(reference))
        self.real = self._read(reference, count)
        self.train = self.test = None
        if "train" in needs and train is not None:
            same = train is reference and count == len(train)
            self.train = self.real if same else self._read(train, len(train))
        if "test" in needs and test is not None:
            self.test = self._read(test, len(test))
        self._floors: Values = {}
        real = Seen(self.real, self.real, self.train, self.test, len(reference.classes), num, self.pairs)
        for group in list(
            self.groups
        ):  # now, so that what cannot be computed is known before anything is generated
            try:
                self._floors |= self._compute(group, group.floor, real, " of real images")
            except InputError as error:
                if leave_out is None:
                    raise
                leave_out(f"left out: {error}")
                self.groups.remove(group)

    def _bar(self, text: str, count: int) -> tqdm:
        shown = None if self.progress else True
        return tqdm(total=count, desc=text, unit="img", delay=1.0, leave=False, disable=shown)

    def _read(self, source: Source, count: int) -> Sample:
        labels: list[np.ndarray] = []

        def read() -> Iterator[np.ndarray]:
            size = min(READ, count)
            for i, batch in enumerate(stream.batches(source, 0, 0, -(-count // size), 1, size)):
                labels.append(batch["label"][0, : count - i * size])
                yield batch["image"][0, : count - i * size]

        return self._look(read(), count, "Reading images", lambda n: np.concatenate(labels))

    def _look(
        self,
        batches: Iterator[np.ndarray],
        count: int,
        text: str,
        labels: Callable[[int], np.ndarray] | None,
    ) -> Sample:
        kept: list[np.ndarray] = []

        def keeping() -> Iterator[np.ndarray]:
            have = 0
            for batch in batches:
                if have < self.keep:
                    kept.append(batch[: self.keep - have])
                    have += len(kept[-1])
                yield batch

        with self._bar(text, count) as bar:
            found = self.network.extract(keeping(), bar.update)
        shape = (0, self.reference.resolution, self.reference.resolution, self.reference.channels)
        images = np.concatenate(kept) if kept else np.zeros(shape, np.uint8)
        known = labels(count) if labels else np.zeros(count, np.int32)
        return Sample(found.features, found.logits, images, known)

    def score(self, given: Images) -> list[Score]:
        """The scores of images.

        Raises:
          InputError: If a metric cannot be computed from so few.
        """
        count = min(self.num, given.number)
        fake = self._look(given.batches(count), count, "Scoring images", given.labels)
        seen = Seen(self.real, fake, self.train, self.test, len(self.reference.classes), self.num, self.pairs)
        protocol = {
            "n_real": len(self.real.features),
            "n_fake": count,
            **self.described,
            "data_fingerprint": self.reference.fingerprint,
            "resolution": self.reference.resolution,
            "channels": self.reference.channels,
            "features": self.network.name,
            "features_sha256": self.network.sha256 or None,
            "resize": self.network.resize,
            **given.made,
        }
        found = []
        with tqdm(
            self.groups, "Computing scores", delay=1.0, leave=False, disable=None if self.progress else True
        ) as bar:
            for group in bar:
                parameters = dict(group.parameters)
                if "test" in group.needs and self.test is not None:
                    parameters["n_test"] = len(self.test.features)
                if "train" in group.needs and self.train is not None:
                    parameters["n_train"] = len(self.train.features)
                values = self._compute(group, group.compute, seen)
                for name in group.metrics:
                    if name in self.chosen:
                        title = group.metrics[name].format(title=self.network.title)
                        scored = (*values[name], self._floors[name][0])
                        found.append(Score(name, title, *scored, {**protocol, **parameters}))
        return found

    def _compute(self, group: Group, how: Callable[[Seen], Values], seen: Seen, of: str = "") -> Values:
        try:
            return how(seen)
        except InputError:
            raise
        except ValueError as error:
            names = ", ".join(name for name in group.metrics if name in self.chosen)
            raise InputError(
                f"{names}{of} cannot be computed: {error}; give more or larger images, or other --metrics"
            ) from None


def of_run(
    path: Path,
    *,
    names: Sequence[str] | None = None,
    num: int = 10_000,
    network: features.Name = "auto",
    weights: Path | None = None,
    resize: features.Resize | None = None,
    seeds: Sequence[int] = (0,),
    split: str | None = None,
    averaged: bool = True,
    truncation: float | None = None,
    best: bool = False,
    standing: int = 0,
    say: Say = print,
    progress: bool = True,
) -> list[dict[str, Any]]:
    """Scores a run and writes the scores to its evaluation.jsonl.

    Args:
      path: The run's folder.
      names: Metrics, see `chosen`.
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
      say: Called with each line for the user.
      progress: Whether to draw progress bars.

    Returns:
      The lines as written, one for each score and seed.

    Raises:
      InputError: If the folder is not a run, its data is not the data that it was trained on, or see `chosen`,
        `features.load` and `Judge`.
    """
    trained = sample.load(path, say, best=best)
    folder = RunDirectory(path)
    train = experiment.source_of(trained.built.config)
    if train.fingerprint != (folder.read_manifest() or {}).get("data_fingerprint"):
        raise InputError(f"the data is not the data that {path} was trained on; restore it")
    look = (network, weights, resize)
    judge = judge_of(trained.built, train, look, names, num, split=split, say=say, progress=progress)
    generate = Generator(trained.built, averaged=averaged, truncation=truncation, standing=standing)
    lines = []
    for seed in seeds:
        scores = judge.score(generate(trained.state, seed))
        found = [line(score, trained.step, seed, trained.digest) for score in scores]
        folder.add_scores(found)
        lines += found
    return lines


Look = tuple[features.Name, Path | None, features.Resize | None]
"""A feature network's name, weights and resize, as `features.load` takes them."""


def judge_of(
    built: experiment.Experiment,
    train: Source,
    look: Look,
    names: Sequence[str] | None,
    num: int,
    *,
    split: str | None = None,
    say: Say = print,
    progress: bool = True,
) -> Judge:
    """The judge of an experiment's runs.

    Args:
      built: The experiment.
      train: Its data.
      look: Where features come from.
      names: Metrics, see `chosen`.
      num: Images to generate, and most real ones to compare them with.
      split: Of the real images; that of the training data if not given.
      say: Called with each line for the user.
      progress: Whether to draw progress bars.

    Raises:
      InputError: If there is no such split; or see `chosen`, `features.load` and `Judge`.
    """
    data = built.config.data
    reference, name = train, getattr(data, "split", None)
    if split is not None and split != name:
        reference, name = experiment.source_of(built.config, split), split
    test = experiment.held_out(built.config)
    missing = {"test": test is None, "labels": not built.classes, "pairs": not experiment.answered(built)}
    asked = chosen(names, frozenset(what for what, lacks in missing.items() if lacks), say)
    network = look_through(asked, look, train.resolution, train.channels)
    pairs = pairs_of(built, num) if "pairs" in needs(asked) else None
    described = {"data": data.source, "split": name}
    leave_out = say if names is None or "all" in names else None
    given = {"train": train, "test": test, "pairs": pairs, "leave_out": leave_out, "progress": progress}
    return Judge(reference, network, asked, num, **given, **described)


def look_through(asked: Sequence[str], look: Look, resolution: int, channels: int) -> Network:
    """The network for metrics; where all of them look at pixels, one that sees nothing and needs no weights.

    Raises:
      InputError: As `features.load`.
    """
    if set(asked) <= set(PIXELS) and look == ("auto", None, None):
        return features.nothing()
    return features.load(look[0], resolution, channels, *look[1:])


def pairs_of(built: experiment.Experiment, most: int) -> Pairs:
    """The true answers for the samples of an experiment that has them, `most` at most."""
    examples = experiment.examples(built)
    assert examples is not None
    (given,) = built.given
    truth = examples["image"][:most]
    alike = (
        images.enlarged(x, truth.shape[1], truth.shape[2], truth.shape[3]) for x in examples[given][:most]
    )
    return Pairs(truth, np.stack(list(alike)))


class Generator:
    """What a run generates, as images to be scored: compiled once for all states and seeds."""

    def __init__(
        self,
        built: experiment.Experiment,
        *,
        averaged: bool = True,
        truncation: float | None = None,
        standing: int = 0,
    ) -> None:
        """Takes the averaged weights where there are any, or the raw ones, and latents as `sample.batches` says.

        With `standing`, batch norm uses `sample.standing` statistics of so many batches.
        """
        self._built, self._averaged, self._standing = built, averaged, standing
        examples = experiment.examples(built)
        self._most = len(examples["image"]) if examples else sys.maxsize
        self._make = sample.maker(built, truncation=truncation, examples=examples)
        decay = max(built.game.ema.values(), default=0.0) if averaged else 0.0
        self.made = {
            "weights": f"average, decay {decay}" if decay else "raw",
            "truncation": truncation,
            "labels": "each class in turn" if built.classes else "none",
            **({"made_from": ", ".join(built.given)} if examples else {}),
        }

    def __call__(self, state: State, seed: int) -> Images:
        """What a state makes of the latents of a seed."""
        state = state.averaged() if self._averaged else state
        classes = self._built.classes

        def batches(count: int) -> Iterator[np.ndarray]:
            return sample.batches(self._make, state, count, seed)

        def labels(count: int) -> np.ndarray:
            return sample.labels(np.arange(count, dtype=np.int32), classes, 1)

        norm = "running averages" if "batch_stats" in state.stats.get("generator", {}) else "none"
        if self._standing:
            state = sample.standing(self._built, state, self._standing, seed)
            norm = f"standing, {self._standing} batches of {self._built.config.batch_size}"
        made = {**self.made, "batch_norm": norm}
        return Images(batches, self._most, labels if classes else None, made)


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
      names: Metrics, see `chosen`.
      num: Most images of either.
      options: `network`, `weights`, `resize`, `say` and `progress`, as of `of_run`.

    Raises:
      InputError: If the sizes differ, or see `chosen`, `features.load` and `Judge`.
    """
    mine, theirs = ((x.resolution, x.channels) for x in (images, reference))
    if mine != theirs:
        kinds = [f"{r}x{r} {'grey' if c == 1 else 'colour'}" for r, c in (mine, theirs)]
        raise InputError(
            f"the images are {kinds[0]}, the reference {kinds[1]}; make them alike, with jaxgan prepare for one"
        )
    say, progress = options.get("say", print), options.get("progress", True)
    asked = chosen(names, frozenset({"train", "test", "labels", "pairs"}), say)
    network = features.load(
        options.get("network", "auto"), *mine, options.get("weights"), options.get("resize")
    )
    given = {"leave_out": say if names is None or "all" in names else None, "progress": progress}
    judge = Judge(reference, network, asked, num, **given, data="reference", split=None)

    def batches(count: int) -> Iterator[np.ndarray]:
        size = min(READ, count)
        for i, batch in enumerate(stream.batches(images, 0, 0, -(-count // size), 1, size)):
            yield batch["image"][0, : count - i * size]

    return judge.score(Images(batches, len(images), None, {"images_fingerprint": images.fingerprint}))


def line(score: Score, step: int, seed: int, digest: str) -> dict[str, Any]:
    """A score as it is written down; what is not finite is null."""

    def finite(x: float) -> float | None:
        return float(x) if math.isfinite(x) else None

    return {
        "metric": score.metric,
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
    }
