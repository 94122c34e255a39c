"""The scorer of samples: scores of them against one reference, through one feature network, by one protocol.

For example:

    >>> from jaxgan.data.sources import Embedded
    >>> from jaxgan.scoring.features import nothing
    >>> scorer = Scorer(Embedded("test"), nothing(), ["diversity"], num=20, progress=False)
    >>> alike = lambda count: iter([np.full((count, 28, 28, 1), 100, np.uint8)])
    >>> (score,) = scorer.score(Candidates(alike, number=20, labels=None, made={"weights": "raw"}))
    >>> score.title, round(score.value, 6), score.floor < 0.5
    ('MS-SSIM of pairs', 1.0, True)
    >>> score.protocol["n_real"], score.protocol["weights"]
    (20, 'raw')
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from jaxgan import domains
from jaxgan.data import stream
from jaxgan.data.sources import Source
from jaxgan.data.sources.base import Field
from jaxgan.data.sources.derived import FirstSide
from jaxgan.domains import Domain
from jaxgan.errors import InputError
from jaxgan.scoring.features import Network
from jaxgan.scoring.groups import GROUP, Group, Pairs, Sample, Say, Seen, Values
from jaxgan.scoring.population import Population, population
from jaxgan.scoring.scores import Score

READ = 100
"""Examples that are read at once."""


class Candidates(NamedTuple):
    """Examples to be scored, and what a protocol says of how they were made."""

    batches: Callable[[int], Iterator[np.ndarray]]
    """So many of them, as they are stored, in batches `[n, ...]`."""
    number: int
    labels: Callable[[int], np.ndarray] | None
    """The classes of so many of them, where they are known."""
    made: Mapping[str, Any]


class Scorer:
    """Scores examples against one reference through one network; what real images give is computed once."""

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
        """Reads the real examples, and computes what they give.

        Args:
          reference: Real examples; `num` of them at most, chosen by their order under seed 0.
          network: Where features come from.
          chosen: Names of scores.
          num: How many examples to score.
          train: The training data of what is scored, if they are known.
          test: Real examples of the same kind that were not trained on.
          pairs: What the examples to be scored should be, where that is known.
          leave_out: Called with a line for each score that these examples do not allow; if None, that is an error.
          progress: Whether to draw progress bars.
          described: More of the protocol.

        Raises:
          InputError: If an example cannot be read, or see `leave_out`.
        """
        self.reference: Source = reference
        self.network: Network = network
        self.num: int = num
        self.progress: bool = progress
        self.domain: Domain = domains.of(reference)
        self.field: Field = reference.fields["real"]
        found = {id(GROUP[name]): GROUP[name] for name in self.domain.scores if name in chosen}
        self.groups: list[Group] = list(found.values())
        self.chosen: Sequence[str] = chosen
        self.described: dict[str, Any] = described
        needs = frozenset[str]().union(*(group.needs for group in self.groups))
        self.keep: int = min(sys.maxsize, max((group.looks_at for group in self.groups), default=0))
        self.pairs: Pairs | None = pairs if "pairs" in needs else None
        own = FirstSide(reference)
        count = min(num, len(own))
        self.real: Sample = self._read(own, count)
        self.population: Population = population(own, self.real.labels)
        self.train: Sample | None = None
        self.test: Sample | None = None
        if "train" in needs and train is not None:
            seen = FirstSide(train)
            same = train is reference and count == len(seen)
            self.train = self.real if same else self._read(seen, len(seen))
        if "test" in needs and test is not None:
            held = FirstSide(test)
            self.test = self._read(held, len(held))
        self._floors: Values = {}
        real = Seen(
            self.real, self.real, self.train, self.test, len(reference.classes), num, self.pairs, self.domain
        )
        for group in list(
            self.groups
        ):  # now, so that what cannot be computed is known before anything is generated
            try:
                self._floors |= self._compute(group, group.floor, real, f" of real {self.domain.plural}")
            except InputError as error:
                if leave_out is None:
                    raise
                leave_out(f"left out: {error}")
                self.groups.remove(group)

    def _bar(self, text: str, count: int) -> tqdm:
        shown = None if self.progress else True
        return tqdm(total=count, desc=text, unit=self.domain.plural, delay=1.0, leave=False, disable=shown)

    def _read(self, source: Source, count: int) -> Sample:
        labels: list[np.ndarray] = []

        def read() -> Iterator[np.ndarray]:
            size = min(READ, count)
            for i, batch in enumerate(stream.batches(source, 0, 0, -(-count // size), 1, size)):
                labels.append(batch["label"][0, : count - i * size])
                yield batch["real"][0, : count - i * size]

        return self._look(read(), count, f"Reading {self.domain.plural}", lambda n: np.concatenate(labels))

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
        examples = np.concatenate(kept) if kept else np.zeros((0, *self.field.shape), self.field.dtype)
        known = labels(count) if labels else np.zeros(count, np.int32)
        return Sample(found.features, found.logits, examples, known)

    def _kind(self) -> dict[str, Any]:
        """What a protocol says of the kind of examples."""
        seen = self.domain.decoded(self.reference.fields)["real"]
        said: dict[str, Any] = dict(self.domain.facts(seen.shape))
        if not isinstance(self.domain, domains.Image):
            return {**said, "domain": self.domain.model_dump()}
        ranges = {name: list(span) for name, span in self.domain.ranges.items()}
        return {**said, "ranges": ranges} if ranges else said

    def score(self, given: Candidates) -> list[Score]:
        """The scores of examples.

        Raises:
          InputError: If a score cannot be computed from so few.
        """
        count = min(self.num, given.number)
        fake = self._look(given.batches(count), count, f"Scoring {self.domain.plural}", given.labels)
        seen = Seen(
            self.real,
            fake,
            self.train,
            self.test,
            len(self.reference.classes),
            self.num,
            self.pairs,
            self.domain,
        )
        protocol = {
            "n_real": len(self.real.features),
            "n_fake": count,
            **self.described,
            "data_fingerprint": self.reference.fingerprint,
            **self._kind(),
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
                notes = group.notes(seen, values, self._floors)
                for name in group.titles:
                    if name in self.chosen:
                        title = group.titles[name].format(title=self.network.title)
                        scored = (*values[name], self._floors[name][0])
                        found.append(
                            Score(name, title, *scored, {**protocol, **parameters}, notes.get(name, ""))
                        )
        return found

    def _compute(self, group: Group, how: Callable[[Seen], Values], seen: Seen, of: str = "") -> Values:
        try:
            return how(seen)
        except InputError:
            raise
        except ValueError as error:
            names = ", ".join(name for name in group.titles if name in self.chosen)
            raise InputError(
                f"{names}{of} cannot be computed: {error}; give more or larger {self.domain.plural}, or other --scores"
            ) from None
