"""Deployments, and having the server make their scheduled runs."""

from __future__ import annotations

from typing import Any

from blueprint.prefect_adapter.client import asking, client
from blueprint.prefect_adapter.models import Deployment, Schedule


def deployments_named(name: str) -> list[Deployment]:
    """Return all deployments of that name, of whatever flow."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName

    named = DeploymentFilter(name=DeploymentFilterName(any_=[name]))
    found = asking(f"list the deployments named {name!r}", lambda: client().read_deployments(deployment_filter=named))
    return [_deployment(answer) for answer in found]


def deployment(flow_name: str, name: str) -> Deployment | None:
    """Return the deployment `flow_name/name`, or None."""
    from prefect.exceptions import ObjectNotFound

    full = f"{flow_name}/{name}"
    try:
        return _deployment(asking(f"read the deployment {full}", lambda: client().read_deployment_by_name(full)))
    except ObjectNotFound:
        return None


def _deployment(found: Any) -> Deployment:
    schedules = tuple(
        Schedule(bool(entry.active), entry.schedule.model_dump(mode="json", exclude_none=True))
        for entry in found.schedules
    )
    limit = found.global_concurrency_limit.limit if found.global_concurrency_limit else found.concurrency_limit
    return Deployment(
        id=str(found.id),
        name=found.name,
        entrypoint=found.entrypoint,
        pull_steps=tuple(found.pull_steps or ()),
        pool=found.work_pool_name,
        parameters=found.parameters,
        schema=found.parameter_openapi_schema or {},
        enforces_schema=bool(found.enforce_parameter_schema),
        version=found.version,
        description=found.description,
        tags=frozenset(found.tags),
        schedules=schedules,
        paused=bool(found.paused),
        status=str(getattr(found.status, "value", found.status)),
        concurrency_limit=limit,
        job_variables=found.job_variables or {},
    )
