"""Writes the tables of benchmarks/README.md from the documents in benchmarks/results/, between the markers there.

A table stands between `<!-- NAME -->` and `<!-- end of NAME -->` and shows results/NAME.json; NAME may go on after the
benchmark's own name, as in `versus_torch-machine`.
"""

import argparse
import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
MARKED = re.compile(r"(<!-- (?P<name>[\w-]+) -->\n).*?(<!-- end of (?P=name) -->)", re.DOTALL)


def machine(document: dict[str, Any]) -> str:
    """Where and when a document was measured, in a line."""
    here = document["environment"]
    packages = ", ".join(
        f"{name} {version}" for name, version in here["packages"].items() if name != "jaxgan"
    )
    where = (
        f"{here['cores']} cores of {here['cpu']}"
        if here["devices"][0].startswith("cpu")
        else ", ".join(here["devices"])
    )
    set_here = ", ".join(f"{name}={value}" for name, value in here["variables"].items())
    parts = [
        f"Measured {here['date'][:10]} on {where}, {here['memory_bytes'] / 2**30:.0f} GiB",
        f"Python {here['python']}, {packages}",
        f"commit {(here['git_commit'] or 'unknown')[:10]}{'-dirty' * str(here['git_commit']).endswith('-dirty')}",
        f"load {here['load_before'][0]:.1f} before, {here['load_after'][0]:.1f} after",
        *([set_here] if set_here else []),
    ]
    return "; ".join(parts) + "."


def section(path: Path) -> str:
    """What stands between two markers."""
    if not path.exists():
        return "Not measured yet.\n"
    document = json.loads(path.read_text())
    render = importlib.import_module(document["benchmark"]).render
    return f"\n{render(document)}\n\n{machine(document)}\n\n"


def fill(text: str, results: Path) -> str:
    """The README with all its tables as the documents have them."""
    return MARKED.sub(lambda found: found[1] + section(results / f"{found['name']}.json") + found[3], text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the README differs")
    parser.add_argument("--readme", type=Path, default=HERE / "README.md", help="another README")
    parser.add_argument("--results", type=Path, default=HERE / "results", help="another folder of documents")
    options = parser.parse_args()
    before = options.readme.read_text()
    after = fill(before, options.results)
    if not options.check:
        options.readme.write_text(after)
    elif after != before:
        sys.exit("the README differs from the results: run benchmarks/tables.py")


if __name__ == "__main__":
    main()
