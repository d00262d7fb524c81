"""`python -m blueprint.worker worker start …` is `python -m prefect worker start …`, begun ahead of the server.

Prefect is imported while the server is still starting; the worker itself begins when its pool is there.
"""

from __future__ import annotations

import runpy
import sys

from blueprint.worker import fork_server
from blueprint.worker.pool import wait_for_pool


def main() -> None:
    """Import Prefect, fork the fork server off, and become the worker; or, in a fork of that one, run a flow."""
    import prefect.engine
    import prefect.flow_engine
    import prefect.task_engine

    request = fork_server.start() if fork_server.possible() else None
    if request is not None:
        fork_server.become_engine(request)
    import prefect.cli  # noqa: F401

    wait_for_pool(sys.argv)
    sys.modules.pop("prefect.__main__", None)
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
