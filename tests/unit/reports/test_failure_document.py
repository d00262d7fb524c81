from __future__ import annotations

from datetime import UTC, datetime, timedelta

from blueprint.reports.failure_document import Case, Moment, render

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_each_case_shows_its_parameters_outcome_and_times_from_its_start() -> None:
    moments = [Moment(START, "Running", "try 1"), Moment(START + timedelta(seconds=2.04), "AwaitingRetry", "503")]
    text = render([Case("A fault that passes", {"batch_size": 5}, "Completed", "retried", moments)])
    assert "## A fault that passes" in text
    assert 'Parameters: `{"batch_size": 5}`' in text
    assert "Outcome: Completed" in text
    assert "| 03:04:05.000000 | 0.0 s | Running | try 1 |" in text
    assert "| 03:04:07.040000 | 2.0 s | AwaitingRetry | 503 |" in text


def test_a_message_of_several_lines_stays_in_its_row() -> None:
    row = render([Case("t", {}, "o", "s", [Moment(START, "w", "a | b\nc\t" + "x" * 500)])]).splitlines()
    found = [line for line in row if line.startswith("| 03:")]
    assert len(found) == 1
    assert "a \\| b c xx" in found[0]
    assert len(found[0]) < 300


def test_a_case_without_a_run_has_no_table() -> None:
    text = render([Case("Refused", {"batch_size": -1}, "refused at the trigger", "refused", [])])
    assert "|" not in text


def test_times_are_told_in_utc() -> None:
    from zoneinfo import ZoneInfo

    local = START.astimezone(ZoneInfo("America/Chicago"))
    assert "| 03:04:05.000000 |" in render([Case("t", {}, "o", "s", [Moment(local, "w", "m")])])
