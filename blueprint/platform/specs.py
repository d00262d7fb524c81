"""The specifications of our services: their commands and settings, and how to see that they are ready and alive."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from blueprint.config.keys import SECRETS
from blueprint.config.settings import SETTINGS_VARIABLE, Settings
from blueprint.core import http
from blueprint.core.workspace import Workspace
from blueprint.platform import environment
from blueprint.platform.base import PROBE_SECONDS
from blueprint.prefect_runtime import COLD, NO_RUN, RUN_VARIABLE, SQLITE_AS_IT_IS, launch
from blueprint.processes.spec import ServiceSpec

SERVER, WORKER, RUNNER, SOURCE = "server", "worker", "runner", "source"
LOCAL_RUN = "local-run"  # no service: tagged like one, so that what a killed execution leaves behind is found
_LOOPBACK = "127.0.0.1"


def worker_name(workspace_id: str) -> str:
    """Return the name by which the server knows the worker of a workspace."""
    return f"blueprint-{workspace_id[:8]}"


def server(settings: Settings, workspace: Workspace) -> ServiceSpec:
    """Specify the Prefect server, which is ready when its database answers too."""
    options = () if settings.sqlite_locking else (SQLITE_AS_IT_IS,)
    return _spec(
        workspace,
        name=SERVER,
        title="Prefect server",
        argv=(*_program("prefect_runtime.server"), *options, "server", "start"),
        env=environment.for_server(settings, workspace),
        log="server.log",
        host=settings.host,
        port=settings.port,
        ready=_answers(f"{settings.api_url}/ready"),
        alive=_answers(f"{settings.api_url}/health"),
    )


def worker(settings: Settings, workspace: Workspace, name: str) -> ServiceSpec:
    """Specify the process worker of the configured pool, with the name by which the server will know it."""
    program = (*_program("prefect_runtime.worker"), *(() if settings.warm_start else (COLD,)))
    options = ("--type", "process", "--with-healthcheck", "--pool", settings.pool, "--name", name)
    return _spec(
        workspace,
        name=WORKER,
        title="Prefect worker",
        argv=(*program, "worker", "start", *options),
        env=environment.for_worker(settings, workspace) | ({RUN_VARIABLE: NO_RUN} if settings.warm_start else {}),
        log="worker.log",
        port=settings.worker_port,
        ready=_answers(f"{settings.worker_url}/health"),
        depends_on=(SERVER,),
    )


def runner(settings: Settings, workspace: Workspace) -> ServiceSpec:
    """Specify the process that serves the flows in `serve` mode, in place of pool and worker."""
    served = [deployment.without_secrets() for deployment in settings.each()]
    return _spec(
        workspace,
        name=RUNNER,
        title="Serving process",
        argv=_program("prefect_adapter.serve"),
        env=environment.for_worker(settings, workspace) | {SETTINGS_VARIABLE: json.dumps(served)},
        log="worker.log",
        port=settings.worker_port,
        ready=_answers(f"{settings.worker_url}/health"),
        depends_on=(SERVER,),
    )


def source(settings: Settings, workspace: Workspace) -> ServiceSpec:
    """Specify the bundled metrics API."""
    return _spec(
        workspace,
        name=SOURCE,
        title="Data source",
        argv=(*_program("pipeline.metrics_api"), "--port", str(settings.source_port)),
        env=environment.client(settings.model_copy(update=dict.fromkeys(SECRETS)), workspace),
        log="source.log",
        port=settings.source_port,
        ready=_answers(f"http://{_LOOPBACK}:{settings.source_port}/health"),
    )


def _spec(workspace: Workspace, *, log: str, ready: Callable[[], object], **values: Any) -> ServiceSpec:
    """Fill in what all services have in common."""
    common: dict[str, Any] = {"host": _LOOPBACK, "alive": ready}
    inherit = environment.without_prefect(os.environ)
    cwd = workspace.root
    return ServiceSpec(log=workspace.logs / log, cwd=cwd, inherit=inherit, ready=ready, **common | values)


def _program(module: str) -> tuple[str, ...]:
    """Return the command of a module of ours in which a user's modules take the place of nobody's."""
    return sys.executable, launch.__file__, f"blueprint.{module}"


def _answers(url: str) -> Callable[[], object]:
    return functools.partial(http.get_ok, url, timeout=PROBE_SECONDS)
