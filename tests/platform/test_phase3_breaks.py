"""Tasks 21 to 30 fail when what they prove is no longer so, and say what it is. Task 28 has a module of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blueprint.tasks.common.orphans import MESSAGE
from tests.support.live_platform import Platform, taken


@contextlib.contextmanager
def _other_parameters(platform: Platform, case: int) -> Iterator[None]:
    """The server remembers other parameters of a case's run during the block."""
    run = platform.run_of(case)
    platform.patch(f"/flow_runs/{run['id']}", {"parameters": run["parameters"] | {"batch_size": 51}})
    try:
        yield
    finally:
        platform.patch(f"/flow_runs/{run['id']}", {"parameters": run["parameters"]})


# --- 21 Trigger deployment, 22 Verify execution completed ------------------------------------------------------------


def test_21_and_25_a_run_with_other_parameters_than_the_deployments_is_told(platform: Platform) -> None:
    with _other_parameters(platform, 21):
        for number in (21, 25):
            outcome = platform.call(number)
            assert outcome.failed_saying("'batch_size': 51", "'batch_size': 500"), outcome
    assert platform.call(21).status == "ok"


def test_22_rows_that_are_missing_are_missed_by_all_that_count_them(platform: Platform) -> None:
    run = platform.run_of(21)["id"]
    with platform.without_rows(run):
        for number in (22, 25, 30):
            outcome = platform.call(number)
            assert outcome.failed_saying("was to land 500 rows", "has 0 of it"), outcome
            assert run in outcome.where_to_look
    assert platform.call(22).status == "ok"


def test_22_one_missing_row_is_missed(platform: Platform) -> None:
    run = platform.run_of(21)["id"]
    one = 'rowid = (SELECT min(rowid) FROM "public.daily_metrics" WHERE flow_run_id = ?)'
    with taken(platform.warehouse, "public.daily_metrics", one, run):
        outcome = platform.call(22)
    assert outcome.failed_saying("was to land 500 rows", "has 499 of it"), outcome


def test_22_a_run_that_skipped_a_state_is_told(platform: Platform) -> None:
    where = "flow_run_id = ? AND type = 'PENDING'"
    with taken(platform.server_database, "flow_run_state", where, platform.run_of(21)["id"]):
        outcome = platform.call(22)
    assert outcome.failed_saying("not Scheduled → Pending → Running → Completed"), outcome


def test_22_a_run_that_was_never_triggered_is_missed(platform: Platform, origin: str) -> None:
    outcome = platform.call(22, origin=origin)
    assert outcome.failed_saying("knows no flow run of task 21"), outcome
    assert "--resume-from 21" in outcome.hint


@pytest.mark.usefixtures("mended")
def test_22_a_run_that_no_worker_takes_and_one_that_crashed_do_not_pass(platform: Platform, origin: str) -> None:
    with platform.frozen("worker"):
        assert platform.call(21, origin=origin).status == "changed"
        run = platform.run_of(21, origin)["id"]
        outcome = platform.call(22, origin=origin, seconds=2)
        assert outcome.failed_saying("is Scheduled"), outcome

        platform.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CRASHED", "name": "Crashed"}, "force": True})
        outcome = platform.call(22, origin=origin)
        assert outcome.failed_saying("ended Crashed, not Completed"), outcome
        platform.delete(f"/flow_runs/{run}")


def test_22_a_run_that_we_took_for_lost_and_whose_process_completed_it_passes(platform: Platform, origin: str) -> None:
    assert platform.call(21, origin=origin).status == "changed"
    assert platform.call(22, origin=origin).passed
    run = platform.run_of(21, origin)["id"]
    for state in ({"type": "CRASHED", "name": "Crashed", "message": MESSAGE}, {"type": "COMPLETED"}):
        platform.post(f"/flow_runs/{run}/set_state", {"state": state, "force": True})
    assert platform.call(21, origin=origin).status == "ok"
    outcome = platform.call(22, origin=origin)
    assert outcome.passed, outcome
    assert "Crashed" in outcome.summary  # it is told, all the same


# --- 23 Trigger with parameter overrides, 24 with JSON parameters, 25 Verify multiple flow runs ----------------------


def test_23_and_25_overrides_that_did_not_arrive_are_told(platform: Platform) -> None:
    with _other_parameters(platform, 23):
        outcome = platform.call(23)
        assert outcome.failed_saying("was to land 51 rows, but", "has 50 of it"), outcome
        assert platform.call(25).failed_saying("'batch_size': 51", "'batch_size': 50")
    assert platform.call(23).status == "ok"


