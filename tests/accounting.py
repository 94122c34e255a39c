"""What a run of the tests costs, and which cost most: `--dearest 20` prints a table, `--dearest-in` writes it."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from text_table import table

MARKED = re.compile(r"(<!-- dearest -->\n).*?(<!-- end of dearest -->)", re.DOTALL)


def processor_seconds() -> float:
    """The processor time of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def protects(item: pytest.Item) -> str:
    """A test's name in words, and the first line of its documentation."""
    text = getattr(getattr(item, "function", None), "__doc__", None) or ""
    name = item.nodeid.rpartition("::")[2].partition("[")[0].removeprefix("test_").replace("_", " ")
    return ". ".join([name, *text.strip().splitlines()[:1]])


class Accounting:
    """Seconds of set-up, call and tear-down, as pytest took them, and the processor's, by test function."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.processor = 0.0
        self.cases: defaultdict[str, int] = defaultdict(int)
        self.protects: dict[str, str] = {}
        self._last = processor_seconds()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Runs where the test does: in a worker, whose reports are sent on with what is added here."""
        report = yield
        now = processor_seconds()
        report.processor, self._last = now - self._last, now
        report.protects = protects(item)
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.partition("[")[0]
        self.seconds[name] += report.duration
        self.cases[name] += report.when == "call"
        # Of a worker that died xdist makes the report itself.
        self.protects[name] = getattr(report, "protects", name)
        self.processor += getattr(report, "processor", 0.0)

    def pytest_terminal_summary(
        self, terminalreporter: pytest.TerminalReporter, config: pytest.Config
    ) -> None:
        if count := config.getoption("--dearest"):
            text = self.dearest(count)
            terminalreporter.section(f"the {count} dearest tests")
            terminalreporter.write_line(text)
            if path := config.getoption("--dearest-in"):
                write(path, text)
        minutes = sum(self.seconds.values()) / 60
        terminalreporter.write_line(
            f"cost: {minutes:.1f} minutes of all workers together, {self.processor / 60:.1f} of processor time"
        )

    def dearest(self, count: int) -> str:
        """A Markdown table of the test functions that take longest, all their cases together."""
        names = sorted(self.seconds, key=lambda name: -self.seconds[name])[:count]
        rows = [
            [
                f"`{name.partition('::')[0].removeprefix('tests/')}`: {self.protects[name]}",
                self.cases[name],
                f"{self.seconds[name]:.1f}",
            ]
            for name in names
        ]
        return table(["test, and what it protects", "cases", "seconds"], rows)


def check(count: int | None, path: Path | None) -> None:
    """Looks before the tests run whether their table can be written.

    Raises:
        pytest.UsageError: Nobody asked for a table, or the file has no place for it.
    """
    if path is None:
        return
    if not count:
        raise pytest.UsageError("--dearest-in needs --dearest=N: how many tests the table has")
    if not path.is_file() or not MARKED.search(path.read_text()):
        raise pytest.UsageError(
            f"--dearest-in: {path} needs a line <!-- dearest --> and a line <!-- end of dearest --> after it"
        )


def write(path: Path, text: str) -> None:
    """Puts the table between its markers."""
    path.write_text(MARKED.sub(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", path.read_text()))
