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
from blueprint.execution.outcome import NEVER_ENDED, TaskOutcome

_RENAMED = {"what": "summary", "facts": "details", "why": "reason", "what_to_do": "hint"}


class Unit(NamedTuple):
    """A task, or a task for one deployment: the unit that is scheduled.

    The deployment is None for a task of the platform, and for the part that deployments share.
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
    # What the program itself reads back stays as it is, also if a secret is the same word, such as `changed`.
    plain: ClassVar[frozenset[str]] = frozenset(
        ("origin", "log", "plan", "worker_log", "units", "task", "deployment", "mode", "status", "counts")
    )

    def fields(self) -> dict[str, Any]:
        """Return the event's values as they are recorded; those that are None are left out."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Event:
        """Read the event from a journal record; fields that it does not name keep their defaults."""
        names = {item.name for item in dataclasses.fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in names})


@dataclass(frozen=True)
class ExecutionStarted(Event):
    """An execution began."""

    kind: ClassVar[str] = "execution started"
    origin: str = ""  # the id of the execution that it goes on from; its own if it is a fresh one
    command: str = ""
    pid: int = 0
    version: str = ""
    log: str = ""
    plan: Mapping[str, str] = field(default_factory=dict)  # the mode of each task
    worker_log: Sequence[int] = (0, 0)  # its end when the origin began: the file's inode, and bytes
    settings: Sequence[str] | None = None  # of the command line; only older versions kept them here


@dataclass(frozen=True)
class SettingsRefused(Event):
    """The settings of the command line were not accepted, and older versions took these back into use."""

    kind: ClassVar[str] = "settings refused"
    settings: Sequence[str] | None = None


@dataclass(frozen=True)
class UnitsPlanned(Event):
    """The units to carry out are known; a task passes only if all of its units pass."""

    kind: ClassVar[str] = "units planned"
    units: tuple[Unit, ...] = ()

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> UnitsPlanned:
        """Read the units, which are recorded as pairs."""
        return cls(tuple(Unit(*pair) for pair in record["units"]))


@dataclass(frozen=True)
class _UnitEvent(Event):
    """Event of one unit."""

    task: int = 0
    deployment: str | None = None

    @property
    def unit(self) -> Unit:
        """The unit that it happened to."""
        return Unit(self.task, self.deployment)


@dataclass(frozen=True)
class TaskStarted(_UnitEvent):
    """A task was begun, for one deployment or as a whole."""

    kind: ClassVar[str] = "task started"
    mode: str = ""


@dataclass(frozen=True)
class TaskFinished(_UnitEvent):
    """A task ended; the log line, the JSON record and every report read this."""

    kind: ClassVar[str] = "task finished"
    outcome: TaskOutcome = NEVER_ENDED
    seconds: float | None = None  # by a monotonic clock

    def fields(self) -> dict[str, Any]:
        """Return the values with the outcome's beside them."""
        fields = super().fields()
        del fields["outcome"]
        return fields | self.outcome.as_record()

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TaskFinished:
        """Read the event and the outcome, some of whose fields older versions named otherwise."""
        known = {_RENAMED.get(name, name): value for name, value in record.items()}
        known["status"] = Status(known["status"])
        names = {item.name for item in dataclasses.fields(TaskOutcome)}
        outcome = TaskOutcome(**{name: value for name, value in known.items() if name in names})
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
    """An execution came to its end: `passed`, `failed` or `interrupted`."""

    kind: ClassVar[str] = "execution finished"
    status: str = ""
    exit_code: int | None = None
    counts: Mapping[str, int] = field(default_factory=dict)  # of tasks by status
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_memory_mb: int = 0
    error: str = ""  # that ended it early


@dataclass(frozen=True)
class JournalSealed(Event):
    """A last record that a crash tore was cut off."""

    kind: ClassVar[str] = "journal sealed"
    line: int = 0
    bytes: int = 0
    torn: str = ""


@dataclass(frozen=True)
class Entry:
    """An event with its place in the journal."""

    at: str  # UTC, ISO 8601; for people, as clocks are set back
    execution: str
    event: Event


_KINDS: Mapping[str, type[Event]] = {
    event.kind: event
    for event in (
        *(ExecutionStarted, SettingsRefused, UnitsPlanned, TaskStarted, TaskFinished, ServiceStarted),
        *(ExecutionFinished, JournalSealed),
    )
}


def decode(record: Mapping[str, Any]) -> Entry | None:
    """Return the event in a journal record; None if its kind, or a value in it, is not known here.

    Whatever ended without an event that can be read is looked at again, so nothing unknown counts as proven.
    """
    event = _KINDS.get(record["kind"])
    if event is None:
        return None
    try:
        return Entry(record["at"], str(record.get("execution", "")), event.from_record(record))
    except (ValueError, KeyError, TypeError):
        return None
