"""Task 28's cases: the places in their parameters, and how long a retry was put off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from blueprint.prefect_adapter.models import Transition
from blueprint.tasks.common.failure_cases import fill, retry_delay

START = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_place_is_filled_wherever_it_stands_in_the_parameters() -> None:
    parameters = {
        "url": "{source_url}?fail={key}",
        "sources": ["{source_url}", {"url": "{source_url}", "size": 5}],
        "nested": {"deep": {"key": "{key}"}},
        "size": 3,
        "none": None,
    }
    assert fill(parameters, {"{source_url}": "http://here", "{key}": "k1"}) == {
        "url": "http://here?fail=k1",
        "sources": ["http://here", {"url": "http://here", "size": 5}],
        "nested": {"deep": {"key": "k1"}},
        "size": 3,
        "none": None,
    }


def history(due: float | None, began: float) -> list[Transition]:
    def at(seconds: float) -> datetime:
        return START + timedelta(seconds=seconds)

    waiting = Transition("SCHEDULED", "AwaitingRetry", at(0), "", None if due is None else at(due))
    return [waiting, Transition("RUNNING", "Retrying", at(began), "")]


@pytest.mark.parametrize(
    ("due", "began", "delay"),
    [
        (2.0, 2.0, 2.0),
        (2.0, 9.0, 2.0),  # how late it began says nothing of the policy
        (1.6, 2.4, 1.6),
        (2.0, 1.9, 0.0),  # it did not wait
        (None, 5.0, 0.0),
    ],
)
def test_a_retrys_delay_is_until_the_moment_for_which_the_server_has_it(
    due: float | None, began: float, delay: float
) -> None:
    assert retry_delay(history(due, began), 0) == pytest.approx(delay)
