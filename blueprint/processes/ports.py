"""The listeners on a port, and whether a service could listen there.

On Linux /proc/net/tcp and tcp6 tell the listeners, also those of other users; whose they are can be seen for
processes of this user, or for all by root. Elsewhere psutil tells, for processes of this user.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import pwd
import socket
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from blueprint.core.errors import EnvironmentRefused
from blueprint.processes.table import look

_PROC_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_HAS_PROC = _PROC_TABLES[0].exists()
_LISTEN = "0A"  # include/net/tcp_states.h
_WILDCARDS = ("0.0.0.0", "::")  # noqa: S104  # recognised here, never bound


@dataclass(frozen=True)
class Listener:
    """A socket that accepts connections."""

    address: str  # the numeric one that it is bound to
    pids: tuple[int, ...]  # that have it open; empty if this user may not see them
    user: str = ""  # that it belongs to, if known

    @property
    def pid(self) -> int | None:
        """The process to name: the one with the lowest number."""
        return min(self.pids, default=None)

    @property
    def is_leaving(self) -> bool:
        """Tell whether no process has it open, although this user could see which.

        A process that is killed no longer shows its files, and keeps them until its last thread has ended.
        """
        own = os.geteuid()
        return not self.pids and (own == 0 or self.user == _user_name(own))

    def __str__(self) -> str:
        """Name its process for people."""
        if self.pid is None:
            owner = f"of user {self.user} " if self.user else ""
            return f"a process {owner}that {_user_name(os.geteuid())} has no right to look into"
        process = look(self.pid)
        return f"{process.name if process else 'a process'} (pid {self.pid})"


def listeners(port: int, host: str | None = None, expected: int | None = None) -> list[Listener]:
    """Return the listeners on a port.

    Of a host, those that accept connections to it or keep others from binding it. If the `expected` process is the
    one that listens, the others are not looked into, which takes 6 ms.
    """
    found = _from_proc(port, expected) if _HAS_PROC else _from_psutil(port)
    if host is None:
        return found
    wanted = {_plain(address) for _, address in _resolve(host, port)}
    if wanted & {*_WILDCARDS}:
        return found
    return [listener for listener in found if listener.address in wanted or listener.address in _WILDCARDS]


def holder(port: int, host: str | None = None) -> Listener | None:
    """Return a listener on the port, one that can be named before one that cannot; None if there is none."""
    found = listeners(port, host)
    return min(found, key=lambda listener: (listener.pid is None, listener.pid or 0), default=None)


def is_free(host: str, port: int) -> bool:
    """Tell whether a service could listen there now, by binding, which sees what no table shows.

    Raises:
        EnvironmentRefused: No service of this user could ever listen there: the address is not of this machine,
            or the port is reserved.
    """
    failures = []
    addresses = _resolve(host, port)
    for family, address in addresses:
        try:
            socket.create_server((address, port), family=family).close()  # as servers do: TIME_WAIT does not count
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return False
            failures.append(os.strerror(error.errno or 0))
    if len(failures) == len(addresses):  # one will do: `localhost` has an IPv6 address also where IPv6 is off
        raise EnvironmentRefused(
            f"Nothing can listen on {host}, port {port}: {failures[-1]}.",
            "Configure an address of this machine and a port above 1023.",
        )
    return True


def _resolve(host: str, port: int) -> list[tuple[socket.AddressFamily, str]]:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EnvironmentRefused(f"The host name {host} has no address: {error}.", "Configure another host.") from error
    return [(family, str(address[0])) for family, _, _, _, address in answers]


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _plain(address: str) -> str:
    """Return the address that packets are sent to: `::ffff:127.0.0.1` is 127.0.0.1, and no zone."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def _from_proc(port: int, expected: int | None) -> list[Listener]:
    sockets: dict[str, tuple[str, str]] = {}
    for table in _PROC_TABLES:
        try:
            lines = table.read_text().splitlines()[1:]
        except OSError:  # a kernel without IPv6
            continue
        for line in lines:
            _, local, _, state, _, _, _, uid, _, inode, *_ = line.split()
            address, _, number = local.partition(":")
            if state == _LISTEN and int(number, 16) == port:
                sockets[inode] = (_address(address), _user_name(int(uid)))
    owners = _owners(sockets, [str(expected)])
    if owners.keys() != sockets.keys():
        owners = _owners(sockets, filter(str.isdecimal, os.listdir("/proc")))  # noqa: PTH208  # thousands, no Paths
    return [Listener(address, tuple(owners.get(inode, ())), user) for inode, (address, user) in sockets.items()]


def _address(text: str) -> str:
    """Decode an address of the kernel's tables: 32-bit words in the machine's byte order."""
    raw = bytes.fromhex(text)
    if sys.byteorder == "little":
        raw = b"".join(raw[start : start + 4][::-1] for start in range(0, len(raw), 4))
    return _plain(str(ipaddress.ip_address(raw)))


def _owners(inodes: Collection[str], pids: Iterable[str]) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for pid in pids:
        for target in _open_files(pid):
            inode = target.removeprefix("socket:[").removesuffix("]")
            if inode in inodes:
                found.setdefault(inode, set()).add(int(pid))
    return found


def _open_files(pid: str) -> Iterable[str]:
    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)  # noqa: PTH208  # thousands, no Paths
    except OSError:  # it is gone, or somebody else's
        return
    for name in names:
        try:
            yield os.readlink(f"{folder}/{name}")  # noqa: PTH115  # as above
        except OSError:
            continue


def _from_psutil(port: int) -> list[Listener]:
    import psutil

    found: dict[str, set[int]] = {}
    for process in psutil.process_iter():
        try:
            connections = process.net_connections(kind="tcp")
        except psutil.Error:
            continue
        for connection in connections:
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                found.setdefault(_plain(connection.laddr.ip), set()).add(process.pid)
    return [Listener(address, tuple(pids)) for address, pids in found.items()]
