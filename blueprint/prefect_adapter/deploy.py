"""Deploys a flow to the work pool, with `flow.deploy`."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from blueprint.config.settings import Settings
from blueprint.core.task import TaskFailed
from blueprint.prefect_adapter.client import asking
from blueprint.prefect_adapter.desired_state import MADE_BY, desired_deployment
from blueprint.prefect_adapter.schedules import prefect_schedule


def deploy(settings: Settings, root: Path, *, scheduled: bool = True) -> str:
    """Register the deployment with `flow.deploy`; one of the same name is updated and keeps its id.

    Args:
        settings: Of the deployment.
        root: The project folder.
        scheduled: Whether with its schedule.

    Returns:
        The deployment's id.
    """
    from prefect import Flow
    from prefect.deployments.runner import DeploymentApplyError

    target = desired_deployment(settings, root)

    def question() -> object:
        with contextlib.redirect_stdout(io.StringIO()):
            flow = Flow.from_source(source=target.folder, entrypoint=target.entrypoint)
            return flow.deploy(  # type: ignore[union-attr]
                name=target.name,
                work_pool_name=settings.pool,
                build=False,
                push=False,
                schedule=prefect_schedule(settings) if scheduled else None,
                paused=False,
                concurrency_limit=settings.concurrency_limit,
                job_variables=dict(target.job_variables),
                parameters=dict(settings.parameters),
                tags=list(settings.tags),
                version=target.version,
                description=MADE_BY,
                enforce_parameter_schema=True,
                print_next_steps=False,
                ignore_warnings=True,
            )

    try:
        return str(asking(f"deploy {target.flow_name}/{target.name}", question))
    except DeploymentApplyError as error:
        raise TaskFailed(
            f"The server refused the deployment {target.flow_name}/{target.name}: {error}",
            where_to_look="logs/server.log",
            hint="Correct what it says in [tool.blueprint] or in the flow, then run again.",
        ) from error
