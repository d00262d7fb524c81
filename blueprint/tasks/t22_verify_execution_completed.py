"""Task 22: states in order, task runs, the rows landed."""

from __future__ import annotations

from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task


@task(
    22,
    "Verify execution completed",
    needs=(21,),
    timeout=180,
    scope=Scope.DEPLOYMENT,
    pool_runs=1,
    proof="states in order, task runs, the rows landed",
)
def verify_completed(ctx: Context, control: TaskControl) -> Evidence:
    """States in order Scheduled → Pending → Running → Completed, its task runs, its effect."""
    from blueprint.prefect_adapter import flow_runs
    from blueprint.tasks.common.cases import latest_run, run_page
    from blueprint.tasks.common.triggering import (
        effect_summary,
        in_order,
        prove_completed,
        task_runs_summary,
        wait_for_end,
    )

    run = wait_for_end(ctx, latest_run(ctx, 21), control)
    details = prove_completed(ctx, run, control)
    states = flow_runs.transitions(run.id)
    if not in_order(states):
        raise TaskFailed(
            f"Flow run {run.name} went {' → '.join(state.name for state in states)}, "
            "not Scheduled → Pending → Running → Completed.",
            where_to_look=run_page(ctx, run),
        )
    seen = " → ".join(dict.fromkeys(state.name for state in states))
    return Evidence(f"{seen}; {task_runs_summary(details)}; {effect_summary(details)}", details)
