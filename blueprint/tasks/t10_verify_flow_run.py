"""Task 10: the server knows that run: Completed, its task runs, its logs."""

from blueprint.core.http import NotReady
from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task


@task(
    10,
    "Verify flow run in system",
    needs=(9,),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    proof="the server knows that run: Completed, its task runs, its logs",
)
def verify_flow_run(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the server knows that very run: Completed, with its task runs and its logs."""
    from blueprint.core.waiting import wait_until
    from blueprint.prefect_adapter import flow_runs
    from blueprint.tasks.common.runs import prove_completed, task_runs_summary

    found = ctx.runs_of(9)
    if not found:
        raise TaskFailed(
            "The server does not know the local run of task 9.",
            where_to_look=f"{ctx.settings.server_url}/runs",
            hint="It was deleted or never reached this server; run `python run_blueprint.py --resume-from 9`.",
        )
    run = max(found, key=lambda run: (run.type == "COMPLETED", run.created))
    details = prove_completed(ctx, run, control)

    def logged() -> list[str]:
        lines = flow_runs.logs(run.id)
        if not lines:
            raise NotReady(f"the API has no log lines of {run.name} yet")
        return lines

    lines = wait_until(control, logged)
    return Evidence(
        f"run {run.name}: {run.state}, {task_runs_summary(details)}, {len(lines)} log lines",
        details | {"log_lines": len(lines)},
    )
