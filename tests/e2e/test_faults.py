"""What can die under a platform: it is told, and the next command restores it and says why."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import psutil
import pytest

from blueprint.core.venv import site_packages
from tests.support.checkout import Checkout, Finished, make_checkout, until
from tests.support.clock import Clock, make_clock
from tests.support.live_platform import copy_checkout

OTHER_SERVER = """
import http.server, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b'"2.20.0"' if self.path.endswith("version") else b"true"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
print("listens", flush=True)
server.serve_forever()
"""


def because(finished: Finished, task: int) -> str:
    """Why a task had to act."""
    lines = finished.output.splitlines()
    for number, line in enumerate(lines):
        if line.startswith(f"[{task:02}/30] changed"):
            return lines[number + 1].partition("because: ")[2]
    return ""


def down(checkout: Checkout) -> set[str]:
    """What `verify` says is down, or could not be looked at; its exit code must agree, and it must not hang."""
    finished = checkout.run("verify", seconds=20)
    found = set(re.findall(r"^(?:down|unknown) +(\w+):", finished.output, re.MULTILINE))
    assert finished.code == (1 if found else 0), finished.output
    assert finished.seconds < 10
    return found


@pytest.mark.parametrize(
    "killed",
    [
        pytest.param(("server",), marks=pytest.mark.longer),
        pytest.param(("worker",), marks=pytest.mark.longer),
        ("worker", "server"),
    ],
    ids=" and ".join,
)
def test_what_was_killed_during_a_flow_run_is_restored_by_resume(installed: Checkout, killed: tuple[str, ...]) -> None:
    installed.must("--phase", "2")
    running = installed.start("--phase", "3")
    installed.await_record(running, "task finished", task=21)
    origin = installed.last().origin
    until(lambda: installed.runs(f"blueprint:{origin}:21")[0]["state_type"] == "RUNNING", 40)
    pids = {name: installed.kill_service(name) for name in killed}
    failed = running.finish()
    assert failed.code == 1, failed.output
    assert "Traceback" not in failed.output
    assert down(installed) >= ({"server", "UI", "deployment"} if "server" in killed else {"worker"})
    restored = installed.must("--resume")
    for name, pid in pids.items():
        assert f"pid {pid}" in because(restored, {"server": 8, "worker": 13}[name])
    assert down(installed) == set()
    at_work = {"flow_runs": {"state": {"type": {"any_": ["PENDING", "RUNNING"]}}}}
    assert installed.post("/flow_runs/filter", at_work) == []
    for case in ("21", "23", "24"):
        runs = installed.runs(f"blueprint:{origin}:{case}")
        ended = [(run["state_type"], run["state"]["message"]) for run in runs]
        # A run that outlived its server says so as a failure; one that was given up for lost may have completed.
        assert {"COMPLETED"} <= {state for state, _ in ended} <= {"COMPLETED", "CRASHED", "FAILED"}, ended
        table = installed.rows("test.metrics" if case == "24" else "public.daily_metrics")
        for run in runs:
            wanted = run["parameters"]["batch_size"]
            allowed = [(wanted, wanted)] + [(0, 0)] * (run["state_type"] != "COMPLETED")
            assert table.get(run["id"], (0, 0)) in allowed, run


def test_frozen_services_are_told_as_such_and_replaced(installed: Checkout) -> None:
    installed.must("--phase", "2")
    frozen = {name: installed.signal_service(name, signal.SIGSTOP) for name in ("server", "worker")}
    try:
        assert down(installed) == {"server", "worker", "UI", "deployment"}
        restored = installed.must("--phase", "2")
    finally:
        for pid in frozen.values():
            if os.path.exists(f"/proc/{pid}"):  # noqa: PTH110
                os.killpg(pid, signal.SIGCONT)
    assert "frozen" in because(restored, 8)
    assert "frozen" in because(restored, 13)
    assert not set(frozen.values()) & {installed.pid("server"), installed.pid("worker")}


def test_after_a_reboot_all_that_the_asked_tasks_need_is_started_again(installed: Checkout) -> None:
    installed.must("--phase", "2")
    installed.kill_everything()
    for path in installed.workspace.services.glob("*.json"):  # what tells one start of the machine from another
        record = json.loads(path.read_text(encoding="utf-8"))
        record["identity"]["boot_id"] = "01234567-89ab-cdef-0123-456789abcdef"
        path.write_text(json.dumps(record), encoding="utf-8")
    assert {"server", "worker"} <= down(installed)
    running = installed.start("--resume-from", "19")
    installed.await_record(running, "task finished", task=19, status="ok")
    running.interrupt()  # the tasks after it are proven elsewhere
    restored = running.finish()
    for task in (7, 8, 13):
        assert "the machine was restarted since" in because(restored, task), restored.output
    assert down(installed) == set()


@pytest.fixture
def clock(installed: Checkout, tmp_path: Path) -> Iterator[Clock]:
    """A clock for all that is started under it; the platform is down before and after."""
    made = make_clock(tmp_path)
    installed.must("stop")
    yield made
    installed.must("stop")


def test_a_clock_set_back_by_an_hour_under_a_running_platform_changes_nothing(
    installed: Checkout, clock: Clock
) -> None:
    far = (datetime.now(ZoneInfo("America/Chicago")).hour + 12) % 24  # no run is due in the hour that comes twice
    environment = clock.environment | {"BLUEPRINT_CRON": f"0 {far} * * *"}
    installed.must("--phase", "2", env=environment)
    before = {name: installed.pid(name) for name in ("server", "worker", "source")}, installed.deployment()["id"]
    clock.set(-3600)
    finished = installed.must("--phase", "all", env=environment)
    after = {name: installed.pid(name) for name in before[0]}, installed.deployment()["id"]
    assert after == before, finished.output
    changed = [int(number) for number in re.findall(r"\[(\d\d)/30\] changed", finished.output)]
    assert changed == [9, 21, 23, 24, 28], finished.output  # the runs that every execution makes for itself
    starts = [record["at"] for record in installed.records() if record["kind"] == "execution started"]
    assert starts[-1] < starts[-2], "the clock was not set back"


def test_another_prefect_server_on_the_port_is_named_and_not_used(installed: Checkout) -> None:
    installed.must("stop")
    argv = [sys.executable, "-c", OTHER_SERVER, str(installed.port)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout
            assert other.stdout.readline() == b"listens\n"
            assert httpx.get(f"{installed.url}/api/admin/version", trust_env=False).json() == "2.20.0"
            assert "server" in down(installed)
            name = psutil.Process(other.pid).name()
            refused = installed.run("--phase", "2")
            assert other.poll() is None, "it was ended"
        finally:
            other.kill()
    assert refused.code == 4, refused.output
    assert all(part in refused.output for part in ("is held by", f"pid {other.pid}", name)), refused.output
    installed.must("--phase", "2")


def test_without_a_package_index_it_is_one_sentence_and_nothing_is_left_half_done(tmp_path: Path) -> None:
    fresh = make_checkout(tmp_path, installed=False)
    nowhere = {
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_RETRIES": "1",
        "UV_HTTP_RETRIES": "0",
        "UV_CACHE_DIR": str(tmp_path / "empty"),
    }
    missing = {name: "" for name in os.environ if name.startswith("PIP_") and name not in nowhere}
    refused = fresh.run("--phase", "all", env=missing | nowhere)
    assert refused.code == 4, refused.output
    assert "cannot be fetched, the connection to the package index failed" in refused.output
    assert "Traceback" not in refused.output
    assert fresh.last().tasks[4].status == "failed"
    assert fresh.last().tasks[8].status == "blocked"
    assert not list(fresh.workspace.state.glob("services/*")), "a service was started"


def test_a_users_shell_that_points_elsewhere_changes_nothing(installed: Checkout) -> None:
    proxy = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": ""}  # nobody is there
    installed.must("--phase", "2", env=proxy)
    elsewhere = proxy | {
        "PREFECT_API_URL": "http://127.0.0.1:9/api",
        "PREFECT_API_KEY": "pnu_elsewhere",
        "PREFECT_PROFILE": "of-somebody-else",
        "PREFECT_HOME": "/nonexistent",
        "HOME": "/proc/nowhere",  # nobody can write there, root included
        "LC_ALL": "C",
        "LANG": "C",
    }
    finished = installed.must("--phase", "2", env=elsewhere)
    changed = re.findall(r"\[(\d\d)/30\] changed", finished.output)
    assert changed in ([], ["09"]), finished.output
    assert "Traceback" not in finished.output
    assert "HTTP_PROXY is set: before plain `prefect` commands type `export NO_PROXY=127.0.0.1," in finished.output


def test_two_checkouts_live_side_by_side_and_stop_ends_only_its_own(installed: Checkout, tmp_path: Path) -> None:
    installed.must("--phase", "2")
    other = make_checkout(tmp_path, name="mein Projekt für später")  # and any path will do
    try:
        other.must("--phase", "2")
        copied = other.workspace.services / "worker.json"  # what a copied state folder brings along
        copied.write_bytes((installed.workspace.services / "worker.json").read_bytes())
        theirs = {name: installed.pid(name) for name in ("server", "worker", "source")}
        assert down(installed) == set()
        other.must("stop")
        assert other.processes() == {}
        assert {name: installed.mains(name)[0] for name in theirs} == theirs
        assert down(installed) == set()
    finally:
        other.reset()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for little; only root can make one."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False)
    if made.returncode != 0:
        pytest.skip("this user cannot mount a file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_fills_up_is_one_sentence_and_with_room_again_it_goes_on(
    installed: Checkout, small_disk: Path
) -> None:
    installed.must("--phase", "2")
    state = installed.workspace.state
    aside = state.with_name(".blueprint-aside")
    state.rename(aside)
    state.symlink_to(small_disk)
    (small_disk / "workspace.json").write_bytes((aside / "workspace.json").read_bytes())
    try:
        running = installed.start("--phase", "2")
        installed.await_record(running, "task started", task=2)
        with contextlib.suppress(OSError), (small_disk / "ballast").open("wb", buffering=0) as ballast:
            while True:
                ballast.write(bytes(1024))
        finished = running.finish(60)
    finally:
        state.unlink()
        aside.rename(state)
    assert finished.code == 4, finished.output
    assert "No space left" in finished.output or "full" in finished.output
    assert "Traceback" not in finished.output
    installed.must("--phase", "2")


def test_a_folder_that_nobody_can_write_is_one_sentence(installed: Checkout, small_disk: Path) -> None:
    target = small_disk / "project"
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    copy_checkout(target)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    refused = Checkout(target, installed.home, installed.port).run("--phase", "all", seconds=60)
    assert refused.code == 4, refused.output
    assert "ead-only" in refused.output
    assert "Traceback" not in refused.output


def test_an_environment_that_lost_half_of_its_files_is_made_whole_and_the_server_restarted(installed: Checkout) -> None:
    installed.must("--phase", "2")
    for path in sorted(site_packages(installed.workspace.venv).glob("p*")):  # Prefect, pydantic, psutil, …
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    finished = installed.must("--phase", "2")
    assert "prefect" in because(finished, 4)
    assert because(finished, 8), "the server lacks what it had made among its packages"
    assert down(installed) == set()
