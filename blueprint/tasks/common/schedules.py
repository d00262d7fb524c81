"""The server's copy of the schedule, its coming runs, and those around a clock change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from blueprint.config import schedule
from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskFailed, TaskSkipped
from blueprint.core.waiting import wait_until
from blueprint.prefect_adapter.models import Deployment
from blueprint.prefect_adapter.schedules import delete_runs, make_scheduled_runs, same_schedule, scheduled_runs
from blueprint.tasks.common.proofs import RESTORE_DEPLOYMENT
from blueprint.tasks.context import Context

_COMPARED = 3  # so many coming runs Prefect's scheduler always has ready, ...
_HORIZON = timedelta(days=99)  # ... if they are within 100 days; those of the last day it may not have made yet
_SPARE = timedelta(minutes=2)  # a run made nearer than this might be started before it is deleted


def require_active(ctx: Context) -> tuple[Deployment, dict[str, Any]]:
    """Return the deployment, and its schedule as the server has it, which must be active."""
    if not ctx.settings.has_schedule:
        raise TaskSkipped("no schedule is configured")
    found = ctx.require_deployment()
    definition = dict(ctx.desired_deployment().schedule or {})
    active = [dict(schedule.definition) for schedule in found.schedules if schedule.active]
    if found.paused or len(active) != 1 or not same_schedule(definition, active[0]):
        raise TaskFailed(
            f"The server's schedule is {active or 'not active'}{', paused' if found.paused else ''}, not {definition}.",
            where_to_look=f"{ctx.settings.server_url}/deployments/deployment/{found.id}",
            hint=RESTORE_DEPLOYMENT,
        )
    return found, active[0]


def prove_coming_runs(
    ctx: Context, control: TaskControl, deployment: Deployment, definition: dict[str, Any]
) -> tuple[str, list[str]]:
    """Prove that the server's next runs are due when the schedule fires.

    Returns:
        When it runs next, in words, and the times that were compared, in the schedule's zone.
    """

    def compared() -> tuple[str, list[str]]:
        now = datetime.now(UTC)
        fires = list(islice(schedule.fire_times(definition, now), _COMPARED))
        expected = [time for time in fires if time <= now + _HORIZON]
        end = expected[-1] if len(expected) == _COMPARED else now + _HORIZON
        found = scheduled_runs(deployment.id, now, end)
        if len(found) < len(expected):
            raise NotReady(f"{len(found)} of {len(expected)} coming runs exist")
        _require_same(ctx, deployment, expected, found.values())
        times = _local(ctx, fires)
        if expected:
            return f"next run {times[0]}", times[: len(expected)]
        if fires:
            return f"next run {times[0][:10]}, beyond the server's horizon of 100 days", []
        return "no further run: the schedule has ended", []

    return wait_until(control, compared, what="the coming runs")


def prove_clock_change(ctx: Context, deployment: Deployment, definition: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Prove that the server's runs around the next clock change are due when the schedule fires.

    The server is made to make them, long before it would, and those that it made for this are deleted.

    Returns:
        The result in words, and the details.
    """
    now = datetime.now(UTC)
    change = schedule.next_clock_change(ctx.settings.timezone, now)
    if change is None:
        return "the zone's clocks are not set within 400 days", {}
    details: dict[str, Any] = {"clock_change": change.at.isoformat()}
    expected = schedule.around(definition, change, now + _SPARE)
    if not expected:
        return f"no runs on both sides of the clock change at {_local(ctx, [change.at])[0]}", details
    start, end = expected[0], expected[-1]
    before = scheduled_runs(deployment.id, start, end)
    try:
        make_scheduled_runs(deployment.id, start, end, len(expected) + _COMPARED)
        _require_same(ctx, deployment, expected, scheduled_runs(deployment.id, start, end).values())
    finally:
        delete_runs([run for run in scheduled_runs(deployment.id, start, end) if run not in before])
    details["around_clock_change"] = local = _local(ctx, expected)
    return f"kept across the clock change: {local[0]} … {local[-1]}", details


def _local(ctx: Context, times: Iterable[datetime]) -> list[str]:
    zone = ZoneInfo(ctx.settings.timezone)
    return [time.astimezone(zone).isoformat() for time in times]


def _require_same(
    ctx: Context, deployment: Deployment, expected: Sequence[datetime], found: Iterable[datetime]
) -> None:
    if problem := schedule.difference(expected, found):
        raise TaskFailed(
            f"The server's runs are not those of the schedule: {problem}.",
            where_to_look=f"{ctx.settings.server_url}/deployments/deployment/{deployment.id}",
            hint=RESTORE_DEPLOYMENT,
        )
