"""The pipeline as real flow runs against a real server: faults, kills, and the memory of a large run."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from blueprint.pipeline.warehouse import landed, load
from tests.support.metrics import serve_metrics
from tests.support.prefect_server import PrefectServer, running_prefect
from tests.support.rows import batch

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "blueprint" / "pipeline" / "data_pipeline.py"
TABLE = "warehouse.public.daily_metrics"

eventually = retry(
    wait=wait_fixed(0.02), stop=stop_after_delay(60), retry=retry_if_exception_type(AssertionError), reraise=True
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectServer]:
    with running_prefect(tmp_path_factory.mktemp("platform")) as running:
        yield running


@pytest.fixture(scope="module")
def source() -> Iterator[str]:
    with serve_metrics() as url:
        yield url


@pytest.fixture(autouse=True)
def _same_warehouse(server: PrefectServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_WAREHOUSE_DIR", server.env["PIPELINE_WAREHOUSE_DIR"])
    monkeypatch.delenv("PIPELINE_DATABASE_URL", raising=False)


def _local_run(server: PrefectServer, parameters: dict[str, Any], **env: str) -> tuple[int, dict[str, Any], str]:
    """Run the flow as a plain process; gives exit code, the run as the server has it, and what the process said."""
    tag = secrets.token_hex(4)
    program = [sys.executable, "-m", "blueprint.prefect_runtime.local_run", f"{SCRIPT}:enterprise_data_pipeline"]
    done = subprocess.run(
        [*program, "--folder", "/", "--tag", "local", "--tag", tag],
        cwd=PROJECT,
        env=server.env | {"_BLUEPRINT_PARAMETERS": json.dumps(parameters)} | env,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    (run,) = server.post("/flow_runs/filter", {"flow_runs": {"tags": {"all_": ["local", tag]}}})
    return done.returncode, run, done.stdout + done.stderr


def _task_runs(server: PrefectServer, flow_run_id: str) -> dict[str, dict[str, Any]]:
    """The flow run's task runs by name, once the server has taken in that they ended."""

    @eventually
    def read() -> dict[str, dict[str, Any]]:
        runs = server.post("/task_runs/filter", {"flow_runs": {"id": {"any_": [flow_run_id]}}})
        assert runs
        assert all(run["state_type"] in ("COMPLETED", "FAILED") for run in runs)
        return {run["name"].rsplit("-", 1)[0]: run for run in runs}

    return read()


def _new_flow_run(server: PrefectServer, **parameters: Any) -> str:
    flow = server.post("/flows/", {"name": "Enterprise Data Pipeline"})
    body = {"flow_id": flow["id"], "parameters": parameters, "state": {"type": "PENDING"}}
    return str(server.post("/flow_runs/", body)["id"])


