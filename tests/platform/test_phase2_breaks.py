"""Tasks 11 to 20 fail when what they prove is no longer so, and say what it is; what brings it about restores it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.live_platform import Platform, Tasks, eventually, tasks_of
from tests.support.ports import free_ports

POOL = "/work_pools/local-process-pool"
DAILY = {"cron": "0 9 * * *", "timezone": "America/Chicago"}


# --- 11 Create process work pool, 12 Verify work pool ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [({"is_paused": True}, "paused=True"), ({"concurrency_limit": 3}, "concurrency limit 3")],
)
def test_12_a_pool_that_was_changed_is_told_and_11_restores_it(
    platform: Platform, change: dict[str, Any], said: str
) -> None:
    platform.patch(POOL, change)
    outcome = platform.call(12)
    restored = platform.call(11)
    assert outcome.failed_saying(said), outcome
    assert restored.status == "changed"
    assert said.replace("limit ", "limit=") in restored.reason
    assert platform.call(12).status == "ok"
    assert {key: platform.get(POOL)[key] for key in ("is_paused", "concurrency_limit")} == {
        "is_paused": False,
        "concurrency_limit": 10,
    }


def test_11_and_12_a_pool_of_another_type_is_refused(platform: Platform) -> None:
    platform.post("/work_pools/", {"name": "containers", "type": "docker"})
    try:
        for number in (11, 12):
            outcome = platform.call(number, pool="containers", pool_concurrency_limit=None)
            assert outcome.failed_saying("'containers' is of type 'docker', not 'process'"), outcome
    finally:
        platform.delete("/work_pools/containers")


def test_12_a_pool_that_is_not_there_is_missed_and_11_makes_it(platform: Platform) -> None:
    assert platform.call(12, pool="new-pool").failed_saying("'new-pool' does not exist")
    try:
        assert platform.call(11, pool="new-pool").status == "changed"
        assert platform.get("/work_pools/new-pool")["type"] == "process"
    finally:
        platform.delete("/work_pools/new-pool")


def test_20_a_paused_pool_is_not_ready(platform: Platform) -> None:
    platform.patch(POOL, {"is_paused": True})
    try:
        outcome = platform.call(20)
    finally:
        platform.patch(POOL, {"is_paused": False})
    assert outcome.failed_saying("The work pool is PAUSED"), outcome


# --- 13 Start worker -------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("mended")
def test_13_a_worker_that_was_killed_is_missed_and_started_again(platform: Platform) -> None:
    dead = platform.kill("worker")
    for number in (20, 30):
        outcome = platform.call(number)
        assert outcome.failed_saying("The worker is not running: stopped", "its log says: "), outcome
        assert "--resume-from 13" in outcome.hint
    outcome = platform.call(13)
    assert outcome.status == "changed", outcome
    assert str(dead) in outcome.reason
    assert outcome.details["pid"] == platform.pid("worker") != dead
    assert platform.call(20).status == "ok"


def test_13_a_worker_whose_health_port_a_stranger_holds_is_refused_with_his_pid(beside: Tasks, origin: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        outcome = beside.call(13, origin=origin, seconds=30, worker_port=port)
    assert outcome.failed_saying(str(port), "is held by", str(os.getpid())), outcome
    assert outcome.exit_code == 4


def test_13_a_worker_that_cannot_live_fails_with_the_line_that_tells(beside: Tasks, spare: Path, origin: str) -> None:
    home = spare / ".blueprint" / "prefect"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "profiles.toml").write_text("this is no TOML")
    outcome = beside.call(13, origin=origin)
    assert outcome.failed_saying("worker ended while it was starting", "TOMLDecodeError"), outcome
    assert outcome.where_to_look.endswith("worker.log")


@pytest.mark.usefixtures("mended")
def test_13_a_frozen_worker_is_replaced(platform: Platform) -> None:
    frozen = platform.pid("worker")
    with platform.frozen("worker"):
        outcome = platform.call(13)
    assert outcome.status == "changed", outcome
    assert f"{frozen}) was frozen" in outcome.reason
    assert platform.pid("worker") != frozen


@pytest.mark.usefixtures("mended")
def test_13_a_run_is_marked_crashed_only_if_our_own_worker_took_it_and_before_this_one_began(
    platform: Platform,
) -> None:
    """A worker of somebody else may be offline for a while, and its runs at work on another machine."""

    def at_work(worker: str) -> dict[str, Any]:
        later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
        made: dict[str, Any] = platform.post(f"/deployments/{deployment}/create_flow_run", {"state": later})
        platform.patch(f"/flow_runs/{made['id']}/labels", {"prefect.worker.name": worker})
        platform.post(f"/flow_runs/{made['id']}/set_state", {"state": {"type": "RUNNING"}, "force": True})
        return made

    def state(run: dict[str, Any]) -> str:
        return str(platform.get(f"/flow_runs/{run['id']}")["state_type"])

    deployment = platform.deployment()["id"]
    ours = platform.first[13].details["name"]
    lost, foreign = at_work(ours), at_work("somebody-elses")
    try:
        platform.kill("worker")
        outcome = platform.call(13)
        assert outcome.details["marked_crashed"] == [lost["name"]], outcome
        assert (state(lost), state(foreign)) == ("CRASHED", "RUNNING")

        now = at_work(ours)  # as if this worker had taken it just now, and were about to start its process
        (platform.root / ".blueprint" / "services" / "worker.json").unlink()  # the next one says that it began later
        outcome = platform.call(13)
        assert "record was missing" in outcome.reason or outcome.status == "ok", outcome
        assert outcome.details["marked_crashed"] == [], outcome
        assert state(now) == "RUNNING"
        platform.delete(f"/flow_runs/{now['id']}")
    finally:
        for run in (lost, foreign):
            platform.delete(f"/flow_runs/{run['id']}")


# --- 14 Verify deployment definition ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"batch_size": -1}, ("batch_size", "greater than or equal to 1")),
        ({"batch_size": "many"}, ("batch_size", "valid integer")),
        ({"batches": 5}, ("batches: the flow has no such parameter",)),
        ({"target_table": "metrics; DROP TABLE x"}, ("target_table",)),
    ],
)
def test_14_default_parameters_that_do_not_fit_are_told(
    platform: Platform, parameters: dict[str, Any], said: tuple[str, ...]
) -> None:
    outcome = platform.call(14, parameters=parameters)
    assert outcome.failed_saying("default parameters do not fit", *said), outcome


def test_14_an_entrypoint_that_does_not_resolve_is_told(platform: Platform) -> None:
    outcome = platform.call(14, entrypoint="blueprint/pipeline/data_pipeline.py:no_such_flow")
    assert outcome.failed_saying("no_such_flow"), outcome


# --- 15 Deploy flow, 16 Verify deployment registration ---------------------------------------------------------------


def test_15_a_deployment_that_somebody_else_made_is_not_taken_over(platform: Platform) -> None:
    flow = platform.deployment()["flow_id"]
    theirs = platform.post("/deployments/", {"name": "theirs", "flow_id": flow, "description": "hand-made"})
    try:
        outcome = platform.call(15, deployment="theirs")
        assert outcome.failed_saying("Enterprise Data Pipeline/theirs", "Blueprint did not make"), outcome
        assert platform.deployment("theirs")["updated"] == theirs["updated"]
    finally:
        platform.delete(f"/deployments/{theirs['id']}")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"parameters": {"batch_size": 7}}, "parameters is {'batch_size': 7}, not {'batch_size': 500}"),
        ({"version": "of-old"}, "version is 'of-old'"),
        ({"entrypoint": "other.py:flow"}, "entrypoint is 'other.py:flow'"),
        ({"enforce_parameter_schema": False}, "enforces its schema is False"),
        ({"paused": True}, "paused is True"),
    ],
)
def test_16_a_deployment_that_was_changed_is_told_and_15_restores_it(
    platform: Platform, change: dict[str, Any], said: str
) -> None:
    with platform.deployed("changed") as settings:
        found = platform.deployment("changed")["id"]
        platform.patch(f"/deployments/{found}", change)
        outcome = platform.call(16, **settings)
        assert outcome.failed_saying("not as defined", said), outcome
        assert platform.call(20, **settings).failed_saying(said)
        restored = platform.call(15, **settings)
        assert restored.status == "changed"
        assert said in restored.reason
        assert restored.details["id"] == found
        assert platform.call(16, **settings).status == "ok"


def test_16_a_deployment_that_was_deleted_is_missed_by_all_that_need_it(platform: Platform, origin: str) -> None:
    with platform.deployed("deleted", **DAILY) as settings:
        platform.delete(f"/deployments/{platform.deployment('deleted')['id']}")
        for number in (16, 17, 18, 20, 21, 23, 24, 28, 29, 30):
            outcome = platform.call(number, origin=origin, **settings)
            assert outcome.failed_saying("no deployment 'Enterprise Data Pipeline/deleted'"), (number, outcome)
            assert "--resume-from 15" in outcome.hint
        restored = platform.call(15, **settings)
        assert restored.status == "changed"
        assert restored.reason == "it was not registered"
        platform.delete(f"/deployments/{restored.details['id']}")


# --- 17 Check deployment in UI ---------------------------------------------------------------------------------------


@contextlib.contextmanager
def _misconfigured_server(platform: Platform, folder: Path, port: int, **changes: str) -> Iterator[None]:
    """Prefect's own server with a copy of the platform's data, whose UI is told to call another, without metrics."""
    home = folder / ".blueprint" / "prefect"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (
        contextlib.closing(sqlite3.connect(platform.server_database, timeout=30)) as source,
        contextlib.closing(sqlite3.connect(home / "prefect.db")) as copy,
    ):
        source.backup(copy)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "PIPELINE_"))}
    env = clean | {
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{platform.port}/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        **changes,
    }
    argv = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(argv, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        _wait_for(process, f"http://127.0.0.1:{port}/api/ready")
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_for(process: subprocess.Popen[bytes], url: str) -> None:
    def answers() -> None:
        if process.poll() is None:
            try:
                assert httpx.get(url, timeout=3, trust_env=False).status_code == 200
            except httpx.HTTPError as error:
                raise AssertionError(str(error)) from None

    eventually(answers)()
    assert process.poll() is None


def test_17_and_27_a_server_that_is_configured_otherwise_is_told(platform: Platform, spare: Path, origin: str) -> None:
    port, worker_port, source_port = free_ports(3)
    settings = (f"port={port}", f"worker_port={worker_port}", f"source_port={source_port}")
    with _misconfigured_server(platform, spare, port), tasks_of(spare, *settings) as tasks:
        outcome = tasks.call(17, origin=origin)
        assert outcome.failed_saying(f"told to call http://127.0.0.1:{platform.port}/api"), outcome
        outcome = tasks.call(27, origin=origin)
        assert outcome.failed_saying("UI: ", "not as expected"), outcome


def test_27_a_server_that_answers_the_pages_of_other_sites_is_told(
    platform: Platform, spare: Path, origin: str
) -> None:
    port, _, source_port = free_ports(3)
    settings = (f"port={port}", f"worker_port={platform.worker_port}", f"source_port={source_port}")
    right = {"PREFECT_SERVER_UI_API_URL": f"http://127.0.0.1:{port}/api", "PREFECT_SERVER_METRICS_ENABLED": "true"}
    with _misconfigured_server(platform, spare, port, **right), tasks_of(spare, *settings) as tasks:
        outcome = tasks.call(27, origin=origin)
        assert outcome.failed_saying("foreign pages: a page of http://foreign.example is answered HTTP 200"), outcome
        outcome = tasks.call(27, origin=origin, allowed_origins=["*"])
        assert outcome.details["foreign pages"] == "answered, as allowed_origins has it"


# --- 18 Verify schedule configuration, 29 the same after the runs ----------------------------------------------------


@pytest.fixture(scope="module")
def scheduled(platform: Platform) -> Iterator[dict[str, Any]]:
    """A scheduled deployment for these tests alone."""
    with platform.deployed("scheduled", **DAILY) as settings:
        yield settings


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schedule": DAILY | {"timezone": "Europe/Berlin"}}, "'timezone': 'Europe/Berlin'"),
        ({"schedule": DAILY | {"cron": "0 10 * * *"}}, "'cron': '0 10 * * *'"),
        ({"active": False}, "not active"),
    ],
)
def test_18_and_29_a_schedule_that_was_changed_is_told_and_15_restores_it(
    platform: Platform, scheduled: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    found = platform.deployment("scheduled")
    platform.patch(f"/deployments/{found['id']}/schedules/{found['schedules'][0]['id']}", change)
    for number in (18, 29):
        outcome = platform.call(number, **scheduled)
        assert outcome.failed_saying("The server's schedule is", said), outcome
    restored = platform.call(15, **scheduled)
    assert restored.status == "changed"
    assert restored.details["id"] == found["id"]
    assert platform.call(18, **scheduled).status == "ok"


def test_18_and_29_coming_runs_at_another_time_than_the_schedules_are_told(
    platform: Platform, scheduled: dict[str, Any]
) -> None:
    assert platform.call(18, **scheduled).status == "ok"
    where = "deployment_id = ? AND auto_scheduled AND state_type = 'SCHEDULED'"
    deployment = platform.deployment("scheduled")["id"]
    with contextlib.closing(sqlite3.connect(platform.server_database, timeout=30)) as connection:
        query = f"SELECT id, expected_start_time FROM flow_run WHERE {where} ORDER BY 2"
        run, time = connection.execute(query, (deployment,)).fetchone()
        later = (datetime.fromisoformat(time) + timedelta(hours=1)).strftime("%Y-%m-%d %H:%M:%S.%f")
        with connection:
            connection.execute("UPDATE flow_run SET expected_start_time = ? WHERE id = ?", (later, run))
        try:
            outcomes = [platform.call(number, **scheduled) for number in (18, 29)]
        finally:
            with connection:
                connection.execute("UPDATE flow_run SET expected_start_time = ? WHERE id = ?", (time, run))
    for outcome in outcomes:
        assert outcome.failed_saying(
            "not those of the schedule: there is no run at", "the schedule does not fire at"
        ), outcome


def test_18_and_29_coming_runs_that_were_cancelled_are_missed(platform: Platform, scheduled: dict[str, Any]) -> None:
    """The server makes no other runs for the same times, so this is the last test of this deployment."""
    assert platform.call(18, **scheduled).status == "ok"
    deployment = platform.deployment("scheduled")["id"]
    query = {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}, "deployments": {"id": {"any_": [deployment]}}}
    for run in platform.post("/flow_runs/filter", query):
        cancelled = {"state": {"type": "CANCELLED", "name": "Cancelled"}, "force": True}
        platform.post(f"/flow_runs/{run['id']}/set_state", cancelled)
    for number in (18, 29):
        outcome = platform.call(number, seconds=2, **scheduled)
        assert outcome.failed_saying("0 of 3 coming runs exist"), outcome


# --- 19 Verify worker is polling -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("mended")
def test_19_a_worker_that_is_stopped_does_not_pass(platform: Platform) -> None:
    with platform.frozen("worker"):
        outcome = platform.call(19, seconds=5)
        assert outcome.failed_saying("the worker's last heartbeat stays at"), outcome
        assert platform.call(20).failed_saying("The worker is not running: frozen")
        assert platform.call(27).failed_saying("worker health")
    assert platform.call(19).status == "ok"


def test_19_a_worker_that_the_server_does_not_know_does_not_pass(beside: Tasks, origin: str) -> None:
    outcome = beside.call(19, origin=origin)
    assert outcome.failed_saying("The server knows no worker blueprint-"), outcome
