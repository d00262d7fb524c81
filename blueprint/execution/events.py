"""The events of an execution, and the one codec that turns them into journal records and back.

The journal, the log's lines, the JSON record and every report are made from these. A record of a kind that is not known
here is passed over; records of older versions are decoded too. Standard library only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from blueprint.core.task import Status
from blueprint.execution.outcome import TaskOutcome


class Unit(NamedTuple):
    """A task, or a task for one deployment: the unit that is scheduled.

    Attributes:
        task: The task's number.
        deployment: The deployment's label; None for a task of the platform, or the part that deployments share.
    """

    task: int
    deployment: str | None = None

    @property
    def sort_key(self) -> tuple[int, str]:
        """The place among all units: by number, the shared part first."""
        return self.task, self.deployment or ""


@dataclass(frozen=True)
class Event:
    """Event of an execution."""

    kind: ClassVar[str] = ""

    def fields(self) -> dict[str, Any]:
        """Return the event's values as they are recorded."""
        return {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Event:
        """Read the event from a journal record; fields that it does not name keep their defaults."""
        names = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in names})


@dataclass(frozen=True)
class ExecutionStarted(Event):
    """An execution began.

    Attributes:
        origin: The id of the execution that it goes on from; its own if it is a fresh one.
        command: The command line, without secrets.
        pid: The process that began it.
        boot_id: The start of the machine in which it began.
        version: The version of this program.
        log: The path of its log.
        plan: The planned mode of each task, by its number as text.
        worker_log: The end of the worker's log when its origin began: the file's inode, and bytes.
    """

    kind: ClassVar[str] = "execution started"
    origin: str = ""
    command: str = ""
    pid: int = 0
    boot_id: str = ""
    version: str = ""
    log: str = ""
    plan: Mapping[str, str] = field(default_factory=dict)
    worker_log: Sequence[int] = (0, 0)


@dataclass(frozen=True)
class UnitsPlanned(Event):
    """The units to carry out are known; a task passes only if all of its units pass."""

    kind: ClassVar[str] = "units planned"
    units: tuple[Unit, ...] = ()

    def fields(self) -> dict[str, Any]:
        """Return the units as pairs."""
        return {"units": [list(unit) for unit in self.units]}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> UnitsPlanned:
        """Read the pairs back."""
        return cls(tuple(Unit(*pair) for pair in record["units"]))


@dataclass(frozen=True)
class TaskStarted(Event):
    """A task was begun, for one deployment or as a whole."""

    kind: ClassVar[str] = "task started"
    task: int = 0
    deployment: str | None = None
    mode: str = ""

    @property
    def unit(self) -> Unit:
        """The unit that was begun."""
        return Unit(self.task, self.deployment)

    def fields(self) -> dict[str, Any]:
        """Return the values, the deployment only if there is one."""
        return {**_unit_fields(self.unit), "mode": self.mode}


@dataclass(frozen=True)
class TaskFinished(Event):
    """A task ended; the log line, the JSON record and every report read this.

    Attributes:
        task: The task's number.
        deployment: The deployment's label, if it was for one.
        outcome: Its outcome.
        seconds: The time that it took, by a monotonic clock; None if an old record does not say.
    """

    kind: ClassVar[str] = "task finished"
    task: int
    deployment: str | None
    outcome: TaskOutcome
    seconds: float | None = None

    @property
    def unit(self) -> Unit:
        """The unit that ended."""
        return Unit(self.task, self.deployment)

    def fields(self) -> dict[str, Any]:
        """Return the values with the outcome's beside them."""
        return {**_unit_fields(self.unit), "seconds": self.seconds, **self.outcome.as_record()}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TaskFinished:
        """Read the event; older versions called the details facts, the reason why and the hint what_to_do."""
        outcome = TaskOutcome(
            status=Status(record["status"]),
            summary=record.get("summary", record.get("what", "")),
            details=record.get("details", record.get("facts", {})),
            reason=record.get("reason", record.get("why", "")),
            where_to_look=record.get("where_to_look", ""),
            hint=record.get("hint", record.get("what_to_do", "")),
        )
        return cls(record["task"], record.get("deployment"), outcome, record.get("seconds"))


@dataclass(frozen=True)
class ServiceStarted(Event):
    """A process that outlives the execution was started."""

    kind: ClassVar[str] = "service started"
    service: str = ""
    pid: int = 0
    port: int | None = None
    log: str = ""
    reason: str = ""


@dataclass(frozen=True)
class ExecutionFinished(Event):
    """An execution came to its end.

    Attributes:
        status: `passed`, `failed` or `interrupted`.
        exit_code: The exit code of its process.
        counts: The number of tasks by status.
        seconds: The time that it took.
        cpu_seconds: Processor time of its process.
        peak_memory_mb: The most memory that its process had.
        error: The reason if it ended early; else empty.
    """

    kind: ClassVar[str] = "execution finished"
    status: str = ""
    exit_code: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: int = 0
    error: str = ""


@dataclass(frozen=True)
class JournalSealed(Event):
    """A last record that a crash tore was cut off."""

    kind: ClassVar[str] = "journal sealed"
    line: int = 0
    bytes: int = 0
    torn: str = ""


@dataclass(frozen=True)
class Entry:
    """An event with its place in the journal.

    Attributes:
        at: UTC, ISO 8601; for people, as clocks are set back.
        execution: The id of the execution.
        event: The event itself.
    """

    at: str
    execution: str
    event: Event


_KINDS: Mapping[str, type[Event]] = {
    event.kind: event
    for event in (
        *(ExecutionStarted, UnitsPlanned, TaskStarted, TaskFinished, ServiceStarted, ExecutionFinished),
        JournalSealed,
    )
}


def decode(record: Mapping[str, Any]) -> Entry | None:
    """Return the event in a journal record; None if its kind is not known here."""
    event = _KINDS.get(record["kind"])
    if event is None:
        return None
    return Entry(record["at"], str(record.get("execution", "")), event.from_record(record))


def _unit_fields(unit: Unit) -> dict[str, Any]:
    return {"task": unit.task} | ({} if unit.deployment is None else {"deployment": unit.deployment})
