"""A flow that runs for long: the tasks that wait for it are given the time, and no others."""

from __future__ import annotations

import pytest

from blueprint.config.settings import Settings
from blueprint.tasks.units import extra_seconds


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, {9: 60, 22: 60, 23: 60, 24: 60, 28: 120}),
        ({"concurrency_limit": 1}, {9: 60, 22: 300, 23: 300, 24: 300, 28: 600}),
        ({"pool_concurrency_limit": 2}, {9: 60, 22: 180, 23: 180, 24: 180, 28: 360}),
    ],
)
def test_deadlines_grow_with_the_runs_time_and_with_the_queue(
    limits: dict[str, int], expected: dict[int, float]
) -> None:
    settings = Settings.model_validate({"entrypoint": "a.py:b", "run_seconds": 60, **limits})
    assert extra_seconds(settings) == expected
