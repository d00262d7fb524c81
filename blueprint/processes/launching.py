"""Starting a service's process so that it outlives us, marked as ours, and reading why one died.

Our children stay known to this process for as long as it lives: one that dies is a zombie until somebody asks.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

from blueprint.core.files import PRIVATE_FILE, private_folder, refused
from blueprint.core.task import TaskFailed
from blueprint.processes.identity import ProcessIdentity, identify, is_same
from blueprint.processes.ownership import OwnershipTag
from blueprint.processes.spec import Service

_PRIVATE_UMASK = 0o077
_TAIL_BYTES = 64 * 1024
_DECORATION = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\u2500-\u257f]")  # colours, and the boxes around tracebacks
_ERROR = re.compile(r"^[\w.]*(Error|Exception)\b")
_COMPLAINT = re.compile(r"error|exception|fail|refused|denied|in use|not found|cannot|unable|invalid", re.IGNORECASE)

_children: list[subprocess.Popen[bytes]] = []
_children_lock = threading.Lock()


@dataclass(frozen=True)
class Launched:
    """A process that was started or found while it was starting.

    Attributes:
        identity: Which.
        process: Our child; None if an earlier execution started it.
        log: Where it writes.
        log_start: Where in the log its own lines begin, in bytes.
    """

    identity: ProcessIdentity
    process: subprocess.Popen[bytes] | None
    log: Path
    log_start: int

    def death(self) -> str:
        """How it ended; "" while it runs."""
        if self.process is None:
            return "" if is_same(self.identity) else "its process is gone"
        code = self.process.poll()
        if code is None:
            return ""
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def last_words(self) -> str:
        """The line of its log that tells most about its end."""
        return telling_line(self.log, self.log_start)


def launch(service: Service, mark: OwnershipTag, fingerprint: str) -> Launched:
    """Start the service's process: own session, no input, output appended to its log, files private to the user.

    No file of ours stays open in it, the execution's lock least of all.

    Raises:
        TaskFailed: The program cannot be started.
        EnvironmentRefused: The log cannot be written.
    """
    private_folder(service.log.parent)
    environment = {**service.inherit, **service.env, **mark.environment(fingerprint)}
    try:
        log = os.open(service.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE)
    except OSError as error:
        raise refused(error, service.log) from error
    try:
        os.fchmod(log, PRIVATE_FILE)
        log_start = os.fstat(log).st_size
        process = subprocess.Popen(
            service.argv,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd=service.cwd,
            start_new_session=True,
            umask=_PRIVATE_UMASK,
        )
    except OSError as error:
        raise TaskFailed(
            f"{service.title} cannot be started: {error.strerror} ({error.filename}).",
            where_to_look=str(error.filename or service.cwd),
        ) from error
    finally:
        os.close(log)
    identity = identify(process.pid)  # it is there: at worst a zombie, as nobody else waits for it yet
    with _children_lock:
        _children.append(process)
    if identity is None:
        raise TaskFailed(f"{service.title} was started, and its process (pid {process.pid}) cannot be seen.")
    return Launched(identity, process, service.log, log_start)


def reap() -> None:
    """Let the system forget the children of ours that have ended."""
    with _children_lock:
        _children[:] = [child for child in _children if child.poll() is None]


def telling_line(log: Path, start: int = 0) -> str:
    """The line of a log, from byte `start` on, that a user should see first; says so if there is none.

    The last line that begins with an exception's name, else the last that complains, else the last one.
    """
    try:
        with log.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(start if start <= size else 0, size - _TAIL_BYTES))
            text = file.read(_TAIL_BYTES).decode(errors="replace")
    except OSError as error:
        return f"its log cannot be read ({error.strerror})"
    lines = [line for line in (_DECORATION.sub("", raw).strip() for raw in text.splitlines()) if line]
    for pattern in (_ERROR, _COMPLAINT):
        for line in reversed(lines):
            if pattern.search(line):
                return line[:500]
    return lines[-1][:500] if lines else "it wrote nothing to its log"
