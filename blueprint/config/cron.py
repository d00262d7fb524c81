"""Cron expressions, read the way the scheduler of Prefect's server reads them.

Prefect's own reader (`croniter`) accepts more than it can keep to. What it accepts but reads otherwise than a person
does, reads differently from one start to another, or can never fire, is refused here with a reason; on what is left,
the two agree to the minute, which the tests prove against Prefect itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
LAST = -1  # the last day of a month, or in place of the n of an n-th weekday the last one

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_TERM = re.compile(r"(?P<low>\*|[a-z]{3}|\d{1,4})(?:-(?P<high>[a-z]{3}|\d{1,4}))?(?:/(?P<step>\d{1,4}))?", re.ASCII)
_NTH = re.compile(r"l(?P<last>\d)|(?P<day>[a-z]{3}|\d)#(?P<nth>[1-5])", re.ASCII)


@dataclass(frozen=True)
class _Field:
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """Return a value that is given as a number or by its name; Sunday may be 7."""
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


_DAY = _Field("day", 1, 31)
_WEEKDAY = _Field("weekday", 0, 6, _WEEKDAYS)


@dataclass(frozen=True)
class Cron:
    """The times of a cron expression, by the clock on the wall."""

    minutes: frozenset[int]
    hours: frozenset[int]
    months: frozenset[int]
    days: frozenset[int] | None  # 1 to 31, or LAST; None if any
    weekdays: frozenset[tuple[int, int]] | None  # 0 (Sunday) to 6, with n for a month's n-th, LAST or 0; None if any

    def times(self, start: datetime) -> Iterator[datetime]:
        """Return all times from `start` on (which has no zone), in order."""
        from dateutil.rrule import DAILY, MONTHLY, rrule, rruleset, weekday  # type: ignore[import-untyped]

        rules: list[dict[str, Any]] = []  # it fires by day of the month or by weekday, if both are given
        if self.days is not None:
            rules.append({"bymonthday": sorted(self.days)})
        if self.weekdays is not None:
            rules.append({"byweekday": [weekday((day - 1) % 7, nth or None) for day, nth in self.weekdays]})
        found = rruleset()
        for rule in rules or [{}]:
            found.rrule(
                rrule(
                    MONTHLY if any(nth for _, nth in self.weekdays or ()) else DAILY,
                    dtstart=start.replace(second=0, microsecond=0),
                    bymonth=sorted(self.months),
                    byhour=sorted(self.hours),
                    byminute=sorted(self.minutes),
                    bysecond=0,
                    **rule,
                )
            )
        times: Iterator[datetime] = found.xafter(start, inc=True)
        return times


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
    days = frozenset[int]()
    if day != "l":
        days = _values(_DAY, ",".join(term for term in day.split(",") if term != "l"))
    if "l" in day.split(","):
        days |= {LAST}
    is_nth = re.search("[#l]", weekday) is not None
    weekdays = frozenset(_nth(weekday)) if is_nth else frozenset((value, 0) for value in _values(_WEEKDAY, weekday))
    # A field that lists everything counts as `*` only beside a field with a star, else as a list.
    any_day = day in ("*", "?") or (days >= {*range(1, 32)} and "*" in weekday)
    any_weekday = weekday in ("*", "?") or (not is_nth and len(weekdays) == 7 and "*" in day)
    months = _values(_Field("month", 1, 12, _MONTHS), month)
    if not any_day:
        _require_that_prefect_keeps_to(days, months, day, is_nth=is_nth)
    return Cron(
        minutes=_values(_Field("minute", 0, 59), minute),
        hours=_values(_Field("hour", 0, 23), hour),
        months=months,
        days=None if any_day else days,
        weekdays=None if any_weekday else weekdays,
    )


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
    for term in text.split(","):
        match = _NTH.fullmatch(term)
        if not match:
            raise _WEEKDAY.refusal(
                term, "expected only such as fri#2 (the second Friday) or L5 (the last Friday) beside one"
            )
        yield _WEEKDAY.number(match["last"] or match["day"]), int(match["nth"] or LAST)


def _require_that_prefect_keeps_to(days: frozenset[int], months: frozenset[int], day: str, *, is_nth: bool) -> None:
    if is_nth:
        raise _DAY.refusal(day, "with an n-th weekday Prefect passes over the days of the month; expected *")
    if LAST in days:
        if days & {29, 30, 31}:
            raise _DAY.refusal(day, "beside 29, 30 or 31 Prefect misses the last days L of shorter months")
        return
    if all(min(days) > _LONGEST[month - 1] for month in months):
        raise _DAY.refusal(day, "never comes in the months that are given")
    if months >= {2, 3}:
        # At the end of February, croniter goes on by the days to the next one listed, 30 or 31, and so passes over
        # the first of March, or the second.
        for length in (28, 29):
            following = min((listed for listed in days if listed >= length), default=length)
            missed = sorted(days & set(range(1, following - length)))
            if missed:
                raise _DAY.refusal(day, f"Prefect misses March {missed[0]} after {following}; list days up to 28 or L")
