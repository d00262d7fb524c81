"""What a page of somebody else can do to the platform while its owner looks at it: nothing.

The pages are served by the tests and opened in Debian's Chromium, which keeps to the same rules as the owner's browser.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

from tests.support.browser import chromium, text_with
from tests.support.live_platform import Platform
from tests.support.web import send, serving

_FOREIGN = "rebinding.example"  # a name that its owner has pointed at the visitor's own machine
_SECONDS = 30
_PAGE = """<!doctype html><title>waiting</title><script type="module">
const api = %s, run = %s, automation = %s;
const post = (path, body) => fetch(api + path, {
  method: "POST", headers: {"Content-Type": "application/json"}, body: JSON.stringify(body),
});
const attacks = {
  "run a command": async () => {
    const [deployment] = await (await post("/deployments/filter", {})).json();
    const made = await post(`/deployments/${deployment.id}/create_flow_run`, run);
    return `HTTP ${made.status}`;
  },
  // A body without a type is a simple request, for which no browser asks the server beforehand.
  "send without asking": async () => {
    await fetch(api + "/automations/", {method: "POST", mode: "no-cors", body: new Blob([JSON.stringify(automation)])});
    return "sent";
  },
  "listen to events": () => new Promise((resolve, reject) => {
    const socket = new WebSocket(api.replace("http", "ws") + "/events/out", ["prefect"]);
    socket.onopen = () => resolve("connected");
    socket.onerror = () => reject(new Error("not connected"));
  }),
};
attacks[decodeURIComponent(location.hash.slice(1))]().then(
  (did) => { document.title = `done: ${did}`; }, (error) => { document.title = `refused: ${error}`; });
</script>"""


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[webdriver.Chrome]:
    with chromium(tmp_path, f"--host-resolver-rules=MAP {_FOREIGN} 127.0.0.1") as found:
        yield found


@pytest.fixture
def planted(tmp_path: Path) -> Path:
    """The file that an attack makes if its command runs."""
    return tmp_path / "planted"


def _run(planted: Path) -> dict[str, Any]:
    return {"name": "planted", "job_variables": {"command": f"touch {planted}"}}


def _automation(planted: Path) -> dict[str, Any]:
    """Run the command when any run ends: the page needs to know the id of nothing."""
    return {
        "name": "planted",
        "trigger": {
            "type": "event",
            "posture": "Reactive",
            "expect": ["prefect.flow-run.Completed"],
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "threshold": 1,
            "within": 0,
        },
        "actions": [{"type": "run-deployment", "source": "inferred", "job_variables": {"command": f"touch {planted}"}}],
    }


def _attack(platform: Platform, browser: webdriver.Chrome, attack: str, planted: Path) -> str:
    """Open the attacker's page; return what it got done."""
    filled = (json.dumps(f"{platform.server_url}/api"), json.dumps(_run(planted)), json.dumps(_automation(planted)))

    def page(handler: BaseHTTPRequestHandler) -> None:
        send(handler, (_PAGE % filled).encode(), Content_Type="text/html")

    with serving(page) as site:
        browser.get(f"{site}/#{attack}")
        WebDriverWait(browser, _SECONDS).until(lambda found: found.title != "waiting", "the page did nothing")
        return browser.title


def _comes(path: Path) -> bool:
    end = time.monotonic() + _SECONDS
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.2)
    return path.exists()


def _planted_runs(platform: Platform) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = platform.post("/flow_runs/filter", {"flow_runs": {"name": {"any_": ["planted"]}}})
    return found


def test_a_foreign_page_cannot_run_a_command_as_the_owner(
    platform: Platform, browser: webdriver.Chrome, planted: Path
) -> None:
    got = _attack(platform, browser, "run a command", planted)
    ran = bool(_planted_runs(platform)) and _comes(planted)
    assert (got.partition(":")[0], ran) == ("refused", False), f"{got}; the command ran: {ran}"


