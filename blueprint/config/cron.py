"""Cron expressions, read the way the scheduler of Prefect's server reads them. Standard library only.

Prefect's own reader (`croniter`) accepts more than it can keep to. What it accepts but reads otherwise than a person
does, reads differently from one start to another, or can never fire, is refused here with a reason; on what is left,
the two agree to the minute, which the tests prove against Prefect itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LAST = 0  # in place of the n of an n-th weekday: the last one of the month

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TERM = re.compile(r"(?P<low>\*|[a-z]{3}|\d{1,4})(?:-(?P<high>[a-z]{3}|\d{1,4}))?(?:/(?P<step>\d{1,4}))?", re.ASCII)
_NTH = re.compile(r"l(?P<last>\d)|(?P<day>[a-z]{3}|\d)#(?P<nth>[1-5])", re.ASCII)
_SEARCHED = timedelta(days=366 * 50)  # no weekday or 29th of February is farther away


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """Return a value of the field, given as a number or by its name; Sunday may be 7."""
        value = int(text) if text.isdigit() else self.low + self.names.index(text) if text in self.names else -1
        if self.name == "weekday" and value == 7:
            value = 0
        if not self.low <= value <= self.high:
            raise self.refusal(text)
        return value

    def refusal(self, text: str, reason: str = "") -> ValueError:
        """Return the error for a part of the field: the reason, or else the values that are expected."""
        named = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return ValueError(f"{self.name} {text[:20]!r}: {reason or f'expected {self.low} to {self.high}{named}'}")


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("weekday", 0, 6, _WEEKDAYS),
)


@dataclass(frozen=True)
class Cron:
    """The times of a cron expression, by the clock on the wall.

    Attributes:
        minutes: 0 to 59.
        hours: 0 to 23.
        days: Days of the month, 1 to 31; None if any.
        last_day: Whether the last day of the month is one of them.
        months: 1 to 12.
        weekdays: 0 (Sunday) to 6; None if any.
        nth: (weekday, n) for the n-th one of a month, in place of `weekdays`.
    """

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int] | None
    last_day: bool
    months: frozenset[int]
    weekdays: frozenset[int] | None
    nth: frozenset[tuple[int, int]]

    def times(self, start: datetime) -> Iterator[datetime]:
        """Yield all times from `start` on (which has no zone), in order, until there is none within 50 years."""
        day = start.replace(hour=0, minute=0, second=0, microsecond=0)
        found = day
        while day - found < _SEARCHED:
            if self._fires_on(day):
                for hour in self.hours:
                    for minute in self.minutes:
                        time = day.replace(hour=hour, minute=minute)
                        if time >= start:
                            yield time
                found = day
            day += timedelta(days=1)

    def _fires_on(self, day: datetime) -> bool:
        """Return whether it fires on a day: by day of the month or weekday, if both are given."""
        if day.month not in self.months:
            return False
        if self.nth:
            is_last = (day + timedelta(days=7)).month != day.month
            weekday = day.isoweekday() % 7
            return (weekday, (day.day + 6) // 7) in self.nth or (is_last and (weekday, LAST) in self.nth)
        by_weekday = self.weekdays is not None and day.isoweekday() % 7 in self.weekdays
        if self.days is None:
            return self.weekdays is None or by_weekday
        by_day = day.day in self.days or (self.last_day and (day + timedelta(days=1)).day == 1)
        return by_day or by_weekday


def parse(text: str) -> Cron:
    """Read a cron expression of five fields, or an alias such as @daily.

    Raises:
        ValueError: It is not one, or Prefect would not keep to it; says which part, and why.
    """
    lower = text.lower()
    parts = ALIASES.get(lower, lower).split()
    if not text.isascii() or len(parts) != 5:
        raise ValueError(f"expected five fields such as '0 9 * * *', or one of {', '.join(ALIASES)}")
    minute, hour, day, month, weekday = parts
    last_day = "l" in day.split(",")
    nth = frozenset(_nth(weekday)) if re.search("[#l]", weekday) else frozenset[tuple[int, int]]()
    days = _values(_FIELDS[2], ",".join(term for term in day.split(",") if term != "l")) if day != "l" else frozenset()
    weekdays = frozenset(range(7)) if nth else _values(_FIELDS[4], weekday)
    # A field that lists everything counts as `*` only beside a field with a star, else as a list.
    any_day = day in ("*", "?") or (len(days) == 31 and "*" in weekday)
    any_weekday = weekday in ("*", "?") or (len(weekdays) == 7 and "*" in day) or bool(nth)
    found = Cron(
        minutes=tuple(sorted(_values(_FIELDS[0], minute))),
        hours=tuple(sorted(_values(_FIELDS[1], hour))),
        days=None if any_day else days,
        last_day=last_day,
        months=_values(_FIELDS[3], month),
        weekdays=None if any_weekday else weekdays,
        nth=nth,
    )
    _require_that_prefect_keeps_to(found, day)
    return found


def _values(field: _Field, text: str) -> frozenset[int]:
    if text == "*" or (text == "?" and field.name in ("day", "weekday")):
        return frozenset(range(field.low, field.high + 1))
    return frozenset(value for term in text.split(",") for value in _term(field, term))


def _term(field: _Field, text: str) -> list[int]:
    match = _TERM.fullmatch(text)
    if not match or text == "*":
        raise field.refusal(text)
    low, high, step = match["low"], match["high"], int(match["step"] or 1)
    if low == "*":
        if high or not step:
            raise field.refusal(text)
        return list(range(field.low, field.high + 1, step))
    first = field.number(low)
    if high is None and match["step"] is None:
        return [first]
    last = field.number(high) if high else field.high
    if first == last:
        raise field.refusal(text, "the range's ends are the same, which Prefect reads as `*`")
    if not step:
        raise field.refusal(text, "the step must be at least 1")
    if first > last and step > 1:
        raise field.refusal(text, "a range that runs over the end cannot have a step; list the values")
    if first > last:
        return [*range(first, field.high + 1), *range(field.low, last + 1)]
    return list(range(first, last + 1, step))


def _nth(text: str) -> Iterator[tuple[int, int]]:
    field = _FIELDS[4]
    for term in text.split(","):
        match = _NTH.fullmatch(term)
        if not match:
            raise field.refusal(
                term, "expected only such as fri#2 (the second Friday) or L5 (the last Friday) beside one"
            )
        yield (field.number(match["last"]), LAST) if match["last"] else (field.number(match["day"]), int(match["nth"]))


def _require_that_prefect_keeps_to(cron: Cron, day: str) -> None:
    if cron.days is None:
        return
    field = _FIELDS[2]
    if cron.nth:
        raise field.refusal(day, "with an n-th weekday Prefect passes over the days of the month; expected *")
    if not cron.last_day and all(min(cron.days) > _LONGEST[month - 1] for month in cron.months):
        raise field.refusal(day, "never comes in the months that are given")
    if cron.last_day and cron.days & {29, 30, 31}:
        raise field.refusal(day, "beside 29, 30 or 31 Prefect misses the last days L of shorter months")
    if not cron.last_day and cron.months >= {2, 3}:
        # At the end of February, croniter goes on by the days to the next one listed, 30 or 31, and so passes over
        # the first of March, or the second.
        for length in (28, 29):
            following = min((listed for listed in cron.days if listed >= length), default=length)
            missed = sorted(cron.days & set(range(1, following - length)))
            if missed:
                raise field.refusal(day, f"Prefect misses March {missed[0]} after {following}; list days up to 28 or L")
