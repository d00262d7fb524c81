"""What is read from a flow's schema: real flows, and Prefect's own validation as the judge of the refused cases."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from blueprint.config.scaffold import schema


class Window(BaseModel):
    first: date = date(2026, 1, 1)
    hours: Annotated[int, Field(ge=1)] = 24


class Login(BaseModel):
    user: str = "ada"
    password: SecretStr = SecretStr("x")


def _parameters(
    rows: Annotated[int, Field(ge=1)] = 100,
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5,
    most: Annotated[int, Field(le=9)] | None = None,
    mode: Literal["full", "delta"] = "full",
    name: Annotated[str, Field(min_length=2)] = "ab",
    window: Window = Window(),  # noqa: B008
    login: Login = Login(),  # noqa: B008
    token: SecretStr | None = None,
    anything: Any = None,
    day: date | None = None,
) -> None: ...


def _required(day: date, count: int) -> None: ...


def _schema(function: Any) -> dict[str, Any]:
    from prefect.utilities.callables import parameter_schema

    return parameter_schema(function).model_dump(mode="json")


def test_each_declared_bound_gives_parameters_that_the_server_refuses() -> None:
    from blueprint.prefect_adapter.flow_definition import server_refuses

    found = _schema(_parameters)
    refusals = list(schema.refusals(found))
    assert [dict(one.parameters) for one in refusals if not server_refuses(found, one.parameters)] == []
    broken = [dict(one.parameters) for one in refusals]
    for wanted in (
        {"rows": 0},
        {"share": 0},
        {"share": 1},
        {"most": 10},
        {"mode": "invalid"},
        {"name": ""},
        {"window": {"first": "2026-01-01", "hours": 0}},
    ):
        assert wanted in broken
    assert broken.index({"window": {"first": "2026-01-01", "hours": 0}}) < broken.index({"rows": "invalid"})


def test_a_flow_without_bounds_gives_no_case() -> None:
    assert list(schema.refusals(_schema(lambda: None))) == []


def test_secrets_and_what_toml_cannot_hold_are_not_written_into_a_file() -> None:
    found = {one.name: one for one in schema.parameters(_schema(_parameters))}
    assert list(found) == [
        *("rows", "share", "most", "mode", "name"),
        *("window", "login", "token", "anything", "day"),
    ]
    assert {name for name, one in found.items() if one.secret} == {"login", "token"}
    written = {name: one.default for name, one in found.items() if one.default is not None}
    assert written == {
        "rows": 100,
        "share": 0.5,
        "mode": "full",
        "name": "ab",
        "window": {"first": "2026-01-01", "hours": 24},
    }


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rows", "integer, at least 1"),
        ("share", "number, more than 0, less than 1"),
        ("most", "integer, at most 9"),
        ("mode", "one of full, delta"),
        ("day", "date"),
    ],
)
def test_a_parameter_is_explained_in_words(name: str, told: str) -> None:
    (found,) = [one for one in schema.parameters(_schema(_parameters)) if one.name == name]
    assert found.description == told


def test_a_parameter_without_a_default_is_known_to_be_missing() -> None:
    assert [one.name for one in schema.parameters(_schema(_required)) if one.required] == ["day", "count"]
