"""A process that has imported Prefect and done nothing else, and is forked for each flow run.

The worker forks it off before it has threads of its own. Each process it makes is handed over to the worker, whose
child it is from then on: the worker waits for it, signals it and reads its output as it does with any other process,
and nothing that happens to the fork server touches a run. The fork server ends with the worker.

Linux only: a process without a parent goes to its nearest ancestor that asked for such (`PR_SET_CHILD_SUBREAPER`).
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

_ANSWER_SECONDS = 5.0  # a fork server that needs longer is frozen, or the machine is
_GO = b"!"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# What is sent to the worker's process group is not for the fork server; beside it, what a new process does with it.
_OF_THE_GROUP: dict[signal.Signals, Any] = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}


@dataclass(frozen=True)
class Command:
    """A program to be run, with all of its environment variables and its working folder."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: str


def obstacle() -> str:
    """Return why this process cannot be forked from; "" if it can."""
    if sys.platform != "linux":
        return f"{sys.platform} is not Linux"
    if threading.active_count() > 1:
        return "importing Prefect has started threads"
    return ""


def die_with_parent() -> None:
    """Have this process killed when the thread that forked it ends."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class ForkServer:
    """The worker's end of the fork server."""

    def __init__(self, run: Callable[[Command], NoReturn]) -> None:
        """Fork it off; `run` is called in each process that it makes."""
        self._lock = threading.Lock()
        self._requests, theirs = socket.socketpair()
        worker = os.getpid()
        gc.collect()
        self.pid = os.fork()
        if self.pid == 0:
            self._requests.close()
            gc.freeze()  # what is there stays where it is: its pages are shared with every fork
            run(_serve(theirs, worker))
        theirs.close()

    def start(self, command: Command, streams: Sequence[int]) -> int | None:
        """Start a process with these standard streams, and return its id; it is a child of this process.

        None if the fork server is lost, now or since an earlier call.
        """
        with self._lock:
            if self._requests.fileno() == -1:
                return None
            pid = self._ask(command, streams)
            if pid is None:
                self._requests.close()  # one that is only frozen then ends when it goes on
                print("The fork server does not answer: flow runs start as Prefect starts them.", file=sys.stderr)
            return pid

    def _ask(self, command: Command, streams: Sequence[int]) -> int | None:
        ours, theirs = socket.socketpair()
        with ours, os.fdopen(os.memfd_create("command"), "w+") as request:
            json.dump(asdict(command), request)
            request.flush()
            ours.settimeout(_ANSWER_SECONDS)
            _prctl(_PR_SET_CHILD_SUBREAPER, 1)
            try:
                with theirs:
                    socket.send_fds(self._requests, [_GO], [request.fileno(), theirs.fileno(), *streams])
                pid = ours.recv(16)
                if not pid:
                    return None
                ours.sendall(_GO)  # without it the process ends: who gets None may start another
                return int(pid)
            except OSError:
                return None
            finally:
                _prctl(_PR_SET_CHILD_SUBREAPER, 0)  # what runs leave behind is not the worker's


def _serve(requests: socket.socket, worker: int) -> Command:
    """Make a process for each request until the worker is gone; return, in such a process, its command."""
    for number in _OF_THE_GROUP:
        signal.signal(number, signal.SIG_IGN)
    while True:
        _, descriptors, _, _ = socket.recv_fds(requests, len(_GO), 5)
        if len(descriptors) != 5:
            os._exit(0)
        between = os.fork()
        if between == 0:
            _fork_or_exit()
            requests.close()
            return _begin(*descriptors, worker=worker)
        os.waitpid(between, 0)  # from here on the process is the worker's child
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_or_exit() -> None:
    """Return in a child of this process; this one ends, so that the child goes to the worker."""
    between = os.getpid()
    try:
        if os.fork():
            os._exit(0)
    except OSError:
        os._exit(1)
    while os.getppid() == between:
        time.sleep(0.0001)


def _begin(request: int, connection: int, *streams: int, worker: int) -> Command:
    """Become a process like one that the worker started itself, then tell the worker and wait for its word."""
    os.setsid()
    for number in _OF_THE_GROUP:
        signal.signal(number, signal.SIG_DFL)  # until there is a program: Python may swallow an exception of a handler
    with socket.socket(fileno=connection) as answer, os.fdopen(request) as file:
        file.seek(0)
        command = Command(**json.load(file))
        if os.getppid() != worker:
            os._exit(1)
        try:
            answer.sendall(str(os.getpid()).encode())
            if answer.recv(len(_GO)) != _GO:
                os._exit(1)
        except OSError:
            os._exit(1)
    for stream, target in zip(streams, (0, 1, 2), strict=True):
        os.dup2(stream, target)
        os.close(stream)
    for number, handler in _OF_THE_GROUP.items():
        signal.signal(number, handler)
    return command


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None).prctl(option, value)
