"""Run `python -m prefect worker start …`, begun ahead of the server.

Prefect is imported while the server is still starting; the worker itself begins when its pool is there.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import runpy
import sys

from blueprint.prefect_runtime import fork_server
from blueprint.prefect_runtime.work_pool import wait_for_pool

# What Prefect imports only while a flow runs, and SQLAlchemy, which comes with it and with which many flows write: most
# of what a forked run would import for itself. What is missing here is imported by the run, as in any other process.
_IMPORTED_BY_RUNS = (
    "prefect.engine",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.deployments.steps.pull",
    "prefect.runner",
    "prefect.utilities.visualization",
    "anyio._backends._asyncio",
    "sqlalchemy.orm",
)


def main() -> None:
    """Import Prefect, fork the fork server off, and become the worker; or, in a fork of that one, run a flow."""
    gc.disable()  # what imports make is there to stay
    for name in _IMPORTED_BY_RUNS:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.enable()
    request = fork_server.start() if fork_server.possible() else None
    if request is not None:
        fork_server.become_engine(request)
    import prefect.cli  # noqa: F401

    wait_for_pool(sys.argv)
    sys.modules.pop("prefect.__main__", None)
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
