"""A service's log: rotated when the service starts, read across rotations, searched for the cause of its end.

Rotation renames `worker.log` to `worker.log.1`, that one to `worker.log.2` and so on. A position names its file by the
file's inode, which a rename does not change.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

from blueprint.core.files import PRIVATE_FILE, refused

MOST_BYTES = 5 * 1024 * 1024
_KEPT = 3  # rotated files
_TAIL_BYTES = 64 * 1024
_LONGEST_LINE = 500
_DECORATION = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\u2500-\u257f]")  # colours, and the boxes around tracebacks
_ERROR = re.compile(r"^[\w.]*(Error|Exception)\b")
_COMPLAINT = re.compile(r"error|exception|fail|refused|denied|in use|not found|cannot|unable|invalid", re.IGNORECASE)


class LogPosition(NamedTuple):
    """A place in a log: two numbers, which JSON can hold."""

    inode: int  # 0 for a log that did not exist yet
    offset: int  # in bytes


BEGINNING = LogPosition(0, 0)


@dataclass(frozen=True)
class ServiceLog:
    """The log file of a service, with those that were rotated away."""

    path: Path

    def position(self) -> LogPosition:
        """Return the log's end: what is written from now on comes after it."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return BEGINNING
        return LogPosition(status.st_ino, status.st_size)

    def lines(self, since: LogPosition = BEGINNING) -> Iterator[str]:
        """Yield the lines from a position on, oldest first, without their line ends.

        All lines that are kept are yielded if the position's own file is no longer kept.
        """
        newest_first = []
        for path in (self._rotated(number) for number in range(_KEPT + 1)):
            if path.is_file():
                newest_first.append(path)
                if path.stat().st_ino == since.inode:
                    break
        for path in reversed(newest_first):
            with path.open("rb") as file:
                if os.fstat(file.fileno()).st_ino == since.inode:
                    file.seek(since.offset if since.offset <= os.fstat(file.fileno()).st_size else 0)
                for line in file:
                    yield line.decode(errors="replace").rstrip("\r\n")

    def open_to_append(self) -> BinaryIO:
        """Open the log for a service that starts, private to the user; rotate it first if it has grown large."""
        try:
            if self.path.is_file() and self.path.stat().st_size > MOST_BYTES:
                self._rotate()
            fd = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
            file = os.fdopen(fd, "ab")
            os.fchmod(fd, PRIVATE_FILE)  # it may be there with other rights
        except OSError as error:
            raise refused(error, self.path) from error
        return file

    def telling_line(self, offset: int = 0, most_lines: int | None = None) -> str:
        """Return the line that a user should see first; say so if there is none.

        That is the last line that begins with an exception's name, else the last that complains, else the last one.

        Args:
            offset: The byte to begin at.
            most_lines: Number of lines before the end to look at; by default all of the last 64 KiB.
        """
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(offset if offset <= size else 0, size - _TAIL_BYTES))
                text = file.read(_TAIL_BYTES).decode(errors="replace")
        except OSError as error:
            return f"its log cannot be read ({error.strerror})"
        plain = (_DECORATION.sub("", raw).strip() for raw in text.splitlines())
        lines = deque((line for line in plain if line), most_lines)
        for pattern in (_ERROR, _COMPLAINT):
            for line in reversed(lines):
                if pattern.search(line):
                    return line[:_LONGEST_LINE]
        return lines[-1][:_LONGEST_LINE] if lines else "it wrote nothing to its log"

    def _rotated(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}") if number else self.path

    def _rotate(self) -> None:
        for number in range(_KEPT, 0, -1):
            if (newer := self._rotated(number - 1)).exists():
                newer.replace(self._rotated(number))
