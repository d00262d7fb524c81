"""When a cron schedule fires, worked out here and not by Prefect: what the server's runs are compared with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim

_ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


def fire_times(cron: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """The next `count` times, in UTC, at which a cron schedule of that zone fires."""
    local = after.astimezone(ZoneInfo(timezone))
    return [time.astimezone(UTC) for time in islice(CronSim(_ALIASES.get(cron, cron), local), count)]


def next_clock_change(timezone: str, after: datetime) -> datetime | None:
    """The instant, to the hour, at which the zone's clocks are next set; None if they are not within 400 days."""
    zone = ZoneInfo(timezone)
    hour = after.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    for _ in range(400):
        following = hour + timedelta(days=1)
        if _offset(hour, zone) != _offset(following, zone):
            while _offset(hour, zone) == _offset(hour + timedelta(hours=1), zone):
                hour += timedelta(hours=1)
            return hour + timedelta(hours=1)
        hour = following
    return None


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta | None:
    return instant.astimezone(zone).utcoffset()
