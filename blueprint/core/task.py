"""Tasks: a task is a function that returns evidence, or raises the reason why it cannot.

Standard library only: tasks 1 to 4 run before anything is installed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from blueprint.core.errors import BlueprintError, ExitCode

PHASES = {1: "Local setup", 2: "Orchestration and deployment", 3: "Monitoring and triggering"}


class Scope(StrEnum):
    """Extent of a task: the platform as a whole, or each deployment."""

    PLATFORM = "platform"  # carried out once
    DEPLOYMENT = "deployment"  # carried out for each deployment


class Stage(StrEnum):
    """Packages that a task needs before it can be called."""

    SYSTEM = "system"  # any Python
    BARE = "bare"  # the environment's Python, with nothing installed yet
    INSTALLED = "installed"  # the locked set


@dataclass(frozen=True)
class TaskSpec:
    """Description of a task."""

    number: int
    title: str
    phase: int
    timeout: float  # seconds that it may take
    proof: str  # the effect that it reads back from the system
    needs: tuple[int, ...] = ()  # the tasks whose effect must hold before this one can start
    scope: Scope = Scope.PLATFORM
    stage: Stage = Stage.INSTALLED
    local_runs: int = 0  # awaited runs of the flow that run as plain processes
    pool_runs: int = 0  # awaited runs of the deployment; they may have to queue
    uses_prefect: bool = True  # imported in the executor's process


class Status(StrEnum):
    """Result of a task in one word."""

    OK = "ok"  # proven; its effect was already there
    CHANGED = "changed"  # proven; it had to act
    SKIPPED = "skipped"  # nothing to prove in this configuration
    FAILED = "failed"
    BLOCKED = "blocked"  # not run, because something it needs failed
    INTERRUPTED = "interrupted"

    @property
    def passed(self) -> bool:
        """Tell whether tasks that need this one may run."""
        return self in (Status.OK, Status.CHANGED, Status.SKIPPED)


@dataclass(frozen=True)
class Evidence:
    """Proof that a task read back from the running system."""

    summary: str  # one line
    details: Mapping[str, Any] = field(default_factory=dict)  # for the journal; JSON values only, never a secret
    changed: bool = False  # whether the task had to act
    reason: str = ""  # if so, what it had found missing or no longer true


class TaskFailed(BlueprintError):
    """The task could not be proven."""

    exit_code = ExitCode.TASK_FAILED


class TaskSkipped(Exception):
    """There is nothing to prove in this configuration; the message says why."""


class TaskStopped(Exception):
    """The execution was interrupted or the deadline passed while the task was at work."""


@dataclass
class TaskControl:
    """Deadline, stop signal and progress messages of a running task."""

    number: int
    deadline: float  # on the `clock`, the second by which the task must have returned
    stopped: threading.Event = field(default_factory=threading.Event)  # set when the task must end at once
    tell: Callable[[str], None] = lambda _text: None  # receives each text given to `waiting`
    clock: Callable[[], float] = time.monotonic

    def remaining(self) -> float:
        """Return the seconds until the deadline, never below zero."""
        return max(0.0, self.deadline - self.clock())

    def waiting(self, condition: str) -> None:
        """Tell the user what the task waits for now."""
        self.tell(condition)

    def pause(self, seconds: float) -> None:
        """Wait, but raise `TaskStopped` at once when the task must stop."""
        if self.stopped.wait(min(seconds, self.remaining())):
            raise TaskStopped("interrupted")
        if self.remaining() <= 0:
            raise TaskStopped("deadline passed")


def within(seconds: float) -> TaskControl:
    """Return a control for work outside an execution, such as `stop`, with so many seconds."""
    return TaskControl(number=0, deadline=time.monotonic() + seconds)
