"""Trains the classifier of Fashion-MNIST through which scores of 28x28 grey images look, and measures its accuracy.

It takes the four idx files of Fashion-MNIST (Debian: apt install dataset-fashion-mnist) and writes the weights that are
shipped, jaxgan/networks/fashion_cnn.safetensors.
"""

import time
from pathlib import Path

import harness
import numpy as np
from flax.traverse_util import flatten_dict
from safetensors.numpy import save_file

from jaxgan.data.preparing import idx
from jaxgan.data.sources import Embedded
from jaxgan.networks.classifier import Classifier
from jaxgan.scoring import features
from jaxgan.scoring.formulas import accuracy

HOW = accuracy.Training(epochs=15)


def render(document: dict) -> str:
    rows = [
        [r["train_images"], r["epochs"], r["parameters"], f"{r['seconds']:.0f}", f"{r['accuracy']:.2%}"]
        for r in document["results"]
    ]
    columns = ["training images", "epochs", "parameters", "seconds", "test accuracy"]
    return harness.table(columns, rows)


def main() -> None:
    parser = harness.parser(__doc__)
    parser.add_argument(
        "--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"), help="folder of the idx files"
    )
    parser.add_argument("--weights", type=Path, default=features.FASHION, help="the file to write")
    options = parser.parse_args()
    report = harness.Report("classifier", options)
    for place in ("data", "weights"):  # where files lie changes no result
        del report.document["arguments"][place]
    how = HOW
    if options.toy:
        sets = {split: Embedded(split).arrays() for split in ("train", "test")}
        sets = {split: (images[:256], labels[:256]) for split, (images, labels) in sets.items()}
        how = HOW._replace(epochs=1)
    else:
        sets = {split: idx.read(*files) for split, files in idx.find(options.data).items()}
    images, labels = sets["train"]
    classifier = Classifier(10)
    start = time.perf_counter()
    variables = accuracy.train_classifier(classifier, images[..., None], labels, how)
    seconds = time.perf_counter() - start
    table = {name: np.asarray(leaf) for name, leaf in flatten_dict(variables, sep="/").items()}
    if not options.toy:
        save_file(table, options.weights, metadata={"made_by": "benchmarks/classifier.py"})
    test_images, test_labels = sets["test"]
    report.add(
        {
            "train_images": len(images),
            "test_images": len(test_images),
            "epochs": how.epochs,
            "batch_size": how.batch_size,
            "parameters": sum(x.size for name, x in table.items() if name.startswith("params/")),
            "seconds": seconds,
            "accuracy": accuracy.accuracy(classifier, variables, test_images[..., None], test_labels),
        }
    )
    report.finish(render)


if __name__ == "__main__":
    main()
