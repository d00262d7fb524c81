"""Serves the flows in a process of its own, with `flow.serve`: `python -m blueprint.prefect_adapter.serve`."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blueprint.config.settings import SETTINGS_VARIABLE, Settings
from blueprint.prefect_adapter import flow_inspection, flow_loading
from blueprint.prefect_adapter.desired_state import MADE_BY, desired_deployment
from blueprint.prefect_adapter.flow_definition import folder_of
from blueprint.prefect_adapter.schedules import prefect_schedule

if TYPE_CHECKING:
    from prefect import Flow

_RUNS_SERVED = 5  # of a deployment at a time; Prefect's own limit for a process that serves one


def serve(each: Sequence[Settings], root: Path) -> None:
    """Serve the flows in this process until it is told to stop; their schedules stay active without it."""
    import prefect

    flows = [flow_loading.load(settings.entrypoint, folder_of(settings, root)) for settings in each]
    terms = [_served(flow, settings, root) for flow, settings in zip(flows, each, strict=True)]
    how: dict[str, Any] = {"pause_on_shutdown": False, "print_starting_message": True, "webserver": True}
    if len(each) == 1:
        flows[0].serve(global_limit=each[0].concurrency_limit, **terms[0], **how)
        return
    made: list[Any] = [
        flow.to_deployment(concurrency_limit=settings.concurrency_limit, **of_flow)
        for flow, settings, of_flow in zip(flows, each, terms, strict=True)
    ]
    prefect.serve(*made, limit=_RUNS_SERVED * len(each), **how)


def _served(flow: Flow[..., Any], settings: Settings, root: Path) -> dict[str, Any]:
    target = desired_deployment(flow_inspection.describe(flow), settings, root)
    return {
        "name": target.name,
        "schedule": prefect_schedule(settings),
        "parameters": dict(settings.parameters),
        "tags": list(settings.tags),
        "version": target.version,
        "description": MADE_BY,
        "enforce_parameter_schema": True,
    }


if __name__ == "__main__":
    serve([Settings.model_validate(values) for values in json.loads(os.environ[SETTINGS_VARIABLE])], Path.cwd())
