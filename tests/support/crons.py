"""Cron expressions for property tests: sensible ones, odd ones, and ones that are no expression at all."""

from __future__ import annotations

from hypothesis import strategies as st

_WEEKDAYS = ("sun", "MON", "tue", "Wed", "thu", "fri", "SAT")
_MONTHS = ("jan", "FEB", "mar", "apr", "May", "jun", "jul", "aug", "sep", "oct", "nov", "DEC")


def _fields(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    values = st.integers(low, high).map(str)
    if names:
        values = values | st.sampled_from(names)
    steps = st.integers(0, high + 2).map(str)
    ranges = st.tuples(values, values).map("-".join)
    terms = st.one_of(
        values,
        ranges,
        st.tuples(values, steps).map("/".join),
        st.tuples(ranges, steps).map("/".join),
        steps.map("*/{}".format),
    )
    return st.one_of(st.just("*"), st.just("*"), terms, st.lists(terms, min_size=2, max_size=4).map(",".join))


_DAYS = _fields(1, 31) | st.sampled_from(("?", "L", "15,L", "31,L", "1-L", "1,*", "1,15", "*/5", "*/10"))
_WEEKDAY_FIELDS = _fields(0, 7, _WEEKDAYS) | st.sampled_from(
    ("?", "fri#2", "5#5", "L5", "L0,mon#1", "mon,L5", "5L", "mon-fri#2", "7#1", "mon#6", "0-6", "*/1")
)

# Mostly expressions that one reader or the other accepts.
CRONS = st.tuples(_fields(0, 59), _fields(0, 23), _DAYS, _fields(1, 12, _MONTHS), _WEEKDAY_FIELDS).map(" ".join)

# Few of these are expressions.
ODD_CRONS = st.one_of(
    st.text(alphabet="0123456789*/-,?#LlRrHhW @", max_size=20),
    st.lists(st.text(alphabet="0123456789*/-,?#LRH", max_size=6), min_size=4, max_size=7).map(" ".join),
    st.sampled_from(
        ("@daily", "@DAILY", "@reboot", " @daily", "@every 5m", "0 0 9 * * *", "0 9 * * * 2026 *", "H H * * *")
    ),
    st.text(max_size=30),
)
