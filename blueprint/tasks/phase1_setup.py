"""Phase 1, local setup: tasks 5 to 10. Tasks 1 to 4 make the environment for these: `blueprint.bootstrap`."""

from __future__ import annotations

import importlib.metadata
import json
import sys
from pathlib import Path

from blueprint.core import child, http
from blueprint.core.errors import EnvironmentRefused
from blueprint.core.files import write_whole
from blueprint.core.http import NotReady
from blueprint.core.task import Evidence, TaskControl, TaskFailed
from blueprint.core.waiting import wait_until
from blueprint.platform import environment as prefect_env
from blueprint.platform import specs
from blueprint.prefect_adapter import flow_runs
from blueprint.prefect_adapter.flow_loading import folder_of
from blueprint.prefect_adapter.models import Run
from blueprint.prefect_runtime.local_run import STATE_MARK
from blueprint.processes.ownership import OwnershipTag
from blueprint.tasks import orphans, prefect_home, tagged_child
from blueprint.tasks.context import Context
from blueprint.tasks.proofs import prove_server
from blueprint.tasks.triggering import effect_summary, prove_completed, task_runs_summary

_NICENESS = 5  # of the local run: only task 10 waits for it, and the deployment's runs begin beside it
_PACKAGES = ("prefect", "pydantic", "tenacity", "psutil", "fastapi", "starlette", "sqlalchemy")
_IMPORT_SERVER = "import gc; gc.disable(); import prefect.server.api.server as server; server.create_app()"


def validate_installation(ctx: Context, control: TaskControl) -> Evidence:
    """Task 5: versions, consistency of what is installed, and the server application itself imports."""
    versions = {name: importlib.metadata.version(name) for name in _PACKAGES}
    conflicts = dependency_conflicts()
    if conflicts:
        raise TaskFailed(
            f"The installed packages contradict each other: {'; '.join(conflicts[:3])}.",
            where_to_look="requirements.lock",
            hint="Run `python run_blueprint.py --resume-from 4` to install the locked set again.",
            details={"versions": versions, "conflicts": conflicts},
        )
    control.waiting("the server application to import")
    env = prefect_env.for_child(ctx.settings, ctx.workspace)
    argv = [sys.executable, "-c", _IMPORT_SERVER]
    finished = tagged_child.run(ctx, "check-installation", argv, control, env=env, niceness=child.STANDS_BACK)
    if finished.returncode != 0:
        raise TaskFailed(
            f"Prefect {versions['prefect']} is installed, but its server cannot be imported: {finished.last_line()}",
            where_to_look="requirements.lock pins a set that was seen to start; compare `.venv/bin/python -m pip list`",
            hint="Remove the folder .venv and run `python run_blueprint.py --resume-from 4`.",
            details={"versions": versions, "import_error": finished.errors[-3000:]},
        )
    python = ".".join(str(part) for part in sys.version_info[:3])
    return Evidence(
        f"Prefect {versions['prefect']} on Python {python}, no conflicts, the server application imports",
        {"python": python, "versions": versions, "conflicts": []},
    )


