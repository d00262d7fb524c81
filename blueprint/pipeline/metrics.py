"""From readings to daily metrics: each reading beside the figures of its day.

One row in, one row out. The figures (count, mean, lowest, highest) are of this batch: all its readings of the same
host, metric, unit and UTC day. `deviation` is the reading minus its day's mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from statistics import fmean
from typing import NamedTuple

from blueprint.pipeline.records import Reading

_Key = tuple[str, str, str, date]
_Figures = tuple[int, float, float, float]  # number of readings, mean, lowest, highest


class DailyMetric(NamedTuple):
    """One row of the warehouse, named like its columns."""

    record_id: str
    metric_date: date
    observed_at: datetime
    host: str
    metric: str
    value: float
    unit: str
    day_readings: int
    day_mean: float
    day_min: float
    day_max: float
    deviation: float


class DailyMetrics:
    """The transformed batch; its rows are made while they are iterated, so a large batch is never held twice.

    Deliberately not a collection: see `source.Readings`.
    """

    __slots__ = ("_figures", "_readings")

    def __init__(self, readings: list[Reading], figures: dict[_Key, _Figures]) -> None:
        self._readings = readings
        self._figures = figures

    @property
    def row_count(self) -> int:
        """The number of rows that `rows` yields."""
        return len(self._readings)

    @property
    def group_count(self) -> int:
        """The number of groups: a host, metric, unit and day each."""
        return len(self._figures)

    def rows(self) -> Iterator[DailyMetric]:
        """Yield the rows in the order of the source; may be called more than once."""
        for reading in self._readings:
            at, key = _place(reading)
            host, metric, unit, day = key
            number, mean, low, high = self._figures[key]
            off = reading.value - mean
            yield DailyMetric(reading.id, day, at, host, metric, reading.value, unit, number, mean, low, high, off)


def daily_metrics(readings: list[Reading]) -> DailyMetrics:
    """Group a batch by day and compute the figures of each group.

    All are finite: `records` bounds the values that it lets in.
    """
    values: dict[_Key, list[float]] = {}
    for reading in readings:
        values.setdefault(_place(reading)[1], []).append(reading.value)
    return DailyMetrics(readings, {key: _figures(group) for key, group in values.items()})


def _place(reading: Reading) -> tuple[datetime, _Key]:
    """Return the reading's time in UTC and the group that it belongs to."""
    at = reading.observed_at.astimezone(UTC)
    return at, (reading.host, reading.metric, reading.unit, at.date())


def _figures(values: list[float]) -> _Figures:
    low, high = min(values), max(values)
    # Rounding can put the mean of equal numbers a hair outside of them.
    return len(values), min(max(fmean(values), low), high), low, high
