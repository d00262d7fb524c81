"""Reading the platform without Prefect and without changing anything: for `verify`, `plan` and the tasks' proofs.

A reader that cannot read raises `NotReady`, `EnvironmentRefused` for a stranger on a port, or `ApiError` for an answer
in another form. The password is sent only after the server's processes have been proven ours, or when the server is
not managed here: then the user named it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote

from blueprint.config.defaults import MADE_BY
from blueprint.config.settings import Settings, unique_labels
from blueprint.core.errors import ApiError, BlueprintError
from blueprint.core.http import NotReady
from blueprint.core.workspace import Workspace
from blueprint.platform import specs
from blueprint.platform.base import ApiEndpoint, Platform, Service, understood
from blueprint.platform.local import local_platform
from blueprint.platform.ui import require_page
from blueprint.processes.identity import ProcessIdentity
from blueprint.processes.manager import ServiceManager

DEPLOYMENT = "deployment"
_MOST_AT_ONCE = 8
_SET_FOLDER = "prefect.deployments.steps.set_working_directory"


class State(StrEnum):
    """The result of a look."""

    UP = "up"
    DOWN = "down"
    UNKNOWN = "unknown"  # it could not be looked at, which is never good


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    detail: str


def require_up(service: Service) -> tuple[ProcessIdentity, ...]:
    """Require that a service is ours (if it is managed here) and can do its work; return its processes."""
    instances = service.instances()
    service.check()
    return instances


def read_server(platform: Platform) -> tuple[str, tuple[ProcessIdentity, ...]]:
    """Require that the server is ours (if it is managed here) and ready; return its version and its processes."""
    instances = require_up(platform.server)
    return str(platform.api.get("/admin/version").json()), instances


@dataclass(frozen=True)
class Worker:
    """A worker as the server sees it."""

    name: str
    status: str
    last_heartbeat: datetime | None

    @property
    def is_online(self) -> bool:
        """True if the server hears it."""
        return self.status == "ONLINE"


@understood("its workers")
def read_workers(api: ApiEndpoint, pool: str) -> dict[str, Worker]:
    """Return the workers that the server knows of in a pool, online or not, by their names."""
    answer = api.get(f"/work_pools/{quote(pool, safe='')}/workers/filter", query={"limit": 200}).json()
    workers = {}
    for found in answer:
        heartbeat = found.get("last_heartbeat_time")
        at = datetime.fromisoformat(heartbeat) if heartbeat else None
        workers[found["name"]] = Worker(found["name"], found["status"], at)
    return workers


def look(settings: Settings, workspace: Workspace) -> list[Check]:
    """Look at the platform that the settings describe for this workspace; its state folder is not even made."""
    identity = workspace.known_identity() or ""  # nothing runs under the empty one
    platform = local_platform(settings, workspace, ServiceManager(workspace.services, identity))
    return look_at(platform, settings, workspace.root, specs.worker_name(identity))


def look_at(platform: Platform, settings: Settings, root: Path, worker_name: str) -> list[Check]:
    """Look at server, worker (or serving process), UI and each deployment, within a few seconds whatever hangs.

    The deployments' sources are relative to `root`, and the server knows the worker by `worker_name`.
    """
    server = _check("server", lambda: _server(platform))
    of_server: dict[str, Callable[[], str]] = {"UI": lambda: _ui(platform)}
    deployments = settings.each()
    for label, deployment in zip(unique_labels(deployments), deployments, strict=True):
        name = f"{DEPLOYMENT} {label}" if len(deployments) > 1 else DEPLOYMENT
        of_server[name] = functools.partial(_deployment, platform, deployment, root)
    asked = server.state is State.UP
    pool = "" if settings.serves else settings.pool
    probes = {
        "serving process" if settings.serves else "worker": lambda: _worker(platform, pool, worker_name, asked=asked),
        **(of_server if asked else {}),
    }
    with ThreadPoolExecutor(min(len(probes), _MOST_AT_ONCE)) as threads:
        checks = list(threads.map(_check, probes, probes.values()))
    if not asked:
        checks += [Check(name, State.UNKNOWN, "the server is not up, or not ours") for name in of_server]
    return [server, *checks]


def _check(name: str, probe: Callable[[], str]) -> Check:
    try:
        return Check(name, State.UP, probe())
    except ApiError as error:
        return Check(name, State.UNKNOWN, error.what)
    except NotReady as error:
        return Check(name, State.DOWN, error.reason)
    except BlueprintError as error:
        return Check(name, State.DOWN, error.what)


def _pids(instances: Sequence[ProcessIdentity]) -> str:
    pids = ", ".join(str(instance.pid) for instance in instances)
    return f"pid {pids}" if pids else "its processes are not managed here"


def _server(platform: Platform) -> str:
    version, instances = read_server(platform)
    return f"ready at {platform.api.root}, version {version}, {_pids(instances)}"


def _worker(platform: Platform, pool: str, name: str, *, asked: bool) -> str:
    """Look at the worker's process and at what the server says of it; the serving process has no pool."""
    pids = _pids(require_up(platform.worker))
    if not pool:
        return f"alive, {pids}"
    if not asked:
        raise ApiError(f"alive, {pids}; the server, which would say whether it is online, is not up, or not ours")
    worker = read_workers(platform.api, pool).get(name)
    if worker is None or not worker.is_online:
        raise NotReady(f"the server sees {name} in {pool} as {worker.status if worker else 'unknown'}")
    return f"{name} is online in {pool}, {pids}"


def _ui(platform: Platform) -> str:
    require_page(platform.api)
    return f"served at {platform.api.public_url.removesuffix('/api')}"


@understood("the deployment")
def _deployment(platform: Platform, settings: Settings, root: Path) -> str:
    name = settings.deployment
    query = {"deployments": {"name": {"any_": [name]}}}
    found = platform.api.get("/deployments/filter", query=query).json()
    problems = {deployment["id"]: _other_than_ours(deployment, settings, root) for deployment in found}
    ours = [deployment for deployment in found if not problems[deployment["id"]]]
    if not found:
        raise NotReady(f"the server has none named {name}")
    if not ours:
        raise NotReady(f"the server's {name} is not this one: {next(iter(problems.values()))}")
    if ours[0]["status"] != "READY":
        raise NotReady(f"{name} is {ours[0]['status']}")
    return f"{name} is ready"


def _other_than_ours(deployment: Mapping[str, Any], settings: Settings, root: Path) -> str:
    """Say in what a deployment of the right name is another than ours; "" if in nothing."""
    if deployment["description"] != MADE_BY:
        return "Blueprint did not make it"
    entrypoint = deployment["entrypoint"] or ""
    # A served flow is registered by its file, whatever the settings name it by; the function stays the same.
    compared = _function if settings.serves else str
    if compared(entrypoint) != compared(settings.entrypoint):
        return f"its entrypoint is {entrypoint}, not {settings.entrypoint}"
    folders = [step[_SET_FOLDER]["directory"] for step in deployment["pull_steps"] or () if _SET_FOLDER in step]
    folder = str((root / settings.source).resolve())
    if folders and folders != [folder]:
        return f"its flow is in {folders[0]}, not in {folder}"
    pool = None if settings.serves else settings.pool
    if deployment["work_pool_name"] != pool:
        return f"its work pool is {deployment['work_pool_name']}, not {pool}"
    return ""


def _function(entrypoint: str) -> str:
    return entrypoint.replace(":", ".").rpartition(".")[2]
