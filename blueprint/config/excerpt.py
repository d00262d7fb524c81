"""A user's text as an error may show it. Standard library only."""

from __future__ import annotations


def excerpt(text: object, limit: int = 60) -> str:
    """Return the text as one line without control characters, cut to at most `limit` characters."""
    start = str(text)[: limit + 1]
    plain = "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in start)
    return plain if len(plain) <= limit else plain[: limit - 1] + "…"
