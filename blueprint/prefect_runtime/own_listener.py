"""The refusal to talk to another user's program on the port of our API.

Prefect sends the password with every request, and asks again and again. While the server is down, any user of this
machine can listen on its port: a process of ours connects there only if a listener of ours, or of root's, has it now.
Nobody can take a port on which somebody listens. Standard library only; Linux tells whose a listener is.
"""

from __future__ import annotations

import os
import sys
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
CAN_TELL = _TABLES[0].exists()
_LISTEN = "0A"  # include/net/tcp_states.h


def require(api_url: str) -> None:
    """Refuse other users' listeners at the API's address from now on, also in the processes that are forked.

    The server is on this machine, be it on loopback or on an address that others reach too.
    """
    parts = urlsplit(api_url)
    port = parts.port or 0

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.connect":
            host, number = _place(arguments[1])
            if number == port and (host == parts.hostname or _is_loopback(host)) and not _is_ours(port):
                raise ConnectionRefusedError(f"no program of this user listens on port {port}")

    if port and CAN_TELL:
        sys.addaudithook(watch)


def _place(address: object) -> tuple[str, int]:
    """Return host and port of an Internet address; sockets of other families have others."""
    match address:
        case (str(host), int(number), *_):
            return host, number
    return "", 0


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_ours(port: int) -> bool:
    trusted = {"0", str(os.getuid())}
    for table in _TABLES:
        if table.exists():
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                _, local, _, state, _, _, _, uid, *_ = line.split()
                if state == _LISTEN and uid in trusted and int(local.rpartition(":")[2], 16) == port:
                    return True
    return False
