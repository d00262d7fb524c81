"""Runs the user's code for `FlowHost`: `python -m blueprint.prefect_adapter.flow_process DESCRIPTOR`.

Requests come as JSON over the connection of that descriptor, which user code does not see, and each is answered there.
User code runs in the main thread. The process ends, with its whole group, as soon as the one that asks is gone.
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
from collections.abc import Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from blueprint.config.settings import Settings
from blueprint.core.errors import BlueprintError
from blueprint.prefect_adapter import flow_definition, flow_loading
from blueprint.prefect_adapter.client import import_prefect
from blueprint.prefect_adapter.deploy import deploy
from blueprint.prefect_runtime import own_listener
from blueprint.prefect_runtime.visible import escape_output


def main() -> None:
    """Answer requests until this process is ended."""
    descriptor = int(sys.argv.pop())
    os.set_inheritable(descriptor, False)
    escape_output()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    threading.Thread(target=_end_with_the_other_side, args=(descriptor,), daemon=True).start()
    own_listener.require(os.environ.get("PREFECT_API_URL", ""))  # also of the user's own checks
    import_prefect()
    asker = Connection(descriptor)
    while True:
        asker.send_bytes(json.dumps(_answer(json.loads(asker.recv_bytes()))).encode())


def _end_with_the_other_side(connection: int) -> None:
    """Wait in a thread, because the main thread may be held up in user code."""
    poll = select.poll()
    poll.register(connection, 0)  # a hang-up is always told
    poll.poll()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"value": _value(**request)}
    except BlueprintError as error:
        fields = {"what": error.what, "hint": error.hint, "where_to_look": error.where_to_look}
        return {"error": type(error).__name__, **fields}
    except BaseException:  # noqa: BLE001 - whatever it is, the other side waits for an answer
        return {"bug": traceback.format_exc()}


def _value(call: str, settings: Mapping[str, Any] | None, root: str, **arguments: Any) -> Any:
    if settings is None:  # the only question that is asked before there are any
        return flow_loading.flows_in(Path(arguments["file"]), Path(root))
    configured = Settings.model_validate(settings)
    folder = flow_definition.folder_of(configured, Path(root))
    if folder.is_dir():
        os.chdir(folder)  # as in a flow run
    if call == "check":
        return _check(configured.check or "", folder, **arguments)
    flow = flow_loading.load(configured.entrypoint, folder)
    if call == "deploy":
        return deploy(flow, configured, Path(root), **arguments)
    if call == "parameter_problems":
        return flow_definition.parameter_problems(flow, **arguments)
    described = flow_definition.describe(flow)
    if call == "refused_parameters":
        return [flow_definition.server_refuses(described.schema, each) for each in arguments["candidates"]]
    return flow_definition.DEFINITION.dump_python(described, mode="json")


def _check(name: str, folder: Path, run_id: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    function = flow_loading.load_check(name, folder)
    try:
        found = function(run_id, dict(parameters))
        if inspect.iscoroutine(found):
            found = asyncio.run(found)
        elif inspect.isawaitable(found):
            raise TypeError("it returned an awaitable that is no coroutine; make it an `async def`")
        if found is False:
            raise ValueError("it returned False")
        details = {} if found is None or found is True else json.loads(json.dumps(found, default=str))
    except BaseException as error:  # noqa: BLE001 - whatever the user's check raises means: not proven
        return {"refused": str(error) or type(error).__name__}
    return {"details": details if isinstance(details, dict) else {"check": details}}


if __name__ == "__main__":
    main()