def test_24_and_25_rows_in_another_table_than_the_one_named_do_not_count(platform: Platform) -> None:
    run = platform.run_of(24)["id"]
    with (
        taken(platform.warehouse, "test.metrics", "flow_run_id = ?", run) as rows,
        contextlib.closing(sqlite3.connect(platform.warehouse, timeout=20)) as connection,
    ):
        places = ", ".join("?" * len(rows[0]))
        with connection:
            connection.executemany(f'INSERT INTO "public.daily_metrics" VALUES ({places})', rows)
        outcomes = [platform.call(number) for number in (24, 25)]
        with connection:
            connection.execute('DELETE FROM "public.daily_metrics" WHERE flow_run_id = ?', (run,))
    for outcome in outcomes:
        assert outcome.failed_saying("was to land 200 rows", "warehouse.test.metrics", "has 0 of it"), outcome
    assert platform.call(24).status == "ok"


def test_23_parameters_that_the_server_refuses_are_told(platform: Platform, origin: str) -> None:
    outcome = platform.call(23, origin=origin, acceptance={"overrides": {"batch_size": 0}})
    assert outcome.failed_saying("`prefect deployment run", "exit code 1", "batch_size"), outcome
    assert platform.runs(f"blueprint:{origin}") == []


def test_23_and_24_trigger_as_a_user_does_at_the_command_line(platform: Platform) -> None:
    commands = {case: platform.first[case].details["command"] for case in (23, 24)}
    assert commands[23].startswith("prefect deployment run 'Enterprise Data Pipeline/production-etl' --param ")
    assert commands[24].startswith("prefect deployment run 'Enterprise Data Pipeline/production-etl' --params '{")


def test_23_a_run_that_the_command_of_a_killed_execution_made_is_found_and_no_other_is_made(
    platform: Platform, origin: str
) -> None:
    command = shlex.split(platform.first[23].details["command"].replace(platform.origin, origin))
    environment = {"PATH": os.environ["PATH"], "PREFECT_API_URL": f"{platform.server_url}/api"}
    subprocess.run([Path(sys.executable).with_name("prefect"), *command[1:]], env=environment, check=True, timeout=60)
    outcome = platform.call(23, origin=origin)
    assert outcome.status == "ok", outcome
    assert [run["id"] for run in platform.runs(f"blueprint:{origin}")] == [outcome.details["flow_run_id"]]


def test_23_and_24_cases_that_are_not_configured_are_skipped_not_ticked(platform: Platform, origin: str) -> None:
    for number in (23, 24, 28):
        outcome = platform.call(number, origin=origin, acceptance={})
        assert outcome.status == "skipped", outcome
        assert "configured" in outcome.summary


# --- 26 Check logs accessibility -------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["", "Loaded 200 rows"], ids=["all lines", "one line"])
def test_26_log_lines_that_the_api_has_lost_are_missed(platform: Platform, which: str) -> None:
    run = platform.run_of(24)
    with platform.without_logs(run["id"], which):
        outcome = platform.call(26, seconds=2)
    assert outcome.failed_saying("the API lacks", f"lines of {run['name']}", which), outcome
    assert platform.call(26).status == "ok"


@pytest.mark.parametrize("name", ["server.log", "worker.log"])
def test_26_a_log_file_that_is_gone_is_missed(platform: Platform, name: str) -> None:
    log = platform.root / "logs" / name
    log.rename(log.with_suffix(".away"))
    try:
        outcome = platform.call(26)
        log.touch()
        empty = platform.call(26)
    finally:
        log.with_suffix(".away").replace(log)
    for one in (outcome, empty):
        assert one.failed_saying(f"logs/{name} is missing or empty"), one


def test_26_a_flow_that_logs_control_characters_passes_and_no_log_holds_them(platform: Platform, origin: str) -> None:
    line = 'logger.info("Loading %d rows into %s", metrics.row_count, target_table)'
    noisy = r'"planted \x1b[31mred\x1b[0m \x07bell \x9b2J\ttab\rback :warning:\nsecond line \x1b]0;title\x07"'
    more = f"{line}\n    logger.info({noisy})\n    print({noisy})"
    entrypoint = platform.variant("noisy", (line, more))
    with platform.deployed("noisy", entrypoint=entrypoint, acceptance={}) as settings:
        for number in (21, 22, 26):
            outcome = platform.call(number, origin=origin, seconds=120, **settings)
            assert outcome.passed, (number, outcome)
    written = b"".join(path.read_bytes() for path in (platform.root / "logs").glob("*.log*"))
    assert rb"planted \x1b[31mred" in written
    assert [sign for sign in (b"\x1b", b"\x07", b"\r", b"\xc2\x9b") if sign in written] == []


# --- 27 Verify monitoring points -------------------------------------------------------------------------------------


@pytest.mark.usefixtures("mended")
def test_27_a_dead_worker_is_missed_at_its_health_endpoint(platform: Platform) -> None:
    platform.kill("worker")
    assert platform.call(27).failed_saying("worker health: ", "/health does not answer: connection ")


@pytest.mark.usefixtures("mended")
def test_27_a_frozen_server_is_told(platform: Platform) -> None:
    with platform.frozen("server"):
        outcome = platform.call(27)
    assert outcome.failed_saying("health: "), outcome


