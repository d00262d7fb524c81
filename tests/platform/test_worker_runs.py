"""Flow runs forked from a process that has Prefect: all that a worker promises of a run must hold for them too."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect.engine
import psutil
import pytest

from tests.platform.test_own_flow import FLOWS, Own, own
from tests.support.live_platform import Platform, eventually

__all__ = ["own"]


class Waiting:
    """A run of the flow `hooked` that waits, and the two processes that are it."""

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

    @property
    def stand_in(self) -> psutil.Process:
        """The process that the worker started, and knows."""
        (found,) = [one for one in _of_worker(self.platform) if _run_of(one) == self.id]
        return found


def _of_worker(platform: Platform) -> list[psutil.Process]:
    return psutil.Process(platform.pid("worker")).children(recursive=True)


def _run_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("PREFECT__FLOW_RUN_ID")
    except psutil.Error:
        return None


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
    assert about.pop("parent") in [one.pid for one in _of_worker(platform)]  # and not the worker itself
    pid = about.pop("pid")
    assert about == {
        "cwd": str(FLOWS),
        "path": str(FLOWS),
        "argv": [prefect.engine.__file__],
        "main": "prefect.engine",
        "ours": [],
        "run": run.id,
    }
    assert run.note("completed") == "Completed"
    run.is_gone(pid)
    lines = eventually(lambda: _logged(platform, run.id, "Waiting for 0.0 s"))()
    assert any("Finished in state Completed" in line for line in lines)
    assert "printed by the flow" in (platform.root / "logs" / "worker.log").read_text(encoding="utf-8")


def _logged(platform: Platform, run: str, text: str) -> list[str]:
    found = platform.post("/logs/filter", {"logs": {"flow_run_id": {"any_": [run]}}})
    lines = [str(one["message"]) for one in found]
    assert text in lines
    return lines


def test_a_run_that_is_killed_has_crashed_and_leaves_no_process(start: Start) -> None:
    run = start()
    about = run.about()
    run.stand_in.kill()
    run.ends_as("Crashed")
    run.is_gone(about["pid"])
    assert run.note("crashed") == "Crashed"


def test_a_run_whose_forked_process_is_killed_has_crashed(start: Start) -> None:
    run = start()
    stand_in = run.stand_in.pid if run.about() else 0
    os.kill(run.about()["pid"], signal.SIGKILL)
    run.ends_as("Crashed")
    run.is_gone(stand_in)
    assert run.platform.get(f"/flow_runs/{run.id}")["state"]["message"].startswith(
        "Process exited with status code: -9"
    )


def test_a_run_can_be_cancelled_and_its_hook_is_called(start: Start) -> None:
    run = start()
    about, stand_in = run.about(), run.stand_in.pid
    run.platform.post(f"/flow_runs/{run.id}/set_state", {"state": {"type": "CANCELLING"}, "force": False})
    run.ends_as("Cancelled")
    run.is_gone(about["pid"], stand_in)
    assert run.note("cancelled") == "Cancelling"


@pytest.mark.usefixtures("mended")
def test_without_the_fork_server_its_runs_have_crashed_and_the_next_one_starts_as_prefect_starts_it(
    start: Start, platform: Platform, own: Own
) -> None:
    run = start()
    about = run.about()
    os.kill(about["parent"], signal.SIGKILL)
    run.ends_as("Crashed")
    run.is_gone(about["pid"])
    (run.folder / "about.json").unlink()
    another = Waiting(platform, own, run.folder, 0)
    another.ends_as("Completed")
    assert another.about()["parent"] == platform.pid("worker")


@pytest.mark.usefixtures("mended")
def test_a_worker_that_is_killed_leaves_its_run_to_finish_and_the_fork_server_ends_after_it(
    start: Start, platform: Platform
) -> None:
    run = start(seconds=8)
    about = run.about()
    os.kill(platform.pid("worker"), signal.SIGKILL)
    run.ends_as("Completed")
    run.is_gone(about["pid"], about["parent"])


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
