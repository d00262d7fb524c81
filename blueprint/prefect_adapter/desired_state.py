"""The deployment that settings and code describe, and how the server's differs from it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blueprint.config.defaults import MADE_BY as MADE_BY
from blueprint.config.settings import Settings
from blueprint.prefect_adapter.flow_definition import FlowDefinition, folder_of
from blueprint.prefect_adapter.models import Deployment
from blueprint.prefect_adapter.schedules import same_rrule, schedule_definition


@dataclass(frozen=True)
class DesiredDeployment:
    """The deployment that the settings and the flow's code describe."""

    flow_name: str
    name: str
    entrypoint: str
    folder: str
    pool: str | None
    parameters: Mapping[str, Any]
    schema: Mapping[str, Any]
    tags: frozenset[str]
    version: str
    schedule: Mapping[str, Any] | None
    concurrency_limit: int | None

    def differences(self, found: Deployment) -> list[str]:
        """Return what is different on the server, a text for each."""
        directories = [
            step["prefect.deployments.steps.set_working_directory"]["directory"]
            for step in found.pull_steps
            if "prefect.deployments.steps.set_working_directory" in step
        ]
        schedules = [schedule.definition for schedule in found.schedules if schedule.active]
        pairs: list[tuple[str, object, object]] = [
            ("entrypoint", self.entrypoint, found.entrypoint),
            ("work pool", self.pool, found.pool),
            ("parameters", dict(self.parameters), dict(found.parameters)),
            ("parameter schema", _without_empty(self.schema), _without_empty(found.schema)),
            ("tags", sorted(self.tags), sorted(found.tags)),
            ("version", self.version, found.version),
            ("enforces its schema", True, found.enforces_schema),
            ("paused", False, found.paused),
            ("concurrency limit", self.concurrency_limit, found.concurrency_limit),
            ("job variables", {}, dict(found.job_variables)),
            ("number of active schedules", 1 if self.schedule else 0, len(schedules)),
        ]
        if self.pool:
            pairs.append(("folder", [self.folder], directories))
        if self.schedule and len(schedules) == 1:
            pairs += [(f"schedule's {key}", value, schedules[0].get(key)) for key, value in self.schedule.items()]
            pairs = [pair for pair in pairs if pair[0] != "schedule's rrule" or not same_rrule(pair[1], pair[2])]
        return [f"{what} is {have!r}, not {want!r}" for what, want, have in pairs if want != have]


def desired_deployment(flow: FlowDefinition, settings: Settings, root: Path) -> DesiredDeployment:
    """Describe the deployment that is to be made from the project folder `root`."""
    content = flow.file.read_bytes() if flow.file.is_file() else settings.entrypoint.encode()
    served = f"{os.path.relpath(flow.file, root)}:{flow.function}"  # Prefect names a served flow by its file
    return DesiredDeployment(
        flow_name=flow.name,
        name=settings.deployment,
        entrypoint=served if settings.serves else settings.entrypoint,
        folder=str(folder_of(settings, root)),
        pool=None if settings.serves else settings.pool,
        parameters=settings.parameters,
        schema=flow.schema,
        tags=frozenset(settings.tags),
        version=hashlib.sha256(content).hexdigest()[:12],
        schedule=schedule_definition(settings),
        concurrency_limit=settings.concurrency_limit,
    )


def _without_empty(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema as the server keeps it: without what is empty."""
    return {key: value for key, value in schema.items() if value not in ([], {}, None)}
