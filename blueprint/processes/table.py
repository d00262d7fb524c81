"""The process table: each process with its parent, session, command line and environment.

On Linux it is read from /proc, which needs no package and, unlike psutil's `create_time()`, gives a start that does
not move when the clock is set. Elsewhere psutil answers.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HAS_PROC = Path("/proc/self/stat").exists()
_STATES = {"zombie": "Z", "dead": "X", "stopped": "T", "tracing-stop": "t"}  # psutil's words in /proc's letters


@dataclass(frozen=True)
class Process:
    """A process at the moment it was looked at.

    Attributes:
        pid: Its number; on its own it proves nothing, numbers are used again.
        parent: The pid of its parent.
        session: The pid that made its session; that number is not given to anyone else while the session has members.
        state: The kernel's letter: `T` stopped, `Z` zombie, …
        name: Its short name.
        start_ticks: Its start in clock ticks since boot (Linux), field 22 of /proc/<pid>/stat.
        create_time: Its start in seconds since the epoch (elsewhere).
    """

    pid: int
    parent: int
    session: int
    state: str
    name: str
    start_ticks: int | None = None
    create_time: float | None = None

    @property
    def running(self) -> bool:
        """Tell whether it still runs: a zombie only waits for its parent to read its exit code."""
        return self.state not in ("Z", "X", "x")

    @property
    def frozen(self) -> bool:
        """Tell whether it was stopped (SIGSTOP, Ctrl-Z, a debugger): it exists and does nothing."""
        return self.state in ("T", "t")

    def age(self) -> float:
        """Return for how many seconds it has been there, also when the clock was set meanwhile (Linux)."""
        if self.start_ticks is None:
            return time.time() - (self.create_time or 0.0)
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.start_ticks / os.sysconf("SC_CLK_TCK")

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.name} (pid {self.pid})"


def look(pid: int) -> Process | None:
    """Read the process with this number; None if there is none, or it may not be seen."""
    if pid <= 0:
        return None
    return _look_in_proc(pid) if _HAS_PROC else _look_with_psutil(pid)


def all_processes() -> Iterator[Process]:
    """Yield each process that this user may see."""
    if _HAS_PROC:
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]  # noqa: PTH208  # hundreds, no Paths
    else:
        import psutil  # here, because it costs 35 ms that nobody pays on Linux

        pids = psutil.pids()
    for pid in pids:
        process = look(pid)
        if process is not None:
            yield process


def variable(pid: int, name: str) -> str | None:
    """Read a variable of the environment that a process was started with; None if unset or not readable."""
    if not _HAS_PROC:
        return _variable_with_psutil(pid, name)
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:  # it is gone, or belongs to somebody else
        return None
    prefix = name.encode() + b"="
    for entry in environment.split(b"\0"):
        if entry.startswith(prefix):
            return os.fsdecode(entry[len(prefix) :])
    return None


def command_line(pid: int) -> tuple[str, ...]:
    """Read the program and its arguments; empty if the process is gone, a zombie or not readable."""
    if not _HAS_PROC:
        import psutil

        try:
            return tuple(psutil.Process(pid).cmdline())
        except psutil.Error:
            return ()
    try:
        raw = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return ()
    return tuple(os.fsdecode(part) for part in raw.removesuffix(b"\0").split(b"\0")) if raw else ()


def folder(pid: int) -> Path | None:
    """Return the folder that a process runs in, under its present name; None if that is gone or not readable."""
    if not _HAS_PROC:
        import psutil

        try:
            found = Path(psutil.Process(pid).cwd())
        except psutil.Error:
            return None
        return found if found.is_dir() else None
    try:
        found = Path(f"/proc/{pid}/cwd").readlink()
    except OSError:
        return None
    return found if found.is_dir() else None


def _look_in_proc(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    before, _, after = stat.rpartition(b")")  # the name may hold spaces and brackets, so count from the last one
    fields = after.split()
    if len(fields) < 20:
        return None
    return Process(
        pid=pid,
        state=fields[0].decode(),
        parent=int(fields[1]),
        session=int(fields[3]),
        start_ticks=int(fields[19]),
        name=before.partition(b"(")[2].decode(errors="replace"),
    )


def _look_with_psutil(pid: int) -> Process | None:
    import psutil

    try:
        process = psutil.Process(pid)
        with process.oneshot():
            status = process.status()
            return Process(
                pid=pid,
                state=_STATES.get(status, "S"),
                parent=process.ppid(),
                session=os.getsid(pid),
                create_time=process.create_time(),
                name=process.name(),
            )
    except (psutil.Error, OSError):
        return None


def _variable_with_psutil(pid: int, name: str) -> str | None:
    import psutil

    try:
        return psutil.Process(pid).environ().get(name)
    except (psutil.Error, OSError):
        return None
