"""Secrets in addresses: logins, and keys in a query. Standard library only."""

from __future__ import annotations

import re
from urllib.parse import unquote, unquote_plus

MASK = "****"
SECRET_NAME = r"passw|passphrase|secret|token|api_?key|credential|private_?key|^pwd$"  # noqa: S105 - a pattern
_QUERY = re.compile(r"([^?&=\s]*)=([^&#\s\"`<>]+)")
_SECRET_KEY = re.compile(rf"{SECRET_NAME}|key|auth|sig(nature)?$", re.IGNORECASE)
# A password may hold what should be escaped in it, such as `/` and `@`; what only looks like one is a port.
_LOGIN = re.compile(r"(?<=://)(?:[^/\s:@]*:(?!\d*/)\S*|[^/\s@'\"]*)(?=@)")


def passwords(address: str) -> set[str]:
    """Return the secrets in an address, as they are written there and as they are meant; none, mostly.

    That is its password, the user's name if that stands alone, and what the query gives to names such as `api_key`.
    """
    found = {pair[2] for pair in _QUERY.finditer(address.partition("?")[2]) if _SECRET_KEY.search(pair[1])}
    if login := _LOGIN.search(address):
        user, _, password = login[0].partition(":")
        found.add(password or user)
    return (found | set(map(unquote, found)) | set(map(unquote_plus, found))) - {""}


def masked(text: str) -> str:
    """Mask user names, passwords and keys in every address of a text."""
    return _LOGIN.sub(MASK, re.sub(r"\?\S+", _masked_query, text))


def _masked_query(query: re.Match[str]) -> str:
    return _QUERY.sub(lambda pair: f"{pair[1]}={MASK}" if _SECRET_KEY.search(pair[1]) else pair[0], query[0])
