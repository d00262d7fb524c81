"""From readings to daily metrics."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from blueprint.pipeline.metrics import daily_metrics
from blueprint.pipeline.records import Reading

_zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_readings = st.lists(
    st.builds(
        Reading,
        id=st.uuids().map(str),
        observed_at=st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=_zones),
        host=st.sampled_from(["a", "b"]),
        metric=st.sampled_from(["m", "n"]),
        value=st.floats(-1e300, 1e300),
        unit=st.sampled_from(["", "bytes"]),
    ),
    max_size=30,
)


def _reading(number: int, at: datetime, value: float, **changes: str) -> Reading:
    fields = {"id": str(number), "host": "h", "metric": "m", "unit": "u"} | changes
    return Reading(observed_at=at, value=value, **fields)


def test_each_reading_stands_beside_the_figures_of_its_day() -> None:
    noon = datetime(2025, 3, 9, 12, tzinfo=UTC)
    metrics = daily_metrics(
        [
            _reading(1, noon, 1.0),
            _reading(2, noon, 5.0),
            _reading(3, noon + timedelta(days=1), 7.0),
            _reading(4, noon, 9.0, host="other"),
        ]
    )
    rows = list(metrics.rows())
    assert [(r.day_readings, r.day_mean, r.day_min, r.day_max, r.deviation) for r in rows] == [
        (2, 3.0, 1.0, 5.0, -2.0),
        (2, 3.0, 1.0, 5.0, 2.0),
        (1, 7.0, 7.0, 7.0, 0.0),
        (1, 9.0, 9.0, 9.0, 0.0),
    ]
    assert (metrics.row_count, metrics.group_count) == (4, 3)


def test_the_day_is_the_day_in_utc_wherever_the_reading_was_taken() -> None:
    chicago = timezone(timedelta(hours=-6))
    late = _reading(1, datetime(2025, 3, 8, 18, 30, tzinfo=chicago), 1.0)
    (row,) = daily_metrics([late]).rows()
    assert row.metric_date == date(2025, 3, 9)
    assert row.observed_at == datetime(2025, 3, 9, 0, 30, tzinfo=UTC)


@given(_readings)
def test_no_reading_is_lost_and_every_figure_is_finite_and_in_bounds(readings: list[Reading]) -> None:
    metrics = daily_metrics(readings)
    rows = list(metrics.rows())
    assert [row.record_id for row in rows] == [reading.id for reading in readings]
    assert metrics.row_count == len(rows)
    for row in rows:
        assert row.day_min <= row.value <= row.day_max
        assert row.day_min <= row.day_mean <= row.day_max
        assert math.isfinite(row.deviation)
        assert row.observed_at.date() == row.metric_date
    assert list(metrics.rows()) == rows, "a retried load would find the rows used up"
