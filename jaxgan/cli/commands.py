"""The command line, and nothing else. JAX is imported only once a command has a config or a run to read."""

import argparse
import json
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from jaxgan import peers
from jaxgan.cli.options import parse
from jaxgan.errors import InputError, Renamed, RunError, full, placing
from jaxgan.saying import clean, say

MOST_SEEDS = 1024
"""Most runs of one command."""
MOST_TILE = 4096
"""Largest side of a tile."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command: 0 when it did what was asked, 2 for a user's mistake, 1 for a failure, 128 + n for signal n."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in arguments
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("once", Renamed)
            warnings.showwarning = _show(warnings.showwarning)
            options = parse(arguments)
            code = COMMANDS[options.command](options)
            sys.stdout.flush()  # what cannot be written is told of while it can be
            return code
    except InputError as error:
        return _fail(debug, error, 2)
    except RunError as error:
        return _fail(debug, error, 1)
    except KeyboardInterrupt:
        print("jaxgan: interrupted", file=sys.stderr)
        peers.leave(130)
        return 130
    except BrokenPipeError:  # whoever read the output has enough of it
        with suppress(OSError, ValueError):
            os.dup2(
                os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
            )  # Python writes once more at its end
        return 128 + 13
    except Exception as error:
        if not (reason := full(error)):
            raise
        where = getattr(error, "filename", None) or "the output, or temporary files"
        return _fail(debug, RunError(f"cannot write {where}: {reason}; free space and run again"), 1)


def _fail(debug: bool, error: Exception, code: int) -> int:
    if debug:
        raise error
    print(f"jaxgan: error: {clean(' '.join(str(error).split()))}", file=sys.stderr)
    peers.leave(code)  # there may be other processes of the run
    return code


def _show(others: Callable[..., Any]) -> Callable[..., Any]:
    """Shows what is called by another name now in one line, and other warnings as `others` does."""

    def show(message: Warning | str, category: type[Warning], *where: Any) -> None:
        if issubclass(category, Renamed):
            say(str(message))
        else:
            others(message, category, *where)

    return show


def _start(deterministic: bool = True) -> None:
    """JAX starts, once XLA is told how to compile, and where programs are kept."""
    from jaxgan import backends, cache

    backends.ask_for_determinism(deterministic)
    cache.keep(say)
    backends.start()


def _bring(options: argparse.Namespace) -> list[Any]:
    """Imports what --import names; JAX and Flax come with it."""
    from jaxgan import imports

    return [imports.bring(name) for name in options.imports]


def _run(options: argparse.Namespace, path: Path, modules: Sequence[Any], settings: Any = None) -> Any:
    """The run in a folder, with the game that a file of --import has where it is somebody's own.

    Its game and its data are made of `settings`, by default the run's.
    """
    from jaxgan import config, public

    run = public.Run(path)
    settings = settings or run.settings
    if not isinstance(settings, config.OwnSettings):
        return run
    games = [module for module in modules if callable(getattr(module, "game", None))]
    if modules and not games:
        raise InputError(
            f"{path} needs a game, and {', '.join(options.imports)} has none: write a function game(settings) there "
            "that gives it"
        )
    if len(games) > 1:
        named = " and ".join(str(module.__file__) for module in games)
        raise InputError(f"{named} have each a function game(settings); import the one of {path} alone")
    if not games:
        raise InputError(
            f"{path} is a run of somebody's own game, which no folder can hold: pass --import FILE.py, the file that "
            "has it"
        )
    (module,) = games
    source = getattr(module, "source", None)
    source = source if callable(source) and settings.data is None else None
    given = module.game, source, settings.game.settings, Path(module.__file__)
    own, _ = public.own_of(*given, known=run.manifest)
    return public.Run(path, own)


def _train(options: argparse.Namespace) -> int:
    overrides = options.overrides | {
        key: str(getattr(options, key)) for key in ("seed", "steps") if getattr(options, key) is not None
    }
    seeds = _seeds(options.seeds) if options.seeds is not None else None
    if seeds and options.seed is not None:
        raise InputError("--seed and --seeds exclude each other; give one of them")
    distributed = (options.coordinator, options.processes, options.process)
    several = any(x is not None for x in distributed)
    if several:
        if seeds:
            raise InputError(
                "--seeds trains in one process; leave out --coordinator, --processes and --process"
            )
        if any(x is None for x in distributed):
            raise InputError("--coordinator, --processes and --process belong together; give all three")
        if not 0 <= options.process < options.processes:
            raise InputError(f"--process is {options.process} of {options.processes}; it counts from 0")
        if not re.fullmatch(r".+:\d{1,5}", options.coordinator):
            raise InputError(f"--coordinator is {options.coordinator}; it must be HOST:PORT")
    from jaxgan import config, public

    path = Path(options.config) if options.config else config.shipped("default")
    if options.imports:  # a file may start JAX as it is imported
        _connect(distributed if several else None)
        public.begin(config.deterministic(path, overrides), seeds)
    modules = _bring(options)
    run_dir, own = options.run_dir, None
    if path.is_dir():  # RUN: go on with it, or with other seeds or another folder begin anew
        run_dir = run_dir or (None if seeds else str(path))
        settings = config.load_any(path / "config.toml", overrides)
        own = _run(options, path, modules, settings).own
    else:
        settings = config.load(path, overrides)
    if not options.imports:
        _connect(distributed if several else None)
    try:
        public.play(settings, own, run_dir, seeds, changed=options.changed, progress=not options.quiet)
    except (public.Stopped, public.Terminated) as stopped:
        return stopped.number + 128
    return 0


def _connect(distributed: tuple[Any, ...] | None) -> None:
    """Meets the other processes, where there are some; before JAX starts."""
    if distributed:
        from jaxgan import parallel

        parallel.connect(*distributed)


def _seeds(text: str) -> list[int]:
    """The seeds of "0:8" (0 to 7), "0,3,5" or both, in the order given."""
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})\s*(?::\s*(\d{1,10})\s*)?", part, re.ASCII)
        if not match:
            raise InputError(f"--seeds is {text}; give a range such as 0:8 (0 to 7) or a list such as 0,3,5")
        first = int(match[1])
        last = int(match[2]) if match[2] else first + 1
        if last <= first:
            raise InputError(
                f"--seeds is {text}; {part.strip()} is empty, as a range ends before its second number"
            )
        if last > 2**32:
            raise InputError(f"--seeds is {text}; seeds must be less than {2**32}")
        if len(found) + last - first > MOST_SEEDS:
            raise InputError(f"--seeds is {text}; give at most {MOST_SEEDS} seeds at once")
        found += range(first, last)
    twice = next((seed for seed in found if found.count(seed) > 1), None)
    if twice is not None:
        raise InputError(f"--seeds is {text}; it names {twice} twice")
    return found


def _sample(options: argparse.Namespace) -> int:
    out = Path(options.out)
    for name, least, most in (("num", 1, 2**31), ("seed", 0, 2**32), ("columns", 2, 2**16)):
        given = getattr(options, name)
        if given is not None and not least <= given < most:
            raise InputError(f"--{name} is {given}; it must be at least {least} and less than {most}")
    _check_truncation(options.truncation)
    _check_standing(options.standing)
    modules = _bring(options)
    _start()
    run = _run(options, Path(options.run_dir), modules)
    walk: int = (options.columns or 8) if options.interpolate else 1
    made = run.sample(
        options.num,
        seed=options.seed,
        walk=walk,
        truncation=options.truncation,
        standing=options.standing or 0,
        text=options.text,
        minilm=options.minilm,
        best=options.best,
        out=out,
        columns=walk if options.interpolate else options.columns,
    )
    say(f"wrote {len(made)} {run.sampled.built.domain.plural} of step {run.sampled.step} to {out}")
    return 0


def _check_truncation(bound: float | None) -> None:
    if bound is not None and not bound > 0:
        raise InputError(f"--truncation is {bound}; it must be above 0")


def _check_standing(batches: int | None) -> None:
    if batches is not None and not 1 <= batches < 2**16:
        raise InputError(f"--standing is {batches}; it must be at least 1 and less than {2**16}")


def _translate(options: argparse.Namespace) -> int:
    if not 0 <= options.seed < 2**32:
        raise InputError(f"--seed is {options.seed}; it must be at least 0 and less than {2**32}")
    return _files(options, "translate", back=options.back, seed=options.seed)


def _upscale(options: argparse.Namespace) -> int:
    if not 0 < options.tile <= MOST_TILE:
        raise InputError(f"--tile is {options.tile}; it must be from 1 to {MOST_TILE}")
    return _files(options, "upscale", tile=options.tile)


def _files(options: argparse.Namespace, what: str, **how: Any) -> int:
    """Makes images of image files; 1 where some could not be read."""
    from jaxgan.sampling import sample, translate

    out = Path(options.out)
    modules = _bring(options)
    _start()
    run = _run(options, Path(options.run_dir), modules)
    trained = sample.load(run.path, say, best=options.best, own=run.own)
    todo = translate.jobs([Path(given) for given in options.inputs], out, trained.built.domain, say)
    unreadable = getattr(translate, what)(trained, todo, say=say, progress=not options.quiet, **how)
    left_out = f"; {unreadable} files were unreadable" if unreadable else ""
    say(f"wrote {len(todo) - unreadable} files of step {trained.step} to {out}{left_out}")
    return 1 if unreadable else 0


def _evaluate(options: argparse.Namespace) -> int:
    if (options.run_dir is None) == (options.images is None):
        raise InputError("jaxgan evaluate scores a RUN or --images DIR; give one of them")
    if options.images is not None and options.reference is None:
        raise InputError(
            "--images DIR needs --reference: a folder of real images, prepared data, or embedded"
        )
    if options.images is None and options.reference is not None:
        raise InputError(
            "--reference goes with --images; the reference of a run is its own data (see --split)"
        )
    least = 2
    if not least <= options.num < 2**31:
        raise InputError(f"--num is {options.num}; it must be at least {least} and less than {2**31}")
    _check_truncation(options.truncation)
    _check_standing(options.standing)
    seeds = _seeds(options.seeds)
    modules = _bring(options)
    from jaxgan.data import sources
    from jaxgan.scoring import evaluate, scores

    _start()
    if options.images is not None and options.reference is not None:
        images, reference = evaluate.open_both(options.images, options.reference)
        for line in dict.fromkeys((*sources.remarks_of(images), *sources.remarks_of(reference))):
            say(line)
        found = evaluate.of_images(
            images,
            reference,
            names=options.scores,
            num=options.num,
            network=options.features,
            weights=Path(options.weights) if options.weights else None,
            resize=options.resize,
            say=say,
            progress=not options.quiet,
        )
        lines = [evaluate.line(score, 0, 0, "") for score in found]
    else:
        run = _run(options, Path(options.run_dir), modules)
        lines = run.evaluate(
            options.scores,
            num=options.num,
            features=options.features,
            weights=options.weights,
            resize=options.resize,
            seeds=seeds,
            split=options.split,
            averaged=not options.raw,
            truncation=options.truncation,
            best=options.best,
            standing=options.standing or 0,
            progress=not options.quiet,
        )
    if options.json:
        print(json.dumps(lines, indent=1))
    else:
        protocols = {line["score"]: line["protocol"] for line in lines}
        notes = "".join(f"{note}\n" for note in scores.notes(lines))
        print(
            "\n".join(
                (
                    scores.columns(scores.rows(lines)),
                    "",
                    *([notes] if notes else []),
                    scores.describe(protocols),
                )
            )
        )
    return 0


def _compare(options: argparse.Namespace) -> int:
    _bring(options)
    from jaxgan.scoring import compare

    print(compare.table(compare.compare([Path(path) for path in options.runs])))
    return 0


def _report(options: argparse.Namespace) -> int:
    from jaxgan import report

    paths = [Path(path) for path in options.runs]
    out = (
        Path(options.out)
        if options.out
        else paths[0] / "report.html"
        if len(paths) == 1
        else Path("report.html")
    )
    if out.suffix not in (".html", ".htm") or out.is_dir():
        raise InputError(f"--out {out} must be a file that ends in .html")
    modules = _bring(options)
    _start()
    report.write(paths, out, say, [_run(options, path, modules).own for path in paths])
    say(f"wrote {out} ({out.stat().st_size / 2**20:.1f} MB)")
    return 0


def _theory(options: argparse.Namespace) -> int:
    for name, least, most in (("steps", 1, 10**9), ("seed", 0, 2**32)):
        given = getattr(options, name)
        if not least <= given < most:
            raise InputError(f"--{name} is {given}; it must be at least {least} and less than {most}")
    from jaxgan import theory

    out = Path(options.out)
    with placing(out):
        out.mkdir(parents=True, exist_ok=True)  # before it takes time
    _start()
    seen = theory.watched(options.steps, options.seed, progress=not options.quiet)
    theory.sheet(seen, out / "theory.png")
    theory.animation(seen, out / "theory.gif")
    last = seen[-1]
    say(f"value of the game {last.value:.4f} (-log 4 is {theory.END:.4f})")
    say(f"D is at most {last.error:.4f} from the best D where {theory.MASS:.0%} of the data lives")
    say(f"p_g is {last.distance:.4f} from p_data (total variation); see {out}")
    return 0


def _prepare(options: argparse.Namespace) -> int:
    from jaxgan.data import prepare, text

    report = prepare(
        options.source,
        options.out,
        name=options.name,
        resolution=options.resolution,
        channels=options.channels,
        package=options.package,
        only=options.only,
        embed=options.embed,
        minilm=options.minilm,
        span=tuple(options.range) if options.range else None,
    )
    for line in report.remarks:
        say(line)
    counts = ", ".join(f"{count} {split}" for split, count in report.counts.items())
    say(f"prepared {counts} in {report.directory}; {len(report.unreadable)} files were unreadable")
    size = f"--data.resolution {report.resolution or 'R'} --data.channels {report.channels or 'C'}"
    if report.longest > text.LENGTH:
        size += f" --data.text_length {report.longest}"  # else captions are cut
    say(f'train on it with: --data.source tfds --data.directory "{report.directory}" {size}')
    return 0


def _inspect(options: argparse.Namespace) -> int:
    _bring(options)
    from jaxgan.runs import inspection

    found = inspection.inspect(Path(options.run_dir), say)
    print(json.dumps(found, indent=1) if options.json else inspection.table(found))
    return 0


def _verify(options: argparse.Namespace) -> int:
    from jaxgan.runs.directory import RunDirectory

    path = Path(options.run_dir)
    modules = _bring(options)
    settings = RunDirectory(path).read_config()
    _start(settings.run.deterministic if settings else True)
    from jaxgan.training import verify

    verdict = _run(options, path, modules).verify(options.steps, progress=not options.quiet)
    if options.json:
        print(json.dumps({"equal": verdict.equal, **verdict._asdict()}, indent=1))
    else:
        print(verify.describe(path, verdict))
    return 0 if verdict.equal else 1


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": _train,
    "sample": _sample,
    "translate": _translate,
    "upscale": _upscale,
    "evaluate": _evaluate,
    "compare": _compare,
    "report": _report,
    "theory": _theory,
    "prepare": _prepare,
    "inspect": _inspect,
    "verify": _verify,
}


if __name__ == "__main__":
    sys.exit(main())
