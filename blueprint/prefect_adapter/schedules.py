"""A deployment's schedule, configured and on the server, and the runs that the server makes for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from blueprint.config.settings import Settings
from blueprint.prefect_adapter.client import asking, client
from blueprint.prefect_adapter.flow_runs import matching

if TYPE_CHECKING:
    from prefect.schedules import Schedule

_MOST_DELETED = 50  # the server's limit for one request


def schedule_definition(settings: Settings) -> dict[str, Any] | None:
    """Return the configured schedule by the server's names for its parts; None if none is configured."""
    for kind in ("cron", "interval", "rrule"):
        if value := getattr(settings, kind):
            return {kind: value, "timezone": settings.timezone}
    return None


def prefect_schedule(settings: Settings) -> Schedule | None:
    """Return the configured schedule as Prefect's own object; None if none is configured."""
    from prefect.schedules import Schedule

    definition = schedule_definition(settings)
    if definition and settings.interval:
        definition["interval"] = timedelta(seconds=settings.interval)
    return Schedule(**definition) if definition else None


def same_schedule(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Return whether the server's schedule is the one that is wanted."""
    return all(
        same_rrule(value, found.get(key)) if key == "rrule" else found.get(key) == value
        for key, value in wanted.items()
    )


def same_rrule(wanted: object, found: object) -> bool:
    """Return whether two rules are the same but for the start that the server puts before one without."""
    return found == wanted or (
        str(found).startswith("DTSTART") and str(found).partition("\n")[2] == wanted and "DTSTART" not in str(wanted)
    )


def scheduled_runs(deployment_id: str, start: datetime, end: datetime) -> dict[str, datetime]:
    """Return the runs that the server has made for a deployment's schedule, and when each is due.

    They may be in any state: one that is due in a few seconds is Pending already. Cancelled ones are left out.
    Both ends of the stretch of time are included.
    """
    due = {"after_": start, "before_": end}
    found = matching("list the scheduled runs", deployment_id={"any_": [deployment_id]}, expected_start_time=due)
    return {
        str(run.id): run.expected_start_time
        for run in found
        if run.auto_scheduled and run.expected_start_time and not (run.state and run.state.is_cancelled())
    }


def make_scheduled_runs(deployment_id: str, start: datetime, end: datetime, most: int) -> None:
    """Have the server make the scheduled runs of a stretch of time now, at most so many."""
    body = {"start_time": start.isoformat(), "end_time": end.isoformat(), "min_runs": most, "max_runs": most}
    path = f"/deployments/{deployment_id}/schedule"
    asking("schedule the coming runs", partial(_post, path, body))


def delete_runs(run_ids: Sequence[str]) -> None:
    """Delete flow runs; one that is gone already is as good."""
    for first in range(0, len(run_ids), _MOST_DELETED):
        ids = list(run_ids[first : first + _MOST_DELETED])
        body = {"flow_runs": {"id": {"any_": ids}}, "limit": _MOST_DELETED}
        asking("delete flow runs", partial(_post, "/flow_runs/bulk_delete", body))


def _post(path: str, body: Mapping[str, Any]) -> None:
    client()._client.post(path, json=body).raise_for_status()
