"""Ports on which nobody listens, and which no other test is about to use.

A server needs seconds until it listens. A port that the kernel chose may be anybody's by then: it gives the same ones
to outgoing connections. These lie below the kernel's range, each of pytest's workers has a part of it for itself, and
none is given twice.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
from collections.abc import Iterator
from typing import Any

# For each request to such a port: to read the certificates, which it does not need, takes 20 ms of the processor.
PLAIN: dict[str, Any] = {"trust_env": False, "verify": False}
_FIRST, _BEYOND = 10_240, 32_768
_WORKERS = 12


def _part() -> range:
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    size = (_BEYOND - _FIRST) // _WORKERS
    first = _FIRST + worker % _WORKERS * size
    return range(first, first + size)


def _round(ports: range) -> Iterator[int]:
    """All of them again and again, from any of them on: another run of the tests may be at work on this machine."""
    start = random.SystemRandom().randrange(len(ports))
    return itertools.cycle([*ports[start:], *ports[:start]])


_next = _round(_part())


def free_ports(count: int) -> list[int]:
    """So many free ports in a row."""
    found: list[int] = []
    while len(found) < count:
        port = next(_next)
        if found and port != found[-1] + 1:
            found = []
        found = [*found, port] if _is_free(port) else []
    return found


def free_port() -> int:
    """A free port."""
    return free_ports(1)[0]


def _is_free(port: int) -> bool:
    with contextlib.suppress(OSError):
        socket.create_server(("", port)).close()
        return True
    return False
