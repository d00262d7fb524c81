"""Which process it is, proven."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from blueprint.processes import table as processes
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.table import command_line, folder, is_same, look, send, variable
from tests.unit.processes.helpers import eventually, runs

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture(params=["proc", "psutil"])
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to read the process table."""
    if request.param == "proc" and not processes._HAS_PROC:
        pytest.skip("this system has no /proc")
    monkeypatch.setattr(processes, "_HAS_PROC", request.param == "proc")
    return str(request.param)


def _known(pid: int) -> ProcessIdentity:
    seen = look(pid)
    assert seen is not None
    return seen.identity


@pytest.mark.usefixtures("table")
def test_a_running_process_is_recognised_after_its_identity_went_through_a_file(stranger: Start) -> None:
    identity = _known(stranger().pid)
    assert ProcessIdentity.from_json(asdict(identity)) == identity
    assert is_same(ProcessIdentity.from_json(asdict(identity)))


@pytest.mark.usefixtures("table")
def test_a_recycled_pid_is_not_taken_for_the_process_that_had_it(stranger: Start) -> None:
    identity = _known(stranger().pid)
    earlier = (
        replace(identity, start_ticks=identity.start_ticks - 1)
        if identity.start_ticks is not None
        else replace(identity, create_time=(identity.create_time or 0) - 0.01)
    )
    assert not is_same(earlier)
    assert not send(earlier, signal.SIGKILL)
    assert runs(identity.pid)


@pytest.mark.usefixtures("table")
def test_nothing_from_before_a_restart_of_the_machine_is_taken_for_running(stranger: Start) -> None:
    identity = _known(stranger().pid)
    assert not is_same(replace(identity, boot_id="another start of the machine"))


@pytest.mark.usefixtures("table")
def test_a_zombie_does_not_count_as_running(stranger: Start) -> None:
    process = stranger()
    identity = _known(process.pid)
    process.kill()
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE)
    assert not is_same(identity)
    assert _known(process.pid) == identity, "the number is still its own, so that its session can be recognised"


@pytest.mark.usefixtures("table")
def test_a_frozen_process_is_seen_to_be_frozen(stranger: Start) -> None:
    process = stranger()
    process.send_signal(signal.SIGSTOP)
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    seen = look(process.pid)
    assert seen is not None
    assert seen.frozen
    assert seen.running


@pytest.mark.usefixtures("table")
def test_the_table_tells_the_same_as_the_system_calls() -> None:
    name = "a) (b c"  # brackets and spaces are allowed in a program's name, and fool a careless reader of /proc
    code = f"import ctypes; ctypes.CDLL(None).prctl(15, {name.encode()!r}); print(flush=True); input()"
    if not sys.platform.startswith("linux"):
        code = "print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "MARKED": "ä=b"},
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        seen = look(process.pid)
        assert seen is not None
        assert (seen.pid, seen.parent, seen.session) == (process.pid, os.getpid(), process.pid)
        assert command_line(process.pid) == (sys.executable, "-c", code)
        assert variable(process.pid, "MARKED") == "ä=b"
        assert variable(process.pid, "MARK") is None
        assert folder(process.pid) == Path.cwd()
        process.communicate(b"\n")
    assert look(process.pid) is None
    assert variable(process.pid, "MARKED") is None
    assert command_line(process.pid) == ()
    assert folder(process.pid) is None


@pytest.mark.parametrize("pid", [1, 0, -1, True, "12", None, 3.0])
def test_a_damaged_record_can_never_name_init_or_a_whole_group(pid: object) -> None:
    values: dict[str, Any] = {"pid": pid, "boot_id": "b", "start_ticks": 1, "create_time": None}
    with pytest.raises(ValueError, match="pid"):
        ProcessIdentity.from_json(values)


def test_an_identity_without_a_start_proves_nothing_and_is_refused() -> None:
    with pytest.raises(ValueError, match="start"):
        ProcessIdentity.from_json({"pid": 12, "boot_id": "b", "start_ticks": None, "create_time": None})


def test_the_start_in_ticks_does_not_depend_on_the_wall_clock(stranger: Start) -> None:
    if not processes._HAS_PROC:
        pytest.skip("only Linux tells ticks")
    identity = _known(stranger().pid)
    assert identity.create_time is None
    assert identity.start_ticks is not None
    uptime_ticks = float(open("/proc/uptime").read().split()[0]) * os.sysconf("SC_CLK_TCK")  # noqa: SIM115, PTH123
    assert 0 <= uptime_ticks - identity.start_ticks < 60 * os.sysconf("SC_CLK_TCK")


@pytest.mark.usefixtures("table")
def test_a_processs_age_is_the_time_since_its_start(stranger: Start) -> None:
    seen = look(stranger().pid)
    assert seen is not None
    before = seen.age()
    assert 0 <= before < 10
    time.sleep(0.2)
    assert 0.15 < seen.age() - before < 5
