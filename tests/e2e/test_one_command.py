"""The promise of the first command: a platform that is up, proven, and usable at once by plain Prefect commands."""

from __future__ import annotations

import json
import re
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.checkout import Checkout, Finished, until

FLOW = "Enterprise Data Pipeline"


@pytest.fixture(scope="module", params=["deploy", "serve"])
def mode(request: pytest.FixtureRequest) -> str:
    """How the flow is deployed."""
    return str(request.param)


@pytest.fixture(scope="module")
def first(installed: Checkout, mode: str) -> Iterator[Finished]:
    """A platform that was just set up, and what the terminal showed."""
    installed.reset()
    yield installed.must("--phase", "all", "--deploy-with", mode)
    installed.reset()


pytestmark = pytest.mark.usefixtures("first")
# What does not depend on who starts the runs, or is proven of a serving process by the task that keeps it (task 15).
deployed_to_the_pool = pytest.mark.parametrize("mode", ["deploy"], indirect=True)


def prefect(checkout: Checkout, *args: str) -> str:
    """Type a Prefect command in the project folder, with nothing exported."""
    finished = subprocess.run(
        [str(checkout.root / ".venv" / "bin" / "prefect"), *args],
        cwd=checkout.root,
        env=checkout.environment | {"COLUMNS": "250", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_each_of_the_30_tasks_has_its_line_in_order_on_the_terminal_and_in_the_log(
    first: Finished, installed: Checkout, mode: str
) -> None:
    pattern = re.compile(r"\[(\d\d)/30\] (ok|changed|skipped) +\d+\.\d s  \S.*: \S")
    shown = [match.group(1) for line in first.output.splitlines() if (match := pattern.match(line))]
    log = Path(installed.last().started.log).read_text(encoding="utf-8")
    logged = re.findall(
        r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3} \[(\d\d)/30\] (?:ok|changed|skipped)", log, re.MULTILINE
    )
    assert shown == logged == [f"{number:02}" for number in range(1, 31)]
    skipped = re.findall(r"\[(\d\d)/30\] skipped", first.output)
    assert skipped == (["11", "12", "13", "19"] if mode == "serve" else [])


@deployed_to_the_pool
def test_the_record_beside_the_log_holds_the_evidence_of_every_task(installed: Checkout) -> None:
    document = json.loads(Path(installed.last().started.log).with_suffix(".json").read_text(encoding="utf-8"))
    assert document["status"] == "passed"
    assert [task["number"] for task in document["tasks"]] == list(range(1, 31))
    unproven = [task["number"] for task in document["tasks"] if task["status"] != "skipped" and not task["details"]]
    assert unproven == []


def test_the_deployment_is_as_specified_when_the_api_is_asked(installed: Checkout, mode: str) -> None:
    found = installed.deployment()
    assert found["work_pool_name"] == ("local-process-pool" if mode == "deploy" else None)
    assert found["parameters"] == {"batch_size": 500}
    (schedule,) = found["schedules"]
    assert schedule["active"]
    assert (schedule["schedule"]["cron"], schedule["schedule"]["timezone"]) == ("0 9 * * *", "America/Chicago")


def test_the_rows_of_each_run_are_in_the_warehouse_once(installed: Checkout) -> None:
    origin = installed.last().origin
    daily, other = installed.rows(), installed.rows("test.metrics")
    expected = {
        "9": (500, daily),
        "21": (500, daily),
        "23": (50, daily),
        "24": (200, other),
        "28-retried": (500, daily),
    }
    for case, (rows, table) in expected.items():
        (run,) = installed.runs(f"blueprint:{origin}:{case}")
        assert run["state_type"] == "COMPLETED", case
        assert table[run["id"]] == (rows, rows), case
    (failed,) = installed.runs(f"blueprint:{origin}:28-failing")
    assert failed["state_type"] == "FAILED"
    assert failed["id"] not in daily


@deployed_to_the_pool
def test_plain_prefect_commands_in_the_folder_reach_the_platform(installed: Checkout) -> None:
    assert f"{FLOW}/production-etl" in prefect(installed, "deployment", "ls")
    assert "local-process-pool" in prefect(installed, "work-pool", "ls")
    run = "--param", "batch_size=50", "--watch"
    made = prefect(installed, "deployment", "run", f"{FLOW}/production-etl", *run)
    (run_id,) = re.findall(r"UUID: (\S+)", made)
    assert installed.rows()[run_id] == (50, 50)
    assert "Loaded 50 rows" in prefect(installed, "flow-run", "logs", run_id)


def test_nobody_ends_the_serving_process_by_the_port_of_its_health(installed: Checkout, mode: str) -> None:
    port = installed.service_record("runner" if mode == "serve" else "worker")["port"]
    answers = [
        httpx.request(*asked, trust_env=False).status_code
        for asked in (
            ("GET", f"http://127.0.0.1:{port}/health"),
            ("POST", f"http://127.0.0.1:{port}/shutdown"),
        )
    ]
    assert answers == [200, 404]
    time.sleep(1)
    assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).status_code == 200


@deployed_to_the_pool
def test_the_users_own_prefect_home_is_never_touched(installed: Checkout) -> None:
    assert not (installed.home / ".prefect").exists()


def test_verify_says_that_all_is_up(installed: Checkout) -> None:
    finished = installed.must("verify")
    assert [line.split()[0] for line in finished.output.splitlines()] == ["up"] * 4


@deployed_to_the_pool
def test_what_is_remembered_is_private_to_the_user(installed: Checkout) -> None:
    assert stat.S_IMODE(installed.workspace.state.stat().st_mode) == 0o700
    private = [*installed.workspace.state.rglob("*"), *installed.root.glob("logs/*"), installed.root / "prefect.toml"]
    ours = [path for path in private if path.name != ".gitkeep" and not path.is_symlink()]
    assert [str(path) for path in ours if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_stop_leaves_no_process_behind(installed: Checkout) -> None:
    installed.must("stop")
    assert installed.processes() == {}
    finished = installed.run("verify")
    assert finished.code == 1
    assert re.findall(r"^(\w+) ", finished.output, re.MULTILINE)[:4] == ["down", "down", "unknown", "unknown"]
    assert "nothing of ours is running" in installed.must("stop").output


@deployed_to_the_pool
def test_stop_ends_the_checks_of_an_execution_that_was_killed(installed: Checkout) -> None:
    running = installed.start("--phase", "1")
    until(lambda: "check-installation" in installed.processes())
    running.kill()
    assert "check-installation" in installed.processes(), "it ended too soon to tell anything"
    installed.must("stop")
    assert installed.processes() == {}
