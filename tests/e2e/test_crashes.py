"""Killed anywhere, and then `--resume`: nothing is lost, doubled or left behind.

The kills are SIGKILL: of the executor behind each of the 30 tasks and at random moments, and of the flow runs' own
processes. A test begins with whatever the one before left running, as a user's day does.
"""

from __future__ import annotations

import contextlib
import math
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from blueprint.execution.history import History
from tests.support.checkout import Checkout, Finished, Running, until

ROWS = {"9": 500, "21": 500, "23": 50, "24": 200, "28-retried": 500}
RESUMES = 2  # a task's own deadline may pass on a busy machine; more than that is a defect


def resume(checkout: Checkout) -> Finished:
    """Go on until all is proven."""
    for _ in range(RESUMES):
        finished = checkout.run("--resume")
        if finished.code == 0:
            return finished
    raise AssertionError(f"--resume does not complete:\n{finished.output}\nbefore:\n{history(checkout)}")


def history(checkout: Checkout) -> str:
    """What the executions came to, for a failure's message."""
    return "\n".join(
        f"{one.id} {one.started.command} {one.status} "
        + " ".join(f"{number}:{task.status.value}" for number, task in sorted(one.tasks.items()))
        for one in History(checkout.records()).executions
    )


def runs_of(checkout: Checkout, case: str) -> list[dict[str, Any]]:
    """The flow runs of a case of the last execution, oldest first."""
    found = checkout.runs(f"blueprint:{checkout.last().origin}:{case}")
    return sorted(found, key=lambda run: str(run["created"]))


