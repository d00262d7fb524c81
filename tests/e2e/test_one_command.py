"""The promise of the first command: a platform that is up, proven, and usable at once by plain Prefect commands."""

from __future__ import annotations

import http.client
import json
import multiprocessing
import os
import re
import stat
import subprocess
import time
import uuid
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.support.browser import chromium, text_with
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
    yield installed.must("--phase", "all", "--deploy-with", mode, "--set", "auth=generated")
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


_SOMEBODY = 12345


def attack(port: int, told: Connection) -> None:
    """Have the server run a command, as another user of this machine; tells its answers."""
    "localhost".encode("idna")  # imports what the other user may not read
    os.setgid(_SOMEBODY)
    os.setuid(_SOMEBODY)

    def post(path: str, body: object) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        connection.request("POST", f"/api{path}", json.dumps(body), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told.send(answer.status)
        return json.loads(answer.read() or "null")

    found = post("/deployments/filter", {})
    command = {"state": {"type": "SCHEDULED"}, "job_variables": {"command": "touch taken-over"}}
    post(f"/deployments/{found[0]['id'] if isinstance(found, list) else uuid.uuid4()}/create_flow_run", command)


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to be another user")
def test_another_user_of_the_machine_cannot_run_code_as_the_owner(installed: Checkout) -> None:
    runs = len(installed.runs())
    here, there = multiprocessing.Pipe()
    attacker = multiprocessing.get_context("fork").Process(target=attack, args=(installed.port, there))
    attacker.start()
    attacker.join(60)
    assert [here.recv(), here.recv()] == [401, 401]
    assert len(installed.runs()) == runs


def test_the_generated_password_is_shown_on_demand_and_is_in_no_file_that_does_not_need_it(
    first: Finished, installed: Checkout
) -> None:
    assert installed.password
    _, password = installed.password
    assert f":{password} (as set)" in installed.must("verify", "--password").output
    assert ".blueprint/password" in first.output
    assert password not in first.output + installed.must("verify").output + installed.must("plan").output
    lines = [" ".join(process.cmdline()) for family in installed.processes().values() for process in family]
    assert len(lines) >= 3
    assert [line for line in lines if password in line] == []
    files = [path for path in installed.root.rglob("*") if path.is_file() and ".venv" not in path.parts]
    holding = {path for path in files if password.encode() in path.read_bytes()}
    assert holding == {installed.workspace.password, installed.root / "prefect.toml"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


@deployed_to_the_pool
def test_the_ui_asks_a_browser_for_the_password_and_shows_the_deployment_to_whoever_has_it(
    installed: Checkout, tmp_path: Path
) -> None:
    assert installed.password
    with chromium(tmp_path) as browser:
        browser.get(f"{installed.url}/deployments")
        assert "production-etl" not in text_with(browser, "Login")
        field = browser.find_element(By.CSS_SELECTOR, "input[type=password]")
        field.send_keys(":".join(installed.password), Keys.ENTER)
        text_with(browser, "production-etl", FLOW)


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
