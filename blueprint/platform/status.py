"""The quick look at the platform that `verify` and `plan` take: a few requests side by side, without Prefect."""

from __future__ import annotations

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from blueprint.config.settings import Settings, unique_labels
from blueprint.core import http
from blueprint.core.http import NotReady
from blueprint.core.workspace import Workspace
from blueprint.platform import specs
from blueprint.processes import listening
from blueprint.processes.manager import ServiceManager
from blueprint.processes.ownership import OwnershipTag

DEPLOYMENT = "deployment"
_SECONDS = 2.0
_MOST_AT_ONCE = 8


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    ok: bool
    detail: str


def look(settings: Settings, workspace: Workspace) -> list[Check]:
    """Server, worker (or serving process), UI and each deployment; within a few seconds whatever hangs."""
    seen = _Platform(settings, workspace, ServiceManager(workspace.services, workspace.identity()))
    checks: dict[str, Callable[[], str]] = {
        "server": seen.server,
        "serving process" if settings.serves else "worker": seen.runner if settings.serves else seen.worker,
        "UI": seen.ui,
    }
    each = settings.each()
    for name, one in zip(unique_labels(each), each, strict=True):
        checks[f"{DEPLOYMENT} {name}" if len(each) > 1 else DEPLOYMENT] = functools.partial(seen.deployment, one)
    with ThreadPoolExecutor(min(len(checks), _MOST_AT_ONCE)) as pool:
        return list(pool.map(_check, checks, checks.values()))


def _check(name: str, probe: Callable[[], str]) -> Check:
    from blueprint.core.errors import BlueprintError

    try:
        return Check(name, True, probe())
    except (NotReady, BlueprintError) as error:
        return Check(name, False, str(error))


@dataclass(frozen=True)
class _Platform:
    settings: Settings
    workspace: Workspace
    services: ServiceManager

    def _get(self, url: str, *, accept: str | None = None, query: Any = None) -> http.Response:
        auth = specs.authorization(self.settings)
        try:
            answer = http.get(url, timeout=_SECONDS, accept=accept, auth=auth, query=query)
        except NotReady as error:
            raise NotReady(f"{url}: {error.reason}") from None
        if answer.status != 200:
            raise NotReady(f"{url} answers {answer.status}")
        return answer

    def _process(self, name: str) -> int:
        record = self.services.record(name)
        state = self.services.state(name)
        if record is None or state != "running":
            raise NotReady(state)
        return record.identity.pid

    def server(self) -> str:
        pid = self._process(specs.SERVER)
        service = specs.server(self.settings, self.workspace)
        record = self.services.record(specs.SERVER)
        self._get(f"{self.settings.api_url}/ready")
        if record is not None:
            listening.require_listener(service, OwnershipTag(self.workspace.identity(), specs.SERVER), record.identity)
        version = self._get(f"{self.settings.api_url}/admin/version").json()
        return f"ready at {self.settings.server_url}, version {version}, pid {pid}"

    def worker(self) -> str:
        pid = self._process(specs.WORKER)
        self._get(f"{self.settings.worker_url}/health")
        url = f"{self.settings.api_url}/work_pools/{self.settings.pool}/workers/filter"
        name = specs.worker_name(self.workspace)
        status = {one["name"]: one["status"] for one in self._get(url, query={}).json()}.get(name, "unknown")
        if status != "ONLINE":
            raise NotReady(f"the server sees {name} in {self.settings.pool} as {status}")
        return f"{name} is online in {self.settings.pool}, pid {pid}"

    def runner(self) -> str:
        pid = self._process(specs.RUNNER)
        self._get(f"{self.settings.worker_url}/health")
        return f"alive, pid {pid}"

    def ui(self) -> str:
        page = self._get(f"{self.settings.server_url}/v2/", accept="text/html")
        if b"<script" not in page.body:
            raise NotReady("the page is not Prefect's UI")
        told = self._get(f"{self.settings.server_url}/ui-settings").json()["api_url"]
        if told != self.settings.api_url:
            raise NotReady(f"the UI is told to call {told}, not {self.settings.api_url}")
        return f"served at {self.settings.server_url}"

    def deployment(self, settings: Settings) -> str:
        name = settings.deployment
        query = {"deployments": {"name": {"any_": [name]}}}
        found = self._get(f"{settings.api_url}/deployments/filter", query=query).json()
        if sum(one.deployment == name for one in self.settings.each()) > 1:  # of several flows: the entrypoint tells
            found = [one for one in found if _function(one["entrypoint"]) == _function(settings.entrypoint)]
        if not found:
            raise NotReady(f"the server has none named {name}")
        if found[0]["status"] != "READY":
            raise NotReady(f"{name} is {found[0]['status']}")
        return f"{name} is ready"


def _function(entrypoint: str | None) -> str:
    """A served flow is registered by its file, whatever the settings name it by; the function stays the same."""
    return (entrypoint or "").replace(":", ".").rpartition(".")[2]
