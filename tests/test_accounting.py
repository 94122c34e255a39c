"""The cost of a run of the tests, from reports made by hand."""

from pathlib import Path

import pytest
from accounting import Accounting, check, write


def report(name: str, when: str, seconds: float, **more: object) -> pytest.TestReport:
    return pytest.TestReport(name, (name, 0, name), {}, "passed", None, when, duration=seconds, **more)


def test_cases_of_a_function_are_added_up_and_the_dearest_come_first() -> None:
    cost = Accounting()
    for case, seconds in (("a", 1.0), ("b", 2.0)):
        name, told = f"tests/test_x.py::test_one[{case}]", {"protects": "one. Why.", "processor": 0.5}
        cost.pytest_runtest_logreport(report(name, "setup", 0.25, **told))
        cost.pytest_runtest_logreport(report(name, "call", seconds, **told))
    cost.pytest_runtest_logreport(report("tests/test_y.py::test_two", "call", 9.0))  # of a worker that died
    lines = cost.dearest(1).splitlines() + cost.dearest(5).splitlines()
    assert [line.split("|")[1:-1] for line in lines[2:3]] == [
        [" `test_y.py`: tests/test_y.py::test_two ", "     1 ", "     9.0 "]
    ]
    assert [cell.strip() for cell in lines[-1].split("|")[1:-1]] == ["`test_x.py`: one. Why.", "2", "3.5"]
    assert (cost.processor, sum(cost.seconds.values())) == (2.0, 12.5)


def test_a_table_is_written_between_its_markers_or_refused_before_the_tests_run(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- dearest -->\nold\n<!-- end of dearest -->\nafter\n")
    check(20, page)
    write(page, "new")
    assert page.read_text() == "before\n<!-- dearest -->\n\nnew\n\n<!-- end of dearest -->\nafter\n"
    with pytest.raises(pytest.UsageError, match="needs --dearest=N"):
        check(None, page)
    page.write_text("nothing")
    for path in (page, tmp_path / "none.md"):
        with pytest.raises(pytest.UsageError, match="needs a line <!-- dearest -->"):
            check(20, path)
