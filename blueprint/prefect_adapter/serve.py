"""Serves the flows in a process of its own, with `flow.serve`: `python -m blueprint.prefect_adapter.serve`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint.config.settings import SETTINGS_VARIABLE, Settings
from blueprint.prefect_adapter import flow_loading
from blueprint.prefect_adapter.deploy import terms
from blueprint.prefect_adapter.flow_definition import folder_of
from blueprint.prefect_runtime import own_listener

if TYPE_CHECKING:
    from fastapi import FastAPI
    from prefect.runner import Runner

_RUNS_SERVED = 5  # of a deployment at a time; Prefect's own limit for a process that serves one


def serve(each: Sequence[Settings], root: Path) -> None:
    """Serve the flows in this process until it is told to stop; their schedules stay active without it."""
    import prefect
    from prefect.runner import server

    server.build_server = _health_only
    flows = [flow_loading.load(settings.entrypoint, folder_of(settings, root)) for settings in each]
    how: dict[str, Any] = {"pause_on_shutdown": False, "print_starting_message": True, "webserver": True}
    if len(each) == 1:
        flows[0].serve(global_limit=each[0].concurrency_limit, **terms(flows[0], each[0], root), **how)
        return
    made: list[Any] = [
        flow.to_deployment(concurrency_limit=settings.concurrency_limit, **terms(flow, settings, root))
        for flow, settings in zip(flows, each, strict=True)
    ]
    prefect.serve(*made, limit=_RUNS_SERVED * len(each), **how)


async def _health_only(runner: Runner) -> FastAPI:
    """Return the application of the serving process's port: its health, and not Prefect's way to shut it down."""
    from fastapi import FastAPI
    from prefect.runner.server import perform_health_check

    application = FastAPI(openapi_url=None)
    application.add_api_route("/health", perform_health_check(runner))
    return application


if __name__ == "__main__":
    own_listener.require(os.environ["PREFECT_API_URL"])
    serve([Settings.model_validate(values) for values in json.loads(os.environ[SETTINGS_VARIABLE])], Path.cwd())
