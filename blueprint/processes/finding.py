"""The state of a service: its record, compared with the processes that run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blueprint.processes import records
from blueprint.processes.identity import ProcessIdentity, boot_id, find_again, identity_of
from blueprint.processes.ownership import OwnershipTag, fingerprint_of, owned_processes, tag_of
from blueprint.processes.records import RecordDamaged, ServiceRecord
from blueprint.processes.spec import ServiceSpec
from blueprint.processes.table import Process, command_line, look

RUNNING, STOPPED, FROZEN = "running", "stopped", "frozen"
NOT_RUNNING = "it was not running"


@dataclass(frozen=True)
class Found:
    """A service as it was found.

    Attributes:
        record: Its record, if there is one that counts.
        leader: Its main process, proven ours and running; None if there is none.
        reason: The reason if there is no leader.
        state: `running`, `frozen` (its process is stopped), `stopped`, or `not ours: …`.
    """

    record: ServiceRecord | None
    leader: Process | None
    reason: str
    state: str

    @property
    def identity(self) -> ProcessIdentity | None:
        """The process that the record names, running or not."""
        return self.record.identity if self.record else None


def find(folder: Path, tag: OwnershipTag) -> Found:
    """Find a service by its record alone, which takes a millisecond.

    Args:
        folder: The folder of the records.
        tag: Workspace and service.
    """
    try:
        record = records.read(folder, tag.service)
    except RecordDamaged as error:
        return Found(None, None, str(error), STOPPED)
    if record is None:
        return Found(None, None, NOT_RUNNING, STOPPED)
    if record.workspace != tag.workspace:
        return _not_ours(None, "its record was made in another folder")
    pid = record.identity.pid
    if record.identity.boot_id != boot_id():
        return Found(record, None, "the machine was restarted since", STOPPED)
    leader = find_again(record.identity)
    if leader is None:
        if look(pid) is None:
            return Found(record, None, f"its process (pid {pid}) was gone", STOPPED)
        return _not_ours(record, f"pid {pid} belongs to another process now")
    if not leader.running:
        return Found(record, None, f"its process (pid {pid}) was dead", STOPPED)
    if tag_of(pid) not in (None, tag):
        return _not_ours(None, f"pid {pid} carries the tag of another workspace or service")
    return Found(record, leader, "", FROZEN if leader.frozen else RUNNING)


def find_without_record(spec: ServiceSpec, tag: OwnershipTag, fingerprint: str) -> ProcessIdentity | None:
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
    return identity_of(processes[0]) if same_command and fingerprint_of(pid) == fingerprint else None


def _not_ours(record: ServiceRecord | None, reason: str) -> Found:
    return Found(record, None, reason, f"not ours: {reason}")
