from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule

from blueprint.config import cron as crons
from blueprint.config import schedule
from tests.support.crons import CRONS

ZONES = (
    *("UTC", "America/Chicago", "America/New_York", "America/Sao_Paulo", "America/St_Johns", "America/Havana"),
    *("Europe/Berlin", "Europe/London", "Europe/Dublin", "Africa/Casablanca", "Africa/Cairo", "Asia/Kolkata"),
    *("Asia/Kathmandu", "Asia/Beirut", "Asia/Gaza", "Australia/Lord_Howe", "Australia/Adelaide", "Pacific/Chatham"),
    *("Pacific/Auckland", "Pacific/Kiritimati", "Antarctica/Troll", "America/Nuuk", "Atlantic/Azores", "Etc/GMT+5"),
)
BUSY = st.sampled_from(("* * * * *", "*/10 * * * *", "*/30 * * * *", "0 * * * *", "15 */2 * * *", "59 23,0-3 * * *"))
NIGHTLY = st.tuples(st.integers(0, 59), st.integers(0, 4)).map(lambda time: f"{time[0]} {time[1]} * * *")
INSTANTS = st.datetimes(min_value=datetime(2025, 1, 1), max_value=datetime(2031, 1, 1), timezones=st.just(UTC))


def server_schedule(cron: str, zone: str) -> CronSchedule:
    """Without the checks, which read all time zones from the disk each time."""
    return CronSchedule.model_construct(cron=cron, timezone=zone, day_or=True)


def prefects(cron: str, zone: str, after: datetime, count: int) -> Sequence[datetime]:
    """The first times later than `after` that a server would make runs for that has been up for some hours."""
    since = after - timedelta(hours=8)
    dates = asyncio.run(server_schedule(cron, zone).get_dates(n=900, start=since, end=after + WINDOW))
    return [date.astimezone(UTC) for date in dates if date > after][:count]


WINDOW = timedelta(hours=6)


@given(cron=BUSY | NIGHTLY, zone=st.sampled_from(ZONES), near=INSTANTS, hours=st.floats(-4, 4))
@settings(max_examples=300, deadline=None)
def test_runs_around_a_clock_change_are_expected_when_the_server_makes_them(
    cron: str, zone: str, near: datetime, hours: float
) -> None:
    change = schedule.next_clock_change(zone, near)
    assume(change is not None)
    assert change is not None
    after = change + timedelta(hours=hours)
    expected = [time for time in schedule.fire_times(cron, zone, after, 400) if time <= after + WINDOW]
    assert expected == prefects(cron, zone, after, 400)


@given(cron=CRONS, zone=st.sampled_from(ZONES), after=INSTANTS)
@settings(max_examples=150, deadline=None)
def test_the_coming_runs_are_expected_when_the_server_makes_them(cron: str, zone: str, after: datetime) -> None:
    try:
        crons.parse(cron)
    except ValueError:
        assume(False)
    change = schedule.next_clock_change(zone, after - timedelta(hours=30))
    assume(change is None or abs(change - after) > timedelta(hours=30))  # the test above is about these
    soon = after.replace(microsecond=0) + timedelta(seconds=1)
    dates = asyncio.run(server_schedule(cron, zone).get_dates(n=6, start=soon))
    # A time that a clock change moves back comes out of order from Prefect, so the last of a batch may have a rival.
    theirs = [date.astimezone(UTC) for date in dates][:5]
    assert schedule.fire_times(cron, zone, after, 5) == theirs


def at(*time: int) -> datetime:
    return datetime(*time, tzinfo=ZoneInfo("America/Chicago")).astimezone(UTC)  # type: ignore[arg-type,misc]


def test_a_run_at_nine_stays_at_nine_on_both_sides_of_a_clock_change() -> None:
    times = schedule.fire_times("0 9 * * *", "America/Chicago", at(2026, 3, 7), 3)
    assert times == [datetime(2026, 3, 7, 15, tzinfo=UTC), *(datetime(2026, 3, day, 14, tzinfo=UTC) for day in (8, 9))]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Prefect moves it on with Python 3.13")
def test_a_nightly_run_is_not_lost_when_its_hour_does_not_exist() -> None:
    times = schedule.fire_times("30 2 * * *", "America/Chicago", at(2026, 3, 7, 12), 2)
    assert times == [at(2026, 3, 8, 1, 30), at(2026, 3, 9, 2, 30)]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Prefect moves it back with Python 3.11 and 3.12")
def test_a_nightly_run_is_not_lost_when_its_hour_does_not_exist_on_a_newer_python() -> None:
    times = schedule.fire_times("30 2 * * *", "America/Chicago", at(2026, 3, 7, 12), 2)
    assert times == [at(2026, 3, 8, 3, 30), at(2026, 3, 9, 2, 30)]


def test_a_nightly_run_is_not_doubled_when_its_hour_comes_twice() -> None:
    times = schedule.fire_times("30 1 * * *", "America/Chicago", at(2026, 10, 31, 12), 2)
    assert times == [at(2026, 11, 1, 1, 30), at(2026, 11, 2, 1, 30)]


def test_a_time_that_is_now_is_not_among_the_coming_ones() -> None:
    now = datetime(2026, 6, 1, 9, tzinfo=UTC)
    assert schedule.fire_times("0 9 * * *", "UTC", now, 1) == [now + timedelta(days=1)]


@given(zone=st.sampled_from(ZONES), after=INSTANTS)
@settings(max_examples=100, deadline=None)
def test_the_next_clock_change_is_one(zone: str, after: datetime) -> None:
    change = schedule.next_clock_change(zone, after)
    if change is None:
        year = [(after + timedelta(days=day)).astimezone(ZoneInfo(zone)).utcoffset() for day in range(365)]
        assert len(set(year)) == 1
        return
    before, then = ((change + timedelta(hours=hour)).astimezone(ZoneInfo(zone)) for hour in (-1, 0))
    assert before.utcoffset() != then.utcoffset()
    assert change > after - timedelta(hours=1)
