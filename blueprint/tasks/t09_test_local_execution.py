"""Task 9: the pipeline as a script ends 0 and its rows are in the warehouse."""

import json
import sys

from blueprint.core.files import write_whole
from blueprint.tasks.registry import Context, Evidence, Scope, TaskControl, TaskFailed, task

_NICENESS = 5  # of the local run: only task 10 waits for it, and the deployment's runs begin beside it


@task(
    9,
    "Test local execution",
    needs=(7, 8),
    timeout=120,
    scope=Scope.DEPLOYMENT,
    local_runs=1,
    proof="the pipeline as a script ends 0 and its rows are in the warehouse",
)
def test_local_execution(ctx: Context, control: TaskControl) -> Evidence:
    """The pipeline as a plain script in its own process ends 0, and its rows are in the warehouse."""
    from blueprint.platform import specs
    from blueprint.tasks.common import orphans
    from blueprint.tasks.common.runs import effect_summary

    name = f"{specs.LOCAL_RUN}-{ctx.key}" if ctx.key else specs.LOCAL_RUN
    left = ctx.end_child(name, control)  # it would go on
    lost = orphans.crash_local(ctx)
    there = [run for run in ctx.runs_of(9) if run.type == "COMPLETED"]
    reason = ""
    if not there:
        cut_short = f"a local run was cut short: {', '.join(lost)}" if lost else ""
        reason = left or cut_short or "no local run of this execution yet"
        control.waiting("the pipeline to run as a script")
        _run_script(ctx, name, control)
        there = [run for run in ctx.runs_of(9) if run.type == "COMPLETED"]
    if not there:
        raise TaskFailed(
            "The script ended 0, but the server knows no Completed run of it.",
            where_to_look=f"{ctx.settings.server_url}/runs",
            hint="Run `python run_blueprint.py --resume-from 9`.",
        )
    details = {"flow_run_id": there[-1].id, "effect": dict(ctx.effect(there[-1], control))}
    return Evidence(
        f"ended 0 as run {there[-1].name}: {effect_summary(details)}", details, changed=bool(reason), reason=reason
    )


def _run_script(ctx: Context, name: str, control: TaskControl) -> None:
    """Run the flow to its end, its output in a log that is named like the process."""
    from blueprint.platform import environment
    from blueprint.prefect_adapter.flow_definition import folder_of
    from blueprint.prefect_runtime.local_run import STATE_MARK
    from blueprint.prefect_runtime.visible import visible
    from blueprint.tasks.common import orphans

    settings = ctx.settings
    ctx.flow(control)  # from here on its secrets are known
    env = environment.for_child(settings, ctx.workspace)
    env["_BLUEPRINT_PARAMETERS"] = json.dumps(settings.parameters)
    program = [sys.executable, "-m", "blueprint.prefect_runtime.local_run", settings.entrypoint]
    tags = [part for tag in (*ctx.tags(9), orphans.local_tag(ctx)) for part in ("--tag", tag)]
    folder = str(folder_of(settings, ctx.workspace.root))
    argv = [*program, "--folder", folder, *tags]
    finished = ctx.run_child(name, argv, control, env=env, niceness=_NICENESS)
    log = ctx.workspace.logs / f"{name.replace('-', '_', 1)}.log"
    write_whole(log, visible(finished.output + finished.errors))
    if finished.returncode != 0:
        state = [line for line in finished.output.splitlines() if line.startswith(STATE_MARK)]
        told = state[-1].removeprefix(STATE_MARK) if state else finished.last_line()
        raise TaskFailed(
            f"The flow as a script ended with exit code {finished.returncode}: {told}",
            where_to_look=f"logs/{log.name}",
            hint="Correct what it says, then run `python run_blueprint.py --resume`.",
        )
