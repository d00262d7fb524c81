"""Deploys a flow to the work pool, with `flow.deploy`."""

from __future__ import annotations

from blueprint.config.settings import Settings
from blueprint.core.errors import ApiError
from blueprint.prefect_adapter.client import asking
from blueprint.prefect_adapter.desired_state import MADE_BY, DesiredDeployment
from blueprint.prefect_adapter.schedules import prefect_schedule


def deploy(target: DesiredDeployment, settings: Settings, *, scheduled: bool) -> str:
    """Register the deployment with `flow.deploy`; one of the same name is updated and keeps its id.

    Loads the user's code, so it belongs into the main thread of a process of its own.

    Args:
        target: The deployment to make.
        settings: Of the deployment.
        scheduled: Whether with its schedule.

    Returns:
        The deployment's id.

    Raises:
        ApiError: The server refused it.
    """
    from prefect import Flow
    from prefect.deployments.runner import DeploymentApplyError

    def question() -> object:
        flow = Flow.from_source(source=target.folder, entrypoint=target.entrypoint)
        return flow.deploy(  # type: ignore[union-attr]
            name=target.name,
            work_pool_name=settings.pool,
            build=False,
            push=False,
            schedule=prefect_schedule(settings) if scheduled else None,
            paused=False,
            concurrency_limit=settings.concurrency_limit,
            job_variables={},
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
        raise ApiError(
            f"The server refused the deployment {target.flow_name}/{target.name}: {error}",
            "Correct what it says in [tool.blueprint] or in the flow, then run again.",
            "logs/server.log",
        ) from error
