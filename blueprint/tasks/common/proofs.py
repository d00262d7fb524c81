"""What is read back from the running system by more than one task: server, work pool, worker, deployment."""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

from blueprint.core import http
from blueprint.core.errors import ApiError, EnvironmentRefused, TimedOut
from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.core.waiting import wait_until
from blueprint.platform import specs
from blueprint.prefect_adapter import pools
from blueprint.prefect_adapter.models import Deployment, Pool, Worker
from blueprint.processes import listening
from blueprint.processes.ownership import OwnershipTag
from blueprint.tasks.context import Context

WORKER_SECONDS = 10.0  # several heartbeats
RESTORE_POOL = "Run `python run_blueprint.py --resume-from 11` to restore it."
RESTORE_WORKER = "Run `python run_blueprint.py --resume-from 13` to restart it."
RESTORE_DEPLOYMENT = "Run `python run_blueprint.py --resume-from 15` to deploy it again."


def prove_server(ctx: Context) -> dict[str, Any]:
    """Read from the running system that the server is ready, of the installed version, and ours.

    Raises:
        TaskFailed: Any of it is not so.
    """
    settings = ctx.settings
    record = ctx.services.record(specs.SERVER)
    state = ctx.services.state(specs.SERVER)
    if record is None or state != "running":
        raise TaskFailed(
            f"The Prefect server is not running: {state}.",
            where_to_look="logs/server.log",
            hint="Run `python run_blueprint.py --resume-from 8` to start it again.",
        )
    for path in ("ready", "admin/version"):
        try:
            answer = http.get(
                f"{settings.api_url}/{path}", timeout=specs.PROBE_SECONDS, auth=specs.authorization(settings)
            )
        except NotReady as error:
            raise TaskFailed(
                f"The Prefect server (pid {record.identity.pid}) runs but does not answer: {error}.",
                where_to_look="logs/server.log",
                hint="Run `python run_blueprint.py --resume-from 8` to restart it.",
            ) from None
        if answer.status != 200:
            raise TaskFailed(
                f"{settings.api_url}/{path} answers {answer.status}.",
                where_to_look="logs/server.log",
                hint="Look at the server's log, then run `python run_blueprint.py --resume-from 8`.",
            )
    version = json.loads(answer.body)
    installed = importlib.metadata.version("prefect")
    if version != installed:
        raise TaskFailed(
            f"The server on port {settings.port} is Prefect {version}, but {installed} is installed here.",
            hint="Run `python run_blueprint.py stop` and then `--resume-from 8` to start the installed version.",
        )
    mark = OwnershipTag(ctx.workspace.identity(), specs.SERVER)
    try:
        listening.require_listener(specs.server(settings, ctx.workspace), mark, record.identity)
    except (NotReady, EnvironmentRefused) as error:
        raise TaskFailed(
            f"Port {settings.port} is not held by the server that was started (pid {record.identity.pid}): {error}",
            hint="Stop that process or choose another port with --port, then run again.",
        ) from None
    return {"url": settings.server_url, "version": version, "pid": record.identity.pid, "ready": True}


def require_process_pool(ctx: Context) -> Pool:
    name = ctx.settings.pool
    found = pools.pool(name)
    where = f"{ctx.settings.server_url}/work-pools"
    if found is None:
        raise TaskFailed(f"The work pool {name!r} does not exist.", where_to_look=where, hint=RESTORE_POOL)
    if found.type != "process":
        raise TaskFailed(
            f"The work pool {name!r} is of type {found.type!r}, not 'process'.",
            where_to_look=where,
            hint="Set another pool name in [tool.blueprint], or delete that pool, and run again.",
        )
    return found


def pool_facts(pool: Pool) -> dict[str, Any]:
    return {
        "name": pool.name,
        "type": pool.type,
        "paused": pool.paused,
        "concurrency_limit": pool.concurrency_limit,
        "status": pool.status,
    }


def prove_worker(ctx: Context) -> dict[str, Any]:
    """Read from the running system that our worker is alive, healthy, and online in the pool.

    Raises:
        TaskFailed: Any of it is not so.
    """
    record = ctx.services.record(specs.WORKER)
    state = ctx.services.state(specs.WORKER)
    if record is None or state != "running":
        raise TaskFailed(f"The worker is not running: {state}.", where_to_look="logs/worker.log", hint=RESTORE_WORKER)
    worker = read_worker(ctx)
    if worker.status != "ONLINE":
        raise TaskFailed(
            f"The server sees the worker {worker.name} as {worker.status}.",
            where_to_look="logs/worker.log",
            hint=RESTORE_WORKER,
        )
    _require_health(ctx)
    beat = worker.last_heartbeat.isoformat() if worker.last_heartbeat else None
    return {"name": worker.name, "status": worker.status, "last_heartbeat": beat, "pid": record.identity.pid}


def await_worker(ctx: Context, control: TaskControl, seconds: float | None = None) -> dict[str, Any]:
    """The same, given time: a server that is busy with many runs hears a living worker's heartbeats late.

    Raises:
        TaskFailed: It is not so after so many seconds (by default the task's), or the worker is not running.
    """
    last: list[TaskFailed | ApiError] = []

    def online() -> dict[str, Any]:
        try:
            return prove_worker(ctx)
        except (TaskFailed, ApiError) as error:
            last[:] = [error]
            if ctx.services.state(specs.WORKER) != "running":
                raise
            raise NotReady(error.what) from None

    try:
        return wait_until(control, online, seconds=seconds)
    except TimedOut:
        raise (last[0] if last else TaskFailed("The worker could not be looked at in time.")) from None


def read_worker(ctx: Context) -> Worker:
    """Our worker as the server sees it.

    Raises:
        TaskFailed: The server does not know it.
    """
    name = specs.worker_name(ctx.workspace)
    for one in pools.workers(ctx.settings.pool):
        if one.name == name:
            return one
    raise TaskFailed(
        f"The server knows no worker {name} in the pool {ctx.settings.pool}.",
        where_to_look="logs/worker.log",
        hint=RESTORE_WORKER,
    )


def _require_health(ctx: Context) -> None:
    url = f"{ctx.settings.worker_url}/health"
    try:
        answer = http.get(url, timeout=specs.PROBE_SECONDS)
    except NotReady as error:
        raise TaskFailed(
            f"The worker's health endpoint does not answer: {error}.",
            where_to_look="logs/worker.log",
            hint=RESTORE_WORKER,
        ) from None
    if answer.status != 200:
        raise TaskFailed(
            f"The worker's health endpoint {url} answers {answer.status}.",
            where_to_look="logs/worker.log",
            hint=RESTORE_WORKER,
        )


def prove_deployment(ctx: Context) -> Deployment:
    """Read the deployment by name and compare all of it with the definition.

    Raises:
        TaskFailed: It is not there, or other than defined.
    """
    found = ctx.require_deployment()
    differences = ctx.desired_deployment().differences(found)
    if differences:
        raise TaskFailed(
            f"The registered deployment is not as defined: {'; '.join(differences)}.",
            where_to_look=f"{ctx.settings.server_url}/deployments/deployment/{found.id}",
            hint=RESTORE_DEPLOYMENT,
        )
    return found


def deployment_facts(found: Deployment) -> dict[str, Any]:
    """What the journal keeps of a deployment."""
    return {
        "id": found.id,
        "name": found.name,
        "entrypoint": found.entrypoint,
        "pool": found.pool,
        "parameters": dict(found.parameters),
        "schema": dict(found.schema),
        "version": found.version,
        "tags": sorted(found.tags),
        "schedules": [{"active": one.active, **one.definition} for one in found.schedules],
        "status": found.status,
    }