def dependency_conflicts() -> list[str]:
    """What one installed package requires of another and does not get, a text for each."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    installed = [one.metadata for one in importlib.metadata.distributions()]  # reading it takes a while: once for each
    versions = {canonicalize_name(one["Name"]): one["Version"] for one in installed}
    conflicts = []
    for one in installed:
        for text in one.get_all("Requires-Dist", ()):
            if "extra ==" in text and " or " not in text:
                continue  # of an extra, and so are most: they need not be taken apart
            requirement = Requirement(text)
            if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
                continue
            have = versions.get(canonicalize_name(requirement.name))
            if have is None or not requirement.specifier.contains(have, prereleases=True):
                wants = f"{requirement.name}{requirement.specifier}"
                conflicts.append(f"{one['Name']} {one['Version']} needs {wants}, found {have or 'none'}")
    return sorted(conflicts)


def verify_pipeline(ctx: Context, control: TaskControl) -> Evidence:
    """Task 7: the flow loads by its entrypoint and is what the settings expect; its data source answers."""
    flow = ctx.flow()
    for name, expected in ctx.settings.tasks.items():
        found = flow.tasks.get(name)
        if found != expected:
            raise TaskFailed(
                f"The flow's task {name} is {found or 'missing'}, expected {expected}.",
                where_to_look=ctx.settings.entrypoint,
                hint="Correct the flow, or [tool.blueprint.tasks] in pyproject.toml.",
            )
    source, changed, reason = _data_source(ctx, control)
    tasks = {
        name: {"retries": one.retries, "delay": one.retry_delay_seconds, "tags": sorted(one.tags)}
        for name, one in flow.tasks.items()
    }
    parameters = ", ".join(flow.schema.get("properties", {})) or "none"
    return Evidence(
        f"flow {flow.name!r}, {len(tasks)} tasks, parameters {parameters}; {source}",
        {"flow": flow.name, "schema": dict(flow.schema), "tasks": tasks, "source": ctx.settings.source_url},
        changed=changed,
        reason=reason,
    )


def _data_source(ctx: Context, control: TaskControl) -> tuple[str, bool, str]:
    """Have the bundled source running, if it is the one to use, and read a page from whichever is configured."""
    url = ctx.settings.source_url
    if url is None:
        return "no data source configured", False, ""
    changed, reason = False, ""
    if ctx.settings.data_source == "bundled":
        started = ctx.services.ensure(specs.source(ctx.settings, ctx.workspace), control)
        changed, reason = started.changed, f"data source: {started.reason}" if started.changed else ""
    page = f"{url}{'&' if '?' in url else '?'}limit=1"
    try:
        answer = http.get(page, timeout=specs.PROBE_SECONDS)
    except NotReady as error:
        raise TaskFailed(
            f"The data source {url} does not answer: {error}.",
            where_to_look="logs/source.log" if ctx.settings.data_source == "bundled" else url,
            hint="See that it runs, then run `python run_blueprint.py --resume`.",
        ) from None
    if answer.status != 200 or b'"records"' not in answer.body:
        raise TaskFailed(
            f"The data source {url} answers {answer.status} without records.",
            where_to_look=url,
            hint="Set data_source in [tool.blueprint] to a metrics API's address.",
        )
    return f"source {url} answers", changed, reason


def start_server(ctx: Context, control: TaskControl) -> Evidence:
    """Task 8: the server is ready, of the right version, and the port's listener is the process we started."""
    prefect_home.require_ours(ctx.workspace)
    try:
        _begin(ctx, control)
        started = ctx.services.ensure(specs.server(ctx.settings, ctx.workspace), control)
        details = prove_server(ctx)
    except (TaskFailed, EnvironmentRefused):
        ctx.services.stop_begun()
        raise
    if details["pid"] != started.identity.pid:
        details["started_pid"] = started.identity.pid
    return Evidence(
        f"ready at {ctx.settings.server_url}, version {details['version']}, pid {details['pid']} owns the port",
        details,
        changed=started.changed,
        reason=started.reason,
    )


def _begin(ctx: Context, control: TaskControl) -> None:
    """Have server and worker import Prefect at the same time; task 13 waits for the worker."""
    ctx.services.begin(specs.server(ctx.settings, ctx.workspace), control)
    if ctx.with_worker and not ctx.settings.serves:
        ctx.services.begin(specs.worker(ctx.settings, ctx.workspace), control)


def test_local_execution(ctx: Context, control: TaskControl) -> Evidence:
    """Task 9: the pipeline as a plain script in its own process ends 0, and its rows are in the warehouse."""
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
    details = {"flow_run_id": there[-1].id, "effect": dict(ctx.effect(there[-1]))}
    return Evidence(
        f"ended 0 as run {there[-1].name}: {effect_summary(details)}",
        details,
        changed=changed,
        reason=(left or _cut_short(lost) or "no local run of this execution yet") if changed else "",
    )


def _local_run(ctx: Context) -> str:
    """What the deployment's local run is marked as; its log is named like it."""
    return f"{specs.LOCAL_RUN}-{ctx.key}" if ctx.key else specs.LOCAL_RUN


def _cut_short(names: list[str]) -> str:
    return f"a local run was cut short: {', '.join(names)}" if names else ""


def _run_script(ctx: Context, control: TaskControl) -> None:
    settings = ctx.settings
    env = prefect_env.for_child(settings, ctx.workspace)
    env |= OwnershipTag(ctx.services.workspace, _local_run(ctx)).environment("")
    tags = [part for tag in (*ctx.tags(9), orphans.local_tag(ctx)) for part in ("--tag", tag)]
    flow = ctx.flow()
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
    finished = child.run(argv, control, env=env, cwd=ctx.workspace.root, niceness=_NICENESS)
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


def verify_flow_run(ctx: Context, control: TaskControl) -> Evidence:
    """Task 10: the server knows that very run: Completed, with its task runs and its logs."""
    found = ctx.runs_of(9)
    if not found:
        raise TaskFailed(
            "The server does not know the local run of task 9.",
            where_to_look=f"{ctx.settings.server_url}/runs",
            hint="It was deleted or never reached this server; run `python run_blueprint.py --resume-from 9`.",
        )
    run: Run = max(found, key=lambda one: (one.type == "COMPLETED", one.created))
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
