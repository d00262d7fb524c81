"""The configured schedule reaches the server as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from blueprint.prefect_adapter.schedules import prefect_schedule
from tests.support.flow_file import configured, desired


@pytest.mark.parametrize(
    ("given", "schedule"),
    [
        ({}, None),
        ({"cron": "0 9 * * *"}, {"cron": "0 9 * * *", "timezone": "Europe/Berlin"}),
        ({"interval": 90}, {"interval": 90, "timezone": "Europe/Berlin"}),
        ({"rrule": "FREQ=DAILY"}, {"rrule": "FREQ=DAILY", "timezone": "Europe/Berlin"}),
    ],
)
def test_the_schedule_that_is_configured_is_the_one_that_is_wanted(
    tmp_path: Path, given: dict[str, Any], schedule: dict[str, Any] | None
) -> None:
    settings = configured(tmp_path, timezone="Europe/Berlin", **given)
    assert desired(settings, tmp_path).schedule == schedule
    made = prefect_schedule(settings)
    assert (made is None) == (schedule is None)
    if made:
        assert made.timezone == "Europe/Berlin"
