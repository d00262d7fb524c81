"""All tasks on a healthy platform: each passes, and a second time finds everything there."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from blueprint.tasks.registry import specs
from tests.support.live_platform import Platform

ACTING = {6, 7, 8, 9, 11, 13, 15, 21, 23, 24, 28}  # the tasks that bring something about; the others only read
TABLES = {21: "public.daily_metrics", 23: "public.daily_metrics", 24: "test.metrics"}


@pytest.mark.parametrize("number", range(5, 31), ids=lambda number: f"{number}-{specs()[number - 1].title}")
def test_a_fresh_platform_passes_every_task(platform: Platform, number: int) -> None:
    outcome = platform.first[number]
    assert outcome.status == ("changed" if number in ACTING else "ok"), outcome
    assert outcome.summary
    assert bool(outcome.reason) == (number in ACTING), "what acted says why, what did not act claims no reason"


def test_a_second_execution_of_the_same_origin_changes_nothing(platform: Platform) -> None:
    services = {name: platform.pid(name) for name in ("server", "worker", "source")}
    deployment = platform.deployment()["id"]
    runs = {run["id"] for run in platform.runs(f"blueprint:{platform.origin}")}
    for number in range(5, 31):
        outcome = platform.call(number)
        assert outcome.status == "ok", (number, outcome)
    assert {name: platform.pid(name) for name in services} == services
    assert platform.deployment()["id"] == deployment
    assert {run["id"] for run in platform.runs(f"blueprint:{platform.origin}")} == runs


@pytest.mark.parametrize(("case", "rows"), [(21, 500), (23, 50), (24, 200)])
def test_the_rows_that_were_reported_are_in_the_warehouse(platform: Platform, case: int, rows: int) -> None:
    run = platform.run_of(case)
    assert run["state"]["type"] == "COMPLETED"
    assert run["parameters"]["batch_size"] == rows
    with closing(sqlite3.connect(f"file:{platform.warehouse}?mode=ro", uri=True)) as connection:
        query = f'SELECT count(*) FROM "{TABLES[case]}" WHERE flow_run_id = ?'
        (found,) = connection.execute(query, (run["id"],)).fetchone()
    assert found == rows


def test_the_document_of_failures_tells_all_four_cases_with_their_times(platform: Platform) -> None:
    text = (platform.root / platform.first[28].details["document"]).read_text()
    assert text.count("## ") == 4
    assert text.count("AwaitingRetry") == 2 + 3
    assert "invalid://url" in text
    for parameters in ({"batch_size": -1}, {"batch_size": "invalid"}):
        assert f"Parameters: `{json.dumps(parameters)}`" in text


def test_the_server_keeps_its_files_in_the_project_folder_not_in_the_users_home(platform: Platform) -> None:
    used = Path(f"/proc/{platform.pid('server')}/environ").read_bytes().split(b"\0")
    assert f"PREFECT_HOME={platform.root}/.blueprint/prefect".encode() in used
