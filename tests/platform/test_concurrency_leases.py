"""The slots of a deployment's concurrency limit, when the server is killed while one is taken."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.platform.test_own_flow import Own, own
from tests.platform.test_worker_runs import Waiting
from tests.support.live_platform import Platform

__all__ = ["own"]

_SECONDS = 90.0  # within which the slots are right again


def _await(true: Callable[[], bool], seconds: float = _SECONDS) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.5)


def _slots_are_right(run: Waiting) -> bool:
    """Whether as many slots are taken as runs are at work."""
    deployment = run.platform.get(f"/flow_runs/{run.id}")["deployment_id"]
    limit = run.platform.get(f"/deployments/{deployment}")["global_concurrency_limit"]
    asked = {"deployments": {"id": {"any_": [deployment]}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
    live = run.platform.post("/flow_runs/filter", asked)
    return bool(round(limit["active_slots"]) == len(live))


@pytest.mark.usefixtures("mended")
@pytest.mark.parametrize("killed", [False, True], ids=["the run goes on", "the run is killed too"])
def test_slots_are_given_back_although_the_server_was_killed(
    platform: Platform, own: Own, tmp_path: Path, *, killed: bool
) -> None:
    run = Waiting(platform, own, tmp_path, 20, concurrency_limit=1)
    about = run.about()
    assert _slots_are_right(run)
    platform.kill("server")
    if killed:
        os.kill(about["pid"], signal.SIGKILL)
    outcome = platform.call(8, seconds=120)
    assert outcome.passed, outcome
    began = time.monotonic()
    if not killed:
        assert run.state == "Running"
        assert _slots_are_right(run)
    _await(lambda: run.state in ("Completed", "Crashed"))
    _await(lambda: _slots_are_right(run), _SECONDS - (time.monotonic() - began))
    assert run.state == ("Crashed" if killed else "Completed")
    (tmp_path / "about.json").unlink()
    Waiting(platform, own, tmp_path, 0, concurrency_limit=1).ends_as("Completed")  # it gets the slot
