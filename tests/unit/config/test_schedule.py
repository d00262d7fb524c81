from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

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


SINCE_2025 = "DTSTART:20250101T000000\nRRULE:"  # a rule without a start begins in 2020, which takes its time
RRULES = st.sampled_from(
    (
        *("FREQ=DAILY;BYHOUR=9", SINCE_2025 + "FREQ=HOURLY", SINCE_2025 + "FREQ=HOURLY;INTERVAL=5"),
        SINCE_2025 + "FREQ=MINUTELY;INTERVAL=30;BYHOUR=1,2,3",
        *("FREQ=WEEKLY;BYDAY=MO,SU;BYHOUR=2;BYMINUTE=30", "FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=1;BYMINUTE=15"),
        *("DTSTART:20250301T023000\nRRULE:FREQ=DAILY", "DTSTART:20250301T023000Z\nRRULE:FREQ=HOURLY;INTERVAL=3"),
        *("FREQ=DAILY;UNTIL=20300101T000000", "FREQ=DAILY;COUNT=3000", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29"),
        "DTSTART:20250101T013000\nRRULE:FREQ=DAILY\nEXDATE:20261101T013000\nRDATE:20261101T020000",
    )
)
INTERVALS = st.sampled_from((1, 60, 90.5, 1.1234567, 3600, 5400, 43200, 86400, 90000, 7 * 86400, 45 * 86400)).map(
    lambda seconds: timedelta(seconds=seconds).total_seconds()
)


def of_server(definition: Mapping[str, Any]) -> CronSchedule | IntervalSchedule | RRuleSchedule:
    """Prefect's own schedule, without the checks, which read all time zones from the disk each time."""
    zone = definition["timezone"]
    if "cron" in definition:
        return CronSchedule.model_construct(cron=definition["cron"], timezone=zone, day_or=True)
    if "rrule" in definition:
        return RRuleSchedule.model_construct(rrule=definition["rrule"], timezone=zone)
    made = IntervalSchedule(interval=timedelta(seconds=definition["interval"]), anchor_date=definition["anchor_date"])
    return made.model_copy(update={"timezone": zone})


def theirs(definition: Mapping[str, Any], start: datetime, end: datetime) -> list[datetime]:
    """The times at which a server makes runs that is asked for those of a window."""
    dates = asyncio.run(of_server(definition).get_dates(n=900, start=start, end=end))
    return [date.astimezone(UTC) for date in dates]


def cron_of(text: str, zone: str = "UTC") -> dict[str, Any]:
    return {"cron": text, "timezone": zone}


WINDOW = timedelta(hours=6)


@given(cron=BUSY | NIGHTLY, zone=st.sampled_from(ZONES), near=INSTANTS, minutes=st.integers(-240, 240))
@settings(max_examples=300, deadline=None)
def test_runs_around_a_clock_change_are_expected_when_the_server_makes_them(
    cron: str, zone: str, near: datetime, minutes: int
) -> None:
    change = schedule.next_clock_change(zone, near)
    assume(change is not None)
    assert change is not None
    start = change.at + timedelta(minutes=minutes)
    expected = schedule.between(cron_of(cron, zone), start, start + WINDOW)
    # A server that has been up for some hours; one that begins within a time that comes twice reads it as the second.
    made = theirs(cron_of(cron, zone), start - timedelta(hours=8), start + WINDOW)
    assert expected == [time for time in made if time >= start]


@given(cron=CRONS, zone=st.sampled_from(ZONES), start=INSTANTS)
@settings(max_examples=150, deadline=None)
def test_the_coming_runs_are_expected_when_the_server_makes_them(cron: str, zone: str, start: datetime) -> None:
    try:
        crons.parse(cron)
    except ValueError:
        assume(False)
    change = schedule.next_clock_change(zone, start - timedelta(hours=30))
    assume(change is None or abs(change.at - start) > timedelta(hours=30))  # the test above is about these
    dates = asyncio.run(of_server(cron_of(cron, zone)).get_dates(n=6, start=start))
    # A time that a clock change moves back comes out of order from Prefect, so the last of a batch may have a rival.
    assert (
        list(islice(schedule.fire_times(cron_of(cron, zone), start), 5)) == [date.astimezone(UTC) for date in dates][:5]
    )


@given(rule=RRULES, zone=st.sampled_from(ZONES), start=INSTANTS, days=st.integers(1, 40))
@settings(max_examples=40, deadline=None)
@example(rule="FREQ=DAILY;BYHOUR=2", zone="America/Chicago", start=datetime(2026, 3, 1, tzinfo=UTC), days=20)
@example(rule=SINCE_2025 + "FREQ=HOURLY", zone="America/Chicago", start=datetime(2026, 10, 31, tzinfo=UTC), days=3)
@example(
    rule=SINCE_2025 + "FREQ=HOURLY", zone="America/Chicago", start=datetime(2026, 11, 1, 6, 30, tzinfo=UTC), days=3
)
def test_runs_of_a_recurrence_rule_are_expected_when_the_server_makes_them(
    rule: str, zone: str, start: datetime, days: int
) -> None:
    definition = {"rrule": rule, "timezone": zone}
    end = start + timedelta(days=days)
    made = theirs(definition, start, end)
    assert schedule.between(definition, start, end)[: len(made) if len(made) == 900 else None] == made


@given(
    seconds=INTERVALS,
    zone=st.sampled_from(ZONES),
    anchor=INSTANTS,
    start=INSTANTS,
    zone_of_anchor=st.sampled_from(("UTC", "Asia/Kolkata", "America/Chicago")),
)
@settings(max_examples=150, deadline=None)
def test_runs_of_an_interval_are_expected_when_the_server_makes_them(
    seconds: float, zone: str, anchor: datetime, start: datetime, zone_of_anchor: str
) -> None:
    # Where clocks are set back by two hours, Prefect passes over a time of an interval that is shorter than a day.
    assume(zone != "Antarctica/Troll" or seconds >= 86_400)
    given_as = anchor.astimezone(ZoneInfo(zone_of_anchor)).isoformat()
    definition = {"interval": seconds, "anchor_date": given_as, "timezone": zone}
    end = start + min(timedelta(days=400), 300 * timedelta(seconds=seconds))
    # Prefect compares with the end by the clock on the wall: in an hour that comes twice it stops too early or late.
    change = schedule.next_clock_change(zone, end - timedelta(hours=30))
    assume(change is None or not change.at - change.shift <= end <= change.at + change.shift)
    assert schedule.between(definition, start, end) == theirs(definition, start, end)


@pytest.mark.parametrize("zone", ["America/Chicago", "Europe/Dublin", "Australia/Lord_Howe", "Antarctica/Troll"])
@pytest.mark.parametrize(
    "of_kind",
    [
        *(
            {"cron": cron}
            for cron in ("* * * * *", "*/7 * * * *", "0 * * * *", "0 2 * * *", "0 0 * * MON", "0 0 1 * *")
        ),
        *(
            {"rrule": rule}
            for rule in (
                "DTSTART:20260101T000000\nRRULE:FREQ=HOURLY",
                "FREQ=DAILY;BYHOUR=2",
                "FREQ=WEEKLY;BYDAY=SU;BYHOUR=2",
            )
        ),
        *({"interval": seconds, "anchor_date": "2026-01-01T01:30:00Z"} for seconds in (300, 3600, 86400, 604800)),
    ],
)
def test_the_runs_made_around_a_clock_change_are_those_on_both_sides_of_it(of_kind: dict[str, Any], zone: str) -> None:
    definition = of_kind | {"timezone": zone}
    now = datetime(2026, 1, 15, 12, 34, 56, 789, tzinfo=UTC)
    for _ in range(4):
        change = schedule.next_clock_change(zone, now)
        assert change
        expected = schedule.around(definition, change, now)
        assert len(expected) <= 400, "the server is made to make them all"
        assert min(expected) < change.at <= max(expected)
        assert theirs(definition, expected[0], expected[-1]) == expected
        now = change.at


def test_what_does_not_fire_on_both_sides_of_a_clock_change_is_not_compared() -> None:
    change = schedule.next_clock_change("America/Chicago", datetime(2026, 1, 1, tzinfo=UTC))
    assert change
    assert schedule.around(cron_of("0 0 29 2 *", "America/Chicago"), change, datetime(2026, 1, 1, tzinfo=UTC)) == []
    assert schedule.around(cron_of("0 0 * * *", "America/Chicago"), change, change.at - timedelta(hours=1)) == []


def test_a_window_has_both_of_its_ends() -> None:
    start, end = datetime(2026, 6, 1, 9, tzinfo=UTC), datetime(2026, 6, 3, 9, tzinfo=UTC)
    definitions = (
        cron_of("0 9 * * *"),
        {"interval": 86400, "anchor_date": "2026-05-01T09:00:00+00:00", "timezone": "UTC"},
        {"rrule": "FREQ=DAILY;BYHOUR=9", "timezone": "UTC"},
    )
    days = [datetime(2026, 6, day, 9, tzinfo=UTC) for day in (1, 2, 3)]
    assert [schedule.between(definition, start, end) for definition in definitions] == [days] * 3
    assert [theirs(definition, start, end) for definition in definitions] == [days] * 3


def test_a_rule_that_has_ended_fires_no_more() -> None:
    assert list(schedule.fire_times({"rrule": "FREQ=DAILY;COUNT=3"}, datetime(2026, 1, 1, tzinfo=UTC))) == []


def test_a_difference_names_what_is_missing_and_what_is_too_much() -> None:
    days = [datetime(2026, 6, day, 9, tzinfo=UTC) for day in range(1, 9)]
    assert schedule.difference(days, reversed(days)) == ""
    assert schedule.difference(days[:1], [days[0].astimezone(ZoneInfo("America/Chicago"))]) == ""
    told = schedule.difference(days[:6], days[5:7])
    assert told == (
        "there is no run at 2026-06-01T09:00:00+00:00, 2026-06-02T09:00:00+00:00, 2026-06-03T09:00:00+00:00 "
        "and 2 more times; the schedule does not fire at 2026-06-07T09:00:00+00:00"
    )


def at(*time: int) -> datetime:
    return datetime(*time, tzinfo=ZoneInfo("America/Chicago")).astimezone(UTC)  # type: ignore[arg-type,misc]


def first(cron: str, start: datetime, count: int) -> list[datetime]:
    return list(islice(schedule.fire_times(cron_of(cron, "America/Chicago"), start), count))


def test_a_run_at_nine_stays_at_nine_on_both_sides_of_a_clock_change() -> None:
    times = first("0 9 * * *", at(2026, 3, 7), 3)
    assert times == [datetime(2026, 3, 7, 15, tzinfo=UTC), *(datetime(2026, 3, day, 14, tzinfo=UTC) for day in (8, 9))]


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Prefect moves it on with Python 3.13")
def test_a_nightly_run_is_not_lost_when_its_hour_does_not_exist() -> None:
    assert first("30 2 * * *", at(2026, 3, 7, 12), 2) == [at(2026, 3, 8, 1, 30), at(2026, 3, 9, 2, 30)]


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Prefect moves it back with Python 3.11 and 3.12")
def test_a_nightly_run_is_not_lost_when_its_hour_does_not_exist_on_a_newer_python() -> None:
    assert first("30 2 * * *", at(2026, 3, 7, 12), 2) == [at(2026, 3, 8, 3, 30), at(2026, 3, 9, 2, 30)]


def test_a_nightly_run_is_not_doubled_when_its_hour_comes_twice() -> None:
    assert first("30 1 * * *", at(2026, 10, 31, 12), 2) == [at(2026, 11, 1, 1, 30), at(2026, 11, 2, 1, 30)]


@given(zone=st.sampled_from(ZONES), after=INSTANTS)
@settings(max_examples=100, deadline=None)
def test_the_next_clock_change_is_one_to_the_minute(zone: str, after: datetime) -> None:
    change = schedule.next_clock_change(zone, after)
    if change is None:
        year = [(after + timedelta(days=day)).astimezone(ZoneInfo(zone)).utcoffset() for day in range(365)]
        assert len(set(year)) == 1
        return
    before, then = ((change.at + timedelta(minutes=minute)).astimezone(ZoneInfo(zone)) for minute in (-1, 0))
    old, new = before.utcoffset(), then.utcoffset()
    assert old is not None
    assert new is not None
    assert abs(new - old) == change.shift > timedelta(0)
    assert change.at > after - timedelta(minutes=1)
