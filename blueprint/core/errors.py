"""Expected errors and the exit code of each.

Whatever else reaches the error boundary in `blueprint.cli.main` is a bug and exits with `ExitCode.BUG`.
Standard library only: this module is imported before anything is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """Meaning of the process's exit status."""

    PROVEN = 0
    TASK_FAILED = 1
    USAGE = 2
    BUG = 3
    ENVIRONMENT = 4
    INTERRUPTED = 130
    TERMINATED = 143


class BlueprintError(Exception):
    """Expected error: one sentence about what happened and one about what to do next."""

    exit_code = ExitCode.ENVIRONMENT

    def __init__(
        self, what: str, hint: str = "", where_to_look: str = "", details: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(what, hint, where_to_look)
        self.what = what  # was expected, and what was found
        self.hint = hint
        self.where_to_look = where_to_look  # a file or an address that tells more
        self.details = dict(details or {})  # read before it failed; JSON values, kept in the journal

    def __str__(self) -> str:
        return f"{self.what} {self.hint}".strip()


class UsageError(BlueprintError):
    """Unusable arguments or configuration; names the offender and what is accepted."""

    exit_code = ExitCode.USAGE


class EnvironmentRefused(BlueprintError):
    """The machine does not allow it: a port, the lock, the disk, Python, a file damaged by a crash."""


class SetupError(BlueprintError):
    """The program's files, the virtual environment or its packages could not be brought into order."""

    exit_code = ExitCode.TASK_FAILED


class ApiError(BlueprintError):
    """Prefect's API refused a request, or could not be asked."""

    exit_code = ExitCode.TASK_FAILED


class ProcessError(BlueprintError):
    """A process could not be started or ended, or died."""

    exit_code = ExitCode.TASK_FAILED


class TimedOut(BlueprintError):
    """Something that was waited for did not happen in time."""

    exit_code = ExitCode.TASK_FAILED


class FlowError(BlueprintError):
    """The user's flow or check could not be loaded or run, or refused what it was asked."""

    exit_code = ExitCode.TASK_FAILED