def test_27_a_server_that_asks_nobody_for_the_password_of_the_settings_is_told(platform: Platform) -> None:
    outcome = platform.call(27, auth="given", api_auth_string="user:password")
    assert outcome.failed_saying("does not ask for a password, against its settings"), outcome
    assert platform.call(27).details["password"] == "no password (as set)"


# --- 30 Final system verification ------------------------------------------------------------------------------------


@pytest.fixture
def held_run(platform: Platform) -> Iterator[dict[str, Any]]:
    """A run of the deployment that is five minutes late, because the queue that it waits in is paused."""
    queue = platform.post("/work_pools/local-process-pool/queues", {"name": "held", "is_paused": True})
    due = datetime.now(UTC) - timedelta(minutes=5)
    state = {"type": "SCHEDULED", "state_details": {"scheduled_time": due.isoformat()}}
    deployment = platform.deployment()["id"]
    made = platform.post(
        f"/deployments/{deployment}/create_flow_run", {"state": state, "work_queue_name": queue["name"]}
    )
    try:
        yield made
    finally:
        platform.delete(f"/flow_runs/{made['id']}")
        platform.delete("/work_pools/local-process-pool/queues/held")


def test_30_a_run_that_is_late_is_told(platform: Platform, held_run: dict[str, Any]) -> None:
    outcome = platform.call(30)
    assert outcome.failed_saying("Not everything is well", held_run["name"], "since"), outcome


def test_30_a_run_of_this_execution_that_crashed_is_told_and_one_of_another_is_not(platform: Platform) -> None:
    deployment = platform.deployment()["id"]
    crashed = {"type": "CRASHED", "name": "Crashed"}
    for tag, fails in ((f"blueprint:{platform.origin}", True), ("blueprint:another", False)):
        later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2099-01-01T00:00:00Z"}}
        made = platform.post(f"/deployments/{deployment}/create_flow_run", {"state": later, "tags": [tag]})
        try:
            platform.post(f"/flow_runs/{made['id']}/set_state", {"state": crashed, "force": True})
            outcome = platform.call(30)
        finally:
            platform.delete(f"/flow_runs/{made['id']}")
        if fails:
            assert outcome.failed_saying(f"{made['name']} is Crashed"), outcome
        else:
            assert outcome.status == "ok", outcome


@pytest.mark.parametrize("case", [21, 23, 24])
def test_30_a_run_that_was_deleted_is_missed(platform: Platform, case: int) -> None:
    """Seen with another tag: a deleted run cannot be brought back."""
    run = platform.run_of(case)
    platform.patch(f"/flow_runs/{run['id']}", {"tags": []})
    try:
        for number in (25, 30):
            assert platform.call(number).failed_saying(f"no flow run of task {case}"), number
    finally:
        platform.patch(f"/flow_runs/{run['id']}", {"tags": run["tags"]})
    assert platform.call(30).status == "ok"


def test_30_a_pool_that_was_paused_is_told(platform: Platform) -> None:
    platform.patch("/work_pools/local-process-pool", {"is_paused": True})
    try:
        outcome = platform.call(30)
    finally:
        platform.patch("/work_pools/local-process-pool", {"is_paused": False})
    assert outcome.failed_saying("paused"), outcome


# Seen again by task 30: what tasks 17, 26 and 27 had proven when it was still so


def test_30_a_ui_that_is_no_longer_served_is_told(platform: Platform) -> None:
    pages = list(platform.ui.rglob("index.html"))
    assert pages
    for page in pages:
        page.rename(page.with_suffix(".away"))
    try:
        outcomes = [platform.call(number) for number in (17, 30)]
    finally:
        for page in pages:
            page.with_suffix(".away").rename(page)
    for outcome in outcomes:
        assert outcome.failed_saying(f"{platform.server_url}/deployments answers "), outcome
    assert platform.call(30).status == "ok"


@pytest.mark.parametrize("case", [21, 23])
def test_30_log_lines_that_the_api_has_lost_since_are_told(platform: Platform, case: int) -> None:
    run = platform.run_of(case)
    with platform.without_logs(run["id"], "Loaded"):
        outcome = platform.call(30)
    assert outcome.failed_saying("the API lacks 1 of", f"lines of {run['name']}", "Loaded"), outcome


def test_30_a_log_file_that_has_gone_since_is_told(platform: Platform) -> None:
    log = platform.root / "logs" / "server.log"
    log.rename(log.with_suffix(".away"))
    try:
        outcome = platform.call(30)
    finally:
        log.with_suffix(".away").replace(log)
    assert outcome.failed_saying("logs/server.log is missing"), outcome


def test_30_a_monitoring_point_that_answers_otherwise_is_told(platform: Platform) -> None:
    """The platform is expected under another name than the one that its UI is told to call."""
    outcome = platform.call(30, public_url="http://platform.example.com")
    assert outcome.failed_saying(f"UI: {platform.server_url}/ui-settings", "not as expected"), outcome
