"""Starting a service's process so that it outlives us, waiting until it is ready, and judging one that runs already."""

from __future__ import annotations

import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from blueprint.core.errors import BlueprintError, EnvironmentRefused, ProcessError, TimedOut
from blueprint.core.files import PRIVATE_UMASK, private_folder
from blueprint.core.task import TaskControl
from blueprint.core.waiting import try_a_few_times, wait_until
from blueprint.processes import records
from blueprint.processes.finding import Found, is_of, port_held, require_listener
from blueprint.processes.log import ServiceLog
from blueprint.processes.ownership import OwnershipTag
from blueprint.processes.ports import holder
from blueprint.processes.spec import ServiceSpec
from blueprint.processes.table import find_again, is_same, look

_STILL_STARTING_SECONDS = 30.0
_ATTEMPTS = 3
_LONGEST_PAUSE = 0.25  # the rest of the execution waits for it

_children: list[subprocess.Popen[bytes]] = []  # they outlive whoever asks for them


@dataclass(frozen=True)
class Launched:
    """A process that was started, or found while it was starting: then it is no child of ours."""

    record: records.ServiceRecord
    child: subprocess.Popen[bytes] | None = None

    def death(self) -> str:
        """Say how it ended; "" while it runs."""
        if self.child is None:
            return "" if is_same(self.record.identity) else "its process is gone"
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
        return ServiceLog(Path(self.record.log)).telling_line(self.record.log_offset)


def launch(spec: ServiceSpec, tag: OwnershipTag) -> Launched:
    """Start the service's process: own session, no input, output appended to its log, files private to the user.

    No file of ours stays open in it, the execution's lock least of all.

    Raises:
        ProcessError: The program cannot be started.
    """
    private_folder(spec.log.parent)
    with ServiceLog(spec.log).open_to_append() as output:
        offset = os.fstat(output.fileno()).st_size
        try:
            child = subprocess.Popen(
                spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**spec.inherit, **spec.env, **tag.environment(spec.fingerprint(tag.workspace))},
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
    return Launched(records.new(spec, tag, process.identity, offset), child)


def wait_until_ready(
    spec: ServiceSpec, tag: OwnershipTag, started: Launched, control: TaskControl, seconds: float | None = None
) -> None:
    """Wait until the process is ready and is the one that holds the service's port.

    Raises:
        ProcessError: It died; tells the telling line of its log.
        TimedOut: Time is over; tells the last reason and the telling line.
        EnvironmentRefused: Somebody else holds the port.
    """
    identity = started.record.identity
    what = f"{spec.title} (pid {identity.pid}) to be ready"

    def probe() -> None:
        death = started.death()
        if death:
            raise _died(spec, tag, started, death)
        spec.ready()
        require_listener(spec, tag, identity)

    try:
        wait_until(control, probe, most=_LONGEST_PAUSE, seconds=seconds, what=what)
    except TimedOut as error:
        said = f"{error.what} Its log says: {started.telling_line()}"
        raise TimedOut(said, where_to_look=str(spec.log)) from error


def unfit_reason(spec: ServiceSpec, tag: OwnershipTag, found: Found, control: TaskControl) -> str:
    """Say why what was found cannot be adopted as the service; "" if it can.

    One that has never been ready was left by an execution that was killed meanwhile: it gets the time of a start.
    """
    record, leader = found.record, found.leader
    if record is None or leader is None:
        return found.reason
    if record.fingerprint != spec.fingerprint(tag.workspace):
        return "its settings had changed"
    if not record.ready and not leader.frozen:
        seconds = min(_STILL_STARTING_SECONDS, control.remaining() / 2)
        try:
            wait_until_ready(spec, tag, Launched(record), control, seconds)
        except BlueprintError as error:
            return f"it had not become ready: {error.what}"
        return ""
    reason = try_a_few_times(control, spec.alive, attempts=1 if leader.frozen else _ATTEMPTS)
    process = find_again(record.identity)
    if process is None or not process.running:
        return f"its process (pid {leader.pid}) was gone"
    if process.frozen:
        told = f" ({reason})" if reason else ""
        return f"it did not answer{told}: its process (pid {leader.pid}) was frozen (SIGSTOP)"
    if reason:
        return f"it did not answer ({reason})"
    try:
        return try_a_few_times(control, lambda: require_listener(spec, tag, record.identity))
    except EnvironmentRefused as error:
        return error.what


def _died(spec: ServiceSpec, tag: OwnershipTag, started: Launched, death: str) -> BlueprintError:
    """Return the error for a process that died; a stranger on its port is the cause, whatever its log says."""
    found = holder(spec.port, spec.host) if spec.port is not None else None
    if found is not None and not is_of(tag, started.record.identity, found):
        return port_held(spec, found)
    return ProcessError(
        f"{spec.title} ended while it was starting ({death}): {started.telling_line()}", where_to_look=str(spec.log)
    )
