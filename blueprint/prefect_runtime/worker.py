"""Run `python -m prefect worker start …`, begun ahead of the server, with runs that start at once.

Prefect is imported while the server is still starting; the worker itself begins when its pool is there.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import runpy
import sys
import time
from collections.abc import Sequence
from urllib.parse import quote

import httpx

from blueprint.prefect_runtime import COLD, own_listener
from blueprint.prefect_runtime.fork_server import ForkServer, obstacle
from blueprint.prefect_runtime.forked_run import ForkedRuns, take_place_of_run_id

# What Prefect imports only while a flow runs, and SQLAlchemy, which comes with it and with which many flows write: most
# of what a forked run would import for itself. What is missing here is imported by the run, as in any other process.
_IMPORTED_BY_RUNS = (
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.deployments.steps.pull",
    "prefect.runner._workspace_supervisor",
    "prefect.utilities.visualization",
    "anyio._backends._asyncio",
    "sqlalchemy.orm",
)

_MOST_SECONDS = 600.0  # somebody begins the worker and never gets the server up: it must not wait for ever
_PAUSE_SECONDS = 0.1
_NOT_YET = (httpx.codes.NOT_FOUND, httpx.codes.SERVICE_UNAVAILABLE)


def main() -> None:
    """Be the worker, or, in a process that is forked for it, a flow run."""
    own_listener.require(os.environ.get("PREFECT_API_URL", ""))
    cold = sys.argv[1] == COLD
    if cold:
        del sys.argv[1]
    else:
        _start_fork_server()
    import prefect.cli  # noqa: F401

    _wait_for_pool(sys.argv)
    sys.modules.pop("prefect.__main__", None)
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


def _start_fork_server() -> None:
    place_of_run_id = take_place_of_run_id()
    gc.disable()  # what imports make is there to stay
    for name in _IMPORTED_BY_RUNS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.enable()
    if reason := obstacle():
        print(f"Flow runs start as Prefect starts them, without warm start: {reason}.", file=sys.stderr)
        return
    server = ForkServer(ForkedRuns.of_this_process(place_of_run_id).run)
    from blueprint.prefect_runtime import warm_worker

    warm_worker.use(server)


def _wait_for_pool(argv: Sequence[str]) -> None:
    """Wait until the pool that `--pool` names is there.

    The worker would make it itself, with a concurrency limit of its own; and it would end at once without a server.
    Any other answer, such as 401, is for the worker to meet: it says in its log what is wrong.
    """
    from prefect.settings import get_current_settings

    api = get_current_settings().api
    auth = httpx.BasicAuth(*api.auth_string.get_secret_value().split(":", 1)) if api.auth_string else None
    name = argv[argv.index("--pool") + 1]
    end = time.monotonic() + _MOST_SECONDS
    with httpx.Client(base_url=api.url or "", auth=auth, timeout=5, trust_env=False) as client:
        while time.monotonic() < end:
            with contextlib.suppress(httpx.HTTPError):
                if client.get(f"/work_pools/{quote(name, safe='')}").status_code not in _NOT_YET:
                    return
            time.sleep(_PAUSE_SECONDS)
    sys.exit(f"The work pool {name!r} is not there after {_MOST_SECONDS:.0f} s.")


if __name__ == "__main__":
    main()
