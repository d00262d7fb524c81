"""Who listens on a port."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator

import pytest

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.task import within
from blueprint.processes import ports
from blueprint.processes.ports import holder, is_free, listeners
from tests.support.ports import free_port
from tests.unit.processes.helpers import House, needs_ipv6

Start = Callable[..., subprocess.Popen[bytes]]
_NOBODY = 65534


@pytest.fixture(params=["proc", "psutil"])
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to read the table of sockets."""
    if request.param == "proc" and not ports._HAS_PROC:
        pytest.skip("this system has no /proc/net/tcp")
    monkeypatch.setattr(ports, "_HAS_PROC", request.param == "proc")


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", pytest.param("::", marks=needs_ipv6)])
def test_a_stranger_in_the_way_is_named_whatever_address_it_took(stranger: Start, host: str) -> None:
    port = free_port()
    process = stranger(port, host)
    found = holder(port, "127.0.0.1")
    assert found is not None
    assert found.pid == process.pid
    assert found.address == host
    assert str(process.pid) in str(found)
    assert "python" in str(found)
    assert not is_free("127.0.0.1", port)


@pytest.mark.usefixtures("table")
@needs_ipv6
def test_a_listener_of_the_other_family_is_seen_and_not_mistaken_for_ours(stranger: Start) -> None:
    port = free_port()
    process = stranger(port, "::1")
    assert holder(port, "127.0.0.1") is None
    assert is_free("127.0.0.1", port)
    found = holder(port, "::1")
    assert found is not None
    assert found.pid == process.pid
    assert [one.address for one in listeners(port)] == ["::1"]
    assert not is_free("::1", port)
    assert not is_free("localhost", port) or "::1" not in {a for _, a in ports._resolve("localhost", port)}


@contextlib.contextmanager
def held_by_nobody(port: int) -> Iterator[Callable[[], None]]:
    """Have a listener on the port that no process has open, as that of a process on its way out; yield its end."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        with socket.create_server(("127.0.0.1", port)) as listener:
            socket.send_fds(one, [b"x"], [listener.fileno()])  # from here on it is on its way between two sockets

        def end() -> None:
            for fd in socket.recv_fds(other, 1, 1)[1]:
                os.close(fd)

        yield end


def test_a_port_that_a_killed_process_still_holds_is_waited_for(house: House) -> None:
    spec = house.service()
    assert spec.port is not None
    with held_by_nobody(spec.port) as end:
        threading.Timer(1, end).start()
        assert house.manager.ensure(spec, within(20)).changed


def test_a_port_that_nobody_seems_to_hold_is_not_waited_for_without_end(house: House) -> None:
    spec = house.service()
    assert spec.port is not None
    with held_by_nobody(spec.port), pytest.raises(EnvironmentRefused, match=f"port {spec.port}, which is held by"):
        house.manager.ensure(spec, within(30))


@pytest.mark.usefixtures("table")
def test_a_port_that_nobody_has_is_free() -> None:
    port = free_port()
    assert holder(port) is None
    assert is_free("127.0.0.1", port)


def test_a_port_whose_last_connection_is_in_time_wait_counts_as_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            accepted, _ = server.accept()
            accepted.close()  # the server's side closes first, and so keeps the port in TIME_WAIT
    assert is_free("127.0.0.1", port)


def test_the_bind_test_leaves_the_port_usable() -> None:
    port = free_port()
    assert is_free("127.0.0.1", port)
    socket.create_server(("127.0.0.1", port)).close()


def test_an_address_of_another_machine_is_refused_with_a_way_on() -> None:
    with pytest.raises(EnvironmentRefused, match=r"192\.0\.2\.1.*address of this machine"):
        is_free("192.0.2.1", 4200)


def test_a_host_name_that_means_nothing_is_refused_by_name() -> None:
    with pytest.raises(EnvironmentRefused, match=r"no-such-host\.invalid"):
        is_free("no-such-host.invalid", 4200)


@pytest.mark.skipif(os.geteuid() != 0 or not ports._HAS_PROC, reason="needs root, to be somebody else for a moment")
def test_when_rights_are_missing_the_user_is_told_whose_process_it_is_and_why_it_has_no_name(stranger: Start) -> None:
    port = free_port()
    stranger(port)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:  # in a child, since a process cannot become root again
        try:
            os.setgroups([])
            os.setuid(_NOBODY)
            os.write(write_end, str(holder(port)).encode())
        finally:
            os._exit(0)
    os.close(write_end)
    os.waitpid(child, 0)
    with os.fdopen(read_end) as answer:
        text = answer.read()
    assert "user root" in text
    assert "no right" in text
