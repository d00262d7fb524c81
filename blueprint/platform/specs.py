"""The services that make up the platform: what each is started with, and how it is known to be ready and alive."""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

from blueprint.config.settings import SETTINGS_VARIABLE, Settings
from blueprint.core import http
from blueprint.core.http import NotReady
from blueprint.core.workspace import Workspace
from blueprint.platform import environment
from blueprint.processes.spec import ServiceSpec

SERVER, WORKER, RUNNER, SOURCE = "server", "worker", "runner", "source"
LOCAL_RUN = "local-run"  # no service: marked like one, so that what a killed execution leaves behind is found
PROBE_SECONDS = 3.0


def authorization(settings: Settings) -> str | None:
    """The Authorization header for the server's API, if it asks for one."""
    if settings.api_auth_string is None:
        return None
    return "Basic " + base64.b64encode(settings.api_auth_string.get_secret_value().encode()).decode()


def worker_name(workspace: Workspace) -> str:
    """The name under which our worker is known to the server."""
    return f"blueprint-{workspace.identity()[:8]}"


def _answers(url: str) -> Callable[[], None]:
    def probe() -> None:
        try:
            answer = http.get(url, timeout=PROBE_SECONDS)
        except NotReady as error:
            raise NotReady(f"{url}: {error.reason}") from None
        if answer.status != 200:
            raise NotReady(f"{url} answers {answer.status}")

    return probe


def server(settings: Settings, workspace: Workspace) -> ServiceSpec:
    """The Prefect server; ready when its database answers too."""
    return ServiceSpec(
        name=SERVER,
        title="Prefect server",
        argv=(sys.executable, "-m", "blueprint.prefect_runtime.server", "server", "start"),
        env=environment.for_server(settings, workspace),
        inherit=environment.without_prefect(os.environ),
        cwd=workspace.root,
        log=workspace.logs / "server.log",
        host=settings.host,
        port=settings.port,
        ready=_answers(f"{settings.api_url}/ready"),
        alive=_answers(f"{settings.api_url}/health"),
    )


def worker(settings: Settings, workspace: Workspace) -> ServiceSpec:
    """The process worker, under a name of its own in the configured pool."""
    return ServiceSpec(
        name=WORKER,
        title="Prefect worker",
        argv=(
            *(
                sys.executable,
                "-m",
                "blueprint.prefect_runtime.worker",
                "worker",
                "start",
                "--type",
                "process",
                "--with-healthcheck",
            ),
            *("--pool", settings.pool, "--name", worker_name(workspace)),
        ),
        env=environment.for_worker(settings, workspace),
        inherit=environment.without_prefect(os.environ),
        cwd=workspace.root,
        log=workspace.logs / "worker.log",
        host="127.0.0.1",
        port=settings.worker_port,
        ready=_answers(f"{settings.worker_url}/health"),
        alive=_answers(f"{settings.worker_url}/health"),
    )


def runner(settings: Settings, workspace: Workspace) -> ServiceSpec:
    """The process that serves the flows in `serve` mode, in place of pool and worker."""
    each = [deployment.without_secrets() for deployment in settings.each()]
    return ServiceSpec(
        name=RUNNER,
        title="Serving process",
        argv=(sys.executable, "-m", "blueprint.prefect_adapter.serve"),
        env=environment.for_worker(settings, workspace) | {SETTINGS_VARIABLE: json.dumps(each)},
        inherit=environment.without_prefect(os.environ),
        cwd=workspace.root,
        log=workspace.logs / "worker.log",
        host="127.0.0.1",
        port=settings.worker_port,
        ready=_answers(f"{settings.worker_url}/health"),
        alive=_answers(f"{settings.worker_url}/health"),
    )


def source(settings: Settings, workspace: Workspace) -> ServiceSpec:
    """The bundled metrics API."""
    api = Path(__file__).parents[1] / "pipeline" / "metrics_api.py"
    return ServiceSpec(
        name=SOURCE,
        title="Data source",
        argv=(sys.executable, str(api), "--host", "127.0.0.1", "--port", str(settings.source_port)),
        env=environment.client(settings, workspace),
        inherit=environment.without_prefect(os.environ),
        cwd=workspace.root,
        log=workspace.logs / "source.log",
        host="127.0.0.1",
        port=settings.source_port,
        ready=_answers(f"http://127.0.0.1:{settings.source_port}/health"),
        alive=_answers(f"http://127.0.0.1:{settings.source_port}/health"),
    )
