"""The times at which a schedule fires, worked out here and not by Prefect, to compare the server's runs with."""

from __future__ import annotations

import heapq
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import dropwhile, groupby, islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from blueprint.config import cron as crons

_FARTHEST = timedelta(hours=25)  # no zone's clocks have been set by more than a day
_SPANS = tuple(timedelta(hours=hours) for hours in (1, 6, 48, 35 * 24))
_ON_EACH_SIDE = 3
_DAY = 24 * 60  # minutes
_RRULE_START = datetime(2020, 1, 1)  # Prefect's, for a rule that names none
_NEW_PYTHON = sys.version_info >= (3, 13)  # Prefect has another time library there


def fire_times(definition: Mapping[str, Any], start: datetime) -> Iterator[datetime]:
    """Yield the times at which a schedule fires, in UTC and in order, as Prefect's server makes runs for it.

    Cron expressions and recurrence rules are kept by the clock on the wall: where the clocks are set back, a time that
    comes twice counts the first time only. A time that is skipped when they are set forward fires as much earlier with
    a server on Python 3.11 or 3.12 (02:30 at 01:30), as much later on Python 3.13. An interval of days keeps the time
    of day.

    Args:
        definition: The server's: `cron`, `interval` (seconds) with its `anchor_date`, or `rrule`; and its `timezone`.
        start: With a zone; a time that equals it is the first.
    """
    zone = ZoneInfo(definition.get("timezone") or "UTC")
    if definition.get("interval"):
        anchor = datetime.fromisoformat(str(definition["anchor_date"]))
        return _interval_times(timedelta(seconds=definition["interval"]), anchor, zone, start)
    wall = start.astimezone(zone).replace(tzinfo=None) - _FARTHEST
    times: Iterator[datetime]
    if definition.get("cron"):
        times = (_instant(time, zone) for time in crons.parse(definition["cron"]).times(wall))
    else:
        times = _rrule_times(definition["rrule"], zone.key, wall)
    return dropwhile(lambda time: time < start, (time for time, _ in groupby(_in_order(times))))


def between(definition: Mapping[str, Any], start: datetime, end: datetime) -> list[datetime]:
    """Return all times from `start` to `end`, both included, at which a schedule fires."""
    return list(takewhile(lambda time: time <= end, fire_times(definition, start)))


@dataclass(frozen=True)
class ClockChange:
    """An instant, to the minute, at which a zone's clocks are set, and by how much."""

    at: datetime
    shift: timedelta


def next_clock_change(timezone: str, after: datetime) -> ClockChange | None:
    """Return when the zone's clocks are next set; None if they are not within 400 days."""
    zone = ZoneInfo(timezone)
    start = after.astimezone(UTC).replace(second=0, microsecond=0)

    def offset(minute: int) -> timedelta:
        return (start + timedelta(minutes=minute)).astimezone(zone).utcoffset() or timedelta()

    days = range(0, 400 * _DAY, _DAY)
    day = next((day for day in days if offset(day) != offset(day + _DAY)), None)
    if day is None:
        return None
    before = offset(day)
    at = bisect_left(range(day + _DAY), True, lo=day, key=lambda minute: offset(minute) != before)
    return ClockChange(start + timedelta(minutes=at), abs(offset(at) - before))


def around(definition: Mapping[str, Any], change: ClockChange, earliest: datetime) -> list[datetime]:
    """Return three times on each side of a clock change, none before `earliest`.

    None are returned if the schedule fires on one side only. Those that come twice as the clocks are set back are
    given besides, but not as the first or the last: the server, made to begin or end there, would take the other one.
    """
    last = change.at - change.shift - timedelta(seconds=1)
    before: list[datetime] = []
    for span in _SPANS:
        before = between(definition, max(last - span, earliest), last)[-_ON_EACH_SIDE:]
        if len(before) == _ON_EACH_SIDE:
            break
    soon = takewhile(lambda time: time <= change.at + _SPANS[-1], fire_times(definition, change.at + change.shift))
    after = list(islice(soon, _ON_EACH_SIDE))
    return between(definition, before[0], after[-1]) if before and after else []


def difference(expected: Sequence[datetime], found: Iterable[datetime]) -> str:
    """Say which times are missing and which are too many; empty if the two are the same."""
    there = {time.astimezone(UTC) for time in found}
    missing, unexpected = sorted(set(expected) - there), sorted(there - set(expected))
    told = []
    for times, words in ((missing, "there is no run at"), (unexpected, "the schedule does not fire at")):
        more = f" and {len(times) - 3} more times" if len(times) > 3 else ""
        if times:
            told.append(f"{words} {', '.join(time.isoformat() for time in times[:3])}{more}")
    return "; ".join(told)


def _interval_times(interval: timedelta, anchor: datetime, zone: ZoneInfo, start: datetime) -> Iterator[datetime]:
    """Yield an interval's times, by the clock on the wall if it is of days."""
    seconds = interval.total_seconds()
    time = anchor.astimezone(UTC) + timedelta(seconds=seconds * int((start - anchor).total_seconds() / seconds))
    walls = set[datetime]()  # of two times that are the same on the wall Prefect takes the first that it comes to
    while True:
        wall = time.astimezone(zone).replace(tzinfo=None)
        if time >= start and wall not in walls:
            walls.add(wall)
            yield time
        time = _instant(wall + interval, zone, second=True) if interval.days else time + interval


def _rrule_times(rule: str, zone: str, after: datetime) -> Iterator[datetime]:
    from dateutil import rrule, tz  # type: ignore[import-untyped]

    its_zone = tz.gettz(zone)  # not Python's: they differ where winter is the time that is set, as in Ireland
    for wall in rrule.rrulestr(rule, dtstart=_RRULE_START, ignoretz=True).xafter(after, inc=True):
        yield wall.replace(tzinfo=its_zone).astimezone(UTC)


def _instant(wall: datetime, zone: ZoneInfo, *, second: bool = False) -> datetime:
    """Return the instant of a time on the wall; `second` of two before Python 3.13, else the first."""
    fold = not _NEW_PYTHON and _is_skipped(wall, zone) != second
    return wall.replace(tzinfo=zone, fold=int(fold)).astimezone(UTC)


def _is_skipped(wall: datetime, zone: ZoneInfo) -> bool:
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall


def _in_order(times: Iterable[datetime]) -> Iterator[datetime]:
    """Yield times in order; a skipped time that is moved comes out of order."""
    waiting: list[datetime] = []
    for time in times:
        heapq.heappush(waiting, time)
        while waiting[0] < time - _FARTHEST:
            yield heapq.heappop(waiting)
    yield from sorted(waiting)
