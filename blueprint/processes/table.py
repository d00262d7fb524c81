"""The process table: each process with its identity, parent, session, command line and environment.

On Linux it is read from /proc, which needs no package (`stop` works without `.venv`) and, unlike psutil's
`create_time()`, gives a start that does not move when the clock is set. Elsewhere psutil answers.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from blueprint.processes.identity import ProcessIdentity, boot_id

_HAS_PROC = Path("/proc/self/stat").exists()
_STATES = {"zombie": "Z", "dead": "X", "stopped": "T", "tracing-stop": "t"}  # psutil's words in /proc's letters

T = TypeVar("T")


@dataclass(frozen=True)
class Process:
    """A process at the moment it was looked at."""

    identity: ProcessIdentity
    parent: int
    session: int  # the pid that made it; that number is not given to anyone else while the session has members
    state: str  # the kernel's letter: `T` stopped, `Z` zombie, …
    name: str

    @property
    def pid(self) -> int:
        """Its number."""
        return self.identity.pid

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
        if self.identity.start_ticks is None:
            return time.time() - (self.identity.create_time or 0.0)
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.identity.start_ticks / os.sysconf("SC_CLK_TCK")

    def __str__(self) -> str:
        """Name it for people."""
        return f"{self.name} (pid {self.pid})"


def look(pid: int) -> Process | None:
    """Read the process with this number, also a zombie; None if it is not there or may not be seen."""
    if pid <= 0:
        return None
    if not _HAS_PROC:
        return _ask_psutil(pid, _from_psutil)
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        before, _, after = stat.rpartition(b")")  # the name may hold spaces and brackets, so count from the last one
        state, parent, _, session, *fields = after.split()
    except (OSError, ValueError):
        return None
    name = before.partition(b"(")[2].decode(errors="replace")
    identity = ProcessIdentity(pid, boot_id(), int(fields[15]))
    return Process(identity, int(parent), int(session), state.decode(), name)


def all_processes() -> Iterator[Process]:
    """Yield each process that this user may see."""
    if _HAS_PROC:
        pids = [int(entry) for entry in os.listdir("/proc") if entry.isdecimal()]  # noqa: PTH208  # hundreds, no Paths
    else:
        import psutil  # here, because it costs 35 ms that nobody pays on Linux

        pids = psutil.pids()
    return filter(None, map(look, pids))


def variable(pid: int, name: str) -> str | None:
    """Read a variable of the environment that a process was started with; None if unset or not readable."""
    if not _HAS_PROC:
        return _ask_psutil(pid, lambda process: process.environ().get(name))
    prefix = f"{name}="
    return next((entry.removeprefix(prefix) for entry in _strings(pid, "environ") if entry.startswith(prefix)), None)


def command_line(pid: int) -> tuple[str, ...]:
    """Read the program and its arguments; empty if the process is gone, a zombie or not readable."""
    if not _HAS_PROC:
        return tuple(_ask_psutil(pid, lambda process: process.cmdline()) or ())
    return tuple(_strings(pid, "cmdline"))


def folder(pid: int) -> Path | None:
    """Return the folder that a process runs in, under its present name; None if that is gone or not readable."""
    try:
        found = Path(f"/proc/{pid}/cwd").readlink() if _HAS_PROC else _ask_psutil(pid, lambda each: Path(each.cwd()))
    except OSError:
        return None
    return found if found and found.is_dir() else None


def find_again(identity: ProcessIdentity) -> Process | None:
    """Return this very process as it is now, also as a zombie; None if it is gone."""
    process = look(identity.pid)
    return process if process is not None and process.identity == identity else None


def is_same(identity: ProcessIdentity) -> bool:
    """Tell whether this very process runs; False when in doubt, because what is not proven ours is not ours."""
    process = find_again(identity)
    return process is not None and process.running


def send(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Send a signal to this very process and to no other; tell whether it was there to get it.

    On Linux the number is held by a pidfd between the proof and the signal, so that it cannot change hands meanwhile.

    Raises:
        PermissionError: It is there, and belongs to another user.
    """
    try:
        held = os.pidfd_open(identity.pid)
    except (AttributeError, OSError):  # no such process, which the proof sees, or a system that knows no pidfd
        held = None
    try:
        if not is_same(identity):
            return False
        if held is None:
            os.kill(identity.pid, number)
        else:
            signal.pidfd_send_signal(held, number)
    except ProcessLookupError:
        return False
    finally:
        if held is not None:
            os.close(held)
    return True


def _strings(pid: int, file: str) -> list[str]:
    try:
        raw = Path(f"/proc/{pid}/{file}").read_bytes()
    except OSError:  # it is gone, or belongs to somebody else
        return []
    return os.fsdecode(raw.removesuffix(b"\0")).split("\0") if raw else []


def _from_psutil(process: Any) -> Process:
    with process.oneshot():
        identity = ProcessIdentity(process.pid, boot_id(), None, process.create_time())
        state = _STATES.get(process.status(), "S")
        return Process(identity, process.ppid(), os.getsid(process.pid), state, process.name())


def _ask_psutil(pid: int, question: Callable[[Any], T]) -> T | None:
    import psutil

    try:
        return question(psutil.Process(pid))
    except (psutil.Error, OSError):
        return None
