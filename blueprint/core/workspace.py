"""Where everything is in a checkout, which checkout it is, and names that no two executions share.

Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import PRIVATE_FILE, private_folder, refused, write_all, write_whole

_PROBE_BYTES = 4096  # one block: enough to meet a full disk before anything is started


@dataclass(frozen=True)
class Workspace:
    """A checkout and what the program keeps in it.

    Attributes:
        root: The checkout's folder.
    """

    root: Path

    @property
    def state(self) -> Path:
        """What the program remembers; only this user can enter it."""
        return self.root / ".blueprint"

    @property
    def logs(self) -> Path:
        """What people read; only this user can enter it."""
        return self.root / "logs"

    @property
    def venv(self) -> Path:
        """The virtual environment's folder."""
        return self.root / ".venv"

    @property
    def install_stamp(self) -> Path:
        """A file of the environment that is another one each time its packages are installed or replaced."""
        return self.venv / "installed"

    @property
    def python(self) -> Path:
        """The virtual environment's interpreter."""
        return self.venv / "bin" / "python"

    @property
    def journal(self) -> Path:
        """The record of every execution."""
        return self.state / "journal.jsonl"

    @property
    def services(self) -> Path:
        """The records of the services that were started."""
        return self.state / "services"

    @property
    def prefect_home(self) -> Path:
        """The platform's own PREFECT_HOME; the user's is never touched."""
        return self.state / "prefect"

    @property
    def warehouse(self) -> Path:
        """The folder of the embedded warehouse."""
        return self.state / "warehouse"

    @property
    def lock(self) -> Path:
        """The file that the kernel's lock is on. It stays: removing a lock file is a race, its lock is what counts."""
        return self.state / "lock"

    def prepare(self) -> None:
        """Make the folders for state and logs, private to the user, and see that files can be written in both.

        Raises:
            EnvironmentRefused: The folder is missing, read-only or somebody else's, or the disk is full.
        """
        if not self.root.is_dir():
            raise EnvironmentRefused(f"{self.root} is not a folder.", "Run the command in the project's checkout.")
        for folder in (self.state, self.logs):
            private_folder(folder)
            _see_that_it_can_be_written(folder)

    def identity(self) -> str:
        """A random id of this very folder, made once: what is started here carries it as its mark.

        A `.blueprint` that was copied or moved to another folder gets a new id, so that two checkouts never take
        each other's services for their own. Anything but a run under the lock may call it at the same time as
        another and then read an id that is replaced at once.

        Raises:
            EnvironmentRefused: The id cannot be kept.
        """
        where = self.root.resolve()
        status = where.stat()
        bound_to = {"folder": os.fsdecode(where), "device": status.st_dev, "inode": status.st_ino}
        path = self.state / "workspace.json"
        with contextlib.suppress(OSError, ValueError):  # missing or damaged: nothing of it can be proven ours
            kept = json.loads(path.read_text())
            if isinstance(kept, dict) and isinstance(kept.get("id"), str) and kept | bound_to == kept:
                return str(kept["id"])
        private_folder(self.state)
        made = uuid.uuid4().hex
        write_whole(path, json.dumps({"id": made, **bound_to}) + "\n")
        return made

    def new_log(self, now: datetime | None = None) -> Path:
        """Make the empty file `logs/master_execution_YYYYMMDD_HHMMSS.log` (local time), which no other execution has.

        When the name is taken (a second execution within the same second, or a clock that was set back), the next
        second that is free is used: the name then runs ahead of the clock, and the lines in the log tell the time.

        Raises:
            EnvironmentRefused: It cannot be made.
        """
        moment = now or datetime.now().astimezone()
        while True:
            path = self.logs / f"master_execution_{moment:%Y%m%d_%H%M%S}.log"
            try:
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE))
            except FileExistsError:
                moment += timedelta(seconds=1)
            except OSError as error:
                raise refused(error, path) from error
            else:
                return path


def new_execution_id() -> str:
    """An id that no other execution has, also when the clock stands still or goes back; begins with the UTC time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(5)}"


def _see_that_it_can_be_written(folder: Path) -> None:
    probe = folder / f".probe-{secrets.token_hex(4)}"
    try:
        fd = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
        try:
            write_all(fd, bytes(_PROBE_BYTES))
            os.fsync(fd)
        finally:
            os.close(fd)
            probe.unlink()
    except OSError as error:
        raise refused(error, folder) from error
