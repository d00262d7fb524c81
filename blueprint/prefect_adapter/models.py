"""The server's answers, as frozen records of our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Pool:
    """A work pool as the server has it."""

    name: str
    type: str
    paused: bool
    concurrency_limit: int | None
    status: str


@dataclass(frozen=True)
class Schedule:
    """One schedule of a deployment; `definition` is Prefect's own: cron, interval or rrule with its time zone."""

    active: bool
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class Deployment:
    """A deployment as the server has it."""

    id: str
    name: str
    entrypoint: str | None
    pull_steps: Sequence[Mapping[str, Any]]
    pool: str | None
    parameters: Mapping[str, Any]
    schema: Mapping[str, Any]
    enforces_schema: bool
    version: str | None
    description: str | None
    tags: frozenset[str]
    schedules: tuple[Schedule, ...]
    paused: bool
    status: str
    concurrency_limit: int | None
    job_variables: Mapping[str, Any]


@dataclass(frozen=True)
class Transition:
    """A state that a run was in.

    Attributes:
        at: Since when.
        scheduled: For which moment it put the run off, if it did.
    """

    type: str
    name: str
    at: datetime
    message: str
    scheduled: datetime | None = None


@dataclass(frozen=True)
class Run:
    """A flow run or a task run as the server has it.

    Attributes:
        worker: The name of the worker that took the flow run; None if none did, or has not said so yet.
        pid: The number of the process that the worker started for it, on the worker's machine.
    """

    id: str
    name: str
    type: str
    state: str
    message: str
    parameters: Mapping[str, Any]
    tags: frozenset[str]
    deployment_id: str | None
    created: datetime | None
    expected_start: datetime | None
    worker: str | None = None
    pid: int | None = None

    @property
    def is_final(self) -> bool:
        """Tell whether the run has ended, well or not."""
        return self.type in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
