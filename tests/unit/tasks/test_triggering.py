"""What `prefect deployment run` is called with: the parameters, and never a secret in its arguments."""

from __future__ import annotations

import json
from typing import Any

from blueprint.config.redaction import Redactor
from blueprint.tasks.common.triggering import command

PARAMETERS: dict[str, Any] = {"size": 5, "name": "Ann's", "login": {"user": "ann", "password": "hunter22"}}


def called(*, as_json: bool, secrets: frozenset[str] = frozenset()) -> tuple[list[str], str]:
    def hide(value: Any) -> Any:
        return Redactor(secrets)(value)

    return command("Mine/one", PARAMETERS, as_json=as_json, tags=("a", "b"), redact=hide)


def test_each_parameter_is_an_option_of_its_own_or_all_are_one_text() -> None:
    each, given = called(as_json=False)
    assert given == ""
    assert each[:3] == ["deployment", "run", "Mine/one"]
    assert each[3:7] == ["--param", "size=5", "--param", 'name="Ann\'s"']
    assert each[-4:] == ["--tag", "a", "--tag", "b"]
    whole, given = called(as_json=True)
    assert (whole[3], given) == ("--params", "")
    assert json.loads(whole[4]) == PARAMETERS


def test_a_secret_goes_through_standard_input() -> None:
    secrets = frozenset({"hunter22"})
    each, given = called(as_json=False, secrets=secrets)
    assert json.loads(given) == {"login": PARAMETERS["login"]}
    assert each[3:9] == ["--param", "size=5", "--param", 'name="Ann\'s"', "--params", "-"]
    whole, given = called(as_json=True, secrets=secrets)
    assert json.loads(given) == PARAMETERS
    assert whole[3:5] == ["--params", "-"]
    assert not any("hunter22" in part for part in (*each, *whole))
