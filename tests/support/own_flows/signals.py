"""A module that does at import what is only allowed in a main thread, and more: a handler, output, a thread."""

import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Annotated, Any

from prefect import flow
from pydantic import Field

IMPORTED_IN = threading.current_thread().name
signal.signal(signal.SIGUSR1, lambda _number, _frame: None)
print("printed at import")
print("\x1b]0;title\x07 of a window")
print("complained at import", file=sys.stderr)
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


@flow
def signals(times: Annotated[int, Field(ge=1)] = 1) -> int:
    """Nothing more."""
    return times


async def seen(run_id: str, parameters: Mapping[str, Any]) -> dict[str, object]:
    """An asynchronous check beside the flow, which prints as well."""
    print("printed by the check")
    return {"run": run_id, "times": parameters["times"], "imported in": IMPORTED_IN}
