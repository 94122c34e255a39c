"""The watch over the processes of one run: each gives signs of life, and ends once another is gone.

For example:

    >>> seen = [{"steps": "10", "seed": "0"}, {"steps": "20", "seed": "0"}, {"steps": "10", "seed": "0"}]
    >>> differing(seen)
    'steps is 10 in process 0, 20 in process 1'
    >>> here, there = socket.socketpair()
    >>> hub, other = Peers(0, 2), Peers(1, 2)
    >>> hub.add(Line(here, 1)), other.add(Line(there, 0))
    (None, None)
    >>> hub.watch(), other.watch()
    (None, None)
    >>> asking = threading.Thread(target=other.agree, args=({"seed": "0"},))
    >>> asking.start(), hub.agree({"seed": "0"}), asking.join()  # would raise InputError in both
    (None, None, None)
    >>> hub.calm(True), other.calm(True)  # so that either may end
    (None, None)
"""

import json
import os
import queue
import selectors
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from jaxgan.errors import InputError
from jaxgan.peers.messages import LONGEST, Message, parsed
from jaxgan.saying import clean

SIGN = 1.0
"""Seconds between signs of life."""
SILENCE = 20.0
"""Seconds without one after which a process is taken for dead. A thread gives them, also while XLA compiles."""
REPLY = 5.0
"""Seconds that a call to another process may take: a stopped one does not keep this one in it."""
FIRST = 1000
"""Bytes of a first message, at most: anything may knock at an open port."""
SHOWN = 60
"""Characters of a setting that are shown where processes differ."""


