"""The slots of concurrency limits, when the server is killed while some are taken."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from tests.platform.test_own_flow import Own, own, own_deployment, platform
from tests.support.live_platform import Platform, eventually

__all__ = ["own", "platform"]

within_90_seconds = retry(
    wait=wait_fixed(0.5), stop=stop_after_delay(90), retry=retry_if_exception_type(AssertionError), reraise=True
)


def _start(platform: Platform, own: Own, folder: Path, seconds: float) -> str:
    parameters = {"folder": str(folder), "limit": own.name, "seconds": seconds}
    assert own.call(15, "slotted.py:slotted", parameters=parameters, concurrency_limit=1).passed
    deployment = platform.get(f"/deployments/name/slotted/{own.name}")["id"]
    return str(platform.post(f"/deployments/{deployment}/create_flow_run", {})["id"])


def _slots(platform: Platform, own: Own) -> list[int]:
    """Return how many slots are taken of the deployment's limit and of the global one."""
    of_deployment = platform.get(f"/deployments/name/slotted/{own.name}")["global_concurrency_limit"]
    return [
        round(limit["active_slots"]) for limit in (of_deployment, platform.get(f"/v2/concurrency_limits/{own.name}"))
    ]


@pytest.mark.usefixtures("mended")
def test_slots_are_given_back_although_the_server_was_killed(platform: Platform, own: Own, tmp_path: Path) -> None:
    """With leases in the server's memory, as Prefect has them by default, the global limit's slot stays taken."""
    with own_deployment(platform) as killed:
        runs = {}
        for one in (own, killed):
            platform.post("/v2/concurrency_limits/", {"name": one.name, "limit": 1})
            runs[one.name] = _start(platform, one, tmp_path, 40)

        @eventually
        def pid(run: str) -> int:
            written = (tmp_path / run).read_text(encoding="utf-8") if (tmp_path / run).exists() else ""
            assert written
            return int(written)

        pids = {name: pid(run) for name, run in runs.items()}
        assert [_slots(platform, one) for one in (own, killed)] == [[1, 1], [1, 1]]
        platform.kill("server")
        os.kill(pids[killed.name], signal.SIGKILL)  # the other one goes on
        outcome = platform.call(8, seconds=120)
        assert outcome.passed, outcome
        began = time.monotonic()
        assert _slots(platform, own) == [1, 1]

        @within_90_seconds
        def slots_equal_the_live_runs(of: Own, ended: str) -> None:
            assert platform.get(f"/flow_runs/{runs[of.name]}")["state"]["name"] == ended
            assert _slots(platform, of) == [0, 0]

        slots_equal_the_live_runs(own, "Completed")
        slots_equal_the_live_runs(killed, "Crashed")
        assert time.monotonic() - began < 90
