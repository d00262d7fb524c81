"""A process that loads rows and, if told to, is killed by SIGKILL at a chosen point of it.

    python tests/support/loader.py URL TABLE FLOW_RUN_ID ROWS PREFIX POINT

POINT: `never`, or one of `KILL_POINTS`. Prints the number of rows when it was not killed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from sqlalchemy import Engine, event

from blueprint.pipeline import warehouse
from blueprint.pipeline.metrics import DailyMetric
from tests.support.rows import batch

KILL_POINTS = ("before the delete", "after the delete", "between inserts", "before the commit", "after the commit")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _arm(point: str) -> None:
    seen = {"deleted": False, "inserts": 0}

    def before(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith("DELETE"):
            if point == "before the delete":
                _die()
            seen["deleted"] = True
        elif statement.startswith("INSERT"):
            if point == "after the delete" or (point == "between inserts" and seen["inserts"] == 1):
                _die()
            seen["inserts"] += 1

    def commit(_connection: Any) -> None:
        if point == "before the commit" and seen["deleted"]:
            _die()

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "commit", commit)


def _announced(rows: Iterator[DailyMetric]) -> Iterator[DailyMetric]:
    """Say when the first row is taken: the transaction is open then."""
    for number, row in enumerate(rows):
        if number == 0:
            print("loading", flush=True)
        yield row


def main() -> None:
    """Load, or die on the way."""
    url, table, flow_run_id, rows, prefix, point = sys.argv[1:]
    _arm(point)
    loaded = warehouse.load(table, flow_run_id, _announced(batch(int(rows), prefix).rows()), url=url)
    if point == "after the commit":
        _die()
    print(loaded.rows, flush=True)


if __name__ == "__main__":
    main()
