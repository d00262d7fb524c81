from __future__ import annotations

import importlib
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from prefect.client.schemas.schedules import CronSchedule as ClientCron
from prefect.server.schemas.schedules import CronSchedule as ServerCron

from blueprint.config import cron
from tests.support.crons import CRONS, ODD_CRONS

croniter: Any = importlib.import_module("prefect._vendor.croniter").croniter  # what Prefect's server asks

STARTS = st.datetimes(min_value=datetime(2024, 1, 1), max_value=datetime(2032, 1, 1)).map(
    lambda time: time.replace(second=0, microsecond=0)
)


def accepted(text: str) -> bool:
    try:
        cron.parse(text)
    except ValueError:
        return False
    return True


@given(text=CRONS | ODD_CRONS)
@settings(max_examples=800, deadline=None)
def test_a_schedule_that_is_accepted_here_is_never_refused_by_the_server_after_the_platform_is_up(text: str) -> None:
    if accepted(text):
        ServerCron.valid_cron_string(text)
        ClientCron.valid_cron_string(text)


@given(text=CRONS, start=STARTS)
@example(text="0 0 1 * MON", start=datetime(2026, 1, 1))
@example(text="0 0 */2 * */2", start=datetime(2026, 2, 1))
@example(text="0 0 */1 * */2", start=datetime(2026, 2, 1))
@example(text="30 22-6 15,L NOV-FEB ?", start=datetime(2026, 1, 31, 12))
@example(text="0 0 29 2 *", start=datetime(2026, 3, 1))
@example(text="@yearly", start=datetime(2026, 3, 1))
@settings(max_examples=1000, deadline=None)
def test_runs_are_expected_at_the_minutes_at_which_the_server_makes_them(text: str, start: datetime) -> None:
    if not accepted(text):
        return
    prefects = croniter(text, start)
    theirs = [prefects.get_next(datetime) for _ in range(12)]
    assert list(islice(cron.parse(text).times(start + timedelta(minutes=1)), 12)) == theirs


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected five fields"),
        ("nonsense", "expected five fields"),
        ("0 0 9 * * *", "expected five fields"),
        ("60 * * * *", "minute '60': expected 0 to 59"),
        ("0 24 * * *", "hour '24': expected 0 to 23"),
        ("0 0 0 * *", "day '0': expected 1 to 31"),
        ("0 0 * 13 *", "month '13': expected 1 to 12 or jan to dec"),
        ("0 0 * * foo", "weekday 'foo': expected 0 to 6 or sun to sat"),
        ("*/0 * * * *", "minute '*/0'"),
        ("5/0 * * * *", "the step must be at least 1"),
        ("0 0 30 2 *", "never comes"),
        ("0 0 31 4,6 mon", "never comes"),
        ("R * * * *", "minute 'r'"),
        ("0 0 * * " + "1" * 5000, "weekday '11111111111111111111'"),
        ("٣ 0 * * *", "expected five fields"),
    ],
)
def test_whoever_mistypes_a_cron_expression_reads_which_part_is_wrong(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        cron.parse(text)
    assert says in str(raised.value)
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("text", "start", "lost"),
    [
        ("0 0 */15 * *", datetime(2026, 2, 16, 1), datetime(2026, 3, 1)),
        ("0 0 1,30 * *", datetime(2026, 2, 1, 1), datetime(2026, 3, 1)),
        ("0 0 29,L * *", datetime(2026, 2, 1, 1), datetime(2026, 2, 28)),
        ("0 0 31,L * *", datetime(2026, 4, 1, 1), datetime(2026, 4, 30)),
    ],
)
def test_a_schedule_of_which_prefect_would_lose_runs_is_refused(text: str, start: datetime, lost: datetime) -> None:
    assert croniter(text, start).get_next(datetime) > lost  # Prefect passes over a day that the expression lists
    with pytest.raises(ValueError, match="Prefect misses"):
        cron.parse(text)


@pytest.mark.parametrize("text", ["0 0 31 4 mon", "0 0 31 4 *", "0 0 15 * mon#1"])
def test_a_schedule_on_which_the_servers_scheduler_would_fail_again_and_again_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="failed to find next date"):
        croniter(text, datetime(2026, 1, 1)).get_next(datetime)
    assert not accepted(text)


@given(text=CRONS)
@settings(max_examples=700, deadline=None)
def test_what_prefect_accepts_is_refused_only_for_a_reason_that_is_told(text: str) -> None:
    try:
        cron.parse(text)
    except ValueError as error:
        told = str(error)
    else:
        return
    if croniter.is_valid(text):
        reasons = (
            "ends are the same",
            "runs over the end",
            "never comes",
            "Prefect misses",
            "passes over",
            "'1-l'",
            "#",
            "*",
        )
        assert any(reason in told for reason in reasons), f"{text}: {told}"


def test_the_usual_expressions_are_accepted() -> None:
    usual = (
        *("* * * * *", "*/5 * * * *", "0 9 * * *", "0 9 * * 1-5", "0 9 * * MON-FRI", "0 0 1 * *", "0 0 L * *"),
        *("0 0 1,15 * *", "0 22-6 * * *", "0 9 ? * fri#2", "0 9 * * L5", "0 0 1 1 *", "15,45 8-18 * * 1-5"),
        *("0 0 */2 * *", "0 0 1-7 * *", "0 0 29 2 *", "0 0 31 * *", "5 4 * * sun", "0 9 * * 7", *cron.ALIASES),
    )
    assert [text for text in usual if not accepted(text)] == []
