"""The executions that the journal remembers, and how each of their tasks ended.

Derived from the order of the records, never from their times: clocks are set back. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from blueprint.core.task import Status
from blueprint.execution import journal
from blueprint.execution.archive import records as archived_records
from blueprint.execution.events import (
    Entry,
    ExecutionFinished,
    ExecutionStarted,
    TaskFinished,
    TaskStarted,
    Unit,
    UnitsPlanned,
    decode,
)
from blueprint.execution.outcome import TaskOutcome, combine

_NEVER_FINISHED = TaskOutcome(Status.INTERRUPTED)


@dataclass(frozen=True)
class UnitRecord:
    """Record of a unit in one execution.

    Attributes:
        mode: `run` or `check first`; empty if it was blocked, as it was never started.
        outcome: Its outcome; `interrupted` if it was started and never finished.
        seconds: The time that it took; None if it never finished.
        started_at: UTC, ISO 8601; empty when it was never started.
        finished_at: UTC, ISO 8601; empty when it never finished.
    """

    mode: str = ""
    outcome: TaskOutcome = _NEVER_FINISHED
    seconds: float | None = None
    started_at: str = ""
    finished_at: str = ""


@dataclass(frozen=True)
class TaskRecord:
    """Record of a task in one execution.

    Attributes:
        number: 1 to 30.
        units: By the deployment's label; None for a task of the platform, or the part that deployments share.
    """

    number: int
    units: Mapping[str | None, UnitRecord]

    @cached_property
    def outcome(self) -> TaskOutcome:
        """The outcome as a whole."""
        return combine({label: unit.outcome for label, unit in self.units.items()})

    @property
    def status(self) -> Status:
        """The outcome in one word."""
        return self.outcome.status

    @property
    def mode(self) -> str:
        """The mode in which it was started; empty if it never was."""
        return next((unit.mode for unit in self.units.values() if unit.mode), "")

    @property
    def seconds(self) -> float | None:
        """The time that it took, its deployments running side by side; None if it never finished."""
        if any(unit.seconds is None for unit in self.units.values()):
            return None
        shared = self.units.get(None, UnitRecord()).seconds or 0.0
        return shared + max((unit.seconds or 0.0 for label, unit in self.units.items() if label is not None), default=0)

    @property
    def started_at(self) -> str:
        """The time at which the first of it was started; empty if none was."""
        return min((unit.started_at for unit in self.units.values() if unit.started_at), default="")

    @property
    def finished_at(self) -> str:
        """The time at which the last of it finished; empty if one never did."""
        times = [unit.finished_at for unit in self.units.values()]
        return max(times) if all(times) else ""

    def as_record(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "number": self.number,
            "mode": self.mode,
            "seconds": self.seconds,
            **self.outcome.as_record(),
            "started_at": self.started_at,
            "finished_at": self.finished_at,
        }


@dataclass(frozen=True)
class ExecutionRecord:
    """Record of one execution.

    Attributes:
        id: Its id.
        started: The event of its start.
        started_at: UTC, ISO 8601.
        tasks: Those that were started, blocked or finished, in the order of the records.
        finished: The event of its end; None if there is none, which is an interruption too.
        settings: `key=value` for each setting of its command line; only executions of older versions have it.
    """

    id: str
    started: ExecutionStarted = field(default_factory=ExecutionStarted)
    started_at: str = ""
    tasks: Mapping[int, TaskRecord] = field(default_factory=dict)
    finished: ExecutionFinished | None = None
    settings: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """The id of the execution that began the chain of resumptions; its own if it is a fresh one."""
        return self.started.origin or self.id

    @property
    def plan(self) -> Mapping[int, str]:
        """The planned mode of each task."""
        return {int(number): mode for number, mode in self.started.plan.items()}

    @property
    def status(self) -> str | None:
        """`passed`, `failed` or `interrupted`; None if it never came to its end."""
        return self.finished.status if self.finished else None

    @property
    def exit_code(self) -> int | None:
        """The exit code; None if it never came to its end."""
        return self.finished.exit_code if self.finished else None

    @property
    def interrupted(self) -> bool:
        """Tell whether it was cut short: by Ctrl-C, by SIGTERM, by a kill or a power failure."""
        return self.status in (None, "interrupted")

    def passed(self, number: int) -> bool:
        """Tell whether this execution proved the task."""
        return number in self.tasks and self.tasks[number].status.passed

    @property
    def unit_statuses(self) -> dict[Unit, Status]:
        """The status of each unit that was started, blocked or finished."""
        return {
            Unit(number, label): unit.outcome.status
            for number, task in self.tasks.items()
            for label, unit in task.units.items()
        }


class History:
    """The executions in the order of their start, built from journal entries.

    Entries of an execution whose start is in an older journal are passed over.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._executions: dict[str, ExecutionRecord] = {}
        self._units: dict[str, dict[Unit, UnitRecord]] = {}
        self._planned: dict[str, list[Unit]] = {}
        for record in records:
            if record["kind"] == "settings refused":  # of an older version
                self._settings(str(record.get("execution", "")), record)
            entry = decode(record)
            if entry is not None:
                self.add(entry)
            if record["kind"] == ExecutionStarted.kind:
                self._settings(str(record.get("execution", "")), record)

    def add(self, entry: Entry) -> None:
        """Add an entry."""
        event, execution = entry.event, entry.execution
        if isinstance(event, ExecutionStarted):
            self._executions[execution] = ExecutionRecord(execution, event, entry.at)
            self._units[execution], self._planned[execution] = {}, []
        elif execution not in self._executions:
            return
        elif isinstance(event, UnitsPlanned):
            self._planned[execution] += event.units
        elif isinstance(event, TaskStarted):
            self._units[execution][event.unit] = UnitRecord(event.mode, started_at=entry.at)
        elif isinstance(event, TaskFinished):
            begun = self._units[execution].get(event.unit, UnitRecord())
            self._units[execution][event.unit] = replace(
                begun, outcome=event.outcome, seconds=event.seconds, finished_at=entry.at
            )
        elif isinstance(event, ExecutionFinished):
            self._executions[execution] = replace(self._executions[execution], finished=event)

    @property
    def executions(self) -> list[ExecutionRecord]:
        """All executions, oldest first."""
        return [replace(record, tasks=self._tasks(execution)) for execution, record in self._executions.items()]

    @property
    def last(self) -> ExecutionRecord | None:
        """The execution that was started last; None if there was none."""
        if not self._executions:
            return None
        execution, record = next(reversed(self._executions.items()))
        return replace(record, tasks=self._tasks(execution))

    def _tasks(self, execution: str) -> dict[int, TaskRecord]:
        units = self._units[execution]
        begun = {unit.task for unit in units}
        by_task: dict[int, dict[str | None, UnitRecord]] = {unit.task: {} for unit in units}
        for unit in self._planned[execution]:  # in the order of the settings, not of the ends
            if unit.task in begun:
                by_task[unit.task][unit.deployment] = UnitRecord()
        for unit, record in units.items():
            by_task[unit.task][unit.deployment] = record
        return {number: TaskRecord(number, found) for number, found in by_task.items()}

    def _settings(self, execution: str, record: Mapping[str, Any]) -> None:
        if execution in self._executions and "settings" in record:
            settings = tuple(record["settings"])
            self._executions[execution] = replace(self._executions[execution], settings=settings)


def load(path: Path, archive: Path | None = None) -> History:
    """Read the journal; no executions if there is none.

    Args:
        path: The journal.
        archive: If given, the folder with the executions that have left the journal; they come first.

    Raises:
        JournalDamaged: The journal cannot be read.
    """
    old = list(archived_records(archive)) if archive else []
    return History([*old, *(journal.read(path) if path.exists() else ())])
