"""Runs the user's code for `FlowHost`: `python -m blueprint.prefect_adapter.flow_process`.

Requests come as lines of JSON on what was standard input, and each is answered with one line on what was standard
output; both are private before any user code runs, so that what it prints goes to standard error. User code runs in
the main thread. The process ends, with its whole group, as soon as the one that asks is gone.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from blueprint.config.settings import Settings
from blueprint.core.errors import BlueprintError
from blueprint.prefect_adapter import flow_inspection, flow_loading
from blueprint.prefect_adapter.client import import_prefect
from blueprint.prefect_adapter.deploy import deploy
from blueprint.prefect_adapter.desired_state import desired_deployment
from blueprint.prefect_adapter.flow_definition import folder_of


def main() -> None:
    """Answer requests until there are no more."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    threading.Thread(target=_end_with_the_other_side, args=(requests.fileno(),), daemon=True).start()
    import_prefect()
    for line in requests:
        answers.write(json.dumps(_answer(json.loads(line))).encode() + b"\n")
        answers.flush()


def _end_with_the_other_side(pipe: int) -> None:
    """Wait in a thread, because the main thread may be held up in user code."""
    poll = select.poll()
    poll.register(pipe, 0)  # a hang-up is always told
    poll.poll()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"value": _CALLS[request.pop("call")](**request)}
    except BlueprintError as error:
        fields = {"what": error.what, "hint": error.hint, "where_to_look": error.where_to_look}
        return {"error": type(error).__name__, **fields}
    except BaseException:  # noqa: BLE001 - whatever it is, the other side waits for an answer
        return {"bug": traceback.format_exc()}


class _Request:
    """A request about a configured flow: its settings and its folder."""

    def __init__(self, settings: Mapping[str, Any], root: str) -> None:
        self.settings = Settings.model_validate(settings)
        self.root = Path(root)
        self.folder = folder_of(self.settings, self.root)
        if self.folder.is_dir():
            os.chdir(self.folder)  # as in a flow run

    def flow(self) -> Any:
        return flow_loading.load(self.settings.entrypoint, self.folder)


def _describe(settings: Mapping[str, Any], root: str) -> dict[str, Any]:
    return flow_inspection.describe(_Request(settings, root).flow()).to_json()


def _parameter_problems(settings: Mapping[str, Any], root: str, parameters: Mapping[str, Any]) -> list[str]:
    return flow_inspection.parameter_problems(_Request(settings, root).flow(), parameters)


def _refused_parameters(settings: Mapping[str, Any], root: str, candidates: list[Mapping[str, Any]]) -> list[bool]:
    schema = _Request(settings, root).flow().parameters.model_dump(mode="json")
    return [flow_inspection.server_refuses(schema, parameters) for parameters in candidates]


def _deploy(settings: Mapping[str, Any], root: str, scheduled: bool) -> str:
    request = _Request(settings, root)
    target = desired_deployment(flow_inspection.describe(request.flow()), request.settings, request.root)
    return deploy(target, request.settings, scheduled=scheduled)


def _check(settings: Mapping[str, Any], root: str, run_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    request = _Request(settings, root)
    function = flow_loading.load_check(request.settings.check or "", request.folder)
    try:
        found = function(run_id, dict(parameters))
        if inspect.isawaitable(found):
            found = asyncio.run(_result(found))
        if found is False:
            raise ValueError("it returned False")
        details = {} if found is None or found is True else json.loads(json.dumps(found, default=str))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever the user's check raises means: not proven
        return {"refused": str(error) or type(error).__name__}
    return {"details": details if isinstance(details, dict) else {"check": details}}


async def _result(awaitable: Any) -> Any:
    return await awaitable


def _flows_in(file: str, folder: str) -> list[str]:
    return flow_loading.flows_in(Path(file), Path(folder))


_CALLS: dict[str, Callable[..., Any]] = {
    "describe": _describe,
    "parameter_problems": _parameter_problems,
    "refused_parameters": _refused_parameters,
    "deploy": _deploy,
    "check": _check,
    "flows_in": _flows_in,
}

if __name__ == "__main__":
    main()
