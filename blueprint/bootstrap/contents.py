"""Contents of installed packages: read again, against the hashes in their RECORD, where files have changed since."""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from blueprint.core.files import write_whole

_STAMP = "contents.json"  # in `.venv`: the states of the packages that were read and found right
_AT_EVERY_START = ("*.pth", "sitecustomize*", "usercustomize*")


def known(venv: Path) -> dict[str, str]:
    """Return the state of each package whose contents were found right, by its `.dist-info` folder."""
    with contextlib.suppress(OSError, ValueError):
        states = json.loads((venv / _STAMP).read_text("utf-8"))
        if isinstance(states, dict):
            return states
    return {}


def remember(venv: Path, states: Mapping[str, str]) -> None:
    """Keep the states for the next `known`."""
    if states != known(venv):
        write_whole(venv / _STAMP, json.dumps(dict(states)))


def changed_file(rows: Iterable[tuple[str, str, str]]) -> str | None:
    """Return the first file whose content is not what was installed.

    Args:
        rows: Name, place and hash of each file, as a RECORD has them.
    """
    for name, place, expected in rows:
        algorithm, _, digest = expected.partition("=")
        content = Path(place).read_bytes()
        if base64.urlsafe_b64encode(hashlib.new(algorithm, content).digest()).rstrip(b"=").decode() != digest:
            return name
    return None


def unowned_startup_files(site: Path) -> list[str]:
    """Return the files that run code at every start of Python, and that no package has brought."""
    found = {path.name for pattern in _AT_EVERY_START for path in site.glob(pattern)}
    for record in site.glob("*.dist-info/RECORD") if found else ():
        with contextlib.suppress(OSError, ValueError, csv.Error):  # one that cannot be read owns nothing
            found -= {row[0].partition("/")[0] for row in csv.reader(record.read_text("utf-8").splitlines()) if row}
    return sorted(found)
