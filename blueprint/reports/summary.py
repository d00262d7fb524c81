"""The last lines of an execution: counts, failures, files to look at, and the next command.

Standard library only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from blueprint.core.task import Status
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


def lines(ending: Ending, log: Path, root: Path, *, url: str = "") -> list[str]:
    """Return the last lines for the terminal and the log."""
    counts = ", ".join(f"{count} {status}" for status, count in ending.counts.items())
    tasks = len(ending.plan.planned)
    skipped = ending.counts.get(Status.SKIPPED.value, 0)
    number = f"{tasks - skipped} of {tasks}" if ending.passed and skipped else str(tasks)  # skipped is not proven
    outcome = "interrupted" if ending.interrupted else "proven" if ending.passed else "FAILED"
    text = ["", f"{number} tasks {outcome} in {ending.seconds:.1f} s: {counts or 'none reached'}."]
    failed = [number for number, status in sorted(ending.statuses.items()) if status is Status.FAILED]
    if failed:
        text.append(
            "Failed: " + "; ".join(f"{number} {ending.plan.by_number[number].spec.title}" for number in failed) + "."
        )
    shown = _short(log, root)
    text.append(f"Log: {shown}   Record: {shown.with_suffix('.json')}   Journal: .blueprint/journal.jsonl")
    if ending.passed and url:
        text.append(f"Platform: {url}   Try: .venv/bin/prefect deployment ls   Stop: python run_blueprint.py stop")
    if not ending.passed:
        text.append("To go on: python run_blueprint.py --resume")
    return text


def _short(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
