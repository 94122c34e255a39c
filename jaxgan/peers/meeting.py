"""How the processes of one run meet and part.

Process 0 is the hub. It listens at the coordinator's port, on all addresses of its machine whichever of them the others
are told, as that one may be another machine's that passes on to it. Every other process has a line to it for signs of
life and messages, and it relays the connections of JAX's own service, which needs no port beside this one. Collectives
(Gloo, NCCL) open ports of their own between the machines. Nothing is encrypted, and nobody is asked for a password:
whoever reaches the ports can end the run, so they belong into a network of one's own.

JAX ends a process by a crash where that service is lost, and waits for minutes where a process is stopped; so the relay
hides a loss, and the watch ends this process by one line that names who is gone.

For example:

    >>> address("[::1]:1234"), present() is None
    (('::1', 1234), True)
"""

import atexit
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from jaxgan.errors import InputError
from jaxgan.peers.messages import Message
from jaxgan.peers.watch import REPLY, SIGN, SILENCE, Line, Peers
from jaxgan.saying import clean

MEETING = 300.0
"""Seconds that processes wait for each other at the start."""
PAUSE = 0.1
"""Seconds between two looks at what is waited for."""

_peers: Peers | None = None


def present() -> Peers | None:
    """The other processes of this one's run, where it met some."""
    return _peers


def address(coordinator: str) -> tuple[str, int]:
    """Host and port of "HOST:PORT"."""
    host, _, port = coordinator.rpartition(":")
    return host.strip("[]"), int(port)


def meet(coordinator: str, processes: int, process: int) -> str:
    """Waits until all processes are there, and watches over them from then on.

    Args:
      coordinator: "HOST:PORT": where the others find process 0, which listens at the port on all its addresses.
      processes: How many there are.
      process: The number of this one.

    Returns:
      Where JAX's service is to be at process 0, and where it is found by the others: an address of this machine.

    Raises:
      InputError: The port is in use, or the others do not come, or say that there are more or fewer processes.
    """
    global _peers
    peers = Peers(process, processes)
    service = _host(peers, coordinator) if process == 0 else _join(peers, coordinator)
    _peers = peers
    peers.watch()
    atexit.register(_part)
    return service


def settle() -> None:
    """Waits, after a collective failed, for the watch to say who is gone, which ends this process."""
    if _peers is not None and _peers.state == "working":
        time.sleep(SILENCE + 2 * SIGN)


def leave(code: int) -> None:
    """Ends a process with its code after an error of its own; returns where there are no others, or all agreed."""
    if _peers is not None:
        _peers.fail()
        if _peers.state == "failed":
            _exit(code)


def _part() -> None:
    """What comes before JAX's own way out, in which all processes wait for each other."""
    if _peers is None:
        return
    if getattr(sys, "last_type", None) is not None:
        _peers.fail()
    if _peers.state == "failed":
        _exit(1)
    _peers.calm(True)
    if "jax" in sys.modules:
        with suppress(Exception):
            sys.modules["jax"].distributed.shutdown()
    if _peers.process == 0:
        _peers.linger(REPLY)


def _exit(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(code)


def _say(line: str) -> None:
    sys.stderr.write(f"jaxgan: {clean(line)}\n")
    sys.stderr.flush()


def _host(peers: Peers, coordinator: str) -> str:
    """Opens the hub, and waits for all others; gives where JAX's service is to be."""
    port = address(coordinator)[1]
    try:
        if socket.has_dualstack_ipv6():
            listening = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True)
        else:
            listening = socket.create_server(("", port))
    except OSError as error:
        raise InputError(
            f"port {port} of --coordinator {coordinator} cannot be opened ({error.strerror}); another run may use it: "
            "give another one to all processes"
        ) from None
    with socket.create_server(("127.0.0.1", 0)) as free:
        service = free.getsockname()
    there, admitting = threading.Event(), threading.RLock()

    def missing() -> list[int]:
        """Who is to come: nobody once all were there, and before that whoever went again too."""
        with admitting:
            if there.is_set():
                return []
            peers.forget_closed()
            return peers.lacking()

    def admit(connection: socket.socket) -> None:
        line = Line(connection, -1)
        asked = line.first() or {}
        if "processes" in asked:
            with admitting:
                lacking = missing()
                refused = _refused(peers, asked, lacking)
                line.send({"refused": refused})
                if not refused:
                    line.process = asked["process"]
                    peers.add(line)
                    if lacking == [line.process]:
                        there.set()
                    return
        elif asked.get("as") == "relay":
            _relay(connection, lambda: socket.create_connection(service))
            return
        connection.close()

    _serve(listening, admit)
    _wait(there.is_set, lambda: f"process {_list(missing())} of {peers.processes}", coordinator)
    peers.told({"all": True})
    return f"{service[0]}:{service[1]}"