def _engine(server: PrefectServer, flow_run_id: str) -> subprocess.Popen[str]:
    """The process that a worker starts for a flow run."""
    env = server.env | {"PREFECT__FLOW_ENTRYPOINT": f"{SCRIPT}:enterprise_data_pipeline"}
    argv = [sys.executable, "-m", "prefect.engine", flow_run_id]
    return subprocess.Popen(argv, env=env, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _warehouse_file(server: PrefectServer) -> Path:
    return Path(server.env["PIPELINE_WAREHOUSE_DIR"]) / "warehouse.sqlite3"


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -9


def _run_again(server: PrefectServer, flow_run_id: str) -> None:
    """What an operator does with a run whose process died: run the same flow run once more, to its end."""
    state = {"state": {"type": "PENDING", "name": "Pending"}, "force": True}
    server.post(f"/flow_runs/{flow_run_id}/set_state", state)
    _output, errors = _engine(server, flow_run_id).communicate(timeout=60)
    assert server.get(f"/flow_runs/{flow_run_id}")["state_type"] == "COMPLETED", errors


def test_as_a_script_it_lands_its_rows_and_the_server_knows_the_run(server: PrefectServer, source: str) -> None:
    env = server.env | {"PIPELINE_SOURCE_URL": source}
    done = subprocess.run(
        [sys.executable, str(SCRIPT)], cwd="/", env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    (run,) = server.post("/flow_runs/filter", {"flow_runs": {}})
    assert (run["state_name"], run["parameters"]["batch_size"]) == ("Completed", 100)
    assert landed(TABLE, run["id"]).records == 100
    tasks = _task_runs(server, run["id"])
    assert set(tasks) == {"extract-task", "transform-task", "load-task"}
    assert {"layer:gold", "op:load"} <= set(tasks["load-task"]["tags"])


def test_an_address_that_leads_nowhere_fails_after_three_retries_two_seconds_apart(server: PrefectServer) -> None:
    code, run, said = _local_run(server, {"source_url": "invalid://url"})
    assert (code, run["state_name"]) == (1, "Failed")
    assert "flow run ended Failed: " in said
    assert "The source invalid://url cannot be read" in run["state"]["message"]
    task = _task_runs(server, run["id"])["extract-task"]
    assert task["run_count"] == 4
    history = server.get(f"/task_run_states/?task_run_id={task['id']}")
    starts = [datetime.fromisoformat(s["timestamp"]) for s in history if s["type"] == "RUNNING"]
    assert len(starts) == 4
    assert all(1.9 <= (later - earlier).total_seconds() < 10 for earlier, later in pairwise(sorted(starts)))


def test_a_planted_password_is_in_no_file_and_no_log_of_the_platform(server: PrefectServer, source: str) -> None:
    database = "postgresql://etl:s3cret-pw@127.0.0.1:1/warehouse"
    address = source.replace("//", "//user:s3cret-pw@")
    code, run, said = _local_run(server, {}, PIPELINE_DATABASE_URL=database, PIPELINE_SOURCE_URL=address)
    assert (code, run["state_name"]) == (1, "Failed")
    assert "The warehouse postgresql+psycopg://etl:***@127.0.0.1:1/warehouse refused: " in said
    logs = server.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run["id"]]}}})
    assert logs
    folder = Path(server.env["PREFECT_HOME"]).parent
    found = [path for path in folder.rglob("*") if path.is_file() and b"s3cret-pw" in path.read_bytes()]
    assert not found
    assert "s3cret-pw" not in said + json.dumps(logs)


def _wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if text in line:
            return
    raise AssertionError("".join(said))


def test_killed_between_the_commit_and_its_report_the_rows_land_once(server: PrefectServer, source: str) -> None:
    run_id = _new_flow_run(server, source_url=source, batch_size=200)
    load(TABLE, "other", batch(1).rows())
    process = _engine(server, run_id)

    @eventually
    def committed() -> None:
        assert landed(TABLE, run_id).rows == 200

    with contextlib.closing(sqlite3.connect(_warehouse_file(server), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")  # holds the load up
        _wait_for_line(process, "Loading 200 rows")
        with server.frozen():  # nothing that the run reports from here on is heard
            other.execute("COMMIT")
            committed()
            _kill(process)
    assert server.get(f"/flow_runs/{run_id}")["state_type"] == "RUNNING"
    _run_again(server, run_id)
    found = landed(TABLE, run_id)
    assert (found.rows, found.records) == (200, 200)


def test_a_hundred_thousand_records_in_one_run_stay_under_300_megabytes(server: PrefectServer, source: str) -> None:
    run_id = _new_flow_run(server, source_url=source, batch_size=100_000, timeout_seconds=120)
    process = _engine(server, run_id)
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert server.get(f"/flow_runs/{run_id}")["state_type"] == "COMPLETED"
    assert landed(TABLE, run_id).records == 100_000
    assert usage.ru_maxrss * 1024 < 300e6, f"peak {usage.ru_maxrss // 1024} MiB"
