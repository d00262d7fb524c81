"""What would leak a secret if it failed."""

from __future__ import annotations

import base64
from typing import Any

from pydantic import BaseModel, SecretStr

from blueprint.config import redaction
from blueprint.config.settings import Settings


class _Inner(BaseModel):
    password: SecretStr | None = None
    by_name: dict[str, SecretStr] = {}
    all_of_them: list[SecretStr] = []


def _flow(token: SecretStr, inner: _Inner, plain: str = "") -> None: ...


def _schema() -> dict[str, Any]:
    from prefect.utilities.callables import parameter_schema

    return parameter_schema(_flow).model_dump(mode="json")


def test_secrets_are_found_however_deep_the_flow_declares_them() -> None:
    given = {
        "token": "top-secret",
        "inner": {"password": "nested", "by_name": {"a": "in-dict"}, "all_of_them": ["in-list"]},
        "plain": "innocent",
    }
    assert set(redaction.declared(given, _schema())) == {"top-secret", "nested", "in-dict", "in-list"}


def test_the_secrets_of_every_acceptance_case_and_the_passwords_of_the_platform_count_too() -> None:
    settings = Settings.model_validate(
        {
            "entrypoint": "a.py:b",
            "parameters": {"token": "of-default"},
            "acceptance": {"overrides": {"token": "of-case"}, "refused": [{"token": "of-refused"}]},
            "api_auth_string": "user:pass-word",
            "data_source": "https://reader:of%2Fsource@example.com/metrics?token=of-query",
            "warehouse_url": "postgresql://me:of-database@localhost/warehouse",
        }
    )
    wanted = {"of-default", "of-case", "of-refused", "of%2Fsource", "of/source", "of-database", "of-query"}
    wanted |= {"user:pass-word", "pass-word", base64.b64encode(b"user:pass-word").decode()}
    assert wanted <= redaction.configured(settings, _schema())
    told = redaction.Redactor(wanted)(f"The data source {settings.data_source} does not answer.")
    address = f"https://reader:{redaction.MASK}@example.com/metrics?token={redaction.MASK}"
    assert told == f"The data source {address} does not answer."


def test_a_secret_is_hidden_inside_sentences_and_nested_facts() -> None:
    found = redaction.Redactor({"hunter2", "ab"})({"a": ["x hunter2 y", {"b": "ab", "c": "cab"}], "n": 1})
    assert found == {"a": ["x ********** y", {"b": "**********", "c": "cab"}], "n": 1}
