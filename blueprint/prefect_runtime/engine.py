"""What the worker starts for a flow run, in the place of `python -m prefect.engine`: the same engine, begun sooner.

It asks the fork server, which has imported Prefect already, for a process that runs the engine with this one's
environment, folder and standard streams; then it stands for that process: it passes signals on to it, ends when it
ends and as it ended, and takes it along when it is killed itself. Without a fork server, or with one that does not
answer or is set up otherwise, it becomes `python -m prefect.engine`.

Standard library only, and run as a file by `python -I -S`: it is ready in a hundredth of the time that Prefect needs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
from types import FrameType

ADDRESS_VARIABLE = "_BLUEPRINT_FORK_SERVER"  # a name in Linux's abstract namespace of sockets: no file is left over
LENGTH = struct.Struct("!I")  # of the request that follows it
STATUS = struct.Struct("!i")  # as os.waitpid gives it
READY, REFUSED, GO = b"+", b"-", b"!"
PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_ANSWER_SECONDS = 5.0  # a fork server that needs longer is frozen, or the machine is


def peer_is_ours(connection: socket.socket) -> bool:
    """Whether the other end belongs to our user: anyone on the machine may take or call an abstract address."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return bool(struct.unpack("3i", credentials)[1] == os.getuid())


def main() -> None:
    """Run the engine in a forked process, or become it."""
    connection = _forked()
    if connection is None:
        os.execv(sys.executable, [sys.executable, "-m", "prefect.engine"])  # noqa: S606
    _end_as(_status(connection))


def _forked() -> socket.socket | None:
    """A connection to the fork server, which from now on has the engine running for us; None if it cannot."""
    address = os.environ.get(ADDRESS_VARIABLE)
    if not address or sys.platform != "linux":
        return None
    request = json.dumps({"environment": dict(os.environ), "folder": os.getcwd()}).encode()  # noqa: PTH109
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.settimeout(_ANSWER_SECONDS)
        connection.connect(f"\0{address}")
        if not peer_is_ours(connection):
            return None
        connection.sendall(LENGTH.pack(len(request)) + request)
        if connection.recv(1) != READY:
            return None
        for number in PASSED_ON:
            signal.signal(number, lambda number, _frame: _pass_on(connection, number, _frame))
        socket.send_fds(connection, [GO], [0, 1, 2])  # nothing was started before; after it there is no second try
    except OSError:
        return None
    connection.settimeout(None)
    return connection


def _pass_on(connection: socket.socket, number: int, _frame: FrameType | None) -> None:
    connection.send(bytes([number]))


def _status(connection: socket.socket) -> int | None:
    """Wait for the engine's end; None if the fork server is gone, and with it the engine."""
    answer = b""
    try:
        while len(answer) < STATUS.size:
            more = connection.recv(STATUS.size - len(answer))
            if not more:
                return None
            answer += more
    except OSError:
        return None
    return int(STATUS.unpack(answer)[0])


def _end_as(status: int | None) -> None:
    code = -signal.SIGKILL if status is None else os.waitstatus_to_exitcode(status)
    if code < 0:  # the worker tells from the signal what happened
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
