"""Whose listener is believed to be ours: looked at with real sockets, in a process of its own, as the watch stays."""

from __future__ import annotations

import multiprocessing
import os
import socket
from multiprocessing.connection import Connection

import psutil
import pytest

from blueprint.prefect_runtime import own_listener

_SOMEBODY = 12345


def _listens(uid: int, address: str, told: Connection) -> None:
    os.setuid(uid)
    with socket.create_server((address, 0)) as server:
        told.send(server.getsockname()[1])
        told.recv()


def _asks(host: str, port: int, told: Connection) -> None:
    try:
        socket.create_connection((host, port), timeout=5).close()
        told.send("connected")
    except OSError as error:
        told.send(str(error))


def _connects(host: str, port: int, told: Connection) -> None:
    own_listener.require(f"http://{host}:{port}/api")
    _asks(host, port, told)
    child = multiprocessing.get_context("fork").Process(target=_asks, args=(host, port, told))
    child.start()
    child.join()


def _answers(uid: int, address: str, host: str) -> list[str]:
    context = multiprocessing.get_context("fork")
    (here, there), (mine, theirs) = multiprocessing.Pipe(), multiprocessing.Pipe()
    listener = context.Process(target=_listens, args=(uid, address, there))
    listener.start()
    client = context.Process(target=_connects, args=(host, here.recv(), theirs))
    client.start()
    answers = [mine.recv(), mine.recv()]  # of a process that has the watch, and of one that is forked from it
    client.join()
    here.send("over")
    listener.join()
    return answers


def _own_address() -> str:
    """An address of this machine that other machines reach."""
    addresses = [address for found in psutil.net_if_addrs().values() for address in found]
    for address in addresses:
        if address.family == socket.AF_INET and not address.address.startswith("127."):
            return str(address.address)
    pytest.skip("this machine has no network")


@pytest.mark.skipif(not own_listener.CAN_TELL, reason="only Linux tells whose a listener is")
@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "localhost"), ("0.0.0.0", "own"), ("own", "own")]
)
def test_our_own_listener_is_connected_to_and_another_users_is_not(address: str, host: str) -> None:
    address, host = (_own_address() if place == "own" else place for place in (address, host))
    assert _answers(os.getuid(), address, host) == ["connected"] * 2
    if os.getuid() == 0:
        refused = _answers(_SOMEBODY, address, host)
        assert [answer for answer in refused if "no program of this user listens on port" not in answer] == []
