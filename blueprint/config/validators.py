"""Checks of single values of the settings.

Each returns the value, or raises ValueError with the reason; `blueprint.config.keys` says what would be accepted.
"""

from __future__ import annotations

import ipaddress
import math
import re
import zoneinfo
from collections.abc import Callable
from datetime import date, time
from typing import Any
from urllib.parse import urlsplit

from blueprint.config import cron as crons

_NO_STEP = re.compile(r"INTERVAL=([+-]?0*(;|\s|$)|-)", re.IGNORECASE)
_KEPT = re.compile(r"(PREFECT|PIP|UV)_[A-Z][A-Z0-9_]*")
_LEADS_ELSEWHERE = re.compile(
    r"PREFECT_.*(URL|HOST|PORT|HOME|PATH|PROFILE|KEY|AUTH|DATABASE|EPHEMERAL|CLOUD|CORS|CSRF|STORAGE|BROKER|CACHE|BASE)"
)
_DEEPEST = 50  # levels of a parameter's value; beyond some hundreds JSON can no longer be written
_LARGEST = 2**63  # of a whole number that the server can keep
_NO_ZONES = ("posix/", "right/", "posixrules", "localtime", "Factory")  # files beside the zones, unknown to Prefect


def _matching(pattern: str, reason: str) -> Callable[[str], str]:
    """Return a check for printable texts of this form; its reason never tells the value, which may be a secret."""
    form = re.compile(pattern)

    def check(value: str) -> str:
        if not form.fullmatch(value) or not value.isprintable():
            raise ValueError(reason)
        return value

    return check


_DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)"
entrypoint = _matching(rf"[^:]+\.py:[A-Za-z_]\w*|(?!.*\.py$){_DOTTED}+", "not an entrypoint")
function = _matching(rf"{_DOTTED}*:[A-Za-z_]\w*", "not module:function")
auth_string = _matching(r"[^:\s]+:\S+", "not user:password")
warehouse_url = _matching(r"[a-z][a-z0-9+]*://.+", "not a database URL")


def printable(text: str) -> str:
    """Require a text of one line."""
    if not text.isprintable():
        raise ValueError("has a line break or another character that cannot be printed")
    return text


def trimmed(text: str) -> str:
    """Require a text with no space around it."""
    if text != text.strip():
        raise ValueError("begins or ends with a space")
    return text


def not_boolean(value: Any) -> Any:
    """Require that it is not a boolean: JSON's true is not taken for 1."""
    if value is True or value is False:
        raise ValueError("expected a number, not true or false")
    return value


def json_value(value: Any, levels: int = _DEEPEST) -> Any:
    """Return a value that survives the way to the server and back: texts, numbers, booleans, lists and tables.

    Dates and times, which TOML has and JSON has not, become the texts that Pydantic reads them from.
    """
    if levels < 0:
        raise ValueError(f"nested more than {_DEEPEST} levels deep")
    match value:
        case dict():
            return {json_value(key): json_value(part, levels - 1) for key, part in value.items()}
        case list() | tuple():
            return [json_value(part, levels - 1) for part in value]
        case date() | time():
            return value.isoformat()
        case str() if any(char == "\0" or "\ud800" <= char <= "\udfff" for char in value):
            raise ValueError("a text has a character that cannot be stored")
        case float() if not math.isfinite(value):
            raise ValueError("a number is not finite")
        case int() if not -_LARGEST <= value < _LARGEST:
            raise ValueError("a whole number needs more than 64 bits")
        case None | str() | int() | float():
            return value
    raise ValueError(f"a {type(value).__name__} is not a JSON value; write it as a text")


def timezone(value: str) -> str:
    """Require a time zone that Prefect knows too."""
    try:
        zoneinfo.ZoneInfo(value)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError("no such time zone") from None
    if value.startswith(_NO_ZONES):
        raise ValueError("not a time zone that Prefect knows")
    return value


def cron(value: str) -> str:
    """Require a cron expression that Prefect keeps to."""
    crons.parse(value)
    return value


def rrule(value: str) -> str:
    """Require a recurrence rule that Prefect accepts and that moves on."""
    from dateutil.rrule import rrulestr  # type: ignore[import-untyped]

    try:
        rrulestr(value)
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError):
        raise ValueError("not a recurrence rule") from None
    if _NO_STEP.search(value):
        raise ValueError("INTERVAL must be at least 1")
    return value


def host(value: str) -> str:
    """Require an address to listen on."""
    if value == "localhost":
        return value
    try:
        ipaddress.ip_address(value)
    except ValueError:
        raise ValueError("not an IP address") from None
    if "%" in value:
        raise ValueError("an IPv6 address with a zone cannot be part of a URL")
    return value


def data_source(value: str) -> str:
    """Require an address to read from, or the name of the bundled source."""
    if value != "bundled" and not _is_http_url(value):
        raise ValueError("not an http(s) address")
    return value


def public_url(value: str) -> str:
    """Require an address that browsers can open, and drop its last slash."""
    if not _is_http_url(value) or any(char in value for char in "@?#"):
        raise ValueError("not an http(s) address, or one with more than host, port and path")
    _require_ascii(value)
    return value.rstrip("/")


def origin(value: str) -> str:
    """Require the address of a site, or the star that stands for all."""
    if value != "*" and (not _is_http_url(value) or any(char in value.partition("//")[2] for char in "/@?#,")):
        raise ValueError("not an http(s) address, or one with more than host and port")
    _require_ascii(value)
    return value


def _require_ascii(address: str) -> None:
    if not address.isascii():
        raise ValueError("with letters that browsers send otherwise: write its name as xn--…")


def kept_variable(value: str) -> str:
    """Require the name of a variable that leads Prefect nowhere else."""
    if not _KEPT.fullmatch(value):
        raise ValueError("not the name of such a variable")
    if _LEADS_ELSEWHERE.search(value):
        raise ValueError("that is the platform's own to say")
    return value


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and " " not in value
    except ValueError:
        return False


def requirement(value: str) -> str:
    """Require a requirement as installers understand it; never one of their options."""
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        Requirement(value)
    except InvalidRequirement:
        raise ValueError("not a requirement") from None
    return value
