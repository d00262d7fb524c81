"""The journal: an append-only file of JSON lines, each on disk before the next step.

A record is one line of JSON that ends in its own checksum and a newline:

    {"v":1,"at":"2026-10-08T07:00:00.123456+00:00","kind":"task started","execution":"…",…,"crc":"89abcdef"}

Records keep the order in which they were written; `at` is for people and may go back when the clock is set.
Old executions leave the journal, which every command reads, for the archive, and stay readable. The events that the
records hold are in `blueprint.execution.events`. Standard library only.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import shlex
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import PRIVATE_FILE, private_folder, refused, sync_folder, write_all, write_whole
from blueprint.execution.events import Entry, Event, JournalSealed

FORMAT = 1
KEPT_EXECUTIONS = 20
LARGEST_JOURNAL = 2_000_000  # bytes; an execution takes about 35,000

_CRC = re.compile(rb',"crc":"([0-9a-f]{8})"\}\Z')
_CRC_BYTES = len(b',"crc":"89abcdef"}')
_RECORD_BEGINS = b'{"v":'
_TORN_BYTES_KEPT = 2000


class JournalDamaged(EnvironmentRefused):
    """A bad line that a crash cannot explain: the file was edited, or the disk is failing."""


@dataclass(frozen=True)
class Scan:
    """The content of a journal: whole records, and behind them maybe a last one that a crash tore."""

    records: tuple[dict[str, Any], ...] = ()
    good_bytes: int = 0
    torn: bytes = b""


class Journal:
    """The only writer of a journal; several threads may append.

    Opening it requires the execution lock: writers in two processes would not see each other.
    """

    def __init__(
        self,
        path: Path,
        execution: str = "",
        *,
        scanned: Scan | None = None,
        redact: Callable[[Any], Any] = lambda value: value,
    ) -> None:
        """Open the journal for appending, and make it if there is none.

        A last line that a crash tore is cut off first, and a record `journal sealed` with the bytes that were cut
        takes its place. That record was never acknowledged, so nothing that anybody was told is lost.

        Args:
            path: The file; its folder is there.
            execution: The id that each appended record gets.
            scanned: The file's content, if it has been read under the execution lock already.
            redact: Takes the secrets out of JSON values.

        Raises:
            JournalDamaged: There is a bad line before the last one. The file is left as it is.
            EnvironmentRefused: The file cannot be read or written.
        """
        found = scan(path) if scanned is None else scanned
        self._path = path
        self._fd = -1
        self._execution = execution
        self._redact = redact
        self._one_at_a_time = threading.Lock()
        self._unsure_from: int | None = None  # from this offset on, the file may hold a part of a record
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
            os.fchmod(self._fd, PRIVATE_FILE)
            sync_folder(path.parent)
            if found.torn:
                os.ftruncate(self._fd, found.good_bytes)
                os.fsync(self._fd)
                torn = found.torn[:_TORN_BYTES_KEPT].decode("ascii", "backslashreplace")
                self.append(JournalSealed(len(found.records) + 1, len(found.torn), torn))
        except OSError as error:
            self.close()
            raise refused(error, path) from error
        except EnvironmentRefused:
            self.close()
            raise

    def append(self, event: Event) -> Entry:
        """Write one event so that it survives a kill and a power failure, and return it without its secrets.

        Values that JSON does not know (a path, a time) are kept as their text.

        Raises:
            EnvironmentRefused: The disk is full or failing. The part that was written is taken back, so the file
                stays whole, and a later append works if there is room again.
            ValueError: The journal is closed.
        """
        at = datetime.now(UTC).isoformat(timespec="microseconds")
        fields = {name: value if name in event.plain else self._redact(value) for name, value in event.fields().items()}
        record = {"v": FORMAT, "at": at, "kind": event.kind, "execution": self._execution, **fields}
        line = _line(record)
        with self._one_at_a_time:
            if self._fd < 0:
                raise ValueError(f"the journal is closed: {event.kind}")
            try:
                self._write(line)
            except OSError as error:
                raise refused(error, self._path) from error
        return Entry(at, self._execution, event.from_record(fields))

    def _write(self, line: bytes) -> None:
        self._take_back()  # what an earlier append could neither write nor take back
        self._unsure_from = os.fstat(self._fd).st_size
        try:
            write_all(self._fd, line)
            os.fsync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                self._take_back()
            raise
        self._unsure_from = None

    def _take_back(self) -> None:
        if self._unsure_from is not None:
            os.ftruncate(self._fd, self._unsure_from)
            os.fsync(self._fd)
            self._unsure_from = None

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._one_at_a_time:
            if self._fd >= 0:
                os.close(self._fd)
                self._fd = -1


def read(path: Path) -> list[dict[str, Any]]:
    """Return all records in the order in which they were written, but for a last one that a crash tore."""
    return list(scan(path).records)


def scan(path: Path) -> Scan:
    """Read the records, if there are any.

    A crash can spoil only the last line, as each is on disk before the next.

    Raises:
        JournalDamaged: There is a bad line before the last one.
        EnvironmentRefused: The file cannot be read.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return Scan()
    except OSError as error:
        raise refused(error, path) from error
    records: list[dict[str, Any]] = []
    good_bytes = 0
    lines = io.BytesIO(data).readlines()
    for number, line in enumerate(lines, start=1):
        try:
            record = _parsed(line)
        except ValueError as error:
            if number < len(lines) or _hides_a_record(line):
                raise JournalDamaged(
                    f"The journal {path} is damaged in line {number}: {error}.",
                    f"Keep it and start a new one: {_command_to_move(path)}",
                ) from error
            return Scan(tuple(records), good_bytes, line)
        if record["v"] != FORMAT:  # a whole record, so never taken for a torn one
            raise EnvironmentRefused(
                f"The journal {path} was written by another version of this program (line {number}: {record['v']!r}).",
                f"Use that version, or keep the file and start a new one: {_command_to_move(path)}",
            )
        records.append(record)
        good_bytes += len(line)
    return Scan(tuple(records), good_bytes)


