"""Reads a flow's parameter schema: defaults to configure, types in words, and values that the server must refuse."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from blueprint.config.redaction import MASK

_INVALID = "invalid"
_OF_TYPE = "a text is no "
_LIMITS = (  # keyword, how it is told, and by how much to pass it
    ("minimum", "at least", -1),
    ("exclusiveMinimum", "more than", 0),
    ("maximum", "at most", 1),
    ("exclusiveMaximum", "less than", 0),
)


@dataclass(frozen=True)
class Parameter:
    """One parameter of a flow."""

    name: str
    description: str  # its type and bounds in words
    required: bool
    secret: bool  # it is a password, or holds one
    default: Any  # as JSON; None if it has none that a TOML file can hold


@dataclass(frozen=True)
class Refusal:
    """Parameters that the schema does not allow, and why."""

    parameters: Mapping[str, Any]
    reason: str


def parameters(schema: Mapping[str, Any]) -> list[Parameter]:
    """Return the flow's parameters, in their order."""
    required = set(schema.get("required") or ())
    found = []
    for name, form in _properties(schema):
        default = form.get("default")
        secret = _is_secret(form, schema, 0)
        usable = not secret and _fits_toml(default)
        found.append(Parameter(name, _describe(form, schema), name in required, secret, default if usable else None))
    return found


def refusals(schema: Mapping[str, Any]) -> Iterator[Refusal]:
    """Yield parameters that break one declared bound each: first those of limits, last those of types."""
    found = [refusal for name, form in _properties(schema) for refusal in _of_parameter(name, form, schema)]
    yield from sorted(found, key=lambda refusal: refusal.reason.startswith(_OF_TYPE))


def _properties(schema: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    properties = schema.get("properties") or {}
    return sorted(properties.items(), key=lambda pair: pair[1].get("position", 0))


def _resolved(form: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow a form's references, and take the X of `X | None`."""
    for _ in range(20):
        choices = [choice for choice in form.get("anyOf") or form.get("allOf") or () if choice.get("type") != "null"]
        if "$ref" in form:
            definitions = schema.get("definitions") or schema.get("$defs") or {}
            target = definitions.get(str(form["$ref"]).rpartition("/")[2], {})
        elif len(choices) == 1:
            target = choices[0]
        else:
            break
        form = {**target, **{key: value for key, value in form.items() if key not in ("$ref", "anyOf", "allOf")}}
    return form


def _is_secret(form: Mapping[str, Any], schema: Mapping[str, Any], depth: int) -> bool:
    form = _resolved(form, schema)
    if form.get("format") == "password" or MASK in str(form.get("default", "")):
        return True
    inner = [*(form.get("properties") or {}).values(), *(form.get("anyOf") or ())]
    inner += [part for key in ("items", "additionalProperties") if isinstance(part := form.get(key), Mapping)]
    return depth < 10 and any(_is_secret(part, schema, depth + 1) for part in inner)


def _fits_toml(value: Any) -> bool:
    """Return whether TOML can hold the value; it has no null."""
    if isinstance(value, Mapping | list):
        return all(map(_fits_toml, value.values() if isinstance(value, Mapping) else value))
    return isinstance(value, str | int | float)


def _describe(form: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    form = _resolved(form, schema)
    kind = (
        form.get("format")
        or form.get("type")
        or " or ".join(str(_resolved(choice, schema).get("type", "any")) for choice in form.get("anyOf") or ())
    )
    words = [str(kind or "any")]
    words += [f"{word} {form[key]}" for key, word, _ in _LIMITS if key in form]
    if "enum" in form:
        words = ["one of " + ", ".join(map(str, form["enum"]))]
    for key, word in (("minLength", "of at least {} characters"), ("pattern", "like {}")):
        if key in form:
            words.append(word.format(form[key]))
    return ", ".join(words)


def _of_parameter(name: str, form: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[Refusal]:
    resolved = _resolved(form, schema)
    for value, reason in _wrong_values(resolved):
        yield Refusal({name: value}, reason.format(name=name))
    default = resolved.get("default")
    if resolved.get("properties") and isinstance(default, Mapping) and _fits_toml(default):
        for key, inner in _properties(resolved):
            for value, reason in _wrong_values(_resolved(inner, schema)):
                yield Refusal({name: {**default, key: value}}, reason.format(name=f"{name}.{key}"))


def _wrong_values(form: Mapping[str, Any]) -> Iterator[tuple[Any, str]]:
    for key, word, past in _LIMITS:
        limit = form.get(key)
        if isinstance(limit, int | float) and not isinstance(limit, bool):
            number = int(limit) if form.get("type") == "integer" else limit
            yield number + past, f"{{name}} is {word} {limit}"
    if "enum" in form and _INVALID not in form["enum"]:
        yield _INVALID, "{name} has a fixed set of values"
    if form.get("minLength"):
        yield "", f"{{name}} has at least {form['minLength']} characters"
    if form.get("type") in ("integer", "number", "boolean", "array", "object"):
        yield _INVALID, f"{_OF_TYPE}{form['type']}: {{name}}"
