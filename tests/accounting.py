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
    """Of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def protects(item: pytest.Item) -> str:
    """A test's first line of documentation, or its name in words."""
    text = getattr(getattr(item, "function", None), "__doc__", None) or ""
    told = text.strip().partition("\n")[0].rstrip(".")
    return told or item.nodeid.rpartition("::")[2].partition("[")[0].removeprefix("test_").replace("_", " ")


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
        self.protects[name] = report.protects
        self.processor += report.processor

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
                f"`{name.removeprefix('tests/')}`: {self.protects[name]}",
                self.cases[name],
                f"{self.seconds[name]:.1f}",
            ]
            for name in names
        ]
        return table(["test, and what it protects", "cases", "seconds"], rows)


def write(path: Path, text: str) -> None:
    """Puts the table between its markers.

    Raises:
        pytest.UsageError: The file has no such markers.
    """
    whole, count = MARKED.subn(lambda found: f"{found[1]}\n{text}\n\n{found[2]}", path.read_text())
    if not count:
        raise pytest.UsageError(
            f"{path} has no line <!-- dearest --> with a line <!-- end of dearest --> after it"
        )
    path.write_text(whole)
