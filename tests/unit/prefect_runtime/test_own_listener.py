"""Whose listener is believed to be ours: looked at with real sockets, in a process of its own, as the watch stays."""

from __future__ import annotations

import multiprocessing
import os
import socket
from multiprocessing.connection import Connection

import pytest

from blueprint.prefect_runtime import own_listener

_SOMEBODY = 12345


def _listens(uid: int, address: str, told: Connection) -> None:
    os.setuid(uid)
    with socket.create_server((address, 0)) as server:
        told.send(server.getsockname()[1])
        told.recv()


def _connects(port: int, told: Connection) -> None:
    own_listener.require(f"http://127.0.0.1:{port}/api")
    answers = []
    for host in ("127.0.0.1", "localhost"):
        try:
            socket.create_connection((host, port), timeout=5).close()
            answers.append("connected")
        except OSError as error:
            answers.append(str(error))
    told.send(answers)


def _answers(uid: int, address: str) -> list[str]:
    context = multiprocessing.get_context("fork")
    (here, there), (mine, theirs) = multiprocessing.Pipe(), multiprocessing.Pipe()
    listener = context.Process(target=_listens, args=(uid, address, there))
    listener.start()
    client = context.Process(target=_connects, args=(here.recv(), theirs))
    client.start()
    answers: list[str] = mine.recv()
    client.join()
    here.send("over")
    listener.join()
    return answers


@pytest.mark.skipif(not own_listener.CAN_TELL, reason="only Linux tells whose a listener is")
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_our_own_listener_is_connected_to_and_another_users_is_not(address: str) -> None:
    assert _answers(os.getuid(), address) == ["connected"] * 2
    if os.getuid() == 0:
        refused = _answers(_SOMEBODY, address)
        assert [answer for answer in refused if "no program of this user listens on port" not in answer] == []
