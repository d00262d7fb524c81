"""Run `python -m prefect worker start …`, begun ahead of the server, with runs that start at once.

Prefect is imported while the server is still starting; the worker itself begins when its pool is there.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import runpy
import sys

from blueprint.prefect_runtime import COLD
from blueprint.prefect_runtime.fork_server import ForkServer, obstacle
from blueprint.prefect_runtime.forked_run import ForkedRuns, take_place_of_run_id
from blueprint.prefect_runtime.work_pool import wait_for_pool

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


def main() -> None:
    """Be the worker, or, in a process that is forked for it, a flow run."""
    cold = sys.argv[1] == COLD
    if cold:
        del sys.argv[1]
    else:
        _start_fork_server()
    import prefect.cli  # noqa: F401

    wait_for_pool(sys.argv)
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


if __name__ == "__main__":
    main()
