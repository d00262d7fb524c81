"""Forks a process for each flow run from one that has imported Prefect and done nothing else.

A flow run's process spends most of its start on importing Prefect. Forked from a process that has it, one is at work
in a tenth of that time. The forked process is given the environment, folder and streams of the one that asks for it
(`blueprint.prefect_runtime.engine`), reads Prefect's settings anew from them, and runs `prefect.engine` as its main
program. The user's code is never imported here, so each run loads it as it is then.

Only on Linux, and only while this process has a single thread: forking more than that is not safe.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import runpy
import secrets
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from blueprint.prefect_runtime.engine import (
    ADDRESS_VARIABLE,
    GO,
    LENGTH,
    PASSED_ON,
    READY,
    REFUSED,
    STATUS,
    peer_is_ours,
)

_HANDSHAKE_SECONDS = 2.0  # the other side is on this machine and has nothing else to do
_MOST_BYTES = 16 * 1024 * 1024
_PR_SET_PDEATHSIG = 1
# What the interpreter reads only when it starts: with others than ours, a fork would not be the same as a new process.
_READ_AT_START = ("PYTHON", "LD_", "LC_", "LANG", "TZ", "MALLOC_", "OPENSSL_")


@dataclass(frozen=True)
class Request:
    """What a flow run's process is to be like.

    Attributes:
        environment: Its variables, all of them.
        folder: Its working folder.
        streams: Its standard input, output and error.
        connection: To the process that stands for it.
    """

    environment: Mapping[str, str]
    folder: str
    streams: tuple[int, ...]
    connection: socket.socket


def possible() -> bool:
    """Whether this process can be one that is forked from."""
    return sys.platform == "linux" and threading.active_count() == 1 and hasattr(os, "pidfd_open")


def start() -> Request | None:
    """Fork the fork server off, and put its address into the environment.

    It ends when this process has ended and the last of its own processes too.

    Returns:
        None in the process that called; in each process that is forked for a flow run, what was asked for.
    """
    address = f"blueprint-{secrets.token_hex(16)}"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{address}")
    listener.listen(128)
    lifeline, held = os.pipe()  # its end is seen when whoever holds the other side is gone
    if os.fork():
        listener.close()
        os.close(lifeline)
        os.environ[ADDRESS_VARIABLE] = address
        return None
    os.close(held)
    gc.collect()
    gc.freeze()  # what is there stays where it is: the pages are shared with every fork
    request = _Server(listener, lifeline).serve()
    if request is None:
        os._exit(0)
    return request


def become_engine(request: Request) -> None:
    """Make this process what was asked for, and run the flow; does not return."""
    for stream, target in zip(request.streams, (0, 1, 2), strict=True):
        os.dup2(stream, target)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request.environment)
    os.environ.pop(ADDRESS_VARIABLE, None)
    os.chdir(request.folder)
    sys.path[0] = request.folder  # as `python -m` does
    for name in [name for name in sys.modules if name.partition(".")[0] == "blueprint"]:
        del sys.modules[name]  # the user may have a package of that name
    from prefect.context import refresh_global_settings_context
    from prefect.logging.configuration import setup_logging

    refresh_global_settings_context()
    setup_logging()
    sys.modules.pop("prefect.engine", None)
    sys.argv = ["prefect.engine"]
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)
    sys.exit(0)


class _Server:
    """Waits for requests, for signals to pass on, and for the ends of the processes that it forked."""

    def __init__(self, listener: socket.socket, lifeline: int) -> None:
        self._listener = listener
        self._lifeline = lifeline
        self._selector = selectors.DefaultSelector()
        self._own = {name: value for name, value in os.environ.items() if name.startswith(_READ_AT_START)}
        self._runs: dict[int, socket.socket] = {}  # by the pidfd
        self._pids: dict[int, int] = {}
        self._request: Request | None = None
        self._over = False

    def serve(self) -> Request | None:
        """Serve until nobody needs it; in a forked process, return its request."""
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_IGN)  # sent to the whole group; this one ends after the worker
        self._watch(self._listener, self._accept)
        self._watch(self._lifeline, self._worker_is_gone)
        while self._request is None and not (self._over and not self._runs):
            for key, _ in self._selector.select():
                key.data()
                if self._request is not None:
                    break
        return self._request

    def _watch(self, what: int | socket.socket, then: Callable[[], None]) -> None:
        self._selector.register(what, selectors.EVENT_READ, then)

    def _worker_is_gone(self) -> None:
        self._selector.unregister(self._lifeline)
        self._selector.unregister(self._listener)
        self._listener.close()
        self._over = True

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        try:
            connection.settimeout(_HANDSHAKE_SECONDS)
            request = self._agree(connection)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # whatever was sent is no request
            request = None
        if request is None:
            connection.close()
            return
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._in_the_fork(parent)
            self._request = request
            return
        for stream in request.streams:
            os.close(stream)
        pidfd = os.pidfd_open(pid)
        self._runs[pidfd], self._pids[pidfd] = connection, pid
        self._watch(pidfd, lambda: self._ended(pidfd))
        self._watch(connection, lambda: self._told(pidfd))

    def _agree(self, connection: socket.socket) -> Request | None:
        """Read a request and see that it is still wanted; None if it cannot be met here."""
        if not peer_is_ours(connection):
            return None
        (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size))
        asked = json.loads(_exactly(connection, min(length, _MOST_BYTES)))
        environment, folder = asked["environment"], asked["folder"]
        if {name: value for name, value in environment.items() if name.startswith(_READ_AT_START)} != self._own:
            connection.sendall(REFUSED)
            return None
        connection.sendall(READY)
        answer, streams, _, _ = socket.recv_fds(connection, len(GO), 3)
        if answer == GO and len(streams) == 3:
            connection.settimeout(None)
            return Request(environment, folder, tuple(streams), connection)
        for stream in streams:
            os.close(stream)
        return None

    def _in_the_fork(self, parent: int) -> None:
        """Let go of all that is the server's, and never outlive it: nobody could say how the run ended."""
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        for number in PASSED_ON:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._selector.close()
        for pidfd, connection in self._runs.items():
            os.close(pidfd)
            connection.close()
        self._listener.close()
        if not self._over:
            os.close(self._lifeline)

    def _told(self, pidfd: int) -> None:
        """A signal to pass on; or the one who asked is gone, and was killed: then so is the run."""
        try:
            numbers = self._runs[pidfd].recv(64)
        except OSError:
            numbers = b""
        if not numbers:
            self._selector.unregister(self._runs[pidfd])
        for number in numbers or bytes([signal.SIGKILL]):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, number)

    def _ended(self, pidfd: int) -> None:
        _, status = os.waitpid(self._pids.pop(pidfd), 0)
        connection = self._runs.pop(pidfd)
        with contextlib.suppress(KeyError):
            self._selector.unregister(connection)
        self._selector.unregister(pidfd)
        os.close(pidfd)
        with contextlib.suppress(OSError):
            connection.sendall(STATUS.pack(status))
        connection.close()


def _exactly(connection: socket.socket, length: int) -> bytes:
    """So many bytes.

    Raises:
        ConnectionError: There are fewer.
    """
    found = bytearray()
    while len(found) < length:
        more = connection.recv(min(length - len(found), 1 << 16))
        if not more:
            raise ConnectionError("the request was cut short")
        found += more
    return bytes(found)
