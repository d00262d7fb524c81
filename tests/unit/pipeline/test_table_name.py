"""Names of warehouse tables."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from blueprint.pipeline.table_name import PATTERN, BadTableName, TableName


@pytest.mark.parametrize(
    "text", ["warehouse.public.daily_metrics", "warehouse.test.metrics", "_a.b1._", "a.b." + "c" * 63]
)
def test_the_names_that_the_documentation_promises_are_accepted(text: str) -> None:
    assert str(TableName.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "daily_metrics",
        "public.daily_metrics",
        "a.b.c.d",
        "warehouse..metrics",
        "a.b.c; DROP TABLE users",
        'a.b.c" --',
        "a.b.c'",
        "../../etc.public.passwd",
        "a.b.c\n",
        "a.b.1c",
        "A.b.c",
        "a.b.c\x00",
        "ä.b.c",
        "a.b." + "c" * 64,
        "a.pg_catalog.c",
        "a.information_schema.c",
        "a.b.sqlite_master",
    ],
)
def test_a_name_that_could_do_harm_is_refused_with_what_is_accepted(text: str) -> None:
    with pytest.raises(BadTableName) as refused:
        TableName.parse(text)
    assert "\n" not in str(refused.value)
    assert "database.schema.table" in str(refused.value) or "for itself" in str(refused.value)


@given(st.text() | st.from_regex(r"[a-zA-Z0-9_\.\"';\- ]{0,80}"))
@example("a.b.c\n")
def test_no_text_at_all_gets_more_than_identifier_characters_into_sql(text: str) -> None:
    try:
        name = TableName.parse(text)
    except BadTableName:
        return
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789_.")
    assert f"{name.database}.{name.schema}.{name.table}" == text


@given(st.from_regex(PATTERN))
def test_what_the_server_lets_through_at_the_trigger_does_not_fail_later(text: str) -> None:
    if text.endswith("\n") or any(part in text for part in ("pg_", "sqlite_", "information_schema")):
        return
    assert str(TableName.parse(text)) == text
    assert re.search(PATTERN, text)
