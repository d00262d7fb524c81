"""Progress of an installer: the package at work is told, and an installer that stands still is ended."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blueprint.bootstrap.failures import Cause, InstallerFailed
from blueprint.core.task import TaskControl

STALL_SECONDS = 30.0
TELL_SECONDS = 5.0
_LOOK_SECONDS = 1.0
_BYTES = 4096  # read and written; fewer are those of an installer that waits, and tries again
# uv keeps what arrives from a slow index in memory for a while: the little work that it makes is what tells.
_PROCESSOR_SECONDS = {"uv": 0.05, "pip": 1.0}
_AT_WORK = re.compile(r"^ *(?:Downloading|Collecting|Building) (?:\S*/)?([\w.+-]+)", re.MULTILINE)
_DONE = re.compile(r"^ *(?:Downloaded|Built) (?:\S*/)?([\w.+-]+)", re.MULTILINE)
# Who gave the installer more patience with a slow index gives it to us.
_TIMEOUTS = ("UV_HTTP_TIMEOUT", "UV_REQUEST_TIMEOUT", "HTTP_TIMEOUT", "PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT")


@dataclass
class Progress:
    """Watcher of one installer, for `child.run`."""

    control: TaskControl
    argv: Sequence[str]
    environment: Mapping[str, str]
    _work: tuple[int, float] = (0, 0.0)
    _moved_at: float = field(init=False)
    _look_at: float = 0.0
    _tell_at: float = field(init=False)
    _end: float = field(init=False)

    def __post_init__(self) -> None:
        self._moved_at = self.control.clock()
        self._tell_at = self._moved_at + TELL_SECONDS
        self.name = "pip" if "-m" in self.argv else "uv"
        # The last third is for pip, should uv be busy with nothing.
        self._end = self.control.deadline - (self.control.remaining() / 3 if self.name == "uv" else 0)

    def __call__(self, pid: int, output: str) -> None:
        """Look at the installer's processes once in a while.

        Raises:
            InstallerFailed: Nothing has moved for too long.
        """
        now = self.control.clock()
        if now < self._look_at:
            return
        self._look_at = now + _LOOK_SECONDS
        work = _work_of(pid)
        if work is None or self._has_moved(work):
            self._work, self._moved_at = work or self._work, now
        idle = now - self._moved_at
        package = _package(output)
        place = f", at {package}" if package else ""
        if idle >= self._patience():
            raise InstallerFailed(Cause.NETWORK, f"no byte for {idle:.0f} s{place}", output)
        if now >= self._end:
            raise InstallerFailed(Cause.OTHER, f"{self.name} was not done in time{place}", output)
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            still = f"{self._work[0] / 1e6:.0f} MB read and written"
            if idle >= STALL_SECONDS / 2:
                still = f"no byte for {idle:.0f} s"
            self.control.waiting(f"{self.name} is at {package or 'the index'}, {still}")

    def _has_moved(self, work: tuple[int, float]) -> bool:
        moved, seconds = (abs(new - old) for new, old in zip(work, self._work, strict=True))
        return moved >= _BYTES or seconds >= _PROCESSOR_SECONDS[self.name]

    def _patience(self) -> float:
        given = [STALL_SECONDS]
        for name in _TIMEOUTS:
            with contextlib.suppress(ValueError):
                given.append(float(self.environment.get(name) or 0))
        return max(given)


def _package(output: str) -> str:
    """Return the package that an installer began last and has not ended; empty if it names none."""
    done = set(_DONE.findall(output))
    names = [name for name in _AT_WORK.findall(output) if name not in done]
    return names[-1] if names else ""


def _work_of(session: int) -> tuple[int, float] | None:
    """Return the bytes that a session's processes have read and written, and their seconds of processor time.

    None where the system does not tell.
    """
    found = None
    moved, nanoseconds = 0, 0
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if int((folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()[3]) != session:
                continue
            counters = dict(line.split(": ") for line in (folder / "io").read_text().splitlines())
            moved += int(counters["rchar"]) + int(counters["wchar"])
            nanoseconds += sum(int(task.read_text().split()[0]) for task in folder.glob("task/*/schedstat"))
            found = moved, nanoseconds / 1e9
    return found
