"""A second look where pip tells too little: pages that it skips in silence, and files that were cut off."""

from __future__ import annotations

import contextlib
import hashlib
import re
from http.client import HTTPException
from urllib.request import urlopen

from blueprint.core.task import TaskControl

_SKIPPED = re.compile(r"Could not fetch URL .*?: (.*) - skipping")
_MISMATCH = re.compile(r"from (https?://)(?:[^/\s@]*@)?(\S+?)(?:#\S*)?\s.*?Expected sha256 +([0-9a-f]{64})", re.S)
_SECONDS_WITHOUT_A_BYTE = 15
_PART = 1 << 16  # bytes


def skipped_page(output: str) -> str:
    """Return why pip, told to be very verbose, passed over an index's page; empty if it read them all."""
    return "".join(_SKIPPED.findall(output)[:1])


def broken_off(output: str, control: TaskControl) -> str:
    """Fetch the file that pip refused for its hash, and tell whether the connection was to blame.

    Older pips do not count the bytes of a file. They take one that was cut off for one that was changed.

    Returns:
        What happened to the file; empty if it was changed, or cannot be asked for.
    """
    found = _MISMATCH.search(output)
    if not found:
        return ""
    scheme, place, locked = found.groups()
    name = place.rpartition("/")[2]
    with contextlib.suppress(OSError, ValueError, HTTPException):
        digest, arrived = hashlib.sha256(), 0
        with urlopen(scheme + place, timeout=_SECONDS_WITHOUT_A_BYTE) as answer:
            length = int(answer.headers.get("Content-Length") or 0)
            while part := answer.read(_PART):
                digest.update(part)
                arrived += len(part)
                control.pause(0)
        if arrived < length:
            return f"the connection ended after {arrived} of {length} bytes of {name}"
        if digest.hexdigest() == locked:
            return f"{name} arrived damaged, and whole when it was fetched again"
    return ""
