"""What the journal's records mean: which executions there were, and how each of their tasks ended.

Derived from the order of the records, never from their times: clocks are set back. Standard library only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint.core.task import Status
from blueprint.execution import journal

if TYPE_CHECKING:
    from blueprint.core.workspace import Workspace

_JUDGED_AFTER = 4  # what judges the settings is among the packages that this task installs


@dataclass(frozen=True)
class TaskRecord:
    """How a task went in one execution.

    Attributes:
        number: 1 to 30.
        status: A task that was started and never finished is `interrupted`.
        mode: `run` or `check first`; empty for a task that was blocked, as it was never started.
        seconds: How long it took, by a clock that nobody sets; None when it never finished.
        summary: One line of evidence.
        details: The full evidence.
        reason: If it had to act, what it had found missing; if it was skipped or blocked, the reason.
        what: If it failed, one sentence that says what was expected and what was found.
        where_to_look: If it failed, a file or an address that tells more.
        hint: If it failed, the next step.
        started_at: UTC, ISO 8601; empty when it was never started.
        finished_at: UTC, ISO 8601; empty when it never finished.
    """

    number: int
    status: Status = Status.INTERRUPTED
    mode: str = ""
    seconds: float | None = None
    summary: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    what: str = ""
    where_to_look: str = ""
    hint: str = ""
    started_at: str = ""
    finished_at: str = ""


@dataclass(frozen=True)
class ExecutionRecord:
    """One execution.

    Attributes:
        id: Its id.
        origin: The id of the execution that it goes on from, through all resumptions; its own if it is a fresh one.
        command: What the user typed.
        started_at: UTC, ISO 8601.
        log: The path of its log.
        plan: For each task number the mode that was planned.
        tasks: Those that were started, blocked or finished, in the order of the records.
        status: `passed`, `failed` or `interrupted`; None if it never came to its end, which is an interruption too.
        exit_code: None if it never came to its end.
        pid: The process that began it.
        settings: `key=value` for each setting that its command line gave, or that it took over from the one before;
            if they were refused, what was accepted last.
    """

    id: str
    origin: str
    command: str = ""
    started_at: str = ""
    log: str = ""
    plan: Mapping[int, str] = field(default_factory=dict)
    tasks: Mapping[int, TaskRecord] = field(default_factory=dict)
    status: str | None = None
    exit_code: int | None = None
    pid: int = 0
    settings: tuple[str, ...] = ()

    @property
    def interrupted(self) -> bool:
        """Whether it was ended before its end: by Ctrl-C, by SIGTERM, or without a word (a kill, a power failure)."""
        return self.status in (None, "interrupted")

    @property
    def accepted_settings(self) -> bool:
        """Whether its settings were judged, and were good: no task of the platform is begun before."""
        return any(task.started_at for number, task in self.tasks.items() if number > _JUDGED_AFTER)

    def passed(self, number: int) -> bool:
        """Whether this execution proved the task."""
        return number in self.tasks and self.tasks[number].status.passed


def last_execution(path: Path) -> ExecutionRecord | None:
    """The execution that was started last, None if there was none.

    Raises:
        JournalDamaged: The journal cannot be read.
    """
    known = executions(journal.read(path)) if path.exists() else []
    return known[-1] if known else None


def remembered(workspace: Workspace) -> tuple[str, ...]:
    """`key=value` for each setting that the last execution's command line gave, or took over.

    Raises:
        JournalDamaged: The journal cannot be read.
    """
    last = last_execution(workspace.journal)
    return last.settings if last else ()


def executions(records: Iterable[Mapping[str, Any]]) -> list[ExecutionRecord]:
    """The executions in the order in which they were started.

    Records of kinds that are not known here are passed over, as are those of an execution whose start is in an
    older journal.
    """
    found: dict[str, ExecutionRecord] = {}
    tasks: dict[str, dict[int, TaskRecord]] = {}
    for record in records:
        execution = str(record.get("execution", ""))
        if record["kind"] == "execution started":
            tasks[execution] = {}
            found[execution] = _started(record, tasks[execution])
        elif execution not in found:
            continue
        elif record["kind"] == "task started":
            number = record["task"]
            tasks[execution][number] = TaskRecord(number, mode=record.get("mode", ""), started_at=record["at"])
        elif record["kind"] == "task finished":
            number = record["task"]
            tasks[execution][number] = _finished(tasks[execution].get(number, TaskRecord(number)), record)
        elif record["kind"] == "settings refused":
            found[execution] = replace(found[execution], settings=tuple(record["settings"]))
        elif record["kind"] == "execution finished":
            found[execution] = replace(found[execution], status=record["status"], exit_code=record.get("exit_code"))
    return list(found.values())


def _started(record: Mapping[str, Any], tasks: Mapping[int, TaskRecord]) -> ExecutionRecord:
    return ExecutionRecord(
        id=record["execution"],
        origin=record.get("origin") or record["execution"],
        command=record.get("command", ""),
        started_at=record["at"],
        log=record.get("log", ""),
        plan={int(number): mode for number, mode in record.get("plan", {}).items()},
        tasks=tasks,
        pid=record.get("pid", 0),
        settings=tuple(record.get("settings", ())),
    )


def _finished(task: TaskRecord, record: Mapping[str, Any]) -> TaskRecord:
    return replace(
        task,
        status=Status(record["status"]),
        seconds=record.get("seconds"),
        summary=record.get("summary", ""),
        details=record.get("details", record.get("facts", {})),
        reason=record.get("reason", record.get("why", "")),
        what=record.get("what", ""),
        where_to_look=record.get("where_to_look", ""),
        hint=record.get("hint", record.get("what_to_do", "")),
        finished_at=record["at"],
    )
