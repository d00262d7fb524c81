"""The times at which a schedule fires, worked out here and not by Prefect, to compare the server's runs with."""

from __future__ import annotations

import heapq
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import dropwhile, islice, takewhile
from typing import Any
from zoneinfo import ZoneInfo

from blueprint.config import cron as crons

_FARTHEST = timedelta(hours=25)  # no zone's clocks have been set by more than a day
_SPANS = tuple(timedelta(hours=hours) for hours in (1, 6, 48, 35 * 24))
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
    return dropwhile(lambda time: time < start, _in_order(times))


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
    low = after.astimezone(UTC).replace(second=0, microsecond=0)
    for _ in range(400):
        high = low + timedelta(days=1)
        if _offset(low, zone) != _offset(high, zone):
            while high - low > timedelta(minutes=1):
                middle = low + (high - low) // timedelta(minutes=2) * timedelta(minutes=1)
                low, high = (low, middle) if _offset(low, zone) != _offset(middle, zone) else (middle, high)
            return ClockChange(high, abs(_offset(high, zone) - _offset(low, zone)))
        low = high
    return None


def around(definition: Mapping[str, Any], change: ClockChange, earliest: datetime, count: int = 3) -> list[datetime]:
    """Return the times around a clock change, `count` on each side; empty if it does not fire on both sides.

    Neither the first nor the last is one that comes twice as the clocks are set back: the server, made to begin or end
    there, would take it for the other one.

    Args:
        definition: As for `fire_times`.
        change: The clock change.
        earliest: Times before this are left out.
        count: How many on each side; those that come twice are given besides.
    """
    last = change.at - change.shift - timedelta(seconds=1)
    before: list[datetime] = []
    for span in _SPANS:
        before = between(definition, max(last - span, earliest), last)[-count:]
        if len(before) == count:
            break
    soon = takewhile(lambda time: time <= change.at + _SPANS[-1], fire_times(definition, change.at + change.shift))
    after = list(islice(soon, count))
    return between(definition, before[0], after[-1]) if before and after else []


def difference(expected: Sequence[datetime], found: Iterable[datetime]) -> str:
    """Say which times are missing and which are too many; empty if the two are the same."""
    there = {time.astimezone(UTC) for time in found}
    missing, unexpected = sorted(set(expected) - there), sorted(there - set(expected))
    parts = [(missing, "there is no run at"), (unexpected, "the schedule does not fire at")]
    return "; ".join(f"{words} {_listed(times)}" for times, words in parts if times)


def _listed(times: Sequence[datetime]) -> str:
    more = f" and {len(times) - 3} more times" if len(times) > 3 else ""
    return ", ".join(time.isoformat() for time in times[:3]) + more


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
        time = _interval_instant(wall + interval, zone) if interval.days else time + interval


def _interval_instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a wall time: a skipped one is later; before Python 3.13 the second of two counts."""
    is_second = not _NEW_PYTHON and not _is_skipped(wall, zone)
    return wall.replace(tzinfo=zone, fold=int(is_second)).astimezone(UTC)


def _rrule_times(rule: str, zone: str, after: datetime) -> Iterator[datetime]:
    from dateutil import rrule, tz  # type: ignore[import-untyped]

    its_zone = tz.gettz(zone)  # not Python's: they differ where winter is the time that is set, as in Ireland
    for wall in rrule.rrulestr(rule, dtstart=_RRULE_START, ignoretz=True).xafter(after, inc=True):
        yield wall.replace(tzinfo=its_zone).astimezone(UTC)


def _instant(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a time on the wall; the first one if it comes twice."""
    moves_back = _is_skipped(wall, zone) and not _NEW_PYTHON
    return wall.replace(tzinfo=zone, fold=int(moves_back)).astimezone(UTC)


def _is_skipped(wall: datetime, zone: ZoneInfo) -> bool:
    return wall.replace(tzinfo=zone).astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall


def _in_order(times: Iterable[datetime]) -> Iterator[datetime]:
    """Yield times in order and each once; a skipped time that is moved comes out of order."""
    waiting: list[datetime] = []
    last = None
    for time in times:
        heapq.heappush(waiting, time)
        while waiting[0] < time - _FARTHEST:
            found = heapq.heappop(waiting)
            if found != last:
                yield found
            last = found
    for found in sorted(waiting):
        if found != last:
            yield found
        last = found


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()
