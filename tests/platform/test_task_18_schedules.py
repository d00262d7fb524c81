"""Tasks 14, 18 and 29 of deployments with every kind of schedule, on one platform."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.platform.test_own_flow import platform
from tests.support.live_platform import Outcome, Platform

__all__ = ["platform"]

CHICAGO = {"timezone": "America/Chicago"}
FAR = datetime.now(UTC) + timedelta(days=200)
NEVER_NEAR = f"0 0 {FAR.day if FAR.month != 2 else 1} {FAR.month} *"


def outcomes(platform: Platform, settings: dict[str, Any]) -> list[Outcome]:
    return [platform.call(number, **settings) for number in (14, 18, 29)]


def far_runs(platform: Platform, deployment: str, after: datetime, before: datetime | None = None) -> list[str]:
    """The ids of a deployment's runs that are due in a stretch of time."""
    due = {"after_": after.isoformat()} | ({"before_": before.isoformat()} if before else {})
    query = {"flow_runs": {"expected_start_time": due}, "deployments": {"id": {"any_": [deployment]}}, "limit": 200}
    return [run["id"] for run in platform.post("/flow_runs/filter", query)]


@pytest.mark.parametrize(
    "schedule",
    [
        *({"cron": cron} for cron in ("* * * * *", "0 2 * * *", "0 0 29 2 *", "0 * * * *", "0 0 1 */3 *")),
        *({"interval": seconds} for seconds in (12, 3600, 86400)),
        *({"rrule": rule} for rule in ("FREQ=DAILY;BYHOUR=9;BYMINUTE=0;BYSECOND=0", "FREQ=WEEKLY;BYDAY=SU;BYHOUR=2")),
    ],
    ids=lambda schedule: str(*schedule.values()),
)
def test_18_and_29_every_kind_of_schedule_is_proven_and_nothing_that_was_made_for_it_stays(
    platform: Platform, schedule: dict[str, Any]
) -> None:
    with platform.deployed("of-schedule", **CHICAGO, **schedule) as settings:
        definition, first, again = outcomes(platform, settings)
        assert definition.passed, definition
        assert (first.status, again.status) == ("ok", "ok"), (first, again)
        around = [datetime.fromisoformat(text) for text in first.details.get("around_clock_change", ())]
        if around and around[0] > datetime.now(UTC) + timedelta(days=4):
            assert "kept across the clock change" in first.summary
            left = far_runs(platform, platform.deployment("of-schedule")["id"], around[0], around[-1])
            assert len(left) < len(around), "only those of the schedule's next three may be there"


def test_18_and_29_a_schedule_that_does_not_fire_soon_is_proven_by_when_it_does(platform: Platform) -> None:
    with platform.deployed("of-schedule", **CHICAGO, cron=NEVER_NEAR) as settings:
        for outcome in outcomes(platform, settings)[1:]:
            assert outcome.status == "ok", outcome
            assert f"next run {FAR.year}-{FAR.month:02}-" in outcome.summary
            assert "beyond the server's horizon of 100 days" in outcome.summary


def test_18_and_29_a_schedule_that_has_ended_says_so(platform: Platform) -> None:
    with platform.deployed("of-schedule", rrule="FREQ=DAILY;COUNT=3") as settings:
        for outcome in outcomes(platform, settings)[1:]:
            assert outcome.status == "ok", outcome
            assert "no further run: the schedule has ended" in outcome.summary


def test_18_and_29_a_run_that_is_due_within_seconds_is_one_of_the_coming_ones(platform: Platform) -> None:
    """The worker has taken it by then, and it is Pending."""
    every = 15
    with platform.deployed("of-schedule", interval=every) as settings:
        assert platform.call(18, **settings).status == "ok"
        of_deployment = {"deployments": {"id": {"any_": [platform.deployment("of-schedule")["id"]]}}}
        (run,) = platform.post("/flow_runs/filter", of_deployment | {"sort": "EXPECTED_START_TIME_ASC", "limit": 1})
        left = (datetime.fromisoformat(run["expected_start_time"]) - datetime.now(UTC)).total_seconds()
        time.sleep((left - 7) % every)
        for number in (29, 18):
            outcome = platform.call(number, **settings)
            assert outcome.status == "ok", outcome


def test_18_deletes_only_runs_of_the_days_that_it_looked_at(platform: Platform) -> None:
    with platform.deployed("of-schedule", **CHICAGO, cron="* * * * *") as settings:
        deployment = platform.deployment("of-schedule")["id"]
        assert platform.call(18, **settings).status == "ok"
        checks: list[Outcome] = []
        thread = threading.Thread(target=lambda: checks.append(platform.call(18, **settings)))
        thread.start()
        begin = FAR + timedelta(days=500)
        minutes = 0
        while thread.is_alive():  # runs that somebody else has the server make meanwhile
            start = begin + timedelta(minutes=minutes)
            body = {"start_time": start.isoformat(), "end_time": (start + timedelta(minutes=1)).isoformat()}
            platform.post(f"/deployments/{deployment}/schedule", body | {"min_runs": 1, "max_runs": 1})
            minutes += 1
        thread.join()
        assert checks[0].status == "ok", checks
        assert minutes > 1
        assert len(far_runs(platform, deployment, begin)) == min(minutes, 200)
