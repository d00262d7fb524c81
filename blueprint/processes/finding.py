"""Where a service stands: what its record says, held against what runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from blueprint.processes import records
from blueprint.processes.identity import ProcessIdentity, boot_id, find_again, identity_of
from blueprint.processes.ownership import OwnershipTag, fingerprint_of, owned_processes, tag_of
from blueprint.processes.records import RecordDamaged, ServiceRecord
from blueprint.processes.spec import Service
from blueprint.processes.table import Process, command_line, look

RUNNING, STOPPED, FROZEN = "running", "stopped", "frozen"
NOT_RUNNING = "it was not running"


@dataclass(frozen=True)
class Found:
    """What is known of a service at this moment.

    Attributes:
        record: Its record, if there is one that counts.
        leader: Its main process, proven ours and running; None if there is none.
        why_not: Without a leader, why.
        state: `running`, `frozen` (its process is stopped), `stopped`, or `not ours: …`.
    """

    record: ServiceRecord | None
    leader: Process | None
    why_not: str
    state: str

    @property
    def identity(self) -> ProcessIdentity | None:
        """Whom the record names, running or not."""
        return self.record.identity if self.record else None


def find(folder: Path, mark: OwnershipTag) -> Found:
    """Where the service stands by its record; nothing else is looked for, so that it takes a millisecond."""
    try:
        record = records.read(folder, mark.service)
    except RecordDamaged as error:
        return Found(None, None, str(error), STOPPED)
    if record is None:
        return Found(None, None, NOT_RUNNING, STOPPED)
    if record.workspace != mark.workspace:
        return _not_ours(None, "its record was made in another folder")
    pid = record.identity.pid
    if record.identity.boot_id != boot_id():
        return Found(record, None, "the machine was restarted since", STOPPED)
    seen = find_again(record.identity)
    if seen is None:
        other = look(pid)
        if other is None:
            return Found(record, None, f"its process (pid {pid}) was gone", STOPPED)
        return _not_ours(record, f"pid {pid} belongs to another process now")
    if not seen.running:
        return Found(record, None, f"its process (pid {pid}) was dead", STOPPED)
    if tag_of(pid) not in (None, mark):
        return _not_ours(None, f"pid {pid} carries the mark of another workspace or service")
    return Found(record, seen, "", FROZEN if seen.frozen else RUNNING)


def find_without_record(service: Service, mark: OwnershipTag, fingerprint: str) -> ProcessIdentity | None:
    """The service's main process, if it runs as `service` says and only its record is missing.

    That is what a kill between start and record leaves, or a record that a crash tore. The main process is the oldest
    with the mark; it made its session and runs the service's command, which tells it from a child that was left over.
    """
    family = owned_processes(mark)
    if not family or family[0].session != family[0].pid:
        return None
    pid = family[0].pid
    command = command_line(pid)
    same_command = command == service.argv or command[-len(service.argv) :][1:] == service.argv[1:]
    return identity_of(family[0]) if same_command and fingerprint_of(pid) == fingerprint else None


def _not_ours(record: ServiceRecord | None, reason: str) -> Found:
    return Found(record, None, reason, f"not ours: {reason}")
