"""Outcomes of tasks, derived from what their functions returned or raised. Standard library only."""

from __future__ import annotations

import traceback
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blueprint.core.errors import BlueprintError, ExitCode
from blueprint.core.task import Evidence, Status, TaskSkipped, TaskStopped

_PASSIVE = {
    Status.FAILED: "failed",
    Status.BLOCKED: "was not run",
    Status.INTERRUPTED: "was interrupted",
}
_WORST_CODES = (
    *(ExitCode.BUG, ExitCode.INTERRUPTED, ExitCode.ENVIRONMENT, ExitCode.USAGE),
    *(ExitCode.TASK_FAILED, ExitCode.PROVEN),
)
_WORST_FIRST = (Status.FAILED, Status.INTERRUPTED, Status.BLOCKED, Status.CHANGED, Status.OK, Status.SKIPPED)


@dataclass(frozen=True)
class TaskOutcome:
    """Outcome of a task; where to look and the hint are those of a failure."""

    status: Status
    summary: str = ""  # one line, whatever the status: the evidence, or why there is none
    details: Mapping[str, Any] = field(default_factory=dict)  # the evidence, or what was read before it failed
    reason: str = ""  # if it had to act, what it had found missing
    where_to_look: str = ""
    hint: str = ""
    exit_code: ExitCode = ExitCode.PROVEN  # the program's, if this were the only outcome

    def as_record(self) -> dict[str, Any]:
        """Return the values as the journal keeps them; those of a failure only if it is one."""
        fields: dict[str, Any] = {
            "status": self.status.value,
            "summary": self.summary,
            "details": dict(self.details),
            "reason": self.reason,
        }
        if self.status is Status.FAILED:
            fields |= {"where_to_look": self.where_to_look, "hint": self.hint}
        return fields


NEVER_ENDED = TaskOutcome(Status.INTERRUPTED)


def returned(value: object) -> TaskOutcome:
    """Return the outcome of a task that returned `value`: passed if it is evidence, else the task itself is wrong."""
    if not isinstance(value, Evidence):
        return _bug(f"It returned {type(value).__name__} instead of evidence.", {})
    status = Status.CHANGED if value.changed else Status.OK
    return TaskOutcome(status, value.summary, value.details, value.reason)


def raised(error: BaseException) -> TaskOutcome:
    """Return the outcome of a task that raised, while nobody had told it to stop."""
    match error:
        case TaskSkipped():
            return TaskOutcome(Status.SKIPPED, str(error))
        case BlueprintError(what=what, details=details, where_to_look=place, hint=hint, exit_code=code):
            return TaskOutcome(Status.FAILED, what, details, "", place, hint, code)
        case TaskStopped():
            return TaskOutcome(Status.FAILED, str(error) or "It gave up.", exit_code=ExitCode.TASK_FAILED)
        case _:
            text = "".join(traceback.format_exception(error))
            return _bug(f"{type(error).__name__}: {error}", {"traceback": text})


def timed_out(seconds: float, waiting_for: str) -> TaskOutcome:
    """Return the outcome of a task that did not end in time; `waiting_for` is the last thing that it told."""
    return TaskOutcome(
        Status.FAILED, f"Timed out after {seconds:g} s{_waited(waiting_for)}.", exit_code=ExitCode.TASK_FAILED
    )


def interrupted(waiting_for: str) -> TaskOutcome:
    """Return the outcome of a task that was at work when the execution was interrupted."""
    return TaskOutcome(Status.INTERRUPTED, f"interrupted{_waited(waiting_for)}", exit_code=ExitCode.INTERRUPTED)


def _waited(waiting_for: str) -> str:
    return f" while waiting for: {waiting_for}" if waiting_for else ""


def blocked(need: str, status: Status) -> TaskOutcome:
    """Return the outcome of a task that was not run, because what it needs ended with `status`."""
    return TaskOutcome(Status.BLOCKED, f"needs {need}, which {_PASSIVE[status]}", exit_code=ExitCode.TASK_FAILED)


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """Return the code of several that says most: of a bug first, of success last."""
    return min(codes, key=_WORST_CODES.index)


def combine(outcomes: Mapping[str | None, TaskOutcome]) -> TaskOutcome:
    """Combine the outcomes of a task's deployments, by their labels, and of their shared part, by None, into one."""
    shared = outcomes.get(None)
    deployments = {label: outcome for label, outcome in outcomes.items() if label is not None}
    if shared is not None and (not deployments or not shared.status.passed):
        return shared
    own = next(iter(deployments.values())) if len(deployments) == 1 else _of_deployments(deployments)
    if shared is None or not own.status.passed or own.status is Status.SKIPPED:
        return own
    return TaskOutcome(
        Status.CHANGED if Status.CHANGED in (shared.status, own.status) else Status.OK,
        "; ".join(filter(None, (shared.summary, own.summary))),
        {**shared.details, **own.details},
        "; ".join(filter(None, (shared.reason, own.reason))),
    )


def _of_deployments(outcomes: Mapping[str, TaskOutcome]) -> TaskOutcome:
    statuses = {outcome.status for outcome in outcomes.values()}
    status = next(status for status in _WORST_FIRST if status in statuses)
    details = {"deployments": {label: outcome.as_record() for label, outcome in outcomes.items()}}
    if status is Status.SKIPPED:
        return TaskOutcome(status, _once({label: outcome.summary for label, outcome in outcomes.items()}), details)
    told = {
        label: f"skipped, {outcome.summary}" if outcome.status is Status.SKIPPED else outcome.summary
        for label, outcome in outcomes.items()
    }
    if status.passed:
        reasons = {label: outcome.reason for label, outcome in outcomes.items() if outcome.reason}
        return TaskOutcome(status, _listed(told), details, _once(reasons))
    failing = {label: outcome for label, outcome in outcomes.items() if not outcome.status.passed}
    passed = ", ".join(label for label in outcomes if label not in failing)
    return TaskOutcome(
        status,
        _listed({label: told[label] for label in failing}) + (f" Passed: {passed}." if passed else ""),
        details,
        where_to_look=_different("; ", [outcome.where_to_look for outcome in failing.values()]),
        hint=_different(" ", [outcome.hint for outcome in failing.values()]),
        exit_code=worst(outcome.exit_code for outcome in failing.values()),
    )


def _listed(texts: Mapping[str, str]) -> str:
    return "; ".join(f"{label}: {text}" for label, text in texts.items())


def _once(texts: Mapping[str, str]) -> str:
    """Return a text that all share once, else each with its label."""
    same = set(texts.values())
    return same.pop() if len(same) == 1 and len(texts) > 1 else _listed(texts)


def _different(between: str, texts: Iterable[str]) -> str:
    return between.join(dict.fromkeys(filter(None, texts)))


def _bug(what: str, details: Mapping[str, Any]) -> TaskOutcome:
    return TaskOutcome(
        Status.FAILED,
        what,
        details,
        where_to_look="the journal, where the traceback is kept with this task" if details else "the task's code",
        hint="This is a bug in the task; please report it with the traceback.",
        exit_code=ExitCode.BUG,
    )
