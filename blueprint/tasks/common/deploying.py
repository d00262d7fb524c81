"""Makes the deployments of task 15: with `flow.deploy`, or by one process that serves them all."""

from __future__ import annotations

from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.core.waiting import wait_until
from blueprint.platform import specs
from blueprint.prefect_adapter import deployments
from blueprint.prefect_adapter.desired_state import MADE_BY, DesiredDeployment
from blueprint.prefect_adapter.models import Deployment
from blueprint.tasks.common import orphans
from blueprint.tasks.common.proofs import RESTORE_DEPLOYMENT, failing
from blueprint.tasks.context import Context


def own_deployment(ctx: Context, target: DesiredDeployment) -> Deployment | None:
    """Return the server's deployment of that name, which must be Blueprint's; None if the name is free."""
    found = deployments.deployment(target.flow_name, target.name)
    if found is not None and found.description != MADE_BY:
        raise TaskFailed(
            f"There is a deployment {target.flow_name}/{target.name} that Blueprint did not make.",
            where_to_look=f"{ctx.settings.server_url}/deployments/deployment/{found.id}",
            hint="Choose another name with `deployment` in [tool.blueprint], or delete that one, and run again.",
        )
    return found


def deploy(ctx: Context, target: DesiredDeployment, control: TaskControl) -> str:
    """Deploy with `flow.deploy` unless all is as wanted; return what was not."""
    before = own_deployment(ctx, target)
    differences = _differences(target, before)
    # A new one twice: the second time must keep the first's id. The schedule comes with the second: to deploy again is
    # to replace it, and a server that makes the coming runs just then makes those of the old one too, which stay.
    for scheduled in (False, True) if before is None else (True,) if differences else ():
        ctx.flows.deploy(ctx.settings, control, scheduled=scheduled)
        made = ctx.require_deployment()
        if before is not None and made.id != before.id:
            raise TaskFailed(f"Deploying again changed the deployment's id from {before.id} to {made.id}.")
        before = made
    return differences


def _differences(target: DesiredDeployment, found: Deployment | None) -> str:
    return "it was not registered" if found is None else "; ".join(target.differences(found))


def serve(ctx: Context, control: TaskControl) -> str:
    """Have one process serve all deployments; return why it had to be started, if it had."""
    targets = [deployment.desired_deployment(control) for deployment in ctx.each().values()]
    different = [(target.name, _differences(target, own_deployment(ctx, target))) for target in targets]
    started = ctx.platform.worker.ensure(control)
    if started.changed:
        lost = orphans.crash_those_before_the_worker(ctx, specs.RUNNER)
        return because(started.reason or "it was not served", lost)
    reasons = [text if len(targets) == 1 else f"{name}: {text}" for name, text in different if text]
    if reasons:  # the process lives but what it registered is gone or other: only a new start registers again
        ctx.services.stop(specs.RUNNER, control)
        ctx.platform.worker.ensure(control)
    return "; ".join(reasons)


def wait_as_wanted(ctx: Context, target: DesiredDeployment, control: TaskControl) -> Deployment:
    """Wait until the server's deployment is as wanted, and return it."""

    def there() -> Deployment:
        found = deployments.deployment(target.flow_name, target.name)
        differences = "not registered yet" if found is None else "; ".join(target.differences(found))
        if found is None or differences:
            raise NotReady(differences)
        return found

    if ctx.settings.serves:  # the serving process registers it by itself, soon after its start
        return wait_until(control, there)
    where = f"{ctx.settings.server_url}/deployments"
    with failing("The deployment was made, but is not as wanted", where_to_look=where, hint=RESTORE_DEPLOYMENT):
        return there()


def because(reason: str, crashed: list[str]) -> str:
    """Return why it had to act, with the runs that an earlier worker left behind."""
    told = f"flow runs that had lost their process were marked Crashed: {', '.join(crashed)}" if crashed else ""
    return "; ".join(filter(None, (reason, told)))
