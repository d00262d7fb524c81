"""Run `python -m prefect server start` with its doors closed, and with the mend of its locking on SQLite."""

from __future__ import annotations

import os
import runpy
import sys
from importlib.metadata import version

from blueprint.prefect_runtime import ANY_ORIGIN, SQLITE_AS_IT_IS, closed_doors, sqlite_locking


def main() -> None:
    """Mend the version of Prefect that the mend was checked with, then be `python -m prefect`."""
    origins = os.environ.get("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", ANY_ORIGIN).split(",")
    if ANY_ORIGIN not in origins:
        closed_doors.close(origins)
    checked_with, found = sqlite_locking.CHECKED_WITH, version("prefect")
    if SQLITE_AS_IT_IS in sys.argv[1:2]:
        del sys.argv[1]
    elif found == checked_with:
        sqlite_locking.wait_for_locks()
    else:
        print(
            f"sqlite_locking is not applied: it was checked with Prefect {checked_with}, this is {found}.",
            file=sys.stderr,
        )
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
