"""What the server makes of the schedule: its copy, its coming runs, and those around a clock change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from blueprint.config import schedule
from blueprint.core.http import NotReady
from blueprint.core.task import TaskFailed, TaskSkipped
from blueprint.prefect_adapter import deployments, flow_runs
from blueprint.prefect_adapter.models import Deployment, Run
from blueprint.prefect_adapter.schedules import same_schedule
from blueprint.tasks.common.proofs import RESTORE_DEPLOYMENT
from blueprint.tasks.context import Context


def require_active(ctx: Context) -> tuple[Deployment, dict[str, Any]]:
    if not ctx.settings.has_schedule:
        raise TaskSkipped("no schedule is configured")
    found = ctx.require_deployment()
    definition = dict(ctx.desired_deployment().schedule or {})
    active = [dict(one.definition) for one in found.schedules if one.active]
    matching = [one for one in active if same_schedule(definition, one)]
    if found.paused or len(active) != 1 or not matching:
        raise TaskFailed(
            f"The server's schedule is {active or 'not active'}{', paused' if found.paused else ''}, not {definition}.",
            where_to_look=f"{ctx.settings.server_url}/deployments/deployment/{found.id}",
            hint=RESTORE_DEPLOYMENT,
        )
    return found, matching[0]


def upcoming(ctx: Context, deployment_id: str) -> list[str]:
    """The coming runs that the server has made, in the schedule's zone; they must fall when the schedule fires."""
    zone = ZoneInfo(ctx.settings.timezone)
    now = datetime.now(UTC)
    runs = flow_runs.runs(deployment_id=deployment_id, types=["SCHEDULED"], auto_scheduled_only=True)
    times = [run.expected_start for run in runs if run.expected_start and run.expected_start > now]
    if len(times) < 3:
        raise NotReady(f"the server has made {len(times)} of 3 coming runs")
    if ctx.settings.cron:
        _compare(times[:3], schedule.fire_times(ctx.settings.cron, ctx.settings.timezone, now, 3))
    return [time.astimezone(zone).isoformat() for time in times]


def around_clock_change(ctx: Context, deployment_id: str, change: datetime) -> list[str]:
    """Have the server make the runs of the days around a clock change, read them, and take back those it made."""
    start, end = change - timedelta(days=2), change + timedelta(days=2)
    fires = schedule.fire_times(ctx.settings.cron or "", ctx.settings.timezone, start, 20)
    expected = [time for time in fires if time <= end]
    if not expected:
        return ["the schedule does not fire within two days of it"]
    before = {run.id for run in _auto(deployment_id)}
    try:
        deployments.schedule_between(deployment_id, start, end)
        runs = [run for run in _auto(deployment_id) if run.expected_start and start <= run.expected_start <= end]
        _compare([run.expected_start for run in runs if run.expected_start][: len(expected)], expected)
    finally:
        for run in _auto(deployment_id):
            if run.id not in before and run.expected_start and start <= run.expected_start:
                flow_runs.delete_run(run.id)
    return [time.astimezone(ZoneInfo(ctx.settings.timezone)).isoformat() for time in expected]


def _auto(deployment_id: str) -> list[Run]:
    return flow_runs.runs(deployment_id=deployment_id, types=["SCHEDULED"], auto_scheduled_only=True)


def _compare(times: list[datetime], expected: list[datetime]) -> None:
    if [time.astimezone(UTC) for time in times] != expected:
        raise TaskFailed(
            f"The server's coming runs are at {', '.join(time.isoformat() for time in times) or 'no time'}; "
            f"the schedule fires at {', '.join(time.isoformat() for time in expected)}.",
            where_to_look="the deployment's page in the UI",
            hint=RESTORE_DEPLOYMENT,
        )
