"""How a task ended, judged from what its function returned or raised.

Standard library only.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from blueprint.core.errors import BlueprintError, ExitCode
from blueprint.core.task import Evidence, Status, TaskFailed, TaskSkipped, TaskStopped

_PASSIVE = {
    Status.FAILED: "failed",
    Status.BLOCKED: "was not run",
    Status.INTERRUPTED: "was interrupted",
}


@dataclass(frozen=True)
class TaskOutcome:
    """What is recorded of a task's end.

    Attributes:
        status: How it ended.
        summary: One line, whatever the status: the evidence, or the reason.
        details: The full evidence, or what was read before it failed.
        reason: If it had to act, what it had found missing.
        where_to_look: If it failed, a file or an address that tells more.
        hint: If it failed, the next step.
        exit_code: What this end alone would make the program's exit status.
    """

    status: Status
    summary: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    where_to_look: str = ""
    hint: str = ""
    exit_code: ExitCode = ExitCode.PROVEN

    def as_record(self) -> dict[str, Any]:
        """The fields of `task finished`, without number and seconds; those of a failure only if it is one."""
        fields = {
            "status": self.status.value,
            "summary": self.summary,
            "details": dict(self.details),
            "reason": self.reason,
        }
        if self.status is Status.FAILED:
            fields |= {"what": self.summary, "where_to_look": self.where_to_look, "hint": self.hint}
        return fields


def returned(value: object) -> TaskOutcome:
    """The verdict on a task that returned `value`: passed if it is evidence, else the task itself is wrong."""
    if not isinstance(value, Evidence):
        return _bug(f"It returned {type(value).__name__} instead of evidence.", {})
    status = Status.CHANGED if value.changed else Status.OK
    return TaskOutcome(status, value.summary, value.details, value.reason)


def raised(error: BaseException) -> TaskOutcome:
    """The verdict on a task that raised, while nobody had told it to stop."""
    match error:
        case TaskSkipped():
            return TaskOutcome(Status.SKIPPED, str(error))
        case TaskFailed():
            return TaskOutcome(
                Status.FAILED,
                error.what,
                error.details,
                where_to_look=error.where_to_look,
                hint=error.hint,
                exit_code=ExitCode.TASK_FAILED,
            )
        case TaskStopped():
            return TaskOutcome(Status.FAILED, str(error) or "It gave up.", exit_code=ExitCode.TASK_FAILED)
        case BlueprintError():
            return TaskOutcome(
                Status.FAILED,
                error.what,
                error.details,
                where_to_look=error.where_to_look,
                hint=error.hint,
                exit_code=error.exit_code,
            )
        case _:
            text = "".join(traceback.format_exception(error))
            return _bug(f"{type(error).__name__}: {error}", {"traceback": text})


def too_long(seconds: float, waiting_for: str) -> TaskOutcome:
    """The verdict on a task that did not end within its deadline; `waiting_for` is the last thing it told."""
    was = f"; it was waiting for: {waiting_for}" if waiting_for else ""
    return TaskOutcome(Status.FAILED, f"It did not end within {seconds:g} s{was}.", exit_code=ExitCode.TASK_FAILED)


def interrupted(waiting_for: str) -> TaskOutcome:
    """The verdict on a task that was at work when the execution was interrupted."""
    was = f", while it was waiting for: {waiting_for}" if waiting_for else ""
    return TaskOutcome(Status.INTERRUPTED, f"interrupted{was}", exit_code=ExitCode.INTERRUPTED)


def blocked(need: int, status: Status) -> TaskOutcome:
    """The verdict on a task that was not run, because task `need` ended with `status`."""
    return TaskOutcome(Status.BLOCKED, f"needs task {need}, which {_PASSIVE[status]}", exit_code=ExitCode.TASK_FAILED)


def _bug(what: str, details: Mapping[str, Any]) -> TaskOutcome:
    return TaskOutcome(
        Status.FAILED,
        what,
        details,
        where_to_look="the journal, where the traceback is kept with this task" if details else "the task's code",
        hint="This is a bug in the task; please report it with the traceback.",
        exit_code=ExitCode.BUG,
    )