def test_a_foreign_page_cannot_send_what_no_browser_asks_for_beforehand(
    platform: Platform, browser: webdriver.Chrome, planted: Path
) -> None:
    """It reads no answer, and needs none: with an automation the command runs at the end of the next run."""
    got = _attack(platform, browser, "send without asking", planted)
    made = platform.post("/automations/filter", {"automations": {"name": {"any_": ["planted"]}}})
    if made:
        run = {"parameters": {"batch_size": 10}, "state": {"type": "SCHEDULED"}}
        platform.post(f"/deployments/{platform.deployment()['id']}/create_flow_run", run)
    ran = bool(made) and _comes(planted)
    for one in made:
        platform.delete(f"/automations/{one['id']}")
    assert (len(made), ran) == (0, False), f"{got}; the command ran: {ran}"


def test_a_foreign_page_cannot_listen_to_the_platforms_events(
    platform: Platform, browser: webdriver.Chrome, planted: Path
) -> None:
    assert _attack(platform, browser, "listen to events", planted) == "refused: Error: not connected"


def test_a_foreign_name_for_this_machine_reaches_neither_server_nor_data_source(
    platform: Platform, browser: webdriver.Chrome
) -> None:
    """DNS rebinding: to the browser the attacker's page and the server are then the same site."""
    browser.get(f"http://{_FOREIGN}:{platform.port}/api/health")
    answer = browser.execute_async_script("""
      const done = arguments[0];
      fetch("/api/deployments/filter", {method: "POST", headers: {"Content-Type": "application/json"}, body: "{}"})
        .then(async (answer) => done(`HTTP ${answer.status} ${(await answer.text()).split(".")[0].slice(0, 200)}`))
        .catch((error) => done(`refused ${error}`));
    """)
    browser.get(f"http://{_FOREIGN}:{platform.source_port}/api/v1/metrics?limit=1")
    readings = text_with(browser)
    told = f"{answer}; {readings}"
    assert (answer, "records" in readings) == ("HTTP 403 The server is not known by this name", False), told


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_our_own_ui_works_under_each_name_of_this_machine(
    platform: Platform, browser: webdriver.Chrome, host: str
) -> None:
    """It calls the API by one name, whatever it was opened by, and listens to its events."""
    browser.get(f"http://{host}:{platform.port}/deployments")
    text_with(browser, "Deployments", "production-etl", "Enterprise Data Pipeline")
    browser.get(f"http://{host}:{platform.port}/dashboard")
    text_with(browser, "Flow Runs", "Task Runs")
    socket = """
      const [url, done] = arguments, socket = new WebSocket(url, ["prefect"]);
      socket.onopen = () => done("connected"); socket.onerror = () => done("not connected");
    """
    url = f"ws://127.0.0.1:{platform.port}/api/events/out"
    assert browser.execute_async_script(socket, url) == "connected"


@pytest.mark.parametrize(
    "host", ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}", "127.0.0.1"]
)
def test_every_name_of_this_machine_is_answered(platform: Platform, host: str) -> None:
    headers = {"Host": host.format(port=platform.port)}
    assert httpx.get(f"{platform.server_url}/api/ready", headers=headers, trust_env=False).status_code == 200


def test_no_service_and_no_flow_gets_the_settings_of_the_installers_and_of_the_executor(
    platform: Platform, tmp_path: Path
) -> None:
    listed = tmp_path / "environment"
    run = {"job_variables": {"command": f"sh -c 'env > {listed}.part && mv {listed}.part {listed}'"}}
    platform.post(f"/deployments/{platform.deployment()['id']}/create_flow_run", run)
    assert _comes(listed)
    texts = {name: Path(f"/proc/{platform.pid(name)}/environ").read_text() for name in ("server", "worker", "source")}
    texts["flow"] = listed.read_text()
    assert [name for name, text in texts.items() if "planted" in text or "PREFECT_HOME=" not in text] == []
