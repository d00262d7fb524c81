"""Readiness of a service: waiting for a new process, and judging one that runs already."""

from __future__ import annotations

from blueprint.core.errors import BlueprintError, EnvironmentRefused, ProcessError, TimedOut
from blueprint.core.task import TaskControl
from blueprint.core.waiting import try_a_few_times, wait_until
from blueprint.processes.finding import is_of, port_held, require_listener
from blueprint.processes.launching import Launched
from blueprint.processes.log import ServiceLog
from blueprint.processes.ownership import OwnershipTag
from blueprint.processes.ports import holder
from blueprint.processes.records import ServiceRecord
from blueprint.processes.spec import ServiceSpec
from blueprint.processes.table import Process, find_again

_STILL_STARTING_SECONDS = 30.0
_ATTEMPTS = 3
_LONGEST_PAUSE = 0.25  # the rest of the execution waits for it


def wait_until_ready(
    spec: ServiceSpec, tag: OwnershipTag, started: Launched, control: TaskControl, seconds: float
) -> None:
    """Wait until the process is ready and is the one that holds the service's port.

    Raises:
        ProcessError: It died; tells the telling line of its log.
        TimedOut: Time is over; tells the last reason and the telling line.
        EnvironmentRefused: Somebody else holds the port.
        TaskStopped: The execution was interrupted.
    """

    def probe() -> None:
        death = started.death()
        if death:
            raise _died(spec, tag, started, death)
        spec.ready()
        require_listener(spec, tag, started.identity)

    try:
        wait_until(
            control,
            probe,
            most=_LONGEST_PAUSE,
            seconds=seconds,
            what=f"{spec.title} (pid {started.identity.pid}) to be ready",
        )
    except TimedOut as error:
        said = f"{error.what} Its log says: {started.telling_line()}"
        raise TimedOut(said, where_to_look=str(spec.log)) from error


def unfit_reason(
    spec: ServiceSpec, tag: OwnershipTag, fingerprint: str, record: ServiceRecord, leader: Process, control: TaskControl
) -> str:
    """Say why the running process cannot be adopted as the service; "" if it can.

    One that has never been ready was left by an execution that was killed meanwhile: it gets the time of a start.
    """
    if record.fingerprint != fingerprint:
        return "its settings had changed"
    if not record.ready and not leader.frozen:
        started = Launched(record.identity, None, ServiceLog(spec.log), record.log_offset)
        try:
            wait_until_ready(spec, tag, started, control, min(_STILL_STARTING_SECONDS, control.remaining() / 2))
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
    if found is not None and not is_of(tag, started.identity, found):
        return port_held(spec, found)
    return ProcessError(
        f"{spec.title} ended while it was starting ({death}): {started.telling_line()}", where_to_look=str(spec.log)
    )
