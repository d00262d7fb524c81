"""The end of an execution: its last lines, and the JSON record of its events beside its log.

Standard library only.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blueprint.core.files import write_whole
from blueprint.core.task import Status
from blueprint.execution.history import ExecutionRecord
from blueprint.execution.plan import Plan

_ORDER = (Status.OK, Status.CHANGED, Status.SKIPPED, Status.FAILED, Status.BLOCKED, Status.INTERRUPTED)


@dataclass(frozen=True)
class Ending:
    """Result of an execution as a whole."""

    plan: Plan
    statuses: Mapping[int, Status]
    seconds: float
    interrupted: bool

    @property
    def counts(self) -> dict[str, int]:
        """Number of tasks by status; `not reached` for those that an interruption left out."""
        counted = Counter(self.statuses.values())
        counts = {status.value: counted[status] for status in _ORDER if counted[status]}
        missing = len([number for number in self.plan.planned if number not in self.statuses])
        return counts | ({"not reached": missing} if missing else {})

    @property
    def passed(self) -> bool:
        """Tell whether every planned task was proven, or skipped for a reason."""
        return not self.interrupted and all(
            number in self.statuses and self.statuses[number].passed for number in self.plan.planned
        )


def lines(ending: Ending, log: Path, root: Path, *, url: str = "", password: Path | None = None) -> list[str]:
    """Return the last lines for the terminal and the log; a generated `password` is named by its file."""
    counts = ", ".join(f"{count} {status}" for status, count in ending.counts.items())
    tasks = len(ending.plan.planned)
    skipped = ending.counts.get(Status.SKIPPED.value, 0)
    number = f"{tasks - skipped} of {tasks}" if ending.passed and skipped else str(tasks)  # skipped is not proven
    outcome = "interrupted" if ending.interrupted else "proven" if ending.passed else "FAILED"
    text = ["", f"{number} tasks {outcome} in {ending.seconds:.1f} s: {counts or 'none reached'}."]
    specs = [ending.plan.by_number[number].spec for number in sorted(ending.statuses)]
    failed = [f"{spec.number} {spec.title}" for spec in specs if ending.statuses[spec.number] is Status.FAILED]
    if failed:
        text.append(f"Failed: {'; '.join(failed)}.")
    shown = log.relative_to(root) if log.is_relative_to(root) else log
    text.append(f"Log: {shown}   Record: {shown.with_suffix('.json')}   Journal: .blueprint/journal.jsonl")
    if ending.passed and url:
        text.append(f"Platform: {url}   Try: .venv/bin/prefect deployment ls   Stop: python run_blueprint.py stop")
        if password:
            shown = password.relative_to(root)
            text.append(f"Its UI asks for the password in {shown}, which `run_blueprint.py verify --password` shows.")
    if not ending.passed:
        text.append("To go on: python run_blueprint.py --resume")
    return text


def write_record(execution: ExecutionRecord, titles: Mapping[int, str], settings: Sequence[str]) -> None:
    """Write the record of a finished execution, whose events have lost their secrets already, beside its log.

    Args:
        execution: Its events.
        titles: The tasks' titles by their numbers.
        settings: `key=value` for each setting of a command line, without secrets.
    """
    document = {
        "id": execution.id,
        "origin": execution.origin,
        "command": execution.started.command,
        "started_at": execution.started_at,
        "log": execution.started.log,
        "plan": dict(execution.plan),
        "tasks": [{"title": titles[number], **task.as_record()} for number, task in sorted(execution.tasks.items())],
        "status": execution.status,
        "exit_code": execution.exit_code,
        "pid": execution.started.pid,
        "settings": list(settings),
    }
    path = Path(execution.started.log).with_suffix(".json")
    write_whole(path, json.dumps(document, indent=1, default=str) + "\n")
