"""The faults that `benchmarks/faults.py` plants are of the code as it stands."""

import ast
from pathlib import Path
from typing import Any

import faults
import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", faults.FAULTS)
def test_a_fault_is_planted_once_and_taken_out_again(name: str, tmp_path: Path) -> None:
    fault = faults.FAULTS[name]
    text = (ROOT / fault.file).read_text()
    copy = tmp_path / fault.file
    copy.parent.mkdir(parents=True)
    copy.write_text(text)
    with faults.planted(fault, tmp_path):
        planted = copy.read_text()
        assert ast.dump(ast.parse(planted)) != ast.dump(ast.parse(text))
    assert copy.read_text() == text


def test_a_fault_of_code_that_has_moved_on_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\nx = 1\n")
    for right in ("x = 1", "y = 1"):
        with (
            pytest.raises(SystemExit, match="it must be there once"),
            faults.planted(faults.Fault("", "a.py", right, "x = 2"), tmp_path),
        ):
            pass


def test_the_table_says_what_was_found_what_was_not_and_what_was_not_run() -> None:
    def result(**parts: Any) -> dict[str, Any]:
        return {"fault": "f", "what": "w", "parts": parts}

    found, missed = {"failed": ["tests/test_a.py::test_b", "c"]}, {"failed": []}
    document = {"results": [result(fast=found, slow=missed), result(fast=missed)]}
    lines = faults.render(document).splitlines()
    assert [cell.strip() for cell in lines[2].split("|")[2:4]] == ["`tests/test_a.py::test_b`", "no"]
    assert [cell.strip() for cell in lines[3].split("|")[2:4]] == ["no", "not run"]
    alone = faults.render({"results": [result(fast=missed)]}).splitlines()
    assert [cell.strip() for cell in alone[2].split("|")[2:-1]] == ["no"]
