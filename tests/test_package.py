"""What must hold of the package as a whole: its floors, its dependencies, its cheap command line."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from itertools import pairwise
from pathlib import Path

import pytest
from floors import FLOORS, MARKED, ROOMS, written
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jaxgan"

LOCKS = {"3.11": "py311.txt", "3.12": "py312.txt"}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """Yields (line, absolute dotted name) of everything imported anywhere in a file of the repository."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = path.relative_to(ROOT).parts[: -node.level]
                base = ".".join([*parents, base] if base else parents)
            for alias in node.names:
                yield node.lineno, f"{base}.{alias.name}"


def own_rooms(tree: ast.AST, path: Path) -> Iterator[tuple[int, str]]:
    """Yields (line, room) of every import from jaxgan itself; `jaxgan.__version__` is free to all."""
    for line, name in imports(tree, path):
        parts = name.split(".")
        if parts[0] == "jaxgan":
            room = parts[1] if len(parts) > 1 else "__init__"
            if room != "__version__":
                yield line, room


def floor_violations(source: str, path: Path) -> list[str]:
    here = room_of(path)
    found = []
    for line, room in own_rooms(ast.parse(source), path):
        within = room == here and path.parent != PACKAGE
        if not within and FLOORS.get(room, sys.maxsize) >= FLOORS[here]:
            found.append(f"{path.relative_to(ROOT)}:{line}: {here} (floor {FLOORS[here]}) imports {room}")
    return found


def device_names(source: str) -> list[tuple[int, str]]:
    """(line, identifier) of all that names pmap, a mesh, a sharding or the number of devices.

    What `parallel` itself offers may be named by `parallel.NAME`.
    """

    def forbidden(name: str) -> bool:
        low = name.lower()
        return (
            low in {"pmap", "shard_map"}
            or ("mesh" in low and low != "meshgrid")
            or "sharding" in low
            or low == "partitionspec"
            or low.endswith("device_count")
        )

    found = []
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Name):
            names = [node.id]
        elif isinstance(node, ast.Attribute):
            if not (isinstance(node.value, ast.Name) and node.value.id == "parallel"):
                names = [node.attr]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[-1] != "parallel":
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
            inner = node.args[0]
            counted = isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute)
            if counted and inner.func.attr in {"devices", "local_devices"}:
                found.append((node.lineno, f"len({inner.func.attr}())"))
        found += [(node.lineno, name) for name in names if forbidden(name)]
    return found


FILES = sorted(PACKAGE.rglob("*.py"))
EVERY_FILE = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))


def test_contributing_has_the_table_of_floors():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert MARKED.search(text)
    assert written(text) == text, "python tests/floors.py writes it"
    assert len(FLOORS) == sum(map(len, ROOMS.values()))  # no room is on two floors
    assert set(FLOORS) == {room_of(path) for path in FILES}


@EVERY_FILE
def test_imports_only_from_lower_floors(path: Path):
    assert room_of(path) in FLOORS, f"give {room_of(path)} a floor in tests/floors.py"
    assert floor_violations(path.read_text(), path) == []


def test_game_imports_nothing_of_ours_but_the_ground_floor():
    path = PACKAGE / "game.py"
    rooms = {room for _, room in own_rooms(ast.parse(path.read_text()), path)}
    assert rooms <= {"axis", "backends", "errors", "prng"}


@EVERY_FILE
def test_only_parallel_names_devices(path: Path):
    if path.name != "parallel.py":
        assert device_names(path.read_text()) == []


@EVERY_FILE
def test_only_checkpoint_imports_orbax(path: Path):
    if path.name != "checkpoint.py":
        assert [line for line, name in imports(ast.parse(path.read_text()), path) if "orbax" in name] == []


@pytest.mark.parametrize("folder", ["jaxgan", "tests", "benchmarks"])
def test_nothing_imports_tensorflow(folder: str):
    found = [
        f"{path.relative_to(ROOT)}:{line}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for line, name in imports(ast.parse(path.read_text()), path)
        if name.split(".")[0] == "tensorflow"
    ]
    assert found == []


