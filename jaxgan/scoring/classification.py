"""How often a trained network is wrong about classes, where a family learns them from few labelled examples."""

import math

import jax
import numpy as np

from jaxgan.data import stream
from jaxgan.data.sources import Source
from jaxgan.errors import InputError
from jaxgan.sampling.sample import Trained

SIZE = 250
"""Images that are classified at once."""


def error(trained: Trained, source: Source) -> tuple[float, float]:
    """The share of images whose class is told wrong, with the averaged weights where there are any.

    Args:
      trained: A run.
      source: The images, all of which are looked at.

    Returns:
      The share, and its standard error.

    Raises:
      InputError: If nothing in the run learns classes, or an image cannot be read.
    """
    classify, domain = trained.built.classify, trained.built.domain
    if classify is None:
        raise InputError("this run learns no classes; train one of family 'aae' with game.labels")
    logits = jax.jit(lambda state, batch: classify(state, domain.decode(batch)["real"]))
    state, wrong, count = trained.state.averaged(), 0, len(source)
    size = min(SIZE, count)
    for i, batch in enumerate(stream.batches(source, 0, 0, -(-count // size), 1, size)):
        told = np.argmax(logits(state, {"real": batch["real"][0]}), 1)
        wrong += int((told != batch["label"][0])[: count - i * size].sum())
    share = wrong / count
    return share, math.sqrt(share * (1 - share) / count)
