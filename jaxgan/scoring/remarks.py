"""What has to be known of scores besides their values: how far few images move them, and what was left out of a mean.

For example:

    >>> share_of_all(0.0, "recall", 600)
    {'recall': 'it is of none of 600, from which no error can be told; a small share would look the same'}
    >>> share_of_all(0.5, "recall", 600)
    {}
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from jaxgan.scoring import formulas

if TYPE_CHECKING:
    from jaxgan.scoring.groups import Seen, Values

FEW = 10
"""Examples for each feature, below which their number moves distances of distributions."""
NOTED = 0.02
"""The share of an Inception score that may be missing without a word."""
NAMED = 10
"""Pairs that are named, at most."""


def few(seen: "Seen") -> str:
    """How few examples there are for so many features, in words; empty where they are not few."""
    number = min(len(seen.real.features), len(seen.fake.features))
    width = seen.fake.features.shape[1]
    if number >= FEW * width:
        return ""
    return f"{number:,} {seen.domain.plural} are few for {width:,} features"


def of_frechet(seen: "Seen", values: "Values", floors: "Values") -> dict[str, str]:
    """How much of the Frechet distance comes from the numbers of examples alone."""
    if not (words := few(seen)) or min(len(seen.real.features), len(seen.fake.features)) < 4:
        return {}
    given = seen.real.features, seen.fake.features
    bias = formulas.frechet_bias(*given, strata=seen.fake.labels)
    width = seen.fake.features.shape[1]
    about = "about" if min(map(len, given)) > width else "at least"
    return {
        "frechet": f"{words}: {about} {bias:.3g} of its {values['frechet'][0]:.4g} comes from their number alone; "
        f"compare it only with scores of as many, or take {FEW * width:,}"
    }


def of_frechet_infinity(seen: "Seen", values: "Values", floors: "Values") -> dict[str, str]:
    """That the line on which the distance is extrapolated bends where examples are few."""
    words = few(seen)
    return {"frechet_infinity": f"{words}: what it is drawn through is no line there"} if words else {}


def of_inception_score(seen: "Seen", values: "Values", floors: "Values") -> dict[str, str]:
    """How much the Inception score lacks, as each split has few examples."""
    lacking, score = formulas.inception_bias(seen.fake.logits), values["inception_score"][0]
    if lacking < NOTED * score:
        return {}
    few = f"{len(seen.fake.logits) // 10:,} {seen.domain.plural} are few for a split"
    found = f"{few}: about {lacking:.2g} more with many; compare it only with scores of as many"
    return {"inception_score": found}


def share_of_all(share: float, name: str, count: int) -> dict[str, str]:
    """That a share of nothing, or of all, has no error that could be told."""
    if 0 < share < 1:
        return {}
    of, other = ("none", "a small share") if share == 0 else ("all", "a share of nearly all")
    return {name: f"it is of {of} of {count:,}, from which no error can be told; {other} would look the same"}


def of_manifold(seen: "Seen", values: "Values", floors: "Values") -> dict[str, str]:
    """That few examples are to be compared with what real ones reach, and which shares have no error."""
    of_real, of_fake = len(seen.real.features), len(seen.fake.features)
    counts = {"precision": of_fake, "recall": of_real, "coverage": of_real}
    words = few(seen)
    beside = f"{words}: it tells something only beside what real ones reach" if words else ""
    found = dict.fromkeys(values, beside)
    for name, count in counts.items():
        if alone := share_of_all(values[name][0], name, count).get(name):
            found[name] = f"{alone}; {beside}" if beside else alone
    return {name: note for name, note in found.items() if note}


def of_gan_test(seen: "Seen", values: "Values", floors: "Values") -> dict[str, str]:
    """That a share of nothing, or of all, has no error that could be told."""
    return share_of_all(values["gan_test"][0], "gan_test", len(seen.fake.logits))


def of_pairs(seen: "Seen", values: "Values", floors: "Values") -> Mapping[str, str]:
    """How many pairs are equal, and so have no ratio of signal to noise, and which."""
    assert seen.pairs is not None
    truth = seen.pairs.truth[: len(seen.fake.examples)]
    said: list[str] = []
    for which, shown in (("samples", seen.fake.examples), ("inputs", seen.pairs.baseline[: len(truth)])):
        equal = np.flatnonzero((shown == truth).all((1, 2, 3)))
        if len(equal):
            names = ", ".join(map(str, equal[:NAMED])) + (", ..." if len(equal) > NAMED else "")
            count = f"{len(equal):,} of {len(truth):,} {which} equal their true answers (from 0: {names})"
            left = "none is left" if len(equal) == len(truth) else "the mean is of the others"
            said.append(f"{count}, where the ratio is infinite; {left}")
    return {"psnr": "; ".join(said)} if said else {}
