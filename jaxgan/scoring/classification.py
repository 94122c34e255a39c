"""How often a trained network is wrong about classes, where a family learns them from few labelled examples.

For example:

    >>> from jaxgan import config, experiment
    >>> from jaxgan.data.sources import Embedded
    >>> mlp, data = {"network": "mlp", "width": 4, "depth": 1}, {"source": "embedded", "split": "test"}
    >>> given = {"name": "tiny", "steps": 2, "data": data, "generator": mlp, "discriminator": mlp}
    >>> built = experiment.of_source(config.parse(given), Embedded("test"))
    >>> t_shirts = built._replace(classify=lambda state, real: jax.nn.one_hot([0] * len(real), 10))
    >>> state = jax.jit(lambda: experiment.initial(built))()
    >>> share, error_of_share = error(Trained(t_shirts, state, step=0, digest=""), Embedded("test"))
    >>> share, round(error_of_share, 4)  # one of ten classes is told right
    (0.9, 0.0067)
"""

import math

import jax
import numpy as np

from jaxgan.data import stream
from jaxgan.data.sources import Source
from jaxgan.data.sources.derived import FirstSide
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
    source = FirstSide(source)
    state, wrong, count = trained.state.averaged(), 0, len(source)
    size = min(SIZE, count)
    for i, batch in enumerate(stream.batches(source, 0, 0, -(-count // size), 1, size)):
        told = np.argmax(logits(state, {"real": batch["real"][0]}), 1)
        wrong += int((told != batch["label"][0])[: count - i * size].sum())
    share = wrong / count
    return share, math.sqrt(share * (1 - share) / count)
