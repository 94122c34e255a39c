"""How much of a caption is true of the image made from it: runs on the embedded captions, against real images.

Takes runs of `data.task = "captions"`, made from texts or from classes alone, and makes one image for each of many
held-out captions. Brightness, place and facing (of shoes) are read from pixels by
`jaxgan.data.sources.garments.read`, which knows no network. The class is what the shipped classifier says of the
garment once it is cut out, enlarged and as bright as the classifier's own images; it errs on real
images too, as their row shows.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import harness
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from jaxgan import domains, experiment
from jaxgan.data.sources import garments
from jaxgan.game import Keys
from jaxgan.sampling import sample
from jaxgan.scoring import features

ASKED = ("brightness", "place", "facing")


def restored(image: np.ndarray) -> np.ndarray:
    """A garment uint8 [h, w] cut out, 28 pixels long, in the middle and at full brightness, uint8 [28, 28]."""
    inked = image >= garments.INK
    rows, columns = (np.flatnonzero(inked.any(axis)) for axis in (1, 0))
    if not len(rows):
        return np.zeros((28, 28), np.uint8)
    cut = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = 28 / max(cut.shape)
    height, width = (max(1, round(n * scale)) for n in cut.shape)
    large = np.asarray(Image.fromarray(cut).resize((width, height), Image.Resampling.BILINEAR), np.float32)
    out = np.zeros((28, 28), np.float32)
    top, left = (28 - height) // 2, (28 - width) // 2
    out[top : top + height, left : left + width] = large * (255 / max(1.0, float(large.max())))
    return np.rint(out).clip(0, 255).astype(np.uint8)


def classes(images: np.ndarray) -> np.ndarray:
    """The class of each of images uint8 [N, 28, 28, 1], int [N], as the shipped classifier sees it."""
    whole = np.stack([restored(image[..., 0]) for image in images])[..., None]
    return features.load("fashion-cnn", (28, 28, 1)).extract([whole]).logits.argmax(1)


def shares(images: np.ndarray, asked: Sequence[garments.Attributes]) -> dict[str, float]:
    """Of how many images each attribute is as asked; and "attributes", of all attributes of all captions together.

    Args:
      images: uint8 [N, H, W, C].
      asked: What each caption says; facing is counted where it says something of it.
    """
    true: dict[str, list[bool]] = {name: [] for name in ASKED}
    for image, wanted in zip(images, asked, strict=True):
        found = garments.read(image, wanted.facing is not None)
        for name in ASKED:
            if getattr(wanted, name) is not None:
                true[name].append(getattr(found, name) == getattr(wanted, name))
    every = [x for values in true.values() for x in values]
    return {name: float(np.mean(values)) for name, values in {**true, "attributes": every}.items()}


def of_captions(trained: sample.Trained, examples: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """An image for each example's text, or its label where the run knows no text: uint8 [N, H, W, C]."""
    state, key, count = trained.state.averaged(), jax.random.key(seed), len(examples["label"])
    make = jax.jit(
        lambda state, batch, keys: trained.built.game.sample(state, keys, domains.Image().decode(batch))
    )

    def parts(size: int = 100) -> Iterator[np.ndarray]:
        for i in range(0, count, size):
            at = np.minimum(np.arange(i, i + size), count - 1)
            batch = {name: jnp.asarray(x[at]) for name, x in examples.items()}
            made: Any = make(state, batch, Keys.of(key, size, i))
            yield domains.Image().encode(np.asarray(made))[: count - i]

    return np.concatenate(list(parts()))


def measure(runs: Sequence[Path], num: int, seed: int) -> dict[str, dict[str, float]]:
    """Shares, and of how many images the class is found, by run, of real images first; and a run's "step".

    Args:
      runs: Of the embedded captions.
      num: Captions, of the test split.
      seed: Of the latents.
    """
    found: dict[str, dict[str, float]] = {}
    for path in runs:
        trained = sample.load(path, lambda line: print(line, file=sys.stderr))
        source = experiment.source_of(trained.built.config, "test")
        if not isinstance(source, garments.Garments):
            raise SystemExit(f"{path} was not trained on the embedded captions")
        chosen = [i * len(source) // num for i in range(num)]
        examples = {name: np.stack([source[i][name] for i in chosen]) for name in source.fields}
        asked = [source.attributes(i) for i in chosen]
        seen = {str(path): of_captions(trained, examples, seed)}
        if not found:
            seen = {"real images": examples["real"], **seen}
        for name, images in seen.items():
            right = float(np.mean(classes(images) == examples["label"]))
            found[name] = {**shares(images, asked), "class": right}
        found[str(path)]["step"] = trained.step
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    parser.add_argument("--num", type=int, default=1000, help="captions, of the test split")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    columns = (*ASKED, "attributes", "class")
    measured = measure(options.runs, options.num, options.seed)
    table = [
        [name, found.get("step"), *(f"{found[column]:.1%}" for column in columns)]
        for name, found in measured.items()
    ]
    print(f"{options.num} held-out captions, seed {options.seed}")
    print(harness.table(["images", "step", *columns], table))


if __name__ == "__main__":
    main()
