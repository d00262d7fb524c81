"""Task 9: the pipeline as a script ends 0 and its rows are in the warehouse."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from blueprint.core import child
from blueprint.core.files import PRIVATE_UMASK, write_whole
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
    from blueprint.tasks.common import orphans
    from blueprint.tasks.common.triggering import effect_summary

    left = ctx.services.stop(_local_run(ctx), control, grace=2.0)  # of an execution that was killed: it would go on
    lost = orphans.crash_local(ctx)
    there = [run for run in ctx.runs_of(9) if run.type == "COMPLETED"]
    changed = not there
    if changed:
        control.waiting("the pipeline to run as a script")
        _run_script(ctx, control)
        there = [run for run in ctx.runs_of(9) if run.type == "COMPLETED"]
    if not there:
        raise TaskFailed(
            "The script ended 0, but the server knows no Completed run of it.",
            where_to_look=f"{ctx.settings.server_url}/runs",
            hint="Run `python run_blueprint.py --resume-from 9`.",
        )
    details = {"flow_run_id": there[-1].id, "effect": dict(ctx.effect(there[-1], control))}
    return Evidence(
        f"ended 0 as run {there[-1].name}: {effect_summary(details)}",
        details,
        changed=changed,
        reason=(left or _cut_short(lost) or "no local run of this execution yet") if changed else "",
    )


def _local_run(ctx: Context) -> str:
    """Return the name under which the deployment's local run is tagged; its log is named like it."""
    from blueprint.platform import specs

    return f"{specs.LOCAL_RUN}-{ctx.key}" if ctx.key else specs.LOCAL_RUN


def _cut_short(names: list[str]) -> str:
    return f"a local run was cut short: {', '.join(names)}" if names else ""


def _run_script(ctx: Context, control: TaskControl) -> None:
    from blueprint.platform import environment as prefect_env
    from blueprint.prefect_adapter.flow_definition import folder_of
    from blueprint.prefect_runtime.local_run import STATE_MARK
    from blueprint.processes.ownership import OwnershipTag
    from blueprint.tasks.common import orphans

    settings = ctx.settings
    env = prefect_env.for_child(settings, ctx.workspace)
    env |= OwnershipTag(ctx.services.workspace, _local_run(ctx)).environment("")
    tags = [part for tag in (*ctx.tags(9), orphans.local_tag(ctx)) for part in ("--tag", tag)]
    flow = ctx.flow(control)
    if settings.entrypoint.startswith("blueprint/pipeline/data_pipeline.py:"):
        argv: list[str | Path] = [sys.executable, str(flow.file), *tags]
    else:
        folder = folder_of(settings, ctx.workspace.root)
        argv = [
            sys.executable,
            "-m",
            "blueprint.prefect_runtime.local_run",
            settings.entrypoint,
            "--folder",
            folder,
            *tags,
        ]
        env["_BLUEPRINT_PARAMETERS"] = json.dumps(settings.parameters)
    finished = child.run(argv, control, env=env, cwd=ctx.workspace.root, niceness=_NICENESS, umask=PRIVATE_UMASK)
    log = ctx.workspace.logs / f"{_local_run(ctx).replace('-', '_', 1)}.log"
    write_whole(log, finished.output + finished.errors)
    if finished.returncode != 0:
        state = [line for line in finished.output.splitlines() if line.startswith(STATE_MARK)]
        told = state[-1].removeprefix(STATE_MARK) if state else finished.last_line()
        raise TaskFailed(
            f"The flow as a script ended with exit code {finished.returncode}: {told}",
            where_to_look=f"logs/{log.name}",
            hint="Correct what it says, then run `python run_blueprint.py --resume`.",
        )
