"""Bad and odd input for property tests: what a keyboard, a broken file or a generator of configurations may produce."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from blueprint.config.keys import KEYS as SETTING_KEYS
from blueprint.core.errors import ExitCode, UsageError

KEYS = st.sampled_from(sorted(SETTING_KEYS))
NASTY = (
    *(
        "",
        " ",
        "0",
        "-1",
        "1",
        "30",
        "31",
        "4200",
        "65533",
        "65534",
        "65535",
        "65536",
        "70000",
        " 4200 ",
        "4_200",
        "\uff14\uff12\uff10\uff10",
    ),
    *(
        "1e3",
        "1e999",
        "-inf",
        "NaN",
        "Infinity",
        "0x10",
        "9" * 5000,
        "true",
        "null",
        "[]",
        "{}",
        '""',
        "deploy",
        "serve",
    ),
    *("\x00", "\x1b[2J", "line\nbreak", "a\r", "\ud800", "\udcff", "\u202e", "\U0001f600", "é" * 300, "x" * 100_000),
    *("[" * 5000, "[" * 60 + "]" * 60, '{"a":' * 90 + "1" + "}" * 90, '{"a": 1e400}', '{"a": NaN}', '{"a": "\\ud800"}'),
    *("127.0.0.1", "::1", "0.0.0.0", "fe80::1%eth0", "localhost", "256.0.0.1", "UTC", "America/Chicago", "Mars/Base"),
    *("../etc/passwd", "localtime", "posix/UTC", "flow.py:flow", "flow.py:", "a.b", "a", "x.py:f\n", "*/5 * * * *"),
    *("FREQ=DAILY", "FREQ=DAILY;INTERVAL=0", "FREQ=SECONDLY;COUNT=1", "DTSTART:2026\nRRULE:FREQ=X", "bundled"),
    *("http://", "http://h:99999/", "https://host/path?a=b", "file:///etc/passwd", "invalid://url", "user:pass", ":"),
    *("module:function", "postgresql://user:pw@host/db", "sqlite:///x", '["a"]', "[1, null]", '{"x": {"retries": 1}}'),
    *('{"retried": {"a": 1}}', '{"refused": [{}]}', '{"refused": {}}', '["--index-url x"]', '["pandas>=2"]', "--help"),
    *('[{"deployment": "a"}]', '[{"deployment": "a"}, {"deployment": "a"}]', '[{"deployment": 5, "port": 1}]', "[{}]"),
)
TEXTS = st.one_of(st.sampled_from(NASTY), st.text(max_size=12), st.text("0123456789.-+eE", max_size=8))
_LEAVES = st.one_of(
    st.sampled_from(
        (None, True, False, 0, 1, 4200, 65535, 70000, -1, 2**63, 10**30, 0.5, 1e300, float("nan"), float("inf"))
    ),
    st.integers(),
    TEXTS,
)
_TABLES = st.dictionaries(st.sampled_from(("a", "retries", "tags", "overrides", "")) | TEXTS, _LEAVES, max_size=2)
_LISTS = st.lists(_LEAVES, max_size=2)
VALUES: st.SearchStrategy[Any] = st.one_of(
    _LEAVES, _LISTS, _TABLES, st.lists(_TABLES, max_size=2), st.dictionaries(TEXTS, _TABLES | _LISTS, max_size=2)
)
JSON_TEXTS = VALUES.map(json.dumps)


def toml(value: Any) -> str:
    """A value as TOML writes it, or very nearly."""
    if value is None:
        return '""'
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(one) for one in value) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value) if isinstance(value, (bool, int)) else quoted(value)


def quoted(text: str) -> str:
    """A text as TOML writes it; lone surrogates, which no UTF-8 file can have, become question marks."""
    return json.dumps(text.encode("utf-8", "replace").decode(), ensure_ascii=False)


def see_that_it_is_proper(refusal: UsageError) -> None:
    """Exit code 2, and one short line that can be shown on any terminal, whatever was typed."""
    assert refusal.exit_code == ExitCode.USAGE
    assert refusal.what
    assert refusal.hint
    assert str(refusal).isprintable()
    assert len(str(refusal)) < 4000
