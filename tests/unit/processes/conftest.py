"""Workspaces and strangers for the tests of services; nothing is left running afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.unit.processes.helpers import House, kill_all, make_house


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A workspace whose processes are gone after the test."""
    made = make_house(tmp_path / "house")
    yield made
    kill_all(made.carriers())


@pytest.fixture
def neighbour(tmp_path: Path) -> Iterator[House]:
    """Another checkout."""
    made = make_house(tmp_path / "neighbour")
    yield made
    kill_all(made.carriers())


@pytest.fixture
def stranger() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts processes that are not ours; a port makes them listen, and they are up when this returns."""
    started: list[subprocess.Popen[bytes]] = []

    def start(port: int | None = None, host: str = "127.0.0.1") -> subprocess.Popen[bytes]:
        code = "import socket, sys, time; print(flush=True)\n"
        if port is not None:
            family = "AF_INET6" if ":" in host else "AF_INET"
            code = (
                f"import socket, time\ns = socket.create_server(({host!r}, {port}), family=socket.{family}, "
                f"dualstack_ipv6={host == '::'})\nprint(flush=True)\n"
            )
        process = subprocess.Popen([sys.executable, "-c", code + "time.sleep(600)"], stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        process.stdout.readline()
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
