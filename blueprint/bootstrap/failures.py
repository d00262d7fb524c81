"""The reason of an installer's failure, read from its output, in words for the user and without secrets."""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path

from blueprint.core.credentials import MASK, masked, passwords
from blueprint.core.errors import EnvironmentRefused

_CONFIGURES = re.compile(r"^(PIP|UV)_|_PROXY$", re.IGNORECASE)  # an installer, in a variable
_TELLING_LENGTH = 4  # a shorter text turns up in innocent ones


class Cause(Enum):
    """The kinds of failure that need different advice."""

    NO_ROOM = "the disk is full"
    HASH = "a package is not the one that was locked"
    CREDENTIALS = "the index, or a proxy, refuses access"
    NETWORK = "the packages do not arrive"
    NO_WHEEL = "a package has no wheel for this machine"
    UNKNOWN_PACKAGE = "no index has a fitting package"
    CONFLICT = "requirements contradict each other"
    PERMISSION = "a file may not be written"
    NO_INSTALLER = "there is neither uv nor pip"
    OTHER = "the installer failed"


class InstallerFailed(Exception):
    """An installer could not do its work.

    Attributes:
        line: The line of its output that tells the reason.
        output: All of its output, without secrets.
    """

    def __init__(self, cause: Cause, line: str, output: str = "") -> None:
        super().__init__(line)
        self.cause = cause
        self.line = line
        self.output = output


_REFUSED = (
    r"40[13] (?:Unauthorized|Forbidden|Client Error)|HTTP error 40[13]|407 Proxy|407 \(Proxy|Proxy Authentication"
)
# In this order: pip follows an unreachable index by "No matching distribution", uv words everything as "No solution".
_SIGNS = (
    (Cause.CONFLICT, r"ResolutionImpossible"),  # pip says besides that nothing matches
    (Cause.NO_ROOM, r"No space left on device|os error 28\b|Errno 28\b|Disk quota exceeded"),
    (Cause.HASH, r"Hash mismatch|DO NOT MATCH THE HASHES"),
    (Cause.CREDENTIALS, _REFUSED),
    (Cause.UNKNOWN_PACKAGE, r"404 Not Found|HTTP error 404"),  # uv says besides that it failed to fetch
    (
        Cause.NETWORK,
        r"error sending request|dns error|Failed to fetch|Could not connect|[Cc]onnection refused|Connection reset"
        r"|NewConnectionError|ConnectTimeoutError|ReadTimeoutError|ProxyError|SSLError|Max retries exceeded"
        r"|connection broken by|Network is unreachable|name resolution|network was disabled|Network connectivity is dis"
        r"|certificate verify failed|invalid peer certificate|tunnel error|(?:operation|Read) timed out|network timeout"
        # A wheel that was cut off, as seen by those who do not count its bytes.
        r"|incomplete-download|error decoding response body|invalid package format|Failed to extract archive",
    ),
    (Cause.PERMISSION, r"Permission denied|Read-only file system|Operation not permitted"),
    (Cause.NO_WHEEL, r"no usable wheels|has no wheels with a matching"),
    (
        Cause.UNKNOWN_PACKAGE,
        r"not found in the package registry|was not found in the provided package|there (?:is|are) no versions? of"
        r"|No matching distribution found",
    ),
    (Cause.CONFLICT, r"conflicting dependencies|No solution found"),
)
_CROSS = "\N{MULTIPLICATION SIGN}"  # uv puts it before an error
_LABEL = re.compile(rf"(?:Caused by:|cause:|hint:|╰─▶|{_CROSS}|error:)\s*", re.IGNORECASE)
# pip puts a name such as `incomplete-download` before the sentence.
_ERROR = re.compile(rf"error\b(?!: \w+(?:-\w+)+$)|{_CROSS}", re.IGNORECASE)
# What a package's own build said: pip frames it by its length and "[end of output]", uv by the stream's name.
_BUILD = re.compile(
    r"\[\d+ lines? of output\]\n(.*?)\[end of output\]|\[std(?:err|out)\]\n(?!.*\[stderr\])(.*?)(?:\n\s*hint:|\Z)", re.S
)
_BUILD_ERROR = re.compile(r"fatal error: |(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|NotFound)\b: ")


def cause_of(output: str) -> Cause:
    """Return the kind of a failure by the wording of uv and pip; `OTHER` if the wording is not known."""
    text = _unwrapped(output)
    return next((cause for cause, signs in _SIGNS if re.search(signs, text)), Cause.OTHER)


def telling_line(output: str) -> str:
    """Return the line that a user should see: a failed build's own error, the innermost cause, or the first error."""
    build = _BUILD.search(output)
    if build:
        lines = _lines(build[1] or build[2])
        errors = [line for line in lines if _BUILD_ERROR.search(line)]
        return (errors[-1:] or lines[-1:] or ["its build failed and said nothing"])[0][:300]
    lines = _lines(_unwrapped(output))
    causes = [line for line in lines if re.match(r"Caused by:|cause:|╰─▶", line, re.IGNORECASE)]
    errors = [line for line in lines if _ERROR.match(line)]
    broken = re.findall(r"connection broken by (.*)", output)  # pip warns of it, and then says that nothing was found
    refused = [line for line in lines if re.search(_REFUSED, line)]  # uv hints at it, and says that nothing was found
    line = (refused[:1] or causes[-1:] or broken[-1:] or errors[:1] or lines[-1:] or ["it said nothing"])[0]
    package = re.search(r"Failed to (?:download|install) `[^`]+`", errors[0]) if errors and line in causes else None
    return f"{package[0]}: {_LABEL.sub('', line, count=1)}"[:300] if package else _LABEL.sub("", line, count=1)[:300]


def without_secrets(text: str) -> str:
    """Mask user names, passwords and tokens in each address of a text, and the installers' own anywhere."""
    words = {word for name, value in os.environ.items() if _CONFIGURES.search(name) for word in value.split()}
    known = {secret for word in words for secret in passwords(word) if len(secret) >= _TELLING_LENGTH}
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, MASK)
    return masked(text)


def no_room(folder: Path) -> EnvironmentRefused:
    """Return the error for a disk that ran full."""
    return EnvironmentRefused(
        f"The disk ran full while {folder} was filled.",
        "Free some space (1.5 GB are needed), then run the same command again.",
    )


def _unwrapped(output: str) -> str:
    """Join the lines of a cause that uv has wrapped."""
    return re.sub(r"^ *cause: .*(?:\n {9}\S.*)+", lambda cause: " ".join(cause[0].split()), output, flags=re.MULTILINE)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]
