"""Deploys a flow to the work pool, with `flow.deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint.config.settings import Settings
from blueprint.core.errors import ApiError
from blueprint.prefect_adapter.client import asking
from blueprint.prefect_adapter.desired_state import MADE_BY, desired_deployment
from blueprint.prefect_adapter.flow_definition import describe, folder_of
from blueprint.prefect_adapter.schedules import prefect_schedule

if TYPE_CHECKING:
    from prefect import Flow


def terms(flow: Flow[..., Any], settings: Settings, root: Path) -> dict[str, Any]:
    """Return the arguments with which a flow is deployed or served."""
    return {
        "name": settings.deployment,
        "schedule": prefect_schedule(settings),
        "parameters": dict(settings.parameters),
        "tags": list(settings.tags),
        "version": desired_deployment(describe(flow), settings, root).version,
        "description": MADE_BY,
        "enforce_parameter_schema": True,
    }


def deploy(flow: Flow[..., Any], settings: Settings, root: Path, *, scheduled: bool) -> str:
    """Register the deployment with `flow.deploy` and return its id; one of the same name is updated and keeps its id.

    Loads the user's code, so it belongs into the main thread of a process of its own.

    Raises:
        ApiError: The server refused it.
    """
    from prefect import Flow
    from prefect.deployments.runner import DeploymentApplyError

    arguments = terms(flow, settings, root) | ({} if scheduled else {"schedule": None})

    def question() -> object:
        source = Flow.from_source(source=str(folder_of(settings, root)), entrypoint=settings.entrypoint)
        return source.deploy(  # type: ignore[union-attr]
            **arguments,
            work_pool_name=settings.pool,
            build=False,
            push=False,
            paused=False,
            concurrency_limit=settings.concurrency_limit,
            job_variables={},
            print_next_steps=False,
            ignore_warnings=True,
        )

    full_name = f"{flow.name}/{settings.deployment}"
    try:
        return str(asking(f"deploy {full_name}", question))
    except DeploymentApplyError as error:
        raise ApiError(
            f"The server refused the deployment {full_name}: {error}",
            "Correct what it says in [tool.blueprint] or in the flow, then run again.",
            "logs/server.log",
        ) from error
