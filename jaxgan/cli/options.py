"""What the command line understands: its commands and their options."""

import argparse
import warnings
from collections.abc import Sequence
from typing import NoReturn

from jaxgan import __version__
from jaxgan.errors import InputError, Renamed

TRAIN_OPTIONS = [
    "--help",
    "--debug",
    "--run-dir",
    "--seed",
    "--seeds",
    "--steps",
    "--quiet",
    "--coordinator",
    "--processes",
    "--process",
    "--import",
    "--changed",
]
"""Everything else that starts with "--" is a key of the config."""

EPILOG = """\
jaxgan train                             train the default DCGAN on the embedded images
jaxgan train configs/mlp.toml --seed 1   train a config; the same command again resumes it
jaxgan train --seeds 0:8                 train the runs of eight seeds together
jaxgan train --generator.width 32        change any key of the config
jaxgan sample runs/default-s0 --num 64 --out samples.png
jaxgan sample runs/stackgan-s0 --text "a dark bag at the top" --out bag.png
                                         images of a text
jaxgan translate runs/pix2pix-s0 PHOTOS --out MADE
                                         translate image files
jaxgan upscale runs/srgan-s0 PHOTOS --out LARGE
                                         enlarge image files
jaxgan evaluate runs/default-s0          score a run against its data
jaxgan compare runs/default-s*           scores side by side
jaxgan report runs/default-s0            a page with pictures, curves and scores
jaxgan verify runs/default-s0            train some of it again: are the bits the same?
jaxgan train runs/mine --import mine.py  go on with a game of your own
jaxgan theory                            a GAN on the line beside what theory says
"""


RENAMED = {"--metrics": "--scores"}
"""Options of older versions, which are read all the same, and what they are called now."""

PATHS = {
    **{"config": "CONFIG", "run_dir": "RUN", "runs": "RUN", "inputs": "INPUT", "source": "SOURCE"},
    **{"out": "--out", "images": "--images", "reference": "--reference", "weights": "--weights"},
    **{"package": "--from", "minilm": "--minilm", "imports": "--import"},
}
"""Arguments that name files and folders, and what users call them."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line: `command` names the command, `overrides` holds the keys of the config.

    Raises:
      InputError: If it is not understood. `--help` and `--version` raise SystemExit.
    """
    # argparse would take the value of an override for CONFIG: they are taken out first.
    plain, overrides = _split([_renamed(word) for word in arguments])
    options = _parser().parse_args(plain, argparse.Namespace(overrides=overrides))
    for name, shown in PATHS.items():
        found = getattr(options, name, None)
        if "" in (found if isinstance(found, list) else [found]):
            raise InputError(f"{shown} is empty; name a file or a folder, and . for the current one")
    return options


def _renamed(word: str) -> str:
    """A word of a command line by its name of today; a warning says so."""
    name, *value = word.split("=", 1)
    if name not in RENAMED:
        return word
    warnings.warn(f"{name} is called {RENAMED[name]} now", Renamed, stacklevel=2)
    return "=".join((RENAMED[name], *value))


