"""A password planted in every place that takes one is in no file, no process list and no parameter."""

from __future__ import annotations

import base64
import json
import threading
import urllib.parse
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.checkout import Checkout
from tests.support.postgres import running_postgres

API_PASSWORD = "planted-4pi/secret"


def command_lines(root: Path, until: threading.Event, seen: set[str]) -> None:
    """Collect what `ps` shows of the checkout's processes."""
    while not until.wait(0.2):
        for process in psutil.process_iter(["cmdline"]):
            line = " ".join(process.info["cmdline"] or ())
            if str(root) in line:
                seen.add(line)


@pytest.mark.timeout(400)
def test_planted_passwords_are_in_no_file_and_no_process_list_and_the_platform_works_with_them(
    checkout: Checkout,
) -> None:
    with running_postgres() as postgres:
        url = postgres.url()
        given = {"BLUEPRINT_API_AUTH_STRING": f"admin:{API_PASSWORD}", "BLUEPRINT_WAREHOUSE_URL": url}
        password = urllib.parse.urlsplit(url).password or ""
        over, shown = threading.Event(), set[str]()
        watcher = threading.Thread(target=command_lines, args=(checkout.root, over, shown))
        watcher.start()
        try:
            finished = checkout.must("--phase", "all", env=given)
            assert checkout.run("verify", env=given).code == 0
        finally:
            over.set()
            watcher.join()
        runs = httpx.post(
            f"{checkout.url}/api/flow_runs/filter",
            json={},
            auth=("admin", API_PASSWORD),
            timeout=30,
            trust_env=False,
        ).json()
        checkout.must("stop", env=given)
    assert len(runs) >= 5
    planted = [API_PASSWORD, password, urllib.parse.unquote(password)]
    planted += [base64.b64encode(f"admin:{API_PASSWORD}".encode()).decode()]
    shown_texts = {"terminal": finished.output, "process list": "\n".join(shown), "flow runs": json.dumps(runs)}
    assert [name for name, text in shown_texts.items() for secret in planted if secret in text] == []
    assert "blueprint.pipeline.metrics_api" in shown_texts["process list"]  # the list was looked at
    allowed = {checkout.root / "prefect.toml"}  # plain `prefect …` commands need it; private
    files = [path for path in checkout.root.rglob("*") if path.is_file() and ".venv" not in path.parts]
    files += [path for path in checkout.home.rglob("*") if path.is_file()]
    assert checkout.workspace.journal in files
    found = {
        path for path in files if path not in allowed and any(one.encode() in path.read_bytes() for one in planted)
    }
    assert found == set()
