"""Tasks 6 to 10 fail when what they prove is no longer so, and say what it is; what brings it about restores it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tests.support.live_platform import FLOW, Platform, Tasks
from tests.support.ports import free_port
from tests.support.web import send, send_json, serving

# --- 6 Configure API URL ---------------------------------------------------------------------------------------------


def test_6_a_dotenv_that_leads_elsewhere_is_noticed(spare: Path, spare_tasks: Tasks, origin: str) -> None:
    (spare / ".env").write_text("PREFECT_API_URL=http://127.0.0.1:4999/api\n")
    outcome = spare_tasks.call(6, origin=origin)
    assert outcome.failed_saying("api_url is 'http://127.0.0.1:4999/api'"), outcome
    assert ".env" in outcome.where_to_look
    (spare / ".env").unlink()
    assert spare_tasks.call(6, origin=origin).status == "ok"


def test_6_a_prefect_toml_of_the_users_own_is_not_overwritten(spare: Path, spare_tasks: Tasks, origin: str) -> None:
    theirs = '[api]\nurl = "https://prefect.example/api"\n'
    (spare / "prefect.toml").write_text(theirs)
    outcome = spare_tasks.call(6, origin=origin)
    assert outcome.failed_saying("prefect.toml", "did not write"), outcome
    assert (spare / "prefect.toml").read_text() == theirs


def test_6_a_prefect_toml_of_ours_that_was_changed_is_written_again(
    spare: Path, spare_tasks: Tasks, origin: str
) -> None:
    assert spare_tasks.call(6, origin=origin).status == "changed"
    toml = spare / "prefect.toml"
    good = toml.read_text()
    toml.write_text(good.replace("/api", "/other"))
    outcome = spare_tasks.call(6, origin=origin)
    assert outcome.status == "changed"
    assert "prefect.toml" in outcome.reason
    assert toml.read_text() == good


# --- 7 Verify data_pipeline.py ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("tried_once", "retries=3", "retries=1", ("extract-task", "retries=1")),
        ("impatient", "retry_delay_seconds=2", "retry_delay_seconds=1", ("extract-task", "retry_delay_seconds=1")),
        ("untagged", '"layer:gold", ', "", ("load-task", "layer:gold")),
        ("renamed", 'name="load-task"', 'name="store-task"', ("load-task", "missing")),
        ("no_python", "def load_task(", "def load_task((", ("cannot be loaded", "SyntaxError")),
        ("no_module", "import sys\n", "import sys, nothing_of_that_name\n", ("cannot be loaded", "nothing_of_that")),
        ("no_flow", '@flow(name="Enterprise Data Pipeline", persist_result=False)\n', "", ("is not a flow",)),
    ],
)
def test_7_a_flow_that_is_not_as_expected_is_told(
    platform: Platform, name: str, old: str, new: str, said: tuple[str, ...]
) -> None:
    outcome = platform.call(7, entrypoint=platform.variant(name, (old, new)))
    assert outcome.failed_saying(*said), outcome
    assert outcome.where_to_look


def test_7_a_file_that_is_gone_is_told(platform: Platform) -> None:
    outcome = platform.call(7, entrypoint=f"blueprint/pipeline/gone.py:{FLOW}")
    assert outcome.failed_saying("blueprint/pipeline/gone.py does not exist"), outcome


def test_7_a_dead_data_source_is_started_again(platform: Platform) -> None:
    dead = platform.kill("source")
    outcome = platform.call(7)
    assert outcome.status == "changed", outcome
    assert str(dead) in outcome.reason
    assert platform.pid("source") != dead


def test_7_a_data_source_that_does_not_answer_is_told(platform: Platform) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/metrics"
    outcome = platform.call(7, data_source=url)
    assert outcome.failed_saying(url, "does not answer"), outcome


@pytest.mark.parametrize("page", [b"<html><body>Sign in</body></html>", b'{"items": []}'])
def test_7_a_data_source_that_answers_something_else_is_told(platform: Platform, page: bytes) -> None:
    with serving(lambda request: send(request, page)) as url:
        outcome = platform.call(7, data_source=f"{url}/metrics")
    assert outcome.failed_saying("answers 200 without records"), outcome


def test_7_a_data_source_of_the_users_own_passes(platform: Platform) -> None:
    with serving(lambda request: send_json(request, {"records": [], "next_cursor": None})) as url:
        assert platform.call(7, data_source=f"{url}/metrics").status == "ok"


# --- 8 Start Prefect server ------------------------------------------------------------------------------------------


def test_8_a_port_that_a_stranger_holds_is_refused_with_his_pid(spare_tasks: Tasks, origin: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        outcome = spare_tasks.call(8, origin=origin, seconds=30, port=port)
    assert outcome.failed_saying(str(port), "is held by", str(os.getpid())), outcome
    assert outcome.exit_code == 4  # the environment refuses
    assert outcome.hint


def test_8_and_13_a_users_module_takes_the_place_of_none_that_server_and_worker_need(
    spare: Path, spare_tasks: Tasks, origin: str
) -> None:
    (spare / "uvicorn.py").write_text("raise RuntimeError('a module of the project folder')\n")
    for number in (6, 8, 11, 13):
        outcome = spare_tasks.call(number, origin=origin, seconds=120)
        assert outcome.passed, (number, outcome)


def test_8_a_server_that_dies_at_its_start_fails_at_once_with_the_line_that_tells(
    spare: Path, spare_tasks: Tasks, origin: str
) -> None:
    home = spare / ".blueprint" / "prefect"
    home.mkdir(mode=0o700, parents=True)
    (home / "prefect.db").write_bytes(b"this is no database" * 1000)
    outcome = spare_tasks.call(8, origin=origin, seconds=120)
    assert outcome.failed_saying("Prefect server ended while it was starting", "file is not a database"), outcome
    assert outcome.where_to_look.endswith("server.log")
    assert not (spare / ".blueprint" / "services" / "server.json").exists()


@pytest.mark.usefixtures("mended")
def test_8_a_server_that_was_killed_is_missed_by_all_that_need_it_and_started_again(platform: Platform) -> None:
    dead = platform.kill("server")
    for number in (20, 30):
        assert platform.call(number).failed_saying("The Prefect server is not ready: stopped: "), number
    for number in (10, 12, 16, 21, 25):
        outcome = platform.call(number)
        assert outcome.failed_saying("server did not answer"), (number, outcome)
    outcome = platform.call(8, seconds=120)
    assert outcome.status == "changed", outcome
    assert f"its process (pid {dead}) was" in outcome.reason
    assert platform.pid("server") != dead
    for number in (13, 20, 30):
        assert platform.call(number).passed, number


# --- 9 Test local execution ------------------------------------------------------------------------------------------


def test_9_a_script_that_cannot_load_its_rows_is_told(beside: Tasks, spare: Path, origin: str) -> None:
    assert beside.call(7, origin=origin).passed  # its own data source runs
    folder = spare / ".blueprint" / "warehouse"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / "warehouse.sqlite3").write_bytes(b"this is no database" * 1000)
    outcome = beside.call(9, origin=origin)
    assert outcome.failed_saying("ended with exit code 1", "file is not a database"), outcome
    assert outcome.where_to_look == "logs/local_run.log"
    assert "file is not a database" in (spare / "logs" / "local_run.log").read_text()


def test_9_rows_that_are_missing_are_told(platform: Platform) -> None:
    run = platform.run_of(9)["id"]
    with platform.without_rows(run):
        outcome = platform.call(9)
        assert outcome.failed_saying("was to land 500 rows", "has 0 of it"), outcome
    assert platform.call(9).status == "ok"


# --- 10 Verify flow run in system ------------------------------------------------------------------------------------


def test_10_a_run_that_is_lost_bit_by_bit_is_missed_each_time(platform: Platform, origin: str) -> None:
    assert platform.call(9, origin=origin).status == "changed"
    run = platform.run_of(9, origin)["id"]
    assert platform.call(10, origin=origin).status == "ok"

    one, *others = platform.post("/task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}})
    assert len(others) == 2
    platform.delete(f"/task_runs/{one['id']}")
    outcome = platform.call(10, origin=origin)
    assert outcome.failed_saying("has 2 task runs", "expected 3 Completed"), outcome

    platform.post(f"/flow_runs/{run}/set_state", {"state": {"type": "CRASHED", "name": "Crashed"}, "force": True})
    outcome = platform.call(10, origin=origin)
    assert outcome.failed_saying("ended Crashed, not Completed"), outcome

    platform.delete(f"/flow_runs/{run}")
    outcome = platform.call(10, origin=origin)
    assert outcome.failed_saying("does not know the local run of task 9"), outcome
    assert "--resume-from 9" in outcome.hint


def test_10_a_run_of_another_execution_does_not_count(platform: Platform, origin: str) -> None:
    assert platform.call(10, origin=origin).failed_saying("does not know the local run of task 9")


def test_10_logs_that_are_missing_are_missed(platform: Platform) -> None:
    with platform.without_logs(platform.run_of(9)["id"]):
        outcome = platform.call(10, seconds=2)
        assert outcome.failed_saying("no log lines"), outcome
    assert platform.call(10).status == "ok"
