"""Signals that end a run: noticed between windows, so that nothing is lost.

For example:

    >>> signals, windows = Signals(), 0
    >>> with signals.caught():
    ...     while not signals.seen:  # the number of a signal, 0 for none
    ...         windows += 1
    ...         signal.raise_signal(signal.SIGTERM)  # it comes while a window is played
    >>> windows, signals.seen == signal.SIGTERM
    (1, True)
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Signals:
    """SIGINT and SIGTERM as a number to look at between windows; a second SIGINT interrupts at once."""

    def __init__(self) -> None:
        """Has seen none yet."""
        self.seen: int = 0

    def _handle(self, number: int, frame: Any) -> None:
        if self.seen == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.seen = number

    @contextmanager
    def caught(self) -> Iterator["Signals"]:
        """Notices signals while the code inside runs, instead of ending it; in the main thread, which gets them."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self._handle) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