def assert_nothing_lost_or_doubled(checkout: Checkout, deployment_id: str | None = None) -> None:
    """One of everything; for each case one run that ended as it should; its rows once; nothing still at work."""
    until(lambda: len(checkout.mains("worker")) == 1, 20)  # the processes of runs go a moment after their report
    assert {name: len(checkout.mains(name)) for name in checkout.processes()} == {"server": 1, "worker": 1, "source": 1}
    assert [pool["name"] for pool in checkout.post("/work_pools/filter", {})] == ["local-process-pool"]
    workers = checkout.post("/work_pools/local-process-pool/workers/filter", {})
    assert [worker["status"] for worker in workers] == ["ONLINE"]
    (deployment,) = checkout.post("/deployments/filter", {})
    assert deployment_id in (None, deployment["id"])
    tables = {"24": checkout.rows("test.metrics")}
    for case, rows in ROWS.items():
        found = runs_of(checkout, case)
        assert Counter(run["state_type"] for run in found)["COMPLETED"] == 1, (case, found)
        in_table = tables.get(case) or checkout.rows()
        for run in found:
            assert run["state_type"] in ("COMPLETED", "CRASHED"), (case, run["state_name"])
            allowed = [(rows, rows)] if run["state_type"] == "COMPLETED" else [(rows, rows), (0, 0)]
            assert in_table.get(run["id"], (0, 0)) in allowed, (case, run["state_name"])
    failed = runs_of(checkout, "28-failing")
    assert Counter(run["state_type"] for run in failed)["FAILED"] == 1
    at_work = checkout.post("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}})
    assert [(run["name"], run["state_name"]) for run in at_work] == []


def kill_behind_a_task(checkout: Checkout, running: Running, wanted: set[int]) -> int | None:
    """Kill the executor as soon as one of these tasks has finished with all of its units; None if none did."""
    read = 0
    while running.process.poll() is None:
        time.sleep(0.002)
        records = checkout.records_of(running)
        finished = finished_tasks(records) & wanted if len(records) > read else set()
        read = len(records)
        if finished:
            running.kill()
            return min(finished)
    return None


def finished_tasks(records: list[dict[str, Any]]) -> set[int]:
    """The tasks of an execution whose units have all finished: the part that deployments share, and each deployment."""
    planned = {tuple(unit) for record in records if record["kind"] == "units planned" for unit in record["units"]}
    finished = {(record["task"], record.get("deployment")) for record in records if record["kind"] == "task finished"}
    return {task for task, _ in finished} - {task for task, _ in planned - finished}


@pytest.mark.timeout(1200)
def test_killed_behind_each_of_the_30_tasks_the_next_resume_goes_on(
    checkout: Checkout, record_property: Callable[[str, object], None]
) -> None:
    left = set(range(1, 31))
    deployments = set()
    args: tuple[str, ...] = ("--phase", "all")
    for _ in range(3 * len(left)):
        running = checkout.start(*args)
        killed = kill_behind_a_task(checkout, running, left)
        if killed is not None:
            left.discard(killed)
        if killed is not None and killed >= 15:
            with contextlib.suppress(Exception):
                deployments.add(checkout.deployment()["id"])
        if not left:
            break
        # What has passed is not run again: a task that ended in the shadow of another is asked for by its number.
        args = ("--resume",) if killed is not None else ("--resume-from", str(min(left)))
    record_property("kills", 30 - len(left))
    assert not left, f"never seen to finish: {left}\n{history(checkout)}"
    resume(checkout)
    deployments.add(checkout.deployment()["id"])
    assert len(deployments) == 1
    assert_nothing_lost_or_doubled(checkout)


@pytest.mark.timeout(3600)
def test_killed_at_random_moments_resume_completes_with_one_of_everything(
    installed: Checkout,
    chance: random.Random,
    pytestconfig: pytest.Config,
    record_property: Callable[[str, object], None],
) -> None:
    kills = pytestconfig.getoption("--chaos-kills")
    done = 0
    args: tuple[str, ...] = ("--phase", "all")
    while done < kills:
        started = len(History(installed.records()).executions)
        running = installed.start(*args)
        moment = math.exp(chance.uniform(math.log(0.05), math.log(12.0)))  # most of them early: that is most moments
        with contextlib.suppress(Exception):
            running.process.wait(timeout=moment)
        if running.process.poll() is None:
            running.kill()
            done += 1
        begun_one = len(History(installed.records()).executions) > started
        everything_passed = running.process.returncode == 0
        if everything_passed:
            assert_nothing_lost_or_doubled(installed)
        args = ("--phase", "all") if everything_passed or not (begun_one or started) else ("--resume",)
    record_property("kills", done)
    resume(installed)
    assert_nothing_lost_or_doubled(installed)


def process_of(checkout: Checkout, run: dict[str, Any]) -> psutil.Process:
    """The process that executes a flow run."""

    def found() -> list[psutil.Process]:
        processes = []
        for process in checkout.processes().get("worker", []):
            with contextlib.suppress(psutil.Error):
                if process.environ().get("PREFECT__FLOW_RUN_ID") == run["id"]:
                    processes.append(process)
        return processes

    return until(found, 30)[-1]


def await_task(checkout: Checkout, run: dict[str, Any], name: str) -> None:
    """Wait until a task of a flow run is at work."""

    def running() -> bool:
        asked = {"flow_runs": {"id": {"any_": [run["id"]]}}}
        states = {
            one["name"].rpartition("-")[0]: one["state_type"] for one in checkout.post("/task_runs/filter", asked)
        }
        return states.get(name) == "RUNNING"

    until(running, 40, every=0.1)


def first_run(checkout: Checkout, case: str) -> dict[str, Any]:
    """The run that the execution at work makes for a case."""
    return until(lambda: runs_of(checkout, case), 60)[0]


@pytest.mark.timeout(600)
def test_a_flow_run_killed_in_extract_in_load_or_before_its_report_is_run_again(installed: Checkout) -> None:
    installed.must("--phase", "all")
    running = installed.start("--phase", "3")
    installed.await_record(running, "task started", task=21)
    os.killpg(installed.pid("source"), signal.SIGSTOP)  # all runs stay in extract
    try:
        first, second, third = (first_run(installed, case) for case in ("21", "23", "24"))
        await_task(installed, first, "extract-task")
        process_of(installed, first).kill()
        database = next(installed.workspace.warehouse.glob("*.sqlite3"))
        with contextlib.closing(sqlite3.connect(database, isolation_level=None, timeout=20)) as warehouse:
            warehouse.execute("BEGIN IMMEDIATE")  # all runs stay in load
            os.killpg(installed.pid("source"), signal.SIGCONT)
            await_task(installed, second, "load-task")
            process_of(installed, second).kill()
            await_task(installed, third, "load-task")
            condemned = process_of(installed, third)
            os.killpg(installed.pid("server"), signal.SIGSTOP)  # nothing is reported to it
            warehouse.execute("ROLLBACK")
        until(lambda: third["id"] in installed.rows("test.metrics"), 30, every=0.01)
        condemned.kill()
    finally:
        for service in ("source", "server"):
            os.killpg(installed.pid(service), signal.SIGCONT)
    finished = running.finish()
    assert finished.code == 1, finished.output
    crashed = [runs_of(installed, case)[0]["state_type"] for case in ("21", "23", "24")]
    assert crashed == ["CRASHED"] * 3
    assert "Crashed" in finished.output
    resume(installed)
    assert_nothing_lost_or_doubled(installed)
    rows, other = installed.rows(), installed.rows("test.metrics")
    assert [rows.get(first["id"]), rows.get(second["id"]), other.get(third["id"])] == [None, None, (200, 200)]
