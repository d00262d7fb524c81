"""Flow runs forked from a process that has Prefect: all that a worker promises of a run must hold for them too."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import prefect.engine
import psutil
import pytest

from tests.platform.test_own_flow import FLOWS, Own, own
from tests.support.live_platform import Platform, eventually

__all__ = ["own"]


class Waiting:
    """A run of the flow `hooked` that waits."""

    def __init__(self, platform: Platform, own: Own, folder: Path, seconds: float) -> None:
        self.platform, self.folder = platform, folder
        parameters = {"folder": str(folder), "seconds": seconds}
        assert own.call(15, "hooked.py:hooked", parameters=parameters).passed
        found = platform.get(f"/deployments/name/hooked/{own.name}")
        self.id = platform.post(f"/deployments/{found['id']}/create_flow_run", {})["id"]

    @property
    def state(self) -> str:
        """As the server has it."""
        return str(self.platform.get(f"/flow_runs/{self.id}")["state"]["name"])

    @eventually
    def note(self, kind: str) -> str:
        """What a hook left."""
        path = self.folder / f"{kind}-{self.id}"
        assert path.exists()
        return path.read_text(encoding="utf-8")

    @eventually
    def about(self) -> dict[str, Any]:
        """What the flow says of its process, once it is at work."""
        assert (self.folder / "about.json").exists()
        found: dict[str, Any] = json.loads((self.folder / "about.json").read_text(encoding="utf-8") or "{}")
        assert found
        return found

    @eventually
    def ends_as(self, state: str) -> None:
        """Wait for its end."""
        assert self.state == state

    @eventually
    def is_gone(self, *pids: int) -> None:
        """Wait until these processes are."""
        assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def _fork_server(platform: Platform) -> psutil.Process:
    worker = platform.pid("worker")
    (found,) = [child for child in psutil.Process(worker).children() if os.getsid(child.pid) == os.getsid(worker)]
    return found


Start = Callable[..., Waiting]


@pytest.fixture
def start(platform: Platform, own: Own, tmp_path: Path) -> Start:
    return lambda seconds=60.0: Waiting(platform, own, tmp_path, seconds)


def test_a_run_is_forked_and_finds_the_surroundings_that_a_process_of_its_own_would_have(
    start: Start, platform: Platform
) -> None:
    run = start(seconds=0)
    run.ends_as("Completed")
    about = run.about()
    pid = about.pop("pid")
    assert about == {
        "parent": platform.pid("worker"),
        "cwd": str(FLOWS),
        "path": str(FLOWS),
        "argv": [prefect.engine.__file__],
        "main": "prefect.engine",
        "ours": [],
        "run": run.id,
        "forked": True,
    }
    assert run.note("completed") == "Completed"
    run.is_gone(pid)
    lines = eventually(lambda: _logged(platform, run.id, "Waiting for 0.0 s"))()
    assert any("Finished in state Completed" in line for line in lines)
    assert "printed by the flow" in (platform.root / "logs" / "worker.log").read_text(encoding="utf-8")


def test_the_server_knows_no_command_and_no_path_of_the_interpreter(start: Start, platform: Platform) -> None:
    run = start(seconds=0)
    deployment = platform.get(f"/deployments/{platform.get(f'/flow_runs/{run.id}')['deployment_id']}")
    assert deployment["job_variables"] == {}
    assert sys.prefix not in json.dumps(deployment)
    run.ends_as("Completed")


def test_a_run_is_soon_at_work(
    start: Start, platform: Platform, record_property: Callable[[str, object], None]
) -> None:
    took: list[float] = []
    for _ in range(4):  # the soonest is judged: the machine is busy with other tests
        run = start(seconds=0)
        run.ends_as("Completed")
        about = run.about()
        assert (about["run"], about["forked"]) == (run.id, True)  # each of them, however long it took
        states = platform.get(f"/flow_run_states/?flow_run_id={run.id}")
        at = {state["name"]: datetime.fromisoformat(state["timestamp"]) for state in states}
        took.append((at["Running"] - at["Pending"]).total_seconds())
    record_property("submitting_to_running", min(took))
    assert min(took) < 2.0, took  # less than 1 s on an idle machine, 3.6 s as Prefect starts it


def _logged(platform: Platform, run: str, text: str) -> list[str]:
    found = platform.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
    lines = [str(one["message"]) for one in found]
    assert text in lines
    return lines


def test_a_run_that_is_killed_has_crashed_and_leaves_no_process(start: Start) -> None:
    run = start()
    about = run.about()
    os.kill(about["pid"], signal.SIGKILL)
    run.ends_as("Crashed")
    run.is_gone(about["pid"])
    assert run.note("crashed") == "Crashed"
    message = run.platform.get(f"/flow_runs/{run.id}")["state"]["message"]
    assert message.startswith("Process exited with status code: -9")


def test_a_run_can_be_cancelled_and_its_hook_is_called(start: Start) -> None:
    run = start()
    about = run.about()
    run.platform.post(f"/flow_runs/{run.id}/set_state", {"state": {"type": "CANCELLING"}, "force": False})
    run.ends_as("Cancelled")
    run.is_gone(about["pid"])
    assert run.note("cancelled") == "Cancelling"


@pytest.mark.usefixtures("mended")
def test_a_fork_server_that_is_killed_takes_no_run_along_and_the_next_one_starts_as_prefect_starts_it(
    start: Start, platform: Platform, own: Own
) -> None:
    run = start(seconds=5)
    about = run.about()
    _fork_server(platform).kill()
    run.ends_as("Completed")
    assert about["forked"]
    (run.folder / "about.json").unlink()
    another = Waiting(platform, own, run.folder, 0)
    another.ends_as("Completed")
    assert not another.about()["forked"]
    log = (platform.root / "logs" / "worker.log").read_text(encoding="utf-8")
    assert "flow runs start as Prefect starts them" in log
    platform.kill("worker")  # the next test is to have a fork server again


@pytest.mark.usefixtures("mended")
def test_a_worker_that_is_killed_leaves_its_run_to_finish_and_the_fork_server_ends_with_it(
    start: Start, platform: Platform
) -> None:
    run = start(seconds=8)
    about = run.about()
    server = _fork_server(platform).pid
    os.kill(platform.pid("worker"), signal.SIGKILL)
    run.is_gone(server)
    assert psutil.pid_exists(about["pid"])
    run.ends_as("Completed")
    run.is_gone(about["pid"])


def test_code_that_changes_is_run_as_it_is_then(platform: Platform, own: Own, tmp_path: Path) -> None:
    source = tmp_path / "flows"
    source.mkdir()
    for words in ("first", "second"):
        (source / "words.py").write_text(f"WORDS = {words!r}\n", encoding="utf-8")
        (source / "speaking.py").write_text(
            "from prefect import flow, get_run_logger\nfrom words import WORDS\n\n\n"
            "@flow\ndef speaking():\n    get_run_logger().info('said %s', WORDS)\n",
            encoding="utf-8",
        )
        settings: dict[str, Any] = {"source": str(source)}
        assert own.call(15, "speaking.py:speaking", **settings).passed
        found = platform.get(f"/deployments/name/speaking/{own.name}")
        made = platform.post(f"/deployments/{found['id']}/create_flow_run", {})["id"]
        eventually(lambda made=made, words=words: _logged(platform, made, f"said {words}"))()
