"""`python -m blueprint.prefect_runtime.server server start` is `python -m prefect server start`, mended."""

from __future__ import annotations

import runpy

from blueprint.prefect_runtime.sqlite_locking import close_failed_cursors


def main() -> None:
    """Mend, then be `python -m prefect` with the arguments of this process."""
    close_failed_cursors()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
