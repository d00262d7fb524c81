"""Phase 2, orchestration and deployment: tasks 11 to 20. How task 15 acts is in `blueprint.tasks.deploying`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from blueprint.config import schedule
from blueprint.core.http import NotReady
from blueprint.core.task import Evidence, TaskControl, TaskFailed
from blueprint.core.waiting import wait_until
from blueprint.platform import specs
from blueprint.prefect_adapter import pools, ui
from blueprint.prefect_adapter.desired_state import desired_deployment
from blueprint.prefect_adapter.flow_parameters import parameter_problems
from blueprint.prefect_adapter.models import Deployment, Pool
from blueprint.tasks import orphans
from blueprint.tasks.context import Context
from blueprint.tasks.deploying import (
    because,
    deploy,
    own_deployment,
    see_that_no_other_has_its_name,
    serve,
    wait_as_wanted,
)
from blueprint.tasks.proofs import (
    RESTORE_DEPLOYMENT,
    RESTORE_POOL,
    RESTORE_WORKER,
    WORKER_SECONDS,
    await_worker,
    deployment_facts,
    pool_facts,
    prove_deployment,
    prove_server,
    read_worker,
    require_process_pool,
)
from blueprint.tasks.schedules import around_clock_change, require_active, upcoming


def create_pool(ctx: Context, control: TaskControl) -> Evidence:
    """Task 11: the work pool exists with type process."""
    ctx.skip_without_pool()
    settings = ctx.settings
    found = pools.pool(settings.pool)
    reason = ""
    if found is None:
        pools.create_process_pool(settings.pool, settings.pool_concurrency_limit)
        reason = "it did not exist"
    elif found.paused or found.concurrency_limit != settings.pool_concurrency_limit:
        reason = f"it was paused={found.paused}, concurrency limit={found.concurrency_limit}"
        pools.update_pool(settings.pool, paused=False, concurrency_limit=settings.pool_concurrency_limit)
    found = require_process_pool(ctx)
    return Evidence(f"{found.name} exists with type process", pool_facts(found), changed=bool(reason), reason=reason)


def verify_pool(ctx: Context, control: TaskControl) -> Evidence:
    """Task 12: the pool read back: type, not paused, concurrency limit as configured."""
    ctx.skip_without_pool()
    found = require_process_pool(ctx)
    limit = ctx.settings.pool_concurrency_limit
    if found.paused or found.concurrency_limit != limit:
        raise TaskFailed(
            f"The work pool is paused={found.paused} with concurrency limit {found.concurrency_limit}, "
            f"expected paused=False and {limit}.",
            where_to_look=f"{ctx.settings.server_url}/work-pools",
            hint=RESTORE_POOL,
        )
    return Evidence(f"type process, not paused, concurrency limit {limit or 'none'}", pool_facts(found))


def start_worker(ctx: Context, control: TaskControl) -> Evidence:
    """Task 13: our worker is online in the pool and its health endpoint answers."""
    ctx.skip_without_pool()
    ctx.services.stop(specs.RUNNER, control)  # a flow served by it as well would run twice
    started = ctx.services.ensure(specs.worker(ctx.settings, ctx.workspace), control)

    details = await_worker(ctx, control)
    lost = orphans.crash_those_before_the_worker(ctx)
    details["marked_crashed"] = lost
    return Evidence(
        f"{details['name']} is online in {ctx.settings.pool}, pid {details['pid']}, health answers",
        details,
        changed=started.changed or bool(lost),
        reason=because(started.reason, lost),
    )


def verify_definition(ctx: Context, control: TaskControl) -> Evidence:
    """Task 14: the Python definition: entrypoint resolves, schedule fires, default parameters fit, the name is free."""
    settings = ctx.settings
    target = desired_deployment(settings, ctx.workspace.root)
    problems = parameter_problems(settings, ctx.workspace.root, settings.parameters)
    if problems:
        raise TaskFailed(
            f"The default parameters do not fit the flow: {'; '.join(problems)}.",
            where_to_look="pyproject.toml [tool.blueprint] parameters",
            hint="Correct them and run again.",
        )
    own_deployment(ctx, target)
    see_that_no_other_has_its_name(ctx, target)
    details: dict[str, Any] = {
        "deployment": f"{target.flow_name}/{target.name}",
        "entrypoint": target.entrypoint,
        "version": target.version,
        "parameters": dict(target.parameters),
        "schedule": dict(target.schedule or {}),
    }
    when = "no schedule"
    if settings.cron:
        times = schedule.fire_times(settings.cron, settings.timezone, datetime.now(UTC), 3)
        local = [time.astimezone(ZoneInfo(settings.timezone)).isoformat() for time in times]
        details["next_fire_times"] = local
        when = f"next at {local[0]} ({settings.timezone})"
    elif settings.has_schedule:
        when = f"scheduled by {settings.rrule or f'an interval of {settings.interval:g} s'}"
    return Evidence(f"{target.flow_name}/{target.name} version {target.version}; {when}; parameters fit", details)


def serve_flows(ctx: Context, control: TaskControl) -> Evidence:
    """Task 15 in `serve` mode, once: one process serves all deployments, and has registered what is wanted."""
    if not ctx.settings.serves:
        return Evidence("")
    targets = [desired_deployment(one.settings, ctx.workspace.root) for one in ctx.each()]
    before = [(target, own_deployment(ctx, target)) for target in targets]
    reason = serve(ctx, control, before)
    return Evidence("", changed=bool(reason), reason=reason)


def deploy_flow(ctx: Context, control: TaskControl) -> Evidence:
    """Task 15: deployed with flow.deploy or served with flow.serve; deploying again keeps the same id."""
    target = desired_deployment(ctx.settings, ctx.workspace.root)
    reason = "" if ctx.settings.serves else deploy(ctx, target)
    found = wait_as_wanted(ctx, target, control)
    how = "served" if ctx.settings.serves else "deployed"
    return Evidence(
        f"{target.flow_name}/{target.name} {how}, id {found.id}", {"id": found.id}, changed=bool(reason), reason=reason
    )


def verify_registration(ctx: Context, control: TaskControl) -> Evidence:
    """Task 16: the deployment read back by name: entrypoint, pool, parameters, schema, version."""
    found = prove_deployment(ctx)
    return Evidence(
        f"{found.entrypoint}, {found.pool or 'served, no pool'}, version {found.version}, "
        f"parameters {dict(found.parameters)}",
        deployment_facts(found),
    )


def read_ui(ctx: Context, control: TaskControl) -> Evidence:
    """Task 17, once: the UI page is served and is told this server's API address."""
    page = ui.page(ctx.settings)
    if page.api_url != ctx.settings.api_url:
        raise TaskFailed(
            f"The UI is told to call {page.api_url}, not {ctx.settings.api_url}.",
            where_to_look=f"{ctx.settings.server_url}/ui-settings",
            hint="Run `python run_blueprint.py stop`, then `--resume-from 8`.",
        )
    return Evidence(
        f"{page.url} is served and calls {page.api_url}",
        {"page": page.url, "script": page.script, "api_url": page.api_url},
    )


