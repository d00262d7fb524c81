"""When a cron schedule fires, worked out here and not by Prefect: what the server's runs are compared with."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from blueprint.config import cron as crons

_FARTHEST = timedelta(hours=25)  # no zone's clocks have been set by more than a day
_SKIPPED_GOES_BACK = sys.version_info < (3, 13)


def fire_times(cron: str, timezone: str, after: datetime, count: int) -> list[datetime]:
    """The next `count` times, in UTC, at which a cron schedule of that zone fires.

    As in Prefect's server, the expression is kept by the clock on the wall, whatever it is: where the clocks are set
    back, a time that comes twice counts the first time only (an hourly schedule then pauses for two hours). Where they
    are set forward, a time that does not exist is moved by as much as the clocks: back with a server on Python 3.11
    or 3.12 (02:30 fires at 01:30), on with one on Python 3.13 (02:30 fires at 03:30). Where it falls on another, they
    are one.

    Args:
        cron: An expression that `blueprint.config.cron` accepts.
        timezone: An IANA name.
        after: With a zone; the times are later than this.
        count: How many.
    """
    zone = ZoneInfo(timezone)
    start = after.astimezone(zone).replace(tzinfo=None)
    found: set[datetime] = set()
    enough: datetime | None = None
    for wall in crons.parse(cron).times(start - _FARTHEST):
        if enough and wall > enough:
            break
        time = _instant(wall, zone)
        if time > after:
            found.add(time)
        if len(found) >= count and enough is None:
            enough = wall + _FARTHEST
    return sorted(found)[:count]


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    local = wall.replace(tzinfo=zone)
    is_skipped = local.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall
    return local.replace(fold=int(is_skipped and _SKIPPED_GOES_BACK)).astimezone(UTC)


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
