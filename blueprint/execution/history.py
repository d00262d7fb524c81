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
from blueprint.execution.events import (
    Entry,
    ExecutionFinished,
    ExecutionStarted,
    SettingsRefused,
    TaskFinished,
    TaskStarted,
    Unit,
    UnitsPlanned,
    decode,
)
from blueprint.execution.outcome import NEVER_ENDED, TaskOutcome, combine


@dataclass(frozen=True)
class UnitRecord:
    """Record of a unit in one execution; mode and times are empty for what never came about."""

    mode: str = ""
    outcome: TaskOutcome = NEVER_ENDED
    seconds: float | None = None
    started_at: str = ""  # UTC, ISO 8601
    finished_at: str = ""


@dataclass(frozen=True)
class TaskRecord:
    """Record of a task in one execution."""

    number: int
    units: Mapping[str | None, UnitRecord]  # by the deployments' labels

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


@dataclass
class ExecutionRecord:
    """Record of one execution, which its events complete."""

    id: str
    started: ExecutionStarted = field(default_factory=ExecutionStarted)
    started_at: str = ""
    units: dict[Unit, UnitRecord] = field(default_factory=dict)  # in the order of the settings
    finished: ExecutionFinished | None = None  # if there is none, it was interrupted too

    def add(self, entry: Entry) -> None:
        """Add an event that followed its start."""
        match entry.event:
            case UnitsPlanned(units=units):
                self.units |= {unit: UnitRecord() for unit in units}
            case TaskStarted(unit=unit, mode=mode):
                self.units[unit] = UnitRecord(mode, started_at=entry.at)
            case TaskFinished(unit=unit, outcome=outcome, seconds=seconds):
                begun = self.units.get(unit, UnitRecord())
                self.units[unit] = replace(begun, outcome=outcome, seconds=seconds, finished_at=entry.at)
            case SettingsRefused(settings=settings):
                self.started = replace(self.started, settings=settings)
            case ExecutionFinished() as finished:
                self.finished = finished

    @property
    def tasks(self) -> dict[int, TaskRecord]:
        """The tasks that were started, blocked or finished, by number; a unit not reached counts as interrupted."""
        begun = {unit.task for unit, record in self.units.items() if record.started_at or record.finished_at}
        by_task: dict[int, dict[str | None, UnitRecord]] = {number: {} for number in sorted(begun)}
        for unit, record in self.units.items():
            if unit.task in begun:
                by_task[unit.task][unit.deployment] = record
        return {number: TaskRecord(number, units) for number, units in by_task.items()}

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

    def passed(self, number: int) -> bool:
        """Tell whether this execution proved the task."""
        return number in self.tasks and self.tasks[number].status.passed


class History:
    """The executions in the order of their start, built from journal records.

    Events of an execution whose start is in an older journal are passed over.
    """

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._executions: dict[str, ExecutionRecord] = {}
        for entry in filter(None, map(decode, records)):
            if isinstance(entry.event, ExecutionStarted):
                self._executions[entry.execution] = ExecutionRecord(entry.execution, entry.event, entry.at)
            elif entry.execution in self._executions:
                self._executions[entry.execution].add(entry)

    @property
    def executions(self) -> list[ExecutionRecord]:
        """All executions, oldest first."""
        return list(self._executions.values())

    @property
    def last(self) -> ExecutionRecord | None:
        """The execution that was started last; None if there was none."""
        return next(reversed(self._executions.values()), None)


def load(path: Path, archive: Path | None = None) -> History:
    """Read the journal, if there is one; before it the executions in the archive, if that folder is given."""
    return History([*(journal.archived(archive) if archive else ()), *journal.read(path)])
