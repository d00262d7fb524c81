"""Stopping: all that is ours is gone afterwards, and nothing else was touched."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace

import psutil
import pytest

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.task import TaskStopped, within
from blueprint.processes import records
from blueprint.processes.ownership import SERVICE_VARIABLE, OwnershipTag, owned_processes
from blueprint.processes.records import ServiceRecord
from blueprint.processes.table import look
from tests.unit.processes.helpers import House, eventually, runs

Start = Callable[..., subprocess.Popen[bytes]]


def _record(house: House) -> ServiceRecord:
    record = house.manager.record("web")
    assert record is not None
    return record


def _descendants(pid: int) -> list[int]:
    return [child.pid for child in psutil.Process(pid).children(recursive=True)]


def test_stop_ends_the_service_and_says_so(house: House) -> None:
    pid = house.manager.ensure(house.service(), within(20)).identity.pid
    sentence = house.manager.stop("web", within(20))
    assert sentence is not None
    assert f"pid {pid}" in sentence
    assert "killed" not in sentence
    assert not runs(pid)
    assert house.manager.state("web") == "stopped"
    assert house.manager.stop("web", within(20)) is None


@pytest.mark.parametrize("flag", ["child", "stray", "bare-stray", "bare-deaf-child"])
def test_no_child_survives_a_stop_wherever_it_went(house: House, flag: str) -> None:
    pid = house.manager.ensure(house.service(flag), within(20)).identity.pid
    children = _descendants(pid)
    assert len(children) == 1
    house.manager.stop("web", within(30), grace=1)
    assert not any(map(runs, [pid, *children]))


def test_a_child_that_left_the_group_is_found_also_when_the_service_is_long_gone(house: House) -> None:
    pid = house.manager.ensure(house.service("stray"), within(20)).identity.pid
    (stray,) = _descendants(pid)
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not runs(pid))
    assert house.carriers() == [stray]
    assert house.manager.stop_all(within(20))
    assert not runs(stray)


def test_a_child_without_the_mark_is_known_by_its_session_when_the_service_is_long_gone(house: House) -> None:
    pid = house.manager.ensure(house.service("child", "bare-deaf-child"), within(20)).identity.pid
    children = _descendants(pid)
    assert len(children) == 2
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not runs(pid))
    house.manager.stop("web", within(20), grace=1)
    assert not any(map(runs, children))


def test_one_that_ignores_sigterm_is_killed_after_the_grace(house: House) -> None:
    pid = house.manager.ensure(house.service("deaf"), within(20)).identity.pid
    began = time.monotonic()
    sentence = house.manager.stop("web", within(20), grace=1)
    assert 0.9 < time.monotonic() - began < 5
    assert sentence is not None
    assert "had to be killed" in sentence
    assert not runs(pid)


def test_a_frozen_one_is_woken_to_end_in_order(house: House) -> None:
    pid = house.manager.ensure(house.service(), within(20)).identity.pid
    os.kill(pid, signal.SIGSTOP)
    began = time.monotonic()
    sentence = house.manager.stop("web", within(30))
    assert sentence is not None
    assert "killed" not in sentence
    assert not runs(pid)
    assert time.monotonic() - began < 5


def test_a_stop_with_little_time_still_ends_everything_within_it(house: House) -> None:
    pid = house.manager.ensure(house.service("deaf"), within(20)).identity.pid
    began = time.monotonic()
    house.manager.stop("web", within(2))
    assert time.monotonic() - began < 2
    assert not runs(pid)


def test_ctrl_c_during_a_stop_is_prompt(house: House) -> None:
    house.manager.ensure(house.service("deaf"), within(20))
    control = within(60)
    control.stopped.set()
    with pytest.raises(TaskStopped):
        house.manager.stop("web", control)


def test_a_recycled_pid_is_neither_stopped_nor_adopted(house: House, stranger: Start) -> None:
    service = house.service()
    house.manager.ensure(service, within(20))
    record = _record(house)
    house.manager.stop("web", within(20))
    bystander = stranger()
    seen = look(bystander.pid)
    assert seen is not None
    identity = seen.identity
    assert identity.start_ticks is not None
    recycled = replace(record, identity=replace(identity, start_ticks=identity.start_ticks - 1))
    records.write(house.folder / "services", recycled)
    assert house.manager.state("web") == f"not ours: pid {bystander.pid} belongs to another process now"
    assert house.manager.stop("web", within(20)) is None
    assert runs(bystander.pid)
    records.write(house.folder / "services", recycled)
    started = house.manager.ensure(service, within(20))
    assert "belongs to another process" in started.reason
    assert started.identity.pid != bystander.pid
    assert runs(bystander.pid)


def test_a_copied_state_folder_gives_no_power_over_the_original(house: House, neighbour: House) -> None:
    service = house.service("child")
    pid = house.manager.ensure(service, within(20)).identity.pid
    before = set(house.carriers())
    shutil.copytree(house.folder / "services", neighbour.folder / "services")
    assert neighbour.manager.state("web").startswith("not ours")
    assert neighbour.manager.record("web") is None
    with pytest.raises(EnvironmentRefused, match=f"pid {pid}"):
        neighbour.manager.ensure(replace(service, log=neighbour.folder / "logs" / "web.log"), within(20))
    assert neighbour.manager.stop_all(within(20)) == []
    assert set(house.carriers()) == before
    assert house.manager.state("web") == "running"


def test_a_record_that_names_a_process_of_another_workspace_gives_no_power_over_it(
    house: House, neighbour: House
) -> None:
    house.manager.ensure(house.service(), within(20))
    path = neighbour.folder / "services" / "web.json"
    shutil.copytree(house.folder / "services", neighbour.folder / "services")
    path.write_text(json.dumps({**json.loads(path.read_text()), "workspace": neighbour.workspace}))
    assert neighbour.manager.state("web").startswith("not ours")
    assert neighbour.manager.stop("web", within(20)) is None
    assert house.manager.state("web") == "running"


def test_a_record_made_elsewhere_gives_no_power_over_a_process_that_carries_no_mark(
    house: House, stranger: Start
) -> None:
    house.manager.ensure(house.service(), within(20))
    bystander = stranger()
    seen = look(bystander.pid)
    assert seen is not None
    identity = seen.identity
    records.write(house.folder / "services", replace(_record(house), identity=identity, workspace="elsewhere"))
    assert house.manager.state("web").startswith("not ours")
    house.manager.stop("web", within(20))
    assert runs(bystander.pid)


def test_two_checkouts_live_side_by_side(house: House, neighbour: House) -> None:
    ours = house.manager.ensure(house.service(), within(20)).identity
    theirs = neighbour.manager.ensure(neighbour.service(), within(20)).identity
    assert len(house.manager.stop_all(within(20))) == 1
    assert not runs(ours.pid)
    assert neighbour.manager.state("web") == "running"
    assert runs(theirs.pid)


def test_services_that_another_checkout_started_from_within_ours_are_not_ended_with_it(
    house: House, neighbour: House
) -> None:
    ours = house.service(name="outer")
    theirs = neighbour.service()
    inner = (
        "import os, subprocess, sys, time\n"
        f"env = {{{SERVICE_VARIABLE!r}: {neighbour.workspace + ':web'!r}}}\n"
        f"subprocess.Popen({list(theirs.argv)!r}, env=env, start_new_session=True)\n"
        "time.sleep(600)\n"
    )
    nothing: Callable[[], None] = lambda: None  # noqa: E731
    outer = replace(ours, argv=(ours.argv[0], "-c", inner), port=None, ready=nothing, alive=nothing)
    house.manager.ensure(outer, within(20))
    eventually(neighbour.carriers)
    family = {seen.pid for seen in owned_processes(OwnershipTag(house.workspace, "outer"))}
    assert family == set(house.carriers()), "the inner one is a child of the outer one, and still not of its family"
    house.manager.stop_all(within(20))
    assert house.carriers() == []
    assert len(neighbour.carriers()) == 1
    assert neighbour.manager.stop_all(within(20))
    assert neighbour.carriers() == []


def test_stopping_one_service_leaves_the_others(house: House) -> None:
    house.manager.ensure(house.service(name="one"), within(20))
    house.manager.ensure(house.service("stray", name="two"), within(20))
    house.manager.stop("one", within(20))
    assert house.manager.state("two") == "running"
    assert len(house.carriers()) == 2


def test_stop_all_ends_every_service_the_youngest_first(house: House) -> None:
    for name in ("server", "source", "worker"):
        house.manager.ensure(house.service(name=name), within(20))
    sentences = house.manager.stop_all(within(30))
    assert [sentence.split()[1] for sentence in sentences] == ["worker", "source", "server"]
    assert house.carriers() == []
    assert records.names(house.folder / "services") == []


def test_a_service_is_stopped_before_a_younger_one_that_it_uses(house: House) -> None:
    for name in ("server", "source", "worker"):
        house.manager.ensure(house.service(name=name, depends_on=("server",) * (name == "worker")), within(20))
    house.manager.stop("server", within(20))
    house.manager.ensure(house.service(name="server"), within(20))
    sentences = house.manager.stop_all(within(30))
    assert [sentence.split()[1] for sentence in sentences] == ["worker", "source", "server"]


def test_all_are_stopped_also_if_damaged_records_say_that_each_uses_the_other(house: House) -> None:
    for name, used in (("one", "two"), ("two", "one")):
        house.manager.ensure(house.service(name=name, depends_on=(used, name)), within(20))
    assert len(house.manager.stop_all(within(30))) == 2
    assert house.carriers() == []


@pytest.mark.parametrize("content", [b"", b"{", b'{"version": 1}'])
def test_stop_finds_the_service_behind_a_damaged_record(house: House, content: bytes) -> None:
    pid = house.manager.ensure(house.service(), within(20)).identity.pid
    (house.folder / "services" / "web.json").write_bytes(content)
    assert house.manager.stop_all(within(20))
    assert not runs(pid)


def test_stop_finds_the_service_without_any_state(house: House) -> None:
    pid = house.manager.ensure(house.service(), within(20)).identity.pid
    shutil.rmtree(house.folder / "services")
    assert house.manager.stop_all(within(20))
    assert not runs(pid)


def test_stop_where_nothing_was_ever_started_does_nothing(house: House) -> None:
    assert house.manager.stop_all(within(5)) == []
    assert house.manager.state("web") == "stopped"
