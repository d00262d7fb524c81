"""The errors that a user is expected to meet, and the exit code of each.

Whatever else reaches the error boundary in `blueprint.cli.main` is a bug and exits with `ExitCode.BUG`.
Standard library only: this module is imported before anything is installed.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process's exit status means."""

    PROVEN = 0
    TASK_FAILED = 1
    USAGE = 2
    BUG = 3
    ENVIRONMENT = 4
    INTERRUPTED = 130
    TERMINATED = 143


class BlueprintError(Exception):
    """An expected error: one sentence that says what happened, and one that says what to do next."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what, hint)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.what} {self.hint}".strip()


class UsageError(BlueprintError):
    """Arguments or configuration that cannot be used: names the offender and what is accepted."""

    exit_code = ExitCode.USAGE


class EnvironmentRefused(BlueprintError):
    """The machine does not allow it: a port, the lock, the disk, Python, a file damaged by a crash."""

    exit_code = ExitCode.ENVIRONMENT
