"""The rooms of the package and their floors; `python tests/floors.py` writes CONTRIBUTING.md's table of them."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
MARKED = re.compile(r"(<!-- floors -->\n).*?(<!-- end of floors -->)", re.DOTALL)

ROOMS: dict[int, dict[str, str]] = {
    0: {"backends": "what is computed in another way on one backend than on others; determinism on GPUs"},
    1: {
        "axis": "the device axis",
        "prng": "random draws",
        "errors": "the errors that end in one line for the user",
        "settings": "what all settings are made of, and names that choose between them",
    },
    2: {
        "losses": "logits in, scalar out",
        "penalties": "slopes of a critic in, scalar out",
        "augment": "images in, the same images changed a little out",
        "optimizers": "optimizers, from their settings",
        "weights": "published weights from a file to arrays, running nothing that the file asks for",
        "privacy": "what private training costs, and the noise that a budget asks for",
        "layers": "the pieces that networks are made of",
        "signs": "metrics of a step in, warnings out",
    },
    3: {
        "networks": "Linen modules whose fields are their settings; feature networks",
        "game": "players, turns, the step; imports nothing of ours but the ground floors",
        "parallel": "devices: the only file that names pmap, meshes, shardings or the number of devices",
        "cache": "compiled programs and downloaded weights kept on disk",
    },
    4: {
        "data": "sources, preparation, the order of examples, the feed",
        "metrics": "scores: pure functions of features, in float64",
        "features": "the networks that scores look through, behind one interface",
        "checkpoint": "saving and restoring: the only file that imports Orbax",
    },
    5: {"games": "one file a family: its settings, and the `Game` that it wires from networks"},
    6: {"config": "typed, validated experiment files: plain data that starts no backend"},
    7: {
        "rundir": "the folder of one run: its lock, manifest and log",
        "experiment": "a config made into a game and its data",
        "scores": "the scores that there are, from features; what real images give in their place",
        "pictures": "sample grids and curves",
    },
    8: {
        "window": "what is compiled of a run",
        "recorder": "what a run writes",
        "inspection": "what a run is",
        "judge": "images scored against one reference, through one network",
        "theory": "a GAN on the line beside what theory says",
    },
    9: {"sample": "what a trained run makes"},
    10: {
        "classification": "how often a run's classifier is wrong",
        "evaluate": "runs and images scored, by which protocol",
        "translate": "what trained runs make of image files",
    },
    11: {"train": "the loop", "compare": "runs side by side"},
    12: {
        "report": "runs as a page to look at",
        "verify": "runs trained again and compared bit by bit",
        "options": "what the command line understands",
    },
    13: {"cli": "the command line, which imports JAX only once a command needs it"},
    14: {"__init__": "the package itself", "__main__": "`python -m jaxgan`"},
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
