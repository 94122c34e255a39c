"""The rooms of the package and their floors; `python tests/floors.py` writes CONTRIBUTING.md's table of them."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"(<!-- floors -->\n).*?(<!-- end of floors -->)", re.DOTALL)

ROOMS: dict[int, dict[str, str]] = {
    0: {
        "errors": "the errors that end in one line for the user",
        "saying": "what is said to the user: cleaned, cut, printed",
    },
    1: {
        "backends": "what is computed in another way on one backend than on others; determinism on GPUs",
        "shipped": "files that come with the package or are published, by their digests",
        "memory": "what a device or this process can hold, and a refusal of what cannot fit",
        "reading": "small files that anybody may have damaged, read as text, JSON and TOML",
        "imports": "what may come from outside: what --import names and what distributions offer, nothing else",
    },
    2: {
        "axis": "the device axis",
        "prng": "random draws",
        "peers": "processes of one run: how they meet, agree, and notice that one is gone",
        "settings": "what all settings are made of, and names that choose between them",
        "cache": "compiled programs, downloaded weights and what images are, kept on disk",
    },
    3: {
        "optimizers": "optimizers, from their settings",
        "layers": "the pieces that networks are made of; convolutions that are fast on CPUs",
        "parallel": "devices: the only file that names pmap, meshes, shardings or the number of devices",
        "pages": "files and texts in a page of HTML",
        "plots": "curves, scores and points as PNG",
    },
    4: {
        "game": "players, turns, the step; imports nothing of ours but the ground floors",
        "networks": "one file a network: Linen modules whose fields are their settings; published weights",
    },
    5: {
        "objectives": "losses, penalties, augmentation, latents, pools, privacy; the rules of adversaries",
        "data": "one file a source, with its settings; preparation, the order of examples, the feed",
    },
    6: {
        "domains": "one file a domain: how an example is decoded, shown, read, written, and which scores it has"
    },
    7: {"families": "one file a family: its settings, and the `Game` that it wires from networks"},
    8: {"config": "settings of runs from TOML: typed, validated, plain data that starts no backend"},
    9: {
        "experiment": "settings made into a game and its data; a game that somebody wrote, and where it comes from",
        "runs": "run directories: files, checkpoints (the only file that imports Orbax), what a run is",
        "theory": "a GAN on the line beside what theory says",
    },
    10: {"sampling": "what trained runs make, of latents, of examples and of files"},
    11: {"scoring": "feature networks, scores of runs and of anybody's images, runs side by side"},
    12: {"training": "the loop, what is compiled of it, what it writes, signs of collapse, its repetition"},
    13: {"report": "runs as a page to look at"},
    14: {"public": "`train`, `load` and `Run`: all of it from Python, for games of one's own too"},
    15: {"cli": "the command line, a caller of `public`, which imports JAX only once a command needs it"},
    16: {"__init__": "the public face, imported lazily", "__main__": "`python -m jaxgan`"},
}
"""What each room is for, by its floor."""

FLOORS = {room: floor for floor, rooms in ROOMS.items() for room in rooms}
"""A room imports only from rooms of lower floors, and a folder also within itself."""


def table() -> str:
    """The rooms as CONTRIBUTING.md shows them."""
    lines = ["| floor | room | what it is for |", "|---|---|---|"]
    for floor, rooms in ROOMS.items():
        for room, what in rooms.items():
            name = f"{room}/" if (ROOT / "jaxgan" / room).is_dir() else f"{room}.py"
            lines.append(f"| {floor} | `{name}` | {what} |")
    return "\n".join(lines)


def written(text: str) -> str:
    """The text with the table between its markers."""
    return MARKED.sub(lambda found: f"{found[1]}\n{table()}\n\n{found[2]}", text)


if __name__ == "__main__":
    path = ROOT / "CONTRIBUTING.md"
    before = path.read_text()
    path.write_text(written(before))
    sys.exit(not MARKED.search(before))
