"""The configured schedule: as the server should have it, as `flow.deploy` takes it, and as the server gives it back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from blueprint.config.settings import Settings

if TYPE_CHECKING:
    from prefect.schedules import Schedule


def schedule_definition(settings: Settings) -> dict[str, Any] | None:
    """The schedule by the server's names for its parts; None if none is configured."""
    if settings.cron:
        return {"cron": settings.cron, "timezone": settings.timezone}
    if settings.interval:
        return {"interval": settings.interval, "timezone": settings.timezone}
    if settings.rrule:
        return {"rrule": settings.rrule, "timezone": settings.timezone}
    return None


def prefect_schedule(settings: Settings) -> Schedule | None:
    """The schedule as Prefect's own object; None if none is configured."""
    from prefect.schedules import Cron, Interval, RRule

    if settings.cron:
        return Cron(settings.cron, timezone=settings.timezone)
    if settings.interval:
        return Interval(timedelta(seconds=settings.interval), timezone=settings.timezone)
    if settings.rrule:
        return RRule(settings.rrule, timezone=settings.timezone)
    return None


def same_schedule(wanted: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    """Whether the server's schedule is the one that is wanted."""
    return all(
        same_rrule(value, found.get(key)) if key == "rrule" else found.get(key) == value
        for key, value in wanted.items()
    )


def same_rrule(wanted: object, found: object) -> bool:
    """The server puts a line with a start before a rule that has none."""
    return found == wanted or (
        str(found).startswith("DTSTART") and str(found).partition("\n")[2] == wanted and "DTSTART" not in str(wanted)
    )
