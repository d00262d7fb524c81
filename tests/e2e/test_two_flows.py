"""A second flow beside the first: from what `init` prints to a proven platform; one of them that breaks is named."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator

import pytest

from tests.support.checkout import Checkout

FLOWS = """
from typing import Annotated

from prefect import flow, task
from pydantic import Field


@task
def count(rows: int) -> int:
    return rows


@flow
def nightly(rows: Annotated[int, Field(ge=1)] = 5) -> int:
    return count(rows)


@flow
def hourly() -> int:
    return count(1)
"""


@pytest.fixture
def own(checkout: Checkout) -> Iterator[Checkout]:
    """A checkout with two flows in it."""
    pyproject, flows = checkout.root / "pyproject.toml", checkout.root / "flow.py"
    before = pyproject.read_bytes()
    flows.write_text(FLOWS)
    yield checkout
    pyproject.write_bytes(before)
    flows.unlink()


def test_a_second_flow_is_added_as_init_says_and_each_is_proven(own: Checkout) -> None:
    pyproject, flows = own.root / "pyproject.toml", own.root / "flow.py"
    own.must("init", "flow.py:nightly", "--set", "cron=0 6 * * *", "--set", f"port={own.port}")
    before = pyproject.read_text()
    offered = own.run("init", "flow.py:hourly")
    assert offered.code == 2
    assert pyproject.read_text() == before
    table = textwrap.dedent(offered.output[offered.output.index("    [[tool") : offered.output.index("Error:")])
    pyproject.write_text(before + "\n" + table)

    proven = own.must("--phase", "all")
    assert "28 of 30 tasks proven" in proven.output
    tasks = own.last().tasks
    assert [number for number, task in tasks.items() if task.status == "skipped"] == [23, 24]
    assert tasks[18].outcome.summary.startswith("nightly: active, 0 6 * * *")
    assert "hourly: skipped, no schedule is configured" in tasks[18].outcome.summary
    assert set(tasks[22].outcome.details["deployments"]) == {"nightly", "hourly"}
    ids = {name: own.get(f"/deployments/name/{name}/{name}")["id"] for name in ("nightly", "hourly")}
    query = {
        "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        "deployments": {"id": {"any_": [*ids.values()]}},
    }
    assert {run["deployment_id"] for run in own.post("/flow_runs/filter", query)} == set(ids.values())
    services = {name: own.pid(name) for name in ("server", "worker")}

    up = own.must("verify")
    assert "up      deployment nightly: nightly is ready" in up.output
    assert "up      deployment hourly: hourly is ready" in up.output

    flows.write_text(FLOWS.replace("count(1)", "count(1 // 0)"))
    broken = own.run("--phase", "1")
    assert broken.code == 1
    task = own.last().tasks[9]
    assert task.outcome.summary.startswith("hourly: The flow as a script ended with exit code 1")
    assert task.outcome.summary.endswith(" Passed: nightly.")
    assert "ZeroDivisionError" in json.dumps(task.outcome.details["deployments"]["hourly"])
    assert task.outcome.where_to_look == "logs/local_run-hourly.log"
    assert "local run" in task.outcome.details["deployments"]["nightly"]["reason"]

    flows.write_text(FLOWS)
    own.must("--resume")
    assert own.last().tasks[9].status == "changed"
    assert own.last().tasks[9].outcome.reason.startswith("hourly: ")
    assert {name: own.pid(name) for name in services} == services
