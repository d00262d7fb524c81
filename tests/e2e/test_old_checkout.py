"""A checkout of version 1.0.0 goes on with this program: nothing that it remembers is lost or doubled.

`tests/support/state_of_1_0_0.tar.xz` is the `.blueprint` of that version after one `--phase all`: journal, server
database and warehouse. Its journal remembers a setting of the command line, `jobs=7`.
"""

from __future__ import annotations

import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

from blueprint.cli.remembered import remembered
from blueprint.execution import history
from tests.support.checkout import Checkout

STATE = Path(__file__).parents[1] / "support" / "state_of_1_0_0.tar.xz"
DEPLOYMENT = "/deployments/name/Enterprise Data Pipeline/production-etl"


def rows(checkout: Checkout) -> int:
    with closing(sqlite3.connect(checkout.workspace.warehouse / "warehouse.sqlite3")) as connection:
        return int(connection.execute('SELECT count(*) FROM "public.daily_metrics"').fetchone()[0])


def test_the_state_of_an_old_version_is_taken_over(checkout: Checkout) -> None:
    state = checkout.workspace.state
    with tarfile.open(STATE) as archive:
        archive.extractall(state, filter="data")
    database = state / "prefect" / "prefect.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("DELETE FROM flow_run WHERE state_type = 'SCHEDULED'")  # of days that have passed since
        ((old_deployment,),) = connection.execute("SELECT id FROM deployment")
        old_runs = {run for (run,) in connection.execute("SELECT id FROM flow_run")}
    old_rows = rows(checkout)
    (old,) = history.load(checkout.workspace.journal).executions
    assert old.status == "passed"
    assert {number for number in range(1, 31) if old.passed(number)} == set(range(1, 31))
    assert old.tasks[8].outcome.details["version"] == "3.8.8"
    assert remembered(checkout.workspace) == ("jobs=7",)
    assert "Nothing to resume" in checkout.run("--resume").output

    finished = checkout.must("--phase", "all")
    assert "jobs=7" in finished.output
    first, second = history.load(checkout.workspace.journal).executions
    assert (first.id, second.status) == (old.id, "passed")
    deployment = checkout.get(DEPLOYMENT)
    assert deployment["id"] == old_deployment
    assert deployment["job_variables"] == {}  # it named the command of the old checkout
    runs = {run["id"] for run in checkout.post("/flow_runs/filter", {})}
    assert old_runs <= runs
    assert len([pool["name"] for pool in checkout.post("/work_pools/filter", {})]) == 1
    assert rows(checkout) == old_rows + 500 + 50 + 500 + 500  # tasks 21, 23 and 28, and the local run of task 9
    assert set(json.loads(checkout.workspace.remembered_settings.read_text())["accepted"]) >= {"jobs=7"}
