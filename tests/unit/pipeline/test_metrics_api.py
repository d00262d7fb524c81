"""The bundled source: true readings, faults on demand, up at once."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from blueprint.pipeline.metrics_api import FailureCounter
from blueprint.pipeline.readings import HostSampler
from blueprint.prefect_runtime import launch
from tests.support.metrics import serve_metrics
from tests.support.ports import PLAIN

PROJECT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serve_metrics() as address:
        yield address


def _page(url: str, **query: Any) -> dict[str, Any]:
    response = httpx.get(url, params=query, **PLAIN)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    return page


def test_the_readings_are_those_of_this_host_at_this_moment(url: str) -> None:
    before = datetime.now(UTC)
    records = _page(url, limit=1000)["records"]
    after = datetime.now(UTC)
    assert all(before <= datetime.fromisoformat(record["observed_at"]) <= after for record in records)
    last = {record["metric"]: record["value"] for record in records}
    assert last["memory.total"] == psutil.virtual_memory().total
    assert last["host.boot_time"] == pytest.approx(psutil.boot_time(), abs=2)
    assert last["disk./.total"] == psutil.disk_usage("/").total
    assert last["cpu.time.user"] == pytest.approx(psutil.cpu_times().user, abs=5)
    assert last["processes.count"] == pytest.approx(len(psutil.pids()), abs=20)


def test_later_readings_are_new_ones_and_not_copies_of_the_first(url: str) -> None:
    times = [r["observed_at"] for r in _page(url, limit=1000)["records"] if r["metric"] == "cpu.context_switches"]
    assert len(set(times)) == len(times) > 1
    assert times == sorted(times)


def test_no_utilisation_is_claimed_for_an_interval_too_short_to_measure() -> None:
    now = 100.0
    sampler = HostSampler(clock=lambda: now)

    def names() -> set[str]:
        return {reading["metric"] for reading in sampler.sample()}

    assert "cpu.utilisation" not in names()
    now += 0.2
    assert {"cpu.utilisation", "cpu.0.utilisation"} <= names()
    assert "cpu.utilisation" not in names()


def test_the_same_cursor_asked_again_gives_no_record_twice(url: str) -> None:
    cursor = _page(url, limit=10)["next_cursor"]
    ids = [r["id"] for _ in range(3) for r in _page(url, limit=300, cursor=cursor)["records"]]
    assert len(set(ids)) == len(ids) == 900


def test_clients_at_the_same_time_share_no_record(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda _: _page(url, limit=500), range(16)))
    ids = [record["id"] for page in pages for record in page["records"]]
    assert len(set(ids)) == len(ids) == 16 * 500


def test_a_page_has_at_most_a_thousand_records(url: str) -> None:
    assert len(_page(url, limit=100_000)["records"]) == 1000
    assert len(_page(url)["records"]) == 100


def test_the_first_requests_of_a_key_fail_and_of_that_key_only(url: str) -> None:
    def codes(key: str) -> list[int]:
        query = {"limit": "1", "fail_first": "2", "fail_key": key}
        return [httpx.get(url, params=query, **PLAIN).status_code for _ in range(4)]

    assert codes("one") == [503, 503, 200, 200]
    assert codes("two") == [503, 503, 200, 200]
    assert httpx.get(url, params={"limit": "1"}).status_code == 200


def test_another_status_can_be_asked_for(url: str) -> None:
    assert httpx.get(url, params={"fail_first": "1", "fail_key": "s", "status": "429"}).status_code == 429


def test_a_slow_answer_does_not_hold_up_the_others(url: str) -> None:
    slow: list[float] = []

    def ask() -> None:
        started = time.monotonic()
        _page(url, limit=1, delay_seconds=0.6)
        slow.append(time.monotonic() - started)

    thread = threading.Thread(target=ask)
    thread.start()
    _page(url, limit=1)
    assert not slow, "the quick request waited for the slow one"
    thread.join()
    assert slow[0] >= 0.6


def test_the_failure_counter_does_not_grow_without_bound() -> None:
    counter = FailureCounter(max_keys=10)
    for number in range(1000):
        assert counter.must_fail(str(number), 1)
    assert not counter.must_fail("999", 1)
    assert len(counter._given) == 10


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "0"},
        {"limit": "many"},
        {"limit": "1.5"},
        {"limit": "9" * 5000},
        {"delay_seconds": "-1"},
        {"delay_seconds": "nan"},
        {"delay_seconds": "1e9"},
        {"fail_first": "2"},
        {"fail_first": "-1", "fail_key": "k"},
        {"fail_key": "k" * 201, "fail_first": "1"},
        {"status": "200"},
        {"cursor": "x" * 201},
    ],
)
def test_a_bad_parameter_is_refused_by_name(url: str, query: dict[str, str]) -> None:
    response = httpx.get(url, params=query, **PLAIN)
    assert response.status_code == 400
    assert next(iter(query)) in response.json()["error"]
    assert len(response.text) < 400


@pytest.mark.parametrize(("host", "status"), [("localhost:1", 200), ("127.0.0.1", 200), ("rebinding.example:1", 400)])
def test_a_foreign_name_for_this_machine_is_refused(url: str, host: str, status: int) -> None:
    """A web page may have its name lead here, and would then be of the same origin as this."""
    assert httpx.get(url, params={"limit": 1}, headers={"Host": host}).status_code == status


def _ready(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        if found := re.search(r"running on (http://\S+)", line):
            return found[1]
    raise AssertionError("the metrics API ended before it was ready")


@pytest.mark.parametrize(
    "command", [["-m", "blueprint.pipeline.metrics_api"], [launch.__file__, "blueprint.pipeline.metrics_api"]]
)
def test_it_starts_as_documented_and_ends_on_sigterm(command: list[str], tmp_path: Path) -> None:
    cwd = PROJECT if command[0] == "-m" else tmp_path
    process = subprocess.Popen(
        [sys.executable, *command, "--port", "0"], cwd=cwd, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    try:
        address = _ready(process)
        assert httpx.get(address + "/health").json() == {"status": "ok"}
        assert len(_page(address + "/api/v1/metrics", limit=3)["records"]) == 3
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=10)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def test_it_does_not_drag_prefect_or_a_database_in_so_it_is_up_at_once() -> None:
    code = "import sys, blueprint.pipeline.metrics_api; print({'prefect', 'sqlalchemy', 'httpx'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("arguments", [["--port", "70000"], ["--port", "x"]])
def test_a_bad_port_is_refused(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "blueprint.pipeline.metrics_api", *arguments],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
        timeout=30,
    )
    assert done.returncode == 2
    assert repr(arguments[1]) in done.stderr
    assert "Traceback" not in done.stderr
