"""The plan of an execution: the tasks that it runs, checks first or leaves out, and why. Standard library only."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from graphlib import TopologicalSorter
from typing import TypeVar

from blueprint.core.task import TaskSpec
from blueprint.execution.history import ExecutionRecord

K = TypeVar("K", bound=Hashable)


class Mode(StrEnum):
    """Treatment of a task; `CHECK` runs the same function as `RUN`, only the reporting differs."""

    RUN = "run"
    CHECK = "check first"
    NOT_NEEDED = "not needed"


@dataclass(frozen=True)
class PlannedTask:
    """A task with its mode and the reason, in words that can follow "because"."""

    spec: TaskSpec
    mode: Mode
    reason: str


@dataclass(frozen=True)
class Plan:
    """Mode and reason of every task in an execution, by number."""

    tasks: tuple[PlannedTask, ...]
    origin: str | None = None  # the id of the execution that this one goes on from

    @cached_property
    def by_number(self) -> Mapping[int, PlannedTask]:
        """Each task by its number."""
        return {task.spec.number: task for task in self.tasks}

    @cached_property
    def to_run(self) -> tuple[int, ...]:
        """The tasks that were asked for; if none is left, each task's reason says why."""
        return tuple(task.spec.number for task in self.tasks if task.mode is Mode.RUN)

    @cached_property
    def planned(self) -> tuple[int, ...]:
        """The tasks whose functions are called: those that run and those that are checked first."""
        return tuple(task.spec.number for task in self.tasks if task.mode is not Mode.NOT_NEEDED)

    def as_record(self) -> dict[str, str]:
        """Return each number with its mode, as the journal keeps it."""
        return {str(task.spec.number): task.mode.value for task in self.tasks}


def make_plan(
    specs: Sequence[TaskSpec],
    *,
    phase: int | None = None,
    resume_from: int | None = None,
    resume: ExecutionRecord | None = None,
) -> Plan:
    """Plan an execution; with no arguments, of all tasks.

    Args:
        specs: The tasks, by number.
        phase: Only this phase; what it needs from before is checked first.
        resume_from: Only this task and those after it; what they need from before is checked first.
        resume: The last execution. Alone: go on with what it was asked for and did not pass. With `resume_from`:
            only its origin is taken over.
    """
    origin = resume.origin if resume else None
    left_out: Mapping[int, str]
    if phase is not None:
        asked = {spec.number: f"phase {phase}" for spec in specs if spec.phase == phase}
        left_out = {spec.number: f"not part of phase {phase}" for spec in specs}
    elif resume_from is not None:
        asked = {spec.number: f"from task {resume_from} on" for spec in specs if spec.number >= resume_from}
        left_out = {spec.number: f"before task {resume_from}, and nothing from there needs it" for spec in specs}
    elif resume is not None:
        asked, left_out = _left_by(resume, specs)
    else:
        asked, left_out = {spec.number: "all tasks were asked for" for spec in specs}, {}
    needed_by = _needed_by(specs, asked)
    tasks = []
    for spec in specs:
        number = spec.number
        if number in asked:
            tasks.append(PlannedTask(spec, Mode.RUN, asked[number]))
        elif number in needed_by:
            tasks.append(PlannedTask(spec, Mode.CHECK, f"needed by task {needed_by[number]}"))
        else:
            tasks.append(PlannedTask(spec, Mode.NOT_NEEDED, left_out[number]))
    return Plan(tuple(tasks), origin)


def _left_by(last: ExecutionRecord, specs: Sequence[TaskSpec]) -> tuple[dict[int, str], dict[int, str]]:
    """Return what the last execution was asked to run and did not pass, and the rest, each with the reason."""
    ended = last.tasks
    asked: dict[int, str] = {}
    left_out: dict[int, str] = {}
    for spec in specs:
        number = spec.number
        if last.plan.get(number) != Mode.RUN:
            left_out[number] = "the last execution was not asked for it"
        elif number not in ended:
            asked[number] = "not reached in the last execution"
        elif ended[number].status.passed:
            left_out[number] = "passed in the last execution"
        else:
            asked[number] = f"{ended[number].status.value} in the last execution"
    return asked, left_out


def _needed_by(specs: Sequence[TaskSpec], run: Iterable[int]) -> dict[int, int]:
    """Return the tasks that are needed, directly or not, each with the first task that needs it."""
    by_number = {spec.number: spec for spec in specs}
    needed_by: dict[int, int] = {}
    waiting = sorted(run, reverse=True)
    while waiting:
        number = waiting.pop()
        for need in by_number[number].needs:
            if need not in needed_by:
                needed_by[need] = number
                waiting.append(need)
    return needed_by


def longest_chains(needs: Mapping[K, Iterable[K]], seconds: Mapping[K, float]) -> dict[K, float]:
    """Return for each node its own seconds and those of the longest chain of nodes that must wait for it."""
    chains: dict[K, float] = {}
    behind: dict[K, float] = {}
    for node in reversed(tuple(TopologicalSorter(needs).static_order())):
        chains[node] = seconds[node] + behind.get(node, 0.0)
        for need in needs.get(node, ()):
            behind[need] = max(behind.get(need, 0.0), chains[node])
    return chains
