"""Task 28: flows, deployments and cases whose failures are not handled as promised do not pass.

Each break is a real flow, deployed and run; the healthy pipeline's four cases are in `test_phase0_healthy`.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.live_platform import Platform

FAILING: dict[str, Any] = {
    "failing": {"source_url": "invalid://url"},
    "failing_policy": {"retries": 3, "retry_delay_seconds": 2},
}


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("no_retries", "retries=3", "retries=0", "was retried 0 times, expected 3"),
        ("fewer_retries", "retries=3", "retries=1", "was retried 1 times, expected 3"),
        ("shorter_delay", "retry_delay_seconds=2", "retry_delay_seconds=1.6", "was retried after 1.6 s, expected 2 s"),
        ("no_delay", "retry_delay_seconds=2", "retry_delay_seconds=0", "was retried after 0.0 s, expected 2 s"),
    ],
)
def test_28_another_retry_policy_is_told(
    platform: Platform, origin: str, name: str, old: str, new: str, said: str
) -> None:
    entrypoint = platform.variant(name, (old, new))
    with platform.deployed(name.replace("_", "-"), entrypoint=entrypoint) as settings:
        outcome = platform.call(28, origin=origin, **settings, acceptance=FAILING)
        assert outcome.failed_saying(said), outcome
        assert platform.run_of("28-failing", origin)["state"]["type"] == "FAILED"

        told = {"retries": int(new[-1]) if old.startswith("retries") else 3, "retry_delay_seconds": 0}
        outcome = platform.call(28, origin=origin, **settings, acceptance=FAILING | {"failing_policy": told})
        assert outcome.status == "ok", outcome
        assert f"(b) {told['retries']} retries, then Failed" in outcome.summary


def test_28_a_bound_that_was_removed_is_told_and_the_run_is_taken_back(platform: Platform, origin: str) -> None:
    entrypoint = platform.variant("unbounded", ("batch_size: BatchSize", "batch_size: int"))
    with platform.deployed("unbounded", entrypoint=entrypoint) as settings:
        refused = {"refused": [{"batch_size": "invalid"}, {"batch_size": -1}]}
        outcome = platform.call(28, origin=origin, **settings, acceptance=refused)
        assert outcome.failed_saying("accepted {'batch_size': -1}", "must be refused"), outcome
        assert outcome.where_to_look == entrypoint
        assert "Field(ge=1)" in outcome.hint
        assert _runs_of(platform, "unbounded") == []


def test_28_a_deployment_that_no_longer_enforces_its_schema_is_told(platform: Platform, origin: str) -> None:
    with platform.deployed("lenient") as settings:
        found = platform.deployment("lenient")["id"]
        platform.patch(f"/deployments/{found}", {"enforce_parameter_schema": False})
        outcome = platform.call(28, origin=origin, **settings, acceptance={"refused": [{"batch_size": -1}]})
        assert outcome.failed_saying("accepted {'batch_size': -1}"), outcome
        assert _runs_of(platform, "lenient") == []


def test_28_a_case_that_was_to_fail_and_completes_is_told(platform: Platform, origin: str) -> None:
    acceptance = FAILING | {"failing": {"batch_size": 1}}
    outcome = platform.call(28, origin=origin, acceptance=acceptance)
    assert outcome.failed_saying("was meant to fail, and ended Completed"), outcome


def _runs_of(platform: Platform, deployment: str) -> list[dict[str, Any]]:
    only = {"deployments": {"id": {"any_": [platform.deployment(deployment)["id"]]}}}
    found: list[dict[str, Any]] = platform.post("/flow_runs/filter", only)
    return found
