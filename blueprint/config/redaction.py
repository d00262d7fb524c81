"""Keeps secrets out of everything that is written: journal, log, records, error messages, documents.

A secret is a configured password, a parameter that the flow declares as one (`SecretStr`: JSON Schema's format
`password`), or one whose name says so. Its text is taken out wherever it turns up, also inside a sentence of the
server's. Standard library only.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from blueprint.config.keys import SECRETS
from blueprint.core.credentials import SECRET_NAME, passwords

if TYPE_CHECKING:
    from blueprint.config.settings import Settings

MASK = "**********"
_TELLING_LENGTH = 4  # a shorter text turns up in innocent ones; it is only hidden where it stands alone
_SECRET_NAME = re.compile(SECRET_NAME, re.IGNORECASE)
_TABLES = ("parameters", "acceptance", "deployments")  # settings that may hold a flow's secrets
_TABLE_SETTING = re.compile(rf"^((?:--set=)?\s*(?:{'|'.join(_TABLES)})\s*=).*", re.DOTALL)


class Redactor:
    """Replaces the secrets that are known so far."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._secrets: tuple[str, ...] = ()
        self.learn(secrets)

    def learn(self, secrets: Iterable[str]) -> None:
        """Know further secrets from now on."""
        self._secrets = tuple(sorted({*self._secrets, *secrets} - {"", MASK}, key=len, reverse=True))

    def __call__(self, value: Any) -> Any:
        """Return a copy of JSON-like data, or of a text, with each secret replaced."""
        if isinstance(value, str):
            if value in self._secrets:
                return MASK
            for secret in self._secrets:
                if len(secret) >= _TELLING_LENGTH:
                    value = value.replace(secret, MASK)
            return value
        if isinstance(value, Mapping):
            return {key: self(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [self(inner) for inner in value]
        return value


REDACTOR = Redactor()  # of this process: everything that it writes goes through it


def redact_setting(setting: str) -> str:
    """Return `key=value` without a value that may hold a flow's parameters."""
    return _TABLE_SETTING.sub(rf"\1{MASK}", setting)


def redact_command(argv: Sequence[str]) -> str:
    """Return a command line as text, without the values of `--set` that may hold a flow's parameters."""
    return " ".join(map(redact_setting, argv))


def unjudged(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the secrets in settings that nobody has judged yet: passwords, and parameters whose names say so."""
    found = {str(values[key]) for key in SECRETS if values.get(key)}
    found |= {password for key in (*SECRETS, "data_source") for password in passwords(str(values.get(key) or ""))}
    login = str(values.get("api_auth_string") or "")
    found |= {login.partition(":")[2], base64.b64encode(login.encode()).decode()}
    found |= {text for key in _TABLES for text in _by_name(values.get(key))}
    return frozenset(found)


def configured(settings: Settings, schema: Mapping[str, Any]) -> frozenset[str]:
    """Return every secret in the settings, also those that the flow's schema declares in the parameters of a case."""
    values = settings.model_dump(mode="json")
    given = {key: secret.get_secret_value() for key in SECRETS if (secret := getattr(settings, key))}
    acceptance = values["acceptance"]
    cases = (values["parameters"], *acceptance.values(), *acceptance["refused"])
    return unjudged(values | given) | {text for case in cases for text in declared(case, schema)}


def declared(value: Any, schema: Mapping[str, Any], whole: Mapping[str, Any] | None = None) -> Iterator[str]:
    """Yield the texts in a value that its schema declares as secrets, nested models included.

    The `whole` schema is the one that holds the definitions, if it is another.
    """
    whole = whole or schema
    for form in _forms(schema, whole):
        if form.get("format") == "password" and isinstance(value, str):
            yield value
        if isinstance(value, Mapping):
            properties = form.get("properties") or {}
            others = form.get("additionalProperties")
            for key, inner in value.items():
                of_key = properties.get(key, others)
                if isinstance(of_key, Mapping):
                    yield from declared(inner, of_key, whole)
        elif isinstance(value, list) and isinstance(form.get("items"), Mapping):
            for inner in value:
                yield from declared(inner, form["items"], whole)


def _forms(schema: Mapping[str, Any], whole: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schema itself and everything that it refers to or chooses from."""
    yield schema
    if "$ref" in schema:
        definitions = whole.get("definitions") or whole.get("$defs") or {}
        yield from _forms(definitions.get(str(schema["$ref"]).rpartition("/")[2], {}), whole)
    for word in ("allOf", "anyOf", "oneOf"):
        for choice in schema.get(word) or ():
            yield from _forms(choice, whole)


def _by_name(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, str) and _SECRET_NAME.search(name):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _by_name(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _by_name(inner, name)
