"""The journal's archive: old executions leave the journal, which every command reads, and stay readable.

Standard library only.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import private_folder, refused, write_whole
from blueprint.execution import journal

KEPT_EXECUTIONS = 20
LARGEST_JOURNAL = 2_000_000  # bytes; an execution takes about 35,000


def rotate(path: Path, folder: Path, *, keep: int = KEPT_EXECUTIONS, largest: int = LARGEST_JOURNAL) -> bool:
    """Move all but the newest executions of a large, readable journal to a file in the archive.

    The file is named after the first execution in it: killed between the two writes, the next rotation writes the same
    file again, so nothing is lost or doubled. The caller holds the execution lock.

    Args:
        path: The journal.
        folder: The archive.
        keep: Number of executions that stay.
        largest: The size in bytes up to which nothing is moved.

    Returns:
        Whether something was moved.
    """
    try:
        data = path.read_bytes() if path.exists() and path.stat().st_size > largest else b""
    except OSError as error:
        raise refused(error, path) from error
    starts: list[tuple[int, str]] = []
    at = 0
    for line in data.splitlines(keepends=True):
        if b'"kind":"execution started"' in line:
            starts.append((at, str(json.loads(line)["execution"])))
        at += len(line)
    if len(starts) <= keep:
        return False
    cut = starts[-keep][0]
    private_folder(folder)
    write_whole(folder / f"{starts[0][1]}.jsonl", data[:cut].decode("ascii"))
    write_whole(path, data[cut:].decode("ascii", "surrogateescape"))
    return True


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the archived records, oldest file first; a file that cannot be read is passed over."""
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(EnvironmentRefused):
            yield from journal.read(path)
