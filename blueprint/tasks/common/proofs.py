"""Proofs that more than one task needs: of the server, the work pool, the worker and the deployment."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator, Sequence
from typing import Any

from blueprint.core.errors import ApiError, TimedOut
from blueprint.core.http import NotReady
from blueprint.core.task import TaskControl, TaskFailed
from blueprint.core.waiting import wait_until
from blueprint.platform import specs, status
from blueprint.prefect_adapter import pools
from blueprint.prefect_adapter.models import Deployment, Pool
from blueprint.processes.identity import ProcessIdentity
from blueprint.tasks.context import Context

WORKER_SECONDS = 10.0  # several heartbeats
_LAST_LINES = 20  # of the worker's log: where it says why the server does not see it
RESTORE_POOL = "Run `python run_blueprint.py --resume-from 11` to restore it."
RESTORE_WORKER = "Run `python run_blueprint.py --resume-from 13` to restart it."
RESTORE_DEPLOYMENT = "Run `python run_blueprint.py --resume-from 15` to deploy it again."


@contextlib.contextmanager
def failing(what: str, *, where_to_look: str, hint: str = "") -> Iterator[None]:
    """Fail the task with this sentence, and the reason, if something is not ready."""
    try:
        yield
    except NotReady as error:
        raise TaskFailed(f"{what}: {error.reason}.", where_to_look=where_to_look, hint=hint) from None


def prove_server(ctx: Context) -> dict[str, Any]:
    """Read from the running system that the server is ours, ready, and of the installed version."""
    hint = "Run `python run_blueprint.py --resume-from 8` to start it again."
    with failing("The Prefect server is not ready", where_to_look="logs/server.log", hint=hint):
        version, instances = status.read_server(ctx.platform)
    installed = importlib.metadata.version("prefect")
    if version != installed:
        raise TaskFailed(
            f"The server at {ctx.platform.api.root} is Prefect {version}, but {installed} is installed here.",
            hint="Run `python run_blueprint.py stop` and then `--resume-from 8` to start the installed version.",
        )
    return {"url": ctx.platform.api.root, "version": version, "ready": True, **_process(instances)}


def prove_serving_process(ctx: Context) -> dict[str, Any]:
    """Read from the running system that the serving process is ours and alive."""
    hint = "Run `python run_blueprint.py --resume-from 15` to start it again."
    with failing("The serving process is not alive", where_to_look="logs/worker.log", hint=hint):
        return {"serving": True, **_process(status.require_up(ctx.platform.worker))}


def _process(instances: Sequence[ProcessIdentity]) -> dict[str, Any]:
    """Return what the evidence says of a service's processes; a service elsewhere has none to see."""
    return {"pid": instances[0].pid} if instances else {"process": "not managed here"}


def require_process_pool(ctx: Context) -> Pool:
    """Return the work pool, which must exist with type process."""
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


def await_worker(ctx: Context, control: TaskControl, seconds: float | None = None) -> dict[str, Any]:
    """Wait until our worker is alive, healthy, and online in the pool, by default for the task's time.

    A server that is busy with many runs hears heartbeats late; but a process that is not there is not waited for.
    """
    service = ctx.platform.worker

    def online() -> dict[str, Any]:
        with failing("The worker is not running", where_to_look="logs/worker.log", hint=RESTORE_WORKER):
            instances = service.instances()
        try:
            worker = read_worker(ctx)
        except (TaskFailed, ApiError) as error:
            raise NotReady(error.what) from None
        if not worker.is_online:
            raise NotReady(f"the server sees the worker {worker.name} as {worker.status}")
        try:
            service.check()
        except NotReady as error:
            raise NotReady(f"the worker's health endpoint is not well: {error.reason}") from None
        beat = worker.last_heartbeat.isoformat() if worker.last_heartbeat else None
        return {"name": worker.name, "status": worker.status, "last_heartbeat": beat, **_process(instances)}

    try:
        return wait_until(control, online, seconds=seconds)
    except TimedOut as error:
        log = service.log()
        said = f" Its log says: {log.telling_line(most_lines=_LAST_LINES)}" if log else ""
        raise TaskFailed(f"{error.what}{said}", where_to_look="logs/worker.log", hint=RESTORE_WORKER) from None


def read_worker(ctx: Context) -> status.Worker:
    """Read our worker as the server sees it."""
    name = specs.worker_name(ctx.services.workspace)
    hint = "Run `python run_blueprint.py verify`, then `python run_blueprint.py --resume`."
    with failing("The server cannot be asked for its workers", where_to_look="logs/server.log", hint=hint):
        worker = status.read_workers(ctx.platform.api, ctx.settings.pool).get(name)
    if worker is None:
        raise TaskFailed(
            f"The server knows no worker {name} in the pool {ctx.settings.pool}.",
            where_to_look="logs/worker.log",
            hint=RESTORE_WORKER,
        )
    return worker


def prove_deployment(ctx: Context) -> Deployment:
    """Read the deployment by name and compare all of it with the definition."""
    found = ctx.require_deployment()
    differences = ctx.desired_deployment().differences(found)
    if differences:
        raise TaskFailed(
            f"The registered deployment is not as defined: {'; '.join(differences)}.",
            where_to_look=f"{ctx.settings.server_url}/deployments/deployment/{found.id}",
            hint=RESTORE_DEPLOYMENT,
        )
    return found
