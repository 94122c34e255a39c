"""Runs as one HTML file that needs nothing else: curves, pictures, scores, and how to repeat them.

For example:

    >>> rows = [{"step": step, "generator/grad_norm": 1e-9} for step in range(600)]
    >>> warnings(rows)
    ["Step 499: for 500 steps the generator's gradient has vanished (its norm is 1.0e-09); ..."]
    >>> write([Path("runs/lost")], Path("report.html"), print)
    Traceback (most recent call last):
        ...
    jaxgan.errors.InputError: runs/lost is not a run: it has no config.toml; ...
"""

import json
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist
from tqdm import tqdm

from jaxgan import config, domains, experiment, families, pages, plots
from jaxgan.data import stream
from jaxgan.data.order import indices
from jaxgan.data.sources import Source, example_bytes
from jaxgan.data.sources.derived import FirstSide
from jaxgan.domains import Shown
from jaxgan.errors import InputError, replacing
from jaxgan.experiment import Own
from jaxgan.runs.directory import RunDirectory
from jaxgan.sampling import sample
from jaxgan.scoring import classification, compare, features, scores

FRAMES = 40
"""Most sample grids in the slider."""
NEIGHBOURS, SHOWN = 5, 8
"""Nearest training images of so many samples."""
SEARCHED = 10_000
"""Training images among which neighbours are looked for, at most."""
WALK, WALKS = 10, 5
"""Images in a walk between latents, and walks."""
LOOKED_AT, LOOKED_AT_BYTES = 2000, 2**24
"""Held-out examples of which a family makes its pictures, at most, and their bytes."""
LARGEST_OF_ALL = 2**26
"""Bytes of all sheets over time, at most."""
Say = Callable[[str], None]

STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
img { max-width: 100%; height: auto; background: #fff; }
img.drawn { min-width: min(100%, 45rem); } @media (max-width: 45rem) { img.drawn { max-width: none; width: 45rem; } }
img.pixels { image-rendering: pixelated; }
figure { margin: .5rem 0; } figcaption { font-size: .85rem; opacity: .8; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .7rem .2rem 0; text-align: right; white-space: nowrap; border-bottom: 1px solid #8884; }
th:first-child, td:first-child { text-align: left; }
pre { overflow-x: auto; background: #8882; padding: .7rem; font-size: .8rem; }
input[type=range] { width: min(100%, 35rem); display: block; }
.note { font-size: .85rem; opacity: .8; overflow-wrap: anywhere; }
.warning { border-left: 4px solid #c60; padding-left: .7rem; }
nav a { margin-right: 1rem; }
"""
SCRIPT = """
for (const slider of document.querySelectorAll("input[type=range]")) {
  const frames = JSON.parse(document.getElementById(slider.dataset.frames).textContent);
  const place = document.getElementById(slider.dataset.place);
  const label = document.getElementById(slider.dataset.label);
  const show = () => { const [step, shown] = frames[slider.value];
    place.innerHTML = shown; label.textContent = "step " + step; };
  slider.addEventListener("input", show);
}
"""


def write(paths: Sequence[Path], out: Path, say: Say, owns: Sequence[Own | None] | None = None) -> None:
    """Writes the report of runs.

    Args:
      paths: The runs' folders.
      out: The HTML file.
      say: Called with each line for the user.
      owns: For each run the game, where somebody wrote it in Python, else None.

    Raises:
      InputError: If a folder is not a run or has no checkpoint.
      RunError: If the file cannot be written.
    """
    each = zip(paths, owns or [None] * len(paths), strict=True)
    bodies = [_run(path, i, say, own) for i, (path, own) in enumerate(each)]
    title = paths[0].name if len(paths) == 1 else f"{len(paths)} runs"
    links, together = "", ""
    if len(paths) > 1:
        names = (f'<a href="#run{i}">{pages.text(path.name)}</a>' for i, path in enumerate(paths))
        links = f"<nav>{' '.join(names)}</nav>"
        try:
            table = compare.table(compare.compare(paths))
            together = f'<h2>Side by side</h2><pre class="scores">{pages.text(table)}</pre>'
        except InputError as error:
            together = f'<h2>Side by side</h2><p class="note">Not comparable: {pages.text(error)}</p>'
    page = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>jaxgan: {pages.text(title)}</title><style>{STYLE}</style></head><body>\n"
        f"{links}{together}{''.join(bodies)}<script>{SCRIPT}</script></body></html>\n"
    )
    with replacing(out) as partial:
        partial.write_text(page, encoding="utf-8")


def _run(path: Path, number: int, say: Say, own: Own | None) -> str:
    folder = RunDirectory(path)
    trained = sample.load(path, say, own=own)
    settings, manifest = trained.built.config, folder.read_manifest() or {}
    if trained.built.open(None).fingerprint != manifest.get("data_fingerprint"):
        raise InputError(f"the data is not the data that {path} was trained on; restore it")
    log, scored = folder.read_log(), folder.read_evaluation()
    rows = log.rows
    parts = [
        f'<h1 id="run{number}">{pages.text(settings.name)}, seed {settings.seed}</h1>',
        f"<p>{pages.text(path)}, step {trained.step:,} of {settings.steps:,}</p>",
    ]
    lost = log.lacks(trained.step)
    told = [
        *([f"The log is not whole: {lost}. What is shown is as it was written."] if lost else []),
        *warnings(rows),
    ]
    parts += [f'<p class="warning">{pages.text(line)}</p>' for line in told]
    parts.append(_scores(path, scored))
    if rows and (curves := _drawn(lambda file: plots.curves(rows, file, "", trained.built.shown))):
        dashed = "by step; the dashed line is a discriminator that cannot tell"
        parts += [
            "<h2>Curves</h2>",
            pages.figure(curves, dashed if plots.judged(rows) else "by step", "drawn"),
        ]
    over_time = {name: x for name, x in _by_step(scored).items() if len(x) > 1}
    if over_time:
        drawn = _drawn(lambda file: plots.scores(over_time, file))
        parts += [
            "<h2>Scores while training</h2>",
            pages.figure(drawn, "dashed: real images against each other"),
        ]
    parts += [_slider(folder, trained.built, number), _samples(trained)]
    again = shlex.join(_again(folder, settings, manifest))
    command = shlex.join(manifest.get("command", []))
    parts += [
        f"<h2>To repeat it</h2><pre>{pages.text(again)}</pre>",
        (
            '<p class="note">The same configuration, software and machine give the same bits. '
            f"It was last started as: {pages.text(command)}</p>"
        ),
        f"<h2>Configuration</h2><pre>{pages.text(settings.to_toml())}</pre>",
        f"<h2>Environment</h2><pre>{pages.text(json.dumps(manifest, indent=1))}</pre>",
    ]
    return "\n".join(part for part in parts if part)


def warnings(rows: Sequence[Mapping[str, float | None]]) -> list[str]:
    """What `jaxgan train` warned of, from its log: the first time of each."""
    from jaxgan.training.signs import Watch

    watch, found = Watch(), dict[str, str]()
    for start in range(0, len(rows), 100):
        part = rows[start : start + 100]
        window = {
            name: np.array([np.nan if row.get(name) is None else row[name] for row in part], float)
            for name in part[-1]
        }
        with np.errstate(all="ignore"):  # a log may hold any numbers
            lines = watch.see(window)
        for line in lines:
            found.setdefault(line.split(" steps ")[1][:40], f"Step {part[-1]['step']}: {line}")
    return list(found.values())


def _scores(path: Path, scored: Sequence[Mapping[str, Any]]) -> str:
    if not scored:
        return f'<h2>Scores</h2><p class="note">Not scored yet: jaxgan evaluate {pages.text(path)}</p>'
    newest: dict[str, list[Mapping[str, Any]]] = {}
    for line in scored:
        same = newest.setdefault(line["score"], [])
        if same and (same[0]["step"], same[0]["protocol"]) != (line["step"], line["protocol"]):
            same.clear()
        same[:] = [other for other in same if other["seed"] != line["seed"]] + [line]
    lines = [line for each in newest.values() for line in each]
    head, *rest = scores.rows(lines)
    steps = [str(each[0]["step"]) for each in newest.values()]
    cells = [
        "<tr>" + "".join(f"<td>{pages.text(cell)}</td>" for cell in (*row, step)) + "</tr>"
        for row, step in zip(rest, steps, strict=True)
    ]
    head = "".join(f"<th>{pages.text(x)}</th>" for x in (*head, "step"))
    protocol = scores.describe({line["score"]: line["protocol"] for line in lines})
    notes = "".join(
        f'<p class="note">{pages.text(line)}</p>' for line in (*scores.notes(lines), *protocol.splitlines())
    )
    return f'<h2>Scores</h2><div class="wide"><table><tr>{head}</tr>{"".join(cells)}</table></div>{notes}'


def _by_step(scored: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Scores of one name and protocol by step, those with the most steps of each name."""
    groups: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for line in scored:
        key = (line["title"], json.dumps(line["protocol"], sort_keys=True))
        groups.setdefault(key, {})[line["step"]] = line
    found: dict[str, list[Mapping[str, Any]]] = {}
    for (title, _), lines in groups.items():
        if len(lines) > len(found.get(title, [])):
            found[title] = [lines[step] for step in sorted(lines)]
    return found


def _drawn(draw: Callable[[Path], None]) -> bytes:
    """What a function draws into a file; nothing where it draws none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "picture.png"
        draw(file)
        return file.read_bytes() if file.exists() else b""


def _sheet(domain: domains.Domain, shown: Shown) -> str:
    """Samples as the domain shows them, in all of its ways."""
    with tempfile.TemporaryDirectory() as folder:
        return "".join(map(pages.embedded, _written(domain, shown, Path(folder), "sheet")))


def _written(domain: domains.Domain, shown: Shown, folder: Path, name: str) -> list[Path]:
    files = [folder / f"{name}{ending}" for ending in domain.sheets]
    for file in files:
        domain.write(shown, file)
    return files


def _sheets(folder: Path, ending: str) -> list[Path]:
    """The sheets of a run by their steps; none where their folder is a link, which may lead anywhere."""
    if folder.is_symlink() or not folder.is_dir():
        return []
    named = re.compile(rf"step_[0-9]{{8,10}}{re.escape(ending)}")
    return sorted(file for file in folder.iterdir() if named.fullmatch(file.name))


def _slider(folder: RunDirectory, built: families.Built, number: int) -> str:
    """Sheets of samples over time, one way of showing them below the other."""
    parts = []
    for ending in built.domain.sheets:
        files = _sheets(folder.samples, ending)
        if not files:
            continue
        fit = max(1, LARGEST_OF_ALL // max(1, max(file.lstat().st_size for file in files)))
        chosen = sorted({round(i) for i in np.linspace(len(files) - 1, 0, min(FRAMES, len(files), fit))})
        frames = [(int(files[i].stem.removeprefix("step_")), pages.embedded(files[i])) for i in chosen]
        step, last = frames[-1]
        name = f"{number}{ending.removeprefix('.')}"
        held = json.dumps(frames).replace("</", "<\\/")
        parts.append(
            f'<figure><div id="place{name}">{last}</div><figcaption id="label{name}">step {step}</figcaption></figure>'
            f'<input type="range" aria-label="step" min="0" max="{len(frames) - 1}" value="{len(frames) - 1}" '
            f'data-frames="frames{name}" data-place="place{name}" data-label="label{name}">'
            f'<script type="application/json" id="frames{name}">{held}</script>'
        )
    return "\n".join(["<h2>Samples over time</h2>", *parts]) if parts else ""


def _samples(trained: sample.Trained) -> str:
    built = trained.built
    classes, domain = built.classes, built.domain
    count = max(SHOWN, classes * 6 if classes else 36)
    made = sample.images(trained, count, 0)
    plain = "one column for each class" if classes else "one latent each"
    if built.given:
        plain = f"what it was made from ({', '.join(built.given)}), the sample, and the real one"
    shown = experiment.shown(built, made, experiment.examples(built, count))
    parts = ["<h2>Samples of the last checkpoint</h2>", pages.captioned(_sheet(domain, shown), plain)]
    if built.latents:
        walks = Shown(sample.images(trained, WALK * WALKS, 0, walk=WALK), columns=WALK)
        text = "each row walks from one latent to the next"
        parts += ["<h2>Walks between latents</h2>", pages.captioned(_sheet(domain, walks), text)]
    parts += [f"<h2>Nearest training {domain.plural}</h2>", _neighbours(trained, made[:SHOWN])]
    return "\n".join([*parts, *_pictures(trained)])


def _again(folder: RunDirectory, settings: config.RunSettings, manifest: Mapping[str, Any]) -> list[str]:
    """The command that trains the same again elsewhere, with the file of a game that somebody wrote."""
    if not isinstance(settings, config.OwnSettings):
        return ["jaxgan", "train", str(folder.config), "--run-dir", "NEW"]
    files = [each["file"] for each in manifest.get("origins", ()) if each["file"]]
    return ["jaxgan", "train", str(folder.path), "--run-dir", "NEW", "--import", *(files[:1] or ["FILE.py"])]


def _pictures(trained: sample.Trained) -> list[str]:
    """What the family shows of held-out examples, and how well a network that learns classes tells them."""
    built = trained.built
    if not built.pictures and built.classify is None:
        return []
    source, kind = _shown(trained)
    parts = [f"<h2>Of {kind} {built.domain.plural}</h2>"]
    if built.classify is not None:
        error, deviation = classification.error(trained, source)
        told = f"The classes of {len(source):,} {kind} {built.domain.plural} are told"
        text = f"{told} with an error of {error:.1%} +- {deviation:.1%}."
        parts.append(f"<p>{text}</p>")
    with tempfile.TemporaryDirectory() as folder:
        for caption, files in of_family(trained, Path(folder)):
            parts.append(pages.captioned("".join(map(pages.embedded, files)), caption))
    return parts


def _shown(trained: sample.Trained) -> tuple[Source, str]:
    """The held-out examples, or those of training where there are none."""
    held = experiment.held_out(trained.built)
    return (held, "held-out") if held else (trained.built.open(None), "training")


def of_family(trained: sample.Trained, folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """The pictures that the run's family makes of held-out examples (`Built.pictures`), as files.

    Args:
      trained: The run.
      folder: Where the files go: 1.png and so on, or of other endings, as the domain shows examples.

    Yields:
      A caption, and the files of that picture.

    Raises:
      InputError: If the data cannot be read.
    """
    built, state = trained.built, trained.state.averaged()
    if not built.pictures:
        return
    source, _ = _shown(trained)
    count = max(1, min(LOOKED_AT, len(source), LOOKED_AT_BYTES // example_bytes(source)))
    batch = {name: x[0] for name, x in next(stream.batches(source, 0, 0, 1, 1, count)).items()}
    for i, (caption, make) in enumerate(built.pictures.items(), 1):
        picture = make(state, built.domain.decode(batch))
        if isinstance(picture, families.Sheet):
            shown = Shown(built.domain.encode(np.asarray(picture.examples)), columns=picture.columns)
            yield caption, _written(built.domain, shown, folder, str(i))
        else:
            points, label, behind = map(np.asarray, picture)
            file = folder / f"{i}.png"
            plots.scatter(points, label, source.classes, file, behind)
            yield caption, [file]


def _neighbours(trained: sample.Trained, made: np.ndarray) -> str:
    """Rows of a sample, then the training examples nearest to it."""
    domain, source = trained.built.domain, FirstSide(trained.built.open(None))
    count = min(SEARCHED, len(source))
    size = min(100, count)
    field = source.fields["real"]
    try:
        network = features.load("auto", field.shape, domain=domain, dtype=field.dtype)
    except InputError:
        network = None  # its weights are not installed

    def look(examples: np.ndarray) -> np.ndarray:
        return network.extract([examples]).features if network else examples.reshape(len(examples), -1)

    ours, distances, steps = look(made), [], -(-count // size)
    batches = stream.batches(source, 0, 0, steps, 1, size)
    for batch in tqdm(batches, "Searching neighbours", steps, delay=1.0, leave=False, disable=None):
        distances.append(cdist(ours, look(batch["real"][0])))
    order = np.argsort(np.concatenate(distances, 1)[:, :count], 1)[:, :NEIGHBOURS]
    places = indices(0, len(source), 0, count)
    rows = [
        np.stack([example, *(source[int(places[i])]["real"] for i in nearest)])
        for example, nearest in zip(made, order, strict=True)
    ]
    by = f"features of {network.name}" if network else "all of their numbers"
    return pages.captioned(
        _sheet(domain, Shown(np.concatenate(rows), columns=len(rows[0]))),
        f"left a sample, then the nearest of {count:,} training {domain.plural} by {by}: equal ones would be copies",
    )
