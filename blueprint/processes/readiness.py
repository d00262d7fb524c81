"""Whether a process is the service that is wanted: waiting until a new one is ready, judging one that runs already."""

from __future__ import annotations

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.core.waiting import try_a_few_times, wait_until
from blueprint.processes.identity import find_again
from blueprint.processes.launching import Launched
from blueprint.processes.listening import is_of, port_held, require_listener
from blueprint.processes.ownership import OwnershipTag
from blueprint.processes.ports import holder
from blueprint.processes.records import ServiceRecord
from blueprint.processes.spec import Service
from blueprint.processes.table import Process

_STILL_STARTING_SECONDS = 30.0
_ATTEMPTS = 3
_LONGEST_PAUSE = 0.25  # the rest of the execution waits for it


def wait_until_ready(
    service: Service, mark: OwnershipTag, started: Launched, control: TaskControl, seconds: float
) -> None:
    """Wait until the process is ready and is the one that holds the service's port.

    Raises:
        TaskFailed: It died (with the telling line of its log), or time is over (with the last reason).
        EnvironmentRefused: Somebody else holds the port.
        TaskStopped: The execution was interrupted.
    """

    def probe() -> None:
        death = started.death()
        if death:
            raise _died(service, mark, started, death)
        service.ready()
        require_listener(service, mark, started.identity)

    wait_until(
        control,
        probe,
        most=_LONGEST_PAUSE,
        seconds=seconds,
        what=f"{service.title} (pid {started.identity.pid}) is to be ready",
        where_to_look=str(service.log),
    )


def why_unfit(
    service: Service, mark: OwnershipTag, fingerprint: str, record: ServiceRecord, leader: Process, control: TaskControl
) -> str:
    """Why the running process cannot be adopted as the service; "" if it can.

    One that has never been ready was left by an execution that was killed meanwhile: it gets the time of a start.
    """
    if record.fingerprint != fingerprint:
        return "its settings had changed"
    if not record.ready and not leader.frozen:
        started = Launched(record.identity, None, service.log, 0)
        try:
            wait_until_ready(service, mark, started, control, min(_STILL_STARTING_SECONDS, control.remaining() / 2))
        except (TaskFailed, EnvironmentRefused) as error:
            return f"it had not got ready: {error}"
        return ""
    reason = try_a_few_times(control, service.alive, attempts=1 if leader.frozen else _ATTEMPTS)
    seen = find_again(record.identity)
    if seen is None or not seen.running:
        return f"its process (pid {leader.pid}) was gone"
    if seen.frozen:
        return (
            f"it did not answer{f' ({reason})' if reason else ''}: its process (pid {leader.pid}) was frozen (SIGSTOP)"
        )
    if reason:
        return f"it did not answer ({reason})"
    try:
        return try_a_few_times(control, lambda: require_listener(service, mark, record.identity))
    except EnvironmentRefused as error:
        return error.what


def _died(service: Service, mark: OwnershipTag, started: Launched, death: str) -> Exception:
    """A stranger who took the port first is the reason to tell, whatever the log says."""
    found = holder(service.port, service.host) if service.port is not None else None
    if found is not None and not is_of(mark, started.identity, found):
        return port_held(service, found)
    return TaskFailed(
        f"{service.title} ended while it was starting ({death}): {started.last_words()}",
        where_to_look=str(service.log),
    )
