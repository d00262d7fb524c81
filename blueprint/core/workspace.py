"""Paths of a workspace, its identity, and unique names for executions.

Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import PRIVATE_FILE, not_allowed, private_folder, refused, write_whole

_IDENTITY = "workspace.json"
_LONGEST_TEMPORARY = 70  # bytes: a socket's path may have 103, and multiprocessing's adds 32
_PROBE_BYTES = 4096  # one block: enough to meet a full disk before anything is started


class _Below:
    """A path of the workspace below another one."""

    def __init__(self, folder: str, name: str) -> None:
        self._folder = folder
        self._name = name

    def __get__(self, workspace: Workspace, owner: type[Workspace]) -> Path:
        return Path(getattr(workspace, self._folder), self._name)


@dataclass(frozen=True)
class Workspace:
    """A project's folder, the files kept in it, and the place of the program itself."""

    root: Path  # with the project's pyproject.toml, `.venv`, state and logs
    installation: Path | None = None  # the folder of the program's own files, where that is not `root`

    script = _Below("program", "run_blueprint.py")
    requirements = _Below("program", "requirements.lock")  # of the packages that the platform runs on

    venv = _Below("root", ".venv")
    python = _Below("venv", "bin/python")
    install_stamp = _Below("venv", "installed")  # other text each time that packages of `requirements` are installed

    logs = _Below("root", "logs")  # only this user can enter it
    worker_log = _Below("logs", "worker.log")  # of the worker, or of the process that serves the flows

    state = _Below("root", ".blueprint")  # only this user can enter it
    journal = _Below("state", "journal.jsonl")
    archive = _Below("state", "archive")  # the executions that have left the journal
    password = _Below("state", "password")  # that the API asks for, if it is a generated one
    remembered_settings = _Below("state", "settings.json")  # those that command lines gave
    lost_packages = _Below("state", "lost-packages.txt")  # the user's own that were in an environment before the last
    services = _Below("state", "services")  # the records of the services that were started
    prefect_home = _Below("state", "prefect")  # the user's own is never touched
    warehouse = _Below("state", "warehouse")
    lock = _Below("state", "lock")  # carries the kernel's lock, and stays: removing a lock file is a race

    @property
    def program(self) -> Path:
        """The folder of the program's own files: its script, sources, lock files and tests."""
        return self.installation or self.root

    @property
    def temporary(self) -> Path:
        """The platform's own folder for temporary files; in `/tmp` if its path were too long for sockets in it."""
        own = self.state / "tmp"
        if len(os.fsencode(own)) <= _LONGEST_TEMPORARY:
            return own
        name = hashlib.sha256(os.fsencode(self.root.resolve())).hexdigest()[:12]
        return Path(f"/tmp/blueprint-{os.getuid()}-{name}")  # noqa: S108 - it is made private before it is used

    def prepare(self) -> None:
        """Make the private folders for state and logs, and prove that files can be written in both.

        Raises:
            EnvironmentRefused: The folder is missing, read-only or somebody else's, or the disk is full.
        """
        if not self.root.is_dir():
            raise EnvironmentRefused(f"{self.root} is not a folder.", "Run the command in the project's folder.")
        for folder in (self.state, self.logs):
            private_folder(folder)
            probe = folder / ".probe"
            write_whole(probe, "\0" * _PROBE_BYTES)
            probe.unlink(missing_ok=True)  # another command may be here at the same time

    def require_ours(self) -> None:
        """Require that this user may change what is kept here: an execution as root leaves files that only root may.

        Raises:
            EnvironmentRefused: One of the files belongs to somebody else.
        """
        for path in (
            *(self.root / "prefect.toml", self.venv, self.state, self.logs),
            *(found for folder in (self.state, self.logs) for found in folder.glob("*")),
            *self.state.glob("*/*"),
        ):
            if _is_closed_by_another(path):
                raise not_allowed(path, os.strerror(errno.EACCES))

    def identity(self) -> str:
        """Return the random id of this very folder, made once under the lock: what is started here carries it.

        The id goes with a folder that is moved. A copy of it gets an id of its own, so that two checkouts never take
        each other's services for their own.

        Raises:
            EnvironmentRefused: The id cannot be kept.
        """
        kept, place = self._kept_identity(), self._place()
        if kept == {"id": kept.get("id"), **place}:
            return str(kept["id"])
        identity = self.known_identity() or uuid.uuid4().hex
        private_folder(self.state)
        write_whole(self.state / _IDENTITY, json.dumps({"id": identity, **place}) + "\n")
        return identity

    def known_identity(self) -> str | None:
        """Return the id of this very folder without making one; None if it has none yet."""
        kept, place = self._kept_identity(), self._place()
        same = all(kept.get(key) == place[key] for key in ("device", "inode"))
        return str(kept["id"]) if kept and same else None

    def copied_identity(self) -> tuple[str, Path] | None:
        """Return the id and the folder that the state was copied from; None if it is this folder's own."""
        kept = self._kept_identity()
        return (str(kept["id"]), Path(kept["folder"])) if kept and self.known_identity() is None else None

    def _kept_identity(self) -> dict[str, Any]:
        """Read the file; empty if it is missing or damaged, because nothing of it could be proven ours."""
        with contextlib.suppress(OSError, ValueError, RecursionError):
            kept = json.loads((self.state / _IDENTITY).read_text())
            if isinstance(kept, dict) and isinstance(kept.get("id"), str) and isinstance(kept.get("folder"), str):
                return kept
        return {}

    def _place(self) -> dict[str, Any]:
        folder = self.root.resolve()
        status = folder.stat()
        return {"folder": os.fsdecode(folder), "device": status.st_dev, "inode": status.st_ino}

    def new_log(self, now: datetime | None = None) -> Path:
        """Make the empty log file of an execution, `logs/master_execution_YYYYMMDD_HHMMSS.log` (local time).

        Where the name is taken (a second execution within the same second, or a clock that was set back), the next
        free second is used: the name then runs ahead of the clock, and the lines in the log tell the time.
        """
        moment = now or datetime.now().astimezone()
        while True:
            path = self.logs / f"master_execution_{moment:%Y%m%d_%H%M%S}.log"
            try:
                path.touch(PRIVATE_FILE, exist_ok=False)
            except FileExistsError:
                moment += timedelta(seconds=1)
            except OSError as error:
                raise refused(error, path) from error
            else:
                return path


def _is_closed_by_another(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:  # it is not there, or no longer
        return False
    return status.st_uid != os.geteuid() and not os.access(path, os.R_OK | os.W_OK)


def new_execution_id() -> str:
    """Return an id that begins with the UTC time and is unique even if the clock goes back."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(5)}"