def check_listing(ctx: Context, control: TaskControl) -> Evidence:
    """Task 17: the query that the UI's page makes lists the deployment."""
    found = ctx.require_deployment()
    listed = ui.listed(ctx.settings, specs.authorization(ctx.settings), found.name)
    if found.id not in listed:
        raise TaskFailed(
            f"The query of the UI's deployments page does not list {found.name}.",
            where_to_look=f"{ctx.settings.server_url}/deployments",
            hint=RESTORE_DEPLOYMENT,
        )
    return Evidence(f"lists {found.name}", {"listed": sorted(listed)})


def verify_schedule(ctx: Context, control: TaskControl) -> Evidence:
    """Task 18: the server's copy of the schedule, and its runs on both sides of the next clock change."""
    found, definition = require_active(ctx)
    details: dict[str, Any] = {"schedule": dict(definition)}
    coming = wait_until(control, lambda: upcoming(ctx, found.id))
    details["upcoming"] = coming[:3]
    summary = f"active, {definition.get('cron') or definition.get('rrule') or definition.get('interval')}"
    if ctx.settings.cron:
        change = schedule.next_clock_change(ctx.settings.timezone, datetime.now(UTC))
        if change is not None:
            details["clock_change"] = change.isoformat()
            details["around_clock_change"] = around_clock_change(ctx, found.id, change)
            days = [time[:16] for time in details["around_clock_change"]]
            summary += f", same local time before and after the clock change: {days[0]} … {days[-1]}"
        else:
            summary += ", the zone's clocks are not set within 400 days"
    return Evidence(f"{summary} {ctx.settings.timezone}", details)


def verify_polling(ctx: Context, control: TaskControl) -> Evidence:
    """Task 19: the worker's last heartbeat moves between two reads."""
    ctx.skip_without_pool()
    first = read_worker(ctx).last_heartbeat

    def moved() -> datetime:
        now = read_worker(ctx).last_heartbeat
        if now is None or now == first:
            raise NotReady(f"the worker's last heartbeat stays at {first}")
        return now

    second = wait_until(control, moved, first=0.25, most=1.0)
    details = {"first": first.isoformat() if first else None, "second": second.isoformat()}
    return Evidence(f"last heartbeat moved from {details['first']} to {details['second']}", details)


def verify_platform_ready(ctx: Context, control: TaskControl) -> Evidence:
    """Task 20, once: server, pool and worker ready, or the serving process alive, all read afresh."""
    prove_server(ctx)
    if ctx.settings.serves:
        state = ctx.services.state(specs.RUNNER)
        if state != "running":
            raise TaskFailed(f"The serving process is {state}.", where_to_look="logs/worker.log")
        return Evidence("serving process alive")
    worker = await_worker(ctx, control, WORKER_SECONDS)

    def ready() -> Pool:
        found = require_process_pool(ctx)
        if found.status == "NOT_READY":
            raise NotReady("the work pool is NOT_READY: no worker has polled it yet")
        return found

    pool = wait_until(control, ready)
    if pool.status != "READY":
        raise TaskFailed(f"The work pool is {pool.status}, not READY.", hint=RESTORE_WORKER)
    return Evidence("work pool READY, worker ONLINE", {"pool": pool_facts(pool), "worker": worker})


def verify_deployment_ready(ctx: Context, control: TaskControl) -> Evidence:
    """Task 20: the deployment ready, read afresh."""

    def ready() -> Deployment:
        found = prove_deployment(ctx)
        if found.status != "READY":
            raise NotReady(f"the deployment is {found.status}: no worker has polled for it yet")
        return found

    found = wait_until(control, ready)
    return Evidence("deployment READY", {"deployment": found.id})
