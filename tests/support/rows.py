"""Rows for the warehouse's tests."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from blueprint.pipeline.metrics import DailyMetrics, daily_metrics
from blueprint.pipeline.records import Reading


def batch(count: int, prefix: str = "r") -> DailyMetrics:
    """A transformed batch of so many readings; another prefix gives other record ids."""
    start = datetime(2025, 3, 9, 23, 59, tzinfo=UTC)
    return daily_metrics(
        [
            Reading(f"{prefix}-{n}", start + timedelta(seconds=n), "db1", f"load.{n % 7}", float(n), "processes")
            for n in range(count)
        ]
    )