def _split(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Separates `--section.key VALUE` and `--section.key=VALUE`, for `train` alone, from what argparse knows."""
    if arguments[:1] != ["train"]:
        return arguments, {}
    plain, overrides, words = [], {}, iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if not name.startswith("--") or name in ("--", *TRAIN_OPTIONS):
            plain.append(word)
            continue
        if not equals:
            value = next(words, None)
            if value is None or value.startswith("--"):
                raise InputError(f"{name} needs a value; give {name} VALUE or {name}=VALUE")
        overrides[name[2:].replace("-", "_")] = value
    return plain, overrides


class _Parser(argparse.ArgumentParser):
    """Reports a mistake as every other one, in a line of its own, instead of below the usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        "jaxgan",
        description="Train GANs in JAX: fast, resumable, and repeatable to the bit.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"jaxgan {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        sub.add_argument("--debug", action="store_true", help="show the traceback of an error")
        return sub

    train = command("train", "Train a config; run it again to resume.")

    def imports(sub: argparse.ArgumentParser) -> None:
        sub.add_argument(
            "--import",
            dest="imports",
            action="append",
            default=[],
            metavar="FILE.py",
            help="a file with a game, or a file or an installed package with networks, families or domains",
        )

    train.add_argument(
        "config",
        nargs="?",
        metavar="CONFIG",
        help="a TOML file, or the folder of a run to go on with; the default DCGAN if left out",
    )
    train.add_argument("--run-dir", metavar="DIR", help="where the run lives (default: runs/NAME-sSEED)")
    train.add_argument("--seed", type=int, metavar="N", help="seed of weights, draws and data order")
    train.add_argument(
        "--seeds",
        metavar="A:B",
        help="a run for each seed, all in one program: 0:8 or 0,3,5 (DIR/NAME-sSEED)",
    )
    train.add_argument("--steps", type=int, metavar="N", help="train to this step; may grow on resume")
    train.add_argument("--quiet", action="store_true", help="no progress bar")
    imports(train)
    train.add_argument(
        "--changed", action="store_true", help="go on though a file of your own is another one now"
    )
    several = train.add_argument_group("several processes, each started with the same command")
    several.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0")
    several.add_argument("--processes", type=int, metavar="N", help="how many there are")
    several.add_argument("--process", type=int, metavar="I", help="which this is, from 0")
    train.usage = (
        "jaxgan train [CONFIG | RUN] [--run-dir DIR] [--seed N | --seeds A:B] [--steps N]\n"
        "                    [--any.config.key VALUE ...]"
    )

    sample = command("sample", "Generate samples with a trained run.")
    sample.add_argument("run_dir", metavar="RUN")
    sample.add_argument("--num", type=int, default=64, metavar="N", help="how many (default: 64)")
    sample.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the latents (default: 0)")
    sample.add_argument(
        "--out", required=True, metavar="FILE", help=".png for a sheet (of sounds .wav, ...), .npz for arrays"
    )
    sample.add_argument(
        "--interpolate", action="store_true", help="rows that walk from one latent to the next"
    )
    sample.add_argument("--truncation", type=float, metavar="T", help="latents within T (default: all)")
    sample.add_argument("--text", metavar="CAPTION", help="what to show, of runs that make images from text")
    sample.add_argument(
        "--minilm", metavar="PATH", help="where MiniLM's package is, of runs from embeddings (--text)"
    )
    sample.add_argument("--best", action="store_true", help="the checkpoint that scored best in training")
    sample.add_argument(
        "--standing", type=int, metavar="N", help="batch statistics of N batches, not the running averages"
    )
    imports(sample)
    sample.add_argument("--columns", type=int, metavar="N", help="samples in a row of the sheet")

    def on_files(name: str, text: str) -> argparse.ArgumentParser:
        sub = command(name, text)
        sub.add_argument("run_dir", metavar="RUN")
        sub.add_argument("inputs", nargs="+", metavar="INPUT", help="images, or folders of images")
        sub.add_argument("--out", required=True, metavar="DIR", help="where the PNG files go")
        sub.add_argument("--best", action="store_true", help="the checkpoint that scored best in training")
        sub.add_argument("--quiet", action="store_true", help="no progress bar")
        imports(sub)
        return sub

    translate = on_files("translate", "Translate images with a run of pix2pix, CycleGAN or a refiner.")
    translate.add_argument("--back", action="store_true", help="the other way, of CycleGAN")
    translate.add_argument("--seed", type=int, default=0, metavar="S", help="seed of dropout (default: 0)")
    upscale = on_files("upscale", "Enlarge images with a super-resolution run.")
    upscale.add_argument(
        "--tile", type=int, default=128, metavar="T", help="enlarge T x T pixels at a time (default: 128)"
    )

    evaluate = command("evaluate", "Score a run, or anybody's images, with the protocol beside it.")
    evaluate.add_argument("run_dir", nargs="?", metavar="RUN")
    evaluate.add_argument("--images", metavar="DIR", help="score the images of a folder instead of a run")
    evaluate.add_argument(
        "--reference",
        metavar="DATA",
        help="real images for --images: a folder, prepared data, or embedded:test",
    )
    evaluate.add_argument(
        "--scores",
        nargs="+",
        metavar="NAME",
        help="such as frechet, or all (default: all but the slow ones)",
    )
    evaluate.add_argument("--num", type=int, default=10_000, metavar="N", help="images (default: 10000)")
    evaluate.add_argument(
        "--features",
        default="auto",
        metavar="NAME",
        help="the network that scores look through: fashion-cnn, efficientnet-lite0, inception, or numbers where "
        "examples are no images (default: by what they are)",
    )
    evaluate.add_argument("--weights", metavar="FILE", help="its weights: needed for inception")
    evaluate.add_argument(
        "--resize",
        choices=("clean", "bilinear"),
        help="antialiased as in clean-fid, or as in pytorch-fid (default: bilinear for inception, else clean)",
    )
    evaluate.add_argument("--seeds", default="0", metavar="A:B", help="of the latents (default: 0)")
    evaluate.add_argument("--split", metavar="NAME", help="real images of another split, such as test")
    evaluate.add_argument("--raw", action="store_true", help="the weights themselves, not their average")
    evaluate.add_argument("--truncation", type=float, metavar="T", help="latents within T (default: all)")
    evaluate.add_argument("--best", action="store_true", help="the checkpoint that scored best in training")
    evaluate.add_argument(
        "--standing", type=int, metavar="N", help="batch statistics of N batches, not the running averages"
    )
    imports(evaluate)
    evaluate.add_argument("--quiet", action="store_true", help="no progress bars")
    evaluate.add_argument("--json", action="store_true", help="print the lines of evaluation.jsonl")

    compare = command("compare", "Show the scores of runs side by side.")
    compare.add_argument("runs", nargs="+", metavar="RUN")
    imports(compare)

    report = command("report", "Write runs as one HTML file, with pictures, curves and scores.")
    report.add_argument("runs", nargs="+", metavar="RUN")
    imports(report)
    report.add_argument(
        "--out", metavar="FILE", help="the file (default: RUN/report.html, or report.html of several)"
    )

    theory = command("theory", "Train a GAN on the line, and draw it beside what theory says.")
    theory.add_argument(
        "--out", default="theory", metavar="DIR", help="folder of the pictures (default: theory)"
    )
    theory.add_argument("--steps", type=int, default=8000, metavar="N", help="default: 8000")
    theory.add_argument("--seed", type=int, default=0, metavar="S", help="default: 0")
    theory.add_argument("--quiet", action="store_true", help="no progress bar")

    prepare = command("prepare", "Turn images, idx files or a data set's name into ArrayRecord.")
    prepare.add_argument(
        "source",
        metavar="SOURCE",
        help="a folder of images or of idx files, tfds:NAME, or one of earth, emoji and openmoji",
    )
    prepare.add_argument("--out", required=True, metavar="DIR", help="the folder to prepare in")
    prepare.add_argument("--name", metavar="NAME", help="name of the dataset (default: from SOURCE)")
    prepare.add_argument("--resolution", type=int, metavar="R", help="resize to R x R pixels, antialiased")
    prepare.add_argument("--channels", type=int, choices=(1, 3), help="grey or colour")
    prepare.add_argument(
        "--from",
        dest="package",
        metavar="PATH",
        help="of earth, emoji and openmoji: where their packages are, if not to be downloaded",
    )
    prepare.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="of earth, emoji and openmoji: which of their images to keep, such as image (default: all)",
    )
    prepare.add_argument(
        "--range",
        nargs=2,
        type=float,
        metavar=("BLACK", "WHITE"),
        help="the values of black and white in images of more than 8 bits (default: one range chosen for all)",
    )
    prepare.add_argument("--embed", action="store_true", help="store what MiniLM makes of captions, too")
    prepare.add_argument("--minilm", metavar="PATH", help="where its package is, if not to be downloaded")

    inspect = command("inspect", "Print what a run is and where it stands.")
    inspect.add_argument("run_dir", metavar="RUN")
    imports(inspect)
    inspect.add_argument("--json", action="store_true", help="as JSON")

    verify = command("verify", "Train steps of a run again, and say whether the bits are the same.")
    verify.add_argument("run_dir", metavar="RUN")
    verify.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="train N steps from the start (default: from the last checkpoint but one to the last)",
    )
    imports(verify)
    verify.add_argument("--quiet", action="store_true", help="no progress bar")
    verify.add_argument("--json", action="store_true", help="as JSON")
    return parser