def _refused(peers: Peers, asked: Message, lacking: Sequence[int]) -> str:
    """Why a process that comes cannot be one of the run, if it cannot."""
    if asked["processes"] != peers.processes:
        return f"process 0 was started with --processes {peers.processes}, this one with {asked['processes']}"
    if not lacking:
        return "all processes of the run were there already, and the run has begun; give another port"
    if asked["process"] not in lacking:
        return f"there is a process {asked['process']} already; give each another --process"
    return ""


def _join(peers: Peers, coordinator: str) -> str:
    """Finds the hub, and waits for all others; gives where JAX's service is found."""
    found: list[socket.socket] = []

    def knock() -> bool:
        with suppress(OSError):
            found.append(socket.create_connection(address(coordinator), timeout=REPLY))
        return bool(found)

    _wait(knock, lambda: f"process 0 of {peers.processes}", coordinator)
    line = Line(found[0], 0)
    line.send({"as": "process", "process": peers.process, "processes": peers.processes})
    answer = line.first()
    if answer is None or "refused" not in answer:
        raise InputError(
            f"something else than process 0 of a run listens at {coordinator}; give another port to all"
        )
    if answer["refused"]:
        raise InputError(f"{answer['refused']} (at {coordinator})")
    gone: list[Any] = []

    def all_there() -> bool:
        messages = line.receive()
        gone.extend([0] if messages is None else [])
        return messages is None or any("all" in message for message in messages)

    _wait(all_there, lambda: "the others", coordinator)
    if gone:
        raise InputError(f"process 0 at {coordinator} ended before all others were there; see what it says")
    peers.add(line)
    listening = socket.create_server(("127.0.0.1", 0))

    def reach() -> socket.socket:
        connection = socket.create_connection(address(coordinator))
        Line(connection, 0).send({"as": "relay"})
        return connection

    _serve(listening, lambda connection: _relay(connection, reach, hide=lambda: peers.state != "calm"))
    host, port = listening.getsockname()
    return f"{host}:{port}"


def _wait(done: Callable[[], bool], whom: Callable[[], str], where: str) -> None:
    begun, said = time.monotonic(), False
    while not done():
        waited = time.monotonic() - begun
        if waited > MEETING:
            raise InputError(
                f"{whom()} did not come to {where} within {MEETING:.0f} s; start all processes with one --coordinator"
            )
        if waited > REPLY and not said:
            said = True
            _say(f"waiting for {whom()} at {where}")
        time.sleep(PAUSE)


def _list(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _serve(listening: socket.socket, handle: Callable[[socket.socket], None]) -> None:
    """Hands each connection to a thread of its own, for as long as this process lives."""

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
                threading.Thread(target=handle, args=(connection,), daemon=True).start()
            except (OSError, RuntimeError):  # no descriptor or no thread is left: perhaps soon
                time.sleep(PAUSE)

    threading.Thread(target=serve, name="jaxgan-hub", daemon=True).start()


def _relay(
    here: socket.socket, reach: Callable[[], socket.socket], hide: Callable[[], bool] = lambda: False
) -> None:
    """Sends on all bytes both ways between a connection and another one; `hide` says whether a loss of that is kept."""
    here.settimeout(None)
    try:
        there = reach()
    except OSError:
        here.close()
        return
    there.settimeout(None)

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
        if source is there:
            while hide():
                time.sleep(SIGN)
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    threading.Thread(target=pump, args=(there, here), daemon=True).start()
    pump(here, there)
