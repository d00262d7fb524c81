"""Keeps secrets out of everything that is written: journal, log, records, error messages, documents.

A secret is a configured password, a parameter that the flow declares as one (`SecretStr`: JSON Schema's format
`password`), or one whose name says so. Its text is taken out wherever it turns up, also inside a sentence of the
server's. Standard library only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from blueprint.config.keys import SECRETS

if TYPE_CHECKING:
    from blueprint.config.settings import Settings

MASK = "**********"
_TELLING_LENGTH = 4  # a shorter text turns up in innocent ones; it is only hidden where it stands alone
_SECRET_NAME = re.compile(r"passw|passphrase|secret|token|api_?key|credential|private_?key|^pwd$", re.IGNORECASE)
_TABLES = ("parameters", "acceptance", "deployments")  # settings that may hold a flow's secrets


class Redactor:
    """Replaces the secrets that are known so far; called with JSON values or texts."""

    def __init__(self) -> None:
        self._secrets: frozenset[str] = frozenset()

    def learn(self, secrets: Iterable[str]) -> None:
        """Know further secrets from now on."""
        self._secrets |= {*secrets} - {"", MASK}

    def __call__(self, value: Any) -> Any:
        """Return a copy without the secrets."""
        return redact(value, self._secrets)


REDACTOR = Redactor()  # of this process: everything that it writes goes through it


def redact(value: Any, secrets: frozenset[str]) -> Any:
    """Return a copy of JSON-like data, or of a text, with each secret replaced."""
    if not secrets:
        return value
    if isinstance(value, str):
        if value in secrets:
            return MASK
        for secret in sorted(secrets, key=len, reverse=True):
            if len(secret) >= _TELLING_LENGTH:
                value = value.replace(secret, MASK)
        return value
    if isinstance(value, Mapping):
        return {key: redact(inner, secrets) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redact(inner, secrets) for inner in value]
    return value


def redact_setting(setting: str) -> str:
    """Return `key=value` without a value that may hold a flow's parameters."""
    key, equals, _ = setting.partition("=")
    return f"{key}={MASK}" if equals and key.strip().replace("-", "_") in _TABLES else setting


def redact_command(argv: Sequence[str]) -> str:
    """Return a command line as text, without the values of `--set` that may hold a flow's parameters."""
    words = []
    for word in argv:
        option, equals, setting = word.partition("=")
        words.append(f"{option}={redact_setting(setting)}" if equals and option == "--set" else redact_setting(word))
    return " ".join(words)


def unjudged(values: Mapping[str, Any]) -> frozenset[str]:
    """Return the secrets in settings that nobody has judged yet: passwords, and parameters whose names say so."""
    found = {str(values[key]) for key in SECRETS if values.get(key)}
    found |= {password for key in (*SECRETS, "data_source") for password in passwords(str(values.get(key) or ""))}
    found |= {text for key in _TABLES for text in _by_name(values.get(key))}
    return frozenset(found)


def configured(settings: Settings, schema: Mapping[str, Any]) -> frozenset[str]:
    """Return every secret in the settings: passwords, and those in the parameters of the deployment and each case."""
    acceptance = settings.acceptance
    cases = (acceptance.overrides, acceptance.json_parameters, acceptance.retried, acceptance.failing)
    found: set[str] = set()
    for parameters in (settings.parameters, *cases, *acceptance.refused):
        found |= {*declared(parameters or {}, schema), *_by_name(parameters)}
    given = [secret.get_secret_value() for key in SECRETS if (secret := getattr(settings, key))]
    found |= {*given, *passwords(settings.data_source or "")}
    found |= {password for text in given for password in passwords(text)}
    return frozenset(found - {"", MASK})


def declared(parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts in these parameters that the flow's schema declares as secrets, nested models included."""
    definitions = schema.get("definitions") or schema.get("$defs") or {}
    yield from _in_object(parameters, schema, definitions)


def passwords(url: str) -> set[str]:
    """Return the password in an address, as it is written there and as it is meant; none, mostly."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return set()
    return {password, unquote(password)} - {""}


def _by_name(value: Any, name: str = "") -> Iterator[str]:
    if isinstance(value, str) and _SECRET_NAME.search(name):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _by_name(inner, str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _by_name(inner, name)


def _in_object(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    for form in _forms(schema, definitions):
        if form.get("format") == "password" and isinstance(value, str):
            yield value
        if isinstance(value, Mapping):
            properties = form.get("properties") or {}
            others = form.get("additionalProperties")
            for key, inner in value.items():
                of_key = properties.get(key, others)
                if isinstance(of_key, Mapping):
                    yield from _in_object(inner, of_key, definitions)
        elif isinstance(value, list) and isinstance(form.get("items"), Mapping):
            for inner in value:
                yield from _in_object(inner, form["items"], definitions)


def _forms(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the schema itself and everything that it refers to or chooses from."""
    yield schema
    if "$ref" in schema:
        yield from _forms(definitions.get(str(schema["$ref"]).rpartition("/")[2], {}), definitions)
    for word in ("allOf", "anyOf", "oneOf"):
        for choice in schema.get(word) or ():
            yield from _forms(choice, definitions)
