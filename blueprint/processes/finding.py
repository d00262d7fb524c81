"""The state of a service: its record, compared with the processes that run and with the listener on its port."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path

from blueprint.core.errors import EnvironmentRefused
from blueprint.core.http import NotReady
from blueprint.processes import records
from blueprint.processes.identity import ProcessIdentity, boot_id
from blueprint.processes.ownership import OwnershipTag, fingerprint_of, owned_processes, tag_of
from blueprint.processes.ports import Listener, listeners
from blueprint.processes.records import RecordDamaged, ServiceRecord
from blueprint.processes.spec import ServiceSpec
from blueprint.processes.table import Process, command_line, find_again, is_same, look

NOT_RUNNING = "it was not running"


@dataclass(frozen=True)
class Found:
    """A service as it was found."""

    record: ServiceRecord | None = None  # if there is one that counts
    leader: Process | None = None  # its main process, proven ours and running
    reason: str = ""  # if there is no leader
    foreign: bool = False  # somebody else's process or record is in its place

    @property
    def known(self) -> Set[ProcessIdentity]:
        """The process that the record names, running or not."""
        return frozenset({self.record.identity} if self.record else ())


def find(folder: Path, tag: OwnershipTag) -> Found:
    """Find a service by its record alone, which takes a millisecond."""
    try:
        record = records.read(folder, tag.service)
    except RecordDamaged as error:
        return Found(reason=str(error))
    if record is None:
        return Found(reason=NOT_RUNNING)
    if record.workspace != tag.workspace:
        return Found(reason="its record was made in another folder", foreign=True)
    pid = record.identity.pid
    if record.identity.boot_id != boot_id():
        return Found(record, reason="the machine was restarted since")
    leader = find_again(record.identity)
    if leader is None or not leader.running:
        if leader is None and look(pid):
            return Found(record, reason=f"pid {pid} belongs to another process now", foreign=True)
        return Found(record, reason=f"its process (pid {pid}) was gone")
    if tag_of(pid) not in (None, tag):
        return Found(reason=f"pid {pid} carries the tag of another workspace or service", foreign=True)
    return Found(record, leader)


def find_without_record(spec: ServiceSpec, tag: OwnershipTag) -> ProcessIdentity | None:
    """Find the main process of a service that runs as `spec` says but has no usable record.

    A kill between start and record leaves that, or a crash that tore the record. The main process is the oldest with
    the tag; it made its session and runs the service's command, which tells it from a child that was left over.
    """
    processes = owned_processes(tag)
    if not processes or processes[0].session != processes[0].pid:
        return None
    pid = processes[0].pid
    command = command_line(pid)
    same_command = command == spec.argv or command[-len(spec.argv) :][1:] == spec.argv[1:]
    same_settings = fingerprint_of(pid) == spec.fingerprint(tag.workspace)
    return processes[0].identity if same_command and same_settings else None


def require_listener(spec: ServiceSpec, tag: OwnershipTag, leader: ProcessIdentity) -> None:
    """Require that the service's port, if it has one, is held by a process of the service.

    Raises:
        NotReady: Nobody listens there.
        EnvironmentRefused: Somebody else does; names the process.
    """
    if spec.port is None:
        return
    found = listeners(spec.port, spec.host, expected=leader.pid)
    if not found:
        raise NotReady(f"nothing listens on {spec.address}")
    if not any(is_of(tag, leader, listener) for listener in found):
        raise port_held(spec, found[0])


def is_of(tag: OwnershipTag, leader: ProcessIdentity, listener: Listener) -> bool:
    """Tell whether a process of the service, led by `leader`, has this listener open."""
    if leader.pid in listener.pids and is_same(leader):
        return True
    return any(process.pid in listener.pids for process in owned_processes(tag, {leader}))


def port_held(spec: ServiceSpec, listener: Listener | None) -> EnvironmentRefused:
    """Return the error for a port that somebody else has."""
    holder = str(listener) if listener else "a process that cannot be seen"
    return EnvironmentRefused(
        f"{spec.title} needs {spec.address}, which is held by {holder}.",
        "End that process, or configure another port.",
    )
