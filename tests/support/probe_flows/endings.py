"""A flow that ends in whichever way it is asked to, and leaves a note for each hook and for its exit."""

from __future__ import annotations

import atexit
import os
import sys
import time
from pathlib import Path
from typing import Any

from prefect import flow

SECONDS = 60


def _note(kind: str) -> Any:
    def hook(flow: object, flow_run: Any, state: Any) -> None:  # noqa: ARG001 - Prefect gives them by name
        Path(flow_run.parameters["folder"], f"{flow_run.id}.{kind}").write_text(str(state.name), encoding="utf-8")

    return hook


def _last_word(path: Path) -> None:
    path.write_text("", encoding="utf-8")


@flow(
    on_completion=[_note("completed")],
    on_failure=[_note("failed")],
    on_crashed=[_note("crashed")],
    on_cancellation=[_note("cancelled")],
)
def ending(folder: str, how: str) -> None:
    """End in that way."""
    run = os.environ["PREFECT__FLOW_RUN_ID"]
    atexit.register(_last_word, Path(folder, f"{run}.atexit"))
    Path(folder, f"{run}.pid").write_text(str(os.getpid()), encoding="utf-8")
    if how == "raises":
        raise ValueError("as asked")
    if how == "exits with 3":
        sys.exit(3)
    if how == "aborts":
        os.abort()
    if how.startswith("is "):
        time.sleep(SECONDS)
