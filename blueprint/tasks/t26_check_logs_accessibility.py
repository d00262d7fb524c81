"""Task 26: the lines that each run wrote; server and worker logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blueprint.core.http import NotReady
from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task

if TYPE_CHECKING:
    from blueprint.prefect_adapter.models import Run


def check_log_files(ctx: Context, control: TaskControl) -> Evidence:
    """Server and worker logs are there."""
    logs = ctx.workspace.logs
    for name in ("server.log", "worker.log"):
        if not (logs / name).is_file() or (logs / name).stat().st_size == 0:
            raise TaskFailed(f"logs/{name} is missing or empty.", where_to_look=str(logs))
    return Evidence("server.log and worker.log are there")


@task(
    26,
    "Check logs accessibility",
    needs=(22, 23, 24),
    timeout=60,
    scope=Scope.DEPLOYMENT,
    shared=check_log_files,
    proof="the lines that each run wrote; server and worker logs",
)
def check_logs(ctx: Context, control: TaskControl) -> Evidence:
    """Prove that the API holds the lines that each run wrote to the worker's output."""
    from blueprint.core.waiting import wait_until
    from blueprint.prefect_adapter import flow_runs
    from blueprint.tasks.common import run_logs
    from blueprint.tasks.common.cases import latest_run, parameters_by_case

    runs = [latest_run(ctx, case) for case in parameters_by_case(ctx)]
    tasks = run_logs.own_task_names(runs, flow_runs.runs(tags=[ctx.execution_mark]))
    details = {}
    for run in runs:
        written = run_logs.written(ctx.workspace.worker_log, run.name, tasks[run.id], ctx.log_start)
        if not written:
            raise TaskFailed(
                f"The worker's log has no line of the flow run {run.name}.", where_to_look="logs/worker.log"
            )

        def held(run: Run = run, written: list[str] = written) -> int:
            messages = flow_runs.logs(run.id)
            first_lines = {message.split("\n", 1)[0].rstrip() for message in messages}
            lost = [line for line in written if line not in first_lines]
            if lost:
                raise NotReady(f"the API lacks {len(lost)} of {len(written)} lines of {run.name}, such as {lost[0]!r}")
            return len(messages)

        details[run.name] = {"flow_run_id": run.id, "written": len(written), "held": wait_until(control, held)}
    told = ", ".join(f"{name} {lines['held']}" for name, lines in details.items())
    return Evidence(f"the API holds every line the runs wrote: {told}", details)
