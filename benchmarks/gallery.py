"""Trains what configs/README.md shows, and what anyone would try first beside each: scores, pictures, minutes.

`gallery.py NAME ...` trains those, or goes on with them, in runs/gallery/NAME, and writes results/gallery/NAME.json and
docs/gallery/NAME.png. `gallery.py --write` puts the tables of all documents into configs/README.md, between the
markers `<!-- NAME OTHER ... -->` and `<!-- end -->`: a column for each of the names. Minutes are of processor time,
compilation included, so that what else the machine does counts little; on one core where it is started by
`taskset -c 0`.
"""

import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import captions
import harness
import numpy as np

from jaxgan import experiment, report
from jaxgan.networks.classifier import Classifier
from jaxgan.runs.inspection import inspect
from jaxgan.sampling import sample
from jaxgan.scoring import classification, scores
from jaxgan.scoring.formulas import accuracy

CONFIGS = harness.ROOT / "configs"
RESULTS = harness.ROOT / "benchmarks" / "results" / "gallery"
RUNS = harness.ROOT / "runs" / "gallery"
ZOOM = 2
"""Pixels for a pixel of a picture, in each direction: 28 are few to look at."""
MARKED = re.compile(r"(<!-- (?!end)(?P<names>[\w -]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = tuple[str, float, float | None, float | None]
"""A measurement: what it is, its value, its standard error, and what real images or the input give in its place."""


def caption_rows(run: Path) -> list[Row]:
    """How much of a thousand held-out captions is true of the images, and of how many the class is found."""
    found = captions.measure([run], 1000, 0)
    real, mine = found["real images"], found[str(run)]
    return [(f"captions: {name}", mine[name], None, real[name]) for name in real]


def error_rows(run: Path) -> list[Row]:
    """How often the encoder is wrong about the class of a test image."""
    trained = sample.load(run, print)
    test = experiment.held_out(trained.built)
    assert test is not None
    return [("error on the test images", *classification.error(trained, test), None)]


def refined_rows(run: Path) -> list[Row]:
    """How many real images a classifier knows that was trained on 10,000 refined ones; its floor: on unrefined ones."""
    trained = sample.load(run, print)
    source = experiment.source_of(trained.built.config)
    test = experiment.held_out(trained.built)
    assert test is not None
    chosen = [source[i] for i in range(10_000)]
    drawn, digit = (np.stack([x[name] for x in chosen]) for name in ("other", "other_label"))
    make = sample.maker(trained.built, examples={"other": drawn})
    refined = np.concatenate(
        list(sample.batches(trained.built, make, trained.state.averaged(), len(drawn), 0))
    )
    real = [test[i] for i in range(len(test))]
    images, labels = (np.stack([x[name] for x in real]) for name in ("real", "label"))
    classifier, found = Classifier(10), []
    for seen in (refined, drawn):
        variables = accuracy.train_classifier(classifier, seen, digit)
        found.append(accuracy.accuracy(classifier, variables, images, labels))
    error = float(np.sqrt(found[0] * (1 - found[0]) / len(images)))
    return [("real digits known by a classifier that saw only these", found[0], error, found[1])]


class Entry(NamedTuple):
    """A column of the gallery."""

    config: str
    overrides: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()
    """Arguments of `jaxgan evaluate`."""
    sample: tuple[str, ...] = ("--num", "80")
    """Arguments of `jaxgan sample` for the picture."""
    extra: Callable[[Path], list[Row]] | None = None
    after: str = ""
    """The entry whose run goes on in this one."""
    title: str = ""
    """Of its column; by default the config and what is changed in it."""


EVERY = ("--scores", "all")
DRAWN = "--num 3616 --features efficientnet-lite0 --scores frechet kernel precision recall"
"""As many as there are drawings to train on."""
HELD_OUT = ("--split", "test", "--num", "2000", "--scores", "psnr", "ssim", "l1", "frechet", "kernel")
OPEN = """
--steps 300 --game.discriminator_turns 5 --game.shared_draws false --game.ema 0.9
--generator.norm layer --generator.width 32 --discriminator.norm none --discriminator.width 32
--generator_optimizer.adam.learning_rate 1e-3 --discriminator_optimizer.adam.learning_rate 1e-3
"""
"""What private.toml is without privacy."""
ENTRIES: dict[str, Entry] = {
    "mlp": Entry("mlp"),
    "default": Entry("default", title="DCGAN"),
    "default-6000": Entry("default", ("--steps", "6000"), after="default", title="DCGAN"),
    "default-12000": Entry("default", ("--steps", "12000"), after="default-6000", title="DCGAN"),
    **{
        name: Entry(name)
        for name in (
            *("wgan_gp", "lsgan", "r3gan", "acgan", "projection", "sagan", "lapgan"),
            "private",
        )
    },
    "biggan": Entry("biggan", evaluate=EVERY),
    "private-none": Entry("default", tuple(OPEN.split()), title="without privacy"),
    "pix2pix": Entry("pix2pix", (), HELD_OUT, ("--num", "24")),
    "pix2pix-pixels": Entry(
        "pix2pix", ("--game.adversarial", "0"), HELD_OUT, ("--num", "24"), title="pixels alone"
    ),
    "cyclegan": Entry("cyclegan", (), HELD_OUT, ("--num", "24")),
    "srgan": Entry("srgan", (), HELD_OUT, ("--num", "24")),
    "stackgan": Entry("stackgan", sample=("--num", "48"), extra=caption_rows),
    "stackgan-label": Entry(
        "stackgan", ("--game.given", "label"), sample=("--num", "48"), extra=caption_rows
    ),
    "stackgan_openmoji": Entry("stackgan_openmoji", (), tuple(DRAWN.split()), ("--num", "48"), title="names"),
    "stackgan_openmoji-label": Entry(
        "stackgan_openmoji", ("--game.given", "label"), tuple(DRAWN.split()), ("--num", "48"), title="groups"
    ),
    "aae": Entry("aae"),
    "aae_semi": Entry("aae_semi", extra=error_rows),
    "refiner": Entry("refiner", (), ("--scores", "frechet", "kernel"), ("--num", "40"), refined_rows),
}


def jaxgan(*arguments: str) -> str:
    """Runs a command of jaxgan, without programs compiled before, and returns what it prints."""
    command, environment = [sys.executable, "-m", "jaxgan", *arguments], {**os.environ, "JAXGAN_CACHE": "off"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, cwd=harness.ROOT, env=environment, check=False
    )
    if done.returncode:
        sys.exit(f"gallery: {' '.join(arguments)} ended with {done.returncode}")
    return done.stdout


def measure(name: str, entry: Entry, extra: Sequence[str]) -> None:
    """Trains, scores and draws an entry, and writes its document."""
    run = RUNS / (entry.after.split("-")[0] if entry.after else name)
    earlier: float | None = 0.0
    if entry.after:
        document = json.loads((RESULTS / f"{entry.after}.json").read_text())
        begun = run.exists() and inspect(run, print)["step"] == document["steps"]
        earlier = document["seconds"] if begun else None
    elif run.exists():
        earlier = None  # it goes on with an earlier one, whose time nobody knows
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    jaxgan(
        *("train", f"configs/{entry.config}.toml", "--run-dir", str(run), "--quiet"),
        *(*entry.overrides, *extra),
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds: float | None = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    seconds = None if earlier is None else seconds + earlier
    picture = harness.ROOT / "docs" / "gallery" / f"{name}.png"
    jaxgan("sample", str(run), *entry.sample, "--out", str(picture))
    harness.enlarge(picture, picture, ZOOM)
    with tempfile.TemporaryDirectory() as folder:
        for i, (_, (file,)) in enumerate(report.of_family(sample.load(run, print), Path(folder)), 1):
            harness.enlarge(file, picture.with_stem(f"{name}-{i}"))
    lines = json.loads(jaxgan("evaluate", str(run), *entry.evaluate, "--quiet", "--json"))
    document = {
        "benchmark": "gallery",
        "name": name,
        "config": entry.config,
        "overrides": [*entry.overrides, *extra],
        "steps": lines[0]["step"],
        "seconds": seconds,
        "scores": lines,
        "rows": entry.extra(run) if entry.extra else [],
        "environment": harness.environment(),
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")


def rows_of(document: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """What a document measured, by its title: the value with its error, and what real images or the input give."""
    lines = [(line["title"], line["value"], line["error"], line["floor"]) for line in document["scores"]]
    found = {}
    for title, value, error, floor in (*lines, *document["rows"]):
        beside = f" ± {scores.number(error, 2)}" if error is not None else ""
        found[title] = (scores.number(value) + beside, scores.number(floor))
    return found


def render(documents: Sequence[Mapping[str, Any]]) -> str:
    """The table of documents side by side."""
    heads = [
        ENTRIES[document["name"]].title or f"`{' '.join([document['config'], *document['overrides']])}`"
        for document in documents
    ]
    minutes = [document["seconds"] and f"{document['seconds'] / 60:.1f}" for document in documents]
    found = [rows_of(document) for document in documents]
    titles = dict.fromkeys(title for each in found for title in each)
    rows: list[list[str | None]] = [
        ["steps", *(f"{document['steps']:,}" for document in documents), None],
        ["processor minutes", *minutes, None],
    ]
    for title in titles:
        floor = next(each[title][1] for each in found if title in each)
        rows.append([title, *(each[title][0] if title in each else None for each in found), floor])
    first = documents[0]["scores"]
    head = scores.floors(line["score"] for line in first)
    return harness.table(["", *heads, head], rows)


def fill(text: str, results: Path) -> str:
    """The README of the configs with its tables as the documents have them."""

    def section(found: re.Match[str]) -> str:
        names = found["names"].split()
        if unknown := set(names) - set(ENTRIES):
            sys.exit(
                f"gallery: configs/README.md names {', '.join(sorted(unknown))}, and there is no such entry"
            )
        paths = [results / f"{name}.json" for name in names]
        documents = [json.loads(path.read_text()) for path in paths if path.exists()]
        missing = [path.stem for path in paths if not path.exists()]
        said = f"\nNot measured yet: {', '.join(missing)}.\n" if missing else ""
        return found[1] + (f"\n{render(documents)}\n" if documents else "") + said + "\n" + found[3]

    return MARKED.sub(section, text)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(ENTRIES)}")
    parser.add_argument("--write", action="store_true", help="write the tables into configs/README.md")
    parser.add_argument("--check", action="store_true", help="fail where configs/README.md differs")
    options, extra = parser.parse_known_args()
    if extra and not options.names:
        parser.error(f"{' '.join(extra)} is for `jaxgan train`, and nothing is to be trained")
    if unknown := set(options.names) - set(ENTRIES):
        parser.error(f"no entry is called {', '.join(sorted(unknown))}; there are {', '.join(ENTRIES)}")
    for name in options.names:
        measure(name, ENTRIES[name], extra)
        print(f"gallery: {name} done", flush=True)
    readme = CONFIGS / "README.md"
    if options.write or options.check:
        before = readme.read_text()
        after = fill(before, RESULTS)
        if options.write:
            readme.write_text(after)
        elif after != before:
            sys.exit("configs/README.md differs from the results: run gallery.py --write")


if __name__ == "__main__":
    main()
