"""Running a command to its end: bounded in time, interruptible, and leaving no process behind.

Standard library only. Services, which outlive the execution, are started by `blueprint.processes` instead.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from blueprint.core.task import TaskControl, TaskStopped

_POLL_SECONDS = 0.1
STANDS_BACK = 10  # the niceness of a check that few wait for, beside the server's start, which all wait for


@dataclass(frozen=True)
class Finished:
    """A command that ended by itself; `output` holds stdout and `errors` stderr."""

    returncode: int
    output: str
    errors: str

    def last_line(self) -> str:
        """Return the last line that says something, errors before output: it is what a user should see first."""
        for text in (self.errors, self.output):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[-1]
        return f"no output, exit code {self.returncode}"


def run(
    argv: Sequence[str | Path],
    control: TaskControl,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float | None = None,
    niceness: int = 0,
    given: str = "",
    umask: int = -1,
    watch: Callable[[int, str], None] | None = None,
) -> Finished:
    """Run a command until it ends, then kill what is left of its process group.

    Args:
        argv: The program and its arguments; no shell is involved.
        control: Gives the deadline and the wish to stop.
        env: The whole environment of the child; the current one if None.
        cwd: The folder that it runs in.
        seconds: A bound of its own, tighter than the deadline.
        niceness: 0 to 19; a higher one leaves the processor to others.
        given: Text for its standard input.
        umask: The rights that the files which it makes do not have; by default this process's.
        watch: Called while it runs, with its pid and its output so far; what it raises ends the command.

    Raises:
        TaskStopped: Interrupted, or out of time.
        OSError: The program cannot be started.
    """
    end = control.deadline if seconds is None else min(control.deadline, control.clock() + seconds)
    process = subprocess.Popen(
        [str(part) for part in argv],
        stdin=_file_of(given) if given else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        cwd=cwd,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,
        umask=umask,
    )
    try:
        if niceness:
            with contextlib.suppress(OSError):  # it has ended already
                os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
        return _finished(process, str(argv[0]), control, end, watch)
    finally:
        _kill_group(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=2)


def _finished(
    process: subprocess.Popen[str],
    program: str,
    control: TaskControl,
    end: float,
    watch: Callable[[int, str], None] | None,
) -> Finished:
    while True:
        try:
            output, errors = process.communicate(timeout=_POLL_SECONDS)
        except subprocess.TimeoutExpired as running:
            if process.poll() is not None:  # it has ended, and what it left holds its output open
                _kill_group(process)
            if control.stopped.is_set():
                raise TaskStopped("interrupted") from None
            if control.clock() >= end:
                raise TaskStopped(f"{program} did not end in time") from None
            if watch:
                so_far: list[bytes] = [running.stdout or b"", running.stderr or b""]  # bytes, whatever the encoding
                watch(process.pid, b"".join(so_far).decode("utf-8", "replace"))
        else:
            return Finished(process.returncode, output, errors)


def _file_of(text: str) -> IO[bytes]:
    """Return a file without a name that holds the text: a pipe may be full before the command reads it."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 - the command has it from here on
    file.write(text.encode())
    file.seek(0)
    return file


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
