"""What `prefect deployment run` is called with: the parameters, and never a secret in its arguments."""

from __future__ import annotations

import json
from typing import Any

from blueprint.config.redaction import redact
from blueprint.tasks.common.command_trigger import Command, command

PARAMETERS: dict[str, Any] = {"size": 5, "name": "Ann's", "login": {"user": "ann", "password": "hunter22"}}


def called(*, as_json: bool, secrets: frozenset[str] = frozenset()) -> Command:
    def hide(value: Any) -> Any:
        return redact(value, secrets)

    return command("Mine/one", PARAMETERS, as_json=as_json, tags=("a", "b"), redact=hide)


def test_each_parameter_is_an_option_of_its_own_or_all_are_one_text() -> None:
    each = called(as_json=False)
    assert each.given == ""
    assert each.arguments[:3] == ("deployment", "run", "Mine/one")
    assert each.arguments[3:7] == ("--param", "size=5", "--param", 'name="Ann\'s"')
    assert each.arguments[-4:] == ("--tag", "a", "--tag", "b")
    whole = called(as_json=True)
    assert whole.arguments[3] == "--params"
    assert json.loads(whole.arguments[4]) == PARAMETERS
    assert str(whole).startswith("prefect deployment run Mine/one --params ")


def test_a_secret_goes_through_standard_input() -> None:
    secrets = frozenset({"hunter22"})
    each = called(as_json=False, secrets=secrets)
    assert json.loads(each.given) == {"login": PARAMETERS["login"]}
    assert each.arguments[3:9] == ("--param", "size=5", "--param", 'name="Ann\'s"', "--params", "-")
    whole = called(as_json=True, secrets=secrets)
    assert json.loads(whole.given) == PARAMETERS
    assert whole.arguments[3:5] == ("--params", "-")
    assert not any("hunter22" in part for part in (*each.arguments, *whole.arguments))
