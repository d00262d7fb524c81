"""The lock that lets one execution at a time work in a folder. Standard library only."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import threading
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import PRIVATE_FILE, refused

if TYPE_CHECKING:
    from blueprint.core.workspace import Workspace


@dataclass
class ExecutionLock:
    """Exclusive right to change a workspace, held by one execution from start to end.

    The kernel holds it (`flock`) for as long as the open file lives, so that a killed execution leaves nothing to
    clean up. The file tells who holds it. The open file goes through `os.execv`; in the process after it, `adopt`.
    """

    path: Path
    fd: int

    @classmethod
    def acquire(cls, workspace: Workspace, command: str) -> ExecutionLock:
        """Take the lock of a prepared workspace for a command line, which is shown to whoever is refused meanwhile.

        Raises:
            EnvironmentRefused: Somebody else holds it, who is named, or the file system cannot lock.
        """
        path = workspace.lock
        try:
            while True:
                fd = os.open(path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(path, fd):  # else the state folder was removed between the two calls: lock the new file
                    break
                os.close(fd)
            started = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
            os.ftruncate(fd, 0)
            os.pwrite(fd, json.dumps({"pid": os.getpid(), "started": started, "command": command}).encode(), 0)
            os.set_inheritable(fd, True)
        except BlockingIOError:
            holder = _holder(fd)
            os.close(fd)
            raise EnvironmentRefused(
                f"Another execution is running in this folder: {holder}.",
                "Wait for it to end, or end it with Ctrl-C in its terminal.",
            ) from None
        except OSError as error:
            raise refused(error, path) from error
        return cls(path, fd)

    @classmethod
    def adopt(cls, workspace: Workspace, fd: int) -> ExecutionLock:
        """Take over the lock that this process took before `os.execv`; no child can inherit it now.

        Raises:
            EnvironmentRefused: `fd` is not this workspace's lock, or somebody else holds it.
        """
        try:
            if not _is_at(workspace.lock, fd):
                raise OSError(f"file descriptor {fd} is not this workspace's lock")
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # held already: stays so; else it was never ours
            os.set_inheritable(fd, False)
        except OSError as error:
            raise EnvironmentRefused(
                f"The lock was not passed on to the virtual environment: {error}.", "Run the command again."
            ) from error
        return cls(workspace.lock, fd)

    def require(self) -> None:
        """Require that the lock still keeps others out.

        Raises:
            EnvironmentRefused: Its file was removed or replaced; the next execution would lock another one.
        """
        if not _is_at(self.path, self.fd):
            raise EnvironmentRefused(
                f"{self.path.parent} was removed while this execution was using it; it cannot continue.",
                "Leave that folder alone during an execution, and run `python run_blueprint.py --phase all`.",
            )

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self.fd < 0:
            return
        with contextlib.suppress(OSError):
            os.ftruncate(self.fd, 0)
        os.close(self.fd)
        self.fd = -1


def _is_at(path: Path, fd: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except OSError:
        return False


def _holder(fd: int) -> str:
    """Describe the holder as the file names it.

    Waits up to 0.2 s for a living one: just after the lock was taken, the file may name the previous holder.
    """
    told = "its pid is not known yet, it is just starting"
    for _ in range(20):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            holder = json.loads(os.pread(fd, 65536, 0))
            told = f"pid {holder['pid']}, started {holder['started']}, command `{holder['command']}`"
            os.kill(holder["pid"], 0)  # an error unless it is alive, and this user's
            break
        threading.Event().wait(0.01)
    return told
