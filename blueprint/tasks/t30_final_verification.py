"""Task 30: all read again; nothing late or stuck."""

import dataclasses
from datetime import UTC, datetime, timedelta

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task

_LATE_AFTER = timedelta(seconds=60)

_SECONDS = 5.0  # what was there before is there at once; longer waits are for the tasks that prove it first


def verify_platform(ctx: Context, control: TaskControl) -> Evidence:
    """Prove server, worker or serving process, UI, logs and monitoring points once more."""
    from blueprint.tasks.common import proofs
    from blueprint.tasks.t12_verify_work_pool import verify_pool
    from blueprint.tasks.t17_check_deployment_in_ui import read_ui
    from blueprint.tasks.t26_check_logs_accessibility import check_log_files
    from blueprint.tasks.t27_verify_monitoring_points import verify_monitoring

    server = proofs.prove_server(ctx)
    if ctx.settings.serves:
        worker = proofs.prove_serving_process(ctx)
    else:
        verify_pool(ctx, control)
        worker = proofs.await_worker(ctx, control, proofs.WORKER_SECONDS)
    monitoring = verify_monitoring(ctx, control)
    page = read_ui(ctx, control)
    check_log_files(ctx, control)
    return Evidence(
        f"server, {'serving process' if ctx.settings.serves else 'worker'}, UI and monitoring points are well; "
        f"look next at {ctx.settings.server_url}",
        {"server": server, "worker": worker, "monitoring": dict(monitoring.details), "page": dict(page.details)},
    )


@task(
    30,
    "Final system verification",
    needs=(10, 20, 25, 26, 27, 28, 29),
    timeout=90,
    scope=Scope.DEPLOYMENT,
    shared=verify_platform,
    proof="all read again; nothing late or stuck",
)
def verify_all(ctx: Context, control: TaskControl) -> Evidence:
    """Everything above read once more; nothing late, stuck or failed but what task 28 meant to fail."""
    from blueprint.tasks.common.proofs import prove_deployment
    from blueprint.tasks.t17_check_deployment_in_ui import check_listing
    from blueprint.tasks.t25_verify_multiple_flow_runs import verify_runs
    from blueprint.tasks.t26_check_logs_accessibility import check_logs

    soon = dataclasses.replace(control, deadline=min(control.deadline, control.clock() + _SECONDS))
    deployed = prove_deployment(ctx)
    completed = verify_runs(ctx, control)
    details = {
        "deployment": deployed.id,
        "runs": dict(completed.details),
        "listed": check_listing(ctx, soon).details["listed"],
        "logs": dict(check_logs(ctx, soon).details),
    }
    troubles = _troubles(ctx, deployed.id)
    if troubles:
        raise TaskFailed(
            f"Not everything is well: {'; '.join(troubles)}.",
            where_to_look=f"{ctx.settings.server_url}/runs",
            hint="Look at these runs in the UI and at logs/worker.log.",
        )
    return Evidence(f"deployment, its {len(completed.details)} runs and their logs are well", details)


def _troubles(ctx: Context, deployment_id: str) -> list[str]:
    """Return a text for each run that is late, stuck, or failed without being meant to."""
    from blueprint.prefect_adapter import flow_runs

    now = datetime.now(UTC)
    troubles = [
        f"{run.name} is {run.state} since {run.expected_start.isoformat()}"
        for run in flow_runs.runs(deployment_id=deployment_id, types=["SCHEDULED", "PENDING"])
        if run.expected_start and now - run.expected_start > _LATE_AFTER
    ]
    ours = flow_runs.runs(tags=[ctx.mark])
    well = {tag for run in ours if run.type == "COMPLETED" for tag in run.tags if tag.startswith(f"{ctx.mark}:")}
    well.add(ctx.tag("28-failing"))
    return troubles + [
        f"{run.name} is {run.state}"
        for run in ours
        if run.type not in ("COMPLETED", "SCHEDULED") and not well & run.tags
    ]
