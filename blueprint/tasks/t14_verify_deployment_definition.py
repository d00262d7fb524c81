"""Task 14: entrypoint, next fire times, parameters fit, the name is free."""

import dataclasses
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task


@task(
    14,
    "Verify deployment definition",
    needs=(7, 8),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    proof="entrypoint, next fire times, parameters fit, the name is free",
)
def verify_definition(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the definition can be deployed: entrypoint, schedule, default parameters, a free name."""
    from blueprint.config.schedule import fire_times
    from blueprint.tasks.common.deploying import own_deployment

    settings = ctx.settings
    target = ctx.desired_deployment(control)
    problems = ctx.flows.parameter_problems(settings, settings.parameters, control)
    if problems:
        raise TaskFailed(
            f"The default parameters do not fit the flow: {'; '.join(problems)}.",
            where_to_look="pyproject.toml [tool.blueprint] parameters",
            hint="Correct them and run again.",
        )
    own_deployment(ctx, target)
    name = f"{target.flow_name}/{target.name}"
    every = [dataclasses.replace(ctx, settings=own).desired_deployment() for own in ctx.every]
    same = [other.entrypoint for other in every if f"{other.flow_name}/{other.name}" == name]
    if len(same) > 1:  # the second would replace the first
        raise TaskFailed(
            f"{' and '.join(same)} would both be the deployment {name}.",
            where_to_look="pyproject.toml [tool.blueprint] deployments",
            hint="Give each another `deployment` there, or their flows other names, and run again.",
        )
    details: dict[str, Any] = {
        "deployment": name,
        "entrypoint": target.entrypoint,
        "version": target.version,
        "parameters": dict(target.parameters),
        "schedule": dict(target.schedule or {}),
    }
    when = "no schedule"
    if settings.cron:
        times = islice(fire_times(target.schedule or {}, datetime.now(UTC)), 3)
        details["next_fire_times"] = [time.astimezone(ZoneInfo(settings.timezone)).isoformat() for time in times]
        when = f"next at {details['next_fire_times'][0]} ({settings.timezone})"
    elif settings.has_schedule:
        when = f"scheduled by {settings.rrule or f'an interval of {settings.interval:g} s'}"
    return Evidence(f"{name} version {target.version}; {when}; parameters fit", details)
