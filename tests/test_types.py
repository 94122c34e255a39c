"""What type checkers read off the package: the type of every public name, without a guess."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def symbols(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """All names of the package and those that their types mention, as `pyright --verifytypes` has them."""
    bin_ = Path(sys.executable).parent
    # Where the types are verified, other packages are those of the first python on the PATH.
    path = os.pathsep.join([str(bin_), os.environ.get("PATH", os.defpath)])
    done = subprocess.run(
        [
            *(str(bin_ / "pyright"), "--pythonpath", sys.executable),
            *("--verifytypes", "jaxgan", "--ignoreexternal", "--outputjson"),
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path_factory.mktemp("empty"),
        env={**os.environ, "PYTHONPATH": str(ROOT), "PATH": path},
    )
    found = json.loads(done.stdout)
    assert "typeCompleteness" in found, done.stdout + done.stderr
    assert Path(found["typeCompleteness"]["packageRootDirectory"]) == ROOT / "jaxgan"
    return found["typeCompleteness"]["symbols"]


@pytest.mark.slow
def test_every_public_name_has_a_type(symbols: list[dict[str, Any]]) -> None:
    assert {"jaxgan.game.State", "jaxgan.layers.conv.Conv"} <= {symbol["name"] for symbol in symbols}
    lacking = [
        f"{symbol['name']}: {'; '.join(each['message'] for each in symbol['diagnostics'])}"
        for symbol in symbols
        if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]
    ]
    assert not lacking, "\n".join(lacking)