@pytest.mark.parametrize(
    ("path", "source", "good"),
    [
        ("game.py", "from jaxgan import axis", True),
        ("game.py", "from jaxgan import data", False),
        ("game.py", "from jaxgan import networks", False),
        ("game.py", "def f():\n    import jaxgan.training.train", False),
        ("game.py", "import jaxgan", False),
        ("layers/norm.py", "from jaxgan.layers import conv", True),
        ("layers/norm.py", "from . import conv", True),
        ("layers/norm.py", "from ..networks import dcgan", False),
        ("layers/norm.py", "from ..axis import AXIS", True),
        ("theory.py", "from jaxgan import sampling", False),
        ("theory.py", "from jaxgan import __version__, config, utils", False),
        ("theory.py", "from jaxgan import __version__, config", True),
    ],
)
def test_the_floor_check_itself(path: str, source: str, good: bool):
    assert (floor_violations(source, PACKAGE / path) == []) is good


@pytest.mark.parametrize(
    ("source", "good"),
    [
        ("jax.pmap(f)", False),
        ("from jax.sharding import NamedSharding", False),
        ("n = jax.local_device_count()", False),
        ("n = len(jax.devices())", False),
        ("x.sharding", False),
        ("jnp.meshgrid(a, b)", True),
        ("parallel.device_count()", True),
        ("from jaxgan.parallel import replicated_sharding", True),
        ("'pmap'  # mesh", True),
    ],
)
def test_the_device_check_itself(source: str, good: bool):
    assert (device_names(source) == []) is good


@EVERY_FILE
def test_documentation_begins_with_its_subject(path: Path):
    """The strings of modules, classes, functions and fields; a first line that begins with "Of" lacks its subject."""
    strings = [
        (node.lineno, node.value.value)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    ]
    assert [(line, text) for line, text in strings if text.startswith("Of ")] == []


def test_help_does_not_import_jax():
    code = """
import sys
from jaxgan.cli import main
sys.argv = ["jaxgan", "--help"]
try:
    status = main()
except SystemExit as end:
    status = end.code
heavy = {"jax", "jaxlib", "flax", "optax", "orbax", "tensorflow_datasets", "matplotlib"} & set(sys.modules)
print(sorted(heavy), file=sys.stderr)
sys.exit(bool(status) or bool(heavy))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    assert "train" in run.stdout


def test_the_installed_metadata_is_the_projects():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert metadata.version("jaxgan") == project["version"]
    scripts = metadata.entry_points(group="console_scripts", name="jaxgan")
    assert [script.value for script in scripts] == [project["scripts"]["jaxgan"]]
    assert (PACKAGE / "py.typed").is_file()


@pytest.mark.parametrize(("python", "lock"), LOCKS.items())
def test_lock_files_pin_every_dependency_within_its_bounds(python: str, lock: str):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    text = (ROOT / "requirements" / lock).read_text()
    pins = [Requirement(line.rstrip(" \\")) for line in text.splitlines() if "==" in line]
    versions = {pin.name.lower().replace("_", "-"): str(pin.specifier).removeprefix("==") for pin in pins}
    for line in project["dependencies"] + project["optional-dependencies"]["test"]:
        wanted = Requirement(line)
        if wanted.marker is None or wanted.marker.evaluate({"python_version": python}):
            name = wanted.name.lower().replace("_", "-")
            assert name in versions, f"{lock} misses {name}: run make lock"
            assert wanted.specifier.contains(versions[name]), (
                f"{lock}: {name} {versions[name]}: run make lock"
            )


@pytest.mark.parametrize("path", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.name)
def test_lock_files_hold_hashes_and_name_no_index(path: Path):
    lines = [line.strip() for line in path.read_text().splitlines()]
    assert not [line for line in lines if "://" in line or line.startswith(("-i", "-f", "--index", "--find"))]
    for line, following in pairwise(lines):
        if "==" in line:
            assert following.startswith("--hash=sha256:")