def rotate(path: Path, folder: Path, *, keep: int = KEPT_EXECUTIONS, largest: int = LARGEST_JOURNAL) -> bool:
    """Move all but the newest executions of a large, readable journal to a file in the archive.

    The file is named after the first execution in it: killed between the two writes, the next rotation writes the same
    file again, so nothing is lost or doubled. The caller holds the execution lock.

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


def archived(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield the archived records, oldest file first; a file that cannot be read is passed over."""
    for path in sorted(folder.glob("*.jsonl")):
        with contextlib.suppress(EnvironmentRefused):
            yield from read(path)


def _line(record: dict[str, Any]) -> bytes:
    # ASCII only: no text in a record, whatever file name it came from, can end a line or fail to be encoded.
    body = json.dumps(record, ensure_ascii=True, separators=(",", ":"), default=str).encode("ascii")[:-1]
    return body + b',"crc":"%08x"}\n' % zlib.crc32(body)


def _parsed(line: bytes) -> dict[str, Any]:
    """Return the record in a line; the text of the `ValueError` says why there is none."""
    if not line.endswith(b"\n"):
        raise ValueError("the line has no end")
    found = _CRC.search(line, len(line) - _CRC_BYTES - 1, len(line) - 1)
    if found is None:
        raise ValueError("it is not a record of this journal")
    if zlib.crc32(line[: found.start()]) != int(found[1], 16):
        raise ValueError("its checksum does not fit its text")
    record: dict[str, Any] = json.loads(line)
    del record["crc"]
    return record


def _hides_a_record(line: bytes) -> bool:
    """Tell whether a bad last line ends in a whole record: a lost newline is no torn end."""
    at = line.find(_RECORD_BEGINS, 1)
    while at > 0:
        with contextlib.suppress(ValueError):
            _parsed(line[at:])
            return True
        at = line.find(_RECORD_BEGINS, at + 1)
    return False


def _command_to_move(path: Path) -> str:
    """Return the command that moves the damaged file to a free name."""
    names = (f"{path.name}.damaged{f'-{number}' if number > 1 else ''}" for number in itertools.count(1))
    kept = next(kept for kept in map(path.with_name, names) if not kept.exists())
    return shlex.join(["mv", str(path), str(kept)])
