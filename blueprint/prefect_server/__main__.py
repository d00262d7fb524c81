"""`python -m blueprint.prefect_server server start` is `python -m prefect server start`, mended."""

from __future__ import annotations

import gc
import runpy

from blueprint import zone_names
from blueprint.prefect_server.cursors import close_failed_cursors
from blueprint.prefect_server.migrations import migrate_in_one_thread

# A server holds half a million objects, nearly all of them made by its imports and there to stay; with Python's 700 as
# the first threshold it goes through them again and again. Measured: 4.0 s of CPU for the imports, 3.0 with this one.
_OBJECTS_BETWEEN_COLLECTIONS = 50_000


def main() -> None:
    """Mend, then be `python -m prefect` with the arguments of this process."""
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS, 20, 20)
    zone_names.remember()
    close_failed_cursors()
    migrate_in_one_thread()
    runpy.run_module("prefect", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
