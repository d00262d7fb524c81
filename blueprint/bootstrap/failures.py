"""What an installer's output says about the reason of its failure, in words for the user; without its secrets."""

from __future__ import annotations

import re
from enum import Enum
from pathlib import Path

from blueprint.core.errors import EnvironmentRefused


class Cause(Enum):
    """Why an installer failed."""

    NO_ROOM = "the disk is full"
    HASH = "a package is not the one that was locked"
    NETWORK = "no package index could be reached"
    UNKNOWN_PACKAGE = "no index has a fitting package"
    CONFLICT = "requirements contradict each other"
    NO_INSTALLER = "neither uv nor pip is to be had"
    OTHER = "the installer failed"


# In this order: pip follows an unreachable index by "No matching distribution", uv words everything as "No solution".
_SIGNS = (
    (Cause.NO_ROOM, r"No space left on device|os error 28\b|Errno 28\b|Disk quota exceeded"),
    (Cause.HASH, r"Hash mismatch|DO NOT MATCH THE HASHES"),
    (
        Cause.NETWORK,
        r"error sending request|dns error|Failed to fetch|Could not connect|[Cc]onnection refused|Connection reset"
        r"|NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|SSLError|Max retries exceeded"
        r"|connection broken by|Network is unreachable|name resolution|network was disabled|Network connectivity is dis"
        r"|certificate verify failed|invalid peer certificate|tunnel error",
    ),
    (
        Cause.UNKNOWN_PACKAGE,
        r"not found in the package registry|was not found in the provided package|there (?:is|are) no versions? of"
        r"|No matching distribution found",
    ),
    (Cause.CONFLICT, r"ResolutionImpossible|conflicting dependencies|No solution found"),
)


def cause_of(output: str) -> Cause:
    """The reason of a failure by the wording of uv and pip; `OTHER` if none is known."""
    # pip says both of a conflict: that it is one, and that nothing matches
    if "ResolutionImpossible" in output:
        return Cause.CONFLICT
    return next((cause for cause, signs in _SIGNS if re.search(signs, output)), Cause.OTHER)


_CROSS = "\N{MULTIPLICATION SIGN}"  # uv puts it before an error
_LABEL = re.compile(rf"(?:Caused by:|cause:|╰─▶|{_CROSS}|error:)\s*", re.IGNORECASE)


def telling_line(output: str) -> str:
    """The line of an installer's output that a user should see: the innermost cause, else the first error."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    causes = [line for line in lines if re.match(r"Caused by:|cause:|╰─▶", line, re.IGNORECASE)]
    errors = [line for line in lines if re.match(rf"error\b|{_CROSS}", line, re.IGNORECASE)]
    broken = re.findall(r"connection broken by (.*)", output)  # pip warns of it, and then says that nothing was found
    line = (causes[-1:] or broken[-1:] or errors[:1] or lines[-1:] or ["it said nothing"])[0]
    return _LABEL.sub("", line, count=1)[:300]


def without_secrets(text: str) -> str:
    """Take user names, passwords and tokens out of every address in a text."""
    return re.sub(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@'\"]*@", r"\1****@", text, flags=re.IGNORECASE)


def no_room(folder: Path) -> EnvironmentRefused:
    """The refusal when the disk ran full on the way."""
    return EnvironmentRefused(
        f"No space was left on the disk while {folder} was filled.",
        "Free some space (1.5 GB are needed), then run the same command again.",
    )
