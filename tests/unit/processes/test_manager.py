"""Starting, adopting and restarting real services."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from blueprint.core.errors import EnvironmentRefused, ProcessError, TimedOut
from blueprint.core.http import NotReady, get
from blueprint.core.task import TaskStopped, within
from blueprint.processes import ports, records, table
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.log import ServiceLog
from blueprint.processes.manager import ServiceManager
from blueprint.processes.ownership import OwnershipTag
from tests.support.ports import free_port
from tests.unit.processes.helpers import House, eventually, needs_ipv6, runs

Start = Callable[..., subprocess.Popen[bytes]]


def _afresh(house: House) -> ServiceManager:
    """The manager of a later execution in the same workspace."""
    return ServiceManager(house.folder / "services", house.workspace)


def test_a_service_is_started_once_and_adopted_by_the_next_execution(house: House) -> None:
    service = house.service()
    first = house.manager.ensure(service, within(20))
    assert (first.changed, first.reason) == (True, "it was not running")
    assert get(f"http://127.0.0.1:{service.port}/", timeout=2).text == "hello"
    second = _afresh(house).ensure(service, within(20))
    assert (second.identity, second.changed, second.reason) == (first.identity, False, "")
    assert house.carriers() == [first.identity.pid]


def test_what_was_begun_is_waited_for_and_told_as_started(house: House) -> None:
    service = house.service("slow")
    house.manager.begin(service, within(20))
    (pid,) = house.carriers()
    house.manager.begin(service, within(20))
    started = house.manager.ensure(service, within(20))
    assert (started.identity.pid, started.changed, started.reason) == (pid, True, "it was not running")
    assert get(f"http://127.0.0.1:{service.port}/", timeout=2).text == "hello"
    house.manager.begin(service, within(20))
    assert not house.manager.ensure(service, within(20)).changed
    assert house.carriers() == [pid]


def test_what_was_begun_and_dies_is_told_by_who_waits_for_it(house: House) -> None:
    service = house.service("dies")
    house.manager.begin(service, within(20))
    with pytest.raises(ProcessError, match="the database is on fire"):
        house.manager.ensure(service, within(20))


def test_what_was_begun_in_vain_is_stopped_and_what_ran_before_is_left(house: House) -> None:
    before, begun = house.service(name="before"), house.service(name="begun")
    pid = house.manager.ensure(before, within(20)).identity.pid
    house.manager.begin(before, within(20))
    house.manager.begin(begun, within(20))
    house.manager.stop_begun()
    assert house.carriers() == [pid]
    assert house.manager.record("begun") is None


def test_what_was_begun_by_a_killed_execution_is_adopted_by_the_next(house: House) -> None:
    service = house.service("slow")
    house.manager.begin(service, within(20))
    (pid,) = house.carriers()
    assert _afresh(house).ensure(service, within(20)).identity.pid == pid


def test_nothing_is_begun_on_a_port_that_somebody_holds(house: House) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        house.manager.begin(house.service(port=stranger.getsockname()[1]), within(20))
        assert house.carriers() == []


def test_each_start_is_told_to_the_journal_once(house: House) -> None:
    service = house.service()
    pid = house.manager.ensure(service, within(20)).identity.pid
    house.manager.ensure(service, within(20))
    assert house.started == [
        ("web", {"pid": pid, "port": service.port, "log": str(service.log), "reason": "it was not running"})
    ]


def test_nothing_that_a_service_writes_or_that_is_written_about_it_can_be_read_by_other_users(house: House) -> None:
    house.folder.joinpath("logs").mkdir(mode=0o755)
    (house.folder / "logs" / "web.log").touch(mode=0o644)
    service = house.service(env={"PASSWORD": "pl4nted-s3cret"})
    house.manager.ensure(service, within(20))
    eventually(lambda: (house.folder / "made-by-service").exists())
    for path in (service.log, house.folder / "made-by-service", house.folder / "services" / "web.json"):
        assert path.stat().st_mode & 0o077 == 0, path
    for path in (*house.folder.glob("logs/*"), *house.folder.glob("services/*")):
        assert "pl4nted-s3cret" not in path.read_text(), path


def test_the_log_of_the_start_before_is_kept(house: House) -> None:
    service = house.service()
    house.manager.ensure(service, within(20))
    house.manager.stop("web", within(20))
    house.manager.ensure(service, within(20))
    assert service.log.read_text().count("serving") == 2


def test_a_service_has_no_file_of_ours_open_so_that_the_executions_lock_dies_with_the_execution(
    house: House, tmp_path: Path
) -> None:
    fd = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(fd, True)
    try:
        pid = house.manager.ensure(house.service(), within(20)).identity.pid
        assert str(tmp_path / "lock") not in [file.path for file in psutil.Process(pid).open_files()]
    finally:
        os.close(fd)


def test_the_environment_is_the_given_one_and_nothing_of_the_users_shell(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://elsewhere.invalid")
    service = house.service(env={"A": "1"}, inherit={"A": "2", "PATH": os.environ["PATH"]})
    pid = house.manager.ensure(service, within(20)).identity.pid
    environment = psutil.Process(pid).environ()
    assert "PREFECT_API_URL" not in environment
    assert environment["A"] == "1"
    assert environment["PATH"] == os.environ["PATH"]


def test_changed_settings_restart_it_and_another_terminal_does_not(house: House) -> None:
    service = house.service(inherit={"TERM": "xterm"})
    first = house.manager.ensure(service, within(20))
    assert not house.manager.ensure(replace(service, inherit={"TERM": "dumb"}), within(20)).changed
    second = house.manager.ensure(replace(service, env={"SETTING": "two"}), within(20))
    assert second.changed
    assert "settings had changed" in second.reason
    assert not runs(first.identity.pid)
    assert house.carriers() == [second.identity.pid]


def test_a_killed_service_is_started_anew_and_the_user_is_told_why(house: House) -> None:
    service = house.service()
    first = house.manager.ensure(service, within(20))
    os.kill(first.identity.pid, signal.SIGKILL)
    eventually(lambda: not runs(first.identity.pid))  # it is our child, so that it is a zombie now
    second = house.manager.ensure(service, within(20))
    assert second.changed
    assert f"pid {first.identity.pid}) was" in second.reason
    assert runs(second.identity.pid)


def test_after_a_restart_of_the_machine_it_is_started_anew(house: House, stranger: Start) -> None:
    service = house.service()
    house.manager.ensure(service, within(20))
    house.manager.stop("web", within(20))
    bystander = stranger()  # has the pid of the record now
    ended = records.new(service, OwnershipTag(house.workspace, "web"), _identity(bystander.pid))
    records.write(
        house.folder / "services", replace(ended, identity=replace(ended.identity, boot_id="before"), ready=True)
    )
    started = house.manager.ensure(service, within(20))
    assert started.reason == "the machine was restarted since"
    assert runs(bystander.pid)


def _identity(pid: int) -> ProcessIdentity:
    seen = table.look(pid)
    assert seen is not None
    return seen.identity


def test_a_frozen_service_is_a_clear_timeout_and_then_a_restart_that_says_so(house: House) -> None:
    service = house.service()
    first = house.manager.ensure(service, within(20))
    os.kill(first.identity.pid, signal.SIGSTOP)
    eventually(lambda: house.manager.state("web") == "frozen")
    began = time.monotonic()
    second = house.manager.ensure(service, within(30))
    assert "did not answer (no whole answer within 0.5 s)" in second.reason
    assert "frozen" in second.reason
    assert not runs(first.identity.pid)
    assert get(f"http://127.0.0.1:{service.port}/", timeout=2).status == 200
    assert time.monotonic() - began < 8


def test_a_service_that_runs_and_no_longer_answers_is_restarted(house: House) -> None:
    broken = threading.Event()
    service = house.service()
    plain = service.alive

    def alive() -> None:
        if broken.is_set():
            raise NotReady("HTTP 500")
        plain()

    service = replace(service, alive=alive)
    first = house.manager.ensure(service, within(20))
    broken.set()
    second = house.manager.ensure(service, within(20))
    assert second.reason == "it did not answer (HTTP 500)"
    assert not runs(first.identity.pid)


def test_one_that_dies_at_start_fails_at_once_with_the_line_that_tells_why(house: House) -> None:
    service = house.service("dies")
    began = time.monotonic()
    with pytest.raises(ProcessError, match=r"exit code 1.*RuntimeError: the database is on fire") as caught:
        house.manager.ensure(service, within(60))
    assert time.monotonic() - began < 10
    assert caught.value.where_to_look == str(service.log)
    assert house.manager.state("web") == "stopped"
    assert house.carriers() == []


def test_the_reason_of_an_earlier_death_is_not_told_for_this_one(house: House) -> None:
    service = house.service("dies")
    with pytest.raises(ProcessError, match="on fire"):
        house.manager.ensure(service, within(20))
    silent = replace(service, argv=(sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"))
    with pytest.raises(ProcessError, match=r"killed by SIGKILL.*wrote nothing"):
        house.manager.ensure(silent, within(20))


def test_a_program_that_does_not_exist_is_named(house: House) -> None:
    with pytest.raises(ProcessError, match=r"The web cannot be started: No such file.*/no/such/program"):
        house.manager.ensure(house.service(argv=("/no/such/program",)), within(20))


def test_one_that_hangs_without_answering_fails_at_the_deadline_and_is_not_left_behind(house: House) -> None:
    service = house.service("hangs", "child")
    began = time.monotonic()
    with pytest.raises(
        TimedOut, match=r"^Timed out after 3 s waiting for The web \(pid \d+\) to be ready: no whole answer.*log says: "
    ) as caught:
        house.manager.ensure(service, within(3))
    assert time.monotonic() - began < 6
    assert caught.value.where_to_look == str(service.log)
    assert house.carriers() == []


def test_ctrl_c_during_a_start_is_prompt_and_the_next_execution_adopts_what_was_started(house: House) -> None:
    service = house.service("slow")
    control = within(60)
    threading.Timer(0.4, control.stopped.set).start()
    began = time.monotonic()
    with pytest.raises(TaskStopped):
        house.manager.ensure(service, control)
    assert time.monotonic() - began < 2
    left = house.carriers()
    assert len(left) == 1
    adopted = _afresh(house).ensure(service, within(20))
    assert (adopted.changed, [adopted.identity.pid]) == (False, left)


def _start_and_be_killed_before_the_record(house: House, *flags: str) -> int:
    """What an execution leaves that is killed between the start of the process and its record."""
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from blueprint.processes.starting import launch\n"
        "from blueprint.processes.ownership import OwnershipTag\n"
        "from blueprint.processes.spec import ServiceSpec\n"
        f"folder = Path({str(house.folder)!r})\n"
        "nothing = lambda: None\n"
        "argv = tuple(sys.argv[1:])\n"
        "service = ServiceSpec('web', 'The web', argv, {'SETTING': 'one'}, folder, folder / 'logs' / 'web.log',\n"
        "                  '127.0.0.1', int(argv[2]), nothing, nothing)\n"
        f"launch(service, OwnershipTag({house.workspace!r}, 'web'))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    service = house.service(*flags)
    killed = subprocess.run([sys.executable, "-c", code, *service.argv], check=False)
    assert killed.returncode == -signal.SIGKILL
    eventually(house.carriers)
    return house.carriers()[0]


def test_killed_between_start_and_record_nothing_is_lost_and_nothing_runs_twice(house: House) -> None:
    pid = _start_and_be_killed_before_the_record(house)
    assert house.manager.state("web").startswith("running without a record")
    port = int(psutil.Process(pid).cmdline()[2])
    adopted = house.manager.ensure(house.service(port=port), within(20))
    assert (adopted.identity.pid, adopted.changed) == (pid, False)
    assert "record was missing" in adopted.reason
    assert house.carriers() == [pid]
    assert house.manager.state("web") == "running"


def test_killed_between_start_and_record_and_started_with_other_settings_the_first_one_is_ended(house: House) -> None:
    pid = _start_and_be_killed_before_the_record(house, "deaf")
    started = house.manager.ensure(house.service(), within(40))
    assert started.changed
    assert f"pid {pid}" in started.reason
    assert house.carriers() == [started.identity.pid]


@pytest.mark.parametrize("content", [b"", b'{"version": 1, "na', b"\xff\x00 garbage", b"[]"])
def test_a_torn_record_costs_one_sentence_and_no_second_service(house: House, content: bytes) -> None:
    service = house.service()
    first = house.manager.ensure(service, within(20))
    (house.folder / "services" / "web.json").write_bytes(content)
    second = _afresh(house).ensure(service, within(20))
    assert second.identity == first.identity
    assert "web.json cannot be used" in second.reason
    assert house.carriers() == [first.identity.pid]


def test_what_is_left_of_a_dead_service_is_ended_before_it_is_started_anew(house: House) -> None:
    service = house.service("child", "stray")
    first = house.manager.ensure(service, within(20))
    eventually(lambda: len(house.carriers()) == 3)
    left = set(house.carriers()) - {first.identity.pid}
    os.kill(first.identity.pid, signal.SIGKILL)
    eventually(lambda: not runs(first.identity.pid))
    second = house.manager.ensure(service, within(20))
    assert all(str(pid) in second.reason for pid in left)
    assert not any(map(runs, left))


def test_a_stranger_on_the_port_is_named_and_left_alone(house: House, stranger: Start) -> None:
    port = free_port()
    other = stranger(port)
    with pytest.raises(EnvironmentRefused, match=rf"The web needs 127\.0\.0\.1, port {port}.*python.*pid {other.pid}"):
        house.manager.ensure(house.service(port=port), within(20))
    assert runs(other.pid)
    assert house.carriers() == []


def test_a_stranger_that_answers_in_the_place_of_the_service_is_not_taken_for_it(house: House, stranger: Start) -> None:
    port = free_port()
    service = house.service("slow", port=port, ready=lambda: None)  # whoever answers
    taken: list[subprocess.Popen[bytes]] = []
    manager = ServiceManager(
        house.folder / "services", house.workspace, lambda *_: taken.append(stranger(port))
    )  # the port is taken while the service starts
    with pytest.raises(EnvironmentRefused, match="held by python"):
        manager.ensure(service, within(20))
    assert runs(taken[0].pid)
    assert house.carriers() == []


def test_a_stranger_who_wins_the_race_for_the_port_is_the_reason_that_is_told(house: House, stranger: Start) -> None:
    port = free_port()
    service = house.service("slow", port=port)  # its own `ready` gets no answer from the stranger
    taken: list[subprocess.Popen[bytes]] = []
    manager = ServiceManager(house.folder / "services", house.workspace, lambda *_: taken.append(stranger(port)))
    with pytest.raises(EnvironmentRefused, match="held by python"):
        manager.ensure(service, within(20))
    assert runs(taken[0].pid)


def test_a_record_that_cannot_be_written_leaves_no_service_that_nobody_remembers(house: House) -> None:
    house.folder.mkdir(exist_ok=True)
    (house.folder / "services").write_text("not a folder")
    with pytest.raises(EnvironmentRefused, match="services"):
        house.manager.ensure(house.service(), within(20))
    assert house.carriers() == []


@needs_ipv6
@pytest.mark.parametrize("flags", [("ipv6",), ("any",), ("ipv6", "any")])
def test_a_service_is_recognised_on_ipv6_and_on_all_addresses(house: House, flags: tuple[str, ...]) -> None:
    service = house.service(*flags)
    first = house.manager.ensure(service, within(20))
    assert house.manager.ensure(service, within(20)).identity == first.identity


def test_services_are_started_side_by_side(house: House) -> None:
    services = [house.service("slow", name=f"web{number}") for number in range(4)]
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        started = list(pool.map(lambda one: house.manager.ensure(one, within(40)), services))
    assert time.monotonic() - began < 4, "each of them takes more than a second"
    assert all(one.changed for one in started)
    assert sorted(house.carriers()) == sorted(one.identity.pid for one in started)


def test_two_threads_that_want_the_same_service_get_one(house: House) -> None:
    service = house.service("slow")
    with ThreadPoolExecutor(4) as pool:
        started = list(pool.map(lambda _: house.manager.ensure(service, within(40)), range(4)))
    assert len({one.identity for one in started}) == 1
    assert sum(one.changed for one in started) == 1
    assert len(house.carriers()) == 1


def test_ports_that_were_exchanged_in_the_configuration_are_sorted_out(house: House) -> None:
    one, two = house.service(name="one"), house.service(name="two")
    for service in (one, two):
        house.manager.ensure(service, within(20))
    before = set(house.carriers())
    assert one.port is not None
    assert two.port is not None
    exchanged = [house.service(name="one", port=two.port), house.service(name="two", port=one.port)]
    manager = _afresh(house)
    with ThreadPoolExecutor(2) as pool:
        started = list(pool.map(lambda service: manager.ensure(service, within(40)), exchanged))
    assert all(one.changed for one in started)
    assert not before & set(house.carriers())
    assert len(house.carriers()) == 2


def test_a_port_that_an_earlier_configuration_gave_to_another_service_of_ours_is_freed(house: House) -> None:
    old = house.service(name="old", port=free_port())
    pid = house.manager.ensure(old, within(20)).identity.pid
    started = _afresh(house).ensure(house.service(name="new", port=old.port), within(20))
    assert not runs(pid)
    assert house.carriers() == [started.identity.pid]


def test_two_services_on_one_port_are_an_error_and_do_not_end_each_other(house: House) -> None:
    one = house.service(name="one")
    first = house.manager.ensure(one, within(20))
    with pytest.raises(EnvironmentRefused, match=rf"pid {first.identity.pid}"):
        house.manager.ensure(house.service(name="two", port=one.port), within(20))
    assert house.manager.state("one") == "running"


def test_it_works_with_psutil_alone_as_on_a_mac(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "_HAS_PROC", False)
    monkeypatch.setattr(ports, "_HAS_PROC", False)
    service = house.service("child", "stray")
    first = house.manager.ensure(service, within(30))
    assert first.identity.start_ticks is None
    assert house.manager.ensure(service, within(30)).identity == first.identity
    eventually(lambda: len(house.carriers()) == 3)
    assert house.manager.stop("web", within(30))
    assert house.carriers() == []


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", "it wrote nothing to its log"),
        ("starting\nready\n", "ready"),
        ("Traceback:\n  x\nsqlite3.OperationalError: locked\nApplication startup failed. Exiting.\n", "sqlite3.Op"),
        ("INFO ok\n\x1b[31mERROR: address already in use\x1b[0m\nbye\n", "ERROR: address already in use"),
        ("\u2502 ValueError: in a box \u2502\n\u2570\u2500\u2500\u256f\n", "ValueError: in a box"),
    ],
)
def test_of_a_log_the_line_that_helps_is_shown(tmp_path: Path, log: str, line: str) -> None:
    path = tmp_path / "x.log"
    path.write_text(log, encoding="utf-8")
    assert ServiceLog(path).telling_line().startswith(line)


def test_verify_and_stop_load_nothing_heavy() -> None:
    code = (
        "import sys, blueprint.processes.manager, blueprint.core.http\n"
        "print([name for name in ('tenacity', 'psutil', 'prefect', 'asyncio', 'ssl') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = told.stdout.strip()
    assert loaded in ("[]", "['ssl']"), "http.client itself may load ssl"


def test_a_name_that_is_no_file_name_is_refused(house: House) -> None:
    for name in ("../web", "", "Web", "a/b", ".web"):
        with pytest.raises(ValueError, match="name"):
            house.service(name=name)
    with contextlib.suppress(FileNotFoundError):
        assert list((house.folder / "services").iterdir()) == []


def test_the_state_of_a_service_that_died_later_tells_the_cause_from_its_log(house: House) -> None:
    service = house.service()
    pid = house.manager.ensure(service, within(20)).identity.pid
    with service.log.open("a") as log:
        log.write("OSError: the disk is on fire\n")
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not runs(pid))
    assert house.manager.state("web").startswith(f"stopped: its process (pid {pid}) was ")
    assert house.manager.state("web").endswith("its log says: OSError: the disk is on fire")
    with pytest.raises(NotReady, match="the disk is on fire"):
        house.manager.require_running(service)


def test_a_service_is_proven_by_its_process_and_its_port(house: House, stranger: Start) -> None:
    service = house.service()
    with pytest.raises(NotReady, match=r"^stopped$"):
        house.manager.require_running(service)
    identity = house.manager.ensure(service, within(20)).identity
    assert house.manager.require_running(service) == identity
    elsewhere = replace(service, port=free_port())
    with pytest.raises(NotReady, match="nothing listens"):
        house.manager.require_running(elsewhere)
    taken = free_port()
    other = stranger(taken)
    with pytest.raises(EnvironmentRefused, match=f"pid {other.pid}"):
        house.manager.require_running(replace(service, port=taken))


def test_a_record_of_an_earlier_version_without_its_place_in_the_log_is_read(house: House) -> None:
    house.manager.ensure(house.service(), within(20))
    path = house.folder / "services" / "web.json"
    values = json.loads(path.read_text())
    del values["log_offset"]
    path.write_text(json.dumps(values))
    assert house.manager.state("web") == "running"
