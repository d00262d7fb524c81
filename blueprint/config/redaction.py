"""Keeps secrets out of what is written: evidence, messages, the log, the document of failures.

A secret is a configured password, or a parameter that the flow declares as one (`SecretStr`: JSON Schema's format
`password`). Its text is taken out wherever it turns up, also inside a sentence of the server's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from blueprint.config.settings import Settings

MASK = "**********"
_TELLING_LENGTH = 4  # a shorter text turns up in innocent ones; it is only hidden where it stands alone


def declared(parameters: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """The texts in these parameters that the flow's schema declares as secrets, nested models included."""
    definitions = schema.get("definitions") or schema.get("$defs") or {}
    yield from _in_object(parameters, schema, definitions)


def configured(settings: Settings, schema: Mapping[str, Any]) -> frozenset[str]:
    """Every secret text in the settings: passwords, and those in the parameters of the deployment and of each case."""
    acceptance = settings.acceptance
    cases = (acceptance.overrides, acceptance.json_parameters, acceptance.retried, acceptance.failing)
    texts = {text for one in (settings.parameters, *cases, *acceptance.refused) for text in declared(one or {}, schema)}
    given = [one.get_secret_value() for one in (settings.api_auth_string, settings.warehouse_url) if one]
    texts |= {*given, *passwords(settings.data_source or "")}
    texts |= {one for text in given for one in passwords(text)}
    return frozenset(texts - {"", MASK})


def passwords(url: str) -> set[str]:
    """The password in an address, as it is written there and as it is meant; none, mostly."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return set()
    return {password, unquote(password)} - {""}


def redact(value: Any, secrets: frozenset[str]) -> Any:
    """A copy of JSON-like data, or of a text, with each secret replaced."""
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
        return {key: redact(one, secrets) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [redact(one, secrets) for one in value]
    return value


def _in_object(value: Any, schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[str]:
    for form in _forms(schema, definitions):
        if form.get("format") == "password" and isinstance(value, str):
            yield value
        if isinstance(value, Mapping):
            properties = form.get("properties") or {}
            others = form.get("additionalProperties")
            for key, one in value.items():
                inner = properties.get(key, others)
                if isinstance(inner, Mapping):
                    yield from _in_object(one, inner, definitions)
        elif isinstance(value, list) and isinstance(form.get("items"), Mapping):
            for one in value:
                yield from _in_object(one, form["items"], definitions)


def _forms(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The schema itself and all that it refers to or chooses from."""
    yield schema
    if "$ref" in schema:
        yield from _forms(definitions.get(str(schema["$ref"]).rpartition("/")[2], {}), definitions)
    for word in ("allOf", "anyOf", "oneOf"):
        for one in schema.get(word) or ():
            yield from _forms(one, definitions)