class Line:
    """A connection to one other process: each message is a line of JSON, and an empty one is a sign of life."""

    def __init__(self, connection: socket.socket, process: int) -> None:
        self.socket: socket.socket = connection
        self.process: int = process
        self.heard: float = time.monotonic()
        self.calm: bool = False
        self.ended: str = "ended before the run did"
        self._rest, self._sending = b"", threading.Lock()
        connection.settimeout(REPLY)
        # A last word that waits to be sent along with more would be lost if this process ends before it has read all.
        with suppress(OSError):  # a pair of sockets has no TCP
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, message: Message | None = None) -> None:
        text = b"" if message is None else json.dumps(message).encode()
        with suppress(OSError), self._sending:  # who is gone is noticed as one reads
            self.socket.sendall(text + b"\n")

    def part(self) -> None:
        """Waits, a second at most, until the other process has closed it too, having read the last word."""
        until = time.monotonic() + 1
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
            self.socket.settimeout(1.0)
            while self.socket.recv(1 << 16) and time.monotonic() < until:
                pass

    def receive(self) -> list[Message] | None:
        """What has come; None once the other process has closed it, or has sent what is no message."""
        try:
            found = self.socket.recv(1 << 16)
        except TimeoutError:
            return []
        except OSError:
            return None
        if not found:
            return None
        self.heard = time.monotonic()
        *lines, self._rest = (self._rest + found).split(b"\n")
        said = [parsed(line) for line in lines if line]
        known = [message for message in said if message is not None]
        if len(known) < len(said) or len(self._rest) > LONGEST:
            self.ended = "sent what no process of a run sends"
            return None
        return known

    def closed(self) -> bool:
        """Whether the other process has closed it, without waiting and without reading what has come."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.socket, selectors.EVENT_READ)
            try:
                return bool(selector.select(0)) and not self.socket.recv(1, socket.MSG_PEEK)
            except OSError:
                return True

    def first(self) -> Message | None:
        """The first message, waited for, and no byte behind it; None where there is none."""
        text = b""
        while not text.endswith(b"\n"):
            try:
                byte = self.socket.recv(1)
            except OSError:
                return None
            if not byte or len(text) > FIRST:
                return None
            text += byte
        return parsed(text)


class Peers:
    """This process's lines to the others: from the hub to all, from the others to the hub."""

    def __init__(self, process: int, processes: int) -> None:
        """Knows of nobody yet."""
        self.process: int = process
        self.processes: int = processes
        self.state: Literal["working", "calm", "failed"] = "working"
        """Whether an end of this process is one that all agreed on."""
        self._lines: dict[int, Line] = {}
        self._facts: queue.Queue[tuple[int, dict[str, str]]] = queue.Queue()
        self._verdicts: queue.Queue[str] = queue.Queue()

    def watch(self) -> None:
        """Begins to give signs of life and to look for those of others, who gave none while all met."""
        for line in self._lines.values():
            line.heard = time.monotonic()
        threading.Thread(target=self._watch, name="jaxgan-peers", daemon=True).start()

    def told(self, message: Message) -> None:
        """Sends a message to all that there is a line to."""
        for line in list(self._lines.values()):
            line.send(message)

    def _watch(self) -> None:
        try:
            self._look()
        except Exception as error:  # without a watch, a process that is gone would be waited for without end
            if self.state == "working":
                end(
                    f"the watch over the other processes failed ({type(error).__name__}: {error}); start all again"
                )

    def _look(self) -> None:
        selector = selectors.DefaultSelector()
        for line in self._lines.values():
            selector.register(line.socket, selectors.EVENT_READ, line)
        sent = woke = time.monotonic()
        while self._lines:
            ready = selector.select(SIGN)
            now = time.monotonic()
            if now - woke > SILENCE / 2:  # this process was stopped itself, and cannot say who is silent
                for line in self._lines.values():
                    line.heard = now
            woke = now
            for key, _ in ready:
                line: Line = key.data
                found = line.receive()
                for message in found or ():
                    self._heard(line, message)
                if found is None:
                    selector.unregister(line.socket)
                    line.socket.close()
                    del self._lines[line.process]
                    if not line.calm:
                        self._gone(line.process, line.ended)
            if now - sent >= SIGN:
                sent = now
                for line in self._lines.values():
                    line.send()
            for line in list(self._lines.values()):
                if time.monotonic() - line.heard > SILENCE and not line.calm:
                    self._gone(line.process, f"gave no sign of life for {SILENCE:.0f} s")

    def _heard(self, line: Line, message: Message) -> None:
        if "calm" in message:
            line.calm = message["calm"]
        elif "facts" in message:
            self._facts.put((line.process, message["facts"]))
        elif "verdict" in message:
            self._verdicts.put(message["verdict"])
        elif "failed" in message:
            self._gone(line.process, "failed, and says why itself")
        elif "gone" in message:
            self._gone(message["gone"], message["how"])

    def _gone(self, process: int, how: str) -> None:
        """Ends this process, and says so to those that only it has a line to."""
        for line in list(self._lines.values()):
            if line.process != process:
                line.send({"gone": process, "how": how})
        if self.state == "working":
            for line in list(self._lines.values()):
                if line.process != process:
                    line.part()
            end(
                f"process {process} of {self.processes} {how}; so this one ends. What was saved is good: the same "
                "commands, or those of another number of processes, go on from there"
            )

    def agree(self, facts: Mapping[str, str]) -> None:
        """Compares what each process is about to do; all must ask.

        Raises:
          InputError: In each process, if two of them differ: it says in what. In this one, if another has ended.
        """
        if self.process == 0:
            seen: dict[int, dict[str, str]] = {0: dict(facts)}
            while len(seen) < self.processes:
                process, other = self._next(self._facts, set(range(self.processes)) - set(seen))
                seen[process] = other
            verdict = differing([seen[process] for process in range(self.processes)])
            self.told({"verdict": verdict})
        else:
            self.told({"facts": dict(facts)})
            verdict = self._next(self._verdicts, {0})
        if verdict:
            self.calm(True)
            raise InputError(
                f"processes of one run must be alike, and {verdict}; start all with the same config, data and versions"
            )

    def _next(self, waiting: queue.Queue[Any], whose: set[int]) -> Any:
        """The next thing that comes of some processes; Ctrl-C is answered meanwhile."""
        while True:
            left = sorted(
                whose - set(self._lines)
            )  # before the look at what came: they may have spoken and left
            with suppress(queue.Empty):
                return waiting.get(timeout=0.5)
            if left:
                raise InputError(
                    f"process {left[0]} of {self.processes} has ended, so the next run cannot begin; train the same "
                    "runs in all processes"
                )

    def calm(self, calm: bool) -> None:
        """Says whether this process may end without the others."""
        self.state = "calm" if calm else "working"
        self.told({"calm": calm})

    def fail(self) -> None:
        """Says that this process ends by an error of its own, so that nobody waits for it."""
        if self.state == "working":
            self.state = "failed"
            self.told({"failed": True})

    def linger(self, seconds: float) -> None:
        """Waits until the others have closed their lines: the hub ends last, as it relays for them."""
        until = time.monotonic() + seconds
        while self._lines and time.monotonic() < until:
            time.sleep(0.02)

    def add(self, line: Line) -> None:
        """A process that is there; replaces none."""
        self._lines[line.process] = line

    def forget_closed(self) -> None:
        """Takes processes that have gone again out of those that are there; before the watch begins."""
        for line in list(self._lines.values()):
            if line.closed():
                line.socket.close()
                del self._lines[line.process]

    def lacking(self) -> list[int]:
        """The processes that the hub still waits for."""
        return [process for process in range(1, self.processes) if process not in self._lines]


def differing(seen: Sequence[Mapping[str, str]]) -> str:
    """In what processes differ from process 0, three things at most; nothing where they are alike."""
    found = []
    for name in dict.fromkeys(name for facts in seen for name in facts):
        first, *others = (facts.get(name, "not there") for facts in seen)
        other = next((process for process, value in enumerate(others, 1) if value != first), None)
        if other is not None:
            mine, theirs = _shown(first), _shown(others[other - 1])
            found.append(f"{name} is {mine} in process 0, {theirs} in process {other}")
    more = f", and {len(found) - 3} more" if len(found) > 3 else ""
    return "; ".join(found[:3]) + more


def _shown(value: str) -> str:
    return value if len(value) <= SHOWN else f"{value[:SHOWN]}..."


def end(line: str) -> None:
    """Ends this process by an error of one line, below a progress bar if there is one, whatever its threads are in."""
    bars: Any = getattr(sys.modules.get("tqdm"), "tqdm", None)
    above = "\n" if any(not bar.disable for bar in getattr(bars, "_instances", ())) else ""
    with suppress(OSError):
        os.write(2, f"{above}jaxgan: error: {clean(line)}\n".encode())
    os._exit(1)  # the main thread may be in a collective that never ends
