"""Starting a service's process so that it outlives us and carries our tag."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass

from blueprint.core.errors import ProcessError
from blueprint.core.files import PRIVATE_UMASK, private_folder
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.log import ServiceLog
from blueprint.processes.ownership import OwnershipTag
from blueprint.processes.spec import ServiceSpec
from blueprint.processes.table import is_same, look

_children: list[subprocess.Popen[bytes]] = []  # they outlive whoever asks for them


@dataclass(frozen=True)
class Launched:
    """A process that was started, or found while it was starting.

    Attributes:
        child: Our child; None if an earlier execution started it.
        log_offset: The byte of the log at which its own lines begin.
    """

    identity: ProcessIdentity
    child: subprocess.Popen[bytes] | None
    log: ServiceLog
    log_offset: int

    def death(self) -> str:
        """Say how it ended; "" while it runs."""
        if self.child is None:
            return "" if is_same(self.identity) else "its process is gone"
        code = self.child.poll()
        if code is None:
            return ""
        if code >= 0:
            return f"exit code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"

    def telling_line(self) -> str:
        """Return the line of its log that tells most about its trouble."""
        return self.log.telling_line(self.log_offset)


def launch(spec: ServiceSpec, tag: OwnershipTag, fingerprint: str) -> Launched:
    """Start the service's process: own session, no input, output appended to its log, files private to the user.

    No file of ours stays open in it, the execution's lock least of all.

    Raises:
        ProcessError: The program cannot be started.
    """
    private_folder(spec.log.parent)
    log = ServiceLog(spec.log)
    with log.open_to_append() as output:
        offset = os.fstat(output.fileno()).st_size
        try:
            child = subprocess.Popen(
                spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**spec.inherit, **spec.env, **tag.environment(fingerprint)},
                cwd=spec.cwd,
                start_new_session=True,
                umask=PRIVATE_UMASK,
            )
        except OSError as error:
            raise ProcessError(
                f"{spec.title} cannot be started: {error.strerror} ({error.filename}).",
                where_to_look=str(error.filename or spec.cwd),
            ) from error
    _children.append(child)
    process = look(child.pid)  # it is there: at worst a zombie, as nobody else waits for it yet
    if process is None:
        raise ProcessError(f"{spec.title} was started, but its process (pid {child.pid}) cannot be seen.")
    return Launched(process.identity, child, log, offset)
